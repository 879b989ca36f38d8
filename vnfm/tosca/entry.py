"""Which YAML file of a package is its VNFD, where nothing says so."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from vnfm.tosca.archive import Archive, small_file
from vnfm.tosca.limits import Limits
from vnfm.tosca.names import is_junk, is_yaml

MOST_FILES = 50  # that are looked into
_TOSCA = re.compile(rb"^['\"]?tosca(_definitions_v|DefinitionsV)ersion['\"]?\s*:", re.M)
_TEMPLATE = re.compile(rb"^['\"]?topology(_t|T)emplate['\"]?\s*:", re.M)
_VNF = re.compile(rb"tosca\.nodes\.nfv\.(VNF|Vdu\.)")


def is_tosca(archive: Archive, name: str, limits: Limits) -> bool:
    """Whether a file says that it is a TOSCA file."""
    return bool(_TOSCA.search(small_file(archive, name, limits.yaml_bytes)))


def likely_entry(archive: Archive, limits: Limits) -> str:
    """The one file that can only be it, at the root or else anywhere; empty where there is none or more than one."""
    held = [n for n in archive.sizes if is_yaml(n) and not is_junk(n)]
    at_root = [n for n in held if "/" not in n]
    named = [n for n in at_root if f"{posixpath.splitext(n)[0]}.mf" in archive.sizes]
    if len(named) == 1:
        return named[0]
    return _topmost(archive, at_root, limits) or _topmost(archive, held, limits)


def _topmost(archive: Archive, names: Iterable[str], limits: Limits) -> str:
    """Of the files with a topology template the one that no other names: flavours are imported by the entry."""
    texts: dict[str, bytes] = {}
    left = limits.yaml_total_bytes
    for name in sorted(names)[:MOST_FILES]:
        left -= archive.sizes[name]
        if left < 0:
            return ""
        text = small_file(archive, name, limits.yaml_bytes)
        if _TEMPLATE.search(text):
            texts[name] = text
    free = [n for n in texts if not any(posixpath.basename(n).encode() in t for o, t in texts.items() if o != n)]
    if len(free) > 1:
        free = [n for n in free if _VNF.search(texts[n])]
    return free[0] if len(free) == 1 else ""
