"""VDUs, their containers, images and storages (SOL001 6.8.3 to 6.8.6, 6.8.12, 6.8.13). Units as in vnfm.model.vnfd."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from vnfm.model.needs import Needs


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
    that is elsewhere, `algorithm:hash` as the VNFD has it. `arch`: what CPUs it runs on; empty: not told."""

    name: str
    version: str
    format: ImageFormat
    path: str
    sha256: str = ""
    size_bytes: int = 0
    min_disk_bytes: int = 0
    min_ram_bytes: int = 0
    checksum: str = ""
    arch: str = ""


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
