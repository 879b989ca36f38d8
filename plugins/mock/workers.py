"""Worker VMs that the mock opens on demand: one is there as long as a compute is in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from plugins.mock.world import World
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.problems import NEW_PLACEMENT, invalid, no_capacity, not_ready

Amounts = tuple[int, int, int, int, int]


def open_hosts(world: World, servers: Mapping[str, pb.Host]) -> dict[str, pb.Host]:
    """The open workers as hosts, by id."""
    found = {}
    for host_id, worker in world.workers():
        server = servers.get(worker.host_id)
        size = size_of(server, worker.size) if server else None
        if server and size:
            found[host_id] = as_host(server, size, host_id)
    return found


def size_of(server: pb.Host, name: str) -> pb.WorkerSize | None:
    """The size of that name, where the server opens workers."""
    if not server.can_open_workers:
        return None
    return next((size for size in server.worker_sizes if size.id == name), None)


def as_host(server: pb.Host, size: pb.WorkerSize, host_id: str) -> pb.Host:
    """The worker as the inventory would tell it, where it were told; its costs are those of a further container."""
    return pb.Host(
        id=host_id,
        parent_id=server.id,
        site=server.site,
        zone=server.zone,
        rack=server.rack,
        arch=server.arch,
        runtimes=[pb.RUNTIME_CONTAINER],
        cells=[pb.NumaCell(cpu_milli=size.cpu_milli, memory_bytes=size.memory_bytes)],
        disk_bytes=size.disk_bytes,
        trust=server.trust,
        only_tenant=server.only_tenant,
        price_per_vcpu=server.price_per_vcpu,
        active=True,
        costs=[_inside(server, size)],
    )


def taken(size: pb.WorkerSize) -> Amounts:
    """What an open worker takes of its server."""
    return size.cpu_milli, size.memory_bytes + size.overhead_memory_bytes, 0, 0, 0


def taken_on(world: World, server: pb.Host, but: str = "") -> Iterator[Amounts]:
    """What each open worker takes of this server, apart from one."""
    if server.worker_sizes:
        for host_id, worker in world.workers():
            size = size_of(server, worker.size) if worker.host_id == server.id and host_id != but else None
            if size:
                yield taken(size)


def check(world: World, server: pb.Host, request: pb.AllocateComputeRequest) -> tuple[pb.WorkerSize, bool]:
    """The size asked for, and whether the worker has to be opened. Refuses what the server does not open."""
    asked = request.worker
    size = size_of(server, asked.size)
    if size is None:
        raise not_ready(f"host {server.id!r} opens no worker VM of size {asked.size!r}", retry=NEW_PLACEMENT)
    open_now = dict(world.workers())
    if (known := open_now.pop(request.host_id, None)) is not None:
        if known != asked:
            raise invalid("worker", f"{request.host_id!r} is open on {known.host_id!r} as {known.size!r}")
        inside = [s for s in world.computes_on(request.host_id) if s.resource_id != request.resource_id]
        return size, not inside
    alike = sum(worker == asked for worker in open_now.values())
    if alike >= max(1, size.most):
        raise no_capacity(f"host {server.id!r} has {alike} worker VMs of size {size.id!r} open: no more are allowed")
    return size, True


def start_ms(server: pb.Host, size: pb.WorkerSize, *, opens: bool) -> int:
    """Until a container in it runs."""
    vm = next((cost.start_ms for cost in server.costs if cost.runtime == pb.RUNTIME_VM), 0)
    return _inside(server, size).start_ms + (size.start_ms or vm if opens else 0)


def _inside(server: pb.Host, size: pb.WorkerSize) -> pb.Cost:
    if size.HasField("container"):
        return size.container
    costs = {cost.runtime: cost for cost in server.costs}
    bare, vm = costs.get(pb.RUNTIME_CONTAINER, pb.Cost()), costs.get(pb.RUNTIME_VM, pb.Cost())
    return pb.Cost(
        runtime=pb.RUNTIME_CONTAINER,
        start_ms=bare.start_ms,
        memory_bytes=bare.memory_bytes,
        hop_us=bare.hop_us + vm.hop_us,
    )
