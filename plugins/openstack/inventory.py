"""What the cloud tells, as hosts of the contract. Pure.

As admin: a host is a hypervisor, by the name of its compute service. As plain tenant: a host is an availability zone
with the project's quota; which machine a server is on is only seen as its hostId.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from plugins.openstack.settings import Settings
from vnfm.pb.vim.v1 import vim_pb2 as pb

MIB, GIB = 1 << 20, 1 << 30
ZONE_HOST = "az:"
"""Begins the id of a host that is an availability zone."""
_UNLIMITED = 1_000_000
_HOP_US = 300
_VM_MEMORY_BYTES = 150 * MIB
_REFUSED = {
    pb.RUNTIME_KATA: "the cloud runs virtual machines only",
    pb.RUNTIME_CONTAINER: "the cloud runs virtual machines only; containers need a worker in one",
}
Json = Mapping[str, Any]


def tenant_hosts(zones: Iterable[Json], limits: Json, ours: Json, settings: Settings) -> list[pb.Host]:
    """A host for each zone that is available. `ours`: cores and ram (MiB) that our own servers take of the quota, which
    the manager subtracts itself. The quota is one for all zones."""
    cores, memory_mib = _limit(limits["maxTotalCores"]), _limit(limits["maxTotalRAMSize"])
    used_cores = max(0, int(limits["totalCoresUsed"]) - int(ours["cores"]))
    used_mib = max(0, int(limits["totalRAMUsed"]) - int(ours["ram"]))
    cell = pb.NumaCell(
        cpu_milli=1000 * cores,
        cpu_used_by_others_milli=1000 * min(cores, used_cores),
        memory_bytes=memory_mib * MIB,
        memory_used_by_others_bytes=min(memory_mib, used_mib) * MIB,
    )
    return [
        _host(zone_id(str(zone["zoneName"])), str(zone["zoneName"]), settings.arch, cell, settings)
        for zone in sorted(zones, key=lambda zone: str(zone["zoneName"]))
        if zone["zoneState"]["available"] and zone["zoneName"] != "internal"
    ]


def _limit(value: int) -> int:
    return int(value) if int(value) >= 0 else _UNLIMITED


def zone_id(zone: str) -> str:
    """The id of the host that stands for a zone; what an id cannot hold becomes a dash."""
    return ZONE_HOST + "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in zone)


def admin_hosts(
    hypervisors: Iterable[Json],
    zones: Mapping[str, str],
    providers: Mapping[str, Json],
    ours: Mapping[str, Json],
    projects: Sequence[str],
    settings: Settings,
) -> list[pb.Host]:
    """A host for each hypervisor that is up and enabled; the others are there but not active.

    `zones`: compute service -> availability zone. `providers`: hypervisor's id -> Placement's inventories (and those of
    its PCI devices). `ours`: compute service -> cores, ram, disk of our own servers there. `projects`: by which Nova
    makes the hostId that a tenant sees.
    """
    found = []
    for one in sorted(hypervisors, key=lambda each: str(each["service"]["host"])):
        service = str(one["service"]["host"])
        amounts = providers.get(str(one["id"]), {})
        mine = ours.get(service, {"cores": 0, "ram": 0, "disk": 0})
        host = _host(
            service, zones.get(service, ""), _arch(one, settings), _cell(one, amounts, mine, settings), settings
        )
        disk_gib = _total(amounts, "DISK_GB", int(one["local_gb"]))
        host.disk_bytes = disk_gib * GIB
        host.disk_used_by_others_bytes = min(disk_gib, max(0, int(one["local_gb_used"]) - int(mine["disk"]))) * GIB
        host.identities.extend(f"nova-host:{host_hash(project, service)}" for project in projects)
        host.active = one["state"] == "up" and one["status"] == "enabled"
        if not host.active:
            del host.runtimes[:]
            del host.costs[:]
            host.refusals.add(runtime=pb.RUNTIME_VM, reason=f"the hypervisor is {one['state']} and {one['status']}")
        found.append(host)
    return found


def host_hash(project_id: str, service: str) -> str:
    """Nova's hostId: what a tenant sees of the machine that its server is on."""
    return hashlib.sha224((project_id + service).encode()).hexdigest()


def _cell(one: Json, amounts: Json, mine: Json, settings: Settings) -> pb.NumaCell:
    """Nova's API does not tell NUMA cells: one for all."""
    shared = _total(amounts, "VCPU", int(one["vcpus"]))
    dedicated = _total(amounts, "PCPU", 0)
    memory_mib = _total(amounts, "MEMORY_MB", int(one["memory_mb"]))
    reserved_mib = int(amounts.get("MEMORY_MB", {}).get("reserved", 0))
    cores = shared + dedicated
    used_mib = max(0, int(one["memory_mb_used"]) - reserved_mib - int(mine["ram"]))
    hint = settings.hosts.get(str(one["service"]["host"]))
    return pb.NumaCell(
        cpu_milli=1000 * cores,
        cpu_used_by_others_milli=1000 * min(cores, max(0, int(one["vcpus_used"]) - int(mine["cores"]))),
        memory_bytes=memory_mib * MIB,
        memory_used_by_others_bytes=min(memory_mib, used_mib) * MIB,
        hugepage_bytes=hint.hugepage_bytes if hint else 0,
        vfs=(hint.vfs if hint else 0) or _devices(amounts),
    )


def _total(amounts: Json, resource_class: str, otherwise: int) -> int:
    """What Placement gives away of a class: (total - reserved) · ratio."""
    found = amounts.get(resource_class)
    if found is None:
        return otherwise
    return int((int(found["total"]) - int(found.get("reserved", 0))) * float(found.get("allocation_ratio", 1)))


def _devices(amounts: Json) -> int:
    """Virtual functions, where the cloud reports PCI devices to Placement."""
    return sum(int(found["total"]) for name, found in amounts.items() if name in ("SRIOV_NET_VF", "VF"))


def _arch(one: Json, settings: Settings) -> str:
    info = one.get("cpu_info") or {}
    return str(info.get("arch") or settings.arch) if isinstance(info, Mapping) else settings.arch


def _host(host_id: str, zone: str, arch: str, cell: pb.NumaCell, settings: Settings) -> pb.Host:
    return pb.Host(
        id=host_id,
        site=settings.site,
        zone=zone,
        arch=arch,
        runtimes=[pb.RUNTIME_VM],
        cells=[cell],
        trust=settings.trust,
        price_per_vcpu=settings.price_per_vcpu,
        active=True,
        costs=[
            pb.Cost(runtime=pb.RUNTIME_VM, start_ms=settings.start_ms, memory_bytes=_VM_MEMORY_BYTES, hop_us=_HOP_US)
        ],
        refusals=[pb.RuntimeRefusal(runtime=runtime, reason=reason) for runtime, reason in _REFUSED.items()],
    )


def worker_hosts(servers: Iterable[Json], known: frozenset[str], settings: Settings) -> list[pb.Host]:
    """Servers of the project that are not VNFs of ours: what runs in one (a Kubernetes node, say) is on the server's
    host. Another VIM tells the same machine by its SMBIOS UUID, which is the server's id."""
    found = []
    for server in servers:
        parent = host_of(server)
        if server["status"] == "ACTIVE" and parent in known:
            host = _host(str(server["id"]), "", settings.arch, pb.NumaCell(), settings)
            host.parent_id = parent
            host.identities.append(f"smbios:{str(server['id']).lower()}")
            del host.runtimes[:]
            del host.costs[:]
            host.refusals.add(runtime=pb.RUNTIME_VM, reason="it is a guest itself")
            found.append(host)
    return found


def host_of(server: Json) -> str:
    """The host's id in the inventory: the compute service where we may see it, else the zone."""
    service = str(server.get("OS-EXT-SRV-ATTR:host") or "")
    return service or zone_id(str(server.get("OS-EXT-AZ:availability_zone") or "nova"))


def taken(servers: Iterable[Json]) -> dict[str, dict[str, int]]:
    """What servers take, by host and, under "", all together: cores, ram in MiB, disk in GiB."""
    found: dict[str, dict[str, int]] = {"": {"cores": 0, "ram": 0, "disk": 0}}
    for server in servers:
        flavor = server.get("flavor") or {}
        amounts = {
            "cores": int(flavor.get("vcpus", 0)),
            "ram": int(flavor.get("ram", 0)),
            "disk": int(flavor.get("disk", 0)),
        }
        for key in ("", host_of(server)):
            sums = found.setdefault(key, {"cores": 0, "ram": 0, "disk": 0})
            for name, amount in amounts.items():
                sums[name] += amount
    return found
