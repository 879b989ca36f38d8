"""`create`: everything up to a booted, configured guest whose first process waits for `start`."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from plugins.microvm import cgroup, machines, network, qemu, statefile
from plugins.microvm.accel import accelerator
from plugins.microvm.assets import prepare_assets
from plugins.microvm.bundle import Bundle, load_bundle
from plugins.microvm.cache import cache_folder
from plugins.microvm.errors import RuntimeFailure
from plugins.microvm.guestnet import setup_requests
from plugins.microvm.image import DIGEST_ANNOTATION, prepare_image
from plugins.microvm.log import write_log
from plugins.microvm.machines import RelayProcess
from plugins.microvm.spec import create_request, sysctls
from plugins.microvm.store import folder_of
from plugins.microvm.templater import Kit

TEMPLATE_ANNOTATION = "vnfm.template"
"""`off`: the guest is booted, so that it shares neither pages nor kernel addresses with others."""

_BOOT_SECONDS = 120
BOOT_SECONDS_ENV = "VNFM_MICROVM_BOOT_SECONDS"
_INIT = 1


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asked for."""

    root: Path
    container: str
    bundle: Path
    pid_file: Path | None
    cache: str | None
    log: str
    log_format: str


def create(request: Request) -> int:
    """Create the container; returns the relay's pid.  What was made for a container that fails is taken away again."""
    relay = RelayProcess()
    try:
        bundle = load_bundle(request.bundle.resolve())
        spec = create_request(bundle, _INIT)
        folder = folder_of(request.root, request.container)
        for warning in bundle.warnings:
            write_log(request.log, request.log_format, "warning", warning)
        request.root.mkdir(parents=True, exist_ok=True, mode=0o711)
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            raise RuntimeFailure(f"container with id exists: {request.container}") from None
    except BaseException:
        relay.end()
        raise
    try:
        statefile.update(
            str(folder),
            status=statefile.CREATING,
            pid=os.getpid(),
            start_time=statefile.start_time(os.getpid()),
            bundle=str(bundle.path),
            oci_version=bundle.oci_version,
            created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            annotations=bundle.annotations,
        )
        pid = machines.start(_order(request, bundle, folder, spec, relay), relay)
        if request.pid_file:
            _write_whole(request.pid_file, str(pid))
        return pid
    except BaseException:
        from plugins.microvm.remove import clean_up

        clean_up(request.root, request.container)
        relay.end()
        raise


def _order(request: Request, bundle: Bundle, folder: Path, spec: bytes, relay: RelayProcess) -> machines.Order:
    """Think everything over and prepare the host's side, but for taps."""
    cache = cache_folder(request.cache)
    assets = prepare_assets(cache)
    image = prepare_image(cache, assets, bundle.rootfs, bundle.annotations.get(DIGEST_ANNOTATION))
    machine = qemu.size(bundle.annotations, bundle.resources.memory_limit, image.size)
    kind = accelerator(cache, assets)
    seen = network.survey(bundle.netns)
    cgroup_path = cgroup.group_path(bundle.cgroups_path, request.container)
    # Said before it is done, so that `delete` finds everything whatever happens in between.
    statefile.update(
        str(folder),
        cgroup=str(cgroup_path),
        netns=str(bundle.netns) if bundle.netns else None,
        links=[asdict(link) for link in seen.nics],
    )
    cgroups = cgroup.create(cgroup_path, bundle.resources, machine.memory_mib << 20)
    relay.join(cgroups)
    tsc = qemu.tsc_khz(Path("/proc/cpuinfo").read_text())
    plan: dict[str, object] = {
        "id": request.container,
        "folder": str(folder),
        "log": request.log and os.path.abspath(request.log),
        "log_format": request.log_format,
        "boot_seconds": float(os.environ.get(BOOT_SECONDS_ENV) or _BOOT_SECONDS),
        "hostname": bundle.hostname,
        "links": [(link.index, "" if link.loopback else link.mac) for link in seen.links],
        "sysctl": sysctls(bundle),
        "setup": [machines.portable(patch) for patch in setup_requests(seen)],
        "spec": spec.hex(),
    }
    return machines.Order(
        kit=Kit(machine, kind, assets, image, qemu.command_line(machine, tsc, kind), len(seen.nics)),
        tsc_khz=tsc,
        container=request.container,
        folder=folder,
        cgroups=cgroups,
        netns=bundle.netns,
        seen=seen,
        plan=plan,
        may_clone=bundle.annotations.get(TEMPLATE_ANNOTATION) != "off",
        warn=lambda text: write_log(request.log, request.log_format, "warning", text),
    )


def _write_whole(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)
