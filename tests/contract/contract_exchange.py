"""A stream of many calls, for tests: what is said goes out as one batch, what is heard is kept by id."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence

from contract_client import CALL_S, Caller, refusals

from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pb.vim.v1 import vim_pb2_grpc as rpc


class Exchange:
    """One stream; every wait ends with CALL_S."""

    def __init__(self, caller: Caller) -> None:
        self._out: queue.SimpleQueue[pb.CallBatch | None] = queue.SimpleQueue()
        self._stream = rpc.CallsStub(caller.channel).Exchange(self._batches(), timeout=CALL_S)
        self.heard: list[pb.Answer] = []

    def _batches(self) -> Iterator[pb.CallBatch]:
        while (batch := self._out.get()) is not None:
            yield batch

    def say(self, *calls: pb.Call) -> None:
        """All in one message."""
        self._out.put(pb.CallBatch(calls=calls))

    def said_all(self) -> None:
        """No more calls come."""
        self._out.put(None)

    def next(self) -> Sequence[pb.Answer]:
        """The next message's answers; Refused where the stream ends with a status, StopIteration where it just ends."""
        with refusals():
            answers = list(next(self._stream).answers)
            self.heard += answers
            return answers
        raise AssertionError

    def ends(self, *ids: int) -> dict[int, pb.Answer]:
        """The last answers to these calls, waiting for them."""
        found = {a.id: a for a in self.heard if a.id in ids and a.WhichOneof("told") != "update"}
        while len(found) < len(ids):
            found |= {a.id: a for a in self.next() if a.id in ids and a.WhichOneof("told") != "update"}
        return found

    def rest(self) -> list[pb.Answer]:
        """Everything up to the stream's end."""
        with refusals():
            for batch in self._stream:
                self.heard += batch.answers
        return self.heard

    def go(self) -> None:
        """Away, whatever is in flight."""
        self._stream.cancel()
        self._out.put(None)
