"""The CREATE request: the container's mounts, devices, files and first process, for the guest agent."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path

from plugins.microvm.bundle import Bundle, Device, Mount
from plugins.microvm.errors import RuntimeFailure
from plugins.microvm.protocol import MAX_PAYLOAD, Tag, field

_FLAGS = {
    "ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8, "sync": 16, "remount": 32, "mand": 64, "dirsync": 128,
    "noatime": 1024, "nodiratime": 2048, "relatime": 1 << 21, "strictatime": 1 << 24, "silent": 32768,
}  # fmt: skip
_NEGATED = {
    "rw": 1,
    "suid": 2,
    "dev": 4,
    "exec": 8,
    "async": 16,
    "atime": 1024,
    "diratime": 2048,
    "norelatime": 1 << 21,
}
_PROPAGATION = {"private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable", "defaults"}
_TYPES = {"proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup2", "devtmpfs", "overlay", "debugfs", "tracefs", "bpf"}
_DEFAULT_DEVICES = (
    ("/dev/null", 1, 3), ("/dev/zero", 1, 5), ("/dev/full", 1, 7), ("/dev/random", 1, 8), ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
)  # fmt: skip
_LINKS = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
)
_KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "p": stat.S_IFIFO}
_SNAPSHOT_LIMIT = 128 * 1024


def create_request(bundle: Bundle, number: int) -> bytes:
    """Fields in the order in which the agent shall do them."""
    parts = []
    for mount in bundle.mounts:
        parts += _mount(bundle, mount)
    for path, major, minor in _DEFAULT_DEVICES:
        parts.append(_node(Device(path, "c", major, minor, 0o666, 0, 0)))
    parts += [field(Tag.SYMLINK, f"{path}\0{target}".encode()) for path, target in _LINKS]
    parts += [_node(device) for device in bundle.devices]
    parts += [field(Tag.MASK, path.encode()) for path in bundle.masked_paths]
    parts += [field(Tag.READONLY, path.encode()) for path in bundle.readonly_paths]
    if bundle.readonly:
        parts.append(field(Tag.ROOT_READONLY))
    if bundle.resources.pids_limit is not None:
        parts.append(field(Tag.PIDS_MAX, struct.pack("<Q", bundle.resources.pids_limit)))
    request = b"".join(parts) + bundle.process.encode(number)
    if len(request) > MAX_PAYLOAD:
        raise RuntimeFailure(f"config.json and its bound files come to {len(request)} bytes, over {MAX_PAYLOAD}")
    return request


def sysctls(bundle: Bundle) -> list[tuple[str, str]]:
    """linux.sysctl as paths below /proc/sys; a dot inside an interface's name is written as / in sysctl's own way."""
    found = []
    for name, value in bundle.sysctl.items():
        path = name.translate(str.maketrans("./", "/.")) if "/" not in name.partition(".")[0] else name
        if ".." in path.split("/") or path.startswith("/"):
            raise RuntimeFailure(f"linux.sysctl: {name!r} is not a name")
        found.append((path, value))
    return found


def _mount(bundle: Bundle, mount: Mount) -> list[bytes]:
    if mount.type in ("bind", "none", "") or {"bind", "rbind"} & set(mount.options):
        return _snapshot(bundle, mount)
    kind = "cgroup2" if mount.type == "cgroup" else mount.type
    if kind not in _TYPES:
        raise RuntimeFailure(f"mounts: {mount.destination}: file system {mount.type!r} cannot be mounted in the guest")
    flags, data = 0, []
    for option in mount.options:
        if option in _FLAGS:
            flags |= _FLAGS[option]
        elif option in _NEGATED:
            flags &= ~_NEGATED[option]
        elif option not in _PROPAGATION and kind != "cgroup2":
            data.append(option)
    text = "\0".join((mount.destination, kind, mount.source or kind, ",".join(data))) + "\0"
    return [field(Tag.MOUNT, struct.pack("<Q", flags) + text.encode())]


def _snapshot(bundle: Bundle, mount: Mount) -> list[bytes]:
    """A guest cannot share the host's files: what is small enough is copied as it is now, the rest is refused."""
    source = bundle.path / mount.source
    where = f"mounts: {mount.destination}: bind of {mount.source}"
    if source.is_file():
        return [_file(source, mount.destination, where)]
    if not source.is_dir():
        raise RuntimeFailure(f"{where}: only files and folders can be copied into the guest, and this is neither")
    if "ro" not in mount.options:
        raise RuntimeFailure(f"{where}: a writable folder of the host cannot be shared (read-only ones are copied)")
    found = []
    for folder, _, names in os.walk(source):
        for name in sorted(names):
            file = Path(folder, name)
            if file.is_file():
                found.append(_file(file, f"{mount.destination}/{file.relative_to(source)}", where))
    return found


def _file(source: Path, destination: str, where: str) -> bytes:
    info = source.stat()
    if info.st_size > _SNAPSHOT_LIMIT:
        raise RuntimeFailure(
            f"{where}: {source} is too large to be copied into the guest (limit {_SNAPSHOT_LIMIT} bytes)"
        )
    mode = struct.pack("<I", stat.S_IMODE(info.st_mode))
    return field(Tag.FILE, mode + destination.encode() + b"\0" + source.read_bytes())


def _node(device: Device) -> bytes:
    numbers = (_KINDS[device.type] | device.mode, device.major, device.minor, device.uid, device.gid)
    return field(Tag.NODE, struct.pack("<5I", *numbers) + device.path.encode())
