"""Connection points and virtual links (SOL001 6.8.2, 6.8.7 to 6.8.11). Units as in vnfm.model.vnfd."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class CpKind(StrEnum):
    """VduCp, VduSubCp, VirtualCp and VipCp of SOL001."""

    VDU = "VduCp"
    SUB = "VduSubCp"  # in the trunk of another
    VIRTUAL = "VirtualCp"
    VIP = "VipCp"


@dataclass(frozen=True, slots=True)
class AddressSpec:
    """An address that a CP is to be given (SOL001 6.2.11 to 6.2.13). `count` addresses of one kind.

    `fixed` are those that the descriptor writes out; `managed` says that someone else than the VNF gives them.
    """

    kind: str  # mac | ipv4 | ipv6
    managed: bool = True
    floating: bool = False
    count: int = 1
    fixed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cpd:
    """A connection point of a VDU (SOL001 VduCp). `order` is the position among the VDU's CPs."""

    id: str
    vdu_id: str
    virtual_link: str  # id of the internal VnfVirtualLink, empty where the CP leads outside
    order: int
    kind: CpKind = CpKind.VDU
    vnic_type: str = "normal"
    bandwidth_bps: int = 0
    mtu_bytes: int = 0
    layer_protocols: tuple[str, ...] = ("ipv4",)
    l2_transparent: bool = False
    role: str = ""  # root | leaf
    description: str = ""
    trunk: bool = False
    trunk_cp: str = ""  # a VduSubCp's trunk
    vlan_id: int = 0  # a VduSubCp's in its trunk; 0: not told, or that of its network
    targets: tuple[str, ...] = ()  # what a VirtualCp or VipCp stands for
    vip_function: str = ""
    addresses: tuple[AddressSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class ExtCpd:
    """An external CP: a VnfExtCp, or a VduCp that substitution mappings expose. `cpd_id` is the internal side.

    `requirement` names the VNF type's requirement that substitution mappings tie to it: an NSD binds by that name.
    `implied` where nobody says that it leads outside, and it is on no internal link.
    """

    id: str
    cpd_id: str
    virtual_link: str = ""
    requirement: str = ""
    implied: bool = False
    layer_protocols: tuple[str, ...] = ()
    addresses: tuple[AddressSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class Bitrate:
    """SOL001 LinkBitrateRequirements; `leaf_bps` of 0 says nothing."""

    root_bps: int = 0
    leaf_bps: int = 0


@dataclass(frozen=True, slots=True)
class VirtualLinkDesc:
    """SOL001 VnfVirtualLink."""

    id: str
    cidrs: tuple[str, ...] = ()
    mtu_bytes: int = 0
    max_latency_us: int | None = None
    bandwidth_bps: int = 0
    layer_protocols: tuple[str, ...] = ("ipv4",)
    description: str = ""
    flow_pattern: str = ""  # line | tree | mesh
    min_bitrate: Bitrate = field(default_factory=Bitrate)
    max_bitrate: Bitrate = field(default_factory=Bitrate)
    max_jitter_us: int | None = None
    max_loss: float | None = None  # a ratio, 0 to 1
    priority: int | None = None
    gateways: tuple[str, ...] = ()
    dhcp: bool | None = None
    levels: Mapping[str, Bitrate] = field(default_factory=dict, hash=False)  # instantiation level -> bit rate
    initial_bitrate: Bitrate = field(default_factory=Bitrate)
    # Aspect -> what each of its steps adds.
    step_bitrates: Mapping[str, tuple[Bitrate, ...]] = field(default_factory=dict, hash=False)
