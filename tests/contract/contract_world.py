"""Requests that make sense together: a link, a compute on it, a short chain."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from contract_client import CALL_S, Caller, done, new_id
from contract_targets import Target
from google.protobuf.duration_pb2 import Duration

from vnfm.pb.common.v1.common_pb2 import Handle
from vnfm.pb.vim.v1 import vim_pb2 as pb

MIB = 1 << 20


@dataclass(frozen=True)
class Running:
    """A configured plugin."""

    target: Target
    address: str
    offer: pb.HandshakeResponse

    def needs(self, *capabilities: pb.Capability.ValueType) -> None:
        """Skip the test where the plugin does not offer these."""
        for capability in capabilities:
            if capability not in self.offer.capabilities:
                pytest.skip(f"{self.target.name} does not offer {pb.Capability.Name(capability)}")


@dataclass
class World:
    """Builds requests for one target as one manager, and calls them."""

    caller: Caller
    target: Target
    links: dict[tuple[str, str], str] = field(default_factory=dict)
    """Of the chains that were made: (path_id, cp_id of its end) -> link_id."""

    def host_id(self) -> str:
        """A host that offers the target's runtime."""
        for chunk in self.caller.snapshot():
            for host in chunk.hosts:
                if self.target.runtime in host.runtimes and host.active:
                    return host.id
        raise AssertionError("no host offers the runtime")

    def image(self) -> str:
        """The container's image, put where it is missing."""
        return self.caller.put(self.target.image())

    def link_request(self, resource_id: str = "", *, mtu_bytes: int = 1400) -> pb.AllocateLinkRequest:
        """A link without members."""
        return pb.AllocateLinkRequest(
            resource_id=resource_id or new_id(), owner=self.caller.owner(), mtu_bytes=mtu_bytes
        )

    def link(self, request: pb.AllocateLinkRequest | None = None) -> pb.Resource:
        """Allocate it."""
        return done(self.caller.network.AllocateLink(request or self.link_request(), timeout=CALL_S))

    def compute_request(self, *ports: pb.Port, name: str = "one", resource_id: str = "") -> pb.AllocateComputeRequest:
        """One container that sleeps and forwards, or a VM."""
        request = pb.AllocateComputeRequest(
            resource_id=resource_id or new_id(),
            owner=self.caller.owner(),
            host_id=self.host_id(),
            runtime=self.target.runtime,
            cpu_milli=100,
            memory_bytes=64 * MIB,
            ports=ports,
            name=name,
        )
        self.caller.begun.append(request.resource_id)
        if self.target.runtime == pb.RUNTIME_VM:
            request.boot.CopyFrom(pb.Disk(image_sha256=self.image(), format=self.target.image().format))
        else:
            request.containers.add(
                name="main",
                image_sha256=self.image(),
                command=self.target.sleeper,
                sysctls={"net.ipv4.ip_forward": "1"},
            )
        return request

    def compute(self, request: pb.AllocateComputeRequest) -> pb.Resource:
        """Allocate it."""
        return done(self.caller.compute.AllocateCompute(request, timeout=CALL_S))

    def operate(self, request: pb.OperateComputeRequest) -> pb.Resource:
        """Start, stop and the like."""
        return done(self.caller.compute.OperateCompute(request, timeout=CALL_S))

    def sap_request(self, name: str, port: pb.Port, resource_id: str = "") -> pb.AllocateSapRequest:
        """An end of a chain."""
        return pb.AllocateSapRequest(
            resource_id=resource_id or new_id(),
            owner=self.caller.owner(),
            host_id=self.host_id(),
            name=name,
            port=port,
        )

    def sap(self, request: pb.AllocateSapRequest) -> pb.Resource:
        """Allocate it."""
        return done(self.caller.network.AllocateSap(request, timeout=CALL_S))

    def path(self, request: pb.AllocatePathRequest) -> pb.Resource:
        """Allocate it."""
        return done(self.caller.network.AllocatePath(request, timeout=CALL_S))

    def probe(
        self, path: pb.Resource, packets: int = 5, *, trace: bool = False, patience_s: int = 30
    ) -> pb.ProbePathResponse:
        """Probe it, patiently."""
        return self.caller.network.ProbePath(
            pb.ProbePathRequest(
                path=Handle(resource_id=path.handle.resource_id),
                packets=packets,
                patience=Duration(seconds=patience_s),
                owner=self.caller.owner(),
                trace=trace,
            ),
            timeout=CALL_S,
        )

    def terminate(self, *resource_ids: str) -> None:
        """Each of these is gone afterwards."""
        for resource_id in resource_ids:
            assert self.caller.terminate(resource_id).state == pb.STATE_ABSENT

    def chain(self) -> pb.AllocatePathRequest:
        """client - left - one - right - server, all but the path allocated; the path's request."""
        left, right = self.link_request(), self.link_request()
        forwarder = self.compute_request(
            port("in", left.resource_id, "10.99.1.1/24"), port("out", right.resource_id, "10.99.2.1/24")
        )
        client = self.sap_request(
            "client", port("c0", left.resource_id, "10.99.1.2/24", via="10.99.1.1", to="10.99.2.0/24")
        )
        server = self.sap_request(
            "server", port("s0", right.resource_id, "10.99.2.2/24", via="10.99.2.1", to="10.99.1.0/24")
        )
        for link, ends in (
            (left, ((client, "c0"), (forwarder, "in"))),
            (right, ((forwarder, "out"), (server, "s0"))),
        ):
            for end, cp_id in ends:
                runtime = end.runtime if isinstance(end, pb.AllocateComputeRequest) else pb.RUNTIME_UNSPECIFIED
                link.members.add(resource_id=end.resource_id, cp_id=cp_id, runtime=runtime, host_id=end.host_id)
            self.link(link)
        self.compute(forwarder)
        self.sap(client)
        self.sap(server)
        path_id = new_id()
        self.links.update({(path_id, "c0"): left.resource_id, (path_id, "s0"): right.resource_id})
        return pb.AllocatePathRequest(
            resource_id=path_id,
            owner=self.caller.owner(),
            hops=[
                pb.Hop(sap=Handle(resource_id=client.resource_id), name="client"),
                pb.Hop(
                    compute=Handle(resource_id=forwarder.resource_id),
                    ingress_cp_id="in",
                    egress_cp_id="out",
                    name="one",
                ),
                pb.Hop(sap=Handle(resource_id=server.resource_id), name="server"),
            ],
            symmetric=True,
            generation=1,
        )


def disk_or_container(request: pb.AllocateComputeRequest) -> pb.Disk | pb.Container:
    """What names the compute's image."""
    return request.boot if request.runtime == pb.RUNTIME_VM else request.containers[0]


def port(cp_id: str, link_id: str, *ips: str, via: str = "", to: str = "") -> pb.Port:
    """A port on a link that is known by its id alone."""
    routes = [pb.Route(destination=to, via=via)] if to else []
    return pb.Port(cp_id=cp_id, link=Handle(resource_id=link_id), ips=ips, routes=routes)
