"""Looking at everything while other calls remove things: what goes just then is told as missing, never an error."""

from __future__ import annotations

import threading

from local_net_chains import Ids

from plugins.local.net import HostNetwork

ROUNDS = 150


def test_looking_while_another_call_removes(net: HostNetwork, ids: Ids) -> None:
    errors: list[Exception] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            try:
                net.query()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
                errors.append(error)
                return

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    try:
        for number in range(ROUNDS):
            resource_id = ids(f"racing{number % 3}")
            net.ensure_namespace(resource_id)
            net.remove_namespace(resource_id)
    finally:
        over.set()
        for looker in lookers:
            looker.join()
    assert errors == []
