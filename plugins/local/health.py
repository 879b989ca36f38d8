"""Whether what runs is well: its processes, its ports, its guest. Found out as it happens, kept in memory only.

What a stamp and the kernel tell at any time stays with `Computes`; this adds what has to be seen when it happens (how
a process ended) or over a while (a guest's silence), and tells whoever watches. After a restart nothing is remembered
and everything is looked at again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import ParamSpec, Protocol, TypeVar

import structlog

from plugins.local.net.devices import DeviceEvents, DeviceView, Seen
from plugins.local.net.observe import Place
from plugins.local.process import ProcessRef
from plugins.local.watch import MACHINE, Ending, Watcher
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.handlers import Stamped

_RELAY_SECONDS = 2.0
_SETTLE_SECONDS = 0.02
_AGAIN_SECONDS = 0.3
_SWEEP_SECONDS = 10.0
_SWEEP_BY_ENTERING_SECONDS = 2.0
_PULSE_SECONDS = 1.0
_SILENCES = 2
P = ParamSpec("P")
T = TypeVar("T")
log = structlog.get_logger("plugins.local.health")


class Threads(Protocol):
    """Runs blocking work in a worker thread."""

    async def __call__(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Its result."""
        ...


class Listener(Protocol):
    """Asks a guest."""

    async def listen(self) -> str | None:
        """Takes some seconds: why the guest counts as hung, empty where it does not; None where it cannot be asked."""
        ...


# Looks, cheaply: why the guest counts as hung, empty where it does not.
Pulse = Callable[[], str]


class Subject(Protocol):
    """What is known of computes and SAPs, by those who realize them; all of it may block."""

    def processes(self, resource_id: str) -> dict[str, ProcessRef]:
        """What must be alive while it runs; empty where it is not to be watched now."""
        ...

    def places(self, resource_id: str) -> Sequence[Place]:
        """Where its ports are."""
        ...

    def find(self, resource_id: str) -> Stamped | None:
        """As its stamp and the kernel tell now."""
        ...

    def epitaph(self, resource_id: str, ending: Ending) -> str:
        """Why it failed, given which of its processes ended and how."""
        ...

    def payload_ended(self, resource_id: str) -> bool:
        """Whether a microVM's payload has ended by itself, so that its machine goes, too."""
        ...

    def pulse(self, resource_id: str) -> Pulse | None:
        """Why its guest counts as hung, by signs of life that lie there; None where none do."""
        ...

    def listener(self, resource_id: str) -> Listener | None:
        """Asks its guest whether it lives; None where there is none to be asked."""
        ...


@dataclass(slots=True)
class _Followed:
    kind: pb.Kind.ValueType
    places: Sequence[Place]
    nsids: frozenset[int] = frozenset()
    pulse: Pulse | None = None
    wrong: dict[str, tuple[str, int]] = field(default_factory=dict)  # what -> reason, when seen (ns)
    silences: int = 0  # in a row
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    listening: asyncio.Task[None] | None = None


class Health:
    """Lives in the event loop; `thread` runs what blocks, `publish` tells the watchers."""

    def __init__(
        self,
        subject: Subject,
        view: DeviceView,
        publish: Callable[[pb.Resource], None],
        thread: Threads,
    ) -> None:
        self._subject = subject
        self._view = view
        self._publish = publish
        self._thread = thread
        self._watcher = Watcher(self._ended)
        self._followed: dict[str, _Followed] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._events: DeviceEvents | None = None
        self._heard: set[int] = set()
        self._all_heard = False

    # -- who is followed

    def start(self) -> None:
        """Begin to listen and to look."""
        with suppress(OSError):
            self._events = DeviceEvents()
            asyncio.get_running_loop().add_reader(self._events.fileno(), self._hear)
        self._begin(self._sweep_ports())
        self._begin(self._feel_pulses())

    async def close(self) -> None:
        """Forget all; what runs goes on."""
        for resource_id in list(self._followed):
            self.forget(resource_id)
        self._watcher.close()
        if self._events is not None:
            asyncio.get_running_loop().remove_reader(self._events.fileno())
            self._events.close()
            self._events = None
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._view.close()

    async def follow(self, stamped: Stamped) -> None:
        """From now on; what was wrong before is forgotten. Only what runs, and SAPs, are followed."""
        resource_id, kind = stamped.resource.handle.resource_id, stamped.resource.kind
        self.forget(resource_id)
        if kind not in (pb.KIND_COMPUTE, pb.KIND_SAP):
            return
        processes, followed = await self._thread(self._introduce, resource_id, kind)
        if kind == pb.KIND_COMPUTE and not processes:
            return
        self._followed[resource_id] = followed
        self._watcher.follow(resource_id, processes)
        if kind == pb.KIND_COMPUTE:
            followed.listening = self._begin(self._listen(resource_id, followed))

    def forget(self, resource_id: str) -> None:
        """What happens to it now is meant."""
        self._watcher.forget(resource_id)
        followed = self._followed.pop(resource_id, None)
        if followed is not None and followed.listening is not None:
            followed.listening.cancel()

    def judged(self, stamped: Stamped) -> Stamped:
        """The same, FAILED where something is known to be wrong with what seems to run."""
        followed = self._followed.get(stamped.resource.handle.resource_id)
        if followed is None or not followed.wrong or stamped.resource.state not in (pb.STATE_RUNNING, pb.STATE_FAILED):
            return stamped
        reason, at_ns = next(iter(followed.wrong.values()))
        resource = pb.Resource()
        resource.CopyFrom(stamped.resource)
        resource.state, resource.reason = pb.STATE_FAILED, reason
        resource.changed_at.FromNanoseconds(at_ns)
        return Stamped(resource, stamped.spec_digest, stamped.generation)

    def _introduce(self, resource_id: str, kind: pb.Kind.ValueType) -> tuple[dict[str, ProcessRef], _Followed]:
        is_compute = kind == pb.KIND_COMPUTE
        processes = self._subject.processes(resource_id) if is_compute else {}
        places = self._subject.places(resource_id)
        nsids = {self._view.nsid(name) for place in places for name in place.namespaces}
        pulse = self._subject.pulse(resource_id) if is_compute else None
        return processes, _Followed(kind, places, frozenset(nsid for nsid in nsids if nsid is not None), pulse)

    # -- processes

    def _ended(self, resource_id: str, ending: Ending) -> None:
        followed = self._followed.get(resource_id)
        if followed is not None:
            if ending.name != MACHINE:
                followed.ended.set()
            self._begin(self._mourn(resource_id, followed, ending))

    async def _mourn(self, resource_id: str, followed: _Followed, ending: Ending) -> None:
        if ending.name == MACHINE and await self._thread(self._subject.payload_ended, resource_id):
            # The relay has ended its machine; its own end, which says more, is about to follow.
            with suppress(TimeoutError):
                await asyncio.wait_for(followed.ended.wait(), _RELAY_SECONDS)
        if ending.name == MACHINE and followed.ended.is_set():
            return
        reason = await self._thread(self._subject.epitaph, resource_id, ending)
        _, at_ns = followed.wrong.pop("process", ("", ending.at_ns))
        followed.wrong = {"process": (reason, at_ns), **followed.wrong}
        await self._tell(resource_id, followed)

    # -- ports

    def _hear(self) -> None:
        assert self._events is not None
        heard = self._events.heard()
        waiting = bool(self._heard) or self._all_heard
        if heard is None:
            self._all_heard = True
        else:
            self._heard |= heard & {nsid for followed in self._followed.values() for nsid in followed.nsids}
        if not waiting and (self._heard or self._all_heard):
            asyncio.get_running_loop().call_later(_SETTLE_SECONDS, self._look_after_events)

    def _look_after_events(self) -> None:
        nsids, every = self._heard, self._all_heard
        self._heard, self._all_heard = set(), False
        touched = [one for one, followed in self._followed.items() if every or followed.nsids & nsids]
        if touched:
            self._begin(self._check_ports(touched))

    async def _sweep_ports(self) -> None:
        while True:
            listens = self._events is not None and self._view.numbered
            await asyncio.sleep(_SWEEP_SECONDS if listens else _SWEEP_BY_ENTERING_SECONDS)
            await self._check_ports(list(self._followed))

    async def _check_ports(self, resource_ids: Sequence[str]) -> None:
        """What is amiss is looked at once more before it is told: a link may just be mended."""
        suspects = await self._port_faults(resource_ids)
        if any(suspects.values()):
            await asyncio.sleep(_AGAIN_SECONDS)
            again = [one for one, fault in suspects.items() if fault]
            suspects |= await self._port_faults(again)
        for resource_id, fault in suspects.items():
            await self._note(resource_id, "port", fault)

    async def _port_faults(self, resource_ids: Sequence[str]) -> dict[str, str]:
        asked = {one: followed.places for one in resource_ids if (followed := self._followed.get(one)) is not None}
        found = await self._thread(port_faults, self._view, asked)
        return {one: fault for one, fault in found.items() if one in self._followed}

    # -- guests

    async def _feel_pulses(self) -> None:
        while True:
            await asyncio.sleep(_PULSE_SECONDS)
            for resource_id, followed in list(self._followed.items()):
                if followed.pulse is None:
                    continue
                silence = followed.pulse()
                # More than once: after a pause of the whole host everybody's last sign of life is old at first.
                followed.silences = followed.silences + 1 if silence else 0
                await self._note(resource_id, "guest", silence if followed.silences > _SILENCES else "")

    async def _listen(self, resource_id: str, followed: _Followed) -> None:
        listener = await self._thread(self._subject.listener, resource_id)
        while listener is not None and (silence := await listener.listen()) is not None:
            await self._note(resource_id, "guest", silence)
        followed.listening = None

    # -- telling

    async def _note(self, resource_id: str, what: str, fault: str) -> None:
        """Told when it begins and when it is over; only of what runs otherwise."""
        followed = self._followed.get(resource_id)
        if followed is None or bool(fault) == (what in followed.wrong):
            return
        if not fault:
            followed.wrong.pop(what)
        elif await self._is_meant_to_run(resource_id, followed.kind) and self._followed.get(resource_id) is followed:
            followed.wrong[what] = fault, time.time_ns()
        else:
            return
        await self._tell(resource_id, followed)

    async def _is_meant_to_run(self, resource_id: str, kind: pb.Kind.ValueType) -> bool:
        stamped = await self._thread(self._subject.find, resource_id)
        if stamped is None:
            return False
        # A SAP without its namespace is FAILED by what the kernel tells already.
        return stamped.resource.state == pb.STATE_RUNNING or kind == pb.KIND_SAP

    async def _tell(self, resource_id: str, followed: _Followed) -> None:
        stamped = await self._thread(self._subject.find, resource_id)
        if stamped is None or self._followed.get(resource_id) is not followed:
            return
        resource = self.judged(stamped).resource
        log.info("changed by itself", resource_id=resource_id, state=pb.State.Name(resource.state), why=resource.reason)
        self._publish(resource)

    def _begin(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("watching came to an end", exc_info=error)


def port_faults(view: DeviceView, asked: Mapping[str, Sequence[Place]]) -> dict[str, str]:
    """Resource -> what is amiss with one of its ports, empty where all is well. Each namespace is looked at once."""
    seen: dict[str, dict[str, Seen]] = {}
    found = {}
    for resource_id, places in asked.items():
        for name in (namespace for place in places for namespace in place.namespaces):
            if name not in seen:
                seen[name] = view.devices(name) or {}
        found[resource_id] = next(filter(None, (_fault(place, seen) for place in places)), "")
    return found


def _fault(place: Place, seen: Mapping[str, Mapping[str, Seen]]) -> str:
    for namespace, name in place.devices:
        device = seen[namespace].get(name)
        if device is None:
            return f"port {place.cp_id} is gone"
        if not device.is_up:
            return f"port {place.cp_id} is down"
    return ""
