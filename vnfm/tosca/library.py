"""YAML files within bounds; type files that were read before come from the shelf."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vnfm.tosca.duplicates import joined
from vnfm.tosca.limits import Limits
from vnfm.tosca.notes import Notes, Place
from vnfm.tosca.shelf import Shelf, key_of, worth_keeping
from vnfm.tosca.yamldoc import Map, load


@dataclass
class Library:
    """What one reading reads its files with. `learnt` are the names of type files that were not on the shelf yet."""

    shelf: Shelf
    limits: Limits
    notes: Notes
    learnt: list[str] = field(default_factory=list)
    _read_bytes: int = 0

    def read(self, path: Path, file: str) -> Map | None:
        """The values of one of our own files, as `take` gives them."""
        try:
            data = path.read_bytes()
        except OSError:
            data = None
        return self.take(data, file, Place(file))

    def take(self, data: bytes | None, file: str, at: Place) -> Map | None:
        """The file's values, which nobody changes; None with a finding where they cannot be had."""
        if data is None:
            self.notes.error("import-not-found", f"{file} cannot be read", at)
            return None
        size = len(data)
        if size > min(self.limits.yaml_bytes, self.limits.yaml_total_bytes - self._read_bytes):
            self.notes.error("yaml-too-large", f"{size} bytes of YAML are too many", Place(file))
            return None
        self._read_bytes += size
        key = key_of(file, data)
        body = self.shelf.find(key)
        if body is None:
            before = len(self.notes.findings)
            body = load(data, file, self.limits, self.notes)
            if body is not None:
                body = joined(body, self.notes)
            if body is not None and len(self.notes.findings) == before and worth_keeping(body):
                self.shelf.put(key, body, size)
                self.learnt.append(file)
        return body
