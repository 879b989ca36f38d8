"""The virtual machine: its size, its accelerator, its command line."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from plugins.microvm.errors import RuntimeFailure

PROGRAM = "qemu-system-x86_64"
PREFIX = "io.katacontainers.config.hypervisor."
DEFAULT_MEMORY_MIB = 128
MAX_VCPUS = 8
# Measured: kernel and agent take 40 MiB; the rest is for page tables, buffers of NICs and the first processes.
_KERNEL_NEEDS_MIB = 64
_KNOWN = ("default_memory", "default_vcpus", "kernel_params")


@dataclass(frozen=True, slots=True)
class Machine:
    """Size of a guest, and what its kernel is told besides."""

    memory_mib: int
    vcpus: int
    kernel_params: str


@dataclass(frozen=True, slots=True)
class Nic:
    """A guest's NIC on an open tap."""

    tap: int
    mac: str


@dataclass(frozen=True, slots=True)
class Memory:
    """Guest memory in an open file, and the descriptor of the monitor by which its devices are saved or loaded.

    A template writes to the file (`clone` False); a clone reads it, keeps to itself what it writes, and waits for the
    devices' state.
    """

    file: int
    monitor: int
    clone: bool


def size(annotations: Mapping[str, str], memory_limit: int | None, image_bytes: int) -> Machine:
    """Read the size off the annotations, else off the container's limit; it is enough to boot with at least."""
    for name in annotations:
        if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in _KNOWN:
            supported = ", ".join(PREFIX + known for known in _KNOWN)
            raise RuntimeFailure(f"annotation {name} is not supported; supported are {supported}")
    stated = _number(annotations, "default_memory", 1, 1 << 20)
    memory = stated or (memory_limit >> 20 if memory_limit else DEFAULT_MEMORY_MIB)
    # While the kernel unpacks the archive both forms are there, and what is unpacked may fill half of what is left.
    needed = _KERNEL_NEEDS_MIB + 3 * (image_bytes >> 20)
    if memory < needed:
        if stated:
            source = f"annotation {PREFIX}default_memory"
            raise RuntimeFailure(f"{source}: {memory} MiB is too little, this root file system needs {needed} to boot")
        # A limit is about what runs in the container; what the guest itself needs is the realization's to add.
        memory = needed
    params = annotations.get(PREFIX + "kernel_params", "")
    if not params.isprintable() or len(params) > 1024:
        raise RuntimeFailure(f"annotation {PREFIX}kernel_params: not one line of at most 1024 printable characters")
    return Machine(memory, _number(annotations, "default_vcpus", 1, MAX_VCPUS) or 1, params)


def _number(annotations: Mapping[str, str], name: str, least: int, most: int) -> int | None:
    text = annotations.get(PREFIX + name)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
        raise RuntimeFailure(f"annotation {PREFIX}{name}: {text!r} is not a whole number from {least} to {most}")
    return int(text)


def tsc_khz(cpuinfo: str) -> int | None:
    """Rate of the host's time stamp counter, which is the guest's under emulation as well."""
    found = re.search(r"^bogomips\s*: ([\d.]+)", cpuinfo, re.MULTILINE)
    return int(float(found[1]) * 500) if found else None


def command_line(machine: Machine, tsc: int | None, accelerator: str) -> str:
    """The kernel's command line.

    A microVM has no timer that the kernel could measure its clock against; when the early calibration misses, which is
    usual under emulation, the guest would hang for ever.  So the rate is handed over.
    """
    words = ["console=ttyS0", "quiet", "panic=-1", "reboot=t", "no_timer_check"]
    words += ["audit=0", "cryptomgr.notests", "8250.nr_uarts=1", "rcupdate.rcu_expedited=1"]
    if accelerator == "tcg":
        # An emulated processor does not speculate, so there is nothing to mitigate.
        words.append("mitigations=off")
    if tsc:
        words += [f"tsc_early_khz={tsc}", "tsc=reliable"]
    return " ".join(words + ([machine.kernel_params] if machine.kernel_params else []))


def arguments(
    machine: Machine,
    *,
    accelerator: str,
    kernel: Path,
    initrd: Path,
    append: str,
    agent: int,
    console: int,
    nics: tuple[Nic, ...] = (),
    memory: Memory | None = None,
    name: str = "guest",
) -> list[str]:
    """qemu's arguments; `agent`, `console`, the taps and those of `memory` are descriptors that it inherits."""
    kvm = accelerator == "kvm"
    argv = [PROGRAM, "-name", f"{name},debug-threads=on"]
    argv += [
        "-M",
        "microvm,pcie=off" + (",memory-backend=ram" if memory else ""),
        "-accel",
        "kvm" if kvm else "tcg,thread=multi,tb-size=32",
    ]
    argv += ["-cpu", "host" if kvm else "max", "-m", f"{machine.memory_mib}M", "-smp", str(machine.vcpus)]
    argv += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    argv += ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]
    argv += ["-kernel", str(kernel), "-initrd", str(initrd), "-append", append]
    argv += ["-chardev", f"socket,id=console,fd={console}", "-serial", "chardev:console"]
    argv += ["-device", "virtio-serial-device", "-chardev", f"socket,id=agent,fd={agent}"]
    argv += ["-device", "virtserialport,chardev=agent,name=vnfm.agent"]
    for number, nic in enumerate(nics):
        argv += ["-netdev", f"tap,id=n{number},fd={nic.tap}"]
        argv += ["-device", f"virtio-net-device,netdev=n{number},mac={nic.mac}"]
    if memory:
        share = "off" if memory.clone else "on"
        where = f"mem-path=/proc/self/fd/{memory.file},share={share}"
        argv += ["-object", f"memory-backend-file,id=ram,size={machine.memory_mib}M,{where}"]
        argv += ["-chardev", f"socket,id=monitor,fd={memory.monitor}", "-mon", "chardev=monitor,mode=control"]
        argv += ["-incoming", "defer"] if memory.clone else []
    return argv


def program_stamp() -> str:
    """Tells one qemu on this host from another without running it."""
    for folder in os.get_exec_path():
        with contextlib.suppress(OSError):
            file = os.path.realpath(f"{folder}/{PROGRAM}", strict=True)
            info = os.stat(file)
            return f"{file} {info.st_size} {info.st_mtime_ns} {info.st_ino}"
    raise RuntimeFailure(f"{PROGRAM} is not installed")


def remembered_accelerator(cache: Path) -> str | None:
    """What was found out about KVM since this host was booted."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        known = json.loads((cache / "accelerator.json").read_text())
        if known["boot"] == boot_id():
            return str(known["accelerator"])
    return None


def remember_accelerator(cache: Path, accelerator: str) -> None:
    """Keep the finding until the next boot of this host."""
    temporary = cache / f".accelerator.{os.getpid()}"
    temporary.write_text(json.dumps({"boot": boot_id(), "accelerator": accelerator}))
    temporary.replace(cache / "accelerator.json")


def boot_id() -> str:
    """Changes with every boot of the host."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
