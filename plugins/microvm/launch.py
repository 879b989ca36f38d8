"""`create`: everything up to a booted, configured guest whose first process waits for `start`."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from plugins.microvm import cgroup, network, qemu, statefile
from plugins.microvm.accel import accelerator
from plugins.microvm.assets import prepare_assets
from plugins.microvm.bundle import Bundle, load_bundle
from plugins.microvm.cache import cache_folder
from plugins.microvm.errors import RuntimeFailure
from plugins.microvm.guestnet import rename_requests, setup_requests
from plugins.microvm.image import DIGEST_ANNOTATION, prepare_image
from plugins.microvm.log import write_log
from plugins.microvm.patch import Patch
from plugins.microvm.remove import clean_up
from plugins.microvm.spec import create_request, sysctls
from plugins.microvm.store import folder_of

_PACKAGES = Path(__file__).parents[2]
_RELAY = (
    "import sys; sys.path.insert(0, sys.argv[2]); "
    "from plugins.microvm.relay import main; sys.exit(main(int(sys.argv[1])))"
)
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
    bundle = load_bundle(request.bundle.resolve())
    spec, settings = create_request(bundle, _INIT), sysctls(bundle)
    cgroup_path = cgroup.group_path(bundle.cgroups_path, request.container)
    folder = folder_of(request.root, request.container)
    for warning in bundle.warnings:
        write_log(request.log, request.log_format, "warning", warning)
    request.root.mkdir(parents=True, exist_ok=True, mode=0o711)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        raise RuntimeFailure(f"container with id exists: {request.container}") from None
    try:
        statefile.update(
            str(folder),
            status=statefile.CREATING,
            pid=os.getpid(),
            start_time=statefile.start_time(os.getpid()),
            bundle=str(bundle.path),
            oci_version=bundle.oci_version,
            created=datetime.now(UTC).isoformat(),
            annotations=bundle.annotations,
        )
        pid = _launch(request, bundle, folder, cgroup_path, spec, settings)
        if request.pid_file:
            _write_whole(request.pid_file, str(pid))
        return pid
    except BaseException:
        clean_up(request.root, request.container)
        raise


def _launch(
    request: Request,
    bundle: Bundle,
    folder: Path,
    cgroup_path: PurePosixPath,
    spec: bytes,
    settings: list[tuple[str, str]],
) -> int:
    cache = cache_folder(request.cache)
    assets = prepare_assets(cache)
    image = prepare_image(cache, assets, bundle.rootfs, bundle.annotations.get(DIGEST_ANNOTATION))
    machine = qemu.size(bundle.annotations, bundle.resources.memory_limit, image.size)
    kind = accelerator(cache, assets)
    seen = network.survey(bundle.netns)
    # Said before it is done, so that `delete` finds everything whatever happens in between.
    statefile.update(
        str(folder),
        cgroup=str(cgroup_path),
        netns=str(bundle.netns) if bundle.netns else None,
        links=[asdict(link) for link in seen.nics],
    )
    cgroup.create(cgroup_path, bundle.resources, machine.memory_mib << 20)
    with contextlib.ExitStack() as stack:
        taps = network.connect(bundle.netns, seen.nics) if bundle.netns and seen.nics else []
        for tap in taps:
            stack.callback(os.close, tap)
        agent, guest_agent = stack.enter_context(_pair())
        console, guest_console = stack.enter_context(_pair())
        control, relay_control = stack.enter_context(_pair())
        guest_fds = [guest_agent.fileno(), guest_console.fileno(), *taps]
        plan = {
            "id": request.container,
            "folder": str(folder),
            "log": request.log and os.path.abspath(request.log),
            "log_format": request.log_format,
            "boot_seconds": float(os.environ.get(BOOT_SECONDS_ENV) or _BOOT_SECONDS),
            "cgroups": [str(path) for path in cgroup.folders(cgroup_path)],
            "agent": agent.fileno(),
            "console": console.fileno(),
            "guest_fds": guest_fds,
            "argv": qemu.arguments(
                machine,
                accelerator=kind,
                kernel=assets.kernel,
                initrd=image.path,
                append=qemu.command_line(machine, qemu.tsc_khz(Path("/proc/cpuinfo").read_text()), kind),
                agent=guest_agent.fileno(),
                console=guest_console.fileno(),
                nics=tuple(qemu.Nic(tap, link.mac) for tap, link in zip(taps, seen.nics, strict=True)),
                name=request.container.replace(",", ""),
            ),
            "hostname": bundle.hostname,
            "links": [(link.index, "" if link.loopback else link.mac) for link in seen.links],
            "rename": [_portable(patch) for patch in rename_requests(seen.nics)],
            "sysctl": settings,
            "setup": [_portable(patch) for patch in setup_requests(seen)],
            "spec": spec.hex(),
        }
        relay = _start_relay(relay_control.fileno(), (agent.fileno(), console.fileno(), *guest_fds))
        statefile.update(str(folder), pid=relay.pid, start_time=statefile.start_time(relay.pid))
        for end in (relay_control, agent, console, guest_agent, guest_console):
            end.close()
        _await_ready(control, plan, relay)
    return relay.pid


def _start_relay(control: int, others: tuple[int, ...]) -> subprocess.Popen[bytes]:
    """The relay takes over our standard streams: they are the container's."""
    return subprocess.Popen(
        [sys.executable, "-S", "-E", "-c", _RELAY, str(control), str(_PACKAGES)],
        pass_fds=(control, *others),
        start_new_session=True,
        cwd="/",
    )


def _await_ready(control: socket.socket, plan: dict[str, object], relay: subprocess.Popen[bytes]) -> None:
    received = b""
    try:
        control.sendall(json.dumps(plan).encode() + b"\n")
        while not received.endswith(b"\n") and (chunk := control.recv(65536)):
            received += chunk
    except OSError:
        received = b""
    answer = json.loads(received) if received else {"error": "the relay ended without a word"}
    if "error" in answer:
        relay.wait()
        raise RuntimeFailure(answer["error"])


@contextlib.contextmanager
def _pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def _portable(patch: Patch) -> tuple[str, tuple[tuple[int, int], ...]]:
    return patch.request.hex(), patch.places


def _write_whole(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)
