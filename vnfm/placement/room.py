"""By how much a host would have to grow, so that some of a request's VNFCs have room on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from vnfm.placement.amounts import MIB, more, total
from vnfm.placement.book import Amounts
from vnfm.placement.estate import CPU, DISK, GPUS, HUGEPAGES, MEMORY, VFS, Bools, Ints
from vnfm.placement.hindrances import kernels_open
from vnfm.placement.inventory import Host
from vnfm.placement.request import Demand
from vnfm.placement.task import Task
from vnfm.placement.ways import Way

WHOLE = 4  # VNFCs up to which all subsets of them are looked at
_STEP = (100, 1, 1, 1, 1, 1)
_SCALE = (1000, 1024, 1024, 1, 1, 10 * 1024)  # of a server's CPU, GiB, ...: what counts as equally much


def growths(task: Task) -> Iterator[tuple[str, Host]]:
    """What a host would have more, in words, and the host with that: for each some of the VNFCs the host that lacks
    least, what is least in all first."""
    found = [made for some in _subsets(task.demands) if (made := _grown(task, some)) is not None]
    told: set[str] = set()
    for _, text, host in sorted(found, key=lambda x: x[:2]):
        if text not in told:
            told.add(text)
            yield text, host


def _subsets(demands: tuple[Demand, ...]) -> Iterator[tuple[Demand, ...]]:
    """Those that could be given room: all subsets of few; of many each alone, and the smallest together."""
    if len(demands) <= WHOLE:
        for n in range(1, len(demands) + 1):
            yield from combinations(demands, n)
        return
    yield from ((d,) for d in demands)
    ordered = sorted(demands, key=lambda d: (d.memory_bytes, d.cpu_milli))
    yield from (tuple(ordered[:n]) for n in range(2, len(ordered) + 1))


def _grown(task: Task, demands: tuple[Demand, ...]) -> tuple[float, str, Host] | None:
    """The host that lacks least to hold these beside what it has, with that; None where none lacks anything."""
    book = task.desk.book
    if not all(task.openings[d.id].ways for d in demands):
        return None
    open_to: Bools = np.ones(book.estate.size, dtype=np.bool_)
    takes: list[Amounts] = []
    for demand in demands:
        ways = task.openings[demand.id].ways
        open_to = open_to & np.logical_or.reduce([w.allowed & _kernel(task, demand, w) for w in ways])
        takes.append(ways[0].amounts)
    asked = total(takes)
    strict = total(a for d, a in zip(demands, takes, strict=True) if d.needs.numa_strict)
    size: npt.NDArray[np.float64] = np.zeros(book.estate.size)
    lacks: Ints = np.zeros((6, book.estate.size), dtype=np.int64)
    for r, amount in enumerate(asked):
        if amount:
            lacks[r] = (amount - book.free[r].astype(np.int64)).clip(0)
            if r < DISK and strict[r]:
                lacks[r] = np.maximum(lacks[r], strict[r] - book.cell_free[0, r].astype(np.int64))
            size += lacks[r] / _SCALE[r]
    size[~open_to] = np.inf
    node = int(size.argmin())
    if not 0 < size[node] < np.inf:
        return None
    opening = task.openings[demands[0].id]
    at = next((int(hosts[node]) for hosts in opening.hosts if hosts[node] >= 0), -1)
    host = task.snapshot.hosts[at]
    if not host.cells or host.worker:  # a worker's size is the VIM's
        return None
    extra = {r: -(-int(lacks[r, node]) // _STEP[r]) * _STEP[r] for r in range(6) if lacks[r, node]}
    text = " and ".join(more(r, n) for r, n in extra.items())
    grown = host
    for r, n in extra.items():
        grown = _with_more(grown, r, n)
    return float(size[node]), f"{text} on host {host.id}", grown


def _kernel(task: Task, demand: Demand, way: Way) -> Bools:
    book = task.desk.book
    if not way.shares:
        return np.ones(book.estate.size, dtype=np.bool_)
    return kernels_open(book, book.tenant(demand.tenant), way.shares)


def _with_more(host: Host, resource: int, extra: int) -> Host:
    if resource == DISK:
        return replace(host, disk_bytes=None if host.disk_bytes is None else host.disk_bytes + extra * MIB)
    first = host.cells[0]
    if resource == CPU:
        first = replace(first, cpu_milli=first.cpu_milli + extra)
    elif resource == MEMORY:
        first = replace(first, memory_bytes=first.memory_bytes + extra * MIB)
    elif resource == HUGEPAGES:
        first = replace(first, hugepage_bytes=first.hugepage_bytes + extra * MIB)
    elif resource == VFS:
        first = replace(first, vfs=first.vfs + extra)
    elif resource == GPUS:
        first = replace(first, gpus=first.gpus + extra)
    return replace(host, cells=(first, *host.cells[1:]))
