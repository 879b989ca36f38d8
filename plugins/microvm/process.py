"""The `process` object of OCI, and its form for the guest agent."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, replace
from pathlib import Path

from plugins.microvm.errors import RuntimeFailure
from plugins.microvm.protocol import Tag, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Order of linux/capability.h; the index is the number.
_CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
CAPABILITIES = _CAPABILITIES.split()
CAPABILITY_SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")
_RLIMITS = "CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE RTPRIO RTTIME"
RLIMITS = _RLIMITS.split()
_NO_LIMIT = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Rlimit:
    """A resource limit by the kernel's number."""

    kind: int
    soft: int
    hard: int


@dataclass(frozen=True, slots=True)
class Process:
    """A process to start in the container."""

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
    uid: int = 0
    gid: int = 0
    umask: int = 0o022
    groups: tuple[int, ...] = ()
    capabilities: tuple[int, int, int, int, int] | None = None
    rlimits: tuple[Rlimit, ...] = ()
    no_new_privileges: bool = False
    oom_score_adj: int = 0

    def encode(self, number: int) -> bytes:
        """Fields of a CREATE or EXEC request."""
        parts = [field(Tag.PROCESS, struct.pack("<I", number))]
        parts += [field(Tag.ARG, arg.encode()) for arg in self.args]
        parts += [field(Tag.ENV, variable.encode()) for variable in self.env]
        parts.append(field(Tag.CWD, self.cwd.encode()))
        parts.append(field(Tag.USER, struct.pack("<III", self.uid, self.gid, self.umask)))
        parts += [field(Tag.GROUP, struct.pack("<I", group)) for group in self.groups]
        parts += [field(Tag.RLIMIT, struct.pack("<IQQ", r.kind, r.soft, r.hard)) for r in self.rlimits]
        if self.capabilities is not None:
            parts.append(field(Tag.CAPS, struct.pack("<5Q", *self.capabilities)))
        if self.no_new_privileges:
            parts.append(field(Tag.NO_NEW_PRIVS))
        parts.append(field(Tag.OOM, struct.pack("<i", self.oom_score_adj)))
        return b"".join(parts)


def parse_process(spec: dict[str, Any]) -> Process:
    """Read a `process` object."""
    if not spec.get("args"):
        raise RuntimeFailure("process.args must not be empty")
    cwd = spec.get("cwd", "/")
    if not cwd.startswith("/"):
        raise RuntimeFailure(f"process.cwd {cwd!r} is not an absolute path")
    user: dict[str, Any] = spec.get("user") or {}
    return Process(
        args=tuple(spec["args"]),
        env=tuple(spec.get("env") or ()),
        cwd=cwd,
        uid=int(user.get("uid", 0)),
        gid=int(user.get("gid", 0)),
        umask=int(user.get("umask", 0o022)),
        groups=tuple(user.get("additionalGids") or ()),
        capabilities=_capabilities(spec["capabilities"]) if spec.get("capabilities") is not None else None,
        rlimits=tuple(_rlimit(r) for r in spec.get("rlimits") or ()),
        no_new_privileges=bool(spec.get("noNewPrivileges")),
        oom_score_adj=int(spec.get("oomScoreAdj") or 0),
    )


def load_process(path: Path) -> Process:
    """Read the file that `exec --process` names."""
    try:
        spec = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise RuntimeFailure(f"{path}: {error}") from error
    if spec.get("terminal"):
        raise RuntimeFailure("process.terminal: terminals are not supported by this runtime yet")
    return parse_process(spec)


def variant(base: Process, args: tuple[str, ...], cwd: str | None, env: tuple[str, ...], user: str | None) -> Process:
    """`base` with another command, and what else `exec` was told."""
    changed = replace(base, args=args, env=base.env + env, cwd=cwd or base.cwd)
    if user is None:
        return changed
    uid, _, gid = user.partition(":")
    try:
        return replace(changed, uid=int(uid), gid=int(gid) if gid else changed.gid)
    except ValueError:
        raise RuntimeFailure(f"user {user!r}: give numbers, as uid or uid:gid") from None


def _capabilities(sets: dict[str, list[str]]) -> tuple[int, int, int, int, int]:
    masks = []
    for name in CAPABILITY_SETS:
        mask = 0
        for capability in sets.get(name) or ():
            try:
                mask |= 1 << CAPABILITIES.index(capability.removeprefix("CAP_"))
            except ValueError:
                raise RuntimeFailure(f"process.capabilities: {capability} is unknown") from None
        masks.append(mask)
    return masks[0], masks[1], masks[2], masks[3], masks[4]


def _rlimit(spec: dict[str, Any]) -> Rlimit:
    try:
        kind = RLIMITS.index(spec["type"].removeprefix("RLIMIT_"))
    except ValueError:
        raise RuntimeFailure(f"process.rlimits: {spec['type']} is unknown") from None
    return Rlimit(kind, min(int(spec["soft"]), _NO_LIMIT), min(int(spec["hard"]), _NO_LIMIT))
