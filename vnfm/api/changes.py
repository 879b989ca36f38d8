"""From a request for a change to an order: what is meant is found here, the rest others judge."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from vnfm.api.liveness import ConditionOf
from vnfm.api.targets import choose_vnfcs, find_vnf, find_vnfd_id
from vnfm.lcm.changes import heal_params, modify_params, operation_type, scale_params
from vnfm.lcm.healing import Condition
from vnfm.lcm.operation import Operation
from vnfm.lcm.ports import Clock
from vnfm.lcm.runner import Runner
from vnfm.model.chain import ServiceChain
from vnfm.model.change import ChainChange, Insert, Place, Remove, Reorder, Replace, Scale, Swap
from vnfm.model.lcm import LcmOperationType, Vnfc, VnfInstance
from vnfm.model.placement import Runtime
from vnfm.model.problem import problem
from vnfm.pb.nfvo.v1 import nfvo_pb2 as pb
from vnfm.store.orders import ChainRecord, NewInstance, Order, OrderStore
from vnfm.store.packages import Onboarded, PackageStore

NOT_IN_A_NAME = re.compile(r"[^a-z0-9]+")
ALIAS_LENGTH = 40


class Changes:
    """Orders changes of chains and VNFs that run, and begins them."""

    def __init__(
        self,
        orders: OrderStore,
        packages: PackageStore,
        runner: Runner,
        condition_of: ConditionOf,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self._orders = orders
        self._packages = packages
        self._runner = runner
        self._condition_of = condition_of
        self._clock = clock
        self._new_id = new_id

    async def chain(self, tenant: str, request: pb.UpdateChainRequest) -> Operation:
        """NsUpdate, NsScale."""
        chain = await self._orders.chain(tenant, request.ref)
        change, instance = await self._change(chain, request)
        order = Order(
            self._new_id(), tenant, operation_type(change), chain.name, chain.id, request_id=request.request_id
        )
        operation = await self._orders.change_chain(order, change, self._clock(), instance)
        self._runner.drive(operation.id)
        return operation

    async def heal(self, tenant: str, request: pb.HealVnfRequest) -> Operation:
        """SOL003 5.4.9."""
        instance = await find_vnf(self._orders, tenant, request.ref)
        chosen = choose_vnfcs(instance.vnfcs, request.vnfcs, instance.name) or self._unwell(instance.vnfcs)
        deaths = [self._condition(v).since for v in chosen if self._condition(v).health.dead]
        died_at = min((at for at in deaths if at), default=None)
        params = heal_params([v.id for v in chosen], request.cause or "on request", died_at)
        return await self._of_vnf(instance, LcmOperationType.HEAL, request.request_id, params)

    async def scale(self, tenant: str, request: pb.ScaleVnfRequest) -> Operation:
        """SOL003 5.4.5."""
        instance = await find_vnf(self._orders, tenant, request.ref)
        params = scale_params(request.type, request.aspect_id, request.number_of_steps or 1)
        return await self._of_vnf(instance, LcmOperationType.SCALE, request.request_id, params)

    async def modify(self, tenant: str, request: pb.ModifyVnfRequest) -> Operation:
        """SOL003 5.4.2.3.4, PATCH."""
        instance = await find_vnf(self._orders, tenant, request.ref)
        if not request.name and not request.isolation:
            raise problem("bad-request", "name, isolation: expected at least one of them")
        params = modify_params(request.name, request.isolation)
        order = self._vnf_order(instance, LcmOperationType.MODIFY_INFO, request.request_id, params)
        operation = await self._orders.modify(order, self._clock())
        self._runner.drive(operation.id)
        return operation

    async def _of_vnf(
        self, instance: VnfInstance, kind: LcmOperationType, request_id: str, params: Mapping[str, object]
    ) -> Operation:
        operation = await self._orders.order(self._vnf_order(instance, kind, request_id, params), self._clock())
        self._runner.drive(operation.id)
        return operation

    def _vnf_order(
        self, instance: VnfInstance, kind: LcmOperationType, request_id: str, params: Mapping[str, object]
    ) -> Order:
        return Order(
            self._new_id(), instance.tenant, kind, instance.name, instance.id, request_id=request_id, params=params
        )

    def _condition(self, vnfc: Vnfc) -> Condition:
        return self._condition_of(vnfc.vim, vnfc.id)

    def _unwell(self, vnfcs: tuple[Vnfc, ...]) -> tuple[Vnfc, ...]:
        """Those that are dead, all where none is."""
        return tuple(v for v in vnfcs if self._condition(v).health.dead) or vnfcs

    async def _change(
        self, chain: ChainRecord, request: pb.UpdateChainRequest
    ) -> tuple[ChainChange, NewInstance | None]:
        match request.WhichOneof("change"):
            case "insert":
                return await self._insert(chain, request.insert)
            case "swap":
                swap = request.swap
                found = await self._package(chain.tenant, swap.vnfd_id, swap.flavour_id)
                change = Swap(swap.alias, found.vnfd.id, swap.flavour_id)
                return change, self._instance(chain, swap.alias, found, swap.flavour_id)
            case "remove":
                return Remove(request.remove.alias), None
            case "reorder":
                return Reorder(tuple(request.reorder.aliases), request.reorder.path), None
            case "replace":
                return _replace(request.replace), None
            case "scale":
                return Scale(request.scale.alias, request.scale.replicas), None
            case _:
                raise problem("bad-request", "change: expected one of insert, remove, reorder, swap, replace, scale")

    async def _insert(self, chain: ChainRecord, order: pb.InsertVnf) -> tuple[Insert, NewInstance]:
        found = await self._package(chain.tenant, order.vnfd_id, order.flavour_id)
        alias = order.alias or free_alias(chain.descriptor, found.vnfd.product)
        before = order.before or ("" if order.after else last_end(chain.descriptor, order.path))
        change = Insert(alias, found.vnfd.id, order.flavour_id, before, order.after, order.path)
        return change, self._instance(chain, alias, found, order.flavour_id)

    def _instance(self, chain: ChainRecord, alias: str, found: Onboarded, flavour_id: str) -> NewInstance:
        return NewInstance(self._new_id(), f"{chain.name}/{alias}", alias, found.vnfd.id, found.package.id, flavour_id)

    async def _package(self, tenant: str, wanted: str, flavour_id: str) -> Onboarded:
        vnfd_id = find_vnfd_id(await self._packages.all(tenant), wanted, tenant)
        found = (await self._packages.by_vnfd(tenant, [vnfd_id]))[vnfd_id]
        if found.vnfd.flavour(flavour_id) is None:
            known = ", ".join(f.id for f in found.vnfd.flavours)
            raise problem(
                "unknown-flavour",
                f"flavour_id: VNFD {vnfd_id} has no flavour {flavour_id!r}; it has: {known}",
                instance=vnfd_id,
            )
        return found


def _replace(asked: pb.ReplaceVnf) -> Replace:
    places = []
    for at, place in enumerate(asked.places):
        if place.runtime not in Runtime.__members__:
            raise problem(
                "bad-value",
                f"replace.places[{at}].runtime: is {place.runtime!r}; expected {', '.join(Runtime.__members__)}",
            )
        runtime = Runtime[place.runtime]
        places.append(Place(place.alias, place.vdu_id, place.index, place.vim, place.host, runtime))
    return Replace(asked.alias, tuple(dict.fromkeys(a for a in asked.also if a != asked.alias)), tuple(places))


def free_alias(chain: ServiceChain, product: str) -> str:
    """The product's name as an alias; with a number behind it where that is taken."""
    name = NOT_IN_A_NAME.sub("-", product.lower()).strip("-")[:ALIAS_LENGTH].strip("-") or "vnf"
    taken = {*(v.alias for v in chain.vnfs), *(e.name for e in chain.ends)}
    number = 1
    while (alias := name if number == 1 else f"{name}-{number}") in taken:
        number += 1
    return alias


def last_end(chain: ServiceChain, path: str) -> str:
    """Where a path ends, or all paths do. Raises ProblemError `unknown-path`, `bad-request` where they differ."""
    chosen = [p for p in chain.paths if path in ("", p.name)]
    if not chosen:
        known = ", ".join(p.name for p in chain.paths)
        raise problem("unknown-path", f"insert.path: there is no path {path!r}; expected one of {known}", instance=path)
    ends = list(dict.fromkeys(p.hops[-1].name for p in chosen))
    if len(ends) > 1:
        raise problem(
            "bad-request",
            f"insert: the paths of chain {chain.name} end at {', '.join(ends)}: say where, by before, after or path",
            instance=chain.name,
        )
    return ends[0]
