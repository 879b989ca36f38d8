"""The mock's parts put together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from plugins.mock import config, rules
from plugins.mock.compute import MockCompute, call_about
from plugins.mock.network import MockNetwork
from plugins.mock.observe import MockObservation
from plugins.mock.script import Call
from plugins.mock.stage import Stage, disturb
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.handlers import ImageSink, Plugin, Report, Stamped
from vnfm.pluginkit.problems import not_ready
from vnfm.pluginkit.publish import ResourcePublisher

_JOINING = (pb.CAPABILITY_JOIN_VXLAN, pb.CAPABILITY_JOIN_VLAN, pb.CAPABILITY_JOIN_FLAT)
OPTIONAL: Mapping[str, Callable[[Plugin], Plugin]] = {
    "JOIN": lambda plugin: replace(plugin, join=None, capabilities=_but(plugin, *_JOINING)),
    "SAP": lambda plugin: replace(plugin, saps=None),
    "PATH": lambda plugin: replace(plugin, paths=None),
    "PROBE": lambda plugin: replace(plugin, probe=None),
    "COUNT": lambda plugin: replace(plugin, count=None),
    "STEER": lambda plugin: replace(plugin, capabilities=_but(plugin, pb.CAPABILITY_STEER)),
    "BALANCE": lambda plugin: replace(plugin, capabilities=_but(plugin, pb.CAPABILITY_BALANCE)),
    "CALLS": lambda plugin: replace(plugin, many_calls=False),
    "STATS": lambda plugin: replace(plugin, stats=None),
    "CAPTURE": lambda plugin: replace(plugin, capture=None),
    "PORT_HOTPLUG": lambda plugin: replace(plugin, ports=None),
    "EXEC": lambda plugin: replace(plugin, commands=None),
    "VOLUME": lambda plugin: replace(plugin, volumes=None),
    "PAUSE": lambda plugin: replace(plugin, capabilities=_but(plugin, pb.CAPABILITY_PAUSE)),
    "CPU_PINNING": lambda plugin: replace(plugin, capabilities=_but(plugin, pb.CAPABILITY_CPU_PINNING)),
    "HUGEPAGES": lambda plugin: replace(plugin, capabilities=_but(plugin, pb.CAPABILITY_HUGEPAGES)),
    "GPU": lambda plugin: replace(plugin, capabilities=_but(plugin, pb.CAPABILITY_GPU)),
    "OPEN_WORKER": lambda plugin: replace(plugin, capabilities=_but(plugin, pb.CAPABILITY_OPEN_WORKER)),
    "SRIOV": lambda plugin: replace(plugin, capabilities=_but(plugin, pb.CAPABILITY_SRIOV)),
}
"""What `--without` can take away, since a VIM need not offer everything."""


def make_plugin(
    default_state: Path | None, without: frozenset[str] = frozenset(), clock_ns: Callable[[], int] = time.time_ns
) -> Plugin:
    """A mock that offers everything but `without`; objects are kept in `state_file` of its configuration, else in
    `default_state`, else only in memory."""
    changes = ResourcePublisher(clock_ns)
    stage = Stage(changes.publish, clock_ns)
    compute, network = MockCompute(stage), MockNetwork(stage, steers="STEER" not in without)
    observation = MockObservation(stage)

    async def configure(given: Mapping[str, object], secrets: Mapping[str, str]) -> None:
        wanted = await asyncio.to_thread(config.parse, given, default_state)  # a large data centre takes seconds
        stage.set(wanted)
        call = Call("Configure")
        await disturb(call, stage.fired(call))
        await plugin.inventory.publish(wanted.hosts, wanted.latencies, wanted.fabric, wanted.licences, wanted.reaches)

    async def close() -> None:
        stage.close()

    plugin = Plugin(
        runtimes=list(config.RUNTIMES.values()),
        configure=configure,
        resources=MockResources(stage),
        images=MockImages(stage),
        compute=compute,
        links=network,
        join=network,
        saps=network,
        paths=network,
        probe=network,
        count=network,
        stats=observation,
        capture=observation,
        ports=compute,
        commands=compute,
        volumes=compute,
        capabilities=(
            pb.CAPABILITY_PAUSE,
            pb.CAPABILITY_SRIOV,
            pb.CAPABILITY_GPU,
            pb.CAPABILITY_CPU_PINNING,
            pb.CAPABILITY_HUGEPAGES,
            *_JOINING,
            pb.CAPABILITY_STEER,
            pb.CAPABILITY_BALANCE,
            pb.CAPABILITY_OPEN_WORKER,
        ),
        config_schema=config.SCHEMA,
        changes=changes,
        close=close,
    )
    offered = plugin
    for word in sorted(without):
        offered = OPTIONAL[word](offered)
    return offered


class MockResources:
    """ResourcePart."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def find(self, manager_id: str, resource_id: str) -> Stamped | None:
        """By stamp."""
        thing = self._stage.world.get(manager_id, resource_id)
        return thing.stamped() if thing else None

    async def find_all(self, manager_id: str) -> Sequence[Stamped]:
        """By stamp."""
        return [thing.stamped() for thing in self._stage.world.of(manager_id)]

    async def terminate(self, request: pb.TerminateRequest, found: Stamped | None, report: Report) -> None:
        """Refused while a port, a mount or a path still refers to it."""
        resource_id = request.handle.resource_id
        world = self._stage.world
        thing = world.get(request.owner.manager_id, resource_id)

        def effect() -> pb.Resource:
            if thing is None:
                return pb.Resource(handle=request.handle, owner=request.owner)
            if using := rules.users(world, thing):
                raise not_ready(f"{resource_id!r} is used by {', '.join(using)}: terminate those first")
            world.remove(request.owner.manager_id, resource_id)
            if isinstance(thing.spec, pb.AllocateComputeRequest) and thing.spec.HasField("worker"):
                self._stage.workers_changed()
            return thing.resource

        await self._stage.act(call_about("Terminate", thing, resource_id), effect, remains=thing)


class MockImages:
    """ImagePart: a name and a size; the bytes themselves are of no use here."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def stat_image(self, sha256: str) -> int | None:
        """Its size."""
        await self._script("StatImage", sha256)
        return self._stage.world.image_bytes(sha256)

    async def begin_image(self, sha256: str, image_format: str, total_bytes: int) -> ImageSink:
        """A sink that keeps nothing."""
        await self._script("PutImage", sha256)
        return _Sink(lambda: self._stage.world.put_image(sha256, total_bytes))

    async def delete_image(self, sha256: str) -> None:
        """Refused while something runs from it."""
        await self._script("DeleteImage", sha256)
        if using := rules.image_users(self._stage.world, sha256):
            raise not_ready(f"{', '.join(using)} run from it: terminate those first", instance=sha256)
        self._stage.world.remove_image(sha256)

    async def _script(self, rpc: str, sha256: str) -> None:
        call = Call(rpc, sha256)
        await disturb(call, self._stage.fired(call))


class _Sink:
    def __init__(self, keep: Callable[[], None]) -> None:
        self._keep = keep

    async def write(self, data: bytes) -> None:
        return None

    async def commit(self) -> None:
        self._keep()

    async def discard(self) -> None:
        return None


def _but(plugin: Plugin, *left_out: pb.Capability.ValueType) -> list[pb.Capability.ValueType]:
    return [word for word in plugin.capabilities if word not in left_out]
