"""Links, joined links and paths in Neutron, each a stack."""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from plugins.openstack import chaining, joining, linkhot, states
from plugins.openstack.corrections import Wire
from plugins.openstack.errors import ApiError, to_problem
from plugins.openstack.stacks import Stack
from plugins.openstack.stamp import Stamp, stack_name
from plugins.openstack.world import Key, Project, World
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.handlers import Report, Stamped
from vnfm.pluginkit.problems import PluginError, failed, not_ready, unimplemented

_TOO_BIG = re.compile(r"MTU is too big, maximum is (\d+)")
_EVERYTHING = {4: "0.0.0.0/0", 6: "::/0"}
_STANDS_S = 60.0  # so long a link that was seen is taken to be there: Heat says soon enough when its network is gone


class Links:
    """LinkPart, JoinPart and PathPart."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._subnets: dict[str, dict[str, str]] = {}  # network -> cidr -> subnet
        self._largest_mtu: dict[str, int] = {}  # project -> as the cloud said when more was asked for
        self._making: dict[str, asyncio.Lock] = {}
        self._chains: dict[str, bool] = {}  # project -> whether it has networking-sfc
        self._standing: dict[Key, tuple[float, Stack]] = {}

    async def allocate_link(
        self, request: pb.AllocateLinkRequest, spec_digest: str, found: Stamped | None, report: Report
    ) -> pb.Resource:
        """A network with its subnets. A cloud whose networks carry less than the MTU asked for gives what it has."""
        world, project = self._world, self._world.project(request.owner.tenant)
        if found is not None:
            await self.clear(request.owner.manager_id, request.resource_id, report)
        segment, physical = request.segment, world.settings.physical_network
        if request.HasField("segment"):
            physical = joining.expect(world.settings.networks, segment, request.resource_id).physical_network
        members = tuple(member.resource_id for member in request.members)
        stamp = Stamp(
            request.resource_id,
            pb.KIND_LINK,
            spec_digest,
            request.owner,
            members=members,
            network=segment.physical_network,
        )
        name = stack_name(request.owner.manager_id, request.resource_id)
        mtu_bytes = min(request.mtu_bytes, self._largest_mtu.get(project.cloud.project_id, request.mtu_bytes))
        hot = linkhot.link(name, request.cidrs, mtu_bytes, segment, physical)
        try:
            stack = await project.stacks.create(stamp, hot, report)
        except PluginError as error:
            largest = _TOO_BIG.search(error.problem.detail)
            if largest is None:
                raise
            report(20, f"the cloud's networks carry at most {largest[1]} bytes")
            self._largest_mtu[project.cloud.project_id] = int(largest[1])
            await self.clear(request.owner.manager_id, request.resource_id, report)
            hot = linkhot.link(name, request.cidrs, int(largest[1]), segment, physical)
            stack = await project.stacks.create(stamp, hot, report)
        outputs = await project.stacks.outputs(stack)
        network_id = str(outputs.get("network", ""))
        self._subnets[network_id] = linkhot.subnets(request.cidrs, outputs)
        self._standing[(request.owner.manager_id, request.resource_id)] = (world.clock_s(), stack)
        network = (await project.cloud.get("network", f"/networks/{network_id}"))["network"]
        made = states.stamped(stack, network, world.settings.networks, world.endpoints)
        if request.HasField("segment") and not made.resource.HasField("link_end"):
            raise failed(
                "our credentials may not read the network's segment, so nobody can join it",
                instance=request.resource_id,
            )
        world.remember(made)
        return made.resource

    async def join_link(self, request: pb.JoinLinkRequest, found: Stamped, report: Report) -> pb.Resource:
        """Neutron's segment is Neutron's to choose: others join with that one, and we see that they do."""
        joining.check_ends(found.resource, request.ends)
        return found.resource

    async def allocate_path(
        self, request: pb.AllocatePathRequest, spec_digest: str, found: Stamped | None, report: Report
    ) -> pb.Resource:
        """The hops' ports let others' packets pass. Where the cloud has networking-sfc it leads them from hop to hop;
        else the routes do that the guests have had from DHCP since they were made, so that such a path cannot be led
        elsewhere while it is there."""
        owner = request.owner
        ports, way = await self._hops(request)
        steers = await self._steers(self._world.project(owner.tenant))
        steering = chaining.resources(way, request.match, symmetric=request.symmetric) if steers else {}
        stamp = Stamp(request.resource_id, pb.KIND_PATH, spec_digest, owner, generation=request.generation)
        project, hot = self._world.project(owner.tenant), linkhot.path(list(ports), steering)
        left: set[str] = set()
        if found is None:
            stack = await project.stacks.create(stamp, hot, report)
        else:
            there = await project.stacks.find(owner.manager_id, request.resource_id)
            if there is None or not there.complete:
                await self.clear(owner.manager_id, request.resource_id, report)
                stack = await project.stacks.create(stamp, hot, report)
            else:
                before = set((await project.stacks.outputs(there)).get("ports") or [])
                if before != set(ports) and not (steers and way.groups):
                    raise unimplemented("other hops for a path that is there", "CAPABILITY_STEER")
                stack = await project.stacks.retag(there, stamp, hot, report)
                left = before - set(ports)
        await asyncio.gather(*(self._open(project, port) for port in ports.values()))
        if left:
            await self.close_path(project, owner.manager_id, request.resource_id, sorted(left))
        return states.stamped(stack, None).resource

    async def _hops(self, request: pb.AllocatePathRequest) -> tuple[dict[str, Mapping[str, Any]], chaining.Way]:
        """The native ports of all computes on the way by id, and by which of them packets come and go;
        FAILED_PRECONDITION names the hop that is not there."""
        found: dict[str, Mapping[str, Any]] = {}
        groups: list[tuple[chaining.Member, ...]] = []
        whole = True  # a VNF that no pair of ports leads through would be passed by
        for hop in request.hops:
            kind = hop.WhichOneof("at")
            if kind == "edge":
                continue  # there the path goes on in another VIM
            if kind == "sap":
                raise not_ready(f"hop {hop.sap.resource_id!r} is not there: a cloud has no ends")
            members = []
            for handle in hop.replicas or [hop.compute]:
                ports = await self._ports_of(request.owner.manager_id, handle.resource_id)
                found |= {str(port["id"]): port for port in ports}
                members.append(chaining.member_of(ports, hop))
            groups.append(tuple(filter(None, members)))
            whole = whole and all(members)
        return found, chaining.Way(tuple(groups) if whole else ())

    async def _ports_of(self, manager_id: str, resource_id: str) -> list[Mapping[str, Any]]:
        """A compute's ports as Neutron has them, by their number."""
        there = await self._world.stack(manager_id, resource_id)
        if there is None or not there[1].complete:
            raise not_ready(f"hop {resource_id!r} is not there: allocate it first")
        project, stack = there
        outputs = await project.stacks.outputs(stack)
        ids = [str(value) for name, value in sorted(outputs.items()) if name.startswith("port")]
        found = await asyncio.gather(*(project.cloud.get("network", f"/ports/{port_id}") for port_id in ids))
        return [one["port"] for one in found]

    async def _steers(self, project: Project) -> bool:
        """Whether Neutron leads packets from port to port; asked once a project."""
        if self._world.settings.steering == "routes":
            return False
        project_id = project.cloud.project_id
        if project_id not in self._chains:
            self._chains[project_id] = await chaining.offered(project.cloud)
        return self._chains[project_id]

    async def _open(self, project: Project, port: Mapping[str, Any]) -> None:
        """Others' addresses may pass, too. A port without security (a bump in the wire) lets everything pass anyway."""
        if port.get("port_security_enabled") is False:
            return
        versions = {ipaddress.ip_address(one["ip_address"]).version for one in port["fixed_ips"]} or {4}
        every = [{"ip_address": _EVERYTHING[version]} for version in sorted(versions)]
        await self._pairs(project, str(port["id"]), [*_shared(port), *every])

    async def _shut(self, project: Project, port_id: str) -> None:
        """Its own addresses only, and those that it shares with others."""
        found = await project.cloud.get_or_none("network", f"/ports/{port_id}")
        if found is not None:
            await self._pairs(project, port_id, _shared(found["port"]))

    async def _pairs(self, project: Project, port_id: str, pairs: Sequence[Mapping[str, str]]) -> None:
        try:
            await project.cloud.call("network", "PUT", f"/ports/{port_id}", {"port": {"allowed_address_pairs": pairs}})
        except ApiError as error:
            if error.status != 404:
                raise to_problem(error) from error

    async def close_path(self, project: Project, manager_id: str, path_id: str, port_ids: Iterable[str]) -> None:
        """Ports that no other path leads over let only their own packets pass again."""
        every = await self._world.find_all(manager_id)
        others = [s.resource.handle.resource_id for s in every if s.resource.kind == pb.KIND_PATH]
        kept: set[str] = set()
        for other in others:
            if other != path_id and (there := await project.stacks.find(manager_id, other)):
                kept.update((await project.stacks.outputs(there)).get("ports") or [])
        await asyncio.gather(*(self._shut(project, port_id) for port_id in port_ids if port_id not in kept))

    async def users(self, project: Project, network_id: str) -> list[str]:
        """Ports on a network that are nobody's service: what uses it."""
        found = (await project.cloud.get("network", "/ports", params={"network_id": network_id}))["ports"]
        return [
            str(port["device_id"] or port["name"] or port["id"])
            for port in found
            if not str(port["device_owner"]).startswith("network:")
        ]

    async def clear(self, manager_id: str, resource_id: str, report: Report) -> None:
        """What an earlier try left: away with it."""
        self.forget(manager_id, resource_id)
        there = await self._world.stack(manager_id, resource_id)
        if there is not None:
            await there[0].stacks.delete(there[1], report, force=True)

    async def wires(self, project: Project, manager_id: str, ports: Sequence[pb.Port]) -> tuple[Wire, ...]:
        """Where each port goes. FAILED_PRECONDITION names a link that is not there."""
        return tuple(await asyncio.gather(*(self._wire(project, manager_id, port) for port in ports)))

    async def _wire(self, project: Project, manager_id: str, port: pb.Port) -> Wire:
        stack = await self._stack(project, manager_id, port.link.resource_id)
        outputs = await project.stacks.outputs(stack)
        network_id = str(outputs["network"])
        subnets = [await self._subnet(project, network_id, stack.name, ip) for ip in port.ips]
        dhcp = linkhot.dhcp_address(ipaddress.ip_interface(port.ips[0]).network) if port.ips else ""
        return Wire(network_id, tuple(subnets), str(outputs["group"]), dhcp)

    async def _stack(self, project: Project, manager_id: str, link_id: str) -> Stack:
        key = (manager_id, link_id)
        at_s, known = self._standing.get(key, (0.0, None))
        if known is not None and self._world.clock_s() - at_s < _STANDS_S:
            return known
        stack = await project.stacks.find(manager_id, link_id)
        if stack is None or stack.stamp.kind != pb.KIND_LINK or not stack.complete:
            raise not_ready(f"link {link_id!r} is not there: allocate it first")
        if len(self._standing) > 4096:
            self._standing.clear()
        self._standing[key] = (self._world.clock_s(), stack)
        return stack

    async def _subnet(self, project: Project, network_id: str, name: str, ip: str) -> str:
        """The subnet that holds the address, made where the link was made without."""
        address = ipaddress.ip_interface(ip)
        async with self._making.setdefault(network_id, asyncio.Lock()):
            if found := _holding(self._subnets.get(network_id, {}), address):
                return found
            answer = await project.cloud.get("network", "/subnets", params={"network_id": network_id})
            self._subnets[network_id] = {str(one["cidr"]): str(one["id"]) for one in answer["subnets"]}
            if found := _holding(self._subnets[network_id], address):
                return found
            body = linkhot.subnet(str(address.network), f"{name}-{len(answer['subnets'])}")
            body.update(network_id=network_id, gateway_ip=None)
            try:
                made = await project.cloud.call("network", "POST", "/subnets", {"subnet": body})
            except ApiError as error:
                raise to_problem(error) from error
            self._subnets[network_id][str(address.network)] = str(made["subnet"]["id"])
            return str(made["subnet"]["id"])

    def forget(self, manager_id: str, resource_id: str) -> None:
        """A link is going away, or may be gone: look again."""
        self._world.forget(manager_id, resource_id)
        self._standing.pop((manager_id, resource_id), None)

    def forget_network(self, network_id: str) -> None:
        """It is gone."""
        self._subnets.pop(network_id, None)
        self._making.pop(network_id, None)


def _shared(port: Mapping[str, Any]) -> list[dict[str, str]]:
    """Addresses that were there before any path: a VipCp's."""
    found = [str(one["ip_address"]) for one in port.get("allowed_address_pairs") or ()]
    return [{"ip_address": address} for address in found if address not in _EVERYTHING.values()]


def _holding(subnets: Mapping[str, Any], address: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> str:
    return next((str(found) for cidr, found in subnets.items() if address.ip in ipaddress.ip_network(cidr)), "")
