"""Ids from blocks of randomness are as good as ids one by one."""

from __future__ import annotations

import threading
from uuid import UUID

from vnfm.freshids import BLOCK, FreshIds


def test_no_id_comes_twice_whichever_thread_asks_and_each_is_a_random_uuid() -> None:
    fresh, found = FreshIds(), [set[str]() for _ in range(4)]

    def ask(mine: set[str]) -> None:
        mine.update(fresh() for _ in range(3 * BLOCK))

    threads = [threading.Thread(target=ask, args=(mine,)) for mine in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    every = set[str]().union(*found)
    assert len(every) == 4 * 3 * BLOCK
    assert {UUID(each).version for each in every} == {4}
    assert all(str(UUID(each)) == each for each in every)
