"""A VNFD after reading: ETSI GS NFV-SOL 001's node and policy types in plain values. Nobody downstream sees YAML again.

Units: memory and storage in bytes, CPU in milli-CPU, bandwidth in bit/s, latency in microseconds, start-up in
milliseconds. Ids are the names of the node templates, unique within a flavour.
"""

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


class ImageFormat(StrEnum):
    """What a software image is (SOL001 6.2.48 SwImageData disk_format and container_format, reduced)."""

    QCOW2 = "qcow2"
    RAW = "raw"
    OCI_ARCHIVE = "oci-archive"  # OCI image layout in a tar
    DOCKER_ARCHIVE = "docker-archive"
    ROOTFS_TAR = "rootfs-tar"  # a plain root file system
    REFERENCE = "reference"  # not in the package: `path` is a name in a registry or a URL


@dataclass(frozen=True, slots=True)
class SwImage:
    """A software image (SOL001 tosca.artifacts.nfv.SwImage). `sha256` is of the file in the package."""

    name: str
    version: str
    format: ImageFormat
    path: str
    sha256: str = ""
    size_bytes: int = 0
    min_disk_bytes: int = 0
    min_ram_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Wish:
    """A need and whether it must be met (SOL001 support_mandatory)."""

    mandatory: bool = True


@dataclass(frozen=True, slots=True)
class Needs:
    """What a VDU asks of its realization, gathered from the places where SOL001 puts it.

    `isolation`, `own_kernel`, `own_os`, `max_startup_ms`, `max_hop_us` and `min_trust` come from
    requested_additional_capabilities; those named in `wishes` are desired only (support_mandatory false).
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
    wishes: frozenset[str] = frozenset()
    other: Mapping[str, str] = field(default_factory=dict)  # capabilities that have no meaning to us, by name


@dataclass(frozen=True, slots=True)
class Container:
    """SOL001 Vdu.OsContainer. `cpu_milli` is what is requested; with a limit of 0 no more than that is said."""

    id: str
    image: SwImage | None
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cpu_milli: int = 0
    memory_bytes: int = 0
    linux_capabilities: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    cpu_limit_milli: int = 0


@dataclass(frozen=True, slots=True)
class Vdu:
    """SOL001 Vdu.Compute or Vdu.OsContainerDeployableUnit.

    A Vdu.Compute has `disk_image` (a disk) or, where its image is a container's, one container; a deployable unit has
    `containers`. `images` gives what the realizations can be chosen from.
    """

    id: str
    name: str
    description: str
    cpu_milli: int
    memory_bytes: int
    disk_bytes: int
    needs: Needs
    disk_image: SwImage | None = None
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    storages: tuple[str, ...] = ()
    user_data: bytes = b""
    initial_instances: int = 1
    min_instances: int = 1
    max_instances: int = 1
    annotations: Mapping[str, str] = field(default_factory=dict)


class CpKind(StrEnum):
    """VduCp, VirtualCp and VipCp of SOL001."""

    VDU = "VduCp"
    VIRTUAL = "VirtualCp"
    VIP = "VipCp"


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


@dataclass(frozen=True, slots=True)
class ExtCpd:
    """An external CP: a VnfExtCp, or a VduCp that substitution mappings expose. `cpd_id` is the internal side.

    `requirement` names the VNF type's requirement that substitution mappings tie to it: an NSD binds by that name.
    """

    id: str
    cpd_id: str
    virtual_link: str = ""
    requirement: str = ""


@dataclass(frozen=True, slots=True)
class VirtualLinkDesc:
    """SOL001 VnfVirtualLink."""

    id: str
    cidrs: tuple[str, ...] = ()
    mtu_bytes: int = 0
    max_latency_us: int | None = None
    bandwidth_bps: int = 0
    layer_protocols: tuple[str, ...] = ("ipv4",)


@dataclass(frozen=True, slots=True)
class StorageDesc:
    """SOL001 Vdu.VirtualBlockStorage, VirtualObjectStorage or VirtualFileStorage."""

    id: str
    kind: str  # block | object | file
    size_bytes: int
    image: SwImage | None = None


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


@dataclass(frozen=True, slots=True)
class AffinityRule:
    """SOL001 AffinityRule or AntiAffinityRule."""

    id: str
    anti: bool
    scope: str  # nfvi_node, zone, zone_group, nfvi_pop
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Flavour:
    """One deployment flavour, whole and on its own."""

    id: str
    description: str = ""
    vdus: tuple[Vdu, ...] = ()
    cps: tuple[Cpd, ...] = ()
    virtual_links: tuple[VirtualLinkDesc, ...] = ()
    storages: tuple[StorageDesc, ...] = ()
    external_cps: tuple[ExtCpd, ...] = ()
    scaling_aspects: tuple[ScalingAspect, ...] = ()
    instantiation_levels: tuple[InstantiationLevel, ...] = ()
    affinity: tuple[AffinityRule, ...] = ()


@dataclass(frozen=True, slots=True)
class Vnfd:
    """A VNFD: SOL001 tosca.nodes.nfv.VNF with its flavours. `id` is descriptor_id."""

    id: str
    provider: str
    product: str
    version: str
    software_version: str
    flavours: tuple[Flavour, ...]
    product_info: str = ""
    vnfm_info: tuple[str, ...] = ()

    def flavour(self, flavour_id: str = "") -> Flavour | None:
        """The flavour of that id; the first for an empty id."""
        if not flavour_id:
            return self.flavours[0] if self.flavours else None
        return next((f for f in self.flavours if f.id == flavour_id), None)
