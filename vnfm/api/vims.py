"""VIM connections and their inventories."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Protocol

import grpc.aio
from google.protobuf import json_format

from vnfm.api.errors import answered, streamed
from vnfm.api.inventories import InventoryView
from vnfm.api.views import struct
from vnfm.model.problem import problem
from vnfm.pb.nfvo.v1 import nfvo_pb2 as pb
from vnfm.pb.nfvo.v1 import nfvo_pb2_grpc as rpc
from vnfm.pb.vim.v1 import vim_pb2 as vim
from vnfm.store.resources import ResourceStore
from vnfm.store.vims import VimStore
from vnfm.vim.connection import VimConnection, VimSettings
from vnfm.vim.registry import VimRegistry

Context = grpc.aio.ServicerContext[Any, Any]
SETTLE_S = 20.0
TELLING_S = 60.0  # more, for a plugin that is there and has much to tell


class SettingsOf(Protocol):
    """Makes a VIM's settings complete (folders of this host, say)."""

    def __call__(self, name: str, kind: str, config: dict[str, Any]) -> VimSettings: ...


class VimsServicer(rpc.VimsServicer):
    """vnfm.nfvo.v1.Vims."""

    def __init__(
        self, registry: VimRegistry, store: VimStore, resources: ResourceStore, settings_of: SettingsOf
    ) -> None:
        self._registry = registry
        self._store = store
        self._resources = resources
        self._settings_of = settings_of

    async def ListVims(self, request: pb.ListRequest, context: Context) -> AsyncIterator[pb.Vim]:
        """All."""

        async def items() -> AsyncIterator[pb.Vim]:
            for connection in self._registry.connections():
                yield vim_message(connection)

        async for item in streamed(context, items):
            yield item

    async def GetVim(self, request: pb.GetRequest, context: Context) -> pb.Vim:
        """One."""

        async def work() -> pb.Vim:
            return vim_message(self._registry.get(request.ref).connection)

        return await answered(context, work())

    async def GetInventory(self, request: pb.GetRequest, context: Context) -> pb.Document:
        """What it has, less what we hold, with costs as observed."""

        async def work() -> pb.Document:
            view = await self._view(request.ref)
            # ten thousand hosts take a second: off the event loop
            return await asyncio.to_thread(lambda: pb.Document(body=struct(view.whole())))

        return await answered(context, work())

    async def ReadInventory(
        self, request: pb.ReadInventoryRequest, context: Context
    ) -> AsyncIterator[pb.InventoryPiece]:
        """The same, in pieces."""

        async def items() -> AsyncIterator[pb.InventoryPiece]:
            view = await self._view(request.ref)
            yield await asyncio.to_thread(lambda: _piece(view.head()))
            pieces = iter(()) if request.summary_only else view.pieces()
            while piece := await asyncio.to_thread(_next, pieces):
                yield piece

        async for item in streamed(context, items):
            yield item

    async def _view(self, ref: str) -> InventoryView:
        connection = self._registry.get(ref).connection
        await self._expect_settled(connection)
        held = await self._resources.holdings()
        return await asyncio.to_thread(InventoryView.of, connection.inventory, held)

    async def _expect_settled(self, connection: VimConnection) -> None:
        if await connection.settled(SETTLE_S):
            return
        telling = connection.handshake is not None and connection.problem is None
        if telling and await connection.settled(TELLING_S):
            return
        name, found = connection.settings.name, connection.problem
        waited_s = SETTLE_S + (TELLING_S if telling else 0)
        raise problem(
            found.word if found else "vim-unreachable",
            f"VIM {name}: {found.detail}" if found else f"VIM {name} is not connected after {waited_s:.0f} s",
            instance=name,
        )

    async def AddVim(self, request: pb.AddVimRequest, context: Context) -> pb.Vim:
        """Connect another VIM; it is kept over restarts."""

        async def work() -> pb.Vim:
            config = json_format.MessageToDict(request.config)
            if request.kind.startswith("exec:"):
                # whoever may call would run any program as the manager's user
                raise problem("vim-kind", "kind: exec:PROGRAM is taken at the manager's start only (serve --vim)")
            settings = self._settings_of(request.name, request.kind, config)
            self._store.expect_key(settings.name, config)
            connection = self._registry.add(settings)
            try:
                await self._expect_settled(connection)
                await self._store.put(settings.name, settings.kind, config, connection.schema)
            except BaseException:  # also when the caller goes away: either it is on record, or it is not there
                await self._registry.remove(request.name)
                raise
            return vim_message(connection)

        return await answered(context, work())

    async def RemoveVim(self, request: pb.GetRequest, context: Context) -> pb.DeleteResponse:
        """Refused while something of ours is on it."""

        async def work() -> pb.DeleteResponse:
            self._registry.get(request.ref)
            count = await self._resources.count_on(request.ref)
            if count:
                raise problem(
                    "conflict",
                    f"VIM {request.ref} holds {count} resources of ours: terminate what runs there first",
                    instance=request.ref,
                )
            await self._registry.remove(request.ref)
            await self._store.delete(request.ref)
            return pb.DeleteResponse()

        return await answered(context, work())


def _piece(document: Mapping[str, Any]) -> pb.InventoryPiece:
    return pb.InventoryPiece(json=json.dumps(document, sort_keys=True, ensure_ascii=False))


def _next(pieces: Iterator[Mapping[str, Any]]) -> pb.InventoryPiece | None:
    piece = next(pieces, None)
    return _piece(piece) if piece is not None else None


def vim_message(connection: VimConnection) -> pb.Vim:
    """A VIM as people see it."""
    handshake = connection.handshake
    return pb.Vim(
        name=connection.settings.name,
        kind=connection.settings.kind,
        state=connection.state.value,
        plugin_version=handshake.version if handshake else "",
        runtimes=[vim.Runtime.Name(r).removeprefix("RUNTIME_") for r in (handshake.runtimes if handshake else ())],
        capabilities=[
            vim.Capability.Name(c).removeprefix("CAPABILITY_") for c in (handshake.capabilities if handshake else ())
        ],
        restarts=connection.restarts,
        detail=connection.problem.detail if connection.problem else "",
    )
