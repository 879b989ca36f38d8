"""VM: qemu on an overlay of the cached disk image.

<compute's folder>/vm/   disk.qcow2, config.img, qmp.sock, agent.sock, pid, console.log, qemu.log
qemu runs in a session and a control group of its own: it survives the plugin, and is found again by its stamp.
"""

from __future__ import annotations

import ipaddress
import os
import shlex
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from plugins.local import memory, process, qemu, qmp
from plugins.local.agent import Agent, AgentSilent, ReadyProbe
from plugins.local.cgroups import Hierarchy, Limits
from plugins.local.configdrive import DriveNic, contents, write
from plugins.local.guests import AgentListener, forget_agent, note_agent
from plugins.local.images.store import Image, ImageStore
from plugins.local.job import Job
from plugins.local.net import HostNetwork, interface_name
from plugins.local.netpart import port_spec
from plugins.local.process import CommandFailed, ProcessRef
from plugins.local.settings import Settings
from plugins.local.stamps import Stamp, key_of
from plugins.local.watch import in_words, was_killed
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.problems import failed, invalid, not_ready

_ALLOWANCE_BYTES = 512 << 20  # qemu itself and its translated code, beside the guest's own memory
_THREADS = 128
_LOOK_SECONDS = 0.25
_START_SECONDS = 60
_FIRST_SECONDS = 1.0
_STDIN_BYTES = 1 << 20
_NAME = "vm"


class Vms:
    """Builds, stops, starts and removes VMs; blocking but for `exec_command`."""

    def __init__(self, settings: Settings, cgroups: Hierarchy, images: ImageStore) -> None:
        self._settings = settings
        self._cgroups = cgroups
        self._images = images
        self._accelerator = qemu.Accelerator(settings.acceleration, settings.state_dir / "accelerator.json")
        self._agents: dict[Path, Agent] = {}

    def check(self, request: pb.AllocateComputeRequest) -> None:
        """Refuses what cannot be realized, before anything is made."""
        try:
            qemu.device_of(request.boot.bus)
        except KeyError:
            raise invalid("boot.bus", f"is {request.boot.bus!r}, expected virtio or ide") from None
        for number, port in enumerate(request.ports):
            if port.vnic != pb.Port.NORMAL:
                raise invalid(f"ports[{number}].vnic", "only NORMAL ports are offered by this VIM")

    def build(self, job: Job, network: HostNetwork) -> None:
        """Disk, config drive, qemu; then the guest's agent, where the guest has one."""
        request, folder = job.request, job.folder / "vm"
        image, disk = self._disk(request)
        folder.mkdir(parents=True, exist_ok=True)
        job.report(10, "disk")
        create = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", image.format, "-b", str(disk)]
        size = max(request.boot.size_bytes, image.virtual_bytes)
        process.run([*create, str(folder / qemu.OVERLAY), str(size)])
        nics = tuple(self._drive_nic(request, port, network) for port in request.ports)
        hostname = request.name or key_of(request.resource_id)
        write(folder / qemu.CONFIG_DRIVE, contents(request.resource_id, hostname, nics, request.user_data))
        self.start(job, network)

    def start(self, job: Job, network: HostNetwork) -> None:
        """Starts qemu on what is there, and waits for the guest."""
        request, folder = job.request, job.folder / "vm"
        group = self._settings.cgroup_of(request.resource_id)
        leaf = f"{group}/vm"
        # The CPU limit begins once the guest is up: half a CPU would take twice as long to boot.
        self._cgroups.create(group, self._limits(request, booting=True))
        self._cgroups.create(leaf, Limits())
        job.report(20, "starting qemu")
        taps: list[int] = []
        try:
            nics = []
            for port in request.ports:
                taps.append(network.open_tap(request.resource_id, port.cp_id, port_spec(port)))
                mac = port.mac or network.guest_mac(request.resource_id, port.cp_id)
                nics.append(qemu.VmNic(taps[-1], mac.lower(), port.mtu_bytes))
            self._launch(job, folder, leaf, tuple(nics), taps)
        finally:
            for fd in taps:
                os.close(fd)
        self._wait_for_guest(job, folder)
        self._cgroups.create(group, self._limits(request, booting=False))
        self._cgroups.first_to_go(group)

    def _launch(self, job: Job, folder: Path, leaf: str, nics: tuple[qemu.VmNic, ...], taps: list[int]) -> None:
        request = job.request
        for name in (qemu.QMP_SOCKET, qemu.AGENT_SOCKET, qemu.PID_FILE):
            (folder / name).unlink(missing_ok=True)
        forget_agent(folder)
        plan = qemu.VmPlan(
            name=key_of(request.resource_id),
            vcpus=qemu.vcpus_of(request.cpu_milli),
            memory_bytes=request.memory_bytes,
            disk_bus=request.boot.bus,
            nics=nics,
            accelerator=self._accelerator.name(),
            config_drive=True,
        )
        groups = [where / "cgroup.procs" for where in self._cgroups.folders(leaf) if where.is_dir()]
        argv = qemu.detached(qemu.command_line(plan), groups)
        environment = {"PATH": os.environ.get("PATH", os.defpath)}
        (folder / "qemu.log").unlink(missing_ok=True)
        try:
            process.run_with_output(argv, folder / "qemu.log", 60, environment, taps, cwd=folder)
        except CommandFailed as error:
            raise failed(f"qemu could not be started: {error}", instance=request.resource_id) from error
        began = time.monotonic()
        up = job.wait(lambda: self._answers(folder) or self._gone(leaf, began), _START_SECONDS)
        ref = _pid_ref(folder)
        if not up or ref is None:
            said = process.tail(folder / "qemu.log") or "it did not come up"
            raise failed(f"qemu could not be started: {said}", instance=request.resource_id)
        job.note(job.stamp.with_process(_NAME, ref))

    @staticmethod
    def _answers(folder: Path) -> bool:
        with suppress(qmp.QmpError):
            qmp.execute(folder, "query-status")
            return True
        return False

    def _gone(self, leaf: str, began: float) -> bool:
        return time.monotonic() - began > _FIRST_SECONDS and not self._cgroups.processes(leaf)

    def _wait_for_guest(self, job: Job, folder: Path) -> None:
        """READY from the agent. A guest that stays silent counts as running after a while: it may have none."""
        ref = job.stamp.refs()[_NAME]
        probe = ReadyProbe(folder)
        try:
            job.report(40, "the guest boots")
            up = job.wait(lambda: not ref.alive() or probe.ready(_LOOK_SECONDS), self._settings.guest_seconds)
        finally:
            probe.close()
        if not ref.alive():
            reason = self.reason_of_death(job.request.resource_id, job.folder)
            raise failed(f"the VM ended while it booted: {reason}", instance=job.request.resource_id)
        if up:
            note_agent(folder)

    def stop(self, folder: Path, stamp: Stamp, grace_seconds: float) -> None:
        """ACPI power button, then the end; the disk stays."""
        ref = stamp.refs().get(_NAME)
        if ref is not None and ref.alive():
            if grace_seconds > 0:
                with suppress(qmp.QmpError):
                    qmp.execute(folder / "vm", "system_powerdown")
                    ref.wait_gone(grace_seconds)
            if not ref.end(0):
                raise TimeoutError("qemu does not end")
        self._cgroups.kill(self._settings.cgroup_of(stamp.resource_id))

    def pause(self, folder: Path, *, pause: bool) -> None:
        """Stops or continues the virtual CPUs."""
        try:
            qmp.execute(folder / "vm", "stop" if pause else "cont")
        except qmp.QmpError as error:
            raise failed(str(error)) from error

    def remove(self, folder: Path, resource_id: str, stamp: Stamp | None, grace_seconds: float) -> None:
        """Everything gone, from whatever half-made state."""
        if stamp is not None and grace_seconds > 0:
            self.stop(folder, stamp, grace_seconds)
        group = self._settings.cgroup_of(resource_id)
        if not self._cgroups.kill(group):
            raise TimeoutError("qemu does not end")
        self._cgroups.remove(group)
        self._agents.pop(folder / "vm", None)

    def listener(self, folder: Path) -> AgentListener:
        """Asks its agent whether the guest lives."""
        where = folder / "vm"
        agent = self._agents.setdefault(where, Agent(where))
        return AgentListener(where, agent, self._settings.agent_silence_s, self._settings.guest_seconds)

    def reason_of_death(self, resource_id: str, folder: Path, status: int | None = None) -> str:
        """In words: the memory limit, or how it ended and the last lines that qemu and the guest's console said."""
        if was_killed(status) and self._cgroups.out_of_memory_kills(self._settings.cgroup_of(resource_id)):
            return "qemu was killed for its memory limit"
        said = process.tail(folder / "vm" / "qemu.log") or process.tail(folder / "vm" / qemu.CONSOLE)
        return f"qemu {in_words(status)}" + (f"; its last lines: {said}" if said else "")

    def overhead_bytes(self, resource_id: str) -> int:
        """Memory that qemu itself takes now."""
        return memory.guest_overhead_bytes(self._cgroups.processes(self._settings.cgroup_of(resource_id)))

    async def exec_command(
        self, folder: Path, start: pb.ExecInput, inputs: AsyncIterator[pb.ExecInput]
    ) -> AsyncIterator[pb.ExecOutput]:
        """By the guest's agent: input is sent beforehand, output comes at the end, both streams in one."""
        where = folder / "vm"
        command = shlex.join(start.command)
        given = await _all_input(start, inputs)
        if given:
            import base64

            command = f"echo {base64.b64encode(given).decode()} | base64 -d | {command}"
        agent = self._agents.setdefault(where, Agent(where))
        try:
            exit_code, output = await agent.run(command)
        except AgentSilent as error:
            detail = f"commands in a VM need an agent in the guest, on virtio-serial port {qemu.AGENT_PORT}: {error}"
            raise not_ready(detail, instance=start.compute.resource_id) from error
        if output:
            yield pb.ExecOutput(stdout=output)
        yield pb.ExecOutput(exit_code=exit_code, exited=True)

    @staticmethod
    def _limits(request: pb.AllocateComputeRequest, *, booting: bool) -> Limits:
        return Limits(request.memory_bytes + _ALLOWANCE_BYTES, 0 if booting else request.cpu_milli, _THREADS)

    def _disk(self, request: pb.AllocateComputeRequest) -> tuple[Image, Path]:
        sha256 = request.boot.image_sha256
        image = self._images.get(sha256)
        if image is None:
            raise not_ready(f"the image {sha256} is not here: PutImage first, then the same call")
        if image.disk is None or image.format != request.boot.format:
            raise invalid("boot.format", f"is {request.boot.format}, but the image is a {image.format}")
        return image, image.disk

    @staticmethod
    def _drive_nic(request: pb.AllocateComputeRequest, port: pb.Port, network: HostNetwork) -> DriveNic:
        for ip in port.ips:
            ipaddress.ip_interface(ip)
        return DriveNic(
            mac=(port.mac or network.guest_mac(request.resource_id, port.cp_id)).lower(),
            name=interface_name(port.cp_id),
            mtu_bytes=port.mtu_bytes,
            ips=tuple(port.ips),
            routes=tuple((route.destination, route.via) for route in port.routes),
        )


def _pid_ref(folder: Path) -> ProcessRef | None:
    try:
        return ProcessRef.of(int((folder / qemu.PID_FILE).read_text()))
    except (OSError, ValueError):
        return None


async def _all_input(start: pb.ExecInput, inputs: AsyncIterator[pb.ExecInput]) -> bytes:
    """What is to be the command's standard input; a call that sends nothing at once has none."""
    given, item = b"", start
    while not item.eof:
        given += item.stdin
        if len(given) > _STDIN_BYTES:
            raise invalid("stdin", f"commands in a VM take at most {_STDIN_BYTES} bytes of input")
        following = await anext(inputs, None)
        if following is None:
            break
        item = following
    else:
        given += item.stdin
    return given
