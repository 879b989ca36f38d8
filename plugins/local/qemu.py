"""qemu's command line for a VM, and whether KVM carries a guest here. Paths are relative to the VM's own folder."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_MIB = 1 << 20
PROGRAMS = {"x86_64": "qemu-system-x86_64", "aarch64": "qemu-system-aarch64"}
QMP_SOCKET, AGENT_SOCKET, PID_FILE, CONSOLE = "qmp.sock", "agent.sock", "pid", "console.log"
OVERLAY, CONFIG_DRIVE = "disk.qcow2", "config.img"
AGENT_PORT = "vnfm.agent.0"
_TRANSLATION_CACHE_MIB = 64
_TRIAL_SECONDS = 5
_BUSES = {"": "virtio-blk-pci", "virtio": "virtio-blk-pci", "ide": "ide-hd"}


@dataclass(frozen=True, slots=True)
class VmNic:
    """A NIC on an open tap."""

    tap_fd: int
    mac: str
    mtu_bytes: int = 0


@dataclass(frozen=True, slots=True)
class VmPlan:
    """What a VM is made of."""

    name: str
    vcpus: int
    memory_bytes: int
    disk_bus: str
    nics: tuple[VmNic, ...]
    accelerator: str
    config_drive: bool


def program() -> str:
    """qemu for this machine's own architecture."""
    return PROGRAMS.get(platform.machine(), f"qemu-system-{platform.machine()}")


def device_of(bus: str) -> str:
    """The disk's device; KeyError for a bus that is not offered."""
    return _BUSES[bus]


def command_line(plan: VmPlan) -> list[str]:
    """Errors at the start end up on its stderr; once its monitor answers, it runs."""
    accelerated = plan.accelerator == "kvm"
    accelerator = "kvm" if accelerated else f"tcg,thread=multi,tb-size={_TRANSLATION_CACHE_MIB}"
    argv = [program(), "-name", f"{plan.name},debug-threads=on", "-M", "pc", "-accel", accelerator]
    argv += ["-cpu", "host" if accelerated else "max", "-smp", str(plan.vcpus)]
    argv += ["-m", f"{max(1, plan.memory_bytes // _MIB)}M", "-nodefaults", "-no-user-config", "-display", "none"]
    # A guest that breaks out of qemu finds a process that can start nothing. (-daemonize does not go with that.)
    argv += ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]
    argv += ["-pidfile", PID_FILE]
    argv += ["-chardev", f"file,id=console,path={CONSOLE},append=on", "-serial", "chardev:console"]
    argv += ["-chardev", f"socket,id=qmp,path={QMP_SOCKET},server=on,wait=off", "-mon", "chardev=qmp,mode=control"]
    argv += ["-chardev", f"socket,id=agent,path={AGENT_SOCKET},server=on,wait=off"]
    argv += ["-device", "virtio-serial-pci", "-device", f"virtserialport,chardev=agent,name={AGENT_PORT}"]
    argv += ["-device", "virtio-rng-pci"]
    argv += ["-drive", f"id=boot,if=none,format=qcow2,file={OVERLAY},cache=unsafe,discard=unmap"]
    argv += ["-device", f"{device_of(plan.disk_bus)},drive=boot,bootindex=0"]
    if plan.config_drive:
        argv += ["-drive", f"id=config,if=none,format=raw,file={CONFIG_DRIVE},readonly=on"]
        argv += ["-device", "virtio-blk-pci,drive=config"]
    for number, nic in enumerate(plan.nics):
        mtu = f",host_mtu={nic.mtu_bytes}" if nic.mtu_bytes else ""
        argv += ["-netdev", f"tap,id=n{number},fd={nic.tap_fd}"]
        argv += ["-device", f"virtio-net-pci,netdev=n{number},mac={nic.mac},romfile={mtu}"]
    return argv


class Accelerator:
    """KVM only where a guest really boots with it: tried once a boot of the host, remembered in a file."""

    def __init__(self, wish: str, memory: Path) -> None:
        self._wish = wish
        self._memory = memory
        self._lock = threading.Lock()

    def name(self) -> str:
        """`kvm` or `tcg`; the first call may take some seconds."""
        if self._wish in ("kvm", "tcg"):
            return self._wish
        with self._lock:
            key = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            with suppress(OSError, ValueError, KeyError, TypeError):
                known = json.loads(self._memory.read_text())
                if known["boot"] == key and known["accelerator"] in ("kvm", "tcg"):
                    return str(known["accelerator"])
            found = "kvm" if os.access("/dev/kvm", os.R_OK | os.W_OK) and _boots_with_kvm() else "tcg"
            with suppress(OSError):
                self._memory.write_text(json.dumps({"boot": key, "accelerator": found}))
            return found


def guest_kernel() -> Path | None:
    """The newest kernel image of this host."""
    found = sorted(Path("/boot").glob("vmlinuz-*"))
    return found[-1] if found else None


def _boots_with_kvm() -> bool:
    """A kernel without a root file system must come as far as its panic."""
    kernel = guest_kernel()
    if kernel is None:
        return False
    argv = [program(), "-M", "pc", "-accel", "kvm", "-cpu", "host", "-m", "128M", "-nodefaults", "-no-user-config"]
    argv += ["-display", "none", "-no-reboot", "-serial", "stdio", "-kernel", str(kernel)]
    argv += ["-append", "console=ttyS0 panic=-1"]
    with tempfile.TemporaryFile() as output:
        with suppress(subprocess.TimeoutExpired, OSError):
            subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=_TRIAL_SECONDS, check=False
            )
        output.seek(0)
        return b"Kernel panic" in output.read()


def vcpus_of(cpu_milli: int) -> int:
    """Whole CPUs for a guest; the control group keeps it to the part of them that was asked for."""
    return max(1, -(-cpu_milli // 1000))


def detached(argv: Sequence[str], procs_files: Sequence[Path]) -> list[str]:
    """The command in a session of its own, nobody's child, and begun inside its control groups: all of its memory is
    charged to them."""
    script = 'while [ "$1" != -- ]; do echo $$ >"$1" || exit 1; shift; done; shift; exec "$@"'
    return ["setsid", "--fork", "sh", "-c", script, "sh", *map(str, procs_files), "--", *argv]
