"""A chain that lives through changes without a VIM: each change is planned, and what it promises is taken to stand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_interface, ip_network
from uuid import UUID, uuid5

from lcm_samples import hosts, packages, planned, vnfd

from vnfm.graph.edit import edited, with_instances
from vnfm.lcm.changing import Changed, Renewal, Wanted, change
from vnfm.lcm.realizing import expected
from vnfm.lcm.recipes.chain_create import chain_create
from vnfm.lcm.recipes.computes import Lane
from vnfm.lcm.routes import PathLayout
from vnfm.lcm.scaling import scaled_hop
from vnfm.lcm.shapes import PackageFacts, graph_of, lanes_of, paths_of
from vnfm.model.chain import ServiceChain
from vnfm.model.change import ChainChange, Reorder, Replace, Scale
from vnfm.model.connectivity import Cpd, ExtCpd
from vnfm.model.needs import Isolation
from vnfm.model.realization import NOTHING_STANDS, PathThere, Realization, VnfcThere
from vnfm.model.vdu import Vdu
from vnfm.model.vnfd import Flavour, Vnfd
from vnfm.placement.snapshot import Snapshot

ROOT = UUID("22222222-2222-4222-8222-222222222222")


def simple(name: str, level: Isolation = Isolation.TENANT, most: int = 4, initial: int = 1) -> Vnfd:
    """One VDU with two external CPs."""
    front = next(v for v in vnfd(name, level).flavours[0].vdus if v.id == "front")
    vdu: Vdu = replace(front, max_instances=most, initial_instances=initial)
    flavour = Flavour(
        "default",
        vdus=(vdu,),
        cps=(Cpd("left", "front", "", 0), Cpd("right", "front", "", 1)),
        external_cps=(ExtCpd("left", "left"), ExtCpd("right", "right")),
    )
    return Vnfd(name, "tests", name, "1", "1", (flavour,))


@dataclass
class Living:
    """A chain as it stands. Every VNF of the descriptor has an instance id of its own."""

    chain: ServiceChain
    known: dict[str, PackageFacts]
    stands: Realization
    ids: dict[str, str]
    snapshot: Snapshot
    grants: int = 1

    @classmethod
    def created(cls, chain: ServiceChain, known: dict[str, PackageFacts], snapshot: Snapshot | None = None) -> Living:
        snapshot = snapshot or hosts()
        made = planned(chain, known, snapshot)
        assert made.facts, made.document
        stands = expected(NOTHING_STANDS, chain_create(made.facts))
        held = snapshot.holding(made.facts.plan.reservations, made.facts.plan.link_reservations)
        return cls(chain, known, stands, {v.alias: f"instance-{v.alias}" for v in chain.vnfs}, held)

    def wired(self, chain: ServiceChain | None = None) -> tuple[dict[str, Lane], tuple[PathLayout, ...]]:
        graph = graph_of(chain or self.chain, self.known)
        return lanes_of(chain or self.chain, graph, self.known, self.ids), paths_of(graph)

    def plan(self, asked: ChainChange | None = None, renewal: Renewal | None = None) -> Changed:
        """What would be done."""
        after = self._after(asked)
        self._mint(asked, after)
        anew = renewal or Renewal(moved=isinstance(asked, Reorder))
        if isinstance(asked, Replace):
            anew = Renewal(frozenset(v.resource_id for v in self.stands.vnfcs if v.alias == asked.alias))
        lanes, paths = self.wired(after)
        wanted = Wanted("t", self.stands, lanes, {v.alias: v.vnfd_id for v in after.vnfs}, paths, after, self.grants)
        operation = str(uuid5(ROOT, str(self.grants)))
        return change(wanted, anew, self.snapshot, operation_id=operation, absent={})

    def do(self, asked: ChainChange | None = None, renewal: Renewal | None = None) -> Changed:
        """And taken to be done."""
        done = self.plan(asked, renewal)
        self.chain = self._after(asked)
        self.stands = expected(self.stands, done.steps)
        self.grants += 1
        gone = [v.resource_id for v in done.slots.gone]
        self.snapshot = self.snapshot.holding(done.plan.reservations).releasing(gone)
        return done

    def heal(self, *ids: str) -> Changed:
        return self.do(None, Renewal(frozenset(ids), dead=True))

    def of(self, alias: str) -> tuple[VnfcThere, ...]:
        return tuple(v for v in self.stands.vnfcs if v.alias == alias)

    def path(self, name: str = "default") -> PathThere:
        found = self.stands.path(name)
        assert found
        return found

    def hops(self, name: str = "default") -> list[str]:
        return [h.name for h in self.path(name).spec.hops]

    def _after(self, asked: ChainChange | None) -> ServiceChain:
        if asked is None:
            return self.chain
        after = edited(self.chain, asked)
        if isinstance(asked, Scale):
            lanes, paths = self.wired()
            positions = [p for path in paths for p in path.positions]
            after = with_instances(after, asked.alias, scaled_hop(lanes[asked.alias], positions, asked.replicas))
        return after

    def _mint(self, asked: ChainChange | None, after: ServiceChain) -> None:
        """A VNF that is new, or of another VNFD than before, is another instance."""
        before = {v.alias: v.vnfd_id for v in self.chain.vnfs}
        for vnf in after.vnfs:
            if before.get(vnf.alias) != vnf.vnfd_id:
                self.ids[vnf.alias] = str(uuid5(ROOT, f"{vnf.alias} {self.grants}"))


def known(*vnfds: Vnfd) -> dict[str, PackageFacts]:
    return packages(*vnfds)


def assert_sound(live: Living) -> None:
    """Addresses are unique, every hop is there and wired, and packets find their way along the path and back."""
    stands = live.stands
    for link in stands.links:
        ports = [p for _, p in stands.ports(link.spec.resource_id)]
        assert len(ports) == len({ip for p in ports for ip in p.ips})
        blocks = [ip_interface(ip).network for p in ports for ip in p.ips if ip.endswith("/30")]
        assert all(not a.overlaps(b) for n, a in enumerate(blocks) for b in blocks[n + 1 :]), blocks
        assert all(ip_interface(ip) in ip_network(link.cidr) for p in ports for ip in p.ips)
    there = {v.resource_id: v for v in stands.vnfcs}
    assert len(there) == len(stands.vnfcs)
    for path in live.chain.paths:
        hops = live.path(path.name).spec.hops
        assert [h.name for h in hops] == [h.name for h in path.hops]
        for hop in hops[1:-1]:
            for resource_id in hop.replicas or (hop.resource_id,):
                vnfc = there[resource_id]
                assert out_of(vnfc, sap_address(stands, hops[0].name)) == hop.ingress_cp
                assert out_of(vnfc, sap_address(stands, hops[-1].name)) == hop.egress_cp


def sap_address(stands: Realization, name: str) -> str:
    sap = stands.sap(name)
    assert sap
    return sap.spec.port.ips[0].split("/")[0]


def out_of(vnfc: VnfcThere, target: str) -> str:
    """The CP by which it sends to an address: the longest prefix, its own networks included."""
    wanted = ip_interface(target).ip
    ways = [(ip_interface(ip).network, p.cp_id) for p in vnfc.spec.ports for ip in p.ips]
    ways += [(ip_network(r.destination), p.cp_id) for p in vnfc.spec.ports for r in p.routes]
    fitting = [(network.prefixlen, cp) for network, cp in ways if wanted in network]
    assert fitting, f"{vnfc.alias} has no way to {target}"
    return max(fitting)[1]
