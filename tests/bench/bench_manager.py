"""A manager process, its client, and the small VNF that the figures are taken with."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from bench_host import ROOT, Workspace, python, python_environment

from descriptors.images import oci
from descriptors.images.host import Host
from descriptors.images.tree import Tree
from vnfm.pb.nfvo.v1 import nfvo_pb2 as pb
from vnfm.pb.nfvo.v1 import nfvo_pb2_grpc as rpc

VNFM = ("-m", "vnfm.main")
VNFD_ID = "be9c0000-0000-4000-8000-000000000001"
READY_S = 60.0
OPEN_END = ("COMPLETED", "ROLLED_BACK", "FAILED", "FAILED_TEMP")
VNF_MEMORY_MIB = 16
VNF_CPU_MILLI = 100


class BenchError(Exception):
    """Something that has to work for a figure did not."""


class NotOfferedError(BenchError):
    """This product does not do that (yet)."""


@dataclass
class Manager:
    """`vnfm serve` with a VIM on a folder of its own; `vim`: its kind and configuration, by itself the local one."""

    folder: Path
    options: tuple[str, ...] = ()
    vim: str = ""
    process: subprocess.Popen[str] | None = field(default=None, init=False)

    @property
    def endpoint(self) -> str:
        """For clients."""
        return f"unix:{self.folder / 'api.sock'}"

    @property
    def state(self) -> Path:
        """Its state folder."""
        return self.folder / "state"

    def start(self) -> float:
        """Until it says `ready`; the seconds from spawn."""
        self.folder.mkdir(parents=True, exist_ok=True)
        argv = [python(), *self.options, *VNFM, "serve", "--state", str(self.state), "--listen", self.endpoint]
        argv += ["--vim", f"local={self.vim}"] if self.vim else []
        begun = time.perf_counter()
        with (self.folder / "manager.log").open("a") as log:
            self.process = subprocess.Popen(
                argv,
                cwd=ROOT,
                env=python_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert self.process.stdout
        line = self.process.stdout.readline()
        took = time.perf_counter() - begun
        if not line.startswith("ready "):
            raise BenchError(f"manager said {line!r}: {(self.folder / 'manager.log').read_text()[-800:]}")
        return took

    @property
    def pid(self) -> int:
        """Of the manager."""
        return self.process.pid if self.process else 0

    def plugin_pid(self) -> int:
        """Of its VIM's plugin."""
        with suppress(OSError, ValueError):
            return int(json.loads((self.state / "vim/local/plugin.pid").read_text())["pid"])
        return 0

    def connected(self, patience_s: float = 30) -> float:
        """Wait until the VIM is connected; seconds waited."""
        begun = time.perf_counter()
        with grpc.insecure_channel(self.endpoint) as channel:
            stub = rpc.VimsStub(channel)
            while stub.GetVim(pb.GetRequest(ref="local")).state != "CONNECTED":
                if time.perf_counter() - begun > patience_s:
                    raise BenchError("the VIM does not connect")
                time.sleep(0.02)
        return time.perf_counter() - begun

    def stop(self) -> None:
        """SIGTERM, and its end."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        self.process = None

    def cli(self, *words: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """`vnfm WORDS`."""
        return subprocess.run(
            [python(), *VNFM, *words],
            cwd=ROOT,
            env=python_environment() | {"VNFM_ENDPOINT": self.endpoint},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def ask(self, *words: str) -> Any:
        """`vnfm WORDS -o json`, which has to succeed."""
        done = self.cli(*words, "-o", "json")
        if done.returncode:
            raise _refusal(f"vnfm {' '.join(words)}", done)
        return json.loads(done.stdout)

    def offers(self, *words: str) -> bool:
        """Whether there is such a command."""
        return self.cli(*words, "--help").returncode == 0


class Client:
    """Calls of many at once; made within a running event loop."""

    def __init__(self, endpoint: str) -> None:
        self.channel = grpc.aio.insecure_channel(endpoint)
        self.lifecycle = rpc.LifecycleStub(self.channel)
        self.chains = rpc.ChainsStub(self.channel)

    async def ended(self, op: pb.VnfLcmOpOcc) -> pb.VnfLcmOpOcc:
        """Watch an operation to its end. Raises BenchError unless COMPLETED."""
        if op.state not in OPEN_END:
            async for seen in self.lifecycle.WatchOpOcc(pb.GetRequest(ref=op.id)):
                op = seen
        if op.state != "COMPLETED":
            raise BenchError(f"{op.operation} of {op.target}: {op.state} {op.error.detail}")
        return op

    async def close(self) -> None:
        """The channel."""
        await self.channel.close(None)


def _refusal(what: str, done: subprocess.CompletedProcess[str]) -> BenchError:
    """The problem that a command was refused with, in words."""
    try:
        told = json.loads(done.stdout)
        found = told.get("problem") or told["error"]
        text = f"{what}: {found['detail']}"
        return NotOfferedError(text) if found["type"].endswith((":unimplemented", ":not-offered")) else BenchError(text)
    except (ValueError, KeyError, TypeError):
        return BenchError(f"{what}: {done.returncode}: {done.stdout[-300:]}{done.stderr[-300:]}")


def rootfs_tree() -> Tree:
    """busybox and a first process that waits."""
    root = Tree()
    for name in ("dev", "proc", "sys", "run", "tmp", "etc"):
        root.folder(name)
    root.busybox(Host())
    return root


def build_package(space: Workspace) -> Path:
    """The CSAR of a router with two connection points that asks for nothing in particular."""
    csar = space.folder / "hop.csar"
    if csar.exists():
        return csar
    folder = space.folder / "package"
    image = oci.archive(rootfs_tree(), "hop", "1.0", ["/bin/sleep", "100000"], {"PATH": "/bin"})
    for name, data in _package_files(image).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    argv = [python(), *VNFM, "package", "build", str(folder), "-o", str(csar)]
    done = subprocess.run(argv, cwd=ROOT, env=python_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"package build: {done.stderr[-800:]}")
    return csar


def _package_files(image: bytes) -> dict[str, bytes]:
    import hashlib

    vnfd = (Path(__file__).parent / "hop.yaml").read_text()
    values = {
        "VNFD_ID": VNFD_ID,
        "IMAGE_SHA256": hashlib.sha256(image).hexdigest(),
        "IMAGE_BYTES": str(len(image)),
        "CPU_MILLI": str(VNF_CPU_MILLI),
        "MEMORY_MIB": str(VNF_MEMORY_MIB),
    }
    for key, value in values.items():
        vnfd = vnfd.replace(f"${key}", value)
    meta = (
        "TOSCA-Meta-File-Version: 1.0\nCSAR-Version: 1.1\nCreated-By: vnfm bench\n"
        "Entry-Definitions: Definitions/hop.yaml\nETSI-Entry-Manifest: hop.mf\nETSI-Entry-Change-Log: ChangeLog.txt\n"
    )
    manifest = (
        "metadata:\n  vnf_product_name: hop\n  vnf_provider_id: vnfm bench\n  vnf_package_version: 1.0\n"
        "  vnf_release_date_time: 2026-01-01T00:00:00Z\n"
    )
    return {
        "Definitions/hop.yaml": vnfd.encode(),
        "TOSCA-Metadata/TOSCA.meta": meta.encode(),
        "hop.mf": manifest.encode(),
        "ChangeLog.txt": b"1.0: first\n",
        "Files/images/hop.oci.tar": image,
    }


def chain_file(folder: Path, name: str, aliases: Sequence[str]) -> Path:
    """A chain of hops between client and server."""
    path = folder / f"{name}.json"  # JSON is YAML
    document = {
        "chain": name,
        "ends": {"client": {"cidr": "10.1.0.0/24"}, "server": {"cidr": "10.9.0.0/24"}},
        "vnfs": {alias: {"vnfd": VNFD_ID} for alias in aliases},
        "path": ["client", *aliases, "server"],
    }
    path.write_text(json.dumps(document))
    return path


def run_async(work: Any) -> Any:
    """An event loop for one piece of work."""
    return asyncio.run(work)
