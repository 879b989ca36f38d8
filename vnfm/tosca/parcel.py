"""Texts in one piece, as they go through a pipe."""

from __future__ import annotations

import json
from collections.abc import Mapping


def packed(texts: Mapping[str, bytes]) -> bytes:
    """Texts in one piece: a line that names them with their lengths, then all of them."""
    names = json.dumps([[name, len(data)] for name, data in texts.items()])
    return b"".join((names.encode(), b"\n", *texts.values()))


def unpacked(data: bytes) -> list[tuple[str, bytes]]:
    """What `packed` was given."""
    head, _, rest = data.partition(b"\n")
    found, at = [], 0
    for name, size in json.loads(head or b"[]"):
        found.append((str(name), rest[at : at + size]))
        at += size
    return found
