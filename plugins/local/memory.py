"""Measuring what a realization itself takes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from plugins.local.cgroups import Hierarchy, Mode

_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) ")
_KIB = 1024


def kernel_bytes(cgroups: Hierarchy, group: str) -> int:
    """Kernel memory charged to the group: stacks, sockets, page tables, mounts."""
    mount = cgroups.mounts.get("memory")
    if mount is None:
        return 0
    folder = mount / group
    with suppress(OSError, ValueError):
        if cgroups.mode is not Mode.V2:
            return int((folder / "memory.kmem.usage_in_bytes").read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return int(stat.get("kernel", "0"))
    return 0


def guest_overhead_bytes(pids: Iterable[int]) -> int:
    """Of the processes that make up a guest: all resident memory but the guest's RAM, shared pages by their share.

    The guest's RAM is the largest writable mapping that holds no code (translated code stands in executable ones).
    """
    total, largest = 0, (0, 0)
    for pid in pids:
        with suppress(OSError):
            for size, permissions, resident in parse_smaps(Path(f"/proc/{pid}/smaps").read_text()):
                total += resident
                if "w" in permissions and "x" not in permissions:
                    largest = max(largest, (size, resident))
    return total - largest[1]


def parse_smaps(text: str) -> list[tuple[int, str, int]]:
    """(size, permissions, proportional resident bytes) of every mapping."""
    found: list[tuple[int, str, int]] = []
    for line in text.splitlines():
        head = _MAPPING.match(line)
        if head:
            found.append((int(head[2], 16) - int(head[1], 16), head[3], 0))
        elif line.startswith("Pss:") and found:
            size, permissions, _ = found[-1]
            found[-1] = (size, permissions, int(line.split()[1]) * _KIB)
    return found
