"""Orders, names, request ids, tenants and events."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from store_bench import NOW, Bench, new, outbox, played

from vnfm.lcm.machine import St
from vnfm.lcm.operation import Operation
from vnfm.model.lcm import InstantiationState, LcmOperationState, LcmOperationType
from vnfm.model.package import OperationalState, UsageState
from vnfm.model.problem import ProblemError

S, T = LcmOperationState, LcmOperationType


async def instantiated(bench: Bench) -> str:
    op = await bench.granted()
    for state in (St.STARTED, St.DONE):
        from store_bench import entry

        op = await bench.journal.append(op, (entry(op, state),))
    await bench.journal.enter(op, S.COMPLETED, NOW)
    return op.target_id


# ---- names ----


@pytest.mark.parametrize("what", ["chain", "vnf", "operation", "package"])
def test_an_empty_name_means_nothing_at_all(tmp_path: Path, what: str) -> None:
    async def story(bench: Bench) -> None:
        await bench.packages.create(new(), "t", "", NOW)  # its VNFD id is empty so far
        calls = {
            "chain": bench.orders.chain("t", ""),
            "vnf": bench.orders.vnf("t", ""),
            "operation": bench.orders.operation("t", ""),
            "package": bench.packages.delete("t", "", NOW),
        }
        wanted = calls.pop(what)
        for call in calls.values():
            call.close()
        with pytest.raises(ProblemError, match="found nothing") as refused:
            await wanted
        assert refused.value.problem.word == "bad-request"
        assert len(await bench.packages.all("t")) == 1

    played(tmp_path, story)


def test_a_beginning_of_an_id_is_enough_where_it_is_not_ambiguous(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        one, other = "abcd1111" + new()[8:], "abcd2222" + new()[8:]
        for instance in (one, other):
            await bench.vnf(instance_id=instance)
        assert (await bench.orders.vnf("t", one[:6])).id == one
        with pytest.raises(ProblemError, match=r"any of 2 VNF instances") as refused:
            await bench.orders.vnf("t", "abcd")
        assert refused.value.problem.word == "ambiguous"
        with pytest.raises(ProblemError, match="there is no VNF instance 'abc'"):
            await bench.orders.vnf("t", "abc")  # too short to mean an id
        with pytest.raises(ProblemError, match="there is no"):
            await bench.orders.vnf("t", "%bcd")  # no pattern

    played(tmp_path, story)


# ---- tenants ----


def test_tenants_see_nothing_of_each_other(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        chain, vnf, package = await bench.chain("a"), await bench.vnf("a"), await bench.package("a")
        operation = await bench.order(vnf, tenant="a")
        for call in (
            bench.orders.chain("b", chain.target_id),
            bench.orders.chain("b", "c"),
            bench.orders.delete_chain("b", "c", NOW),
            bench.orders.vnf("b", vnf),
            bench.orders.delete_vnf("b", vnf, NOW),
            bench.orders.operation("b", operation.id),
            bench.orders.operation("b", operation.id[:8]),
            bench.packages.get("b", package),
            bench.packages.get("b", "v"),
            bench.packages.vnfd("b", package),
            bench.packages.error_of("b", package),
            bench.packages.change("b", package, OperationalState.DISABLED, NOW),
            bench.packages.delete("b", package, NOW),
            bench.packages.uploading("b", package, "strict"),
        ):
            with pytest.raises(ProblemError, match="there is no"):
                await call
        assert await bench.orders.chains("b") == []
        assert await bench.orders.vnfs("b") == []
        assert [o async for o in bench.orders.operations("b")] == []
        assert await bench.orders.events("b", 0) == []
        assert await bench.packages.all("b") == []
        assert await bench.packages.by_vnfd("b", ["v"]) == {}

    played(tmp_path, story)


def test_names_vnfds_and_request_ids_are_each_tenants_own(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        for tenant in ("a", "b"):
            await bench.chain(tenant, request_id="r")
            await bench.package(tenant)
        assert len(await bench.orders.chains("a")) == len(await bench.orders.chains("b")) == 1
        with pytest.raises(ProblemError, match="there is a chain 'c' already"):
            await bench.chain("a")

    played(tmp_path, story)


# ---- request ids ----


def test_the_same_request_again_is_the_same_occurrence(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        first, again = await asyncio.gather(bench.chain(request_id="r"), bench.chain(request_id="r"))
        assert first.id == again.id
        assert len(await bench.orders.chains("t")) == 1
        with pytest.raises(ProblemError, match="'r' was used for CHAIN_CREATE of c"):
            await bench.chain(name="d", request_id="r")

    played(tmp_path, story)


def test_a_vnfs_request_id_means_one_vnf(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        first = await bench.vnf(request_id="r")
        assert await bench.vnf(request_id="r") == first
        with pytest.raises(ProblemError, match="was used for a VNF of VNFD v"):
            await bench.vnf(vnfd_id="other", request_id="r")

    played(tmp_path, story)


@pytest.mark.parametrize("request_id", ["", "fresh"])
def test_a_fresh_request_id_does_not_go_past_the_state(tmp_path: Path, request_id: str) -> None:
    async def story(bench: Bench) -> None:
        up, down = await instantiated(bench), await bench.vnf()
        with pytest.raises(ProblemError, match="is INSTANTIATED: INSTANTIATE is possible in NOT_INSTANTIATED only"):
            await bench.order(up, request_id=request_id)
        with pytest.raises(ProblemError, match="is NOT_INSTANTIATED: TERMINATE is possible in INSTANTIATED only"):
            await bench.order(down, T.TERMINATE, request_id=request_id)

    played(tmp_path, story)


def test_of_two_orders_at_once_one_is_taken(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        vnf = await bench.vnf()
        both = await asyncio.gather(bench.order(vnf), bench.order(vnf), return_exceptions=True)
        assert sorted(type(o).__name__ for o in both) == ["Operation", "ProblemError"]

    played(tmp_path, story)


# ---- what stands may not be deleted ----


def test_only_what_is_down_and_idle_is_deleted(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        up = await instantiated(bench)
        with pytest.raises(ProblemError, match="terminate it first"):
            await bench.orders.delete_vnf("t", up, NOW)
        idle = await bench.vnf()
        op = await bench.order(idle)
        with pytest.raises(ProblemError, match="terminate it first"):
            await bench.orders.delete_vnf("t", idle, NOW)
        await bench.journal.enter(op, S.ROLLED_BACK, NOW)
        await bench.orders.delete_vnf("t", idle, NOW)
        chain = await bench.chain()
        with pytest.raises(ProblemError, match="is open"):
            await bench.orders.delete_chain("t", "c", NOW)
        (member,) = await bench.orders.vnfs("t", chain.target_id)
        with pytest.raises(ProblemError, match="belongs to a chain"):
            await bench.orders.delete_vnf("t", member.id, NOW)

    played(tmp_path, story)


def test_a_package_is_in_use_while_an_instance_of_it_exists(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        package = await bench.package()
        await bench.packages.change("t", package, OperationalState.DISABLED, NOW)
        from vnfm.store.orders import NewInstance

        assert (await bench.packages.get("t", package)).usage_state is UsageState.NOT_IN_USE
        made = await bench.orders.create_vnf("t", NewInstance(new(), "edge-1", "", "v", package, ""), "", NOW)
        assert (await bench.packages.get("t", package)).usage_state is UsageState.IN_USE
        with pytest.raises(ProblemError, match="IN_USE by the VNF instance edge-1") as refused:
            await bench.packages.delete("t", package, NOW)
        assert refused.value.problem.word == "conflict"
        op = await bench.order(made.id)
        with pytest.raises(ProblemError, match="IN_USE"):
            await bench.packages.delete("t", package, NOW)
        await bench.journal.enter(op, S.ROLLED_BACK, NOW)
        await bench.orders.delete_vnf("t", made.id, NOW)
        await bench.packages.delete("t", package, NOW)

    played(tmp_path, story)


def test_one_vnfd_onboarded_twice_at_once_is_taken_once(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        both = await asyncio.gather(bench.package(), bench.package(), return_exceptions=True)
        refused = [r for r in both if isinstance(r, ProblemError)]
        assert len(refused) == 1
        assert refused[0].problem.word == "already-exists"
        assert list(await bench.packages.by_vnfd("t", ["v"])) == ["v"]

    played(tmp_path, story)


# ---- the past ----


def test_a_long_past_is_read_newest_first_and_whole(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        vnf = await bench.vnf()
        ordered: list[Operation] = []
        for number in range(120):
            op = await bench.order(vnf, at=NOW + timedelta(seconds=number))
            ordered.append(await bench.journal.enter(op, S.ROLLED_BACK, NOW + timedelta(seconds=number)))
        listed = [o async for o in bench.orders.operations("t")]
        assert listed == ordered[::-1]

    played(tmp_path, story)


def test_events_come_after_their_cursor_and_old_ones_go(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await instantiated(bench)
        every = await bench.orders.events("t", 0)
        assert [e["cursor"] for e in every] == sorted({e["cursor"] for e in every})
        assert await bench.orders.events("t", every[2]["cursor"]) == every[3:]
        assert await bench.orders.prune_events(NOW) == 0
        assert await bench.orders.prune_events(NOW + timedelta(days=1)) == len(every) - 1
        assert await bench.orders.events("t", 0) == every[-1:]
        await bench.vnf()  # cursors never begin anew
        assert (await outbox(bench))[-1]["cursor"] > every[-1]["cursor"]

    played(tmp_path, story)


def test_times_carry_their_zone(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        op = await bench.granted()
        assert (await bench.journal.load(op.id)).started_at == NOW
        assert all(r["at"].endswith("+00:00") for r in await outbox(bench))

    played(tmp_path, story)


def test_an_instance_that_came_up_says_so(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        up = await instantiated(bench)
        assert (await bench.orders.vnf("t", up)).instantiation_state is InstantiationState.INSTANTIATED

    played(tmp_path, story)


def test_packages_that_are_kept_in_memory_follow_what_is_done_to_them(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        async def usable() -> bool:
            return "v" in await bench.packages.by_vnfd("t", ["v"])

        assert not await usable()
        package = await bench.package()
        assert await usable()
        assert await usable()
        await bench.packages.change("t", package, OperationalState.DISABLED, NOW)
        assert not await usable()
        await bench.packages.change("t", package, OperationalState.ENABLED, NOW)
        assert await usable()
        assert await bench.packages.by_vnfd("another", ["v"]) == {}
        await bench.packages.change("t", package, OperationalState.DISABLED, NOW)
        await bench.packages.delete("t", package, NOW)
        assert not await usable()

    played(tmp_path, story)
