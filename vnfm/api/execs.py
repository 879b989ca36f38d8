"""Commands in VNFCs and at the ends of chains, passed through to the VIM that runs them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import grpc.aio

from vnfm.api.targets import choose_vnfc, find_vnf
from vnfm.model.problem import ProblemError, problem
from vnfm.model.resources import Handle
from vnfm.pb.nfvo.v1 import nfvo_pb2 as pb
from vnfm.pb.vim.v1 import vim_pb2 as vim
from vnfm.store.orders import OrderStore
from vnfm.store.resources import ResourceStore
from vnfm.vim.convert import handle_out
from vnfm.vim.errors import problem_of, unexplained
from vnfm.vim.registry import VimRegistry

CONNECT_S = 15.0


class Execs:
    """Finds where to run and carries the streams."""

    def __init__(self, orders: OrderStore, resources: ResourceStore, vims: VimRegistry) -> None:
        self._orders = orders
        self._resources = resources
        self._vims = vims

    async def in_vnf(self, tenant: str, requests: AsyncIterator[pb.ExecVnfInput]) -> AsyncIterator[pb.ExecVnfOutput]:
        """The first message says where and what; `ref` may be `CHAIN/ALIAS`."""
        first = await anext(aiter(requests), None)
        if first is None or not first.command:
            raise problem("bad-request", "command: expected in the first message")
        instance = await find_vnf(self._orders, tenant, first.ref)
        vnfc = choose_vnfc(instance.vnfcs, first.vnfc, instance.name)
        handles = {r.id: r.handle for r in await self._resources.of_subject(instance.chain_id or instance.id)}
        handle = handles.get(vnfc.id) or Handle(vnfc.id)
        async for output in self._run(vnfc.vim, handle, first.command, first, requests):
            yield output

    async def at_end(self, tenant: str, requests: AsyncIterator[pb.ExecSapInput]) -> AsyncIterator[pb.ExecVnfOutput]:
        """At an end of a chain."""
        first = await anext(aiter(requests), None)
        if first is None or not first.command:
            raise problem("bad-request", "command: expected in the first message")
        chain = await self._orders.chain(tenant, first.ref)
        ends = {e["name"]: e for e in chain.body.get("ends", [])}
        end = ends.get(first.sap)
        if end is None:
            known = ", ".join(ends) or "none"
            raise problem(
                "not-found", f"chain {chain.name} has no end {first.sap!r}; it has: {known}", instance=first.sap
            )
        known_resources = {r.id: r for r in await self._resources.of_subject(chain.id)}
        found = known_resources.get(end["resource_id"])
        if found is None:
            raise problem("conflict", f"chain {chain.name} is not instantiated", instance=chain.id)
        async for output in self._run(found.vim, found.handle, first.command, first, requests):
            yield output

    async def _run(
        self,
        vim_name: str,
        handle: Handle,
        command: Sequence[str],
        first: pb.ExecVnfInput | pb.ExecSapInput,
        rest: AsyncIterator[pb.ExecVnfInput] | AsyncIterator[pb.ExecSapInput],
    ) -> AsyncIterator[pb.ExecVnfOutput]:
        client = self._vims.get(vim_name)
        channel, _ = await client.connection.channel(CONNECT_S)

        async def inputs() -> AsyncIterator[vim.ExecInput]:
            yield vim.ExecInput(compute=handle_out(handle), command=command, stdin=first.stdin, eof=first.eof)
            async for item in rest:
                yield vim.ExecInput(stdin=item.stdin, eof=item.eof)

        try:
            async for output in client.exec(channel, inputs()):
                yield pb.ExecVnfOutput(
                    stdout=output.stdout, stderr=output.stderr, exit_code=output.exit_code, exited=output.exited
                )
        except grpc.aio.AioRpcError as error:
            found = problem_of(error, vim_name)
            raise ProblemError(found) if found else unexplained(error, vim_name, "Exec") from error
        except asyncio.CancelledError:
            # grpc reports a closed channel as cancellation of the call: only our caller's cancel is passed on
            task = asyncio.current_task()
            if task and task.cancelling():
                raise
            raise problem("vim-unreachable", f"VIM {vim_name} was lost while the command ran") from None
