"""The composition root: puts the manager together and serves it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

import grpc.aio
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from vnfm.api.chains import ChainsServicer
from vnfm.api.changes import Changes
from vnfm.api.execs import Execs
from vnfm.api.foresight import PlacementServicer
from vnfm.api.lifecycle import LifecycleServicer
from vnfm.api.listening import bind
from vnfm.api.liveness import Liveness
from vnfm.api.observing import Observations
from vnfm.api.operations import OperationViews
from vnfm.api.packages import PackagesServicer
from vnfm.api.pulses import Pulses
from vnfm.api.vims import VimsServicer
from vnfm.freshids import FreshIds
from vnfm.lcm.amending import Amending
from vnfm.lcm.foresight.asking import Foresight
from vnfm.lcm.foresight.running import Population
from vnfm.lcm.granting import Granting
from vnfm.lcm.healing import HealingPolicy
from vnfm.lcm.onboarding import Onboarding, PackageReading, Reader
from vnfm.lcm.operation import Journal, Operation
from vnfm.lcm.ports import Vims
from vnfm.lcm.runner import Runner
from vnfm.model.problem import ProblemError, problem
from vnfm.pb.nfvo.v1 import nfvo_pb2 as pb
from vnfm.pb.nfvo.v1 import nfvo_pb2_grpc as rpc
from vnfm.settings import (
    PackageRules,
    Settings,
    default_state_dir,
    package_rules,
    parse_vim,
    sealed_by,
    settings_for,
)
from vnfm.store.blobs import BlobStore
from vnfm.store.database import Database, sqlite_url
from vnfm.store.facts import StoredFacts
from vnfm.store.lease import acquire
from vnfm.store.orders import OrderStore
from vnfm.store.packages import PackageStore
from vnfm.store.resources import ResourceStore
from vnfm.store.standing import StandingStore
from vnfm.store.telling import TellingJournal
from vnfm.store.vims import VimStore
from vnfm.store.watched import WatchedStore
from vnfm.vim.connection import VimSettings
from vnfm.vim.registry import VimRegistry
from vnfm.vim.watching import Ledger, Watching

log = structlog.get_logger(__name__)
STOP_S = 8.0  # after SIGTERM; what is not over by then is resumed like after a crash
KEEP_EVENTS = timedelta(days=30)
PRUNE_EVERY_S = 3600.0
SWITCH_S = 0.0005  # how long a thread keeps those waiting that SQLite or a plan let go of the interpreter for a moment
WRONG_SETTINGS = (
    "vim-config",
    "vim-kind",
    "bad-listen",
    "bad-database",
    "bad-trust-store",
    "bad-signature-policy",
    "bad-package-source",
    "bad-key-file",
)
RECEIVE_BYTES = 16 << 20
SEND_BYTES = 64 << 20  # an inventory of ten thousand hosts


class Manager:
    """Everything that serves; made by `opened`."""

    def __init__(self, settings: Settings, database: Database, manager_id: str, fence: int) -> None:
        self.settings = settings
        self.database = database
        self.blobs = BlobStore(settings.state_dir / "blobs")
        self.registry = VimRegistry(settings.state_dir / "vim", manager_id, fence)
        self.packages = PackageStore(database)
        self.orders = OrderStore(database)
        self.resources = ResourceStore(database)
        self.vims = VimStore(database, settings.seal)
        self.pulses = Pulses()
        journal = TellingJournal(database, self._told, self.pulses)
        checked_journal: Journal = journal  # the adapters satisfy the ports: said to the type checker
        checked_vims: Vims = self.registry
        facts = StoredFacts(self.packages, self.orders, self.resources)
        self.granting = Granting(facts, checked_vims)
        new_id = self.new_id = FreshIds()
        checked_population: Population = StandingStore(database, self.packages)
        self.foresight = Foresight(self.granting.world, checked_population, new_id)
        self.runner = Runner(
            checked_journal,
            checked_vims,
            self.blobs,
            self.granting.design,
            self.resources.handles,
            now,
            holder=self.resources,
            nothing_to_do=self.registry.nothing_to_do,
        )
        watched = WatchedStore(database, self.orders, new_id)
        checked_ledger: Ledger = watched
        amending = Amending(journal, self.runner, now)
        self.watching = Watching(checked_ledger, self.runner.drive, amending.amend, now, settings.healing)
        self.changes = Changes(self.orders, self.packages, self.runner, self.watching.condition, now, new_id)
        self.liveness = Liveness(self.orders, self.watching.condition, watched.last_heal)
        self.views = OperationViews(self.orders, self.runner, self.pulses)
        self.registry.followers.append(self.watching.follow)
        self.onboarding = Onboarding(self.packages, self.blobs, package_reader(settings.packages), now)
        self.execs = Execs(self.orders, self.resources, self.registry)
        self.observations = Observations(self.orders, self.packages, self.resources, checked_vims, now)
        self.journal = journal
        self.background: set[asyncio.Task[None]] = set()

    def add_servicers(self, server: grpc.aio.Server) -> list[str]:
        """Register the northbound services; returns their names."""
        rpc.add_PackagesServicer_to_server(
            PackagesServicer(
                self.packages, self.blobs, self.onboarding, self.settings.packages.sources, now, self.new_id
            ),
            server,
        )
        rpc.add_LifecycleServicer_to_server(
            LifecycleServicer(
                self.orders,
                self.packages,
                self.journal,
                self.runner,
                self.execs,
                self.observations,
                self.changes,
                self.liveness,
                self.views,
                now,
                self.new_id,
            ),
            server,
        )
        rpc.add_ChainsServicer_to_server(
            ChainsServicer(
                self.orders,
                self.packages,
                self.granting,
                self.runner,
                self.execs,
                self.observations,
                self.changes,
                self.liveness,
                self.views,
                now,
                self.new_id,
            ),
            server,
        )
        rpc.add_PlacementServicer_to_server(PlacementServicer(self.foresight, self.orders), server)
        rpc.add_VimsServicer_to_server(
            VimsServicer(
                self.registry,
                self.vims,
                self.resources,
                lambda name, kind, config: settings_for(self.settings.state_dir, name, kind, config),
            ),
            server,
        )
        return [s.full_name for s in pb.DESCRIPTOR.services_by_name.values()]

    def _told(self, operation: Operation) -> None:
        self.watching.told(operation)

    async def open(self) -> None:
        """Connect VIMs and take up what was left open."""
        self.blobs.sweep()
        await self.watching.load()
        for given in self.settings.vims:
            self.registry.add(settings_for(self.settings.state_dir, given.name, given.kind, given.config))
        told = {v.name for v in self.settings.vims}
        await self._seal_plain()
        for vim in await self.vims.all():
            if vim.name not in told:
                self.registry.add(settings_for(self.settings.state_dir, vim.name, vim.kind, vim.config, vim.locked))
        for work in (self.onboarding.resume(), self._prune_events()):
            task = asyncio.create_task(work)
            self.background.add(task)
            task.add_done_callback(self.background.discard)
        resumed = await self.runner.resume()
        if resumed:
            log.info("operations resumed", count=resumed)

    async def _seal_plain(self) -> None:
        """What an earlier version kept in the clear."""
        try:
            names = await self.vims.seal_plain()
        except ProblemError as error:  # of another key: each VIM says so by itself
            log.error("secrets stay as they are", problem=error.problem.detail)
            return
        if names and self.settings.seal:
            log.info("secrets sealed that were kept plain", vims=names)
        elif names:
            log.warning("secrets are kept plain: start the manager with --key-file", vims=names)

    async def _prune_events(self) -> None:
        while True:
            with contextlib.suppress(ProblemError):  # a full disk passes
                await self.orders.prune_events(now() - KEEP_EVENTS)
            await asyncio.sleep(PRUNE_EVERY_S)

    async def close(self) -> None:
        """Park what runs; what was realized stays."""
        await self.watching.close()
        await self.runner.close()
        for task in self.background:
            task.cancel()
        await self.onboarding.close()
        await self.registry.close()


def now() -> datetime:
    """The clock."""
    return datetime.now(UTC)


def package_reader(rules: PackageRules) -> Reader:
    """Reads packages in the TOSCA room, which is loaded when first needed.

    The trust store is read for each package, so that what an operator adds or takes away counts from then on.
    """

    def read(path: Path, policy: str) -> PackageReading:
        from vnfm.tosca import SignaturePolicy, TrustStore, read_package

        digests, _, signature = policy.partition("+")
        asked = SignaturePolicy(
            required=rules.signature_required or signature == "require",
            trust=TrustStore.load(rules.trust_store) if rules.trust_store is not None else None,
        )
        return read_package(
            path, digests="warn" if digests == "warn" else "auto" if digests == "auto" else "strict", signature=asked
        )

    return read


@contextlib.contextmanager
def locked_state(state_dir: Path) -> Iterator[IO[str]]:
    """The state folder for us alone. Raises ProblemError `state-in-use`."""
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = (state_dir / "lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        holder = lock.read().strip() or "another process"
        lock.close()
        raise problem(
            "state-in-use",
            f"state folder {state_dir} is in use by a manager (pid {holder}); "
            "stop that one, or give this one a --state of its own",
            title="State folder in use",
        ) from error
    try:
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield lock
    finally:
        lock.close()


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Manager]:
    """A manager at work, closed afterwards."""
    database = Database(settings.database_url)
    try:
        await asyncio.to_thread(database.migrate)
        manager_id, fence = await acquire(database, FreshIds()())
        manager = Manager(settings, database, manager_id, fence)
        try:
            await manager.open()
            yield manager
        finally:
            await manager.close()
    finally:
        database.close()


async def serve(settings: Settings) -> None:
    """Until SIGTERM or SIGINT. Prints `ready ENDPOINT` once it answers."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def told_to_stop() -> None:
        if not stop.is_set():
            stop.set()
            _bound_the_end()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_stop)
    async with opened(settings) as manager:
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", RECEIVE_BYTES),
                ("grpc.max_send_message_length", SEND_BYTES),
                ("grpc.so_reuseport", 0),
            ]
        )
        names = manager.add_servicers(server)
        healths = health.aio.HealthServicer()  # type: ignore[attr-defined]
        health_pb2_grpc.add_HealthServicer_to_server(healths, server)
        await healths.set("", health_pb2.HealthCheckResponse.SERVING)
        reflection.enable_server_reflection((*names, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        endpoint = bind(server, settings.listen)
        await server.start()
        sys.stdout.write(f"ready {endpoint}\n")
        sys.stdout.flush()
        await stop.wait()
        log.info("stopping")
        # watchers would hold the server for ever: the runner is parked first, then streams are cut
        await manager.watching.close()
        await manager.runner.close()
        await server.stop(0.5)


def _bound_the_end() -> None:
    """A thread that is deep in a package or a plan cannot be called back, and would hold up the end of the process. The
    journal does not need it: plugins see our end by their stdin, and what was running is resumed."""

    def over() -> None:
        log.warning("ended with work under way; it is resumed at the next start")
        os._exit(0)

    timer = threading.Timer(STOP_S, over)
    timer.daemon = True
    timer.start()


def run(
    state: Path | None,
    listen: str,
    database: str,
    vims: Sequence[str],
    healing: HealingPolicy | None = None,
    trust_store: Path | None = None,
    signature: str = "if-present",
    package_sources: Sequence[str] = (),
    key_file: Path | None = None,
    passphrase: str | None = None,
) -> int:
    """What `vnfm serve` does. Returns the exit code."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer(colors=False) if sys.stderr.isatty() else structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    state_dir = (state or default_state_dir(os.environ, os.getuid())).absolute()
    try:
        configured = tuple(parse_vim(v) for v in vims) or (VimSettings("local", "local", {}),)
        for vim in configured:
            settings_for(state_dir, vim.name, vim.kind, vim.config)
        rules = package_rules(trust_store, signature, package_sources)
        seal = sealed_by(key_file, passphrase, state_dir)
        names = [v.name for v in configured]
        if twice := next((n for n in names if names.count(n) > 1), ""):
            raise problem("vim-config", f"--vim: two VIMs are called {twice}; give each a name of its own")
        with locked_state(state_dir):
            settings = Settings(
                state_dir,
                listen or f"unix:{state_dir / 'vnfm.sock'}",
                database or sqlite_url(state_dir),
                configured,
                healing,
                rules,
                seal,
            )
            sys.setswitchinterval(SWITCH_S)
            asyncio.run(serve(settings))
    except ProblemError as error:
        sys.stderr.write(f"vnfm: {error.problem.title}: {error.problem.detail}\n")
        return 2 if error.problem.word in WRONG_SETTINGS else 1
    except OSError as error:
        sys.stderr.write(f"vnfm: {error}\n")
        return 1
    return 0
