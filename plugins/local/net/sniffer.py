"""What crosses a port, wherever its frames go just then: its device, and the patch beside it while there is one."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Sequence

from plugins.local.net import netns
from plugins.local.net.devices import DeviceView
from plugins.local.net.errors import NotThereError
from plugins.local.net.observe import Place
from plugins.local.net.ring import Frame, Ring

_LOOK_SECONDS = 0.25
Deliver = Callable[[Sequence[Frame]], bool]


class Sniffer:
    """Opened, then run by one thread. NotThereError where the port is not there."""

    def __init__(self, place: Place, view: DeviceView, snap_bytes: int = 0) -> None:
        self._place = place
        self._view = view
        self._snap_bytes = snap_bytes
        self._rings: dict[str, tuple[int, Ring]] = {}
        self.dropped = 0
        if not self._follow():
            namespace, name = place.devices[0]
            raise NotThereError(f"port {place.cp_id} ({namespace}/{name}) is not there: is its compute running?")

    def run(self, deliver: Deliver, stop: threading.Event) -> None:
        """Batches of frames in order of time, until told to stop, the receiver says no, or the port is gone."""
        try:
            looked = time.monotonic()
            while not stop.is_set():
                rings = [ring for _, ring in self._rings.values()]
                select.select(rings, [], [], _LOOK_SECONDS)
                batch = [frame for ring in rings for frame in ring.frames()]
                if len(rings) > 1:
                    batch.sort(key=lambda frame: frame.at_ns)
                if batch and not deliver(batch):
                    return
                if time.monotonic() - looked > _LOOK_SECONDS:
                    looked = time.monotonic()
                    if not self._follow():
                        return
        finally:
            self.close()

    def close(self) -> None:
        """Let go of all devices."""
        for _, ring in self._rings.values():
            self.dropped += ring.close()
        self._rings.clear()

    def _follow(self) -> bool:
        """Open what is new, close what is gone; whether the port itself is there."""
        namespace, name = self._place.devices[0]
        devices = self._view.devices(namespace) or {}
        wanted = {one: devices[one].index for one in (name, self._place.patch) if one in devices}
        for gone in [one for one, (index, _) in self._rings.items() if wanted.get(one) != index]:
            self.dropped += self._rings.pop(gone)[1].close()
        for new in wanted.keys() - self._rings.keys():
            # What comes in by the patch comes in by the port again.
            try:
                ring = self._open(namespace, new, outgoing_only=new != name)
            except (OSError, NotThereError):
                continue  # it went just now
            self._rings[new] = wanted[new], ring
        return name in self._rings

    def _open(self, namespace: str, name: str, *, outgoing_only: bool) -> Ring:
        return netns.inside(namespace, lambda: Ring(name, self._snap_bytes, outgoing_only=outgoing_only))
