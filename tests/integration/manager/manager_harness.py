"""A manager as its users have it: a process with a state folder, reached over its socket."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import yaml

from vnfm.model.connectivity import Cpd, ExtCpd
from vnfm.model.needs import Isolation, Needs
from vnfm.model.vdu import Container, ImageFormat, SwImage, Vdu
from vnfm.model.vnfd import Flavour, Vnfd
from vnfm.pb.nfvo.v1 import nfvo_pb2 as pb
from vnfm.pb.nfvo.v1 import nfvo_pb2_grpc as rpc
from vnfm.store.blobs import BlobStore
from vnfm.store.database import Database, sqlite_url
from vnfm.store.packages import PackageStore

ROOT = Path(__file__).resolve().parents[3]
MIB = 1 << 20
CHAIN = b"""
chain: c
ends: {client: {cidr: 10.1.0.0/24}, server: {cidr: 10.9.0.0/24}}
vnfs: {fw: {vnfd: fw}}
path: [client, fw, server]
"""
STOP_S = 10.0
"""A manager that is told to stop ends within this."""


TENANT = Needs(isolation=Isolation.TENANT)


def onboard(state: Path, tenants: tuple[str, ...] = ("default",), needs: Needs = TENANT) -> None:
    """A package with the VNFD `fw`, put on record before the manager starts."""
    state.mkdir(parents=True, exist_ok=True)
    sha = BlobStore(state / "blobs").take_file(lambda part: part.write_bytes(b"an image"))
    container = Container("c", SwImage("i", "1", ImageFormat.OCI_ARCHIVE, "F/i.tar", sha, 8), memory_bytes=16 * MIB)
    vdu = Vdu("v", "v", "", 10, 16 * MIB, 0, needs, containers=(container,))
    flavour = Flavour(
        "default",
        vdus=(vdu,),
        cps=(Cpd("left", "v", "", 0), Cpd("right", "v", "", 1)),
        external_cps=(ExtCpd("left", "left"), ExtCpd("right", "right")),
    )
    found = Vnfd("fw", "tests", "fw", "1", "1", (flavour,))

    async def put() -> None:
        database = Database(sqlite_url(state))
        database.migrate()
        store, now = PackageStore(database), datetime.now(UTC)
        for tenant in tenants:
            made = await store.create(str(uuid.uuid4()), tenant, "", now)
            await store.uploading(tenant, made.id, "strict")
            await store.processing(tenant, made.id, sha)
            await store.onboarded(tenant, made.id, found, {"F/i.tar": sha}, (), now)
        database.close()

    asyncio.run(put())


class Manager:
    """A running `vnfm serve`."""

    def __init__(self, state: Path, process: subprocess.Popen[str], endpoint: str) -> None:
        self.state = state
        self.process = process
        self.channel = grpc.insecure_channel(
            endpoint, options=[("grpc.max_receive_message_length", 64 << 20), ("grpc.use_local_subchannel_pool", 1)]
        )
        self.chains = rpc.ChainsStub(self.channel)
        self.lifecycle = rpc.LifecycleStub(self.channel)
        self.packages = rpc.PackagesStub(self.channel)
        self.vims = rpc.VimsStub(self.channel)

    def plugin_pid(self, vim: str = "m") -> int:
        return int(yaml.safe_load((self.state / "vim" / vim / "plugin.pid").read_text())["pid"])

    def stop(self) -> float:
        """SIGTERM; answers with the seconds that it took. Expects exit code 0."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0
        return time.monotonic() - began

    def settled(self, operation: str, tenant: str = "default") -> pb.VnfLcmOpOcc:
        """Where the operation ends up."""
        seen = list(self.lifecycle.WatchOpOcc(pb.GetRequest(ref=operation), metadata=by(tenant), timeout=60))
        return seen[-1]

    def until_step(self, operation: str, step: str, state: str) -> None:
        """Wait until a step is in that state."""
        for seen in self.lifecycle.WatchOpOcc(pb.GetRequest(ref=operation), timeout=60):
            if any(s.name == step and s.state == state for s in seen.steps):
                return
        raise AssertionError(f"{step} never was {state}")


def by(tenant: str) -> tuple[tuple[str, str], ...]:
    return (("vnfm-tenant", tenant),)


@contextmanager
def manager(
    folder: Path, config: dict[str, Any] | None = None, prelude: str = "", args: tuple[str, ...] = ()
) -> Iterator[Manager]:
    """A manager with one mock VIM `m`; `prelude` is Python that runs in it first, `args` are added to `serve`."""
    state = folder / "s"
    (folder / "m.yaml").write_text(yaml.safe_dump(config or {"hosts": 1}))
    code = f"{prelude}\nfrom vnfm.main import main\nmain()"
    log = (folder / "manager.log").open("a")
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", "--state", state, "--vim", f"m=mock:{folder / 'm.yaml'}", *args],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    made = None
    try:
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith("ready "), (folder / "manager.log").read_text()[-2000:]
        made = Manager(state, process, line.split()[1])
        yield made
    finally:
        if made:
            made.channel.close()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout:
            process.stdout.close()
        log.close()
