"""Waiting for operations and watching events: shared by the servicers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from vnfm.api.pulses import Pulses
from vnfm.api.views import lane_messages, operation_message, struct
from vnfm.lcm.operation import Operation
from vnfm.lcm.runner import Runner
from vnfm.model.lcm import LcmOperationState
from vnfm.model.problem import problem
from vnfm.pb.nfvo.v1 import nfvo_pb2 as pb
from vnfm.store.orders import OrderStore

ID_LENGTH = 36  # of a UUID
LOOK_AGAIN_S = 0.5  # words of plugins change without a notice
READ_AGAIN_S = 10.0  # should a change ever not be told
EVENTS_S = 1.0


class OperationViews:
    """Operations as messages, with the latest words of what runs."""

    def __init__(self, orders: OrderStore, runner: Runner, pulses: Pulses) -> None:
        self._orders = orders
        self._pulses = pulses
        self._runner = runner

    async def one(self, tenant: str, ref: str) -> pb.VnfLcmOpOcc:
        """By id; `ID:ALIAS` is the lane of a VNF."""
        operation_ref, _, lane = ref.partition(":")
        operation = await self._orders.operation(tenant, operation_ref)
        return self._view(operation, lane)

    def message(self, operation: Operation) -> pb.VnfLcmOpOcc:
        """With words."""
        return operation_message(operation, self._runner.words(operation.id))

    async def all(self, tenant: str) -> AsyncIterator[pb.VnfLcmOpOcc]:
        """Newest first; each chain operation is followed by its lanes."""
        async for operation in self._orders.operations(tenant):
            yield self.message(operation)
            for lane in lane_messages(operation, self._runner.words(operation.id)):
                yield lane

    async def watch(self, tenant: str, ref: str) -> AsyncIterator[pb.VnfLcmOpOcc]:
        """Each change until it is final or FAILED_TEMP."""
        operation_ref, _, lane = ref.partition(":")
        whole = len(operation_ref) == ID_LENGTH  # then it is listened to without looking first for what is meant
        known_id = operation_ref if whole else (await self._orders.operation(tenant, operation_ref)).id
        with self._pulses.listening(known_id) as ear:
            operation = await self._orders.operation(tenant, known_id)
            last, read_at, wish = b"", time.monotonic(), operation.cancel_mode
            while True:
                message = self._view(operation, lane)
                data = message.SerializeToString(deterministic=True)
                if data != last:
                    last = data
                    yield message
                if operation.state.final or operation.state is LcmOperationState.FAILED_TEMP:
                    return
                news, told = await ear.wait(LOOK_AGAIN_S)
                if told:
                    operation = replace(told, cancel_mode=told.cancel_mode or wish)
                elif news or time.monotonic() - read_at > READ_AGAIN_S:
                    operation = await self._orders.operation(tenant, known_id)
                    read_at, wish = time.monotonic(), operation.cancel_mode

    async def events(self, tenant: str, after: int) -> AsyncIterator[pb.Event]:
        """Notifications from a cursor on, for ever."""
        while True:
            rows = await self._orders.events(tenant, after)
            for row in rows:
                after = row["cursor"]
                yield event_message(row)
            if not rows:
                await self._runner.changed(EVENTS_S)
                await asyncio.sleep(0)

    def _view(self, operation: Operation, lane: str) -> pb.VnfLcmOpOcc:
        words = self._runner.words(operation.id)
        if not lane:
            return operation_message(operation, words)
        found = next((m for m in lane_messages(operation, words) if m.id == f"{operation.id}:{lane}"), None)
        if found is None:
            raise problem("not-found", f"operation {operation.id} has no VNF {lane!r}", instance=lane)
        return found


def event_message(row: dict[str, Any]) -> pb.Event:
    """One notification."""
    message = pb.Event(cursor=row["cursor"], type=row["type"], body=struct(row["body"]))
    message.at.FromDatetime(datetime.fromisoformat(row["at"]))
    return message
