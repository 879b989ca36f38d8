"""The plugin as the manager runs it: a process, spoken to over its socket."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from grpc_status import rpc_status
from labs.openstack.standing import Cloud

from vnfm.pb.common.v1.common_pb2 import Handle, Owner, Problem
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pb.vim.v1 import vim_pb2_grpc as rpc

ROOT = Path(__file__).resolve().parents[3]
CALL_S = 540.0
MIB = 1 << 20
_ORDER = (pb.KIND_PATH, pb.KIND_COMPUTE, pb.KIND_LINK)


class Refused(Exception):
    """A call's one Problem."""

    def __init__(self, error: grpc.RpcError) -> None:
        status = rpc_status.from_call(error)
        self.problem = Problem()
        if status is not None and status.details:
            status.details[0].Unpack(self.problem)
        super().__init__(f"{self.problem.type}: {self.problem.detail}")

    @property
    def word(self) -> str:
        """The last part of its type."""
        return self.problem.type.rpartition(":")[2]


class Vim:
    """One manager's calls."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.manager_id = f"m-{uuid.uuid4().hex[:12]}"
        self.identity = rpc.IdentityStub(channel)
        self.network = rpc.NetworkStub(channel)
        self.computes = rpc.ComputeStub(channel)
        self.resources = rpc.ResourcesStub(channel)
        self.images = rpc.ImagesStub(channel)
        self.storage = rpc.StorageStub(channel)
        self.inventory = rpc.InventoryStub(channel)

    def owner(self) -> Owner:
        """The stamp."""
        return Owner(manager_id=self.manager_id, tenant="blue", op_occ_id=uuid.uuid4().hex, fence=1)

    def hosts(self) -> dict[str, pb.Host]:
        """The inventory by id."""
        return {host.id: host for chunk in self._snapshot() for host in chunk.hosts}

    def _snapshot(self) -> list[pb.InventoryChunk]:
        stream, found = self.inventory.WatchInventory(pb.WatchInventoryRequest(), timeout=60), []
        for chunk in stream:
            found.append(chunk)
            if chunk.last:
                break
        stream.cancel()
        return found

    def image(self, data: bytes, image_format: str) -> str:
        """PutImage."""
        sha256 = hashlib.sha256(data).hexdigest()
        chunks = [
            pb.PutImageChunk(sha256=sha256, format=image_format, total_bytes=len(data), data=data[at : at + MIB])
            for at in range(0, len(data), MIB)
        ]
        self.images.PutImage(iter(chunks), timeout=CALL_S)
        return sha256

    def link(self, *cidrs: str, **more: Any) -> pb.Resource:
        """AllocateLink."""
        words = {"resource_id": str(uuid.uuid4()), **more}
        request = pb.AllocateLinkRequest(owner=self.owner(), cidrs=cidrs, **words)
        return last(self.network.AllocateLink(request, timeout=CALL_S))

    def compute(self, host_id: str, image: str, *ports: pb.Port, **more: Any) -> pb.Resource:
        """AllocateCompute of a VM with one CPU and 64 MiB, unless said otherwise."""
        words: dict[str, Any] = {"cpu_milli": 1000, "memory_bytes": 64 * MIB, **more}
        boot = pb.Disk(image_sha256=image, format=words.pop("image_format", "raw"))
        request = pb.AllocateComputeRequest(
            resource_id=str(uuid.uuid4()),
            owner=self.owner(),
            host_id=host_id,
            runtime=pb.RUNTIME_VM,
            boot=boot,
            ports=ports,
            **words,
        )
        return last(self.computes.AllocateCompute(request, timeout=CALL_S))

    def query(self) -> list[pb.Resource]:
        """All of this manager's."""
        return list(self.resources.QueryResources(pb.QueryRequest(owner=Owner(manager_id=self.manager_id)), timeout=60))

    def terminate(self, resource_id: str, *, force: bool = True) -> pb.Resource:
        """By the id alone."""
        request = pb.TerminateRequest(handle=Handle(resource_id=resource_id), owner=self.owner(), force=force)
        return last(self.resources.Terminate(request, timeout=CALL_S))

    def sweep(self) -> None:
        """All of it."""
        for resource in sorted(self.query(), key=lambda each: _ORDER.index(each.kind)):
            self.terminate(resource.handle.resource_id)


def port(cp_id: str, link: pb.Resource, *ips: str, **more: Any) -> pb.Port:
    """A port on a link."""
    return pb.Port(cp_id=cp_id, link=Handle(resource_id=link.handle.resource_id), ips=ips, **more)


def last(stream: Iterable[pb.Progress]) -> pb.Resource:
    """The result. Raises Refused."""
    try:
        return list(stream)[-1].done
    except grpc.RpcError as error:
        raise Refused(error) from error


@contextmanager
def plugin(cloud: Cloud, name: str | None, **config: Any) -> Iterator[Vim]:
    """A plugin in the project of clouds.yaml's `name`; what it has made goes with it."""
    assert name is not None
    words = {"cloud": name, "watch_s": 20, "inventory_s": 60, **config}
    if cloud.clouds_file:
        words["clouds_file"] = str(cloud.clouds_file)
    with tempfile.TemporaryDirectory(prefix="vnfm-ospl-") as folder:
        environment = {**os.environ, "VNFM_PLUGIN_COOKIE": "test", "VNFM_PLUGIN_DIR": folder}
        argv = [sys.executable, "-m", "plugins.openstack"]
        with subprocess.Popen(
            argv, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            address = process.stdout.readline().split("|")[3]
            with grpc.insecure_channel(f"unix:{address}") as channel:
                vim = Vim(channel)
                vim.identity.Handshake(pb.HandshakeRequest(api_versions=[1], manager_id=vim.manager_id), timeout=60)
                request = pb.ConfigureRequest()
                request.config.update(words)
                vim.identity.Configure(request, timeout=120)
                try:
                    yield vim
                finally:
                    vim.sweep()
            process.stdin.close()
            process.wait(20)
