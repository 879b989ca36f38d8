"""What a VDU asks of its realization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum


class Isolation(IntEnum):
    """What a VNF may share with strangers, weakest first. A filter, never a score."""

    NONE = 0  # kernel shared with anyone
    TENANT = 1  # kernel shared within the tenant only
    NESTED = 2  # behind a VM of the tenant; containers in a worker VM suffice
    KERNEL = 3  # a kernel of its own; a microVM suffices
    MACHINE = 4  # a VM


class Trait(StrEnum):
    """What kind of work a VNF does, as far as that speaks for a realization. Never a must: see vnfm.placement.rules."""

    STATE = "state"  # it keeps state that is dear
    PACKETS = "packets"  # it works on every packet
    SCALING = "scaling"  # it grows and shrinks fast
    LIFETIME = "lifetime"  # it lives shortly
    CONTAINER = "container"  # it is to be handled like a container, isolated or not
    CLUSTER = "cluster"  # it is to be managed with a cluster of containers, and be better isolated than those


@dataclass(frozen=True, slots=True)
class Needs:
    """What a VDU asks of its realization, gathered from the places where SOL001 puts it.

    `isolation`, `own_kernel`, `own_os`, `max_startup_ms`, `max_hop_us`, `min_trust` and `licence` come from
    requested_additional_capabilities; those named in `wishes` are desired only (support_mandatory false). A licence is
    always a must: each instance takes `licence_count` of it while it is placed.
    """

    isolation: Isolation = Isolation.NONE
    own_kernel: bool = False
    own_os: bool = False
    min_trust: int = 0
    max_startup_ms: int | None = None
    max_hop_us: int | None = None
    cpu_pinned: bool = False
    numa_strict: bool = False
    hugepage_bytes: int = 0  # how much memory has to be backed by huge pages
    sriov_ports: int = 0
    gpus: int = 0
    arch: str = ""
    licence: str = ""
    licence_count: int = 0
    traits: frozenset[Trait] = frozenset()
    wishes: frozenset[str] = frozenset()
    other: Mapping[str, str] = field(default_factory=dict)  # capabilities that have no meaning to us, by name
