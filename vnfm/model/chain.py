"""A service chain as ordered: VNFs, ends and forwarding paths.

NS level in ETSI's words: an NSD with NFP and VNFFG (SOL001 clause 7). It stands here because the manager itself keeps
chains where no NFVO does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from vnfm.model.needs import Isolation


@dataclass(frozen=True, slots=True)
class Match:
    """What traffic takes a path (SOL001 NfpRule's match), seen from the first hop; the way back is mirrored. Zero or
    empty matches anything."""

    source_cidr: str = ""
    destination_cidr: str = ""
    ip_protocol: int = 0
    destination_port: int = 0
    vlan: int = 0
    dscp: int = 0
    source_port: int = 0


@dataclass(frozen=True, slots=True)
class ChainEnd:
    """A Sap: where traffic enters or leaves. `cidr` is the network behind it."""

    name: str
    cidr: str


@dataclass(frozen=True, slots=True)
class ChainVnf:
    """A VNF of the chain by its alias. `isolation` stands in place of what the VNFD asks for, `instances` (by VDU) in
    place of the instantiation level's numbers once the VNF was scaled. It may be at `sites`, in `zones` and in the VIM
    `vim` only; none named: anywhere."""

    alias: str
    vnfd_id: str
    flavour_id: str = ""
    level_id: str = ""
    isolation: Isolation | None = None
    instances: Mapping[str, int] = field(default_factory=dict)
    sites: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    vim: str = ""


@dataclass(frozen=True, slots=True)
class PathHop:
    """One position of a path. CP ids are empty where the VNFD's own order decides: first in, second out."""

    name: str
    ingress_cp: str = ""
    egress_cp: str = ""


@dataclass(frozen=True, slots=True)
class ForwardingPath:
    """An NFP: ends first and last, VNFs between. `max_latency_us` bounds it beside what bounds all paths."""

    name: str
    hops: tuple[PathHop, ...]
    match: Match = field(default_factory=Match)
    max_latency_us: int | None = None


@dataclass(frozen=True, slots=True)
class ChainRule:
    """(Anti-)affinity among the chain's VNFs."""

    kind: str  # affinity | anti-affinity
    scope: str  # NFVI_NODE | RACK | ZONE | ZONE_GROUP | NFVI_POP
    vnfs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServiceChain:
    """A chain as ordered, whichever form it was written in."""

    name: str
    ends: tuple[ChainEnd, ...]
    vnfs: tuple[ChainVnf, ...]
    paths: tuple[ForwardingPath, ...]
    max_latency_us: int | None = None
    rules: tuple[ChainRule, ...] = ()

    def latency_bound_us(self, path: str) -> int | None:
        """The bound on a path's latency: its own or that of all paths, whichever is tighter."""
        own = (p.max_latency_us for p in self.paths if p.name == path)
        return min((us for us in (self.max_latency_us, *own) if us is not None), default=None)

    def vnf(self, alias: str) -> ChainVnf | None:
        """The VNF of that alias."""
        return next((v for v in self.vnfs if v.alias == alias), None)

    def end(self, name: str) -> ChainEnd | None:
        """The end of that name."""
        return next((e for e in self.ends if e.name == name), None)

    def held_to(self, alias: str, isolation: Isolation | None) -> ServiceChain:
        """The chain with another word on one VNF's isolation."""
        vnfs = tuple(replace(v, isolation=isolation) if v.alias == alias else v for v in self.vnfs)
        return replace(self, vnfs=vnfs)
