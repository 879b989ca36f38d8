"""Counting, at the hops of a piece of a path, the packets of a probe that another VIM sends."""

from __future__ import annotations

import selectors
import threading
import time
from collections import deque
from collections.abc import Sequence

from plugins.local.net import capture
from plugins.local.net.flavours import Echo
from plugins.local.net.plan import LinkPlan
from plugins.local.net.probe import GRACE_SECONDS, edges_of, open_watches, sighting, watches
from plugins.local.net.specs import PathSpec, ProbeResult
from plugins.local.net.tally import Sighting, course, is_whole, journeys, result

_SIGHTINGS_MAX = 200_000
_LOOK_SECONDS = 0.1
_AGAIN_SECONDS = 0.01


class Counter:
    """Nothing is missed from when it was made until it is closed, which the maker has to see to. It reads in a thread
    of its own: scouts may come for minutes before the packets that count."""

    def __init__(self, path: PathSpec, plans: Sequence[LinkPlan], token: bytes, version: int) -> None:
        """NotThereError where a port of the path is not there."""
        self._path = path
        self._edges = edges_of(path)
        self._flavour = Echo(version, token)
        self._sightings: deque[Sighting] = deque(maxlen=_SIGHTINGS_MAX)
        self._closing = threading.Event()
        self._sources = open_watches(watches(path, plans), self._flavour)
        self._selector = selectors.DefaultSelector()
        for source, watch in self._sources:
            self._selector.register(source, selectors.EVENT_READ, watch)
        self._thread = threading.Thread(target=self._read, name="count", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._closing.is_set():
            for key, _events in self._selector.select(_LOOK_SECONDS):
                try:
                    while (caught := capture.read_capture(key.fileobj)) is not None:  # type: ignore[arg-type]
                        if (seen := sighting(self._flavour, caught, key.data)) is not None:
                            self._sightings.append(seen)
                except OSError:
                    self._selector.unregister(key.fileobj)  # the device went away: what it would have seen is missing

    def counts(self, first: int, packets: int) -> ProbeResult:
        """What was seen of those packets; what is on its way still is waited for, but not for long."""
        expected = course(len(self._path.hops), self._edges)
        deadline = time.monotonic() + GRACE_SECONDS
        while True:
            seen = [one for one in self._sightings.copy() if first <= one.sequence < first + packets]
            found = journeys(seen)
            whole = sum(is_whole(journey, expected) for journey in found.values())
            if whole == packets or time.monotonic() >= deadline:
                return result([hop.name for hop in self._path.hops], packets, seen, self._edges)
            time.sleep(_AGAIN_SECONDS)

    def close(self) -> None:
        """Let go of the sockets."""
        self._closing.set()
        self._thread.join()
        self._selector.close()
        capture.close_all([source for source, _watch in self._sources])
