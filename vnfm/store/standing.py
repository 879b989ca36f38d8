"""All that runs, of all tenants, as of one moment: for who looks ahead over the whole of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, select

from vnfm.lcm.foresight.running import Running
from vnfm.lcm.grants.world import StandingChain
from vnfm.lcm.shapes import PackageFacts
from vnfm.model.chain import ServiceChain
from vnfm.model.codec import decode
from vnfm.model.lcm import ChainState, InstantiationState, VnfInstance
from vnfm.model.realization import Realization
from vnfm.store import realizations
from vnfm.store import tables as t
from vnfm.store.database import Database
from vnfm.store.packages import PackageStore
from vnfm.store.rows import instance_of

__all__ = ["StandingStore"]


@dataclass(frozen=True, slots=True)
class _Read:
    chains: list[tuple[str, StandingChain]]  # each with its tenant
    alone: list[tuple[VnfInstance, Realization]]
    busy: dict[str, str]  # by chain or instance: the open operation on it


class StandingStore:
    """Rows of chain and vnf_instance with what realizes them."""

    def __init__(self, database: Database, packages: PackageStore) -> None:
        self._db = database
        self._packages = packages

    async def running(self, instance_ids: Collection[str] = ()) -> tuple[Running, ...]:
        """Chains first, each by tenant and name; of these VNF instances where any are named. What has no package any
        more is told without one."""
        read = await self._db.read(lambda c: _read(c, frozenset(instance_ids)))
        wanted: dict[str, set[str]] = {}
        for tenant, chain in read.chains:
            wanted.setdefault(tenant, set()).update(i.package_id for i in chain.instances)
        for instance, _ in read.alone:
            wanted.setdefault(instance.tenant, set()).add(instance.package_id)
        facts: dict[str, dict[str, PackageFacts]] = {}
        for tenant, ids in wanted.items():
            found = await self._packages.by_id(tenant, sorted(ids))
            facts[tenant] = {o.package.id: PackageFacts(o.package.id, o.vnfd, o.images) for o in found}
        chains = [
            Running(
                tenant,
                chain.instances,
                {p.vnfd.id: p for i in chain.instances if (p := facts[tenant].get(i.package_id))},
                chain.realization,
                chain=chain,
                busy=read.busy.get(chain.id, ""),
            )
            for tenant, chain in read.chains
        ]
        alone = [
            Running(
                i.tenant,
                (i,),
                {p.vnfd.id: p} if (p := facts[i.tenant].get(i.package_id)) else {},
                realization,
                busy=read.busy.get(i.id, ""),
            )
            for i, realization in read.alone
        ]
        return (*chains, *alone)


def _read(c: Connection, wanted: frozenset[str]) -> _Read:
    instances = select(t.vnf_instance).order_by(t.vnf_instance.c.created_at)
    standing = select(t.chain).where(t.chain.c.state == ChainState.INSTANTIATED.value)
    if wanted:
        mine = t.vnf_instance.c.id.in_(sorted(wanted))
        chains_of = select(t.vnf_instance.c.chain_id).where(mine, t.vnf_instance.c.chain_id != "")
        instances = instances.where(mine | t.vnf_instance.c.chain_id.in_(chains_of))
        standing = standing.where(t.chain.c.id.in_(chains_of))
    members: dict[str, list[VnfInstance]] = {}
    alone: list[tuple[VnfInstance, Realization]] = []
    for row in c.execute(instances).mappings():
        instance = instance_of(row)
        if instance.chain_id:
            members.setdefault(instance.chain_id, []).append(instance)
        elif instance.instantiation_state is InstantiationState.INSTANTIATED:
            alone.append((instance, realizations.of_instance(c, row)))
    chains = []
    for row in c.execute(standing.order_by(t.chain.c.tenant, t.chain.c.name)).mappings():
        chain = StandingChain(
            row["id"],
            row["name"],
            decode(ServiceChain, row["descriptor"]),
            realizations.of_chain(c, row),
            row["grants"],
            row["plan"] or {},
            row["body"],
            tuple(members.get(row["id"], ())),
        )
        chains.append((row["tenant"], chain))
    query = select(t.op_subject.c.subject_id, t.op_subject.c.operation_id).where(t.op_subject.c.open)
    busy = {r.subject_id: r.operation_id for r in c.execute(query)}
    return _Read(chains, sorted(alone, key=lambda a: (a[0].tenant, a[0].name)), busy)
