"""YAML that is too deep or too long, found before it is loaded: the loader recurses, dies of some ten thousand levels,
and takes seconds and a lot of memory for a million values."""

from __future__ import annotations

import re

import yaml

from vnfm.tosca.limits import Limits

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BRACKETS = 3000  # fewer cannot nest too deep for the loader, nor can indentation in the bytes that a file may have
_DASHES = re.compile(rb"(?:[-?][ \t]+){60}")
_OPEN = (yaml.SequenceStartEvent, yaml.MappingStartEvent)
_CLOSE = (yaml.SequenceEndEvent, yaml.MappingEndEvent)


def beyond(data: bytes, limits: Limits) -> tuple[str, str, tuple[int, int]] | None:
    """Code, message, and line and column of what is too much, in files in which something could be; damage is for the
    loader."""
    if not _suspect(data, limits):
        return None
    depth = nodes = 0
    try:
        for event in yaml.parse(data, Loader=_LOADER):
            if isinstance(event, _OPEN):
                depth += 1
                if depth > limits.yaml_depth:
                    return "yaml-too-deep", f"nested deeper than {limits.yaml_depth}", _mark(event)
            elif isinstance(event, _CLOSE):
                depth -= 1
                continue
            nodes += 1
            if nodes > limits.yaml_nodes:
                return "yaml-too-large", f"more than {limits.yaml_nodes} nodes", _mark(event)
    except (yaml.YAMLError, UnicodeError):
        return None
    return None


def _suspect(data: bytes, limits: Limits) -> bool:
    if data.count(b"[") + data.count(b"{") >= _BRACKETS or _DASHES.search(data):
        return True
    return data.count(b",") + data.count(b"\n") + data.count(b":") >= limits.yaml_nodes


def _mark(event: yaml.Event) -> tuple[int, int]:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (0, 0)
