"""Type files that were read before, by name and content. A package's own copy is on it as well as ours: many packages
bring the same one."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field

from vnfm.tosca.yamldoc import Map

MOST_FILES = 96
MOST_BYTES = 8 * 1024 * 1024  # of YAML; its values take some twenty times as much

Key = tuple[str, str]


def key_of(file: str, data: bytes) -> Key:
    """What a file is found by. The name belongs to it, since each value knows where it stood."""
    return file, hashlib.sha256(data).hexdigest()


@dataclass
class Shelf:
    """A bounded store, the longest unused goes first. What is on it is shared and never changed."""

    _bodies: OrderedDict[Key, tuple[Map, int]] = field(default_factory=OrderedDict)
    _bytes: int = 0

    def find(self, key: Key) -> Map | None:
        """The file's values, if they are here."""
        if key not in self._bodies:
            return None
        self._bodies.move_to_end(key)
        return self._bodies[key][0]

    def put(self, key: Key, body: Map, size: int) -> None:
        """Keep a file of `size` bytes."""
        if key in self._bodies or size > MOST_BYTES:
            return
        self._bodies[key] = (body, size)
        self._bytes += size
        while len(self._bodies) > MOST_FILES or self._bytes > MOST_BYTES:
            self._bytes -= self._bodies.popitem(last=False)[1][1]

    def __len__(self) -> int:
        return len(self._bodies)


def worth_keeping(body: Map) -> bool:
    """Whether a file holds types alone: these come again with other packages, templates do not."""
    return "topology_template" not in body and any(str(section).endswith("_types") for section in body)
