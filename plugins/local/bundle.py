"""config.json of an OCI bundle (runtime-spec 1.0) for one container of a compute: pure.

The same bundle goes to crun for CONTAINER and to the microVM runtime for KATA.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

BASE_CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETGID",
    "CAP_SETUID",
)
# With a kernel shared with the host, these do not lead out of the container.
SHARED_KERNEL_CAPABILITIES = frozenset(
    {
        *BASE_CAPABILITIES,
        "CAP_FSETID",
        "CAP_IPC_LOCK",
        "CAP_NET_ADMIN",
        "CAP_NET_BROADCAST",
        "CAP_NET_RAW",
        "CAP_SETPCAP",
        "CAP_SETFCAP",
        "CAP_SYS_CHROOT",
        "CAP_SYS_NICE",
    }
)
OWN_KERNEL_CAPABILITIES = SHARED_KERNEL_CAPABILITIES | {
    "CAP_AUDIT_WRITE",
    "CAP_BPF",
    "CAP_DAC_READ_SEARCH",
    "CAP_LINUX_IMMUTABLE",
    "CAP_MKNOD",
    "CAP_PERFMON",
    "CAP_SYS_ADMIN",
    "CAP_SYS_MODULE",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
}
SYSCTL_PREFIXES = ("net.", "kernel.msg", "kernel.sem", "kernel.shm", "fs.mqueue.")
_DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PERIOD_US = 100_000
_MASKED = (
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
)
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_DENIED_CALLS = [
    "acct",
    "add_key",
    "bpf",
    "clock_adjtime",
    "clock_settime",
    "create_module",
    "delete_module",
    "fanotify_init",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "ioperm",
    "iopl",
    "kcmp",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "mbind",
    "migrate_pages",
    "mount",
    "mount_setattr",
    "move_mount",
    "move_pages",
    "name_to_handle_at",
    "nfsservctl",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "pivot_root",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "request_key",
    "set_mempolicy",
    "setns",
    "settimeofday",
    "swapoff",
    "swapon",
    "syslog",
    "umount2",
    "unshare",
    "userfaultfd",
    "vhangup",
]
_NAMESPACE_FLAGS = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)


@dataclass(frozen=True, slots=True)
class ContainerPlan:
    """One container as it is to run. `user` is uid, gid and further gids; 0 limits are none."""

    hostname: str
    args: tuple[str, ...]
    env: tuple[str, ...]
    working_dir: str
    user: tuple[int, int, tuple[int, ...]]
    netns: str
    cgroup_path: str
    rootfs: str = "rootfs"
    files: tuple[tuple[str, str], ...] = ()
    """(path inside, path of the content on the host)"""
    capabilities: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    memory_bytes: int = 0
    cpu_milli: int = 0
    cpu_limit_milli: int = 0  # 0: cpu_milli is the limit too
    pids: int = 0
    oom_score: int = 0
    own_kernel: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict)


def config_json(plan: ContainerPlan) -> dict[str, Any]:
    """The bundle's config.json."""
    capabilities = sorted({*BASE_CAPABILITIES, *plan.capabilities})
    uid, gid, more = plan.user
    linux: dict[str, Any] = {
        "namespaces": [
            {"type": "pid"},
            {"type": "ipc"},
            {"type": "uts"},
            {"type": "mount"},
            {"type": "network", "path": plan.netns},
        ],
        "cgroupsPath": plan.cgroup_path,
        "resources": _resources(plan),
        "maskedPaths": list(_MASKED),
        "readonlyPaths": list(_READ_ONLY),
        "sysctl": dict(plan.sysctls),
    }
    if not plan.own_kernel:
        linux["seccomp"] = seccomp_profile()
    return {
        "ociVersion": "1.0.2",
        "hostname": plan.hostname,
        "root": {"path": plan.rootfs, "readonly": False},
        "process": {
            "terminal": False,
            "user": {"uid": uid, "gid": gid, "additionalGids": list(more)},
            "args": list(plan.args),
            "env": merged_env(plan.env),
            "cwd": plan.working_dir,
            "noNewPrivileges": True,
            "oomScoreAdj": plan.oom_score,
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
        },
        "mounts": [*_mounts(), *(_file_mount(inside, source) for inside, source in plan.files)],
        "annotations": dict(plan.annotations),
        "linux": linux,
    }


def merged_env(env: Sequence[str]) -> list[str]:
    """Later entries win; a PATH is always there."""
    entries: dict[str, str] = {}
    for entry in (_DEFAULT_PATH, *env):
        entries[entry.partition("=")[0]] = entry
    return list(entries.values())


def _resources(plan: ContainerPlan) -> dict[str, Any]:
    found: dict[str, Any] = {"devices": [{"allow": False, "access": "rwm"}]}
    if plan.memory_bytes:
        found["memory"] = {"limit": plan.memory_bytes, "swap": plan.memory_bytes}
    if plan.cpu_milli:
        found["cpu"] = {
            "period": _PERIOD_US,
            "quota": max(1000, (plan.cpu_limit_milli or plan.cpu_milli) * _PERIOD_US // 1000),
            "shares": max(2, plan.cpu_milli * 1024 // 1000),
        }
    if plan.pids:
        found["pids"] = {"limit": plan.pids}
    return found


def _mounts() -> list[dict[str, Any]]:
    def entry(where: str, kind: str, *options: str) -> dict[str, Any]:
        return {"destination": where, "type": kind, "source": kind, "options": list(options)}

    return [
        entry("/proc", "proc", "nosuid", "noexec", "nodev"),
        entry("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        entry("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"),
        entry("/dev/shm", "tmpfs", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
        entry("/sys", "sysfs", "nosuid", "noexec", "nodev", "ro"),
        entry("/run", "tmpfs", "nosuid", "nodev", "mode=755", "size=65536k"),
    ]


def _file_mount(inside: str, source: str) -> dict[str, Any]:
    return {"destination": inside, "type": "bind", "source": source, "options": ["bind", "ro", "nosuid", "nodev"]}


def seccomp_profile() -> dict[str, Any]:
    """What no network function needs and exploits do: the kernel's administration, and new namespaces."""
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": list(_DENIED_CALLS), "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
            # With ENOSYS for clone3 the C library falls back to clone, whose flags can be looked at.
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
            *(_denied_clone(flag) for flag in _NAMESPACE_FLAGS),
        ],
    }


def _denied_clone(flag: int) -> dict[str, Any]:
    test = {"index": 0, "value": flag, "valueTwo": flag, "op": "SCMP_CMP_MASKED_EQ"}
    return {"names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "args": [test]}
