"""What a request must have before a handler sees it. Ids and names become paths: little may stand in them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from vnfm.pb.common.v1.common_pb2 import Handle, Owner
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.problems import NEW_PLACEMENT, PluginError, invalid, not_ready

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PROTOCOL = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
_MOST_PORT = 65_535
_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", re.IGNORECASE)
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_ID_TEXT = "letters, digits and ._:-, beginning with a letter or digit, at most 128"
_PROTOCOLS_WITH_PORTS = (6, 17, 132)  # TCP, UDP, SCTP
_REMEMBERED = 4096  # addresses that were looked at: chains use the same ones again and again
MIN_INTERVAL_MS = 10
MIN_SNAP_BYTES = 14  # an Ethernet header
MIN_CAPTURE_BYTES = 256
TOKEN_BYTES = 16
_SEGMENT_IDS = {pb.Segment.VLAN: 4094, pb.Segment.VXLAN: 0xFFFFFF, pb.Segment.GENEVE: 0xFFFFFF, pb.Segment.FLAT: 0}
_JOINING = {
    pb.Segment.VLAN: pb.CAPABILITY_JOIN_VLAN,
    pb.Segment.VXLAN: pb.CAPABILITY_JOIN_VXLAN,
    pb.Segment.FLAT: pb.CAPABILITY_JOIN_FLAT,
}
_IMAGE_FORMATS = ("qcow2", "raw", "oci-archive", "docker-archive", "rootfs-tar")


class Findings:
    """Collects what is wrong with a request: one INVALID_ARGUMENT names every field, not only the first."""

    def __init__(self) -> None:
        self._found: list[tuple[str, str]] = []

    def expect(self, good: bool, field: str, expected: str) -> bool:
        """Note `field` unless `good`; returns `good`."""
        if not good:
            self._found.append((field, expected))
        return good

    def identifier(self, text: str, field: str) -> None:
        """A minted id or a name that ends up in native names."""
        self.expect(_ID.fullmatch(text) is not None, field, f"is {text!r}, expected {_ID_TEXT}")

    def sha256(self, text: str, field: str) -> None:
        """An image's digest."""
        self.expect(_SHA256.fullmatch(text) is not None, field, f"is {text!r}, expected 64 lower-case hex digits")

    def raise_found(self, instance: str = "") -> None:
        """Raise what was found, if anything."""
        if not self._found:
            return
        (field, expected), *others = self._found
        more = "".join(f"; {name}: {text}" for name, text in others)
        raise invalid(field, f"{expected}{more}", instance=instance)


def check_owner(found: Findings, owner: Owner, *, tenant: bool = True) -> None:
    """Who calls: manager_id always, the tenant where something is changed."""
    found.identifier(owner.manager_id, "owner.manager_id")
    if tenant:
        found.expect(bool(owner.tenant), "owner.tenant", "is missing")


def check_handle(found: Findings, handle: Handle, field: str) -> None:
    """A handle needs its resource_id and no more."""
    found.identifier(handle.resource_id, f"{field}.resource_id")


def check_compute(found: Findings, request: pb.AllocateComputeRequest) -> None:
    """AllocateCompute's fields, apart from id and owner."""
    found.identifier(request.host_id, "host_id")
    found.expect(request.runtime != pb.RUNTIME_UNSPECIFIED, "runtime", "is missing")
    found.expect(request.cpu_milli > 0, "cpu_milli", "expected more than 0")
    found.expect(request.memory_bytes > 0, "memory_bytes", "expected more than 0")
    if request.name:
        found.expect(_HOST_NAME.fullmatch(request.name) is not None, "name", "expected a host name of one label")
    if request.runtime == pb.RUNTIME_VM:
        found.sha256(request.boot.image_sha256, "boot.image_sha256")
        found.expect(request.boot.format in ("qcow2", "raw"), "boot.format", "expected qcow2 or raw")
    elif request.runtime != pb.RUNTIME_UNSPECIFIED:
        found.expect(bool(request.containers), "containers", "expected one at least")
    if request.HasField("worker"):
        found.identifier(request.worker.host_id, "worker.host_id")
        found.identifier(request.worker.size, "worker.size")
        found.expect(request.worker.host_id != request.host_id, "worker.host_id", "is the worker's own")
        found.expect(request.runtime == pb.RUNTIME_CONTAINER, "runtime", "expected CONTAINER in a worker VM")
    _check_containers(found, request.init_containers, "init_containers")
    _check_containers(found, request.containers, "containers")
    names = [port.cp_id for port in request.ports]
    found.expect(len(set(names)) == len(names), "ports", "have one cp_id twice")
    for index, port in enumerate(request.ports):
        check_port(found, port, f"ports[{index}]")
    for index, mount in enumerate(request.volumes):
        check_handle(found, mount.volume, f"volumes[{index}].volume")
        found.expect(_absolute(mount.path), f"volumes[{index}].path", "expected an absolute path without ..")


def _check_containers(found: Findings, containers: Sequence[pb.Container], field: str) -> None:
    names = [container.name for container in containers]
    found.expect(len(set(names)) == len(names), field, "have one name twice")
    for index, container in enumerate(containers):
        where = f"{field}[{index}]"
        found.identifier(container.name, f"{where}.name")
        found.sha256(container.image_sha256, f"{where}.image_sha256")
        for path in container.files:
            found.expect(_absolute(path), f"{where}.files", f"{path!r} is no absolute path without ..")


def check_port(found: Findings, port: pb.Port, field: str) -> None:
    """One port: its names, its link, and addresses that make sense."""
    found.identifier(port.cp_id, f"{field}.cp_id")
    check_handle(found, port.link, f"{field}.link")
    for address in port.ips:
        found.expect(_interface(address), f"{field}.ips", f"{address!r}: expected an address with its prefix length")
    for rule in port.admits:
        found.expect(
            rule.port_min <= rule.port_max <= _MOST_PORT,
            f"{field}.admits",
            f"{rule.port_min} to {rule.port_max} is no range of ports",
        )
        found.expect(
            not rule.protocol or _PROTOCOL.fullmatch(rule.protocol) is not None,
            f"{field}.admits",
            f"{rule.protocol!r} is no protocol's name or number",
        )
    for address in port.shared_ips:
        found.expect(_address(address), f"{field}.shared_ips", f"{address!r} is no address")
    found.expect(
        not (port.l2_transparent and (port.ips or port.routes)),
        f"{field}.l2_transparent",
        "a port that lets frames pass as they are has neither addresses nor routes",
    )
    if port.mac:
        found.expect(_MAC.fullmatch(port.mac) is not None, f"{field}.mac", f"{port.mac!r} is no MAC address")
    for route in port.routes:
        found.expect(_network(route.destination), f"{field}.routes", f"{route.destination!r} is no network")
        found.expect(not route.via or _address(route.via), f"{field}.routes", f"via {route.via!r} is no address")


def check_link(found: Findings, request: pb.AllocateLinkRequest) -> None:
    """AllocateLink's fields, apart from id and owner."""
    for cidr in request.cidrs:
        found.expect(_network(cidr), "cidrs", f"{cidr!r} is no network")
    found.expect(request.mtu_bytes == 0 or request.mtu_bytes >= 68, "mtu_bytes", "expected 0 (any) or at least 68")
    for index, member in enumerate(request.members):
        found.identifier(member.resource_id, f"members[{index}].resource_id")
        found.identifier(member.cp_id, f"members[{index}].cp_id")
    if request.HasField("segment"):
        check_segment(found, request.segment, "segment")


def check_segment(found: Findings, segment: pb.Segment, field: str) -> None:
    """By what, and on which network, links of several VIMs are joined; an id of 0 is left to the VIM."""
    sane = found.expect(segment.encap != pb.Segment.ENCAP_UNSPECIFIED, f"{field}.encap", "is missing")
    found.expect(bool(segment.physical_network), f"{field}.physical_network", "is missing")
    most = _SEGMENT_IDS.get(segment.encap, 0)
    if sane:
        found.expect(segment.id <= most, f"{field}.id", f"is {segment.id}, expected at most {most}")
    found.expect(segment.udp_port <= 65_535, f"{field}.udp_port", f"is {segment.udp_port}, expected at most 65535")
    if segment.group:
        multicast = _address(segment.group) and ipaddress.ip_address(segment.group).is_multicast
        found.expect(multicast, f"{field}.group", f"{segment.group!r} is no multicast address")


def check_join(found: Findings, request: pb.JoinLinkRequest) -> None:
    """JoinLink's fields: ends of one and the same segment."""
    check_handle(found, request.link, "link")
    check_owner(found, request.owner)
    found.expect(bool(request.ends), "ends", "expected one at least")
    for index, end in enumerate(request.ends):
        check_segment(found, end.segment, f"ends[{index}].segment")
        for address in end.endpoints:
            found.expect(_address(address), f"ends[{index}].endpoints", f"{address!r} is no address")
    meant = {(end.segment.encap, end.segment.id, end.segment.physical_network) for end in request.ends}
    found.expect(len(meant) <= 1, "ends", "are of several segments")


def check_count(found: Findings, begin: pb.CountProbeRequest.Begin) -> None:
    """The first message of CountProbe."""
    check_handle(found, begin.path, "begin.path")
    check_owner(found, begin.owner)
    found.expect(len(begin.token) == TOKEN_BYTES, "begin.token", f"expected {TOKEN_BYTES} bytes")


def check_probe(found: Findings, request: pb.ProbePathRequest) -> None:
    """ProbePath's fields."""
    check_handle(found, request.path, "path")
    check_owner(found, request.owner)
    found.expect(request.packets > 0, "packets", "expected more than 0")
    found.expect(len(request.token) in (0, TOKEN_BYTES), "token", f"expected {TOKEN_BYTES} bytes, or none")
    sane = not request.destination or _address(request.destination)
    found.expect(sane, "destination", f"{request.destination!r} is no address")


def check_sap(found: Findings, request: pb.AllocateSapRequest) -> None:
    """AllocateSap's fields, apart from id and owner."""
    found.identifier(request.host_id, "host_id")
    found.identifier(request.name, "name")
    check_port(found, request.port, "port")


def check_path(found: Findings, request: pb.AllocatePathRequest) -> None:
    """AllocatePath's fields, apart from id and owner."""
    found.expect(len(request.hops) >= 2, "hops", "expected two at least: where it begins and where it ends")
    found.expect(request.generation > 0, "generation", "expected more than 0")
    last = len(request.hops) - 1
    for index, hop in enumerate(request.hops):
        _check_hop(found, hop, f"hops[{index}]", at_end=index in (0, last))
    _check_match(found, request.match)


def _check_match(found: Findings, match: pb.Classifier) -> None:
    cidrs = (("match.source_cidr", match.source_cidr), ("match.destination_cidr", match.destination_cidr))
    sane = [found.expect(not cidr or _network(cidr), field, f"{cidr!r} is no network") for field, cidr in cidrs]
    if all(sane) and match.source_cidr and match.destination_cidr:
        versions = {ipaddress.ip_network(cidr).version for _, cidr in cidrs}
        found.expect(len(versions) == 1, "match.destination_cidr", "is of another IP version than match.source_cidr")
    for field, value, most in (
        ("ip_protocol", match.ip_protocol, 255),
        ("source_port", match.source_port, 65_535),
        ("destination_port", match.destination_port, 65_535),
        ("vlan", match.vlan, 4094),
        ("dscp", match.dscp, 63),
    ):
        found.expect(value <= most, f"match.{field}", f"is {value}, expected at most {most} (0: any)")
    has_ports = match.ip_protocol in _PROTOCOLS_WITH_PORTS
    for field, value in (("source_port", match.source_port), ("destination_port", match.destination_port)):
        text = f"needs match.ip_protocol 6 (TCP), 17 (UDP) or 132 (SCTP), which is {match.ip_protocol}"
        found.expect(not value or has_ports, f"match.{field}", text)


def _check_hop(found: Findings, hop: pb.Hop, field: str, *, at_end: bool) -> None:
    kind = hop.WhichOneof("at")
    if at_end:
        found.expect(kind in ("sap", "edge"), field, "a path begins and ends at a SAP or an edge")
    else:
        found.expect(kind == "compute", field, "between its ends a path has computes")
    if kind == "compute":
        check_handle(found, hop.compute, f"{field}.compute")
        found.identifier(hop.ingress_cp_id, f"{field}.ingress_cp_id")
        found.identifier(hop.egress_cp_id, f"{field}.egress_cp_id")
    elif kind == "sap":
        check_handle(found, hop.sap, f"{field}.sap")
    elif kind == "edge":
        check_handle(found, hop.edge_link, f"{field}.edge_link")
    if hop.replicas:
        _check_replicas(found, hop, f"{field}.replicas")


def _check_replicas(found: Findings, hop: pb.Hop, field: str) -> None:
    for index, replica in enumerate(hop.replicas):
        check_handle(found, replica, f"{field}[{index}]")
    ids = [replica.resource_id for replica in hop.replicas]
    if not found.expect(hop.HasField("compute"), field, "only a compute has replicas"):
        return
    first = hop.compute.resource_id
    found.expect(ids[0] == first, field, f"expected all of them, beginning with the hop's compute {first!r}")
    found.expect(len(set(ids)) == len(ids), field, "name one compute twice")


def check_stats(found: Findings, request: pb.WatchStatsRequest) -> None:
    """WatchStats' fields, apart from the owner."""
    for index, resource_id in enumerate(request.resource_ids):
        found.identifier(resource_id, f"resource_ids[{index}]")
    sane = request.interval_ms == 0 or request.interval_ms >= MIN_INTERVAL_MS
    found.expect(sane, "interval_ms", f"is {request.interval_ms}, expected 0 (1000) or at least {MIN_INTERVAL_MS}")


def check_capture(found: Findings, request: pb.CaptureRequest) -> None:
    """Capture's fields, apart from where and the owner."""
    if request.cp_id:
        found.identifier(request.cp_id, "cp_id")
    sane = request.snap_bytes == 0 or request.snap_bytes >= MIN_SNAP_BYTES
    found.expect(
        sane, "snap_bytes", f"is {request.snap_bytes}, expected 0 (whole packets) or at least {MIN_SNAP_BYTES}"
    )
    sane = request.max_bytes == 0 or request.max_bytes >= MIN_CAPTURE_BYTES
    found.expect(sane, "max_bytes", f"is {request.max_bytes}, expected 0 (64 MiB) or at least {MIN_CAPTURE_BYTES}")
    negative = request.duration.seconds < 0 or request.duration.nanos < 0
    found.expect(not negative, "duration", "expected 0 (until the caller goes away) or more")


def check_image(found: Findings, chunk: pb.PutImageChunk) -> None:
    """The first chunk carries all fields."""
    found.sha256(chunk.sha256, "sha256")
    found.expect(chunk.format in _IMAGE_FORMATS, "format", f"is {chunk.format!r}, expected {', '.join(_IMAGE_FORMATS)}")
    found.expect(chunk.total_bytes > 0, "total_bytes", "expected more than 0")


def needed_capabilities(request: pb.AllocateComputeRequest) -> Iterable[tuple[str, pb.Capability.ValueType]]:
    """What a compute asks for that stands behind a capability."""
    if request.cpu_pinned:
        yield "cpu_pinned", pb.CAPABILITY_CPU_PINNING
    if request.hugepage_bytes:
        yield "hugepage_bytes", pb.CAPABILITY_HUGEPAGES
    if request.gpus:
        yield "gpus", pb.CAPABILITY_GPU
    if request.volumes:
        yield "volumes", pb.CAPABILITY_VOLUME
    if any(port.vnic == pb.Port.DIRECT for port in request.ports):
        yield "ports.vnic DIRECT", pb.CAPABILITY_SRIOV
    if request.HasField("worker"):
        yield "worker", pb.CAPABILITY_OPEN_WORKER


def needed_for_link(request: pb.AllocateLinkRequest) -> Iterable[tuple[str, pb.Capability.ValueType]]:
    """What a link asks for that stands behind a capability."""
    if request.steered:
        yield "steered", pb.CAPABILITY_STEER
    if request.HasField("segment"):
        name = pb.Segment.Encap.Name(request.segment.encap)
        yield f"segment {name}", _JOINING.get(request.segment.encap, pb.CAPABILITY_UNSPECIFIED)


def needed_for_path(request: pb.AllocatePathRequest) -> Iterable[tuple[str, pb.Capability.ValueType]]:
    """What a path asks for that stands behind a capability."""
    if request.match != pb.Classifier():
        yield "match", pb.CAPABILITY_STEER
    for index, hop in enumerate(request.hops):
        if len(hop.replicas) > 1:
            yield f"hops[{index}].replicas", pb.CAPABILITY_BALANCE


def refused_runtime(runtime: pb.Runtime.ValueType, resource_id: str) -> PluginError:
    """FAILED_PRECONDITION: this VIM has no such realization; another one may."""
    name = pb.Runtime.Name(runtime)
    return not_ready(f"runtime: {name} is not offered by this VIM", instance=resource_id, retry=NEW_PLACEMENT)


def _absolute(path: str) -> bool:
    return path.startswith("/") and ".." not in path.split("/") and "\0" not in path


@lru_cache(_REMEMBERED)
def _interface(text: str) -> bool:
    try:
        ipaddress.ip_interface(text)
    except ValueError:
        return False
    return "/" in text


@lru_cache(_REMEMBERED)
def _network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


@lru_cache(_REMEMBERED)
def _address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
