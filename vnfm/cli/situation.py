"""What is known of a chain at this moment, gathered in the background from several streams."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import grpc

from vnfm.cli import shapes
from vnfm.cli.client import Client
from vnfm.cli.errors import CliError, Unreachable, is_transient, problem_of, status_of, translate
from vnfm.pb.nfvo.v1 import nfvo_pb2

EVENTS_KEPT = 8
LOOK_S = 1.0
LOOK_CLOSELY_S = 0.3  # while an operation runs
AWAY_S = 0.5
QUIET_S = 2.0  # before what was refused is asked for again
CALL_S = 30.0


@dataclass(slots=True)
class Situation:
    """The latest of everything; empty until it is known. `away_since` is by time.monotonic()."""

    chain: dict[str, Any]
    stats: dict[str, Any] = field(default_factory=dict)
    stats_refused: str = ""
    trace: dict[str, Any] = field(default_factory=dict)
    trace_refused: str = ""
    traced_at: float = 0.0
    operation: nfvo_pb2.VnfLcmOpOcc | None = None
    events: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT))
    away_since: float | None = None
    gone: str = ""  # why there is nothing more to see
    samples: int = 0


class Gatherer:
    """Keeps a Situation current until it is stopped. A manager that is away is waited for, for ever."""

    def __init__(self, client: Client, situation: Situation, interval_s: float, probe_s: float) -> None:
        self.situation = situation
        self.changed = threading.Event()
        self._client = client
        self._ref = str(situation.chain["id"])
        self._name = str(situation.chain["name"])
        self._interval_s = interval_s
        self._probe_s = probe_s
        self._stop = threading.Event()
        self._cursor = 0

    def start(self) -> None:
        """A thread a source; they end with the process."""
        works = [self._look, self._count, self._listen] + ([self._probe] if self._probe_s else [])
        for work in works:
            threading.Thread(target=self._again, args=(work,), daemon=True, name=f"watch {work.__name__}").start()

    def stop(self) -> None:
        """Nothing more is taken."""
        self._stop.set()

    def _again(self, work: Callable[[], None]) -> None:
        """Run `work` until the end, over the manager's absences."""
        while not self._stop.is_set():
            try:
                work()
            except (grpc.RpcError, CliError, ValueError) as error:  # ValueError: the channel was closed
                self._failed(error)
                self._stop.wait(AWAY_S)

    def _failed(self, error: Exception) -> None:
        if self._stop.is_set():
            return
        away = isinstance(error, Unreachable) or (isinstance(error, grpc.RpcError) and is_transient(error))
        if away and self.situation.away_since is None:
            self.situation.away_since = time.monotonic()
            self.changed.set()

    def _here(self) -> None:
        self.situation.away_since = None
        self.changed.set()

    def _look(self) -> None:
        """The chain's record and its open operation."""
        while not self._stop.is_set():
            try:
                message = self._call(self._client.chains.GetChain, nfvo_pb2.GetRequest(ref=self._ref))
            except grpc.RpcError as error:
                if status_of(error)[0] is grpc.StatusCode.NOT_FOUND:
                    self.situation.gone = f"chain {self._name} is no longer there"
                    self.changed.set()
                    self._stop.set()
                    return
                raise
            data = shapes.chain(message)
            open_id = data.get("open_operation")
            operation = (
                self._call(self._client.lifecycle.GetOpOcc, nfvo_pb2.GetRequest(ref=open_id)) if open_id else None
            )
            self.situation.chain, self.situation.operation = data, operation
            self._here()
            self._stop.wait(LOOK_CLOSELY_S if operation and operation.state != "FAILED_TEMP" else LOOK_S)

    def _count(self) -> None:
        """Samples of counters. What refuses them (a VIM without, a chain that is not up) is asked again."""
        request = nfvo_pb2.WatchStatsRequest(ref=self._ref, interval_ms=round(self._interval_s * 1000))
        try:
            for answer in self._stream(self._client.chains.WatchChainStats, request):
                self.situation.stats, self.situation.stats_refused = shapes.body(answer.body), ""
                self.situation.samples += 1
                self._here()
        except grpc.RpcError as error:
            self.situation.stats = {}
            self.situation.stats_refused = self._refusal(error)
            self._stop.wait(QUIET_S)

    def _probe(self) -> None:
        """A traced packet now and then."""
        while not self._stop.is_set():
            try:
                answer = self._call(self._client.chains.TraceChain, nfvo_pb2.TraceChainRequest(ref=self._ref))
                self.situation.trace, self.situation.trace_refused = shapes.body(answer.body), ""
            except grpc.RpcError as error:
                self.situation.trace, self.situation.trace_refused = {}, self._refusal(error)
            self.situation.traced_at = time.monotonic()
            self.changed.set()
            self._stop.wait(self._probe_s)

    def _listen(self) -> None:
        """What is announced of this chain."""
        request = nfvo_pb2.WatchEventsRequest(after=self._cursor)
        for event in self._stream(self._client.lifecycle.WatchEvents, request):
            self._cursor = event.cursor
            data = shapes.event(event)
            if concerns(data["body"], self._ref, self._name):
                self.situation.events.append(data)
                self.changed.set()

    def _refusal(self, error: grpc.RpcError) -> str:
        """Raises what only says that the manager is away."""
        if is_transient(error) and problem_of(error) is None:
            raise error
        return str(translate(error, self._client.endpoint))

    def _call(self, method: Any, request: Any) -> Any:
        return method(request, timeout=CALL_S, metadata=self._client.metadata)

    def _stream(self, method: Any, request: Any) -> Iterable[Any]:
        answers: Iterable[Any] = method(request, metadata=self._client.metadata)
        for answer in answers:
            if self._stop.is_set():
                return
            yield answer


def concerns(body: dict[str, Any], chain_id: str, name: str) -> bool:
    """Whether a notification is about this chain; its VNFs' own lines of the same operation are left out."""
    target = str(body.get("target", ""))
    mine = chain_id == body.get("chain_id") or target == name or target.startswith(f"{name}/")
    return mine and not (body.get("alias") and body.get("vnf_lcm_op_occ_id"))
