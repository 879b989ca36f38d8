"""All computes of this host: what was asked, what is there, and the way from one to the other. Blocking.

Whatever is made is stamped first, so that any later process finds it. An allocation that finds half-built remains
clears them away and builds anew.
"""

from __future__ import annotations

import base64
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from plugins.local import mounts
from plugins.local.containers import Containers, container_id
from plugins.local.guests import AgentListener
from plugins.local.host import HostFacts
from plugins.local.images.store import ImageStore
from plugins.local.job import Job
from plugins.local.net import HostNetwork, NetError
from plugins.local.netpart import MEMBER_KINDS, NetPart, as_problem
from plugins.local.process import CommandFailed, ProcessRef
from plugins.local.settings import Settings
from plugins.local.stamps import Stamp, StampFolder
from plugins.local.vms import Vms
from plugins.local.watch import MACHINE, Ending
from vnfm.pb.common.v1.common_pb2 import Handle, Owner
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.handlers import Stamped
from vnfm.pluginkit.problems import (
    PluginError,
    already_exists,
    failed,
    no_capacity,
    not_ready,
    timed_out,
    unavailable,
)

Report = Callable[[int, str], None]
_LOCK_SECONDS = 30.0
_MIB = 1 << 20


class Computes:
    """One run folder's computes; every method may be called from several threads."""

    def __init__(
        self,
        settings: Settings,
        facts: HostFacts,
        network: HostNetwork,
        containers: Containers,
        vms: Vms,
        images: ImageStore,
    ) -> None:
        self._settings = settings
        self._facts = facts
        self._network = network
        self._containers = containers
        self._vms = vms
        self._images = images
        self.stamps = StampFolder(settings.run_dir)
        self.net = NetPart(network, settings.host_id, self.runtime_of, self.ports_of, settings.scope)

    # -- finding

    def find(self, resource_id: str) -> Stamped | None:
        """What is there of it, half-built or whole."""
        stamp = self.stamps.read(resource_id)
        return None if stamp is None else self.stamped(stamp)

    def stamped(self, stamp: Stamp) -> Stamped:
        """The stamp with the state as it is now."""
        state, reason = self._state(stamp)
        return Stamped(self._resource(stamp, state, reason), stamp.spec_digest)

    def runtime_of(self, resource_id: str) -> pb.Runtime.ValueType | None:
        """What a compute is realized as; None where there is none."""
        stamp = self.stamps.read(resource_id)
        return None if stamp is None else pb.Runtime.Value("RUNTIME_" + stamp.runtime)

    def ports_of(self, resource_id: str) -> list[pb.Port]:
        """The ports that a compute was asked with."""
        stamp = self.stamps.read(resource_id)
        return [] if stamp is None else list(request_of(stamp).ports)

    def processes(self, resource_id: str) -> dict[str, ProcessRef]:
        """What must be alive while it runs, by name; empty where it is not meant to run now."""
        stamp = self.stamps.read(resource_id)
        if stamp is None or stamp.phase != "ready":
            return {}
        request = request_of(stamp)
        if request.runtime == pb.RUNTIME_VM:
            return stamp.refs()
        machine = self._containers.machine_process(stamp, request)
        return stamp.refs() | ({MACHINE: machine} if machine is not None else {})

    def epitaph(self, resource_id: str, ending: Ending) -> str:
        """Why it failed, given which of its processes ended and how."""
        stamp = self.stamps.read(resource_id)
        return self._reason(stamp, ending) if stamp is not None else ""

    def payload_ended(self, resource_id: str) -> bool:
        """Whether a microVM's payload has ended by itself."""
        stamp = self.stamps.read(resource_id)
        return stamp is not None and self._containers.payload_ended(resource_id, request_of(stamp))

    def pulse(self, resource_id: str) -> Callable[[], str] | None:
        """Looks whether its guest is silent, where that can be seen without asking it; see guests.py."""
        stamp = self.stamps.read(resource_id)
        if stamp is None or stamp.runtime != "KATA":
            return None
        return self._containers.pulse(resource_id, request_of(stamp))

    def listener(self, resource_id: str) -> AgentListener | None:
        """Asks its guest whether it lives; None where there is none to be asked."""
        stamp = self.stamps.read(resource_id)
        if stamp is None or stamp.runtime != "VM":
            return None
        return self._vms.listener(self.stamps.folder(resource_id))

    def uses_link(self, link_id: str) -> list[str]:
        """Ids of the computes with a port on it."""
        stamps = self.stamps.all()
        return [s.resource_id for s in stamps if any(p.link.resource_id == link_id for p in request_of(s).ports)]

    def uses_image(self, sha256: str) -> list[str]:
        """Ids of the computes that were made from it."""
        return [stamp.resource_id for stamp in self.stamps.all() if sha256 in stamp.images]

    def cgroups_of_all(self) -> list[str]:
        """The control groups of everything that runs here."""
        return [self._settings.cgroup_of(stamp.resource_id) for stamp in self.stamps.all()]

    # -- changing

    def allocate(
        self,
        request: pb.AllocateComputeRequest,
        spec_digest: str,
        report: Report,
        cancel: threading.Event,
        built: Callable[[], None] = lambda: None,
    ) -> pb.Resource:
        """Builds it; INTERNAL with its last words where it does not live. `built` is called when the work is done and
        only waiting is left."""
        self._check(request)
        with self._locked(request.resource_id) as lock_fd:
            known = self.stamps.read(request.resource_id)
            if known is not None and known.manager_id != request.owner.manager_id:
                raise already_exists(request.resource_id, "another manager has an object of this id on this host")
            stamp = new_stamp(request, spec_digest)
            job = Job(request, self.stamps, stamp, lock_fd, report, cancel)
            job.note(stamp)
            if known is not None:
                report(5, "clearing away what a broken attempt left")
                self._clear_rest(request, 0)
                job.note(stamp)
            with self._problems(request.resource_id):
                self._build(job, built)
            return self._resource(job.stamp, pb.STATE_RUNNING, "")

    def terminate(self, resource_id: str, manager_id: str, grace_seconds: float, force: bool) -> None:
        """Removes all that is left of it; nothing there is fine, another manager's is not touched."""
        folder = self.stamps.folder(resource_id)
        if not folder.exists():
            return
        with self._locked(resource_id):
            stamp = self.stamps.read(resource_id)
            if stamp is not None and stamp.manager_id != manager_id:
                return
            with self._problems(resource_id):
                request = request_of(stamp) if stamp is not None else pb.AllocateComputeRequest(resource_id=resource_id)
                self._clear_rest(request, 0 if force else grace_seconds)
                if request.runtime in (pb.RUNTIME_CONTAINER, pb.RUNTIME_KATA):
                    self._network.remove_namespace(resource_id)
                self.net.leave(resource_id, {port.link.resource_id for port in request.ports})
                with suppress(FileNotFoundError):
                    shutil.rmtree(folder)

    def operate(self, request: pb.OperateComputeRequest, grace_seconds: float, cancel: threading.Event) -> pb.Resource:
        """Start, stop, reboot, pause, resume; what it already is, is success."""
        resource_id = request.handle.resource_id
        with self._locked(resource_id) as lock_fd:
            stamp = self.stamps.read(resource_id)
            if stamp is None:
                raise not_ready(f"{resource_id} went away meanwhile", instance=resource_id)
            asked = request_of(stamp)
            job = Job(asked, self.stamps, stamp, lock_fd, lambda *_: None, cancel)
            with self._problems(resource_id):
                self._operate(job, request.op, grace_seconds)
            state, reason = self._state(job.stamp)
            return self._resource(job.stamp, state, reason)

    def _operate(self, job: Job, op: int, grace_seconds: float) -> None:
        state, _ = self._state(job.stamp)
        verbs = pb.OperateComputeRequest
        if op in (verbs.PAUSE, verbs.RESUME):
            if state != pb.STATE_RUNNING and not job.stamp.paused:
                raise not_ready("only what runs can be paused or resumed: start it first")
            if job.stamp.paused != (op == verbs.PAUSE):
                self._pause(job, pause=op == verbs.PAUSE)
            return
        if op in (verbs.STOP, verbs.REBOOT):
            job.note(replace(job.stamp, phase="stopped", paused=False))
            if state != pb.STATE_STOPPED:
                self._stop(job, grace_seconds)
            job.note(replace(job.stamp, processes=()))
        if op == verbs.REBOOT or (op == verbs.START and state != pb.STATE_RUNNING):
            if op == verbs.START and state != pb.STATE_STOPPED:
                self._stop(job, 0)
            self._start_again(job)

    def _stop(self, job: Job, grace_seconds: float) -> None:
        if job.request.runtime == pb.RUNTIME_VM:
            self._vms.stop(job.folder, job.stamp, grace_seconds)
        else:
            self._containers.stop(job.stamp, job.request, grace_seconds)

    def _start_again(self, job: Job) -> None:
        if job.request.runtime == pb.RUNTIME_VM:
            self._vms.start(job, self._network)
        else:
            self._containers.start_again(job, self._namespace(job))
            self._containers.settle(job)
        job.note(replace(job.stamp, phase="ready"))

    def _pause(self, job: Job, *, pause: bool) -> None:
        if job.request.runtime == pb.RUNTIME_VM:
            self._vms.pause(job.folder, pause=pause)
        elif job.request.runtime == pb.RUNTIME_KATA:
            raise not_ready("a microVM cannot be paused here: stop it instead", instance=job.request.resource_id)
        else:
            runtime = self._containers.runtime(job.request)
            first = len(job.request.init_containers)
            for index in range(first, first + len(job.request.containers)):
                name = container_id(job.request.resource_id, index)
                (runtime.pause if pause else runtime.resume)(name)
        job.note(replace(job.stamp, paused=pause))

    # -- building and clearing

    def _check(self, request: pb.AllocateComputeRequest) -> None:
        resource_id = request.resource_id
        if request.host_id != self._settings.host_id:
            raise no_capacity(
                f"host {request.host_id!r} is unknown here; this VIM has {self._settings.host_id!r}",
                instance=resource_id,
            )
        reason = self._facts.refusal(request.runtime)
        if reason:
            name = pb.Runtime.Name(request.runtime).removeprefix("RUNTIME_")
            raise PluginError(
                "runtime-not-offered",
                f"this host does not offer {name}: {reason}",
                not_ready("").code,
                retry=no_capacity("").problem.retry,
                instance=resource_id,
            )
        if request.cpu_milli > self._facts.cpu_milli():
            raise no_capacity(
                f"{request.cpu_milli} mCPU asked for; the host has {self._facts.cpu_milli()}", instance=resource_id
            )
        free = self._facts.memory_available_bytes()
        if request.memory_bytes > free:
            raise no_capacity(
                f"{request.memory_bytes // _MIB} MiB asked for; {free // _MIB} MiB are free", instance=resource_id
            )
        if request.runtime == pb.RUNTIME_VM:
            self._vms.check(request)
        else:
            self._containers.check(request)
        for sha256 in images_of(request):
            if self._images.get(sha256) is None:
                raise not_ready(f"the image {sha256} is not here: PutImage first, then the same call")
        self.net.check_links(request.ports)

    def _build(self, job: Job, built: Callable[[], None]) -> None:
        request = job.request
        self.net.join(request.resource_id, MEMBER_KINDS[request.runtime], request.ports)
        if request.runtime == pb.RUNTIME_VM:
            self._vms.build(job, self._network)
            overhead = self._vms.overhead_bytes(request.resource_id)
            elapsed = job.elapsed_ms()
        else:
            netns = self._namespace(job)
            self._containers.build(job, netns)
            elapsed = job.elapsed_ms()
            built()
            self._containers.settle(job)
            overhead = self._containers.overhead_bytes(request)
        addresses = tuple(ip for port in request.ports for ip in port.ips)
        job.note(
            replace(job.stamp, phase="ready", start_ms=elapsed, overhead_memory_bytes=overhead, addresses=addresses)
        )
        job.report(100, f"runs after {elapsed} ms")

    def _namespace(self, job: Job) -> Path:
        owner = {"kind": "COMPUTE", "manager_id": job.stamp.manager_id}
        name = self._network.ensure_namespace(job.request.resource_id, owner)
        self.net.configure(job.request.resource_id, job.request.ports)
        return Path("/run/netns") / name

    def _clear_rest(self, request: pb.AllocateComputeRequest, grace_seconds: float) -> None:
        """Everything but the stamp and the network: processes, mounts, groups, files.

        The namespace stays where the compute is built anew, for the links' ports stand in it.
        """
        folder = self.stamps.folder(request.resource_id)
        if request.runtime == pb.RUNTIME_VM:
            self._vms.remove(folder, request.resource_id, self.stamps.read(request.resource_id), grace_seconds)
        elif request.runtime in (pb.RUNTIME_CONTAINER, pb.RUNTIME_KATA):
            self._containers.remove(folder, request.resource_id, request, grace_seconds)
        mounts.unmount_below(folder)
        with suppress(FileNotFoundError):
            for entry in folder.iterdir():
                if entry.name != "stamp.json":
                    shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()

    # -- telling

    def _state(self, stamp: Stamp) -> tuple[pb.State.ValueType, str]:
        if stamp.phase == "building":
            return pb.STATE_BUILDING, "its building was broken off"
        refs = stamp.refs()
        alive = {name for name, ref in refs.items() if ref.alive()}
        if stamp.phase == "stopped":
            return (pb.STATE_FAILED, "its stop or start was broken off") if alive else (pb.STATE_STOPPED, "")
        if alive == set(refs) and refs:
            return (pb.STATE_STOPPED, "paused") if stamp.paused else (pb.STATE_RUNNING, "")
        return pb.STATE_FAILED, self._reason(stamp)

    def _reason(self, stamp: Stamp, ending: Ending | None = None) -> str:
        request, folder = request_of(stamp), self.stamps.folder(stamp.resource_id)
        if request.runtime == pb.RUNTIME_VM:
            return self._vms.reason_of_death(stamp.resource_id, folder, ending.status if ending else None)
        return self._containers.reason_of_death(stamp, folder, request, ending)

    def _resource(self, stamp: Stamp, state: pb.State.ValueType, reason: str) -> pb.Resource:
        owner = Owner.FromString(base64.b64decode(stamp.owner_b64))
        resource = pb.Resource(
            handle=Handle(resource_id=stamp.resource_id, native_id=self._native_id(stamp)),
            state=state,
            reason=reason,
            addresses=stamp.addresses,
            host_id=self._settings.host_id,
            kind=pb.KIND_COMPUTE,
            owner=owner,
            start_ms=stamp.start_ms,
            overhead_memory_bytes=stamp.overhead_memory_bytes,
        )
        if state == pb.STATE_RUNNING:
            resource.changed_at.FromNanoseconds(max(ref.started_ns() for ref in stamp.refs().values()))
        return resource

    @staticmethod
    def _native_id(stamp: Stamp) -> str:
        pid = stamp.processes[0][1] if stamp.processes else 0
        return f"{stamp.runtime.lower()}:{container_id(stamp.resource_id, 0).partition('-')[0]}:{pid}"

    @contextmanager
    def _locked(self, resource_id: str) -> Iterator[int]:
        try:
            with self.stamps.lock(resource_id, _LOCK_SECONDS) as lock_fd:
                yield lock_fd
        except TimeoutError as error:
            raise unavailable(f"{error}; a process of an earlier plugin still works on it") from error

    @contextmanager
    def _problems(self, resource_id: str) -> Iterator[None]:
        try:
            yield
        except NetError as error:
            raise as_problem(error, resource_id) from error
        except CommandFailed as error:
            raise failed(str(error), instance=resource_id) from error
        except TimeoutError as error:
            raise timed_out(str(error), instance=resource_id) from error


def new_stamp(request: pb.AllocateComputeRequest, spec_digest: str) -> Stamp:
    """What is known before anything is made."""
    return Stamp(
        resource_id=request.resource_id,
        manager_id=request.owner.manager_id,
        owner_b64=base64.b64encode(request.owner.SerializeToString()).decode(),
        spec_digest=spec_digest,
        runtime=pb.Runtime.Name(request.runtime).removeprefix("RUNTIME_"),
        images=images_of(request),
        request_b64=base64.b64encode(request.SerializeToString()).decode(),
    )


def images_of(request: pb.AllocateComputeRequest) -> tuple[str, ...]:
    """What it is made from."""
    found = {container.image_sha256 for container in (*request.init_containers, *request.containers)}
    return tuple(sorted((found | {request.boot.image_sha256}) - {""}))


def request_of(stamp: Stamp) -> pb.AllocateComputeRequest:
    """The call that made it."""
    return pb.AllocateComputeRequest.FromString(base64.b64decode(stamp.request_b64))
