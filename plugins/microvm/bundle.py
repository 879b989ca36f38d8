"""config.json of an OCI bundle, read into what a microVM can give; what it cannot give is refused by name."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from plugins.microvm.errors import RuntimeFailure
from plugins.microvm.process import Process, parse_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CONTAINER_TYPE = "io.kubernetes.cri.container-type"


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount that config.json asks for."""

    destination: str
    type: str
    source: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Device:
    """A device node to make in the container."""

    path: str
    type: str
    major: int
    minor: int
    mode: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Resources:
    """Limits for the container, in OCI's units; None where config.json sets none."""

    memory_limit: int | None = None
    cpu_shares: int | None = None
    cpu_quota: int | None = None
    cpu_period: int | None = None
    cpus: str | None = None
    mems: str | None = None
    pids_limit: int | None = None


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle as far as this runtime uses it."""

    path: Path
    oci_version: str
    rootfs: Path
    readonly: bool
    hostname: str
    process: Process
    mounts: tuple[Mount, ...]
    devices: tuple[Device, ...]
    masked_paths: tuple[str, ...]
    readonly_paths: tuple[str, ...]
    annotations: dict[str, str]
    netns: Path | None
    sysctl: dict[str, str]
    cgroups_path: str
    resources: Resources
    warnings: tuple[str, ...] = field(default=())


def load_bundle(path: Path) -> Bundle:
    """Read and judge the bundle at `path`."""
    try:
        config = json.loads((path / "config.json").read_bytes())
    except OSError as error:
        raise RuntimeFailure(f"JSON specification file {path / 'config.json'} not found: {error.strerror}") from error
    except ValueError as error:
        raise RuntimeFailure(f"config.json: {error}") from error
    if not isinstance(config, dict):
        raise RuntimeFailure("config.json: not an object")
    try:
        return _bundle(path, config)
    except (KeyError, TypeError, AttributeError) as error:
        raise RuntimeFailure(f"config.json: malformed near {error}") from error


def _bundle(path: Path, config: dict[str, Any]) -> Bundle:
    linux: dict[str, Any] = config.get("linux") or {}
    annotations: dict[str, str] = config.get("annotations") or {}
    _refuse(config, linux, annotations)
    root: dict[str, Any] = config.get("root") or {}
    rootfs = path / root.get("path", "rootfs")
    if not rootfs.is_dir():
        raise RuntimeFailure(f"root file system {rootfs} is not a folder")
    return Bundle(
        path=path,
        oci_version=config.get("ociVersion", "1.0.2"),
        rootfs=rootfs,
        readonly=bool(root.get("readonly")),
        hostname=config.get("hostname", ""),
        process=parse_process(config.get("process") or {}),
        mounts=tuple(
            Mount(m["destination"], m.get("type", ""), m.get("source", ""), tuple(m.get("options") or ()))
            for m in config.get("mounts") or ()
        ),
        devices=tuple(_device(d) for d in linux.get("devices") or ()),
        masked_paths=tuple(linux.get("maskedPaths") or ()),
        readonly_paths=tuple(linux.get("readonlyPaths") or ()),
        annotations=dict(annotations),
        netns=_network_namespace(linux),
        sysctl=dict(linux.get("sysctl") or {}),
        cgroups_path=linux.get("cgroupsPath", ""),
        resources=_resources(linux.get("resources") or {}),
        warnings=_warnings(config, linux),
    )


def _refuse(config: dict[str, Any], linux: dict[str, Any], annotations: dict[str, str]) -> None:
    """Name what a microVM of this runtime does not give, rather than leave it out in silence."""
    if (config.get("process") or {}).get("terminal"):
        raise RuntimeFailure("process.terminal: terminals are not supported by this runtime yet")
    if any((config.get("hooks") or {}).values()):
        raise RuntimeFailure(f"hooks ({', '.join(config['hooks'])}) are not supported by this runtime")
    if annotations.get(CONTAINER_TYPE) == "container":
        raise RuntimeFailure(
            f"annotation {CONTAINER_TYPE}=container: several containers in a guest are not supported yet"
        )
    if linux.get("uidMappings") or linux.get("gidMappings"):
        raise RuntimeFailure("linux.uidMappings: user namespaces are not supported inside the guest")
    for namespace in linux.get("namespaces") or ():
        kind = namespace["type"]
        if kind == "user":
            raise RuntimeFailure("linux.namespaces: user namespaces are not supported inside the guest")
        if kind != "network" and namespace.get("path"):
            raise RuntimeFailure(f"linux.namespaces: a {kind} namespace of the host cannot be joined from a guest")


def _warnings(config: dict[str, Any], linux: dict[str, Any]) -> tuple[str, ...]:
    """What is left out because the guest's own kernel stands in for it."""
    found = []
    if linux.get("seccomp"):
        found.append("linux.seccomp is not applied: the guest has a kernel of its own")
    if (config.get("process") or {}).get("apparmorProfile"):
        found.append("process.apparmorProfile is not applied: the guest has a kernel of its own")
    if (config.get("process") or {}).get("selinuxLabel"):
        found.append("process.selinuxLabel is not applied: the guest has a kernel of its own")
    for name in ("blockIO", "hugepageLimits", "network", "rdma", "unified"):
        if (linux.get("resources") or {}).get(name):
            found.append(f"linux.resources.{name} is not applied")
    return tuple(found)


def _network_namespace(linux: dict[str, Any]) -> Path | None:
    for namespace in linux.get("namespaces") or ():
        if namespace["type"] == "network":
            return Path(namespace["path"]) if namespace.get("path") else None
    raise RuntimeFailure("linux.namespaces: the host's network cannot be given to a guest; name a network namespace")


def _device(device: dict[str, Any]) -> Device:
    if device["type"] not in ("c", "u", "p"):
        raise RuntimeFailure(f"linux.devices: {device['path']}: no devices of type {device['type']!r} in a guest")
    return Device(
        path=device["path"],
        type=device["type"],
        major=int(device.get("major", 0)),
        minor=int(device.get("minor", 0)),
        mode=int(device.get("fileMode", 0o666)) & 0o7777,
        uid=int(device.get("uid", 0)),
        gid=int(device.get("gid", 0)),
    )


def _resources(resources: dict[str, Any]) -> Resources:
    memory, cpu, pids = resources.get("memory") or {}, resources.get("cpu") or {}, resources.get("pids") or {}
    return Resources(
        memory_limit=_positive(memory.get("limit")),
        cpu_shares=_positive(cpu.get("shares")),
        cpu_quota=_positive(cpu.get("quota")),
        cpu_period=_positive(cpu.get("period")),
        cpus=cpu.get("cpus") or None,
        mems=cpu.get("mems") or None,
        pids_limit=_positive(pids.get("limit")),
    )


def _positive(value: int | None) -> int | None:
    """OCI writes "no limit" as absent, 0 or -1."""
    return value if value is not None and value > 0 else None
