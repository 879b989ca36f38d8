"""Where servers are, and how far zones are apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vnfm.placement.snapshot import Snapshot
from vnfm.placement.types import HostKey


@dataclass(frozen=True, slots=True)
class Network:
    """Of a snapshot's servers; made by `Network.of`."""

    zones: Mapping[HostKey, tuple[str, str]]  # server -> (vim, zone)
    zone_us: Mapping[tuple[str, str, str], int]
    sites: Mapping[HostKey, str]

    @classmethod
    def of(cls, snapshot: Snapshot) -> Network:
        """The places of the snapshot's servers."""
        zones, sites = _places(snapshot)
        zone_us = {}
        for told in snapshot.latencies:
            zone_us[(told.vim, told.zone_a, told.zone_b)] = told.one_way_us
            zone_us.setdefault((told.vim, told.zone_b, told.zone_a), told.one_way_us)
        return cls(zones, zone_us, sites)

    def between_zones(self, a: tuple[str, str], b: tuple[str, str]) -> int | None:
        """The latency that is told between two zones (VIM and name); None: nobody tells."""
        (vim_a, zone_a), (vim_b, zone_b) = a, b
        for vim in (vim_a, vim_b, ""):
            told = self.zone_us.get((vim, zone_a, zone_b))
            if told is not None:
                return told
        return None


def _places(snapshot: Snapshot) -> tuple[dict[HostKey, tuple[str, str]], dict[HostKey, str]]:
    """Zone and site of each server, as the first VIM (by name) tells them that tells any."""
    zones: dict[HostKey, tuple[str, str]] = {}
    sites: dict[HostKey, str] = {}
    for host in snapshot.hosts:
        root = snapshot.root(host.key)
        if snapshot.machine[host.key] != root:
            continue
        if not zones.get(root, ("", ""))[1]:
            zones[root] = (host.vim, host.zone)
        if not sites.get(root, "").startswith("site:"):
            sites[root] = f"site:{host.site}" if host.site else sites.get(root, f"vim:{host.vim}")
    return zones, sites
