"""What stands of chains and VNFs: kept with the outcome, read out of old creations, migrated to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text, update
from store_bench import CHAIN, NOW, Bench, new, played

import vnfm.store
from vnfm.lcm.changes import change_params, modify_params
from vnfm.lcm.machine import St
from vnfm.lcm.operation import Design, Desired, LogEntry, Operation, StepOutput
from vnfm.lcm.steps import Removal, Step, StepKind, mint
from vnfm.model.change import Insert, Remove, Swap
from vnfm.model.lcm import InstantiationState, LcmOperationState, LcmOperationType
from vnfm.model.needs import Isolation
from vnfm.model.placement import Runtime
from vnfm.model.problem import ProblemError
from vnfm.model.realization import NOTHING_STANDS
from vnfm.model.resources import (
    ComputeSpec,
    Handle,
    HopSpec,
    LinkSpec,
    PathSpec,
    PortSpec,
    Resource,
    ResourceKind,
    ResourceState,
    SapSpec,
)
from vnfm.store import tables as t
from vnfm.store.database import Database, sqlite_url
from vnfm.store.orders import NewInstance, Order

S, T = LcmOperationState, LcmOperationType


def creation(op: Operation) -> tuple[Step, ...]:
    """A link, an end, a VNFC and a path."""
    vnf = next(i for i, lane in op.subjects.items() if lane)
    link, sap, compute, path = (mint(op.id, word) for word in ("link", "sap", "compute", "path"))
    port = PortSpec("left", link, ("10.1.0.1/24",))
    spec = ComputeSpec(compute, "fw", "h", Runtime.CONTAINER, 10, 1 << 20, ports=(port,))
    hops = (HopSpec("client", sap, None, "", "client"), HopSpec("fw", compute, Runtime.CONTAINER, "left", ""))
    return (
        Step("link client-fw", StepKind.LINK, "link client-fw", "m", link=LinkSpec(link, 1500, ("10.1.0.0/24",), ())),
        Step("end client", StepKind.SAP, "end client", "m", sap=SapSpec(sap, "client", "h", PortSpec("client", link))),
        Step("vnfc fw/v/0", StepKind.COMPUTE, "c", "m", (), "fw", vnf, "v", compute=spec),
        Step("path default", StepKind.PATH, "path default", "m", path=PathSpec(path, hops)),
    )


async def walk(bench: Bench, op: Operation, steps: tuple[Step, ...], **design: Any) -> Operation:
    """Grant, and all steps to DONE."""
    op = await bench.journal.grant(op, Design(steps, **design), NOW)
    op = await bench.journal.append(op, tuple(LogEntry(s.key, St.STARTED, NOW) for s in steps))
    return await bench.journal.append(op, tuple(LogEntry(s.key, St.DONE, NOW, output(s)) for s in steps))


def output(step: Step) -> StepOutput:
    kind = step.resource_kind or ResourceKind.COMPUTE
    return StepOutput(Resource(Handle(step.allocates, "native"), kind, ResourceState.RUNNING))


async def created(bench: Bench) -> Operation:
    op = await bench.chain()
    op = await walk(bench, op, creation(op))
    return await bench.journal.enter(op, S.COMPLETED, NOW)


async def order(bench: Bench, chain: Operation, change: Insert | Remove | Swap) -> Operation:
    fresh = None
    if not isinstance(change, Remove):
        fresh = NewInstance(new(), f"c/{change.alias}", change.alias, change.vnfd_id, "pkg", "")
    made = Order(new(), "t", T.CHAIN_UPDATE, "c", chain.target_id)
    return await bench.orders.change_chain(made, change, NOW, fresh)


def test_what_stands_is_kept_with_the_outcome(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        op = await bench.chain()
        op = await walk(bench, op, creation(op))
        assert (await bench.orders.chain("t", "c")).realization == NOTHING_STANDS
        await bench.journal.enter(op, S.COMPLETED, NOW)
        stands = (await bench.orders.chain("t", "c")).realization
        assert [x.key for x in stands.links] == ["client-fw"]
        assert [(v.alias, v.vdu_id, v.index, v.vim) for v in stands.vnfcs] == [("fw", "v", 0, "m")]
        assert [x.spec.name for x in stands.saps] == ["client"]
        assert [(p.name, p.spec.generation) for p in stands.paths] == [("default", 2)]  # its base and one start
        (vnf,) = await bench.orders.vnfs("t", op.target_id)
        assert [(v.id, v.native_id) for v in vnf.vnfcs] == [(stands.vnfcs[0].resource_id, "native")]

    played(tmp_path, story)


def test_a_chain_of_before_realizations_were_kept_is_read_out_of_its_creation(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await created(bench)
        kept = (await bench.orders.chain("t", "c")).realization
        await bench.database.write(lambda c: c.execute(update(t.chain).values(realization=None)))
        assert (await bench.orders.chain("t", "c")).realization == kept

    played(tmp_path, story)


def test_a_database_of_the_first_version_is_brought_up_with_what_it_holds(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path))
    config = Config()
    config.set_main_option("script_location", str(Path(vnfm.store.__file__).parent / "migrations"))
    chain_id, vnf_id = new(), new()
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(
            text(
                "INSERT INTO chain (id, tenant, name, state, descriptor, created_at) "
                'VALUES (:id, \'t\', \'old\', \'INSTANTIATED\', \'{"name": "old", "ends": [], "vnfs": [], '
                "\"paths\": []}', '2026-01-01T00:00:00+00:00')"
            ),
            {"id": chain_id},
        )
        connection.execute(
            text(
                "INSERT INTO vnf_instance (id, tenant, name, vnfd_id, package_id, instantiation_state, created_at) "
                "VALUES (:id, 't', 'v', 'v', 'p', 'INSTANTIATED', '2026-01-01T00:00:00+00:00')"
            ),
            {"id": vnf_id},
        )
    database.close()

    async def story(bench: Bench) -> None:
        chain = await bench.orders.chain("t", "old")
        assert (chain.id, chain.realization, chain.grants) == (chain_id, NOTHING_STANDS, 0)
        vnf = await bench.orders.vnf("t", "v")
        assert (vnf.id, vnf.isolation, vnf.scale_levels) == (vnf_id, None, {})

    played(tmp_path, story)


def test_grants_on_a_chain_are_counted(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        op = await created(bench)
        assert (await bench.orders.chain("t", "c")).grants == 1
        change = await order(bench, op, Insert("x", "x", after="fw"))
        await walk(bench, change, ())
        assert (await bench.orders.chain("t", "c")).grants == 2

    played(tmp_path, story)


@pytest.mark.parametrize("state", [S.COMPLETED, S.ROLLED_BACK])
def test_an_inserted_vnf_is_there_from_the_order_on_and_forgotten_by_a_rollback(tmp_path: Path, state: S) -> None:
    async def story(bench: Bench) -> None:
        op = await created(bench)
        change = await order(bench, op, Insert("x", "x", after="fw"))
        instances = {i.alias: i for i in await bench.orders.vnfs("t", op.target_id)}
        assert set(instances) == {"fw", "x"}
        assert set(change.subjects) == {op.target_id, *(i.id for i in instances.values())}
        assert change.params["change"] == change_params(Insert("x", "x", after="fw"))["change"]
        after = Desired(chain=CHAIN)
        change = await walk(bench, change, (), desired=after)
        change = await bench.journal.enter(change, state, NOW)
        left = {i.alias: i.instantiation_state for i in await bench.orders.vnfs("t", op.target_id)}
        done = {"fw": InstantiationState.INSTANTIATED, "x": InstantiationState.INSTANTIATED}
        assert left == (done if state is S.COMPLETED else {"fw": InstantiationState.INSTANTIATED})

    played(tmp_path, story)


@pytest.mark.parametrize("removal", [St.DONE, St.FAILED])
def test_a_vnf_that_left_is_forgotten_and_what_may_still_be_of_it_is_not(tmp_path: Path, removal: St) -> None:
    async def story(bench: Bench) -> None:
        op = await created(bench)
        stands = (await bench.orders.chain("t", "c")).realization
        change = await order(bench, op, Swap("fw", "other"))
        gone = stands.vnfcs[0].resource_id
        switch = Step(
            "path default", StepKind.PATH, "path", "m", path=stands.paths[0].spec, former=stands.paths[0].spec
        )
        step = Step(
            "remove", StepKind.TERMINATE, "remove it", "m", ("path default",), forward_only=True,
            removal=Removal(gone, ResourceKind.COMPUTE),
        )  # fmt: skip
        change = await bench.journal.grant(change, Design((switch, step)), NOW)
        for entry in (
            LogEntry("path default", St.STARTED, NOW),
            LogEntry("path default", St.DONE, NOW),
            LogEntry("remove", St.STARTED, NOW),
            LogEntry("remove", removal, NOW),
        ):
            change = await bench.journal.append(change, (entry,))
        await bench.journal.enter(change, S.COMPLETED if removal is St.DONE else S.FAILED, NOW)
        now = (await bench.orders.chain("t", "c")).realization
        assert now.vnfcs == ()
        assert [x.resource_id for x in now.leftovers] == ([] if removal is St.DONE else [gone])
        assert [x.ports for x in now.leftovers] == [stands.vnfcs[0].spec.ports] * len(now.leftovers)
        assert [i.vnfd_id for i in await bench.orders.vnfs("t", op.target_id)] == ["other"]

    played(tmp_path, story)


def test_changes_are_refused_of_a_chain_that_is_not_instantiated_or_unknown_names(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        op = await bench.chain()
        with pytest.raises(ProblemError, match="possible in INSTANTIATED only"):
            await order(bench, op, Remove("fw"))
        op = await walk(bench, op, creation(op))
        op = await bench.journal.enter(op, S.COMPLETED, NOW)
        with pytest.raises(ProblemError, match=r"insert\.after: 'nat' is neither"):
            await order(bench, op, Insert("x", "x", after="nat"))
        assert len(await bench.orders.vnfs("t", op.target_id)) == 1
        assert [o.type async for o in bench.orders.operations("t")] == [T.CHAIN_CREATE]

    played(tmp_path, story)


def test_a_modified_vnf_of_a_chain_is_planned_by_that_next_time(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        op = await created(bench)
        (vnf,) = await bench.orders.vnfs("t", op.target_id)
        made = Order(new(), "t", T.MODIFY_INFO, vnf.name, vnf.id, params=modify_params(isolation="kernel"))
        change = await bench.orders.modify(made, NOW)
        assert set(change.subjects) == {vnf.id, op.target_id}
        assert (await bench.orders.vnf("t", vnf.id)).isolation is None
        await bench.journal.enter(change, S.COMPLETED, NOW)
        assert (await bench.orders.vnf("t", vnf.id)).isolation is Isolation.KERNEL
        said = (await bench.orders.chain("t", "c")).descriptor.vnf("fw")
        assert said
        assert said.isolation is Isolation.KERNEL

    played(tmp_path, story)
