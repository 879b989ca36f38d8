"""Making a template: a guest of the right kind is booted, and saved once its agent is up."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from plugins.microvm import qemu
from plugins.microvm.assets import Assets
from plugins.microvm.cache import digest
from plugins.microvm.errors import RuntimeFailure
from plugins.microvm.image import Image
from plugins.microvm.monitor import Monitor, MonitorError
from plugins.microvm.netns import open_tap, private
from plugins.microvm.patch import link_name, list_links, match_links
from plugins.microvm.protocol import Decoder, Frame, Kind, ProtocolError, answer
from plugins.microvm.templates import NoTemplate, Recipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

FORMAT = "1"
"""Changes with what a template's guest is like when it is saved."""

_PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Kit:
    """All that decides what a guest is, but for what is told it after boot."""

    machine: qemu.Machine
    accelerator: str
    assets: Assets
    image: Image
    append: str
    nics: int


def recipe(kit: Kit, tsc_khz: int | None) -> Recipe:
    """Names the template for such guests."""
    host = digest(FORMAT, qemu.boot_id(), qemu.program_stamp(), str(tsc_khz), _processor() * (kit.accelerator == "kvm"))
    # Where the files are does not matter: the image's key says what is in both.
    files = (str(kit.assets.kernel), str(kit.image.path))
    like = _arguments(kit, agent=0, console=0, memory=0, monitor=0, taps=(0,) * kit.nics)
    like = [word for word in like if word not in files]
    return Recipe(digest(host, kit.image.key, *like)[:32], host[:32], kit.machine.memory_mib << 20)


def build(folder: Path, kit: Kit) -> dict[str, object]:
    """Boot on the folder's `memory`, write its `state`; NoTemplate with the reason if that cannot be."""
    import subprocess

    end = time.monotonic() + _PATIENCE
    with contextlib.ExitStack() as stack:
        memory = os.open(folder / "memory", os.O_RDWR | os.O_CLOEXEC)
        stack.callback(os.close, memory)
        state = os.open(folder / "state", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        stack.callback(os.close, state)
        taps = []
        # With taps like a clone's, since the guest's drivers are told what these can do.
        with private():
            for number in range(kit.nics):
                taps.append(open_tap(f"t{number}"))
                stack.callback(os.close, taps[-1])
        log = stack.enter_context(open(folder / "qemu.log", "w+b"))
        agent, theirs = stack.enter_context(_pair())
        console, their_console = stack.enter_context(_pair())
        monitor, their_monitor = stack.enter_context(_pair())
        handed = (theirs.fileno(), their_console.fileno(), their_monitor.fileno())
        argv = _arguments(kit, agent=handed[0], console=handed[1], monitor=handed[2], memory=memory, taps=tuple(taps))
        guest = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(*handed, memory, *taps),
        )
        stack.callback(guest.wait)
        stack.callback(guest.kill)
        for side in (theirs, their_console, their_monitor):
            side.close()
        try:
            interfaces = _interfaces(agent, kit.nics, end)
            Monitor(monitor, end).save(state)
        except (RuntimeFailure, MonitorError, ProtocolError, KeyError) as error:
            raise NoTemplate(f"the guest to be saved: {error}{_last_words(log, console)}") from error
        (folder / "qemu.log").unlink()
        return {"interfaces": interfaces}


def _last_words(log: BinaryIO, console: socket.socket) -> str:
    """What qemu said, and the guest."""
    log.seek(0)
    said = log.read()[-500:]
    console.setblocking(False)
    with contextlib.suppress(OSError):
        said += b" " + console.recv(65536)[-500:]
    text = said.decode(errors="replace").strip()
    return f": {text}" if text else ""


def _interfaces(agent: socket.socket, nics: int, end: float) -> list[int]:
    """Wait for the agent; numbers of the guest's NICs, in order.  They get names out of the way of any clone's."""
    frames = _frames(agent, end)
    for frame in frames:
        if frame.kind is Kind.READY:
            break
    numbers = match_links(_ask(agent, frames, list_links()), [(number, mac(number)) for number in range(nics)])
    for number in range(nics):
        _ask(agent, frames, link_name(numbers[number], f"mvtpl{number}"))
    return [numbers[number] for number in range(nics)]


def _ask(agent: socket.socket, frames: Iterator[Frame], request: bytes) -> bytes:
    agent.sendall(Frame(Kind.NETLINK, 1, request).encode())
    for frame in frames:
        if frame.kind is Kind.ANSWER:
            error, data = answer(frame)
            if error:
                raise RuntimeFailure(f"setting up its interfaces: {os.strerror(error)}")
            return data
    raise RuntimeFailure("no answer")


def _frames(agent: socket.socket, end: float) -> Iterator[Frame]:
    decoder = Decoder()
    while True:
        agent.settimeout(max(end - time.monotonic(), 0.001))
        try:
            data = agent.recv(65536)
        except TimeoutError:
            raise RuntimeFailure(f"not up within {_PATIENCE:.0f} s") from None
        except OSError as error:
            raise RuntimeFailure(str(error.strerror)) from error
        if not data:
            raise RuntimeFailure("qemu ended before it was up")
        yield from decoder.feed(data)


def mac(number: int) -> str:
    """Address of a template's NIC; no clone keeps it."""
    return f"02:76:6d:00:00:{number:02x}"


def _arguments(kit: Kit, *, agent: int, console: int, monitor: int, memory: int, taps: tuple[int, ...]) -> list[str]:
    return qemu.arguments(
        kit.machine,
        accelerator=kit.accelerator,
        kernel=kit.assets.kernel,
        initrd=kit.image.path,
        append=kit.append,
        agent=agent,
        console=console,
        nics=tuple(qemu.Nic(tap, mac(number)) for number, tap in enumerate(taps)),
        memory=qemu.Memory(memory, monitor, clone=False),
        name="template",
    )


def _processor() -> str:
    """Under KVM a guest has the host's processor."""
    lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    return "\n".join(line for line in lines if line.startswith(("model", "stepping", "flags", "microcode")))


@contextlib.contextmanager
def _pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs
