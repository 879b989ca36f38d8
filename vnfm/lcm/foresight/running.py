"""What runs, with everything that is needed to think of moving it: a chain, or a VNF that stands alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol
from uuid import UUID, uuid5

from vnfm.lcm.changing import Wanted
from vnfm.lcm.grants.world import StandingChain, flavour_of
from vnfm.lcm.recipes.computes import Lane
from vnfm.lcm.shapes import PackageFacts, graph_of, held_to, lanes_of, paths_of
from vnfm.model.lcm import VnfInstance
from vnfm.model.realization import Realization, VnfcThere
from vnfm.placement.inventory import HostKey

NOBODYS = UUID("5f0e2c52-6b0b-4d52-9a0e-2a2f3f0f7c11")


@dataclass(frozen=True)
class Running:
    """`chain` is None for a VNF that stands alone. `packages`: by VNFD id. `busy`: the open operation on it. `turn`:
    how often it was moved in thought, so that what is minted for it is new each time."""

    tenant: str
    instances: tuple[VnfInstance, ...]
    packages: Mapping[str, PackageFacts]
    stands: Realization
    chain: StandingChain | None = None
    busy: str = ""
    turn: int = 0

    @property
    def id(self) -> str:
        """Of the chain, or of the VNF."""
        return self.chain.id if self.chain else self.instances[0].id

    @property
    def name(self) -> str:
        """Of the chain, or of the VNF."""
        return self.chain.name if self.chain else self.instances[0].name

    @property
    def operation_id(self) -> str:
        """Of an operation that is only thought of."""
        return str(uuid5(NOBODYS, f"{self.id} {self.turn}"))

    @cached_property
    def wanted(self) -> Wanted:
        """As it stands and is wanted to be. Raises ProblemError where the packages do not tell any more."""
        return self._of_chain(self.chain) if self.chain else self._alone(self.instances[0])

    def on(self, hosts: Collection[HostKey]) -> tuple[VnfcThere, ...]:
        """Its VNFCs on these hosts."""
        return tuple(v for v in self.stands.vnfcs if (v.vim, v.spec.host) in hosts)

    def ends_on(self, hosts: Collection[HostKey]) -> tuple[str, ...]:
        """The names of its ends on these hosts."""
        return tuple(s.spec.name for s in self.stands.saps if (s.vim, s.spec.host) in hosts)

    def of(self, aliases: Collection[str]) -> frozenset[str]:
        """The VNFCs of these VNFs, by resource id."""
        return frozenset(v.resource_id for v in self.stands.vnfcs if v.alias in aliases)

    def instance_of(self, alias: str) -> str:
        """The id of a VNF's instance."""
        return next((v.instance_id for v in self.stands.vnfcs if v.alias == alias), "")

    def word(self, alias: str) -> str:
        """How a command names one of its VNFs."""
        return f"{self.name}/{alias}" if self.chain else self.name

    def moved(self, stands: Realization) -> Running:
        """The same after a move."""
        return replace(self, stands=stands, turn=self.turn + 1)

    def _of_chain(self, chain: StandingChain) -> Wanted:
        descriptor = chain.descriptor
        graph = graph_of(descriptor, self.packages)
        ids = {i.alias: i.id for i in self.instances}
        return Wanted(
            tenant=self.tenant,
            before=self.stands,
            lanes=lanes_of(descriptor, graph, self.packages, ids),
            vnfd_ids={v.alias: v.vnfd_id for v in descriptor.vnfs},
            paths=paths_of(graph),
            chain=descriptor,
            grants=chain.grants + self.turn,
        )

    def _alone(self, instance: VnfInstance) -> Wanted:
        package, described = flavour_of(instance, self.packages)
        flavour = held_to(described, instance.isolation)
        counts: Mapping[str, int] = {v.id: 0 for v in flavour.vdus} | Counter(v.vdu_id for v in self.stands.vnfcs)
        lane = Lane(instance.name, instance.id, flavour, counts, package.images)
        return Wanted(self.tenant, self.stands, {lane.alias: lane}, {lane.alias: instance.vnfd_id})


class Population(Protocol):
    """Knows all that runs, of all tenants."""

    async def running(self, instance_ids: Collection[str] = ()) -> Sequence[Running]:
        """All; or those chains and VNFs that these VNF instances belong to."""
        ...
