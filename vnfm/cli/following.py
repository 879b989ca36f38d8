"""A stream that is taken up again after the manager was away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import grpc

from vnfm.cli.client import Client
from vnfm.cli.errors import Unreachable, is_transient, translate
from vnfm.cli.waiting import BACK_OFF_S, GIVE_UP_S

A = TypeVar("A")


def follow_on(
    client: Client,
    begin: Callable[[], Iterable[A]],
    note: Callable[[str], None],
    *,
    patient: bool = False,
    ends: bool = False,
    give_up_s: float | None = GIVE_UP_S,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[A]:
    """What `begin` streams; begun again when the manager went away. A stream that ends by itself ends this one where it
    `ends`, else it broke. `note` is told that the manager is away and back. Raises CliError; also at once where there
    never was a manager, unless `patient`."""
    lost_at: float | None = None
    attempt, heard = 0, patient
    while True:
        try:
            for answer in begin():
                if lost_at is not None:
                    note(f"the manager is back after {clock() - lost_at:.1f} s")
                lost_at, attempt, heard = None, 0, True
                yield answer
            if ends:
                return
        except grpc.RpcError as error:
            if not is_transient(error) or not heard:
                raise translate(error, client.endpoint) from error
        except Unreachable:
            if not heard:
                raise
        if lost_at is None:
            lost_at = clock()
            note("the manager is not reachable, trying again")
        elif give_up_s is not None and clock() - lost_at > give_up_s:
            raise Unreachable(client.endpoint, f"waited {give_up_s:.0f} s for it to come back")
        sleep(BACK_OFF_S[min(attempt, len(BACK_OFF_S) - 1)])
        attempt += 1
