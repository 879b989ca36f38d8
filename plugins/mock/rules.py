"""What the mock's cloud refuses: dangling references, full hosts, removing what is still used. Pure but for reading."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from plugins.mock import workers
from plugins.mock.loads import AMOUNTS, Amounts, Overheads, taken
from plugins.mock.world import Thing, World
from vnfm.pb.common.v1.common_pb2 import Handle, Owner
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.problems import NEW_PLACEMENT, no_capacity, not_ready


def ports(thing: Thing) -> Sequence[pb.Port]:
    """The ports of a compute or SAP."""
    if isinstance(thing.spec, pb.AllocateComputeRequest):
        return list(thing.spec.ports)
    return [thing.spec.port] if isinstance(thing.spec, pb.AllocateSapRequest) else []


def images(request: pb.AllocateComputeRequest) -> Iterator[str]:
    """The images that a compute runs from."""
    for container in (*request.init_containers, *request.containers):
        yield container.image_sha256
    if request.boot.image_sha256:
        yield request.boot.image_sha256


def present(world: World, owner: Owner, handle: Handle, kind: pb.Kind.ValueType, about: str) -> Thing:
    """What a request refers to: it must be there, of that kind, and the same tenant's."""
    thing = world.get(owner.manager_id, handle.resource_id)
    what = pb.Kind.Name(kind).removeprefix("KIND_").lower()
    if thing is None or thing.resource.kind != kind or thing.resource.owner.tenant != owner.tenant:
        raise not_ready(f"{about}: there is no {what} {handle.resource_id!r}: allocate it first")
    return thing


def need(world: World, owner: Owner, handle: Handle, kind: pb.Kind.ValueType, about: str) -> Thing:
    """The same, and it must run."""
    thing = present(world, owner, handle, kind, about)
    if thing.resource.state != pb.STATE_RUNNING:
        what = pb.Kind.Name(kind).removeprefix("KIND_").lower()
        state = pb.State.Name(thing.resource.state).removeprefix("STATE_")
        raise not_ready(f"{about}: {what} {handle.resource_id!r} is {state}, not RUNNING")
    return thing


def check_compute(world: World, hosts: Mapping[str, pb.Host], request: pb.AllocateComputeRequest) -> pb.Cost:
    """Images, links, volumes, and room on the host; returns what the realization costs there."""
    for sha256 in images(request):
        if world.image_bytes(sha256) is None:
            raise not_ready(f"image {sha256} is not present: PutImage, then the same call")
    for port in request.ports:
        need(world, request.owner, port.link, pb.KIND_LINK, f"port {port.cp_id!r}")
    for mount in request.volumes:
        need(world, request.owner, mount.volume, pb.KIND_VOLUME, f"volume at {mount.path!r}")
    host = _worker(world, hosts, request) if request.HasField("worker") else known_host(hosts, request.host_id)
    cost = next((cost for cost in host.costs if cost.runtime == request.runtime), None)
    if cost is None:
        name = pb.Runtime.Name(request.runtime)
        raise not_ready(f"host {host.id!r} does not offer {name}", retry=NEW_PLACEMENT)
    if host.only_tenant and host.only_tenant != request.owner.tenant:
        raise not_ready(f"host {host.id!r} is for tenant {host.only_tenant!r} only", retry=NEW_PLACEMENT)
    _check_room(world, host, request)
    return cost


def _worker(world: World, hosts: Mapping[str, pb.Host], request: pb.AllocateComputeRequest) -> pb.Host:
    """The worker VM that it is to be in, as it is or will be, at the cost of a container that starts there now."""
    server = known_host(hosts, request.worker.host_id)
    size, opens = workers.check(world, server, request)
    host = workers.as_host(server, size, request.host_id)
    host.costs[0].start_ms = workers.start_ms(server, size, opens=opens)
    if opens:
        used = _used(world, server, None, None, but=host.id)
        _check_fits(f"host {server.id!r}", server.cells, used, workers.taken(size))
    return host


def known_host(hosts: Mapping[str, pb.Host], host_id: str) -> pb.Host:
    """The host, where it is there. One that is not active is switched on by what is put there."""
    host = hosts.get(host_id)
    if host is None:
        raise no_capacity(f"host {host_id!r} is unknown")
    return host


def _check_room(world: World, host: pb.Host, request: pb.AllocateComputeRequest) -> None:
    """Of the whole host, and of the cell that the request is bound to."""
    wanted = taken(request, _overheads(host))
    _check_fits(f"host {host.id!r}", host.cells, _used(world, host, None, request), wanted)
    if not request.HasField("numa_cell"):
        return
    cell = request.numa_cell
    if not 0 <= cell < len(host.cells):
        raise no_capacity(f"host {host.id!r} has no NUMA cell {cell}")
    where = f"NUMA cell {cell} of host {host.id!r}"
    _check_fits(where, [host.cells[cell]], _used(world, host, cell, request), wanted)


def _overheads(host: pb.Host) -> Overheads:
    return {each.runtime: each.memory_bytes for each in host.costs}


def _used(
    world: World, host: pb.Host, cell: int | None, but_for: pb.AllocateComputeRequest | None, but: str = ""
) -> list[int]:
    """What computes take of the host or of one cell, and open workers of the host, apart from one of each."""
    overheads = _overheads(host)
    used = list(world.loads.taken(host.id, cell, overheads))
    if but_for is not None:
        mine = _own(world, but_for, host.id, cell, overheads)
        used = [there - own for there, own in zip(used, mine, strict=True)]
    for worker in workers.taken_on(world, host, but) if cell is None else ():
        used = [there + more for there, more in zip(used, worker, strict=True)]
    return used


def _check_fits(where: str, cells: Sequence[pb.NumaCell], used: Sequence[int], wanted: Amounts) -> None:
    total = [sum(amounts) for amounts in zip(*map(_left, cells), strict=True)]
    for name, most, there, amount in zip(AMOUNTS, total, used, wanted, strict=True):
        left = most - there
        if amount and amount > left:
            overhead = ", overhead included" if name == "memory_bytes" else ""
            raise no_capacity(f"{where} has {left} {name} free, {amount} are needed{overhead}")


def _own(
    world: World, request: pb.AllocateComputeRequest, host_id: str, cell: int | None, overheads: Overheads
) -> Amounts:
    """What the compute itself takes there already, where it is built anew."""
    thing = world.get(request.owner.manager_id, request.resource_id)
    if thing is None or not isinstance(thing.spec, pb.AllocateComputeRequest) or thing.spec.host_id != host_id:
        return 0, 0, 0, 0, 0
    if cell is not None and not (thing.spec.HasField("numa_cell") and thing.spec.numa_cell == cell):
        return 0, 0, 0, 0, 0
    return taken(thing.spec, overheads)


def _left(cell: pb.NumaCell) -> Amounts:
    """By others of one cell."""
    return (
        cell.cpu_milli - cell.cpu_used_by_others_milli,
        cell.memory_bytes - cell.memory_used_by_others_bytes,
        cell.hugepage_bytes,
        cell.vfs,
        cell.gpus,
    )


def check_path(world: World, request: pb.AllocatePathRequest) -> None:
    """All hops are there with the ports that they are crossed by; replicas stand alike. Where a path was changed a hop
    may leave on another link than the one at which the next is entered: it is steered over.

    Whether they run is for the probe to tell: a path may be led back to what has died.
    """
    for index, hop in enumerate(request.hops):
        where = f"hops[{index}]"
        links = hop_links(world, request.owner, hop, hop.compute, where)
        for replica in hop.replicas:
            if hop_links(world, request.owner, hop, replica, f"{where}.replicas") != links:
                raise not_ready(f"{where}.replicas: {replica.resource_id!r} stands on other links than the first one")


def hop_links(world: World, owner: Owner, hop: pb.Hop, compute: Handle, where: str) -> tuple[str | None, str | None]:
    """The links on which an instance of a hop is entered and left; None at an edge, which another VIM knows."""
    kind = hop.WhichOneof("at")
    if kind == "edge":
        present(world, owner, hop.edge_link, pb.KIND_LINK, where)
        return None, None
    if kind == "sap":
        link = ports(present(world, owner, hop.sap, pb.KIND_SAP, where))[0].link.resource_id
        return link, link
    thing = present(world, owner, compute, pb.KIND_COMPUTE, where)
    links = {port.cp_id: port.link.resource_id for port in ports(thing)}
    for cp_id in (hop.ingress_cp_id, hop.egress_cp_id):
        if cp_id not in links:
            raise not_ready(f"{where}: compute {compute.resource_id!r} has no port {cp_id!r}")
    return links[hop.ingress_cp_id], links[hop.egress_cp_id]


def late_members(world: World, link: Thing) -> list[str]:
    """Ids of the computes and SAPs that have joined a link whose members were others."""
    if not isinstance(link.spec, pb.AllocateLinkRequest):
        return []
    named = {member.resource_id for member in link.spec.members}
    return [user for user in users(world, link) if user not in named] if named else []


def users(world: World, thing: Thing) -> list[str]:
    """Ids of what refers to it: ports and members of paths, mounts of volumes."""
    return sorted(world.users(thing.key))


def image_users(world: World, sha256: str) -> list[str]:
    """Ids of the computes that run from an image."""
    return sorted(
        thing.key[1]
        for thing in world.every()
        if isinstance(thing.spec, pb.AllocateComputeRequest) and sha256 in set(images(thing.spec))
    )
