"""A cloud in which chains really were placed, and everything that looking ahead asks of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import uuid5

from change_bench import ROOT, known, simple
from lcm_samples import chain

from vnfm.lcm.foresight.moving import Sight
from vnfm.lcm.foresight.running import Running
from vnfm.lcm.grants.world import StandingChain
from vnfm.lcm.planning import plan_chain
from vnfm.lcm.realizing import expected
from vnfm.lcm.recipes.chain_create import chain_create
from vnfm.lcm.shapes import PackageFacts
from vnfm.model.lcm import InstantiationState, VnfInstance
from vnfm.model.needs import Isolation
from vnfm.model.placement import Runtime
from vnfm.model.realization import NOTHING_STANDS
from vnfm.model.resources import SapSpec
from vnfm.model.vnfd import Vnfd
from vnfm.placement.inventory import Cell, FabricEdge, Host, RuntimeCost
from vnfm.placement.snapshot import Snapshot
from vnfm.placement.whatif import closed

GIB = 1 << 30
SIGHT = Sight()


def sized(vnfd: Vnfd, cpu_milli: int) -> Vnfd:
    flavour = vnfd.flavours[0]
    (vdu,) = flavour.vdus
    containers = tuple(replace(c, cpu_milli=cpu_milli) for c in vdu.containers)
    return replace(vnfd, flavours=(replace(flavour, vdus=(replace(vdu, cpu_milli=cpu_milli, containers=containers),)),))


KNOWN = known(sized(simple("fw"), 2_000), sized(simple("rt"), 2_000), sized(simple("nat", Isolation.KERNEL), 2_000))


def server(name: str, cpu_milli: int = 8_000, zone: str = "z1", vim: str = "m", price: float = 1.0) -> Host:
    return Host(
        id=name,
        vim=vim,
        cells=(Cell(cpu_milli, 64 * GIB),),
        runtimes=frozenset(Runtime),
        costs={r: RuntimeCost(10, 1 << 20, 5) for r in Runtime},
        zone=zone,
        site=f"site-{zone}",
        arch="x86_64",
        price_per_vcpu=price,
    )


def star(hosts: Sequence[Host], held: Snapshot | None = None) -> Snapshot:
    """All on one switch a VIM, 10 us away."""
    fabric = [FabricEdge(h.vim, h.id, "tor", 10**10, 10) for h in hosts if not h.parent]
    return Snapshot.of(1, hosts, fabric=fabric)


@dataclass
class Cloud:
    """Chains placed one after the other. `chains`: all that runs."""

    snapshot: Snapshot
    chains: list[Running] = field(default_factory=list)
    known: dict[str, PackageFacts] = field(default_factory=lambda: dict(KNOWN))

    def add(self, name: str, *aliases: str, on: str | dict[str, str] = "", ends: str = "", extra: str = "") -> Running:
        """A chain; `on`: the only host that is open to it, or one for each of its VNFs. `ends`: where its ends are put
        then, as if their owner had wanted them there."""
        what = replace(chain(*aliases, extra=extra), name=name)
        at = on if isinstance(on, str) else ""
        stage = self.snapshot
        if at:
            stage = closed(stage, {h.key for h in stage.hosts if h.id != at}, "test")
        ids = {a: f"{name}-{a}" for a in aliases}
        operation = str(uuid5(ROOT, name))
        made = plan_chain(
            what, self.known, stage, operation_id=operation, tenant="t", instance_ids=ids, absent={}
        )  # fmt: skip
        assert made.facts, made.document
        stands = expected(NOTHING_STANDS, chain_create(made.facts))
        if ends:
            vim = next(h.vim for h in self.snapshot.hosts if h.id == ends)
            saps = tuple(replace(s, vim=vim, spec=_put(s.spec, ends)) for s in stands.saps)
            stands = replace(stands, saps=saps)
        instances = tuple(
            VnfInstance(
                ids[a], "t", f"{name}/{a}", a, f"pkg-{a}", "", name, InstantiationState.INSTANTIATED, None, (), a
            )
            for a in aliases
        )
        plan = made.facts.plan
        self.snapshot = self.snapshot.holding(plan.reservations, plan.link_reservations)
        standing = StandingChain(name, name, what, stands, 1, {}, {}, instances)
        one = Running("t", instances, self.known, stands, standing)
        self.chains.append(one)
        return one


def _put(sap: SapSpec, host: str) -> SapSpec:
    return replace(sap, host=host)


def where(one: Running) -> dict[str, str]:
    """By alias: the host of its VNFC."""
    return {v.alias: v.spec.host for v in one.stands.vnfcs}
