"""What happens by itself: servers that die or vanish, looked for by what has changed since the last look."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from plugins.openstack import states
from plugins.openstack.servers import since
from plugins.openstack.world import Key, World, listing, server_key
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.problems import PluginError

_WELL = (pb.STATE_RUNNING, pb.STATE_STOPPED)
log = structlog.get_logger("plugins.openstack")


class Watch:
    """Publishes what nobody's call has told. Two requests a round and project."""

    def __init__(self, world: World, publish: Callable[[pb.Resource], None]) -> None:
        self._world = world
        self._publish = publish
        self._servers: dict[Key, tuple[int, str]] = {}
        self._ids: dict[str, Key] = {}  # a server that is deleted has no metadata any more
        self._told: dict[Key, tuple[int, str]] = {}
        self._since_s = 0.0

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(self._world.settings.watch_s)
            try:
                await self.look()
            except PluginError as error:
                log.warning("resources not looked at", said=error.problem.detail[:300])

    async def look(self) -> None:
        """One round: servers first, then stacks, so that what is being removed on purpose is seen to be so."""
        begun_s = time.time()
        for project in self._world.projects:
            for server in await listing(project.cloud, "compute", **since(self._since_s)):
                key = server_key(server) or self._ids.get(str(server["id"]))
                if key is not None:
                    self._ids[str(server["id"])] = key
                    self._servers[key] = states.server_state(server)
        self._since_s = begun_s
        await self._judge()

    async def _judge(self) -> None:
        there: set[Key] = set()
        for project in self._world.projects:
            for stack in await project.stacks.all("vnfm"):
                key = (stack.stamp.owner.manager_id, stack.stamp.resource_id)
                there.add(key)
                if stack.stamp.kind == pb.KIND_COMPUTE and stack.complete:
                    state, reason = self._servers.get(key, (pb.STATE_UNSPECIFIED, ""))
                    if state not in _WELL and self._told.get(key) != (state, reason):
                        await self._confirm(key)
                    elif state in _WELL:
                        self._told.pop(key, None)
        for key in set(self._servers) - there:
            del self._servers[key]
            self._told.pop(key, None)
        self._ids = {server_id: key for server_id, key in self._ids.items() if key in self._servers}

    async def _confirm(self, key: Key) -> None:
        """A list may be older than what it is compared with: look at the one itself."""
        found = await self._world.find(*key)
        if found is None or found.resource.state != pb.STATE_FAILED:
            return
        seen = (int(found.resource.state), found.resource.reason)
        self._servers[key] = seen
        if self._told.get(key) != seen:
            self._told[key] = seen
            self._publish(found.resource)
