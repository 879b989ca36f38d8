"""Where the script meets the work: every handler's effect runs through here."""

from __future__ import annotations

import asyncio
import os
import time
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence

import structlog

from plugins.mock.config import Config
from plugins.mock.distances import Distances
from plugins.mock.fates import Fates
from plugins.mock.script import Call, Do, Rule, fire
from plugins.mock.taps import Taps
from plugins.mock.workers import open_hosts
from plugins.mock.world import Thing, World
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.problems import not_ready

CRASH_EXIT_CODE = 134
_AFTER_EFFECT = (Do.PARTIAL, Do.DIE, Do.LINK_LOST)

log = structlog.get_logger("plugins.mock")


class Stage:
    """A configured mock: its world, the script that disturbs it, and who listens at its ports.

    `publish` tells the manager what happens by itself; `clock_ns` is the wall clock.
    """

    def __init__(self, publish: Callable[[pb.Resource], None], clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._config: Config | None = None
        self._hosts: Mapping[str, pb.Host] = {}
        self._workers: dict[str, pb.Host] = {}
        self._world: World | None = None
        self._fates = Fates(publish, clock_ns)
        self.clock_ns = clock_ns
        self.taps = Taps()
        self.distances = Distances({}, ())

    def set(self, config: Config) -> None:
        """Go on with this configuration; objects stay unless it names another state file. What was to happen while no
        mock was running happens now."""
        if self._world is None or self._config is None or self._config.state_file != config.state_file:
            self.close()
            self._world = World(config.state_file, self.clock_ns)
        self._config = config
        servers = {host.id: host for host in config.hosts}
        self._workers = open_hosts(self._world, servers)
        self._hosts = ChainMap(servers, self._workers)
        self.distances = Distances(self._hosts, config.fabric)
        self._fates.arm_all(self._world)

    def close(self) -> None:
        """Let go of the state file."""
        self._fates.disarm_all()
        if self._world is not None:
            self._world.close()
            self._world = None

    @property
    def world(self) -> World:
        """What exists."""
        if self._world is None:
            raise not_ready("Configure was not called")
        return self._world

    @property
    def hosts(self) -> Mapping[str, pb.Host]:
        """The inventory's hosts by id, and the worker VMs that are open."""
        return self._hosts

    def workers_changed(self) -> None:
        """A worker VM was opened or closed."""
        now = open_hosts(self.world, self._hosts)
        self._workers.clear()
        self._workers.update(now)

    @property
    def traffic_pps(self) -> int:
        """Packets that cross every port each second, beside probes."""
        return self._config.traffic_pps if self._config else 0

    def chooses(self, network: str) -> bool:
        """Whether segments on that network are this VIM's own choice."""
        reaches = self._config.reaches if self._config else ()
        return any(one.chooses for one in reaches if one.network == network)

    def fired(self, call: Call) -> list[Rule]:
        """Count the call, durably, and say which rules act on it."""
        rules, changed = fire(self._config.rules if self._config else (), self.world.counts, call)
        self.world.count(changed)
        if rules:
            self.world.flush()  # one of them may end the process
        return rules

    def build(self, thing: Thing) -> pb.Resource:
        """It is made, or made anew: whatever was to happen to the old one does not."""
        self.world.set_fate(thing.key, None)
        self.world.put(thing)
        if isinstance(thing.spec, pb.AllocateComputeRequest) and thing.spec.HasField("worker"):
            self.workers_changed()
        return thing.resource

    async def act(
        self,
        call: Call,
        effect: Callable[[], pb.Resource],
        *,
        remains: Thing | None = None,
        started: Callable[[int], None] | None = None,
    ) -> pb.Resource:
        """What goes wrong before it, the effect, what goes wrong after it, and what it will die of.

        `remains` is what a partial failure leaves of what the effect has removed; `started` is told, before the effect,
        how many milliseconds the script let it take to start.
        """
        rules = self.fired(call)
        first = [rule for rule in rules if not rule.after and rule.do not in _AFTER_EFFECT]
        begun_ns = time.monotonic_ns()
        await disturb(call, first)
        if started is not None and any(rule.delay_ms for rule in first):
            started((time.monotonic_ns() - begun_ns) // 1_000_000)
        made = effect()
        if rules:
            self.world.flush()
        for rule in rules:
            if rule.do is Do.PARTIAL:
                self._leave_half(made, remains)
                error = rule.fault.error(call.resource_id)
                error.problem.partial.append(made.handle)
                raise error
            if rule.do in (Do.DIE, Do.LINK_LOST):
                self._fates.decide(self.world, made, rule)
        await disturb(call, [rule for rule in rules if rule.after and rule.do not in _AFTER_EFFECT])
        return made

    def _leave_half(self, made: pb.Resource, remains: Thing | None) -> None:
        thing = self.world.get(made.owner.manager_id, made.handle.resource_id) or remains
        if thing is None:
            return
        half = pb.Resource()
        half.CopyFrom(thing.resource)
        half.state = pb.STATE_FAILED
        half.reason = "the script of the mock left it half-built"
        self.world.put(Thing(half, thing.spec, thing.digest))


async def disturb(call: Call, rules: Sequence[Rule]) -> None:
    """Act out rules that fired: wait, hang, die or fail, in the script's order."""
    for rule in rules:
        log.info("script", rpc=call.rpc, resource_id=call.resource_id, do=rule.do.value, after=rule.after)
        match rule.do:
            case Do.DELAY | Do.START:
                await asyncio.sleep(rule.delay_ms / 1000)
            case Do.HANG:
                await asyncio.get_running_loop().create_future()
            case Do.CRASH:
                os._exit(CRASH_EXIT_CODE)
            case Do.FAIL:
                raise rule.fault.error(call.resource_id)
            case Do.PARTIAL | Do.DIE | Do.LINK_LOST:
                raise AssertionError(f"{rule.do} has its own place, after the effect")
