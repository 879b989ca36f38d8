"""A real plugin process and a client for it, used as the manager would."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import grpc
from google.protobuf import json_format
from google.rpc import status_pb2

from plugins.local.cgroups import detect_here
from plugins.local.net import namespace_name
from plugins.local.settings import CGROUP_BASE, parse
from plugins.local.stamps import key_of
from vnfm.pb.common.v1.common_pb2 import Handle, Owner, Problem
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pb.vim.v1 import vim_pb2_grpc as rpc

ROOT = Path(__file__).resolve().parents[3]
MIB = 1 << 20
HOST = "here"
CHUNK_BYTES = 1 << 20
_RUN = uuid.uuid4().hex[:6]


def own(name: str) -> str:
    """An id that no other test run on this host has: namespaces are named after it."""
    return f"{name}-{_RUN}"


class Plugin:
    """`python -m plugins.local` on folders of its own; can be killed and started again on the same ones."""

    def __init__(self, folder: Path, manager: str = "m1", **config: object) -> None:
        self.folder = folder
        self.manager = manager
        self.config = {"state_dir": str(folder / "state"), "run_dir": str(folder / "run"), "host_id": HOST, **config}
        self.run_dir = Path(str(self.config["run_dir"]))
        self.ids: set[str] = set()
        self.start()

    def groups(self, resource_id: str, inside: str = "") -> list[Path]:
        """The folders of its control group, one a hierarchy."""
        group = parse(self.config).cgroup_of(resource_id)
        found = [folder / inside for folder in detect_here().folders(group)]
        return [folder for folder in found if folder.is_dir()]

    def start(self) -> None:
        self._sockets = tempfile.mkdtemp(prefix="vnfm-t-")
        environment = {**os.environ, "VNFM_PLUGIN_COOKIE": "1", "VNFM_PLUGIN_DIR": self._sockets}
        self.log = (self.folder / "plugin.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "plugins.local"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        fields = line.strip().split("|")
        assert len(fields) == 5, f"no handshake: {line!r}; {(self.folder / 'plugin.log').read_text()[-2000:]}"
        self.channel = grpc.insecure_channel(f"unix:{fields[3]}")
        self.identity = rpc.IdentityStub(self.channel)
        self.inventory = rpc.InventoryStub(self.channel)
        self.resources = rpc.ResourcesStub(self.channel)
        self.images = rpc.ImagesStub(self.channel)
        self.compute = rpc.ComputeStub(self.channel)
        self.network = rpc.NetworkStub(self.channel)
        self.observation = rpc.ObservationStub(self.channel)
        request = pb.ConfigureRequest()
        json_format.ParseDict(self.config, request.config)
        self.identity.Configure(request, timeout=60)

    def kill(self) -> None:
        """As by kill -9."""
        self.process.kill()
        self._ended()

    def stop(self) -> None:
        """As the manager does it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(15) == 0
        self._ended()

    def _ended(self) -> None:
        self.process.wait()
        self.channel.close()
        self.log.close()
        shutil.rmtree(self._sockets, ignore_errors=True)

    # -- calls

    def owner(self, chain: str = own("chain1")) -> Owner:
        return Owner(tenant="t", chain_id=chain, manager_id=self.manager, op_occ_id="op", fence=1)

    def put_image(self, content: bytes, image_format: str) -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        self.images.PutImage(chunks(sha256, image_format, content), timeout=120)
        return sha256

    def container(self, resource_id: str, image: str, *command: str, **more: object) -> pb.AllocateComputeRequest:
        fields = {name: more.pop(name) for name in list(more) if name in pb.Container.DESCRIPTOR.fields_by_name}
        memory = int(str(fields.pop("memory_bytes", 64 * MIB)))
        request = pb.AllocateComputeRequest(
            resource_id=resource_id,
            owner=self.owner(),
            host_id=HOST,
            runtime=more.pop("runtime", pb.RUNTIME_CONTAINER),  # type: ignore[arg-type]
            cpu_milli=500,
            memory_bytes=memory,
            name="box",
        )
        request.containers.add(name="main", image_sha256=image, command=command, **fields)
        for name, value in more.items():
            getattr(request, name).extend(value) if isinstance(value, list) else setattr(request, name, value)
        return request

    def vm(self, resource_id: str, image: str, memory_mib: int = 256) -> pb.AllocateComputeRequest:
        boot = pb.Disk(image_sha256=image, format="qcow2")
        return pb.AllocateComputeRequest(
            resource_id=resource_id,
            owner=self.owner(),
            host_id=HOST,
            runtime=pb.RUNTIME_VM,
            cpu_milli=1000,
            memory_bytes=memory_mib * MIB,
            boot=boot,
            name="machine",
        )

    def allocate(self, request: pb.AllocateComputeRequest, timeout: float = 120) -> pb.Resource:
        self.ids.add(request.resource_id)
        return last(self.compute.AllocateCompute(request, timeout=timeout))

    def operate(self, resource_id: str, op: int, timeout: float = 60) -> pb.Resource:
        request = pb.OperateComputeRequest(handle=Handle(resource_id=resource_id), owner=self.owner(), op=op)  # type: ignore[arg-type]
        request.grace.seconds = 1
        return last(self.compute.OperateCompute(request, timeout=timeout))

    def terminate(self, resource_id: str, *, force: bool = True, manager: str = "") -> pb.Resource:
        owner = self.owner()
        owner.manager_id = manager or self.manager
        request = pb.TerminateRequest(handle=Handle(resource_id=resource_id), owner=owner, force=force)
        return last(self.resources.Terminate(request, timeout=60))

    def sweep(self) -> None:
        """Terminates everything of this manager, links last."""
        every = sorted(self.query(), key=lambda resource: resource.kind == pb.KIND_LINK)
        for resource in every:
            self.terminate(resource.handle.resource_id)
        assert self.query() == []

    def link(self, resource_id: str, *members: tuple[str, str, int]) -> pb.Resource:
        """Members as (resource_id, cp_id, runtime)."""
        request = pb.AllocateLinkRequest(resource_id=resource_id, owner=self.owner())
        for member_id, cp_id, runtime in members:
            request.members.add(resource_id=member_id, cp_id=cp_id, runtime=runtime, host_id=HOST)  # type: ignore[arg-type]
        return last(self.network.AllocateLink(request, timeout=30))

    def sap(self, resource_id: str, port: pb.Port) -> pb.Resource:
        request = pb.AllocateSapRequest(
            resource_id=resource_id, owner=self.owner(), host_id=HOST, name=resource_id, port=port
        )
        return last(self.network.AllocateSap(request, timeout=30))

    def query(self, *ids: str) -> list[pb.Resource]:
        request = pb.QueryRequest(owner=Owner(manager_id=self.manager), resource_ids=ids)
        return list(self.resources.QueryResources(request, timeout=30))

    def run(self, resource_id: str, *command: str, stdin: bytes = b"", container: str = "") -> tuple[int, bytes, bytes]:
        """Exec: exit code, stdout, stderr."""
        start = pb.ExecInput(
            compute=Handle(resource_id=resource_id), container=container, command=command, stdin=stdin, eof=True
        )
        out, err = b"", b""
        for item in self.compute.Exec(iter([start]), timeout=60):
            out, err = out + item.stdout, err + item.stderr
            if item.exited:
                return item.exit_code, out, err
        raise AssertionError("no exit code came")


def leftovers(folder: Path, ids: set[str]) -> list[str]:
    """Whatever on this host still bears these ids or lies below this folder, besides the image cache."""
    found = [f"file {path}" for path in folder.glob("run/**/*")]
    found += [f"mount {line}" for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(folder) in line]
    mine = hashlib.sha256(str(folder / "run").encode()).hexdigest()[:8]
    keys = {key_of(resource_id) for resource_id in ids}
    found += [
        f"cgroup {path}"
        for group in detect_here().folders(f"{CGROUP_BASE}/{mine}")
        for path in group.glob("*")
        if path.name in keys
    ]
    found += [f"namespace {name}" for name in map(namespace_name, ids) if (Path("/run/netns") / name).exists()]
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in command:
            found.append(f"process {entry.parent.name} {command}")
    return found


class Watch:
    """WatchResources in a thread; what it told so far."""

    def __init__(self, plugin: Plugin) -> None:
        self.seen: list[pb.Resource] = []
        self._call = plugin.resources.WatchResources(pb.QueryRequest(owner=Owner(manager_id=plugin.manager)))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for resource in self._call:
                self.seen.append(resource)
        except grpc.RpcError:
            return

    def until(self, resource_id: str, state: int, seconds: float) -> pb.Resource:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for resource in list(self.seen):
                if resource.handle.resource_id == resource_id and resource.state == state:
                    return resource
            time.sleep(0.005)
        raise AssertionError(f"{resource_id} was not seen {pb.State.Name(state)}; seen: {self.seen}")

    def close(self) -> None:
        self._call.cancel()


def chunks(sha256: str, image_format: str, content: bytes) -> Iterator[pb.PutImageChunk]:
    for at in range(0, max(1, len(content)), CHUNK_BYTES):
        data = content[at : at + CHUNK_BYTES]
        yield pb.PutImageChunk(sha256=sha256, format=image_format, total_bytes=len(content), data=data)


def last(stream: Iterator[pb.Progress]) -> pb.Resource:
    for progress in stream:
        if progress.HasField("done"):
            return progress.done
    raise AssertionError("the stream ended without `done`")


def problem_of(error: grpc.RpcError) -> Problem:
    """The one Problem of a refused call."""
    trailer = dict(error.trailing_metadata() or ())  # type: ignore[attr-defined]
    status = status_pb2.Status.FromString(trailer["grpc-status-details-bin"])
    assert len(status.details) == 1
    problem = Problem()
    status.details[0].Unpack(problem)
    return problem
