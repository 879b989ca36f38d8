"""A small caller of the plugin contract, for tests: starts a plugin as the manager would, and talks to it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import selectors
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from contract_targets import Image, Target
from grpc_status import rpc_status

from vnfm.pb.common.v1.common_pb2 import Handle, Owner, Problem
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pb.vim.v1 import vim_pb2_grpc as rpc

ROOT = Path(__file__).resolve().parents[2]
START_S = 30.0
CALL_S = 120.0


class Process:
    """A spawned plugin: folder, handshake line, and its end."""

    def __init__(self, target: Target, folder: Path) -> None:
        env = {**os.environ, "VNFM_PLUGIN_COOKIE": uuid.uuid4().hex, "VNFM_PLUGIN_DIR": str(folder)}
        self.popen = subprocess.Popen(
            target.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, cwd=ROOT, start_new_session=True
        )
        self.line = self._first_line()
        self.address = "unix:" + self.line.split("|")[3]

    def _first_line(self) -> str:
        assert self.popen.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.popen.stdout, selectors.EVENT_READ)
            assert selector.select(START_S), f"no handshake line within {START_S} s"
        line = self.popen.stdout.readline().decode()
        assert line.endswith("\n"), f"the plugin ended with {self.popen.wait(5)} before its handshake line"
        return line.rstrip("\n")

    def rest_of_stdout(self) -> bytes:
        """What came after the line, up to the end of the process."""
        assert self.popen.stdout is not None
        return self.popen.stdout.read()

    def close_stdin(self) -> None:
        """As when the manager dies."""
        assert self.popen.stdin is not None
        self.popen.stdin.close()

    def stop(self) -> int:
        """End it in the ordinary way; kills it after 20 s, and fails."""
        if self.popen.poll() is None:
            with contextlib.suppress(BrokenPipeError):
                self.close_stdin()
        try:
            return self.popen.wait(20)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait(5)
            raise


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """A folder as the manager makes one: 0700, and short enough for a socket's path."""
    folder = Path(tempfile.mkdtemp(prefix="vnfm-contract-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def spawned(target: Target, folder: Path) -> Iterator[Process]:
    """A plugin's process, stopped afterwards."""
    process = Process(target, folder)
    try:
        yield process
    finally:
        process.stop()


class Refused(AssertionError):
    """A call that ended with a status; carries its code and its one Problem."""

    def __init__(self, error: grpc.RpcError) -> None:
        assert isinstance(error, grpc.Call)
        super().__init__(f"{error.code()}: {error.details()}")
        self.code = error.code()
        self.details_count, self.problem = _problem(error)

    @property
    def retry(self) -> str:
        """The problem's advice by name."""
        return Problem.Retry.Name(self.problem.retry)


def _problem(error: grpc.Call) -> tuple[int, Problem]:
    status = rpc_status.from_call(error)
    problem = Problem()
    if status is None:
        return 0, problem
    for detail in status.details:
        detail.Unpack(problem)
    return len(status.details), problem


@dataclass
class Caller:
    """One manager's view of a plugin. Every method raises Refused where the call ends with a status."""

    address: str
    manager_id: str = field(default_factory=lambda: f"m-{uuid.uuid4().hex[:12]}")
    tenant: str = "blue"
    fence: int = 1
    begun: list[str] = field(default_factory=list)
    """Computes that may have been asked for: a call that was left may still be making one."""

    def __post_init__(self) -> None:
        self.channel = grpc.insecure_channel(self.address)
        self.identity = rpc.IdentityStub(self.channel)
        self.inventory = rpc.InventoryStub(self.channel)
        self.resources = rpc.ResourcesStub(self.channel)
        self.images = rpc.ImagesStub(self.channel)
        self.compute = rpc.ComputeStub(self.channel)
        self.storage = rpc.StorageStub(self.channel)
        self.network = rpc.NetworkStub(self.channel)
        self.observation = rpc.ObservationStub(self.channel)

    def close(self) -> None:
        """Close the channel."""
        self.channel.close()

    def owner(self, *, fence: int | None = None, tenant: str | None = None, chain_id: str = "") -> Owner:
        """The stamp of this manager's calls, each under an operation of its own."""
        return Owner(
            tenant=self.tenant if tenant is None else tenant,
            chain_id=chain_id,
            op_occ_id=uuid.uuid4().hex,
            fence=self.fence if fence is None else fence,
            manager_id=self.manager_id,
        )

    def hello(self, target: Target) -> pb.HandshakeResponse:
        """Handshake and Configure."""
        answer = self.handshake(1)
        self.configure(target)
        return answer

    def handshake(self, *versions: int) -> pb.HandshakeResponse:
        """Handshake alone."""
        with refusals():
            return self.identity.Handshake(
                pb.HandshakeRequest(api_versions=versions, manager_id=self.manager_id), timeout=CALL_S
            )
        raise AssertionError

    def configure(self, target: Target, **more: object) -> None:
        """Configure alone; `more` is added to the target's configuration."""
        request = pb.ConfigureRequest()
        request.config.update({**target.config, **more})
        if target.folder_option:
            request.config[target.folder_option] = str(Path(self.address.removeprefix("unix:")).parent / "state")
        with refusals():
            self.identity.Configure(request, timeout=CALL_S)

    def snapshot(self) -> list[pb.InventoryChunk]:
        """The chunks of one whole inventory."""
        with refusals():
            stream = self.inventory.WatchInventory(pb.WatchInventoryRequest(), timeout=CALL_S)
            found = []
            for chunk in stream:
                found.append(chunk)
                if chunk.last:
                    break
            stream.cancel()
            return found
        raise AssertionError

    def query(self, *resource_ids: str, **owner: str) -> list[pb.Resource]:
        """QueryResources of this manager."""
        request = pb.QueryRequest(owner=Owner(manager_id=self.manager_id, **owner), resource_ids=resource_ids)
        with refusals():
            return list(self.resources.QueryResources(request, timeout=CALL_S))
        raise AssertionError

    def terminate(self, resource_id: str, *, fence: int | None = None, tenant: str | None = None) -> pb.Resource:
        """Terminate with no more than a resource_id."""
        request = pb.TerminateRequest(
            handle=Handle(resource_id=resource_id), owner=self.owner(fence=fence, tenant=tenant), force=True
        )
        return done(self.resources.Terminate(request, timeout=CALL_S))

    def put(self, image: Image, *, sha256: str = "", total_bytes: int = 0, chunk_bytes: int = 1 << 20) -> str:
        """PutImage; returns its digest."""
        digest = sha256 or hashlib.sha256(image.data).hexdigest()

        def parts() -> Iterable[pb.PutImageChunk]:
            for start in range(0, max(1, len(image.data)), chunk_bytes):
                yield pb.PutImageChunk(
                    sha256=digest,
                    format=image.format,
                    total_bytes=total_bytes or len(image.data),
                    data=image.data[start : start + chunk_bytes],
                )

        with refusals():
            answer = self.images.PutImage(iter(parts()), timeout=CALL_S)
            assert answer.present
        return digest

    def has(self, sha256: str) -> bool:
        """StatImage."""
        with refusals():
            return self.images.StatImage(pb.StatImageRequest(sha256=sha256), timeout=CALL_S).present
        raise AssertionError

    def sweep(self) -> None:
        """Terminate everything of this manager, users before what they use."""
        order = [pb.KIND_PATH, pb.KIND_COMPUTE, pb.KIND_SAP, pb.KIND_VOLUME, pb.KIND_LINK]
        listed = {resource.handle.resource_id for resource in self.query()}
        for resource_id in set(self.begun) - listed:
            self.terminate(resource_id, fence=1 << 40)
        for resource in sorted(self.query(), key=lambda each: order.index(each.kind)):
            self.terminate(resource.handle.resource_id, tenant=resource.owner.tenant, fence=1 << 40)


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Turn a status into Refused."""
    try:
        yield
    except grpc.RpcError as error:
        raise Refused(error) from error


def done(stream: Iterable[pb.Progress]) -> pb.Resource:
    """Follow a call to its end: `done` comes exactly once, and last."""
    with refusals():
        items = list(stream)
        kinds = [item.WhichOneof("kind") for item in items]
        assert kinds.count("done") == 1, kinds
        assert kinds[-1] == "done", kinds
        return items[-1].done
    raise AssertionError


def new_id() -> str:
    """As the manager mints them."""
    return str(uuid.uuid4())
