"""Does KVM carry a guest here?  Only a guest that really boots tells; asked once per boot of the host."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from plugins.microvm import qemu
from plugins.microvm.assets import Assets
from plugins.microvm.cache import locked

_PATIENCE = 5.0


def accelerator(cache: Path, assets: Assets) -> str:
    """`kvm` where a guest boots with it, else `tcg`."""
    known = qemu.remembered_accelerator(cache)
    if known:
        return known
    with locked(cache, "accelerator"):
        known = qemu.remembered_accelerator(cache)
        if not known:
            known = "kvm" if os.access("/dev/kvm", os.R_OK | os.W_OK) and _boots(assets) else "tcg"
            qemu.remember_accelerator(cache, known)
    return known


def _boots(assets: Assets) -> bool:
    """Boot the base alone with KVM and wait for its agent."""
    import subprocess

    from plugins.microvm.protocol import Decoder, Kind, ProtocolError

    machine = qemu.Machine(qemu.DEFAULT_MEMORY_MIB, 1, "")
    agent, theirs = socket.socketpair()
    console, their_console = socket.socketpair()
    with agent, theirs, console, their_console:
        argv = qemu.arguments(
            machine,
            accelerator="kvm",
            kernel=assets.kernel,
            initrd=assets.base,
            append=qemu.command_line(machine, qemu.tsc_khz(Path("/proc/cpuinfo").read_text()), "kvm"),
            agent=theirs.fileno(),
            console=their_console.fileno(),
        )
        guest = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(), their_console.fileno()),
        )
        theirs.close()
        agent.settimeout(_PATIENCE)
        try:
            return any(frame.kind is Kind.READY for frame in Decoder().feed(agent.recv(4096)))
        except (OSError, ProtocolError):
            return False
        finally:
            guest.kill()
            guest.wait()
