"""Steps that realize one VNF: its internal links, and a VNFC for each instance of each VDU."""

from __future__ import annotations

import base64
from collections.abc import Container as Container_
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from vnfm.lcm.recipes.annotations import annotations_of
from vnfm.lcm.recipes.sharing import admitted, has_port, shared_ips
from vnfm.lcm.routes import Position
from vnfm.lcm.steps import Step, StepKind, mint
from vnfm.model.connectivity import Cpd, VirtualLinkDesc
from vnfm.model.placement import Runtime
from vnfm.model.problem import problem
from vnfm.model.resources import ComputeSpec, ContainerSpec, DiskSpec, LinkMember, LinkSpec, PortSpec, WorkerSpec
from vnfm.model.vdu import Container, SwImage, Vdu
from vnfm.model.vnfd import Flavour
from vnfm.placement.plan import Assignment, Plan

INTERNAL_POOL = "100.127.0.0/16"
MTU_BYTES = 1500
FIRST_HOST = 10
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class LaneIds:
    """How the ids of one operation are minted."""

    operation_id: str

    def compute(self, alias: str, vdu_id: str, index: int) -> str:
        """Of a VNFC; also its demand's id in the placement request."""
        return mint(self.operation_id, "compute", alias, vdu_id, str(index))

    def internal_link(self, alias: str, link_id: str) -> str:
        """Of a VNF's own virtual link."""
        return mint(self.operation_id, "internal-link", alias, link_id)


@dataclass(frozen=True, slots=True)
class Lane:
    """A VNF of the operation: what it is and how many of each VDU. `blobs` maps image paths to blobs."""

    alias: str
    instance_id: str
    flavour: Flavour
    counts: Mapping[str, int]
    blobs: Mapping[str, str]

    def cpd_of_external(self, ext_cp: str) -> Cpd:
        """The internal side of an external CP."""
        inner = next((e.cpd_id for e in self.flavour.external_cps if e.id == ext_cp), ext_cp)
        return next(c for c in self.flavour.cps if c.id == inner)

    def facing(self, positions: Iterable[Position]) -> str:
        """The VDU whose instances are the VNF's replicas on a path: the one behind both of its ports there. Empty where
        the VNF has one port only, or where its ports are those of two VDUs."""
        vdus: set[str] = set()
        for position in positions:
            if position.name != self.alias or position.ingress is None or position.egress is None:
                continue
            if position.one_armed:
                return ""
            vdus |= {self.cpd_of_external(p.cp).vdu_id for p in (position.ingress, position.egress)}
        return vdus.pop() if len(vdus) == 1 else ""

    def images(self, vdus: Container_[str] | None = None) -> Iterator[SwImage]:
        """Every software image that its VDUs run, or those of some VDUs."""
        for vdu in (v for v in self.flavour.vdus if vdus is None or v.id in vdus):
            for container in (*vdu.init_containers, *vdu.containers):
                if container.image:
                    yield container.image
            if vdu.disk_image:
                yield vdu.disk_image

    def blob(self, image: SwImage) -> str:
        """Raises ProblemError `image-missing` for one that is a reference only."""
        if found := self.blobs.get(image.path):
            return found
        raise problem(
            "image-missing",
            f"VNF {self.alias}: software image {image.name} ({image.path or 'no path'}) is not in its package",
            instance=self.alias,
        )


def compute_steps(
    lane: Lane, plan: Plan, ids: LaneIds, ports: Mapping[tuple[str, int], tuple[PortSpec, str]], needs: tuple[str, ...]
) -> list[Step]:
    """Internal links, then the VNFCs. `ports` are those on links from outside, by CPD and instance, each with the key
    of the step that makes its link."""
    steps = internal_links(lane, plan, ids, needs)
    keys = {s.link.resource_id: s.key for s in steps if s.link}
    for vdu in lane.flavour.vdus:
        for index in range(lane.counts.get(vdu.id, 1)):
            assignment = plan.assignment(ids.compute(lane.alias, vdu.id, index))
            assert assignment
            found = _ports_of(lane, vdu, index, ids, ports, keys)
            steps.append(
                compute_step(lane, vdu, index, assignment, [p for p, _ in found], (*needs, *(key for _, key in found)))
            )
    return steps


def internal_links(lane: Lane, plan: Plan, ids: LaneIds, needs: tuple[str, ...]) -> list[Step]:
    """The VNF's own links, with those VNFCs on them that the plan has; a link without any is left out."""
    made = (
        _internal_link(lane, link, index, plan, ids, needs) for index, link in enumerate(lane.flavour.virtual_links)
    )
    return [s for s in made if s]


def _internal_link(
    lane: Lane, link: VirtualLinkDesc, index: int, plan: Plan, ids: LaneIds, needs: tuple[str, ...]
) -> Step | None:
    members: list[LinkMember] = []
    vim = ""
    for cpd in (c for c in lane.flavour.cps if c.virtual_link == link.id and has_port(c)):
        for instance in range(lane.counts.get(cpd.vdu_id, 1)):
            assignment = plan.assignment(ids.compute(lane.alias, cpd.vdu_id, instance))
            if assignment:
                vim = vim or assignment.vim  # all of them are in it: placing.py sees to that
                members.append(LinkMember(assignment.id, cpd.id, assignment.runtime, assignment.host))
    if not members:
        return None
    resource_id = ids.internal_link(lane.alias, link.id)
    return Step(
        key=f"link {lane.alias}/{link.id}",
        kind=StepKind.LINK,
        title=f"link {lane.alias}/{link.id}",
        vim=vim,
        needs=needs,
        lane=lane.alias,
        vnf_instance_id=lane.instance_id,
        link=LinkSpec(resource_id, link.mtu_bytes or MTU_BYTES, (_internal_cidr(link, index),), tuple(members)),
    )


def _internal_cidr(link: VirtualLinkDesc, index: int) -> str:
    if link.cidrs:
        return link.cidrs[0]
    return str(list(ip_network(INTERNAL_POOL).subnets(new_prefix=24))[index])


def _ports_of(
    lane: Lane,
    vdu: Vdu,
    index: int,
    ids: LaneIds,
    outside: Mapping[tuple[str, int], tuple[PortSpec, str]],
    links: Mapping[str, str],
) -> list[tuple[PortSpec, str]]:
    """A VNFC's ports with the steps that make their links."""
    found = []
    for cpd in cps_of(lane.flavour, vdu.id):
        if port := outside.get((cpd.id, index)):
            found.append(port)
        elif cpd.virtual_link and (key := links.get(ids.internal_link(lane.alias, cpd.virtual_link))):
            found.append((internal_port(lane, cpd, index, ids.internal_link(lane.alias, cpd.virtual_link)), key))
    return found


def cps_of(flavour: Flavour, vdu_id: str) -> list[Cpd]:
    """A VDU's CPs in their order."""
    return sorted((c for c in flavour.cps if c.vdu_id == vdu_id and has_port(c)), key=lambda c: (c.order, c.id))


def internal_port(lane: Lane, cpd: Cpd, index: int, link_id: str, address: str = "") -> PortSpec:
    """A port on the VNF's own link. Without an `address` (with prefix length) it has the one that its number among the
    link's ports gives."""
    position, link = next((n, v) for n, v in enumerate(lane.flavour.virtual_links) if v.id == cpd.virtual_link)
    network = ip_network(_internal_cidr(link, position))
    before = 0
    for other in (c for c in lane.flavour.cps if c.virtual_link == link.id and has_port(c)):
        if other.id == cpd.id:
            break
        before += lane.counts.get(other.vdu_id, 1)
    address = address or f"{_address(lane, link, network, before + index)}/{network.prefixlen}"
    return PortSpec(
        cp_id=cpd.id,
        link_id=link_id,
        ips=(address,),
        mtu_bytes=cpd.mtu_bytes or link.mtu_bytes or MTU_BYTES,
        vnic_type=cpd.vnic_type,
        bandwidth_bps=cpd.bandwidth_bps,
        vlan=cpd.vlan_id,
        shared_ips=shared_ips(lane.flavour, cpd),
    )


def _address(lane: Lane, link: VirtualLinkDesc, network: Network, number: int) -> IPv4Address | IPv6Address:
    """Low addresses are left to gateways where there is room for that. Raises ProblemError `no-addresses`."""
    at = (c for c in lane.flavour.cps if c.virtual_link == link.id and has_port(c))
    ports = sum(lane.counts.get(c.vdu_id, 1) for c in at)
    last = network.num_addresses - (2 if network.version == 4 else 1)
    first = FIRST_HOST if FIRST_HOST + ports - 1 <= last else 1
    if first + ports - 1 > last:
        raise problem(
            "no-addresses",
            f"VNF {lane.alias}: network {network} of its link {link.id} is too small for {ports} ports",
            instance=lane.alias,
        )
    return network.network_address + first + number


def compute_step(
    lane: Lane, vdu: Vdu, index: int, at: Assignment, ports: Iterable[PortSpec], needs: Iterable[str]
) -> Step:
    """One VNFC."""
    name = lane.alias if len(lane.flavour.vdus) == 1 and lane.counts.get(vdu.id, 1) == 1 else f"{vdu.id}-{index}"
    vm = at.runtime is Runtime.VM
    return Step(
        key=f"vnfc {lane.alias}/{vdu.id}/{index}",
        kind=StepKind.COMPUTE,
        title=f"{at.runtime} {lane.alias}/{vdu.id}" + (f" #{index}" if index else ""),
        vim=at.vim,
        needs=tuple(dict.fromkeys(needs)),
        lane=lane.alias,
        vnf_instance_id=lane.instance_id,
        vdu_id=vdu.id,
        index=index,
        compute=ComputeSpec(
            resource_id=at.id,
            name=name[:63],
            host=at.host,
            runtime=at.runtime,
            cpu_milli=vdu.cpu_milli,
            cpu_limit_milli=0 if vm else _cpu_limit(vdu),
            memory_bytes=vdu.memory_bytes,
            hugepage_bytes=vdu.needs.hugepage_bytes,
            gpus=vdu.needs.gpus,
            cpu_pinned=vdu.needs.cpu_pinned,
            numa_cell=at.cell,
            containers=() if vm else tuple(_container(lane, c) for c in vdu.containers),
            init_containers=() if vm else tuple(_container(lane, c) for c in vdu.init_containers),
            boot=_disk(lane, vdu) if vm else None,
            user_data_b64=base64.b64encode(vdu.user_data).decode() if vm else "",
            ports=tuple(replace(port, admits=admitted(lane.flavour, port.cp_id)) for port in ports),
            annotations=annotations_of(lane.flavour, vdu, lane.instance_id, at.runtime),
            worker=WorkerSpec(at.worker.host, at.worker.size.id) if at.worker else None,
        ),
    )


def _container(lane: Lane, container: Container) -> ContainerSpec:
    if container.image is None:
        raise problem("image-missing", f"VNF {lane.alias}: container {container.id} has no image", instance=lane.alias)
    return ContainerSpec(
        name=container.id,
        image_sha256=lane.blob(container.image),
        command=container.command,
        env=dict(container.env),
        cpu_milli=container.cpu_milli,
        cpu_limit_milli=container.cpu_limit_milli,
        memory_bytes=container.memory_bytes,
        linux_capabilities=tuple(c if c.startswith("CAP_") else f"CAP_{c}" for c in container.linux_capabilities),
        sysctls=dict(container.sysctls),
    )


def _cpu_limit(vdu: Vdu) -> int:
    """Of all containers together; 0 where one of them names none."""
    limits = [c.cpu_limit_milli for c in vdu.containers]
    return sum(limits) if all(limits) else 0


def _disk(lane: Lane, vdu: Vdu) -> DiskSpec:
    if vdu.disk_image is None:
        raise problem("image-missing", f"VNF {lane.alias}: {vdu.id} has no disk image", instance=lane.alias)
    return DiskSpec(lane.blob(vdu.disk_image), vdu.disk_image.format.value, vdu.disk_bytes)
