"""The relay and its machine are started: as a clone of a template where that can be, else by booting."""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from plugins.microvm import network, qemu, statefile, templates
from plugins.microvm.errors import RuntimeFailure
from plugins.microvm.guestnet import adopt_requests, rename_requests
from plugins.microvm.network import Survey
from plugins.microvm.patch import Patch
from plugins.microvm.templater import Kit, build, recipe
from plugins.microvm.templates import NoTemplate, Template

_FIRST_FD = 100
"""What qemu gets open is numbered from here, above all that the relay may have."""

_PACKAGES = Path(__file__).parents[2]
_RELAY = (
    "import sys; sys.path.insert(0, sys.argv[2]); "
    "from plugins.microvm.relay import main; sys.exit(main(int(sys.argv[1])))"
)


class _CloneFailed(Exception):
    """The clone never spoke; a booted guest may."""


class RelayProcess:
    """A relay that waits for its plan.  Started before there is one, since both take a moment."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            theirs.set_inheritable(True)
            argv = [sys.executable, "-S", "-E", "-c", _RELAY, str(theirs.fileno()), str(_PACKAGES)]
            # It takes over our standard streams: they are the container's.
            self.pid = os.posix_spawn(sys.executable, argv, os.environ, setsid=True)
        self._joining: threading.Thread | None = None
        self._refusal = ""

    def join(self, cgroups: tuple[Path, ...]) -> None:
        """Begin to put it into its control groups; the kernel takes its time over that, and there is more to do."""
        self._joining = threading.Thread(target=self._join, args=(cgroups,), daemon=True)
        self._joining.start()

    def _join(self, cgroups: tuple[Path, ...]) -> None:
        try:
            for folder in cgroups:
                (folder / "cgroup.procs").write_text(str(self.pid))
        except OSError as error:
            self._refusal = f"{error.filename}: {error.strerror}"

    def joined(self, cgroups: tuple[Path, ...]) -> None:
        """Wait until it is in its control groups, for qemu shall be from its first page on."""
        if self._joining is None:
            self.join(cgroups)
        assert self._joining
        self._joining.join()
        if self._refusal:
            raise RuntimeFailure(self._refusal)

    def hand(self, plan: dict[str, object], fds: list[int]) -> dict[str, object]:
        """Send the plan and what it needs open; the relay's word once the guest is configured, or why it is not."""
        received = b""
        try:
            self._control.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
            self._control.sendall(json.dumps(plan).encode() + b"\n")
            for fd in fds:
                os.close(fd)
            while not received.endswith(b"\n") and (chunk := self._control.recv(65536)):
                received += chunk
        except OSError:
            received = b""
        answer: dict[str, object] = json.loads(received) if received else {"error": "the relay ended without a word"}
        return answer

    def end(self) -> None:
        """The relay has refused, or shall not be used: it ends as its conversation does."""
        self._control.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


@dataclass(frozen=True, slots=True)
class Order:
    """A guest to be started; `plan` is the part of the relay's plan that says nothing of the machine."""

    kit: Kit
    tsc_khz: int | None
    container: str
    folder: Path
    cgroups: tuple[Path, ...]
    netns: Path | None
    seen: Survey
    plan: dict[str, object]
    may_clone: bool
    warn: Callable[[str], None]


def start(order: Order, relay: RelayProcess) -> int:
    """Start and configure it; the pid of its relay."""
    template = None
    try:
        if not order.may_clone:
            raise NoTemplate("the bundle asks for a guest that is booted")
        wanted = recipe(order.kit, order.tsc_khz)
        place = templates.folder()
        template = templates.obtain(place, wanted, lambda folder: build(folder, order.kit))
        try:
            return _start(order, relay, template, "")
        except _CloneFailed as error:
            templates.discard(place, wanted.key, str(error))
            relay = RelayProcess()
            raise NoTemplate(f"a clone did not start: {error}") from error
        finally:
            template.close()
    except NoTemplate as error:
        order.warn(f"{order.container} is booted, not cloned: {error}")
        return _start(order, relay, None, str(error))


def _start(order: Order, relay: RelayProcess, template: Template | None, why_cold: str) -> int:
    statefile.update(str(order.folder), pid=relay.pid, start_time=statefile.start_time(relay.pid))
    try:
        taps = network.connect(order.netns, order.seen.nics) if order.netns and order.seen.nics else []
        relay.joined(order.cgroups)
        answer = relay.hand(*_whole_plan(order, template, taps, why_cold))
    except BaseException:
        relay.end()
        raise
    if "error" not in answer:
        return relay.pid
    relay.end()
    if answer.get("clone"):
        raise _CloneFailed(str(answer["error"]))
    raise RuntimeFailure(str(answer["error"]))


def _whole_plan(
    order: Order, template: Template | None, taps: list[int], why_cold: str
) -> tuple[dict[str, object], list[int]]:
    """The relay's plan and the descriptors that go with it: the relay's own, then those that qemu finds from _FIRST_FD.

    All of them are the relay's from now on.
    """
    kit = order.kit
    ours, theirs = _pairs(3 if template else 2)
    shared = [os.dup(template.memory), os.dup(template.state)] if template else []
    guest = [*theirs, *shared, *taps]
    place = {fd: _FIRST_FD + number for number, fd in enumerate(guest)}
    memory = qemu.Memory(place[shared[0]], place[theirs[2]], clone=True) if template else None
    plan = order.plan | {
        "argv": qemu.arguments(
            kit.machine,
            accelerator=kit.accelerator,
            kernel=kit.assets.kernel,
            initrd=kit.image.path,
            append=kit.append,
            agent=place[theirs[0]],
            console=place[theirs[1]],
            nics=tuple(qemu.Nic(place[tap], link.mac) for tap, link in zip(taps, order.seen.nics, strict=True)),
            memory=memory,
            name=order.container.replace(",", ""),
        ),
        "own": len(ours),
        "first_fd": _FIRST_FD,
        "state": place[shared[1]] if template else 0,
        "numbers": _numbers(order, template) if template else None,
        "interfaces": [portable(patch) for patch in (adopt_requests if template else rename_requests)(order.seen.nics)],
        "why_cold": why_cold,
    }
    return plan, [*ours, *guest]


def _numbers(order: Order, template: Template) -> list[tuple[int, int]]:
    """The clone's interface numbers by the host's; the loopback is 1 everywhere."""
    nics = zip((link.index for link in order.seen.nics), template.interfaces, strict=True)
    return [*((link.index, 1) for link in order.seen.links if link.loopback), *nics]


def portable(patch: Patch) -> tuple[str, tuple[tuple[int, int], ...]]:
    """A request as it goes into the plan."""
    return patch.request.hex(), patch.places


def _pairs(count: int) -> tuple[list[int], list[int]]:
    """Connected sockets: our ends and theirs."""
    made = [socket.socketpair() for _ in range(count)]
    return [ours.detach() for ours, _ in made], [theirs.detach() for _, theirs in made]
