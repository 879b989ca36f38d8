"""All that runs, as of one moment: of every tenant, with what realizes it and what is under way on it."""

from __future__ import annotations

from pathlib import Path

from store_bench import NOW, Bench, new, played

from vnfm.lcm.machine import St
from vnfm.lcm.operation import Design, LogEntry, Operation, StepOutput
from vnfm.lcm.steps import Step, StepKind, mint
from vnfm.model.lcm import LcmOperationState, LcmOperationType
from vnfm.model.placement import Runtime
from vnfm.model.resources import ComputeSpec, Handle, Resource, ResourceKind, ResourceState
from vnfm.store.orders import NewInstance, Order
from vnfm.store.standing import StandingStore


async def stands(bench: Bench, op: Operation, alias: str) -> Operation:
    """One VNFC on host h, and the operation COMPLETED."""
    vnf = next(i for i, lane in op.subjects.items() if lane)
    resource_id = mint(op.id, "compute")
    spec = ComputeSpec(resource_id, alias, "h", Runtime.CONTAINER, 10, 1 << 20)
    step = Step(f"vnfc {alias}/v/0", StepKind.COMPUTE, "c", "m", (), alias, vnf, "v", compute=spec)
    op = await bench.journal.grant(op, Design((step,)), NOW)
    made = StepOutput(Resource(Handle(resource_id, "native"), ResourceKind.COMPUTE, ResourceState.RUNNING))
    op = await bench.journal.append(op, (LogEntry(step.key, St.STARTED, NOW),))
    op = await bench.journal.append(op, (LogEntry(step.key, St.DONE, NOW, made),))
    return await bench.journal.enter(op, LcmOperationState.COMPLETED, NOW)


def test_chains_and_vnfs_of_all_tenants_are_told_once_they_stand(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        population = StandingStore(bench.database, bench.packages)
        package = await bench.package(vnfd_id="fw")
        assert await population.running() == ()
        await stands(bench, await bench.chain(name="b"), "fw")
        await stands(bench, await bench.chain("other", "a"), "fw")
        await bench.chain(name="not-granted-yet")
        made = NewInstance(new(), "alone", "", "fw", package, "")
        vnf = (await bench.orders.create_vnf("t", made, "", NOW)).id
        await bench.vnf()  # an identifier, no more
        await stands(bench, await bench.order(vnf), "vnf")
        everyone = await population.running()
        assert [(r.tenant, r.name, bool(r.chain)) for r in everyone] == [
            ("other", "a", True),
            ("t", "b", True),
            ("t", "alone", False),
        ]
        assert all([(v.vim, v.spec.host) for v in r.stands.vnfcs] == [("m", "h")] for r in everyone)
        assert [sorted(r.packages) for r in everyone] == [[], [], ["fw"]]  # the chains' package was never onboarded
        assert not any(r.busy for r in everyone)

    played(tmp_path, story)


def test_only_what_some_vnfs_belong_to_is_read_where_they_are_named(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        population = StandingStore(bench.database, bench.packages)
        first = await stands(bench, await bench.chain(name="a"), "fw")
        await stands(bench, await bench.chain(name="b"), "fw")
        vnf = await bench.vnf()
        await stands(bench, await bench.order(vnf), "vnf")
        of_chain = next(i for i, lane in first.subjects.items() if lane)
        assert [r.name for r in await population.running([of_chain])] == ["a"]
        assert [r.id for r in await population.running([vnf])] == [vnf]
        assert [r.name for r in await population.running([of_chain, vnf])] == ["a", "vnf"]
        assert await population.running(["nobody"]) == ()

    played(tmp_path, story)


def test_a_chain_that_is_being_changed_names_the_operation(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        created = await stands(bench, await bench.chain(), "fw")
        order = Order(new(), "t", LcmOperationType.CHAIN_TERMINATE, "c", created.target_id, dict(created.subjects))
        open_one = await bench.orders.order(order, NOW)
        (one,) = await StandingStore(bench.database, bench.packages).running()
        assert one.busy == open_one.id

    played(tmp_path, story)
