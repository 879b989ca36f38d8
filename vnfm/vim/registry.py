"""All VIMs of this manager: implements vnfm.lcm.ports.Vims."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from vnfm.lcm.ports import JoinedInventory
from vnfm.lcm.steps import Step
from vnfm.model.problem import problem
from vnfm.placement.inventory import Host
from vnfm.vim.client import VimClient
from vnfm.vim.connection import VimConnection, VimSettings

INVENTORY_S = 30.0
_Part = tuple[str, int, tuple[Host, ...]]


def _same(parts: list[_Part], before: list[_Part]) -> bool:
    """Hosts by identity: quick, and right also where a plugin counts no versions."""
    if len(parts) != len(before):
        return False
    return all(a[:2] == b[:2] and a[2] is b[2] for a, b in zip(parts, before, strict=True))


class VimRegistry:
    """Connections by name."""

    def __init__(self, folder: Path, manager_id: str, fence: int) -> None:
        self._folder = folder
        self._manager_id = manager_id
        self._fence = fence
        self._clients: dict[str, VimClient] = {}
        self.followers: list[Callable[[VimClient], None]] = []
        """Told of every VIM that is added."""
        self._parts: list[_Part] = []
        self._joined = JoinedInventory(0, ())
        self._told = (self._joined, self._joined)  # as joined, and with what is said of the connections

    def add(self, settings: VimSettings) -> VimConnection:
        """Open a connection. Raises ProblemError `already-exists`."""
        if settings.name in self._clients:
            raise problem("already-exists", f"there is a VIM {settings.name} already", instance=settings.name)
        connection = VimConnection(settings, self._folder / settings.name, self._manager_id)
        client = self._clients[settings.name] = VimClient(connection, self._manager_id, self._fence)
        connection.open()
        for follow in self.followers:
            follow(client)
        return connection

    async def remove(self, name: str) -> None:
        """Close a connection."""
        client = self.get(name)
        del self._clients[name]
        await client.connection.close()

    def get(self, name: str) -> VimClient:
        """Raises ProblemError `vim-unknown`."""
        client = self._clients.get(name)
        if client is None:
            known = ", ".join(sorted(self._clients)) or "none"
            raise problem("vim-unknown", f"there is no VIM {name!r}; there are: {known}", instance=name)
        return client

    def nothing_to_do(self, step: Step) -> bool:
        """Whether what the step is for is there already, as far as was seen a moment ago: an image."""
        client = self._clients.get(step.vim)
        return client is not None and step.image is not None and client.has_image(step.image.sha256)

    def connections(self) -> Iterable[VimConnection]:
        """By name."""
        return [self._clients[name].connection for name in sorted(self._clients)]

    async def inventory(self) -> JoinedInventory:
        """Waits for those that start; leaves out those that stay away, and says why. Where nothing has changed it is
        the same one as before."""
        connections = list(self.connections())
        if all(c.ready for c in connections):
            return self._as_told(connections, {})
        settled = await asyncio.gather(*(c.settled(INVENTORY_S) for c in connections))
        here = [c for c, ok in zip(connections, settled, strict=True) if ok]
        absent = {
            c.settings.name: c.problem.detail if c.problem else "not connected yet"
            for c, ok in zip(connections, settled, strict=True)
            if not ok
        }
        return self._as_told(here, absent)

    def _as_told(self, here: Sequence[VimConnection], absent: Mapping[str, str]) -> JoinedInventory:
        capabilities = {c.settings.name: c.offered for c in here if c.handshake}
        joined, (base, told) = self._join(here), self._told
        if joined is not base or (absent, capabilities) != (told.absent, told.capabilities):
            told = replace(joined, absent=absent, capabilities=capabilities)
            self._told = (joined, told)
        return told

    def _join(self, connections: Sequence[VimConnection]) -> JoinedInventory:
        """The same tuples as long as no VIM tells anything new, so that what follows from them may be kept."""
        told = [c.inventory for c in connections]
        parts = [(t.vim, t.version, t.hosts) for t in told]
        if not _same(parts, self._parts):
            self._parts = parts
            self._joined = JoinedInventory(
                version=sum(t.version for t in told),
                hosts=tuple(h for t in told for h in t.hosts),
                latencies=tuple(m for t in told for m in t.latencies),
                fabric=tuple(m for t in told for m in t.fabric),
                licences=tuple(m for t in told for m in t.licences),
                reaches=tuple(m for t in told for m in t.reaches),
            )
        return self._joined

    async def close(self) -> None:
        """Close all."""
        await asyncio.gather(*(c.close() for c in self.connections()))
