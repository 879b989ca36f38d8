"""How deep YAML nests, found without recursion: the loader recurses, and dies of some ten thousand levels."""

from __future__ import annotations

import re

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BRACKETS = 3000  # fewer cannot nest too deep for the loader, nor can indentation in the bytes that a file may have
_DASHES = re.compile(rb"(?:[-?][ \t]+){60}")
_OPEN = (yaml.SequenceStartEvent, yaml.MappingStartEvent)
_CLOSE = (yaml.SequenceEndEvent, yaml.MappingEndEvent)


def too_deep(data: bytes, most: int) -> tuple[int, int] | None:
    """Line and column of what nests deeper than `most`, in files in which something could; damage is for the loader."""
    if data.count(b"[") + data.count(b"{") < _BRACKETS and not _DASHES.search(data):
        return None
    depth = 0
    try:
        for event in yaml.parse(data, Loader=_LOADER):
            if isinstance(event, _OPEN):
                depth += 1
                if depth > most:
                    mark = event.start_mark
                    return (mark.line + 1, mark.column + 1) if mark else (0, 0)
            elif isinstance(event, _CLOSE):
                depth -= 1
    except (yaml.YAMLError, UnicodeError):
        return None
    return None
