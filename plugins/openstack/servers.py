"""The servers of a project, read again by what has changed: a list of them all has Nova ask Neutron about each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from plugins.openstack.cloud import Cloud

OVERLAP_S = 30  # our clock and the cloud's, and what was written late
_WHOLE_ROUNDS = 30
_GONE = ("DELETED", "SOFT_DELETED")


def since(at_s: float) -> dict[str, str | int | list[str]]:
    """Nova's words for what has changed after a time, with what may have come late; all, where there is none."""
    if not at_s:
        return {}
    return {"changes-since": datetime.fromtimestamp(at_s - OVERLAP_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}


class Servers:
    """One project's, by id."""

    def __init__(self, cloud: Cloud, clock_s: Callable[[], float] = time.time) -> None:
        self._cloud = cloud
        self._clock_s = clock_s
        self._known: dict[str, Mapping[str, Any]] = {}
        self._since_s = 0.0
        self._round = 0

    async def read(self) -> list[Mapping[str, Any]]:
        """Those that there are. Raises PluginError."""
        begun_s, whole = self._clock_s(), self._round % _WHOLE_ROUNDS == 0
        asked = since(0.0 if whole else self._since_s)
        changed = [one async for one in self._cloud.each("compute", "/servers/detail", "servers", params=asked)]
        known = {} if whole else dict(self._known)
        known.update({str(server["id"]): server for server in changed})
        self._known = {key: server for key, server in known.items() if server["status"] not in _GONE}
        self._since_s = begun_s
        self._round += 1
        return list(self._known.values())
