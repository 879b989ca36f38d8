"""Where servers are, how far zones are apart, and which licences sites have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vnfm.model.resources import Licence
from vnfm.placement.inventory import HostKey
from vnfm.placement.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Network:
    """Of a snapshot's servers; made by `Network.of`."""

    zones: Mapping[HostKey, tuple[str, str]]  # server -> (vim, zone)
    zone_us: Mapping[tuple[str, str, str], int]
    sites: Mapping[HostKey, str]
    racks: Mapping[HostKey, str]
    pools: Mapping[tuple[str, str], int]  # (licence, site) -> how many, ours included
    joined_us: Mapping[frozenset[str], int]  # two VIMs -> one way by a network that joins their links, where it is told

    @classmethod
    def of(cls, snapshot: Snapshot) -> Network:
        """The places of the snapshot's servers."""
        zones, sites, racks = _places(snapshot)
        zone_us = {}
        for told in snapshot.latencies:
            zone_us[(told.vim, told.zone_a, told.zone_b)] = told.one_way_us
            zone_us.setdefault((told.vim, told.zone_b, told.zone_a), told.one_way_us)
        return cls(zones, zone_us, sites, racks, _pools(snapshot, sites), _joined(snapshot))

    def site_of(self, pool: Licence, snapshot: Snapshot) -> str:
        """The site that a pool of licences is for."""
        return _site_of(pool, {self.sites[snapshot.root(h.key)] for h in snapshot.hosts if h.vim == pool.vim})

    def between_zones(self, a: tuple[str, str], b: tuple[str, str]) -> int | None:
        """The latency that is told between two zones (VIM and name); None: nobody tells."""
        (vim_a, zone_a), (vim_b, zone_b) = a, b
        joined = self.joined_us.get(frozenset((vim_a, vim_b)))
        if joined is not None:
            return joined
        for vim in (vim_a, vim_b, ""):
            told = self.zone_us.get((vim, zone_a, zone_b))
            if told is not None:
                return told
        return None


def _site_of(pool: Licence, known: set[str]) -> str:
    """The site that a pool is for, of those that its VIM has hosts at."""
    return f"site:{pool.site}" if pool.site else min(known) if len(known) == 1 else f"vim:{pool.vim}"


def _joined(snapshot: Snapshot) -> dict[frozenset[str], int]:
    found: dict[frozenset[str], int] = {}
    for one in snapshot.reaches:
        for other in snapshot.reaches:
            if one.vim < other.vim and one.network == other.network and set(one.encaps) & set(other.encaps):
                pair, way_us = frozenset((one.vim, other.vim)), one.one_way_us + other.one_way_us
                if way_us:
                    found[pair] = min(way_us, found.get(pair, way_us))
    return found


def _pools(snapshot: Snapshot, sites: Mapping[HostKey, str]) -> dict[tuple[str, str], int]:
    """Licences by site. A pool without a site is that of the VIM's only site, or of its hosts that tell none."""
    of_vim: dict[str, set[str]] = {}
    for host in snapshot.hosts if snapshot.licences else ():
        of_vim.setdefault(host.vim, set()).add(sites[snapshot.root(host.key)])
    found: dict[tuple[str, str], int] = {}
    for pool in snapshot.licences:
        known = of_vim.get(pool.vim, set())
        site = _site_of(pool, known)
        found[pool.id, site] = found.get((pool.id, site), 0) + pool.count
    return found


def _places(
    snapshot: Snapshot,
) -> tuple[dict[HostKey, tuple[str, str]], dict[HostKey, str], dict[HostKey, str]]:
    """Zone, site and rack of each server, as the first VIM (by name) tells them that tells any."""
    zones: dict[HostKey, tuple[str, str]] = {}
    sites: dict[HostKey, str] = {}
    racks: dict[HostKey, str] = {}
    for host in snapshot.hosts:
        root = snapshot.root(host.key)
        if snapshot.machine[host.key] != root:
            continue
        if not zones.get(root, ("", ""))[1]:
            zones[root] = (host.vim, host.zone)
        if not sites.get(root, "").startswith("site:"):
            sites[root] = f"site:{host.site}" if host.site else sites.get(root, f"vim:{host.vim}")
        racks[root] = racks.get(root) or host.rack
    return zones, sites, racks
