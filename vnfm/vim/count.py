"""One CountProbe call: a VIM counts what another one sends, from `begin` to `counts`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from vnfm.model.problem import ProblemError, problem
from vnfm.model.resources import ProbeResult
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pb.vim.v1 import vim_pb2_grpc as rpc
from vnfm.vim import convert
from vnfm.vim.errors import problem_of, unexplained

READY_S = 30.0
COUNT_S = 30.0


class Count:
    """Implements vnfm.lcm.ports.Counting. A plugin that is lost meanwhile has seen only a part: the probe fails with
    `vim-unreachable` and may be made again."""

    def __init__(self, stub: rpc.NetworkStub, vim: str) -> None:
        self._vim = vim
        self._asked: asyncio.Queue[pb.CountProbeRequest] = asyncio.Queue()
        self._call: Any = stub.CountProbe(self._questions())  # type: ignore[arg-type]  # the stubs know no async ones

    async def _questions(self) -> AsyncIterator[pb.CountProbeRequest]:
        while True:
            yield await self._asked.get()

    async def begin(self, begin: pb.CountProbeRequest.Begin) -> None:
        """Returns once nothing is missed any more."""
        await self._answer(pb.CountProbeRequest(begin=begin), READY_S)

    async def counts(self, first_sequence: int, packets: int, trace: bool) -> ProbeResult:
        """What was seen of those packets."""
        end = pb.CountProbeRequest.End(first_sequence=first_sequence, packets=packets, trace=trace)
        answer = await self._answer(pb.CountProbeRequest(end=end), COUNT_S)
        return convert.probe_in(answer.counts)

    async def _answer(self, question: pb.CountProbeRequest, patience_s: float) -> pb.CountProbeResponse:
        self._asked.put_nowait(question)
        try:
            async with asyncio.timeout(patience_s):
                answer = await self._call.read()
        except grpc.aio.AioRpcError as error:
            found = problem_of(error, self._vim)
            raise ProblemError(found) if found else unexplained(error, self._vim, "CountProbe") from error
        except TimeoutError:
            raise problem("vim-unreachable", f"VIM {self._vim} does not count a probe", instance=self._vim) from None
        except asyncio.CancelledError:
            # grpc reports a closed channel as cancellation of the call: only our own cancel is passed on
            task = asyncio.current_task()
            if task and task.cancelling():
                raise
            detail = f"VIM {self._vim} was lost during CountProbe"
            raise problem("vim-unreachable", detail, instance=self._vim) from None
        if not isinstance(answer, pb.CountProbeResponse):
            raise problem("vim-failed", f"VIM {self._vim} ended CountProbe without an answer", instance=self._vim)
        return answer

    def close(self) -> None:
        """Let go."""
        self._call.cancel()
