"""What happens to the mock's objects by themselves: something that runs dies later, or loses its link."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import structlog

from plugins.mock import rules
from plugins.mock.script import Do, Fault, Rule
from plugins.mock.world import Fate, Key, Thing, World
from vnfm.pb.vim.v1 import vim_pb2 as pb

_DIED = "it died: the script of the mock says so"

log = structlog.get_logger("plugins.mock")


class Fates:
    """Timers for the fates that stand in the world's file; `publish` tells what came true."""

    def __init__(self, publish: Callable[[pb.Resource], None], clock_ns: Callable[[], int]) -> None:
        self._publish = publish
        self._clock_ns = clock_ns
        self._timers: dict[Key, asyncio.TimerHandle] = {}

    def decide(self, world: World, made: pb.Resource, rule: Rule) -> None:
        """From now on `made` has this fate; it is in the file before the call goes on."""
        key = (made.owner.manager_id, made.handle.resource_id)
        thing = world.get(*key)
        if thing is None:
            return
        cp_id = _lost_port(thing, rule) if rule.do is Do.LINK_LOST else ""
        reason = rule.fault.detail if rule.fault.detail != Fault().detail else ""
        if not reason:
            reason = f"port {cp_id!r} has lost its link" if cp_id else _DIED
        world.set_fate(key, Fate(self._clock_ns() + rule.after_ms * 1_000_000, reason, cp_id))
        self._arm(world, key)

    def arm_all(self, world: World) -> None:
        """After a start of the plugin, or a new configuration."""
        self.disarm_all()
        for key, fate in list(world.fates.items()):
            if not fate.done:
                self._arm(world, key)

    def disarm_all(self) -> None:
        """Nothing happens any more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _arm(self, world: World, key: Key) -> None:
        if (before := self._timers.pop(key, None)) is not None:
            before.cancel()
        wait_s = max(0, world.fates[key].due_ns - self._clock_ns()) / 1e9
        self._timers[key] = asyncio.get_running_loop().call_later(wait_s, self._come_true, world, key)

    def _come_true(self, world: World, key: Key) -> None:
        self._timers.pop(key, None)
        fate, thing = world.fates.get(key), world.get(*key)
        if fate is None or fate.done or thing is None:
            return  # terminated, or built anew, in time
        if thing.resource.state != pb.STATE_RUNNING:
            world.set_fate(key, None)
            return
        dead = pb.Resource()
        dead.CopyFrom(thing.resource)
        dead.state, dead.reason = pb.STATE_FAILED, fate.reason
        world.set_fate(key, replace(fate, done=True))
        world.put(Thing(dead, thing.spec, thing.digest))
        log.info("fate", resource_id=key[1], reason=fate.reason)
        self._publish(dead)


def _lost_port(thing: Thing, rule: Rule) -> str:
    """The port that the rule names; else the first; a link loses itself."""
    named = sorted(rule.match.cps)
    there = [port.cp_id for port in rules.ports(thing)]
    return (named or there or [thing.key[1]])[0]
