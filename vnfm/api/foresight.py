"""Placement: looking ahead over all that runs. Every answer is a plan; what carries it out are the other services."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from itertools import islice
from typing import Any

import grpc.aio

from vnfm.api.errors import answered, streamed, tenant_of
from vnfm.api.targets import find_vnf
from vnfm.api.views import struct
from vnfm.graph.chainfile import read_chain
from vnfm.lcm.foresight.asking import Document, Foresight, Progress, Then
from vnfm.lcm.foresight.replacing import Wish
from vnfm.model.problem import problem
from vnfm.pb.nfvo.v1 import nfvo_pb2 as pb
from vnfm.pb.nfvo.v1 import nfvo_pb2_grpc as rpc
from vnfm.placement.whatif import More, Supposition
from vnfm.store.orders import OrderStore

Context = grpc.aio.ServicerContext[Any, Any]
PIECE = 500
LISTS = ("chains", "moves", "untold")
MOST_MOVES = 20


class PlacementServicer(rpc.PlacementServicer):
    """vnfm.nfvo.v1.Placement."""

    def __init__(self, foresight: Foresight, orders: OrderStore) -> None:
        self._foresight = foresight
        self._orders = orders

    async def WhatIf(self, request: pb.WhatIfRequest, context: Context) -> AsyncIterator[pb.ForesightPiece]:
        """What becomes of what runs."""

        async def items() -> AsyncIterator[pb.ForesightPiece]:
            tenant, then = tenant_of(context), None
            if request.then_chain:
                then = Then(read_chain(request.then_chain, request.then_filename or "chain.yaml"), tenant)
            async with aclosing(_pieces(self._foresight.what_if(supposition(request), then))) as pieces:
                async for piece in pieces:
                    yield piece

        async for piece in streamed(context, items):
            yield piece

    async def Defragment(self, request: pb.DefragmentRequest, context: Context) -> AsyncIterator[pb.ForesightPiece]:
        """What had better be moved."""
        async for piece in streamed(context, lambda: _pieces(self._foresight.defragment(request.most or MOST_MOVES))):
            yield piece

    async def PlanReplacement(self, request: pb.ReplacementRequest, context: Context) -> pb.Document:
        """Where VNFs of one chain would go."""

        async def work() -> pb.Document:
            tenant = tenant_of(context)
            if not request.refs:
                raise problem("bad-request", "refs: expected at least one VNF")
            found = [(await find_vnf(self._orders, tenant, ref)).id for ref in request.refs]
            wish = Wish(tuple(request.to), tuple(request.avoid), request.vim)
            return pb.Document(body=struct(await self._foresight.replacement(found, wish)))

        return await answered(context, work())


def supposition(request: pb.WhatIfRequest) -> Supposition:
    """Raises ProblemError `bad-request` where nothing is supposed."""
    asked = Supposition(
        drain=tuple(request.drain),
        fail_hosts=tuple(request.fail_hosts),
        fail_zones=tuple(request.fail_zones),
        fail_sites=tuple(request.fail_sites),
        fail_vims=tuple(request.fail_vims),
        add=tuple(More(a.count, a.like) for a in request.add_hosts),
    )
    if asked == Supposition() and not request.then_chain:
        raise problem(
            "bad-request",
            "nothing is supposed; expected one of drain, fail_hosts, fail_zones, fail_sites, fail_vims, add_hosts, "
            "then_chain",
        )
    return asked


async def _pieces(words: AsyncGenerator[Progress | Document, None]) -> AsyncGenerator[pb.ForesightPiece, None]:
    async with aclosing(words):
        async for word in words:
            if isinstance(word, Progress):
                told = pb.ForesightProgress(done=word.done, total=word.total, doing=word.doing)
                yield pb.ForesightPiece(progress=told)
                continue
            for piece in cut(word):
                yield pb.ForesightPiece(json=json.dumps(piece, sort_keys=True, ensure_ascii=False))


def cut(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """All but the lists, each of which begins empty; then the lists, piece by piece."""
    yield {name: [] if name in LISTS else value for name, value in document.items()}
    for name in LISTS:
        left = iter(document.get(name, ()))
        while piece := list(islice(left, PIECE)):
            yield {name: piece}
