"""A VIM that is kept connected: its plugin started, shaken hands with, configured, watched and started again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import structlog
from google.protobuf import json_format, struct_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from vnfm.model.confidential import Parted, hidden, part
from vnfm.model.problem import Problem, ProblemError, Retry, problem
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pb.vim.v1 import vim_pb2_grpc as rpc
from vnfm.vim.errors import problem_of, unexplained
from vnfm.vim.inventory import InventoryStore
from vnfm.vim.process import PluginProcess, Spawn, command_of
from vnfm.vim.terms import terms_of

log = structlog.get_logger(__name__)

API_VERSIONS = (1,)
MESSAGE_BYTES = 16 << 20
HEALTH_EVERY_S = 5.0
HEALTH_PATIENCE = 4  # silent checks in a row before a plugin counts as hung
FAILED_PATIENCE_S = 3.0
BACKOFF_S = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)
HANDSHAKE_S = 15.0
STEADY_S = 10.0  # a connection that lasted as long was a good one


class VimState(StrEnum):
    """A VIM connection's state."""

    STARTING = "STARTING"
    CONNECTED = "CONNECTED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class VimSettings:
    """A VIM as configured: SOL003 4.4.1.6 VimConnectionInfo, reduced. `kind` is a plugin or `grpc:HOST:PORT`."""

    name: str
    kind: str
    config: Mapping[str, Any] = field(repr=False)
    locked: Problem | None = None
    """Why its secrets are not in `config`: it is not connected then."""


class VimConnection:
    """Keeps one plugin running and reachable."""

    def __init__(self, settings: VimSettings, folder: Path, manager_id: str) -> None:
        self.settings = settings
        self.state = VimState.STARTING
        self.problem: Problem | None = None
        self.handshake: pb.HandshakeResponse | None = None
        self.capabilities: frozenset[int] = frozenset()  # as the handshake has them
        self.offered: frozenset[str] = frozenset()  # by name, those that are known here
        self.inventory = InventoryStore(settings.name)
        self.restarts = 0
        self.generation = 0  # rises with every connection made
        self._folder = folder
        self._manager_id = manager_id
        self._channel: grpc.aio.Channel | None = None
        self._process: PluginProcess | None = None
        self._changed = asyncio.Condition()
        self._keeper: asyncio.Task[None] | None = None
        self._closing = False

    def open(self) -> None:
        """Begin to connect, in the background."""
        if self.settings.locked:
            self.state, self.problem = VimState.FAILED, self.settings.locked
            log.error("VIM not connected", vim=self.settings.name, problem=self.settings.locked.detail)
            return
        self._keeper = asyncio.create_task(self._keep(), name=f"vim {self.settings.name}")

    async def close(self, grace_s: float = 5.0) -> None:
        """Let the plugin end. What it realized stays."""
        self._closing = True
        if self._keeper:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._channel:
            await self._channel.close(0)
        if self._process:
            await self._process.stop(grace_s)

    @property
    def closing(self) -> bool:
        """It is given up and will not come back."""
        return self._closing

    async def channel(self, timeout_s: float, newer_than: int = 0) -> tuple[grpc.aio.Channel, int]:
        """A connected channel and its generation. Raises ProblemError `vim-unreachable`, or why it failed."""
        if self.state is VimState.CONNECTED and self.generation > newer_than and self._channel:
            return self._channel, self.generation
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        async with self._changed:
            while not (self.state is VimState.CONNECTED and self.generation > newer_than and self._channel):
                left = deadline - loop.time()
                if left <= 0 or self._closing or self._hopeless:
                    raise ProblemError(self.problem or self._unreachable())
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), left)
            return self._channel, self.generation

    @property
    def ready(self) -> bool:
        """Connected, with an inventory."""
        return self.state is VimState.CONNECTED and self.inventory.complete

    async def settled(self, timeout_s: float) -> bool:
        """Wait until connected with an inventory; False where that did not come about in time or has failed.

        One that failed time and again is waited for a little only: it may be back at the next try.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        deadline = began + timeout_s
        while loop.time() < deadline and not self._closing:
            if self.ready:
                return True
            failed_for_long = self.state is VimState.FAILED and loop.time() >= began + FAILED_PATIENCE_S
            if self._hopeless or failed_for_long:
                return False
            await asyncio.sleep(0.02)
        return self.ready

    @property
    def _hopeless(self) -> bool:
        """Only another configuration can help."""
        return self.state is VimState.FAILED and self.problem is not None and self.problem.retry is Retry.NEVER

    def _unreachable(self) -> Problem:
        return problem(
            "vim-unreachable",
            f"VIM {self.settings.name} ({self.settings.kind}) is not connected",
            instance=self.settings.name,
            retry=Retry.SAME_CALL,
        ).problem

    async def _keep(self) -> None:
        failures = 0
        while not self._closing:
            connected_at: float | None = None
            try:
                await self._connect()
                connected_at = asyncio.get_running_loop().time()
                end = await self._watch()
                self.problem = self._unreachable()
                log.warning("plugin ended", vim=self.settings.name, how=end)
            except ProblemError as error:
                self.problem = error.problem
                log.error("VIM not connected", vim=self.settings.name, problem=error.problem.detail)
            except Exception as error:
                # a full disk, an inventory that makes no sense: whoever keeps the connection must not end over it
                log.exception("VIM not connected", vim=self.settings.name)
                self.problem = self._stumbled(error)
            await self._disconnect()
            if self.problem and self.problem.retry is Retry.NEVER:
                await self._set(VimState.FAILED)
                return
            steady = connected_at is not None and asyncio.get_running_loop().time() - connected_at > STEADY_S
            failures = 0 if steady else failures + 1
            await self._set(VimState.FAILED if failures > 2 else VimState.STARTING)
            await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
            self.restarts += 1

    def _stumbled(self, error: Exception) -> Problem:
        return problem(
            "vim-failed",
            f"VIM {self.settings.name}: {type(error).__name__}: {error}",
            instance=self.settings.name,
            retry=Retry.SAME_CALL,
        ).problem

    async def _connect(self) -> None:
        kind = self.settings.kind
        self.inventory.terms, own = terms_of(self.settings.name, self.settings.config)
        if kind.startswith("grpc:"):
            address = kind.removeprefix("grpc:")
        else:
            spawn = Spawn(self.settings.name, command_of(kind), self._folder)
            self._process = await PluginProcess.start(spawn)
            address = self._process.address
        self._channel = grpc.aio.insecure_channel(
            address,
            options=[
                ("grpc.max_receive_message_length", MESSAGE_BYTES),
                ("grpc.max_send_message_length", MESSAGE_BYTES),
                ("grpc.use_local_subchannel_pool", 1),
            ],
        )
        identity = rpc.IdentityStub(self._channel)
        try:
            self.handshake = await identity.Handshake(
                pb.HandshakeRequest(api_versions=API_VERSIONS, manager_id=self._manager_id),
                timeout=HANDSHAKE_S,
                wait_for_ready=True,
            )
            self.capabilities = frozenset(self.handshake.capabilities)
            self.offered = _names(self.capabilities)
            await self._configure(identity, own)
        except grpc.aio.AioRpcError as error:
            if found := problem_of(error, self.settings.name):
                raise ProblemError(replace(found, detail=hidden(found.detail, self._secrets()))) from error
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and not self._process:
                raise ProblemError(self._nobody_at(address)) from error
            raise unexplained(error, self.settings.name, "Handshake") from error
        self.generation += 1
        self.problem = None
        await self._set(VimState.CONNECTED)

    async def _configure(self, identity: rpc.IdentityAsyncStub, own: Mapping[str, Any]) -> None:
        """What the plugin's schema calls a secret goes apart from the rest."""
        schema = self.schema
        parted = part(own, schema, by_name=False)
        self._check_config(own, schema, parted.secrets.values())
        if parted.secrets and self._process is None:
            self._expect_loopback(parted)
        config = struct_pb2.Struct()
        config.update(parted.plain)
        await identity.Configure(pb.ConfigureRequest(config=config, secrets=parted.secrets), timeout=60)

    @property
    def schema(self) -> Mapping[str, Any]:
        """The JSON Schema of the plugin's configuration; empty where it has told none."""
        return json_format.MessageToDict(self.handshake.config_schema) if self.handshake else {}

    def _secrets(self) -> Iterable[str]:
        return part(self.settings.config, self.schema).secrets.values()

    def _expect_loopback(self, parted: Parted) -> None:
        """Secrets do not go over a network in the clear."""
        host = self.settings.kind.removeprefix("grpc:").rpartition(":")[0].strip("[]")
        if host not in ("localhost", "::1") and not host.startswith(("127.", "unix")):
            raise problem(
                "vim-config",
                f"VIM {self.settings.name}: {', '.join(sorted(parted.secrets))}: secrets are not sent to {host} "
                "without TLS: run the plugin on this host, or leave them in a file on its host",
                instance=self.settings.name,
            )

    def _nobody_at(self, address: str) -> Problem:
        return problem(
            "vim-unreachable",
            f"VIM {self.settings.name}: no plugin answers at {address} within {HANDSHAKE_S:.0f} s",
            instance=self.settings.name,
            retry=Retry.SAME_CALL,
        ).problem

    def _check_config(self, config: Mapping[str, Any], schema: Mapping[str, Any], secrets: Iterable[str]) -> None:
        import jsonschema

        if not schema:
            return
        try:
            jsonschema.validate(config, schema)
        except jsonschema.ValidationError as error:
            where = ".".join(str(p) for p in error.absolute_path) or "the configuration"
            raise problem(
                "vim-config",
                f"configuration of VIM {self.settings.name}: {where}: {hidden(error.message, secrets)}",
                instance=self.settings.name,
            ) from None  # it quotes what it was about

    async def _watch(self) -> str:
        """Until the plugin is gone; says how."""
        assert self._channel
        tasks = {asyncio.create_task(self._watch_inventory()), asyncio.create_task(self._watch_health())}
        if self._process:
            tasks.add(asyncio.create_task(self._process.wait()))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return next(iter(done)).result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch_inventory(self) -> str:
        assert self._channel
        stub = rpc.InventoryStub(self._channel)
        self.inventory.begin()
        try:
            async for chunk in stub.WatchInventory(pb.WatchInventoryRequest()):
                self.inventory.take(chunk, self.handshake)
        except grpc.aio.AioRpcError as error:
            if self._process:  # its end tells more
                await asyncio.sleep(1)
            return f"inventory stream ended: {error.code().name} {error.details()}"
        return "inventory stream ended"

    async def _watch_health(self) -> str:
        assert self._channel
        stub = health_pb2_grpc.HealthStub(self._channel)
        silent = 0
        while silent < HEALTH_PATIENCE:
            await asyncio.sleep(HEALTH_EVERY_S)
            try:
                await stub.Check(health_pb2.HealthCheckRequest(), timeout=HEALTH_EVERY_S)
                silent = 0
            except grpc.aio.AioRpcError:
                silent += 1
        return f"no answer to {HEALTH_PATIENCE} health checks"

    async def _disconnect(self) -> None:
        channel, self._channel = self._channel, None
        process, self._process = self._process, None
        if channel:
            await channel.close(0)
        if process:
            process.kill()
            await process.wait()

    async def _set(self, state: VimState) -> None:
        async with self._changed:
            self.state = state
            self._changed.notify_all()


def _names(capabilities: Iterable[int]) -> frozenset[str]:
    known = pb.Capability.items()
    return frozenset(name.removeprefix("CAPABILITY_") for name, number in known if number in capabilities)
