"""CONTAINER and KATA: an OCI bundle for each container, handed to a program with runc's command line.

<compute's folder>/<index>/   config.json, rootfs (overlay), upper, work, files/, pid, output.log, init
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from plugins.local import accounts, memory, mounts, process
from plugins.local.bundle import (
    OWN_KERNEL_CAPABILITIES,
    SHARED_KERNEL_CAPABILITIES,
    SYSCTL_PREFIXES,
    ContainerPlan,
    config_json,
)
from plugins.local.cgroups import VNF_OOM_SCORE, Hierarchy, Limits
from plugins.local.guests import machine_of, silence_of_microvm
from plugins.local.images.errors import ImageRefused
from plugins.local.images.store import Image, ImageStore
from plugins.local.initrun import run_to_end
from plugins.local.job import Job
from plugins.local.process import CommandFailed, ProcessRef
from plugins.local.runtimes import OciRuntime
from plugins.local.settings import Settings
from plugins.local.stamps import Stamp, key_of
from plugins.local.watch import MACHINE, Ending, in_words, was_killed
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.problems import PluginError, failed, invalid, not_ready

ROOTFS_DIGEST = "vnfm.rootfs-digest"
_EXEC_SECONDS = 30
_SETTLE_SECONDS = 0.1
_INIT_SECONDS = 300
_GUEST_ALLOWANCE_BYTES = 768 << 20  # qemu, its translated code and the relays, beside the guest's own memory


def container_id(resource_id: str, index: int) -> str:
    """The runtime's name for it; short, since sockets stand below folders of this name."""
    return f"{hashlib.sha256(resource_id.encode()).hexdigest()[:16]}-{index}"


class Containers:
    """Builds, stops, starts and removes the containers of computes; blocking."""

    def __init__(
        self, runtimes: Mapping[int, OciRuntime], cgroups: Hierarchy, images: ImageStore, settings: Settings
    ) -> None:
        self._runtimes = runtimes
        self._cgroups = cgroups
        self._images = images
        self._settings = settings

    def check(self, request: pb.AllocateComputeRequest) -> None:
        """Refuses what cannot be realized, before anything is made."""
        own_kernel = self._runtimes[request.runtime].own_kernel
        if own_kernel and len(request.containers) > 1:
            raise invalid("containers", "KATA takes one container a compute here: give each its own VDU")
        allowed = OWN_KERNEL_CAPABILITIES if own_kernel else SHARED_KERNEL_CAPABILITIES
        for container in (*request.init_containers, *request.containers):
            for capability in container.linux_capabilities:
                if capability not in allowed:
                    kernel = "its own kernel" if own_kernel else "a kernel shared with the host; KATA or VM may give it"
                    raise invalid(
                        "linux_capabilities",
                        f"{container.name} asks for {capability}, which is not given with {kernel}",
                    )
            for key in container.sysctls:
                if not key.startswith(SYSCTL_PREFIXES):
                    raise invalid(
                        "sysctls", f"{container.name} sets {key}; expected one of {', '.join(SYSCTL_PREFIXES)}*"
                    )

    def build(self, job: Job, netns: Path) -> None:
        """From nothing to running; the processes are noted in the stamp as they come."""
        request = job.request
        group = self._settings.cgroup_of(request.resource_id)
        self._cgroups.create(group, self._limits(request, booting=True))
        every = [*request.init_containers, *request.containers]
        for index, container in enumerate(every):
            job.check()
            job.report(20 + 60 * index // len(every), f"container {container.name}")
            bundle = self._bundle(job, index, container, netns)
            if index < len(request.init_containers):
                self._run_init(job, index, container.name, bundle)
            else:
                self._start(job, index, container.name, bundle)
        self._up(request, group)

    def settle(self, job: Job) -> None:
        """Raises where a payload does not outlive its first moments."""
        seconds = _SETTLE_SECONDS
        for name, ref in job.stamp.refs().items():
            if ref.wait_gone(seconds):
                raise self._died(job, name)
            seconds = 0.0

    def start_again(self, job: Job, netns: Path) -> None:
        """After a stop: the containers anew on what they had written."""
        group = self._settings.cgroup_of(job.request.resource_id)
        self._cgroups.create(group, self._limits(job.request, booting=True))
        for index, container in enumerate(job.request.containers, len(job.request.init_containers)):
            bundle = self._bundle(job, index, container, netns)
            self._start(job, index, container.name, bundle)
        self._up(job.request, group)

    def _up(self, request: pb.AllocateComputeRequest, group: str) -> None:
        """What holds from now on for a microVM; a container has had its limits and its score from the beginning."""
        if self._runtimes[request.runtime].own_kernel:
            self._cgroups.create(group, self._limits(request, booting=False))
            self._cgroups.first_to_go(group)

    def stop(self, stamp: Stamp, request: pb.AllocateComputeRequest, grace_seconds: float) -> None:
        """Ends all payloads, TERM first; what they wrote stays."""
        runtime = self._runtimes[request.runtime]
        indexes = list(enumerate(request.containers, len(request.init_containers)))
        refs = stamp.refs()
        if grace_seconds > 0:
            for index, container in indexes:
                if container.name in refs and refs[container.name].alive():
                    runtime.kill(container_id(stamp.resource_id, index), "TERM")
            for ref in refs.values():
                ref.wait_gone(grace_seconds)
        for index, _ in indexes:
            runtime.delete(container_id(stamp.resource_id, index))
        self._cgroups.kill(self._settings.cgroup_of(stamp.resource_id))

    def remove(self, folder: Path, resource_id: str, request: pb.AllocateComputeRequest, grace_seconds: float) -> None:
        """Everything gone, from whatever half-made state; what resists raises OSError."""
        runtime = self._runtimes[request.runtime]
        count = len(request.init_containers) + len(request.containers)
        group = self._settings.cgroup_of(resource_id)
        names = {index: container_id(resource_id, index) for index in range(count)}
        known = {index: name for index, name in names.items() if (runtime.root / name).exists()}
        for index, name in known.items():
            ref = _pid_ref(folder / str(index))
            if grace_seconds > 0 and ref is not None:
                runtime.kill(name, "TERM") if runtime.own_kernel else ref.send(signal.SIGTERM)
                ref.wait_gone(grace_seconds)
            if runtime.own_kernel:
                runtime.delete(name)
        # With the host's kernel all that a container is, is its processes, its group and its mounts.
        self._cgroups.kill(group)
        self._cgroups.remove(group)
        for name in known.values():
            runtime.forget(name)
        mounts.unmount_below(folder)
        with suppress(OSError):
            runtime.root.rmdir()

    def reason_of_death(
        self, stamp: Stamp, folder: Path, request: pb.AllocateComputeRequest, ending: Ending | None = None
    ) -> str:
        """In words: the memory limit, or how it ended and the last lines of its output. Empty where nothing is dead."""
        names = [c.name for c in (*request.init_containers, *request.containers)]
        dead = [name for name, ref in stamp.refs().items() if not ref.alive()]
        if ending is not None and ending.name != MACHINE:
            dead = [ending.name, *dead]
        if not dead and ending is None:
            return ""
        name = dead[0] if dead else next(iter(stamp.refs()), "")
        index = names.index(name) if name in names else -1
        said = process.tail(folder / str(index) / "output.log") if index >= 0 else ""
        why = self._how_it_ended(stamp, request, index, ending)
        return f"container {name} {why}" + (f"; its last lines: {said}" if said else "")

    def _how_it_ended(self, stamp: Stamp, request: pb.AllocateComputeRequest, index: int, ending: Ending | None) -> str:
        status = ending.status if ending is not None else None
        runtime = self._runtimes[request.runtime]
        machine = machine_of(runtime.root / container_id(stamp.resource_id, index)) if runtime.own_kernel else None
        told = machine.reason if machine is not None else ""
        killed = was_killed(status) or "signal 9" in told
        if killed and self._cgroups.out_of_memory_kills(self._settings.cgroup_of(stamp.resource_id)):
            return "was killed for its memory limit"
        if ending is not None and ending.name == MACHINE:
            return f"has lost its machine: qemu {in_words(status)}"
        return f"has lost its machine: {told}" if told else in_words(status)

    def machine_process(self, stamp: Stamp, request: pb.AllocateComputeRequest) -> ProcessRef | None:
        """A microVM's qemu, where its runtime tells of it."""
        runtime = self._runtimes[request.runtime]
        if not runtime.own_kernel:
            return None
        machine = machine_of(self._machine_folder(stamp.resource_id, request))
        return ProcessRef.of(machine.pid) if machine is not None and machine.pid else None

    def payload_ended(self, resource_id: str, request: pb.AllocateComputeRequest) -> bool:
        """Whether a microVM's payload has ended by itself."""
        machine = machine_of(self._machine_folder(resource_id, request))
        return machine is not None and machine.payload_ended

    def pulse(self, resource_id: str, request: pb.AllocateComputeRequest) -> Callable[[], str]:
        """Looks why a microVM's guest counts as hung."""
        return partial(silence_of_microvm, self._machine_folder(resource_id, request), self._settings.agent_silence_s)

    def _machine_folder(self, resource_id: str, request: pb.AllocateComputeRequest) -> Path:
        return self._runtimes[request.runtime].root / container_id(resource_id, len(request.init_containers))

    def overhead_bytes(self, request: pb.AllocateComputeRequest) -> int:
        """Memory that the realization itself takes now."""
        group = self._settings.cgroup_of(request.resource_id)
        if self._runtimes[request.runtime].own_kernel:
            return memory.guest_overhead_bytes(self._cgroups.processes(group))
        return memory.kernel_bytes(self._cgroups, group)

    def runtime(self, request: pb.AllocateComputeRequest) -> OciRuntime:
        """Who runs its containers."""
        return self._runtimes[request.runtime]

    def _limits(self, request: pb.AllocateComputeRequest, *, booting: bool) -> Limits:
        pids, milli = self._settings.pids_limit, request.cpu_limit_milli or request.cpu_milli
        if self._runtimes[request.runtime].own_kernel:
            # The guest's memory limit holds inside; around it the whole microVM may not eat the host either. The
            # CPU limit begins once it is up: half a CPU would take twice as long to boot.
            return Limits(request.memory_bytes + _GUEST_ALLOWANCE_BYTES, 0 if booting else milli, 4 * pids)
        return Limits(request.memory_bytes, milli, pids)

    def _image(self, sha256: str) -> tuple[Image, Path]:
        image = self._images.get(sha256)
        if image is None:
            raise not_ready(f"the image {sha256} is not here: PutImage first, then the same call")
        if image.rootfs is None:
            raise invalid("image_sha256", f"{sha256} is a {image.format} disk; a container needs a root file system")
        return image, image.rootfs

    def _bundle(self, job: Job, index: int, container: pb.Container, netns: Path) -> Path:
        request, folder = job.request, job.folder / str(index)
        image, rootfs = self._image(container.image_sha256)
        own_kernel = self._runtimes[request.runtime].own_kernel
        for name in ("upper", "work", "rootfs", "files"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        # The root's own mode and owner are taken from the upper folder.
        shutil.copystat(rootfs, folder / "upper")
        if not (folder / "rootfs").is_mount():
            mounts.mount_overlay(rootfs, folder / "upper", folder / "work", folder / "rootfs")
        only = own_kernel and len(request.containers) == 1
        plan = ContainerPlan(
            hostname=request.name or key_of(request.resource_id),
            args=_command(container, image),
            env=(*image.config.env, *(f"{key}={value}" for key, value in sorted(container.env.items()))),
            working_dir=image.config.working_dir,
            user=_account(rootfs, image.config.user),
            netns=str(netns),
            cgroup_path=f"/{self._settings.cgroup_of(request.resource_id)}/{index}",
            files=_files(folder / "files", container.files),
            capabilities=tuple(container.linux_capabilities),
            sysctls=dict(container.sysctls),
            memory_bytes=container.memory_bytes or (request.memory_bytes if only else 0),
            cpu_milli=0 if own_kernel else container.cpu_milli,
            cpu_limit_milli=0 if own_kernel else container.cpu_limit_milli,
            pids=self._settings.pids_limit,
            oom_score=0 if own_kernel else VNF_OOM_SCORE,
            own_kernel=own_kernel,
            # Ours last: by this digest the microVM runtime finds the boot archive that it made of the image before.
            annotations={**request.annotations, ROOTFS_DIGEST: image.sha256},
        )
        (folder / "config.json").write_text(json.dumps(config_json(plan)))
        return folder

    def _start(self, job: Job, index: int, name: str, bundle: Path) -> None:
        runtime, container = self._runtimes[job.request.runtime], container_id(job.request.resource_id, index)
        output = bundle / "output.log"
        try:
            begin = runtime.create if runtime.own_kernel else runtime.run
            pid = begin(container, bundle, output, job.lock_fd)
            ref = ProcessRef.of(pid) or ProcessRef(pid, 0)  # the latter never lives: it has ended already
            # Not durable: a power cut ends the process, and until then its control group tells of it, too.
            job.note(job.stamp.with_process(name, ref), durable=False)
            if runtime.own_kernel:
                runtime.start(container)
        except CommandFailed as error:
            said = process.tail(output)
            raise self._refused(job, name, error, said) from error
        if not runtime.own_kernel and not job.wait(
            lambda: runtime.is_payload(ref.pid) or not ref.alive(), _EXEC_SECONDS
        ):
            raise failed(f"container {name} did not begin to run its command within {_EXEC_SECONDS} s")
        if not ref.alive():
            raise self._died(job, name)

    def _run_init(self, job: Job, index: int, name: str, bundle: Path) -> None:
        runtime, container = self._runtimes[job.request.runtime], container_id(job.request.resource_id, index)
        output = bundle / "output.log"
        try:
            exit_code = run_to_end(job, runtime, container, bundle, output, _INIT_SECONDS)
        except CommandFailed as error:
            raise self._refused(job, name, error, process.tail(output)) from error
        if exit_code != 0:
            raise failed(f"init container {name} ended with {exit_code}; its last lines: {process.tail(output)}")
        runtime.delete(container)

    def _died(self, job: Job, name: str) -> PluginError:
        reason = self.reason_of_death(job.stamp, job.folder, job.request) or f"container {name} has ended"
        return failed(f"{reason.replace('has ended', 'ended at once')}", instance=job.request.resource_id)

    @staticmethod
    def _refused(job: Job, name: str, error: CommandFailed, said: str) -> PluginError:
        output = error.output or said
        return failed(f"container {name} could not be started: {output}", instance=job.request.resource_id)


def _pid_ref(bundle: Path) -> ProcessRef | None:
    try:
        return ProcessRef.of(int((bundle / "pid").read_text()))
    except (OSError, ValueError):
        return None


def _account(rootfs: Path, user: str) -> accounts.Account:
    try:
        return accounts.resolve(rootfs, user)
    except ImageRefused as refused:
        raise failed(refused.detail) from refused


def _command(container: pb.Container, image: Image) -> tuple[str, ...]:
    command = tuple(container.command) or (*image.config.entrypoint, *image.config.cmd)
    if not command:
        raise invalid("containers.command", f"{container.name} has none, and its image names none either")
    return command


def _files(folder: Path, files: Mapping[str, bytes]) -> tuple[tuple[str, str], ...]:
    made: Sequence[tuple[str, str]] = []
    for number, (inside, content) in enumerate(sorted(files.items())):
        path = folder / str(number)
        path.write_bytes(content)
        path.chmod(0o444)
        made = [*made, (inside, str(path))]
    return tuple(made)
