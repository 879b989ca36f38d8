"""What crossed each port, counted by the devices: read in one question a namespace."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from plugins.local.net.devices import DeviceView, Seen
from plugins.local.net.observe import Place

Numbers = tuple[int, int, int, int, int, int]
_NOTHING: Numbers = (0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class PortCount:
    """A port's counters as its VNF sees them: `in_` is into the VNF."""

    resource_id: str
    cp_id: str
    in_packets: int
    in_bytes: int
    in_dropped: int
    out_packets: int
    out_bytes: int
    out_dropped: int


@dataclass(slots=True)
class _Known:
    index: int
    last: Numbers
    before: Numbers = _NOTHING  # what earlier devices of the same name had counted


class PortCounters:
    """Safe to use from several threads. A device that is made anew, or a patch that went, begins at 0: what it had
    counted when it was last read is kept, so that counters only rise while their port is asked for."""

    def __init__(self, view: DeviceView) -> None:
        self.view = view
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], dict[str, _Known]] = {}  # port -> device's name -> what is known

    def read(self, asked: Mapping[str, Iterable[Place]]) -> list[PortCount]:
        """Of the ports of these resources that are there."""
        seen: dict[str, Mapping[str, Seen]] = {}
        found = []
        for resource_id, places in asked.items():
            for place in places:
                namespace, name = place.devices[0]
                if namespace not in seen:
                    seen[namespace] = self.view.devices(namespace, counters=True) or {}
                devices = seen[namespace]
                if name in devices:
                    counted = self._total((resource_id, place.cp_id), _of_port(place, devices))
                    found.append(_port_count(resource_id, place, counted))
        return found

    def forget(self, resource_id: str) -> None:
        """It is gone; another of the same id begins at 0."""
        with self._lock:
            for key in [key for key in self._known if key[0] == resource_id]:
                del self._known[key]

    def _total(self, key: tuple[str, str], devices: Sequence[Seen]) -> Numbers:
        with self._lock:
            known = self._known.setdefault(key, {})
            for device in devices:
                numbers = (
                    device.rx_packets,
                    device.rx_bytes,
                    device.rx_dropped,
                    device.tx_packets,
                    device.tx_bytes,
                    device.tx_dropped,
                )
                before = known.get(device.name)
                if before is None:
                    known[device.name] = _Known(device.index, numbers)
                elif before.index == device.index:
                    before.last = numbers
                else:
                    known[device.name] = _Known(device.index, numbers, _sum(before.before, before.last))
            total = _NOTHING
            for one in known.values():
                total = _sum(total, _sum(one.before, one.last))
            return total


def _of_port(place: Place, devices: Mapping[str, Seen]) -> list[Seen]:
    """The device itself, and the patch beside it: redirected frames are counted by the patch only."""
    names = (place.devices[0][1], place.patch)
    return [devices[name] for name in names if name in devices]


def _sum(one: Numbers, other: Numbers) -> Numbers:
    a, b = one, other
    return a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3], a[4] + b[4], a[5] + b[5]


def _port_count(resource_id: str, place: Place, counted: Numbers) -> PortCount:
    received, sent = counted[:3], counted[3:]
    inward, outward = (sent, received) if place.mirrored else (received, sent)
    return PortCount(resource_id, place.cp_id, *inward, *outward)
