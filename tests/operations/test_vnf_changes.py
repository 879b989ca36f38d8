"""VNFs are healed, scaled and modified, alone and in a chain; chains of several paths change."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from change_acts import Ordering, assert_true, chain_text, change, cloud, done, heal, scale, stood
from operation_asserts import remove
from operation_world import TENANT, Fault, Mode, World, clock

from vnfm.lcm import control
from vnfm.lcm.changes import heal_params, modify_params, scale_params
from vnfm.lcm.operation import Operation
from vnfm.lcm.outcome import outage_ms
from vnfm.model.change import Insert, Remove, Replace, Scale
from vnfm.model.lcm import LcmOperationState, LcmOperationType, VnfInstance
from vnfm.model.needs import Isolation
from vnfm.model.placement import Runtime
from vnfm.model.problem import ProblemError
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.store.orders import NewInstance, Order

T = LcmOperationType
FORK = """
chain: NAME
ends: {client: {cidr: 10.1.0.0/24}, server: {cidr: 10.9.0.0/24}}
vnfs: {a: {vnfd: one}, b: {vnfd: two}}
paths:
  web: {match: {ip_protocol: tcp, destination_port: 80}, hops: [client, a, b, server]}
  rest: {hops: [client, a, server]}
"""


async def alone(world: World, vnfd_id: str) -> VnfInstance:
    """A VNF that stands alone, instantiated."""
    package = (await world.packages.by_vnfd(TENANT, [vnfd_id]))[vnfd_id].package.id
    made = NewInstance(str(uuid.uuid4()), f"alone-{next(world.names)}", "", vnfd_id, package, "")
    vnf = await world.orders.create_vnf(TENANT, made, "", clock())
    await done(world, await ordered(world, vnf, T.INSTANTIATE))
    return await world.orders.vnf(TENANT, vnf.id)


async def ordered(world: World, vnf: VnfInstance, kind: T, params: dict[str, object] | None = None) -> Operation:
    subjects = {vnf.id: vnf.name}
    order = Order(str(uuid.uuid4()), TENANT, kind, vnf.name, vnf.id, subjects, params=params)
    if kind is T.MODIFY_INFO:
        return await world.orders.modify(order, clock())
    return await world.orders.order(order, clock())


async def own(world: World, vnf: VnfInstance) -> set[str]:
    """What the VIM has of it, by its stamp."""
    known = {r.id for r in await world.resources.of_subject(vnf.id)}
    has = {i for i, spec in cloud(world, "").items() if spec.owner.vnf_instance_id == vnf.id}  # type: ignore[attr-defined]
    assert has == known
    return has


async def assert_alone(world: World, vnf: VnfInstance) -> VnfInstance:
    stands = await world.orders.realization(TENANT, vnf.id)
    now = await world.orders.vnf(TENANT, vnf.id)
    assert {v.id for v in now.vnfcs} == {v.resource_id for v in stands.vnfcs}
    ids = {v.resource_id for v in stands.vnfcs} | {x.spec.resource_id for x in stands.links}
    assert await own(world, vnf) == ids
    return now


# ---- alone ----


@pytest.mark.parametrize("vnfd_id", ["one", "fw"])
def test_a_vnf_that_stands_alone_is_healed(play, vnfd_id: str) -> None:
    async def story(world: World) -> None:
        vnf = await alone(world, vnfd_id)
        params = heal_params([vnf.vnfcs[0].id], "tests", clock() - timedelta(seconds=1))
        healed = await done(world, await ordered(world, vnf, T.HEAL, params))
        assert 1000 <= (outage_ms(healed) or 0) < 30_000
        now = await assert_alone(world, vnf)
        assert len(now.vnfcs) == len(vnf.vnfcs)
        assert not {v.id for v in now.vnfcs} & {v.id for v in vnf.vnfcs}
        await done(world, await ordered(world, vnf, T.TERMINATE))
        assert await own(world, vnf) == set()

    play(story)


@pytest.mark.parametrize("mode", [Mode.FAILS, Mode.CRASH_AFTER])
def test_a_vnf_is_scaled_by_its_aspect_within_its_levels(play, mode: Mode) -> None:
    async def story(world: World) -> None:
        vnf = await alone(world, "one")
        assert vnf.scale_levels == {"size": 0}
        operation = await ordered(world, vnf, T.SCALE, scale_params("SCALE_OUT", "size", 2))
        operation = await world.run(operation, Fault(f"vnfc {vnf.name}/vdu/1", mode))
        if mode is Mode.FAILS:
            operation = await world.retry(operation)
        assert operation.state is LcmOperationState.COMPLETED
        now = await assert_alone(world, vnf)
        assert (len(now.vnfcs), now.scale_levels) == (3, {"size": 2})
        refused = await world.run(await ordered(world, vnf, T.SCALE, scale_params("SCALE_OUT")))
        assert refused.state is LcmOperationState.ROLLED_BACK
        assert refused.error is not None
        assert "aspect size of VNF" in refused.error.detail
        await done(world, await ordered(world, vnf, T.SCALE, scale_params("SCALE_IN", "", 2)))
        now = await assert_alone(world, vnf)
        assert ([v.id for v in now.vnfcs], now.scale_levels) == ([vnf.vnfcs[0].id], {"size": 0})
        await done(world, await ordered(world, vnf, T.TERMINATE))

    play(story)


def test_what_is_modified_is_what_it_is_healed_by(play) -> None:
    async def story(world: World) -> None:
        vnf = await alone(world, "one")
        changed = await ordered(world, vnf, T.MODIFY_INFO, modify_params("other", "kernel"))
        assert changed.state is LcmOperationState.PROCESSING
        assert changed.steps == ()
        await done(world, changed)
        now = await world.orders.vnf(TENANT, "other")
        assert (now.id, now.isolation) == (vnf.id, Isolation.KERNEL)
        assert [v.runtime for v in now.vnfcs] == [Runtime.CONTAINER]  # nothing is replaced by that
        await done(world, await ordered(world, now, T.HEAL, heal_params()))
        now = await assert_alone(world, vnf)
        assert [v.runtime for v in now.vnfcs] == [Runtime.KATA]
        await done(world, await ordered(world, vnf, T.MODIFY_INFO, modify_params(isolation="vnfd")))
        assert (await world.orders.vnf(TENANT, vnf.id)).isolation is None
        await done(world, await ordered(world, vnf, T.TERMINATE))

    play(story)


# ---- in a chain ----


def test_a_vnf_of_a_chain_is_moved_behind_a_kernel_of_its_own_and_back(play) -> None:
    async def story(world: World) -> None:
        created = await done(world, await world.create(text=chain_text(a="one")))
        chain_id = created.target_id
        (vnf,) = await world.orders.vnfs(TENANT, chain_id)
        with pytest.raises(ProblemError, match=r"name: .* is called by its chain and alias"):
            await ordered(world, vnf, T.MODIFY_INFO, modify_params("other"))
        for level, runtime in (("kernel", Runtime.KATA), ("vnfd", Runtime.CONTAINER)):
            await done(world, await ordered(world, vnf, T.MODIFY_INFO, modify_params(isolation=level)))
            await done(world, await change(world, chain_id, Replace("a")))
            says = await assert_true(world, chain_id)
            assert [v.spec.runtime for v in says.realization.vnfcs] == [runtime]
            told = (await world.orders.chain(TENANT, chain_id)).plan["vnfs"]
            assert [(v["alias"], v["runtime"]) for v in told] == [("a", runtime)]
        await remove(world, created)

    play(story)


def test_a_vnf_of_a_chain_is_scaled_by_its_aspect_and_its_instances_are_replicas(play) -> None:
    async def story(world: World) -> None:
        created = await done(world, await world.create(text=chain_text(a="one")))
        chain_id = created.target_id
        await done(world, await scale(world, chain_id, "a", "SCALE_OUT"))
        says = await assert_true(world, chain_id)
        assert len(says.realization.paths[0].spec.hops[1].replicas) == 2
        assert says.instances[0].scale_levels == {"size": 1}
        told = (await world.orders.chain(TENANT, chain_id)).body["links"]
        assert [sorted(p["name"] for p in link["ports"]) for link in told] == [
            ["a", "a", "client"],
            ["a", "a", "server"],
        ]
        await done(world, await scale(world, chain_id, "a", "SCALE_IN"))
        assert (await assert_true(world, chain_id)).realization.paths[0].spec.hops[1].replicas == ()
        await remove(world, created)

    play(story)


def test_nobody_else_changes_a_chain_while_one_does(play) -> None:
    async def story(world: World) -> None:
        created = await done(world, await world.create(text=chain_text(a="one", b="one")))
        operation = await world.run(await heal(world, created.target_id, "a"), Fault("path default", Mode.FAILS))
        others: list[Ordering] = [
            lambda w, c: heal(w, c, "b"),
            lambda w, c: scale(w, c, "b", "SCALE_OUT"),
            lambda w, c: change(w, c, Insert("x", "two", after="a")),
            lambda w, c: change(w, c, Remove("b")),
        ]
        for order in others:
            with pytest.raises(ProblemError, match=r"HEAL of .* is open in FAILED_TEMP") as refused:
                await order(world, created.target_id)
            assert refused.value.problem.word == "conflict"
        assert len(await world.orders.vnfs(TENANT, created.target_id)) == 2
        await world.rollback(operation)
        await remove(world, created)

    play(story)


def test_a_vnfc_that_is_no_longer_there_is_not_healed(play) -> None:
    async def story(world: World) -> None:
        created = await done(world, await world.create(text=chain_text(a="one")))
        (vnf,) = await world.orders.vnfs(TENANT, created.target_id)
        await done(world, await heal(world, created.target_id, "a"))
        with pytest.raises(ProblemError, match="there is no VNFC") as refused:
            await ordered(world, vnf, T.HEAL, heal_params([vnf.vnfcs[0].id]))
        assert refused.value.problem.word == "conflict"
        await assert_true(world, created.target_id)
        await remove(world, created)

    play(story)


def test_several_vnfs_of_a_chain_are_healed_at_once(play) -> None:
    async def story(world: World) -> None:
        created = await done(world, await world.create(text=chain_text(a="one", b="two")))
        before = await stood(world, created.target_id)
        vnfcs = [v.id for i in before.instances for v in i.vnfcs]
        await done(world, await ordered(world, before.instances[0], T.HEAL, heal_params(vnfcs)))
        after = await assert_true(world, created.target_id)
        assert not before.ids & {v.id for i in after.instances for v in i.vnfcs}
        await remove(world, created)

    play(story)


# ---- several paths ----


@pytest.mark.parametrize("path", ["web", "rest"])
@pytest.mark.parametrize("way", ["retry", "rollback", "fail"])
def test_paths_that_fork_are_switched_together_or_not_at_all(play, path: str, way: str) -> None:
    async def story(world: World) -> None:
        created = await done(world, await world.create(text=FORK))
        chain_id = created.target_id
        before = await assert_true(world, chain_id)
        assert all(x.spec.steered for x in before.realization.links)
        matches = [
            s.match.destination_port for s in cloud(world, chain_id).values() if isinstance(s, pb.AllocatePathRequest)
        ]
        assert sorted(matches) == [0, 80]
        operation = await change(world, chain_id, Insert("x", "two", after="a"))
        operation = await world.run(operation, Fault(f"path {path}", Mode.FAILS_HALF_DONE))
        if way == "rollback":
            await world.rollback(operation)
            assert (await assert_true(world, chain_id)).ids == before.ids
        elif way == "retry":
            operation = await world.retry(operation)
            assert operation.state is LcmOperationState.COMPLETED, operation.error
            await assert_true(world, chain_id)
        else:
            await control.fail(world.journal, operation, clock)
            says = await assert_true(world, chain_id, leftovers=True)
            assert [p.name for p in says.realization.paths if p.in_doubt] == [path]
            await done(world, await change(world, chain_id, Scale("a", 2)))
            says = await assert_true(world, chain_id)
            assert [v.alias for v in says.descriptor.vnfs] == ["a", "b", "x"]
        await remove(world, created)

    play(story)
