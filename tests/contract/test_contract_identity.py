"""Identity and inventory."""

from __future__ import annotations

import pytest
from contract_client import CALL_S, Caller, Refused
from contract_targets import Target

from vnfm.pb.vim.v1 import vim_pb2 as pb


def test_the_highest_common_version_is_picked(caller: Caller) -> None:
    answer = caller.handshake(0, 1, 999)
    assert answer.api_version == 1
    assert answer.name
    assert answer.version
    assert pb.CAPABILITY_LINK in answer.capabilities
    assert answer.runtimes
    assert answer.config_schema.fields


def test_no_common_version_is_refused_for_good(caller: Caller) -> None:
    with pytest.raises(Refused) as refused:
        caller.handshake(998, 999)
    assert refused.value.code.name == "FAILED_PRECONDITION"
    assert refused.value.retry == "NEVER"
    assert refused.value.details_count == 1


def test_a_configuration_without_sense_is_refused_and_the_old_one_goes_on(caller: Caller, target: Target) -> None:
    with pytest.raises(Refused) as refused:
        caller.configure(target, no_such_option_anywhere=True)
    assert refused.value.code.name == "INVALID_ARGUMENT"
    assert "no_such_option_anywhere" in refused.value.problem.detail
    assert caller.snapshot()


def test_an_inventory_comes_whole(caller: Caller) -> None:
    chunks = caller.snapshot()
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert len({chunk.version for chunk in chunks}) == 1
    assert all(chunk.ByteSize() <= 1 << 20 for chunk in chunks)
    hosts = [host for chunk in chunks for host in chunk.hosts]
    ids = [host.id for host in hosts]
    assert ids
    assert len(set(ids)) == len(ids)
    for host in hosts:
        assert host.arch
        assert not host.parent_id or host.parent_id in ids
        assert host.cells
        assert all(cell.cpu_used_by_others_milli <= cell.cpu_milli for cell in host.cells)
        assert all(cell.memory_used_by_others_bytes <= cell.memory_bytes for cell in host.cells)
        costs = {cost.runtime: cost for cost in host.costs}
        assert set(costs) == set(host.runtimes), "each runtime has its costs"
        assert all(cost.start_ms > 0 and cost.memory_bytes > 0 for cost in costs.values())
        refused = {refusal.runtime: refusal.reason for refusal in host.refusals}
        assert not set(refused) & set(host.runtimes)
        assert all(refused.values()), "a runtime that is not offered has a reason"
        assert set(refused) | set(host.runtimes) == {pb.RUNTIME_VM, pb.RUNTIME_KATA, pb.RUNTIME_CONTAINER}


def test_versions_rise_and_each_change_is_sent(caller: Caller, target: Target) -> None:
    watch = caller.inventory.WatchInventory(pb.WatchInventoryRequest(), timeout=CALL_S)
    first = _next_whole(watch)
    caller.configure(target)
    assert _next_whole(watch) > first
    watch.cancel()


def _next_whole(watch: object) -> int:
    for chunk in watch:  # type: ignore[attr-defined]
        if chunk.last:
            return int(chunk.version)
    raise AssertionError("the stream ended")
