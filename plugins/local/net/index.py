"""What the stamps say, by what statistics ask for; worked out once and kept until a stamp changes."""

from __future__ import annotations

import threading
from collections.abc import Container
from dataclasses import dataclass

from plugins.local.net import naming, nftcounters, observe, paths, steering
from plugins.local.net.observe import Place
from plugins.local.net.specs import Wiring
from plugins.local.net.stamps import Stamps

# A file system's clock may stand still for some ms: what changed so lately may change again unnoticed.
_FRESH_NS = 100_000_000
_ETHERNET_BYTES = 14  # which the fabric's counters leave out and devices count


@dataclass(frozen=True, slots=True)
class PathCount:
    """What of a path came into the fabric by a port: out of the VNF or SAP there, on its way along the path."""

    path_id: str
    resource_id: str
    cp_id: str
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class _Counter:
    path_id: str
    resource_id: str
    cp_id: str
    names: tuple[str, ...]  # the first that is there counts


@dataclass(slots=True)
class _Rising:
    last: tuple[int, int] = (0, 0)
    before: tuple[int, int] = (0, 0)

    def total(self, now: tuple[int, int]) -> tuple[int, int]:
        """A counter that was made anew begins at 0: what it had counted is kept."""
        if now < self.last:
            self.before = self.before[0] + self.last[0], self.before[1] + self.last[1]
        self.last = now
        return self.before[0] + now[0], self.before[1] + now[1]


class Index:
    """Safe to use from several threads."""

    def __init__(self, stamps: Stamps) -> None:
        self._stamps = stamps
        self._lock = threading.Lock()
        self._key: tuple[int, ...] = ()
        self._places: dict[str, list[Place]] = {}
        self._counters: dict[str, list[_Counter]] = {}  # by fabric
        self._rising: dict[tuple[str, str, str], _Rising] = {}

    def places(self, resource_ids: Container[str]) -> dict[str, list[Place]]:
        """Where the ports of these computes and SAPs are on this host."""
        with self._lock:
            self._refresh()
            return {one: found for one, found in self._places.items() if one in resource_ids}

    def path_counts(self, path_ids: Container[str]) -> list[PathCount]:
        """What these paths' steered ports have counted; a pair that is joined by its own wire counts for no path."""
        with self._lock:
            self._refresh()
            fabrics = {
                fabric: wanted
                for fabric, counters in self._counters.items()
                if (wanted := [one for one in counters if one.path_id in path_ids])
            }
        found = []
        for fabric, counters in fabrics.items():
            counted = nftcounters.read(fabric)
            for one in counters:
                now = next((counted[name] for name in one.names if name in counted), None)
                if now is not None:
                    with self._lock:
                        key = one.path_id, one.resource_id, one.cp_id
                        total = self._rising.setdefault(key, _Rising()).total(now)
                    found.append(PathCount(*key, total[0], total[1] + _ETHERNET_BYTES * total[0]))
        return found

    def _refresh(self) -> None:
        key = self._stamps.changed()
        if key == self._key:
            return
        self._places = observe.places(paths.plans(self._stamps))
        self._counters = _counters(self._stamps)
        known = {(one.path_id, one.resource_id, one.cp_id) for every in self._counters.values() for one in every}
        self._rising = {one: rising for one, rising in self._rising.items() if one in known}
        self._key = key if self._stamps.is_settled(_FRESH_NS) else ()


def _counters(stamps: Stamps) -> dict[str, list[_Counter]]:
    found: dict[str, list[_Counter]] = {}
    fabrics = {paths.fabric_of_stamp(path_id, stamp) for path_id, stamp in stamps.paths.all().items()}
    plans = paths.plans(stamps)
    for fabric in sorted(fabrics):
        ports = {
            naming.port_name(port.member.resource_id, port.member.cp_id): port.member
            for plan in plans
            if plan.fabric == fabric and plan.wiring is not Wiring.BRIDGE
            for port in plan.ports
        }
        users: dict[str, set[str]] = {}
        for course in paths.view(stamps, fabric).layout().courses:
            users.setdefault(course.port, set()).add(course.path_id)
        for name, path_ids in sorted(users.items()):
            if ports[name].kind.is_edge:
                continue  # what comes from another VIM is counted there
            for path_id in sorted(path_ids):
                # A path that has a port to itself and takes all that comes has there the port's own count.
                own = (name,) if len(path_ids) == 1 else ()
                names = (steering.path_counter(name, path_id), *own)
                counter = _Counter(path_id, ports[name].resource_id, ports[name].cp_id, names)
                found.setdefault(fabric, []).append(counter)
    return found
