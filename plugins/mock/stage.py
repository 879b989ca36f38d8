"""Where the script meets the work: every handler's effect runs through here."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence

import structlog

from plugins.mock.config import Config
from plugins.mock.script import Call, Do, Rule, fire
from plugins.mock.world import Thing, World
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.problems import not_ready

CRASH_EXIT_CODE = 134

log = structlog.get_logger("plugins.mock")


class Stage:
    """A configured mock: its world and the script that disturbs it."""

    def __init__(self) -> None:
        self._config: Config | None = None
        self._world: World | None = None

    def set(self, config: Config) -> None:
        """Go on with this configuration; objects stay unless it names another state file."""
        if self._world is None or self._config is None or self._config.state_file != config.state_file:
            self.close()
            self._world = World(config.state_file)
        self._config = config

    def close(self) -> None:
        """Let go of the state file."""
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
    def hosts(self) -> Sequence[pb.Host]:
        """The inventory's hosts."""
        return self._config.hosts if self._config else ()

    def fired(self, call: Call) -> list[Rule]:
        """Count the call, durably, and say which rules act on it."""
        rules, changed = fire(self._config.rules if self._config else (), self.world.counts, call)
        self.world.count(changed)
        return rules

    async def act(self, call: Call, effect: Callable[[], pb.Resource], *, remains: Thing | None = None) -> pb.Resource:
        """What goes wrong before it, the effect, what goes wrong after it.

        `remains` is what a partial failure leaves of what the effect has removed.
        """
        rules = self.fired(call)
        await disturb(call, [rule for rule in rules if not rule.after and rule.do is not Do.PARTIAL])
        made = effect()
        for rule in rules:
            if rule.do is Do.PARTIAL:
                self._leave_half(made, remains)
                error = rule.fault.error(call.resource_id)
                error.problem.partial.append(made.handle)
                raise error
        await disturb(call, [rule for rule in rules if rule.after])
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
            case Do.DELAY:
                await asyncio.sleep(rule.delay_ms / 1000)
            case Do.HANG:
                await asyncio.get_running_loop().create_future()
            case Do.CRASH:
                os._exit(CRASH_EXIT_CODE)
            case Do.FAIL:
                raise rule.fault.error(call.resource_id)
            case Do.PARTIAL:
                raise AssertionError("partial has its own place")
