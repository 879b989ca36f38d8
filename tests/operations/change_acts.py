"""The changes of a running chain, as they are ordered, and what has to be so afterwards."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from operation_world import TENANT, World, clock

from plugins.mock.world import World as Cloud
from vnfm.lcm.changes import change_params, heal_params, operation_type, scale_params
from vnfm.lcm.operation import Operation
from vnfm.model.chain import ServiceChain
from vnfm.model.change import ChainChange, Insert, Remove, Reorder, Replace, Scale, Swap
from vnfm.model.lcm import LcmOperationState, LcmOperationType, VnfInstance
from vnfm.model.realization import Realization
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.store.orders import NewInstance, Order

MANAGER = "tests"
TEXT = """
chain: NAME
ends: {client: {cidr: 10.1.0.0/24}, server: {cidr: 10.9.0.0/24}}
vnfs: {VNFS}
path: [client, ALIASES, server]
"""


def chain_text(**vnfs: str) -> str:
    """VNFDs by alias, in path order."""
    told = ", ".join(f"{alias}: {{vnfd: {vnfd}}}" for alias, vnfd in vnfs.items())
    return TEXT.replace("VNFS", told).replace("ALIASES", ", ".join(vnfs))


@dataclass(frozen=True)
class Stood:
    """A chain at one moment."""

    descriptor: ServiceChain
    realization: Realization
    instances: list[VnfInstance]

    @property
    def ids(self) -> set[str]:
        r = self.realization
        return {
            *(x.spec.resource_id for x in r.links),
            *(x.resource_id for x in r.vnfcs),
            *(x.spec.resource_id for x in r.saps),
            *(x.spec.resource_id for x in r.paths),
        }


async def stood(world: World, chain_id: str) -> Stood:
    """What the manager says."""
    chain = await world.orders.chain(TENANT, chain_id)
    return Stood(chain.descriptor, chain.realization, await world.orders.vnfs(TENANT, chain_id))


async def change(world: World, chain_id: str, asked: ChainChange) -> Operation:
    """Order it; nothing runs yet."""
    chain = await world.orders.chain(TENANT, chain_id)
    order = Order(str(uuid.uuid4()), TENANT, operation_type(asked), chain.name, chain.id)
    fresh = None
    if isinstance(asked, Insert | Swap):
        package = (await world.packages.by_vnfd(TENANT, [asked.vnfd_id]))[asked.vnfd_id].package.id
        fresh = NewInstance(
            str(uuid.uuid4()), f"{chain.name}/{asked.alias}", asked.alias, asked.vnfd_id, package, asked.flavour_id
        )
    assert change_params(asked)
    return await world.orders.change_chain(order, asked, clock(), fresh)


async def heal(world: World, chain_id: str, alias: str) -> Operation:
    """Order the heal of all VNFCs of one VNF."""
    vnf = next(i for i in await world.orders.vnfs(TENANT, chain_id) if i.alias == alias)
    params = heal_params([v.id for v in vnf.vnfcs if v.vdu_id != "back"], "tests", clock())
    order = Order(str(uuid.uuid4()), TENANT, LcmOperationType.HEAL, vnf.name, vnf.id, params=params)
    return await world.orders.order(order, clock())


async def scale(world: World, chain_id: str, alias: str, kind: str) -> Operation:
    """Order a scaling by the VNF's aspect."""
    vnf = next(i for i in await world.orders.vnfs(TENANT, chain_id) if i.alias == alias)
    order = Order(str(uuid.uuid4()), TENANT, LcmOperationType.SCALE, vnf.name, vnf.id, params=scale_params(kind))
    return await world.orders.order(order, clock())


Ordering = Callable[[World, str], Awaitable[Operation]]


@dataclass(frozen=True)
class Act:
    """A chain to begin with, what is done to it first, the order, the steps that it has (by the beginnings of their
    titles), and the hops afterwards."""

    name: str
    begin: str
    order: Ordering
    steps: tuple[str, ...]
    hops: tuple[str, ...]
    before: tuple[Ordering, ...] = ()

    def __str__(self) -> str:
        return self.name


def _change(asked: ChainChange) -> Ordering:
    return lambda world, chain_id: change(world, chain_id, asked)


ONE, TWO = chain_text(a="one"), chain_text(a="one", b="one")
INSERTED = Insert("x", "two", after="a")
ACTS = (
    Act("insert", ONE, _change(INSERTED), ("vnfc x", "path", "probe"), ("client", "a", "x", "server")),
    Act(
        "remove",
        chain_text(a="one", b="fw"),
        _change(Remove("b")),
        ("path", "probe", "remove CONTAINER b/front", "remove CONTAINER b/back", "remove link b/vl"),
        ("client", "a", "server"),
    ),
    Act("reorder", TWO, _change(Reorder(("b", "a"))), ("path", "probe"), ("client", "b", "a", "server")),
    Act(
        "swap",
        ONE,
        _change(Swap("a", "two")),
        ("vnfc a", "path", "probe", "remove CONTAINER a"),
        ("client", "a", "server"),
    ),
    Act(
        "replace",
        chain_text(a="fw"),
        _change(Replace("a")),
        ("link a/vl", "vnfc a/front", "vnfc a/back", "path", "probe", "remove CONTAINER a/front", "remove link a/vl"),
        ("client", "a", "server"),
    ),
    Act("scale out", ONE, _change(Scale("a", 2)), ("vnfc a/vdu/1", "path", "probe"), ("client", "a", "server")),
    Act(
        "scale in",
        ONE,
        _change(Scale("a", 1)),
        ("path", "probe", "remove CONTAINER a/vdu #1"),
        ("client", "a", "server"),
        (_change(Scale("a", 2)),),
    ),
    Act(
        "heal",
        TWO,
        lambda world, chain_id: heal(world, chain_id, "a"),
        ("keep link client", "keep end client", "vnfc a", "path", "probe", "remove CONTAINER a"),
        ("client", "a", "b", "server"),
    ),
)


CASES = [(act, step) for act in ACTS for step in act.steps]
IDS = [f"{act}-{step}" for act, step in CASES]


async def begun(world: World, act: Act) -> Operation:
    """The chain that the act is played on."""
    created = await done(world, await world.create(text=act.begin))
    for order in act.before:
        await done(world, await order(world, created.target_id))
    return created


async def done(world: World, operation: Operation) -> Operation:
    """Run, and see it COMPLETED."""
    ended = await world.run(operation)
    assert ended.state is LcmOperationState.COMPLETED, ended.error
    return ended


async def key(world: World, operation: Operation, wanted: str) -> str:
    """The step's key, by its beginning."""
    steps = operation.steps or (await world.granting.design(operation)).steps
    found = [s.key for s in steps if s.key.startswith(wanted)]
    assert found, (wanted, [s.key for s in steps])
    return found[0]


# ---- truth ----


def cloud(world: World, chain_id: str) -> dict[str, object]:
    """What the VIM has of a chain: the requests by resource id."""
    opened = Cloud(world.state_file)
    try:
        mine = [t for t in opened.of(MANAGER) if t.resource.owner.chain_id == chain_id]
        return {t.resource.handle.resource_id: t.spec for t in mine}
    finally:
        opened.close()


def generations(world: World, path_id: str) -> list[int]:
    """Of every switch of a path."""
    opened = Cloud(world.state_file)
    try:
        return [p.generation for p in opened.generations(MANAGER, path_id)]
    finally:
        opened.close()


def hop_ids(path: pb.AllocatePathRequest) -> list[tuple[str, ...]]:
    """Who is at each hop."""
    return [
        tuple(r.resource_id for r in h.replicas) or (h.compute.resource_id or h.sap.resource_id,) for h in path.hops
    ]


async def assert_true(world: World, chain_id: str, *, leftovers: bool = False) -> Stood:
    """What the manager says stands is what the VIM has, no more and no less; `leftovers` may be there besides."""
    says, has = await stood(world, chain_id), cloud(world, chain_id)
    left = {x.resource_id for x in says.realization.leftovers}
    assert leftovers or not left
    assert says.ids <= has.keys()
    assert has.keys() <= says.ids | left
    for path in says.realization.paths:
        spec = has[path.spec.resource_id]
        assert isinstance(spec, pb.AllocatePathRequest)
        if not path.in_doubt:
            assert hop_ids(spec) == [h.replicas or (h.resource_id,) for h in path.spec.hops]
            assert spec.generation == path.spec.generation
        numbers = generations(world, path.spec.resource_id)
        assert numbers == sorted(set(numbers)), "generations rise"
    known = {r.id for r in await world.resources.of_subject(chain_id)}
    assert says.ids <= known <= says.ids | left
    held = {r.resource_id for r in (await world.resources.holdings()).reservations}
    vnfcs = {v.resource_id for v in says.realization.vnfcs}
    assert vnfcs <= held
    assert {v.id for i in says.instances for v in i.vnfcs} == vnfcs
    assert sorted(i.alias for i in says.instances) == sorted(v.alias for v in says.descriptor.vnfs)
    _assert_wired(says, leftovers)
    return says


def _assert_wired(says: Stood, doubtful: bool) -> None:
    stands = says.realization
    there = {v.resource_id: v for v in stands.vnfcs}
    for path in stands.paths:
        wanted = next(p for p in says.descriptor.paths if p.name == path.name)
        if not doubtful:
            assert [h.name for h in path.spec.hops] == [h.name for h in wanted.hops]
        for hop in path.spec.hops[1:-1]:
            for resource_id in hop.replicas or (hop.resource_id,):
                if doubtful and resource_id not in there:
                    continue
                vnfc = there[resource_id]
                assert vnfc.port(hop.ingress_cp)
                assert vnfc.port(hop.egress_cp)
    for link in stands.links:
        given = list(stands.addresses(link.spec.resource_id).values())
        assert len(given) == len(set(given)), given
