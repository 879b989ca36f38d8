"""What this host can realize, what is missing, and the command that mends it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from plugins.local import cgroups as cg
from plugins.local import qemu
from plugins.local.host import meminfo
from plugins.local.settings import Settings
from vnfm.pb.vim.v1 import vim_pb2 as pb

_MIB = 1 << 20
_MEMORY_BYTES = 1024 * _MIB
_DISK_BYTES = 2048 * _MIB
_CAPABILITIES = {"CAP_SYS_ADMIN": 21, "CAP_NET_ADMIN": 12, "CAP_SYS_CHROOT": 18, "CAP_MKNOD": 27, "CAP_KILL": 5}
_CONTAINER, _KATA, _VM = "CONTAINER", "KATA", "VM"
_ALL = (_CONTAINER, _KATA, _VM)
_RUNTIMES = {_CONTAINER: pb.RUNTIME_CONTAINER, _KATA: pb.RUNTIME_KATA, _VM: pb.RUNTIME_VM}


@dataclass(frozen=True, slots=True)
class Check:
    """`needed_by`: the runtimes that cannot be offered while this is not ok; empty: good to have only."""

    name: str
    ok: bool
    detail: str
    fix: str = ""
    needed_by: tuple[str, ...] = _ALL


def checks(settings: Settings, hierarchy: cg.Hierarchy) -> list[Check]:
    """All of them, cheapest first; nothing is changed on the host."""
    found = [_root(), _tun(), _cgroups(hierarchy)]
    found += [_program(*row) for row in _PROGRAMS]
    found += [_overlay(), _kernel(), _modules(), _microvm(settings), _prepared(settings)]
    found += [_memory(), _disk(settings), _run_dir(settings)]
    return found + (_network() if found[0].ok else [])


def refusals(settings: Settings, hierarchy: cg.Hierarchy) -> dict[int, str]:
    """Runtime -> why it is not offered, with what mends it."""
    refused: dict[int, str] = {}
    for check in checks(settings, hierarchy):
        if not check.ok:
            for name in check.needed_by:
                reason = f"{check.name}: {check.detail}" + (f" (mend: {check.fix})" if check.fix else "")
                refused[_RUNTIMES[name]] = "; ".join(filter(None, (refused.get(_RUNTIMES[name], ""), reason)))
    return refused


def report(settings: Settings) -> dict[str, object]:
    """{"ok", "checks": [{"name", "ok", "detail", "fix"}]}, and what can be realized as its last check."""
    found = checks(settings, cg.detect_here())
    missing = {name for check in found if not check.ok for name in check.needed_by}
    offered = [name for name in _ALL if name not in missing]
    text = f"can be realized here: {', '.join(offered) or 'none'}"
    found.append(Check("runtimes", len(offered) == len(_ALL), text))
    rows = [{key: value for key, value in asdict(check).items() if key != "needed_by"} for check in found]
    return {"ok": all(check.ok for check in found if check.needed_by), "checks": rows}


def print_report(settings: Settings, as_json: bool, write: Callable[[str], object]) -> bool:
    """For people or programs; whether all is well."""
    found = report(settings)
    if as_json:
        write(json.dumps(found, indent=2) + "\n")
    else:
        rows = found["checks"]
        assert isinstance(rows, list)
        for row in rows:
            fix = f"\n         mend: {row['fix']}" if row["fix"] and not row["ok"] else ""
            write(f"{'ok     ' if row['ok'] else 'MISSING'}  {row['name']}: {row['detail']}{fix}\n")
    return bool(found["ok"])


_PROGRAMS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("crun", "crun", (_CONTAINER,)),
    ("unshare", "util-linux", (_CONTAINER,)),
    (qemu.program(), "qemu-system-x86" if platform.machine() == "x86_64" else "qemu-system-arm", (_KATA, _VM)),
    ("qemu-img", "qemu-utils", (_VM,)),
    ("mkfs.vfat", "dosfstools", (_VM,)),
    ("mcopy", "mtools", (_VM,)),
)


def _program(name: str, package: str, needed_by: tuple[str, ...]) -> Check:
    path = shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
    return Check(name, path is not None, path or "not installed", f"apt-get install -y {package}", needed_by)


def _root() -> Check:
    lacking = _lacking_capabilities(Path("/proc/self/status").read_text())
    if os.geteuid() != 0:
        again = " ".join(sys.orig_argv) if hasattr(sys, "orig_argv") else "the command"
        return Check("root", False, f"user {os.geteuid()} may not make namespaces", f"sudo {again}")
    detail = f"root without {', '.join(lacking)}" if lacking else "root with all capabilities that are needed"
    return Check(
        "root", not lacking, detail, "start it outside of the container that takes them away" if lacking else ""
    )


def _lacking_capabilities(status: str) -> list[str]:
    effective = next((int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:")), 0)
    return [name for name, bit in _CAPABILITIES.items() if not effective >> bit & 1]


def _tun() -> Check:
    path = Path("/dev/net/tun")
    good = path.is_char_device() and os.access(path, os.R_OK | os.W_OK)
    fix = "modprobe tun; mkdir -p /dev/net; [ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200"
    return Check(str(path), good, "there" if good else "missing or not allowed", fix, (_KATA, _VM))


def _cgroups(hierarchy: cg.Hierarchy) -> Check:
    missing = hierarchy.missing()
    root = next(iter(hierarchy.mounts.values()), None)
    writable = root is not None and os.access(root, os.W_OK)
    if missing:
        fix = "mount -t cgroup2 none /sys/fs/cgroup" if hierarchy.mode is cg.Mode.NONE else ""
        return Check("cgroups", False, f"{hierarchy.mode}: no controller {', '.join(missing)}", fix)
    fix = "" if writable else "mount -o remount,rw /sys/fs/cgroup"
    return Check("cgroups", writable, f"{hierarchy.mode}" if writable else f"{hierarchy.mode}, read-only", fix)


def _overlay() -> Check:
    there = any(line.split()[-1] == "overlay" for line in Path("/proc/filesystems").read_text().splitlines())
    if not there:
        release = platform.release()
        there = Path(f"/lib/modules/{release}/kernel/fs/overlayfs").exists()
    return Check(
        "overlayfs", there, "there" if there else "unknown to this kernel", "modprobe overlay", (_CONTAINER, _KATA)
    )


def _kernel() -> Check:
    kernel = qemu.guest_kernel()
    package = "linux-image-cloud-amd64" if platform.machine() == "x86_64" else "linux-image-cloud-arm64"
    detail = str(kernel) if kernel else "no /boot/vmlinuz-*"
    return Check("guest kernel", kernel is not None, detail, f"apt-get install -y {package}", (_KATA,))


def _modules() -> Check:
    kernel = qemu.guest_kernel()
    release = kernel.name.removeprefix("vmlinuz-") if kernel else ""
    there = bool(release) and Path(f"/lib/modules/{release}/modules.dep").exists()
    detail = f"/lib/modules/{release}" if there else "no modules beside the guest kernel"
    package = "linux-image-cloud-amd64" if platform.machine() == "x86_64" else "linux-image-cloud-arm64"
    return Check("guest modules", there, detail, f"apt-get install -y --reinstall {package}", (_KATA,))


def _microvm(settings: Settings) -> Check:
    command = [*(settings.microvm_command or (sys.executable, "-m", "plugins.microvm")), "--version"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=20, check=False)
        said = (done.stdout or done.stderr).strip().splitlines()
        good, detail = done.returncode == 0, said[0] if said else f"ended with {done.returncode}"
    except (OSError, subprocess.SubprocessError) as error:
        good, detail = False, str(error)
    return Check("microvm runtime", good, detail, "make setup", (_KATA,))


def _prepared(settings: Settings) -> Check:
    """Our microVM runtime makes kernel and agent once, for which it needs a compiler."""
    if settings.microvm_command:
        return Check("microvm prepared", True, "another runtime is configured", "", (_KATA,))
    cache = Path(os.environ.get("VNFM_MICROVM_CACHE") or "/var/cache/vnfm/microvm")
    if any(cache.glob("assets/*/vmlinux")):
        return Check("microvm prepared", True, f"in {cache}", "", (_KATA,))
    compiler = shutil.which("gcc")
    detail = "at the first use, which takes some seconds longer" if compiler else "no gcc to compile the guest agent"
    fix = "" if compiler else "apt-get install -y gcc libc6-dev"
    return Check("microvm prepared", compiler is not None, detail, fix, (_KATA,))


def _network() -> list[Check]:
    from plugins.local.net import doctor as net_doctor

    found = []
    for check in net_doctor.checks():
        name = check.name if check.required else f"{check.name} (optional)"
        found.append(Check(name, check.ok, check.detail, check.fix, _ALL if check.required else ()))
    return found


def _memory() -> Check:
    free = meminfo(Path("/proc/meminfo").read_text()).get("MemAvailable", 0)
    detail = f"{free // _MIB} MiB free"
    fix = "" if free >= _MEMORY_BYTES else f"stop something: {_MEMORY_BYTES // _MIB} MiB are needed for guests"
    return Check("memory", free >= _MEMORY_BYTES, detail, fix, (_KATA, _VM))


def _disk(settings: Settings) -> Check:
    folder = settings.state_dir
    while not folder.exists():
        folder = folder.parent
    space = os.statvfs(folder)
    free = space.f_bavail * space.f_frsize
    detail = f"{free // _MIB} MiB free at {folder}"
    return Check("disk", free >= _DISK_BYTES, detail, f"du -xh {folder} | sort -h | tail", ())


def _run_dir(settings: Settings) -> Check:
    folder = settings.run_dir
    while not folder.exists():
        folder = folder.parent
    good = os.access(folder, os.W_OK)
    return Check(
        "run folder", good, f"{settings.run_dir}" if good else f"{folder} is read-only", f"mount -o remount,rw {folder}"
    )
