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
    """A software image (SOL001 tosca.artifacts.nfv.SwImage). `sha256` is of the file in the package; `checksum` of one
    that is elsewhere, `algorithm:hash` as the VNFD has it."""

    name: str
    version: str
    format: ImageFormat
    path: str
    sha256: str = ""
    size_bytes: int = 0
    min_disk_bytes: int = 0
    min_ram_bytes: int = 0
    checksum: str = ""


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
class Probe:
    """How a container is asked whether it lives, is ready or has started. Exactly one of the three ways is filled."""

    kind: str  # liveness | readiness | startup
    command: tuple[str, ...] = ()
    http_path: str = ""
    port: int = 0
    period_seconds: int = 0
    initial_delay_seconds: int = 0
    timeout_seconds: int = 0
    failure_threshold: int = 0


@dataclass(frozen=True, slots=True)
class Mount:
    """A storage of the deployable unit as a folder of one container."""

    storage: str
    path: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class MonitoringParameter:
    """What is to be measured (SOL001 6.2.29, 6.2.30, 6.2.61); `collection_period_us` of 0 says nothing."""

    id: str
    name: str
    metric: str = ""
    collection_period_us: int = 0


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
    name: str = ""
    disk_bytes: int = 0  # ephemeral storage
    probes: tuple[Probe, ...] = ()
    mounts: tuple[Mount, ...] = ()
    monitoring: tuple[MonitoringParameter, ...] = ()


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
    kind: str = ""  # Vdu.Compute | Vdu.OsContainerDeployableUnit
    node_type: str = ""  # as its author wrote it
    boot_order: tuple[str, ...] = ()
    configurable: Mapping[str, str] = field(default_factory=dict)
    monitoring: tuple[MonitoringParameter, ...] = ()


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


@dataclass(frozen=True, slots=True)
class StorageDesc:
    """SOL001 Vdu.VirtualBlockStorage, VirtualObjectStorage or VirtualFileStorage."""

    id: str
    kind: str  # block | object | file
    size_bytes: int
    image: SwImage | None = None
    protocol: str = ""  # of a file storage
    virtual_link: str = ""  # of a file storage
    rdma: bool = False
    per_instance: bool = True


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
    scope: str  # nfvi_node, zone, zone_group, nfvi_pop
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


@dataclass(frozen=True, slots=True)
class LcmOperation:
    """An operation of an interface of the VNF (SOL001 6.7): its script or playbook, where there is one."""

    interface: str
    operation: str
    implementation: str = ""
    dependencies: tuple[str, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that a node names. `path` is the package's name of it, empty where it is elsewhere."""

    id: str
    type: str
    file: str
    path: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Mciop:
    """SOL001 Mciop: a Helm chart, or manifests, with the VDUs that it deploys."""

    id: str
    vdus: tuple[str, ...] = ()
    artifacts: tuple[Artifact, ...] = ()


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
    placement_groups: tuple[PlacementGroup, ...] = ()
    security_rules: tuple[SecurityGroupRule, ...] = ()
    indicators: tuple[VnfIndicator, ...] = ()
    package_changes: tuple[VnfPackageChange, ...] = ()
    operations: tuple[LcmOperation, ...] = ()
    mciops: tuple[Mciop, ...] = ()
    artifacts: tuple[Artifact, ...] = ()  # of the VNF itself and its VDUs, besides software images
    configurable: Mapping[str, str] = field(default_factory=dict)
    modifiable: Mapping[str, str] = field(default_factory=dict)
    monitoring: tuple[MonitoringParameter, ...] = ()
    instances: tuple[int, int] = (0, 0)  # vnf_profile: least and most of them


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
