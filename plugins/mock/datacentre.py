"""A data centre that nobody has: as many hosts as asked for, the same ones for the same seed.

Sites hold zones, zones racks, racks servers of two NUMA cells; some servers carry worker VMs that run containers. Every
server has one uplink to its rack's switch; racks are joined by the zone's pair of switches, zones by the site's, sites
by gateways whose latency follows from the distance. Figures are such as are found in the field, not measurements.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from vnfm.pb.vim.v1 import vim_pb2 as pb

MIB = 1 << 20
GIB = 1 << 30
GBPS = 1_000_000_000
TENANTS = ("default", "gold", "silver", "bronze")
"""Whose dedicated racks and worker VMs there are."""
_LICENCES = ("dpi", "firewall", "voice")
_WORKERS_OF_HOSTS = 10  # one host of so many is a worker VM
_MOST_WORKERS = 2  # on one server
_MIXED_BELOW = 200  # servers: a small cloud has different ones in one rack, so that it has some of each
_DEDICATED_FROM = 8  # racks
_ACROSS_KM = 600
_US_PER_KM = 5

Costs = Mapping[pb.Runtime.ValueType, tuple[int, int, int]]
_KVM: Costs = {  # start_ms, memory_bytes, hop_us
    pb.RUNTIME_CONTAINER: (150, 8 * MIB, 5),
    pb.RUNTIME_KATA: (700, 160 * MIB, 25),
    pb.RUNTIME_VM: (12_000, 320 * MIB, 30),
}
_FAST: Costs = {**_KVM, pb.RUNTIME_VM: (12_000, 320 * MIB, 8), pb.RUNTIME_KATA: (700, 160 * MIB, 15)}
_NESTED: Costs = {pb.RUNTIME_CONTAINER: (250, 8 * MIB, 35)}


@dataclass(frozen=True, slots=True)
class ServerKind:
    """What servers of one kind have, in each of their two NUMA cells, and to how many of a hundred it applies."""

    share: int
    cpu_milli: int
    memory_gib: int
    hugepages_gib: int
    vfs: int
    gpus: int
    runtimes: tuple[pb.Runtime.ValueType, ...]
    refused: str  # why the other runtimes are not offered
    uplink_gbps: int
    price: float
    costs: Costs


KINDS: Mapping[str, ServerKind] = {
    "general": ServerKind(
        45, 64_000, 192, 16, 8, 0, (pb.RUNTIME_VM, pb.RUNTIME_KATA, pb.RUNTIME_CONTAINER), "", 25, 1.0, _KVM
    ),
    "container": ServerKind(
        20, 48_000, 128, 0, 0, 0, (pb.RUNTIME_CONTAINER,), "no hypervisor is installed", 25, 0.7, _KVM
    ),
    "sandbox": ServerKind(
        10,
        48_000,
        192,
        0,
        0,
        0,
        (pb.RUNTIME_KATA, pb.RUNTIME_CONTAINER),
        "no manager of VMs is installed",
        25,
        0.8,
        _KVM,
    ),
    "network": ServerKind(
        12, 40_000, 128, 64, 32, 0, (pb.RUNTIME_VM, pb.RUNTIME_KATA, pb.RUNTIME_CONTAINER), "", 100, 1.4, _FAST
    ),
    "accelerator": ServerKind(
        5,
        48_000,
        256,
        32,
        8,
        4,
        (pb.RUNTIME_VM, pb.RUNTIME_CONTAINER),
        "its GPUs go to VMs and containers",
        100,
        3.0,
        _KVM,
    ),
    "virtual": ServerKind(8, 64_000, 256, 32, 8, 0, (pb.RUNTIME_VM,), "it runs VMs only", 25, 0.9, _KVM),
}


@dataclass(frozen=True, slots=True)
class DataCentre:
    """What there is: an inventory without latencies between zones, since its fabric tells them."""

    hosts: tuple[pb.Host, ...]
    fabric: tuple[pb.Fabric, ...]
    licences: tuple[pb.Licence, ...]


@dataclass(frozen=True, slots=True)
class _Rack:
    site: int
    zone: str
    name: str
    trust: int
    tenant: str
    price: float


@dataclass(frozen=True, slots=True)
class _Shape:
    """How many there are of each, and where: racks of a zone and zones of a site are neighbours in number."""

    servers: int
    racks: int
    zones: int
    sites: int

    @classmethod
    def of(cls, servers: int) -> _Shape:
        rack_size = next((size for size, most in ((4, 32), (8, 128), (16, 1_024)) if servers <= most), 32)
        racks = math.ceil(servers / rack_size)
        zones = max(min(racks, 2), min((racks + 1) // 2, 4), round(racks / 12))
        sites = max(min((zones + 1) // 2, 2), min(zones // 4, 8))
        return cls(servers, racks, zones, sites)

    def rack_of(self, server: int) -> int:
        return server * self.racks // self.servers

    def zone_of(self, rack: int) -> int:
        return rack * self.zones // self.racks

    def site_of(self, zone: int) -> int:
        return zone * self.sites // self.zones


def data_centre(hosts: int, seed: int, *, open_workers: bool = False) -> DataCentre:
    """`hosts` hosts (1 at least), worker VMs among them; the same for the same two numbers, whatever the machine.

    `open_workers`: every server that runs VMs opens further workers, too.
    """
    dice = random.Random(f"{hosts}/{seed}")
    workers = hosts // _WORKERS_OF_HOSTS
    shape = _Shape.of(hosts - workers)
    racks = _racks(shape, dice)
    kinds = _kinds(shape, dice)
    servers = [
        _server(racks[rack], kinds[number], name, dice, asleep=number > 0)
        for number, (rack, name) in enumerate(_names(shape, racks))
    ]
    made = _workers(servers, kinds, workers, dice)
    if open_workers:
        for server in servers:
            _open(server)
    placed = [host for server in servers for host in (server, *made.get(server.id, ()))]
    fabric = [*_uplinks(servers, kinds, dice), *_switches(shape, racks, dice)]
    licences = [
        pb.Licence(id=name, site=f"s{site + 1}", count=5 + shape.servers // shape.sites // 10 + dice.randrange(20))
        for site in range(shape.sites)
        for name in _LICENCES
    ]
    return DataCentre(tuple(placed), tuple(fabric), tuple(licences))


def _racks(shape: _Shape, dice: random.Random) -> list[_Rack]:
    """Trust goes by site and zone, prices by site; of a larger cloud's racks one of sixteen belongs to one tenant."""
    site_price = [round(0.8 + dice.random() * 0.6, 2) for _ in range(shape.sites)]
    site_trust = [3 if site == 0 else 1 + dice.randrange(3) for site in range(shape.sites)]
    zone_trust = [max(0, site_trust[shape.site_of(zone)] - (dice.random() < 0.3)) for zone in range(shape.zones)]
    racks: list[_Rack] = []
    for number in range(shape.racks):
        zone = shape.zone_of(number)
        site = shape.site_of(zone)
        zone_name = f"s{site + 1}-z{zone - _first(shape.zones, shape.sites, site) + 1}"
        dedicated = shape.racks >= _DEDICATED_FROM and number > 0 and dice.random() < 1 / 16
        racks.append(
            _Rack(
                site=site,
                zone=zone_name,
                name=f"{zone_name}-r{number - _first(shape.racks, shape.zones, zone) + 1:02}",
                trust=zone_trust[zone],
                tenant=dice.choice(TENANTS) if dedicated else "",
                price=site_price[site],
            )
        )
    return racks


def _first(things: int, groups: int, group: int) -> int:
    """The number of the first thing of a group, where thing t is in group t * groups // things."""
    return -(-group * things // groups)


def _names(shape: _Shape, racks: Sequence[_Rack]) -> Iterator[tuple[int, str]]:
    for number in range(shape.servers):
        rack = shape.rack_of(number)
        yield rack, f"{racks[rack].name}-n{number - _first(shape.servers, shape.racks, rack) + 1:02}"


def _kinds(shape: _Shape, dice: random.Random) -> list[ServerKind]:
    """The kind of each server: by rack, in a small cloud each its own. The first is a general one."""
    mixed = shape.servers < _MIXED_BELOW
    places = shape.servers if mixed else shape.racks
    owed = dict.fromkeys(KINDS, 0)
    dealt = []
    for _ in range(places):
        for name, kind in KINDS.items():
            owed[name] += kind.share
        most = max(owed, key=lambda name: owed[name])
        owed[most] -= 100
        dealt.append(KINDS[most])
    others = dealt[1:]
    dice.shuffle(others)
    dealt = [dealt[0], *others]
    return dealt if mixed else [dealt[shape.rack_of(number)] for number in range(shape.servers)]


def _server(rack: _Rack, kind: ServerKind, name: str, dice: random.Random, *, asleep: bool) -> pb.Host:
    """Others use up to seven tenths of each cell, unless it is switched off; the very first is always on."""
    active = not asleep or dice.random() >= 0.12
    cells = []
    for _ in range(2):
        tenths = dice.randrange(8) if active else 0
        cells.append(
            pb.NumaCell(
                cpu_milli=kind.cpu_milli,
                cpu_used_by_others_milli=kind.cpu_milli * tenths // 10,
                memory_bytes=kind.memory_gib * GIB,
                memory_used_by_others_bytes=kind.memory_gib * GIB * tenths // 10 // MIB * MIB,
                hugepage_bytes=kind.hugepages_gib * GIB,
                vfs=kind.vfs,
                gpus=kind.gpus,
            )
        )
    return pb.Host(
        id=name,
        site=f"s{rack.site + 1}",
        zone=rack.zone,
        rack=rack.name,
        arch="x86_64",
        runtimes=kind.runtimes,
        cells=cells,
        disk_bytes=4_096 * GIB,
        disk_used_by_others_bytes=dice.randrange(8) * 256 * GIB if active else 0,
        trust=rack.trust,
        only_tenant=rack.tenant,
        price_per_vcpu=round(kind.price * rack.price, 3),
        active=active,
        on_cost=0.0 if active else round(20 * kind.price, 2),
        costs=[_cost(runtime, kind.costs) for runtime in kind.runtimes],
        refusals=[
            pb.RuntimeRefusal(runtime=runtime, reason=kind.refused)
            for runtime in (pb.RUNTIME_VM, pb.RUNTIME_KATA, pb.RUNTIME_CONTAINER)
            if runtime not in kind.runtimes
        ],
    )


def _cost(runtime: pb.Runtime.ValueType, costs: Costs) -> pb.Cost:
    start_ms, memory_bytes, hop_us = costs[runtime]
    return pb.Cost(runtime=runtime, start_ms=start_ms, memory_bytes=memory_bytes, hop_us=hop_us)


def _workers(
    servers: Sequence[pb.Host], kinds: Sequence[ServerKind], count: int, dice: random.Random
) -> dict[str, list[pb.Host]]:
    """Worker VMs by the server that they run on, spread over all that can; what they take there is used by others."""
    able = [at for at, kind in enumerate(kinds) if pb.RUNTIME_VM in kind.runtimes and servers[at].active]
    dice.shuffle(able)
    made: dict[str, list[pb.Host]] = {}
    for number in range(min(count, len(able) * _MOST_WORKERS)):
        server = servers[able[number % len(able)]]
        ordinal = number // len(able)
        cell = server.cells[ordinal % len(server.cells)]
        tenant = server.only_tenant or ("" if dice.random() < 0.25 else dice.choice(TENANTS))
        size = 2 if cell.cpu_milli - cell.cpu_used_by_others_milli >= 40_000 else 1
        cpu_milli, memory_bytes = size * 8_000, size * 24 * GIB
        cell.cpu_used_by_others_milli += cpu_milli
        cell.memory_used_by_others_bytes += memory_bytes + _KVM[pb.RUNTIME_VM][1]
        server.disk_used_by_others_bytes += 200 * GIB
        made.setdefault(server.id, []).append(
            _worker(server, f"{server.id}-w{ordinal + 1}", tenant, cpu_milli, memory_bytes)
        )
    return made


def _worker(server: pb.Host, name: str, tenant: str, cpu_milli: int, memory_bytes: int) -> pb.Host:
    return pb.Host(
        id=name,
        parent_id=server.id,
        site=server.site,
        zone=server.zone,
        rack=server.rack,
        arch=server.arch,
        runtimes=[pb.RUNTIME_CONTAINER],
        cells=[pb.NumaCell(cpu_milli=cpu_milli, memory_bytes=memory_bytes)],
        disk_bytes=200 * GIB,
        trust=server.trust,
        only_tenant=tenant,
        price_per_vcpu=round(server.price_per_vcpu * 1.1, 3),
        active=True,
        costs=[_cost(pb.RUNTIME_CONTAINER, _NESTED)],
        refusals=[
            pb.RuntimeRefusal(runtime=runtime, reason="it is a VM itself")
            for runtime in (pb.RUNTIME_VM, pb.RUNTIME_KATA)
        ],
    )


def _open(server: pb.Host) -> None:
    """Sizes such as the workers that stand have; one is up when its VM has booted and joined its cluster."""
    vm = next((cost for cost in server.costs if cost.runtime == pb.RUNTIME_VM), None)
    if vm is None:
        return
    server.can_open_workers = True
    for name, size in (("small", 1), ("large", 2)):
        server.worker_sizes.add(
            id=name,
            cpu_milli=size * 8_000,
            memory_bytes=size * 24 * GIB,
            disk_bytes=200 * GIB,
            overhead_memory_bytes=vm.memory_bytes,
            start_ms=vm.start_ms + 8_000,
            container=_cost(pb.RUNTIME_CONTAINER, _NESTED),
            price=round(2.0 * size * server.price_per_vcpu, 2),
            most=_MOST_WORKERS,
        )


def _uplinks(servers: Sequence[pb.Host], kinds: Sequence[ServerKind], dice: random.Random) -> Iterator[pb.Fabric]:
    for server, kind in zip(servers, kinds, strict=True):
        tenths = dice.randrange(5) if server.active else 0
        left = kind.uplink_gbps * GBPS * (10 - tenths) // 10
        yield pb.Fabric(a=server.id, b=f"{server.rack}-tor", bandwidth_bps=left, one_way_us=2)


def _switches(shape: _Shape, racks: Sequence[_Rack], dice: random.Random) -> Iterator[pb.Fabric]:
    """Rack to zone, zone to site, site to site; a level that would join one thing only is left out."""
    if shape.racks > 1:
        for rack in racks:
            for pair in (1, 2):
                yield _edge(f"{rack.name}-tor", f"{rack.zone}-agg{pair}", 200, 3, dice)
    if shape.zones > 1:
        for zone, site in sorted({rack.zone: rack.site for rack in racks}.items()):
            for up in (1, 2):
                for pair in (1, 2):
                    yield _edge(f"{zone}-agg{pair}", f"s{site + 1}-core{up}", 400, 5, dice)
    if shape.sites > 1:
        places = [(dice.random() * _ACROSS_KM, dice.random() * _ACROSS_KM) for _ in range(shape.sites)]
        for site, here in enumerate(places):
            for up in (1, 2):
                yield _edge(f"s{site + 1}-core{up}", f"s{site + 1}-gw", 400, 10, dice)
            for other, there in enumerate(places[:site]):
                distance_us = 100 + round(math.dist(here, there) * _US_PER_KM)
                yield _edge(f"s{other + 1}-gw", f"s{site + 1}-gw", 100, distance_us, dice)


def _edge(a: str, b: str, gbps: int, one_way_us: int, dice: random.Random) -> pb.Fabric:
    return pb.Fabric(a=a, b=b, bandwidth_bps=gbps * GBPS * (10 - dice.randrange(4)) // 10, one_way_us=one_way_us)
