"""What is asked: a chain, or a part of one, to be placed whole or not at all. Units as in `inventory.py`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from vnfm.model.needs import Needs
from vnfm.model.placement import Runtime


class RuleKind(StrEnum):
    """SOL003 6.5.3.9 affinityOrAntiAffinity."""

    AFFINITY = "affinity"
    ANTI_AFFINITY = "anti-affinity"


class Scope(StrEnum):
    """SOL003 6.5.3.9, and RACK, which ETSI has no word for. Always read on the physical server: a worker VM counts as
    the server below it.

    ZONE_GROUP and NFVI_POP are both the server's site (or its VIM where no site is told), ZONE the zone within it, RACK
    the rack within that. Servers of one zone that tell no rack count as one rack.
    """

    NFVI_NODE = "NFVI_NODE"
    RACK = "RACK"
    ZONE = "ZONE"
    ZONE_GROUP = "ZONE_GROUP"
    NFVI_POP = "NFVI_POP"


@dataclass(frozen=True, slots=True)
class Demand:
    """One VNFC to place. `id` becomes the reservation's resource id; empty sets of vims, sites, zones mean any.
    `arches`: the architecture of the image for a runtime, where it is told."""

    id: str
    alias: str
    vdu: str
    tenant: str
    cpu_milli: int
    memory_bytes: int
    disk_bytes: int
    needs: Needs
    artefacts: frozenset[Runtime]
    vnfd_id: str = ""
    vims: frozenset[str] = frozenset()
    sites: frozenset[str] = frozenset()
    zones: frozenset[str] = frozenset()
    arches: tuple[tuple[Runtime, str], ...] = ()

    def image_arch(self, runtime: Runtime) -> str:
        """The architecture of the image for that runtime; empty: any."""
        return next((arch for r, arch in self.arches if r is runtime), "")


@dataclass(frozen=True, slots=True)
class End:
    """What is already placed: a chain's end, or a VNFC that stays. An empty host is wherever its neighbour is.

    With `runtime` the hop cost of that runtime counts at its end of a link. `name`: how texts call it, else by its id.
    """

    id: str
    vim: str = ""
    host: str = ""
    runtime: Runtime | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """A virtual link between two demands or ends (by id). `name`: how texts call it, else by its id."""

    id: str
    a: str
    b: str
    bandwidth_bps: int = 0
    max_latency_us: int | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class PathBound:
    """A bound on the summed latency of links (by id)."""

    id: str
    links: tuple[str, ...]
    max_latency_us: int


@dataclass(frozen=True, slots=True)
class Rule:
    """(Anti-)affinity among groups of demands or ends (by id).

    Affinity: all of all groups in one domain. Anti-affinity: no two of different groups in one domain; VNFCs of one
    group may share.
    """

    id: str
    kind: RuleKind
    scope: Scope
    groups: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """A chain, or a part of one, to be placed whole or not at all."""

    tenant: str
    demands: tuple[Demand, ...]
    links: tuple[Link, ...] = ()
    paths: tuple[PathBound, ...] = ()
    rules: tuple[Rule, ...] = ()
    ends: tuple[End, ...] = ()
