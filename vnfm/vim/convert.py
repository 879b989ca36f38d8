"""Model values to protobuf messages and back. The only place that knows both."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from datetime import UTC

from vnfm.model.placement import Runtime
from vnfm.model.resources import (
    ComputeSpec,
    ComputeStats,
    ContainerSpec,
    Encap,
    Handle,
    HopCount,
    HopSpec,
    LinkEnd,
    LinkSpec,
    Owner,
    Passing,
    PathSpec,
    PathStats,
    PortSpec,
    PortStats,
    ProbeResult,
    Resource,
    ResourceKind,
    ResourceState,
    SapSpec,
    Segment,
    StatsSample,
)
from vnfm.pb.common.v1 import common_pb2 as cpb
from vnfm.pb.vim.v1 import vim_pb2 as pb

RUNTIME_OUT = {
    Runtime.VM: pb.RUNTIME_VM,
    Runtime.KATA: pb.RUNTIME_KATA,
    Runtime.CONTAINER: pb.RUNTIME_CONTAINER,
    None: pb.RUNTIME_UNSPECIFIED,
}
RUNTIME_IN = {v: k for k, v in RUNTIME_OUT.items() if k}
STATE_IN = {
    pb.STATE_BUILDING: ResourceState.BUILDING,
    pb.STATE_RUNNING: ResourceState.RUNNING,
    pb.STATE_STOPPED: ResourceState.STOPPED,
    pb.STATE_FAILED: ResourceState.FAILED,
    pb.STATE_ABSENT: ResourceState.ABSENT,
}
KIND_IN = {
    pb.KIND_COMPUTE: ResourceKind.COMPUTE,
    pb.KIND_LINK: ResourceKind.LINK,
    pb.KIND_PATH: ResourceKind.PATH,
    pb.KIND_SAP: ResourceKind.SAP,
    pb.KIND_VOLUME: ResourceKind.VOLUME,
}
ENCAP_OUT = {
    Encap.VXLAN: pb.Segment.VXLAN,
    Encap.VLAN: pb.Segment.VLAN,
    Encap.GENEVE: pb.Segment.GENEVE,
    Encap.FLAT: pb.Segment.FLAT,
}
ENCAP_IN = {out: encap for encap, out in ENCAP_OUT.items()}
VNIC_OUT = {"normal": pb.Port.NORMAL, "virtio": pb.Port.NORMAL, "direct": pb.Port.DIRECT, "macvtap": pb.Port.MACVTAP}


def handle_out(handle: Handle) -> cpb.Handle:
    """A handle as it came, for the plugin."""
    return cpb.Handle(
        resource_id=handle.resource_id,
        native_id=handle.native_id,
        state_version=handle.state_version,
        state=base64.b64decode(handle.state_b64),
    )


def handle_in(message: cpb.Handle) -> Handle:
    """A handle to be stored."""
    return Handle(
        message.resource_id, message.native_id, message.state_version, base64.b64encode(message.state).decode()
    )


def known(handles: Mapping[str, Handle], resource_id: str) -> cpb.Handle:
    """The stored handle, or one of only the id."""
    return handle_out(handles.get(resource_id) or Handle(resource_id))


def owner_out(owner: Owner, fence: int, manager_id: str) -> cpb.Owner:
    """The stamp, with the lease under which the call is made."""
    return cpb.Owner(
        tenant=owner.tenant,
        vnf_instance_id=owner.vnf_instance_id,
        chain_id=owner.chain_id,
        op_occ_id=owner.op_occ_id,
        fence=fence,
        manager_id=manager_id,
    )


def owner_in(message: cpb.Owner) -> Owner:
    """The stamp as found on an object."""
    return Owner(message.tenant, message.chain_id, message.vnf_instance_id, message.op_occ_id)


def port_out(port: PortSpec, handles: Mapping[str, Handle]) -> pb.Port:
    """A connection point."""
    return pb.Port(
        cp_id=port.cp_id,
        link=known(handles, port.link_id),
        ips=port.ips,
        mac=port.mac,
        mtu_bytes=port.mtu_bytes,
        vnic=VNIC_OUT.get(port.vnic_type, pb.Port.NORMAL),
        bandwidth_bps=port.bandwidth_bps,
        routes=[pb.Route(destination=r.destination, via=r.via) for r in port.routes],
        l2_transparent=port.l2_transparent,
        vlan_sub_port=port.vlan,
        shared_ips=port.shared_ips,
        admits=[
            pb.TrafficRule(egress=r.egress, ipv6=r.ipv6, protocol=r.protocol, port_min=r.port_min, port_max=r.port_max)
            for r in port.admits
        ],
    )


def _container_out(c: ContainerSpec) -> pb.Container:
    return pb.Container(
        name=c.name,
        image_sha256=c.image_sha256,
        command=c.command,
        env=dict(c.env),
        cpu_milli=c.cpu_milli,
        cpu_limit_milli=c.cpu_limit_milli,
        memory_bytes=c.memory_bytes,
        linux_capabilities=c.linux_capabilities,
        sysctls=dict(c.sysctls),
    )


def compute_out(spec: ComputeSpec, owner: cpb.Owner, handles: Mapping[str, Handle]) -> pb.AllocateComputeRequest:
    """AllocateCompute."""
    request = pb.AllocateComputeRequest(
        resource_id=spec.resource_id,
        owner=owner,
        host_id=spec.host,
        runtime=RUNTIME_OUT[spec.runtime],
        cpu_milli=spec.cpu_milli,
        cpu_limit_milli=spec.cpu_limit_milli,
        memory_bytes=spec.memory_bytes,
        hugepage_bytes=spec.hugepage_bytes,
        cpu_pinned=spec.cpu_pinned,
        init_containers=[_container_out(c) for c in spec.init_containers],
        containers=[_container_out(c) for c in spec.containers],
        user_data=base64.b64decode(spec.user_data_b64),
        ports=[port_out(p, handles) for p in spec.ports],
        annotations=dict(spec.annotations),
        name=spec.name,
        gpus=spec.gpus,
    )
    if spec.worker:
        request.worker.CopyFrom(pb.Worker(host_id=spec.worker.host, size=spec.worker.size))
    if spec.numa_cell is not None:
        request.numa_cell = spec.numa_cell
    if spec.boot:
        request.boot.CopyFrom(
            pb.Disk(image_sha256=spec.boot.image_sha256, format=spec.boot.format, size_bytes=spec.boot.size_bytes)
        )
    return request


def link_out(spec: LinkSpec, owner: cpb.Owner) -> pb.AllocateLinkRequest:
    """AllocateLink."""
    return pb.AllocateLinkRequest(
        resource_id=spec.resource_id,
        owner=owner,
        mtu_bytes=spec.mtu_bytes,
        cidrs=spec.cidrs,
        steered=spec.steered,
        segment=segment_out(spec.segment) if spec.segment else None,
        members=[
            pb.LinkMember(resource_id=m.resource_id, cp_id=m.cp_id, runtime=RUNTIME_OUT[m.runtime], host_id=m.host)
            for m in spec.members
        ],
    )


def segment_out(segment: Segment) -> pb.Segment:
    """What links are joined by."""
    return pb.Segment(
        encap=ENCAP_OUT[segment.encap],
        id=segment.id,
        physical_network=segment.network,
        udp_port=segment.udp_port,
        group=segment.group,
    )


def join_out(link: Handle, ends: Iterable[LinkEnd], owner: cpb.Owner) -> pb.JoinLinkRequest:
    """JoinLink."""
    told = [pb.LinkEnd(segment=segment_out(e.segment), endpoints=e.endpoints, mtu_bytes=e.mtu_bytes) for e in ends]
    return pb.JoinLinkRequest(link=handle_out(link), owner=owner, ends=told)


def sap_out(spec: SapSpec, owner: cpb.Owner, handles: Mapping[str, Handle]) -> pb.AllocateSapRequest:
    """AllocateSap."""
    return pb.AllocateSapRequest(
        resource_id=spec.resource_id,
        owner=owner,
        host_id=spec.host,
        name=spec.name,
        port=port_out(spec.port, handles),
    )


def path_out(spec: PathSpec, owner: cpb.Owner, handles: Mapping[str, Handle]) -> pb.AllocatePathRequest:
    """AllocatePath."""
    m = spec.match
    return pb.AllocatePathRequest(
        resource_id=spec.resource_id,
        owner=owner,
        match=pb.Classifier(
            source_cidr=m.source_cidr,
            destination_cidr=m.destination_cidr,
            ip_protocol=m.ip_protocol,
            destination_port=m.destination_port,
            vlan=m.vlan,
            dscp=m.dscp,
            source_port=m.source_port,
        ),
        hops=[_hop_out(h, handles) for h in spec.hops],
        symmetric=spec.symmetric,
        generation=spec.generation,
    )


def _hop_out(hop: HopSpec, handles: Mapping[str, Handle]) -> pb.Hop:
    message = pb.Hop(ingress_cp_id=hop.ingress_cp, egress_cp_id=hop.egress_cp, name=hop.name)
    if hop.edge:
        message.edge.SetInParent()
        message.edge_link.CopyFrom(known(handles, hop.resource_id))
        return message
    at = message.compute if hop.runtime else message.sap
    at.CopyFrom(known(handles, hop.resource_id))
    message.replicas.extend(known(handles, one) for one in hop.replicas)
    return message


def resource_in(message: pb.Resource) -> Resource:
    """What the VIM reports of an object."""
    return Resource(
        handle=handle_in(message.handle),
        kind=KIND_IN.get(message.kind, ResourceKind.COMPUTE),
        state=STATE_IN.get(message.state, ResourceState.FAILED),
        host=message.host_id,
        reason=message.reason,
        addresses=tuple(message.addresses),
        owner=owner_in(message.owner),
        start_ms=message.start_ms,
        overhead_memory_bytes=message.overhead_memory_bytes,
        link_end=_link_end_in(message.link_end) if message.HasField("link_end") else None,
        changed_at=message.changed_at.ToDatetime(UTC) if message.HasField("changed_at") else None,
    )


def _link_end_in(message: pb.LinkEnd) -> LinkEnd | None:
    told, encap = message.segment, ENCAP_IN.get(message.segment.encap)
    if encap is None:
        return None
    segment = Segment(encap, told.physical_network, told.id, told.udp_port, told.group)
    return LinkEnd(segment, tuple(message.endpoints), message.mtu_bytes)


def probe_in(message: pb.ProbePathResponse) -> ProbeResult:
    """What a probe counted."""
    hops = tuple(HopCount(getattr(h, "from"), h.to, h.sent, h.received, h.rtt_us) for h in message.hops)
    passings = tuple(Passing(p.hop, p.cp_id, p.resource_id, p.reply, p.leaving, p.at_ns) for p in message.passings)
    return ProbeResult(hops, message.complete, message.rtt_us, message.unsupported, passings, message.first_sequence)


def stats_in(message: pb.StatsSample) -> StatsSample:
    """A sample of all counters."""
    return StatsSample(
        at=message.at.ToDatetime(UTC),
        computes=tuple(
            ComputeStats(c.resource_id, c.cpu_ns, c.memory_bytes, c.memory_limit_bytes, c.processes)
            for c in message.computes
        ),
        ports=tuple(
            PortStats(
                p.resource_id,
                p.cp_id,
                p.in_packets,
                p.in_bytes,
                p.in_dropped,
                p.out_packets,
                p.out_bytes,
                p.out_dropped,
            )
            for p in message.ports
        ),
        paths=tuple(PathStats(p.path_id, p.resource_id, p.cp_id, p.packets, p.bytes) for p in message.paths),
    )
