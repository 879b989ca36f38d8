"""Scaling, levels, affinity, security rules, indicators and package changes (SOL001 6.10)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ScalingAspect:
    """SOL001 ScalingAspects with VduScalingAspectDeltas: count at level L = initial + the first L deltas."""

    id: str
    max_level: int
    name: str = ""
    description: str = ""
    step_deltas: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # VDU -> instances added by each step


@dataclass(frozen=True, slots=True)
class InstantiationLevel:
    """SOL001 InstantiationLevels with VduInstantiationLevels."""

    id: str
    instances: Mapping[str, int] = field(default_factory=dict)
    scale_levels: Mapping[str, int] = field(default_factory=dict)
    default: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class AffinityRule:
    """SOL001 AffinityRule or AntiAffinityRule."""

    id: str
    anti: bool
    scope: str  # nfvi_node, rack, zone, zone_group, nfvi_pop
    targets: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()  # placement groups by which the targets were named
    links: tuple[str, ...] = ()  # targets that are virtual links


@dataclass(frozen=True, slots=True)
class PlacementGroup:
    """SOL001 PlacementGroup."""

    id: str
    members: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True)
class SecurityGroupRule:
    """SOL001 SecurityGroupRule: what traffic the CPs in `targets` let pass."""

    id: str
    targets: tuple[str, ...] = ()
    direction: str = "ingress"
    ether_type: str = "ipv4"
    protocol: str = "tcp"
    port_min: int = 0
    port_max: int = 65535
    description: str = ""


@dataclass(frozen=True, slots=True)
class VnfIndicator:
    """SOL001 VnfIndicator: a value by which the VNF tells how it is."""

    id: str
    source: str
    name: str = ""
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VnfPackageChange:
    """SOL001 VnfPackageChange: from which VNFDs (`selector`) an instance may come here, and how."""

    id: str
    selector: tuple[Mapping[str, str], ...] = ()
    modification_qualifier: str = ""
    destination_flavour: str = ""
    mappings: tuple[Mapping[str, str], ...] = ()
    description: str = ""
