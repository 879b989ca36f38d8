"""Links, service access points, paths and probes: the contract's words turned into those of plugins.local.net."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace

import grpc

from plugins.local import net, outward
from plugins.local.counts import counted
from plugins.local.net.counter import Counter
from plugins.local.net.locks import NamedLocks
from vnfm.pb.common.v1.common_pb2 import Handle, Owner
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.handlers import Stamped
from vnfm.pluginkit.problems import (
    NEVER,
    NEW_PLACEMENT,
    PluginError,
    already_exists,
    failed,
    invalid,
    not_ready,
)

DEFAULT_MTU_BYTES = 1500
_KINDS = {"LINK": pb.KIND_LINK, "SAP": pb.KIND_SAP, "PATH": pb.KIND_PATH}
_NET_KINDS = {
    pb.KIND_LINK: net.ResourceKind.LINK,
    pb.KIND_SAP: net.ResourceKind.NAMESPACE,
    pb.KIND_PATH: net.ResourceKind.PATH,
}
_STATES = {
    net.State.RUNNING: pb.STATE_RUNNING,
    net.State.CHANGING: pb.STATE_BUILDING,
    net.State.FAILED: pb.STATE_FAILED,
}
MEMBER_KINDS = {
    pb.RUNTIME_UNSPECIFIED: net.MemberKind.SAP,
    pb.RUNTIME_CONTAINER: net.MemberKind.CONTAINER,
    pb.RUNTIME_KATA: net.MemberKind.KATA,
    pb.RUNTIME_VM: net.MemberKind.VM,
}


def as_problem(error: net.NetError, instance: str = "") -> PluginError:
    """A refusal of the network library in the contract's terms."""
    if isinstance(error, net.InvalidSpecError):
        return PluginError("invalid-request", error.detail, grpc.StatusCode.INVALID_ARGUMENT, instance=instance)
    if isinstance(error, net.AlreadyExistsError):
        return already_exists(instance, error.detail)
    if isinstance(error, net.NotThereError):
        return not_ready(error.detail, instance=instance)
    if isinstance(error, net.StaleGenerationError):
        return PluginError("stale-generation", error.detail, grpc.StatusCode.ABORTED, instance=instance)
    if isinstance(error, net.SegmentTakenError):
        return not_ready(error.detail, instance=instance, retry=NEW_PLACEMENT)
    return failed(error.detail, instance=instance)


def port_spec(port: pb.Port) -> net.PortSpec:
    """A port of a compute or SAP."""
    return net.PortSpec(
        cp_id=port.cp_id,
        ips=tuple(port.ips),
        mac=port.mac,
        mtu_bytes=port.mtu_bytes,
        routes=tuple(net.Route(route.destination, route.via) for route in port.routes),
        l2_transparent=port.l2_transparent,
    )


class NetPart:
    """Blocking; `runtime_of` tells what a compute is realized as (None: not there), `ports_of` what ports it has."""

    def __init__(
        self,
        network: net.HostNetwork,
        host_id: str,
        runtime_of: Callable[[str], pb.Runtime.ValueType | None],
        ports_of: Callable[[str], list[pb.Port]],
        scope: str,
    ) -> None:
        """`scope` tells what this plugin makes from what another one makes for the same chain on this host."""
        self._network = network
        self._host_id = host_id
        self._runtime_of = runtime_of
        self._ports_of = ports_of
        self._scope = scope
        self._reshaping = NamedLocks()

    def find_all(self) -> list[Stamped]:
        """Links, SAPs and paths of all managers."""
        return self._found(None)

    def find(self, resource_id: str) -> Stamped | None:
        """One of them by its id."""
        return next(iter(self._found((resource_id,))), None)

    def _found(self, only: Container[str] | None) -> list[Stamped]:
        seen = ((one, _KINDS.get(one.owner.get("kind", ""))) for one in self._network.query(only))
        return [self._stamped(one, kind) for one, kind in seen if kind is not None]

    def allocate_link(self, request: pb.AllocateLinkRequest, digest: str) -> pb.Resource:
        """A link with its members' ports."""
        for number, member in enumerate(request.members):
            if member.host_id not in ("", self._host_id):
                raise invalid(
                    f"members[{number}].host_id",
                    f"{member.host_id!r} is not this host ({self._host_id!r}): cut the link",
                )
        spec = net.LinkSpec(
            id=request.resource_id,
            members=tuple(
                net.Member(member.resource_id, member.cp_id, MEMBER_KINDS[member.runtime]) for member in request.members
            ),
            chain_id=self._fabric(request.owner),
            mtu_bytes=request.mtu_bytes or DEFAULT_MTU_BYTES,
            steered=request.steered,
            owner=_owner("LINK", request.owner, digest),
            open_ended=not (request.members or request.steered or request.HasField("segment")),
        )
        try:
            if request.HasField("segment"):
                wish = outward.segment_in(request.segment)
                spec = replace(spec, segment=self._network.free_segment(spec.id, wish))
            link = self._network.allocate_link(spec)
            resource = self._resource(request.resource_id, link.native_id, pb.KIND_LINK, request.owner)
            return self._with_end(resource)
        except net.NetError as error:
            raise as_problem(error, request.resource_id) from error

    def join_link(self, request: pb.JoinLinkRequest, found: pb.Resource) -> pb.Resource:
        """The link goes on outside, by the segment that the other ends have."""
        link_id = request.link.resource_id
        try:
            spec = self._network.link(link_id)
            if spec is None or spec.segment is None:
                raise not_ready(f"link {link_id!r} was allocated without a segment", instance=link_id, retry=NEVER)
            segment, remotes = outward.joined(request.ends, spec.segment)
            self._network.extend_link(link_id, segment, remotes)
            return self._with_end(found)
        except net.NetError as error:
            raise as_problem(error, link_id) from error

    def _with_end(self, resource: pb.Resource) -> pb.Resource:
        """The same, telling how other VIMs can join it, where they can."""
        spec = self._network.link(resource.handle.resource_id)
        if spec is None or spec.segment is None:
            return resource
        told = pb.Resource()
        told.CopyFrom(resource)
        told.link_end.CopyFrom(outward.link_end(spec.segment, self._network.outside(spec.segment.network)))
        return told

    def allocate_sap(self, request: pb.AllocateSapRequest, digest: str) -> pb.Resource:
        """A namespace with an address of its own, on its link."""
        if request.host_id != self._host_id:
            raise invalid("host_id", f"{request.host_id!r} is unknown here; this VIM has {self._host_id!r}")
        owner = _owner("SAP", request.owner, digest)
        owner["addresses"] = " ".join(request.port.ips)
        owner["link"] = request.port.link.resource_id
        owner["cp"] = request.port.cp_id
        owner["port"] = base64.b64encode(request.port.SerializeToString()).decode()
        self.check_links([request.port])
        try:
            self._network.ensure_namespace(request.resource_id, {**owner, "phase": "building"})
            self.join(request.resource_id, net.MemberKind.SAP, [request.port])
            self.configure(request.resource_id, [request.port])
            name = self._network.ensure_namespace(request.resource_id, owner)
        except net.NetError as error:
            raise as_problem(error, request.resource_id) from error
        return self._resource(request.resource_id, name, pb.KIND_SAP, request.owner, tuple(request.port.ips))

    def allocate_path(
        self, request: pb.AllocatePathRequest, digest: str, tell: Callable[[str], None] = lambda _text: None
    ) -> pb.Resource:
        """Steering along the hops, or another generation of it; `tell` hears how long the switch itself took."""
        match = _match(request.match)
        saps = [hop.sap.resource_id for hop in request.hops if hop.HasField("sap")]
        cps = {seen.id: seen.owner.get("cp", "") for seen in self._network.query(saps)}
        hops = tuple(self._hop(hop, number, cps) for number, hop in enumerate(request.hops))
        hops = (replace(hops[0], ingress_cp=""), *hops[1:-1], replace(hops[-1], egress_cp=""))
        owner = {**_owner("PATH", request.owner, digest), "generation": str(request.generation)}
        spec = net.PathSpec(request.resource_id, hops, self._fabric(request.owner), request.generation, owner, match)
        try:
            done = self._network.allocate_path(spec)
        except net.NetError as error:
            raise as_problem(error, request.resource_id) from error
        switched_ns = time.time_ns() - done.drain_us * 1000
        tell(f"switched in {done.switch_us / 1000:.1f} ms, drained for {done.drain_us / 1000:.0f} ms")
        made = self.find(request.resource_id)
        if made is None:
            raise failed("the path went away as soon as it was made", instance=request.resource_id)
        made.resource.changed_at.FromNanoseconds(switched_ns)
        return made.resource

    def probe(self, request: pb.ProbePathRequest) -> pb.ProbePathResponse:
        """Real packets, counted at every hop."""
        patience = request.patience.seconds + request.patience.nanos / 1e9
        path_id = request.path.resource_id
        try:
            result = self._network.probe_path(path_id, request.packets, patience, request.token, request.destination)
        except net.NetError as error:
            raise as_problem(error, path_id) from error
        return counted(result, trace=request.trace)

    def begin_count(self, begin: pb.CountProbeRequest.Begin) -> Counter:
        """Looks for packets with the token at the path's hops from now on, until it is closed."""
        path_id = begin.path.resource_id
        try:
            return self._network.count_probe(path_id, begin.token)
        except net.NetError as error:
            raise as_problem(error, path_id) from error

    def configure(self, resource_id: str, ports: Iterable[pb.Port]) -> None:
        """Addresses and routes of ports; where a port went with an earlier namespace, its link is mended first."""
        for port in ports:
            try:
                self._network.configure_port(resource_id, port_spec(port))
            except net.NotThereError:
                self._mend(port.link.resource_id)
                self._network.configure_port(resource_id, port_spec(port))

    def _mend(self, link_id: str) -> None:
        """Makes what is missing of a link anew. The ends of a pair go and come together, so all are set up again."""
        spec = self._network.link(link_id)
        if spec is None:
            return
        self._network.allocate_link(spec)
        for member in spec.late:
            self._network.join_link(link_id, member)
        members = [member.resource_id for member in (*spec.members, *spec.late)]
        saps = {seen.id: seen.owner.get("port", "") for seen in self._network.query(members)}
        for member in (*spec.members, *spec.late):
            sap = saps.get(member.resource_id)
            ports = [pb.Port.FromString(base64.b64decode(sap))] if sap else self._ports_of(member.resource_id)
            for port in ports:
                if port.cp_id == member.cp_id and member.kind.has_namespace:
                    self._network.configure_port(member.resource_id, port_spec(port))

    def check_links(self, ports: Iterable[pb.Port]) -> None:
        """FAILED_PRECONDITION names a link that is not there."""
        for port in ports:
            if self._network.link(port.link.resource_id) is None:
                raise not_ready(f"link {port.link.resource_id!r} is not there: allocate it, then the same call")

    def join(self, resource_id: str, kind: net.MemberKind, ports: Iterable[pb.Port]) -> None:
        """Where a port's link was allocated without this member, it becomes one now."""
        for port in ports:
            link_id, member = port.link.resource_id, net.Member(resource_id, port.cp_id, kind)
            spec = self._network.link(link_id)
            if spec is not None and spec.open_ended:
                self._reshape(link_id, resource_id, (member,))
            elif spec is not None and (member not in spec.members or resource_id in spec.gone):
                self._network.join_link(link_id, member)

    def leave(self, resource_id: str, link_ids: Iterable[str]) -> None:
        """No member any more of links."""
        for link_id in link_ids:
            spec = self._network.link(link_id)
            if spec is not None and spec.open_ended:
                self._reshape(link_id, resource_id, ())
            elif spec is not None:
                self._network.leave_link(link_id, resource_id)

    def _reshape(self, link_id: str, resource_id: str, joining: tuple[net.Member, ...]) -> None:
        """On an open-ended link: `joining` come; without any, all of this resource's members go."""
        with self._reshaping.hold(link_id):
            spec = self._network.link(link_id)
            if spec is None or not spec.open_ended:
                return
            kept = [one for one in spec.members if joining or one.resource_id != resource_id]
            members = tuple(dict.fromkeys((*kept, *joining)))
            if members != spec.members:
                self._network.allocate_link(replace(spec, members=members))

    def link_in_use(self, link_id: str) -> list[str]:
        """The SAPs on it."""
        return [seen.id for seen in self._network.query() if seen.owner.get("link") == link_id]

    def terminate(self, resource_id: str, kind: pb.Kind.ValueType | None) -> None:
        """Gone, whatever is left; without a kind all are tried."""
        kinds = [_NET_KINDS[kind]] if kind in _NET_KINDS else list(_NET_KINDS.values())
        try:
            if kind == pb.KIND_SAP:
                links = [seen.owner.get("link", "") for seen in self._network.query((resource_id,))]
                self.leave(resource_id, filter(None, links))
            for one in kinds:
                self._network.terminate(resource_id, one)
        except net.NetError as error:
            raise as_problem(error, resource_id) from error

    def _hop(self, hop: pb.Hop, number: int, sap_cps: Mapping[str, str]) -> net.Hop:
        where = f"hops[{number}]"
        if hop.HasField("edge"):
            link_id = hop.edge_link.resource_id
            name = hop.name or f"edge {link_id}"
            return net.Hop(link_id, net.MemberKind.EDGE, net.EDGE_CP, net.EDGE_CP, name)
        if hop.HasField("sap"):
            resource_id, kind = hop.sap.resource_id, net.MemberKind.SAP
        else:
            resource_id = hop.compute.resource_id
            kind = self._kind_of(resource_id, where)
        every = tuple(
            net.Replica(one.resource_id, self._kind_of(one.resource_id, f"{where}.replicas[{index}]"))
            for index, one in enumerate(hop.replicas)
        )
        if every and resource_id not in [one.resource_id for one in every]:
            raise invalid(f"{where}.replicas", f"expected all of them, {resource_id!r} among them")
        only = sap_cps.get(resource_id, "")  # a SAP has one port: it need not be named
        ingress, egress = hop.ingress_cp_id or only, hop.egress_cp_id or only
        replicas = every if len(every) > 1 else ()
        return net.Hop(resource_id, kind, ingress, egress, hop.name or resource_id, replicas)

    def _fabric(self, owner: Owner) -> str:
        """Whose steered ports lie together: the chain's, within this plugin; what belongs to no chain lies with its
        manager's other such. A chain that stood before plugins were told apart stays where it is."""
        chain = (owner.chain_id or f"no-chain.{owner.manager_id}")[:110]
        return chain if self._network.has_chain(chain) else f"{chain}.{self._scope}"

    def _kind_of(self, resource_id: str, where: str) -> net.MemberKind:
        runtime = self._runtime_of(resource_id)
        if runtime is None:
            raise not_ready(f"{where}: compute {resource_id!r} is not there: allocate it, then the same call")
        return MEMBER_KINDS[runtime]

    def _stamped(self, seen: net.Observed, kind: pb.Kind.ValueType) -> Stamped:
        owner = Owner.FromString(base64.b64decode(seen.owner.get("owner", "")))
        state = _STATES[seen.state]
        if seen.owner.get("phase") == "building":
            state = pb.STATE_BUILDING
        addresses = tuple(seen.owner.get("addresses", "").split())
        resource = self._resource(seen.id, seen.native_id, kind, owner, addresses)
        resource.state, resource.reason = state, seen.reason
        if kind == pb.KIND_LINK:
            with suppress(net.NetError):  # its network may be gone: then it says so by its state
                resource = self._with_end(resource)
        return Stamped(resource, seen.owner.get("digest", ""), int(seen.owner.get("generation", "0")))

    def _resource(
        self, resource_id: str, native_id: str, kind: pb.Kind.ValueType, owner: Owner, addresses: tuple[str, ...] = ()
    ) -> pb.Resource:
        return pb.Resource(
            handle=Handle(resource_id=resource_id, native_id=native_id),
            state=pb.STATE_RUNNING,
            addresses=addresses,
            host_id=self._host_id,
            kind=kind,
            owner=owner,
        )


def _match(match: pb.Classifier) -> net.Match:
    """What a path takes; INVALID_ARGUMENT for what cannot be told apart here."""
    if match.vlan:
        detail = f"is {match.vlan}; this host's kernel cannot be relied on to know VLAN tags: leave it empty"
        raise invalid("match.vlan", detail)
    return net.Match(
        source_cidr=match.source_cidr,
        destination_cidr=match.destination_cidr,
        ip_protocol=match.ip_protocol,
        source_port=match.source_port,
        destination_port=match.destination_port,
        dscp=match.dscp,
    )


def _owner(kind: str, owner: Owner, digest: str) -> dict[str, str]:
    return {"kind": kind, "owner": base64.b64encode(owner.SerializeToString()).decode(), "digest": digest}
