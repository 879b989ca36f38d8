"""The one table of plugins that the contract is checked on.

A plugin joins by an entry in TARGETS. One that runs already is checked by address:
VNFM_CONTRACT_ADDRESS=unix:PATH or HOST:PORT, with VNFM_CONTRACT_CONFIG=FILE.json for Configure, and
VNFM_CONTRACT_IMAGE=FORMAT:FILE for the image that a container runs from.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import secrets
import shutil
import signal
import sys
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labs.openstack.standing import standing

from vnfm.pb.vim.v1 import vim_pb2 as pb


@dataclass(frozen=True)
class Image:
    """What containers of the tests run from."""

    format: str
    data: bytes


def _no_image() -> Image:
    return Image("rootfs-tar", b"nothing that anyone would run\n" * 100)


@dataclass(frozen=True)
class Target:
    """A plugin: how it is started (or reached), configured, and what a compute is made of.

    `slow` is the name of a compute whose allocation takes some 100 ms at least. `skip` gives a reason why it cannot
    be checked here, or None. `sleeper` is a command that runs until it is killed. `folder_option` names an option of
    the configuration that wants a folder: it gets one that outlives the process. `doom` changes a request so that its
    compute can be killed from outside, and gives the function that kills it; None where nothing there can die. `marks`
    are pytest's.
    """

    name: str
    argv: tuple[str, ...] = ()
    folder_option: str = ""
    address: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    image: Callable[[], Image] = _no_image
    runtime: pb.Runtime.ValueType = pb.RUNTIME_CONTAINER
    sleeper: tuple[str, ...] = ("sleep", "1000000")
    slow: str = "slow"
    skip: Callable[[], str | None] = lambda: None
    doom: Callable[[pb.AllocateComputeRequest], Callable[[], None]] | None = None
    marks: tuple[str, ...] = ()


def doom_by_script(request: pb.AllocateComputeRequest) -> Callable[[], None]:
    """The mock's script has what is called so die a little later."""
    request.name = "doomed"
    return lambda: None


def doom_by_signal(request: pb.AllocateComputeRequest) -> Callable[[], None]:
    """It sleeps for a time that nobody else sleeps for, by which its process is known on this host."""
    seconds = str(10**9 + secrets.randbelow(10**9))
    request.containers[0].command[:] = ["sleep", seconds]

    def kill() -> None:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (folder / "cmdline").read_bytes().split(b"\0")
                if seconds.encode() in words and b"sleep" in words[0]:
                    found.append(int(folder.name))
        (pid,) = found
        os.kill(pid, signal.SIGKILL)

    return kill


def busybox_image() -> Image:
    """The host's busybox, alone in a root file system."""
    content = Path(shutil.which("busybox") or "/bin/busybox").read_bytes()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("bin/busybox")
        info.size, info.mode = len(content), 0o755
        archive.addfile(info, io.BytesIO(content))
        for name in ("sh", "sleep", "cat", "echo", "true", "false"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    return Image("rootfs-tar", out.getvalue())


def bare_disk() -> Image:
    """A disk that nothing boots from: what a simulated hypervisor takes as well as any other."""
    return Image("raw", hashlib.sha256(b"vnfm contract").digest() * (1 << 15))


_CLOUD = standing(os.environ)


def openstack_config() -> dict[str, Any]:
    """As admin where there is one, since a plain tenant's zones may hold hypervisors that boot in earnest."""
    if isinstance(_CLOUD, str):
        return {}
    found: dict[str, Any] = {"cloud": _CLOUD.admin or _CLOUD.member, "watch_s": 8, "inventory_s": 60}
    return {**found, "clouds_file": str(_CLOUD.clouds_file)} if _CLOUD.clouds_file else found


def doom_by_deleting(request: pb.AllocateComputeRequest) -> Callable[[], None]:
    """Its server is deleted behind the plugin's back."""
    resource_id = request.resource_id

    def kill() -> None:
        from openstack.config import OpenStackConfig
        from openstack.connection import Connection

        config = openstack_config()
        files = [config["clouds_file"]] if "clouds_file" in config else None
        with Connection(config=OpenStackConfig(config_files=files).get_one(cloud=config["cloud"])) as cloud:
            (server,) = [one for one in cloud.compute.servers() if resource_id in one.metadata.values()]
            cloud.compute.delete_server(server, force=True)

    return kill


def why_not_local() -> str | None:
    """The local VIM makes namespaces and containers on this very host."""
    if os.geteuid() != 0:
        return "needs root: it makes network namespaces, mounts and control groups"
    missing = [name for name in ("crun", "busybox") if shutil.which(name) is None]
    return f"needs {', '.join(missing)}: apt-get install -y crun busybox-static" if missing else None


_MOCK = (sys.executable, "-m", "plugins.mock")
_MOCK_CONFIG = {
    "hosts": 3,
    "networks": [{"network": "contract", "encaps": ["VXLAN", "FLAT"], "mtu_bytes": 1450}],
    "host": {"worker_sizes": [{"id": "small", "cpu_milli": 2_000, "memory_bytes": 1 << 30, "most": 2}]},
    "script": [
        {"match": {"rpc": "AllocateCompute", "name": "slow"}, "nth": "*", "do": {"delay_ms": 400}},
        {"match": {"rpc": "AllocateCompute", "name": "doomed"}, "do": "die", "after_ms": 300},
    ],
}
_LIVE = "STEER,BALANCE,STATS,CAPTURE"
_OPTIONAL = (
    f"{_LIVE},CALLS,JOIN,SAP,PATH,PROBE,COUNT,PORT_HOTPLUG,EXEC,VOLUME,PAUSE,CPU_PINNING,HUGEPAGES,SRIOV,OPEN_WORKER"
)

TARGETS = [
    Target("mock", argv=_MOCK, config=_MOCK_CONFIG, doom=doom_by_script),
    Target("mock-fixed", argv=(*_MOCK, "--without", _LIVE), config=_MOCK_CONFIG),
    Target("mock-bare", argv=(*_MOCK, "--without", _OPTIONAL), config=_MOCK_CONFIG),
    Target(
        "local",
        argv=(sys.executable, "-m", "plugins.local"),
        config={"networks": {"contract": {"interface": "lo", "address": "127.0.0.1", "encaps": ["VXLAN"]}}},
        folder_option="state_dir",
        image=busybox_image,
        skip=why_not_local,
        doom=doom_by_signal,
    ),
    Target(
        "openstack",
        argv=(sys.executable, "-m", "plugins.openstack"),
        config=openstack_config(),
        image=bare_disk,
        runtime=pb.RUNTIME_VM,
        skip=lambda: _CLOUD if isinstance(_CLOUD, str) else None,
        doom=doom_by_deleting,
        marks=("openstack",),
    ),
    Target("docs-example", argv=(sys.executable, "-m", "tests.contract.doc_example"), folder_option="folder"),
]


def _by_address() -> list[Target]:
    address = os.environ.get("VNFM_CONTRACT_ADDRESS", "")
    if not address:
        return []
    config = os.environ.get("VNFM_CONTRACT_CONFIG")
    image_format, _, image_file = os.environ.get("VNFM_CONTRACT_IMAGE", "").partition(":")
    return [
        Target(
            "address",
            address=address,
            config=json.loads(Path(config).read_text()) if config else {},
            image=(lambda: Image(image_format, Path(image_file).read_bytes())) if image_file else _no_image,
        )
    ]


def all_targets() -> list[Target]:
    """The table, and what the environment adds to it."""
    return [*TARGETS, *_by_address()]
