"""The immutable picture that placement works on: hosts of all VIMs, each resolved to its physical server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from threading import RLock
from types import MappingProxyType
from typing import Any, TypeVar

from vnfm.model.placement import Runtime
from vnfm.model.problem import problem
from vnfm.model.resources import Licence, Reach
from vnfm.placement.inventory import (
    Cell,
    FabricEdge,
    Host,
    HostKey,
    LinkReservation,
    ObservedCost,
    Reservation,
    RuntimeCost,
    ZoneLatency,
)

R = TypeVar("R", Reservation, LinkReservation)

# Where a plugin tells no costs: typical figures, so that runtimes can be compared. Texts call them assumed.
ASSUMED_COSTS: Mapping[Runtime, RuntimeCost] = MappingProxyType(
    {
        Runtime.CONTAINER: RuntimeCost(start_ms=100, memory_bytes=8 << 20, hop_us=5),
        Runtime.KATA: RuntimeCost(start_ms=2_500, memory_bytes=300 << 20, hop_us=60),
        Runtime.VM: RuntimeCost(start_ms=30_000, memory_bytes=350 << 20, hop_us=60),
    }
)


class Kept:
    """What is worked out from what the VIMs tell, kept for all snapshots of the same hosts, whatever they hold.

    No part of their value: it changes no answer, and a copy in another process begins without. `lock`: for its users.
    `apart` is what does not rest on the costs of realizations; it stays when only these change, and so does the lock.
    """

    __slots__ = ("apart", "lock", "made")

    def __init__(self, before: Kept | None = None) -> None:
        self.made: dict[str, Any] = {}
        self.apart: dict[str, Any] = {}
        self.lock = RLock()
        if before is not None:
            self.apart, self.lock = before.apart, before.lock

    def __reduce__(self) -> tuple[type[Kept], tuple[()]]:
        return (Kept, ())


@dataclass(frozen=True, slots=True)
class Since:
    """How what is held differs from what an earlier snapshot held, which is known by its very tuples: whoever followed
    that one need not compare all of it. What was replaced is gone and fresh. No part of a snapshot's value."""

    reservations: tuple[Reservation, ...]
    link_reservations: tuple[LinkReservation, ...]
    gone: tuple[Reservation | LinkReservation, ...]
    fresh: tuple[Reservation | LinkReservation, ...]


@dataclass(frozen=True, slots=True)
class CostsSince:
    """How what was seen to cost differs from what it was at an earlier look, known by its very tuple."""

    observed: tuple[ObservedCost, ...]
    fresh: tuple[ObservedCost, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Hosts sorted by key, what we hold on them, and the networks between. Made by `Snapshot.of`.

    `lineage` gives for each host the machines from the physical server to the host itself, one key a machine: a machine
    that two VIMs know is named as the host's own VIM names it. `machine` gives one key for all names of a machine.
    """

    version: int
    hosts: tuple[Host, ...]
    latencies: tuple[ZoneLatency, ...]
    fabric: tuple[FabricEdge, ...]
    reservations: tuple[Reservation, ...]
    link_reservations: tuple[LinkReservation, ...]
    by_key: Mapping[HostKey, Host] = field(repr=False)
    machine: Mapping[HostKey, HostKey] = field(repr=False)
    lineage: Mapping[HostKey, tuple[HostKey, ...]] = field(repr=False)
    licences: tuple[Licence, ...] = ()
    reaches: tuple[Reach, ...] = ()  # the networks by which links of several VIMs are joined
    kept: Kept = field(default_factory=Kept, repr=False, compare=False)
    since: Since | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        version: int,
        hosts: Iterable[Host],
        *,
        latencies: Iterable[ZoneLatency] = (),
        fabric: Iterable[FabricEdge] = (),
        reservations: Iterable[Reservation] = (),
        link_reservations: Iterable[LinkReservation] = (),
        licences: Iterable[Licence] = (),
        reaches: Iterable[Reach] = (),
    ) -> Snapshot:
        """A snapshot of these hosts. Raises ProblemError for two hosts of one name in one VIM."""
        ordered = tuple(sorted(_with_workers(_with_parents(tuple(hosts))), key=lambda h: h.key))
        by_key = {h.key: h for h in ordered}
        if len(by_key) != len(ordered):
            twice = next(a.key for a, b in pairwise(ordered) if a.key == b.key)
            raise problem("invalid-inventory", f"host {twice[1]!r} of VIM {twice[0]!r} is told twice")
        machine = _machines(ordered)
        return cls(
            version=version,
            hosts=ordered,
            latencies=tuple(latencies),
            fabric=tuple(fabric),
            reservations=tuple(sorted(reservations, key=lambda r: r.resource_id)),
            link_reservations=tuple(sorted(link_reservations, key=lambda r: r.resource_id)),
            by_key=by_key,
            machine=machine,
            lineage=_lineages(ordered, machine),
            licences=tuple(licences),
            reaches=tuple(reaches),
        )

    def root(self, key: HostKey) -> HostKey:
        """The physical server of a host, the same key for whatever VIM looks at it."""
        return self.machine[self.lineage[key][0]]

    def nested(self, key: HostKey) -> bool:
        """Whether the host is itself a VM."""
        return len(self.lineage[key]) > 1

    def with_hosts(self, hosts: Iterable[Host]) -> Snapshot:
        """The same snapshot with these hosts in the place of those of the same key."""
        changed = {h.key: h for h in hosts}
        return self._again(hosts=[changed.get(h.key, h) for h in self.hosts])

    def with_licences(self, licences: Iterable[Licence]) -> Snapshot:
        """The same snapshot with these pools of licences."""
        return replace(self, licences=tuple(licences), kept=Kept())

    def with_observed(self, costs: Iterable[ObservedCost]) -> Snapshot:
        """The same snapshot, preferring what we observed over what the plugins said. Unknown hosts are passed over."""
        changed: dict[HostKey, Host] = {}
        for seen in costs:
            key = (seen.vim, seen.host)
            host = changed.get(key) or self.by_key.get(key)
            if host is None:
                continue
            told = host.costs.get(seen.runtime) or ASSUMED_COSTS[seen.runtime]
            cost = _observed(told, replace(seen, start_ms=None) if host.worker else seen)  # it was open already perhaps
            changed[key] = replace(host, costs={**host.costs, seen.runtime: cost})
        if not changed:
            return self
        at = self._positions()
        hosts = list(self.hosts)
        for key, host in changed.items():
            hosts[at[key]] = host
        again = replace(self, hosts=tuple(hosts), by_key={**self.by_key, **changed}, kept=Kept(self.kept))
        if (sorts := self.kept.made.get("sorts")) is not None:
            again.kept.made["sorts"] = sorts.changed({at[key]: host for key, host in changed.items()})
        return again

    def _positions(self) -> Mapping[HostKey, int]:
        """Of the hosts, by key; they stay where they are whatever they cost."""
        found: Mapping[HostKey, int] | None = self.kept.apart.get("positions")
        if found is None:
            found = self.kept.apart["positions"] = {h.key: i for i, h in enumerate(self.hosts)}
        return found

    def holding(
        self, reservations: Iterable[Reservation], link_reservations: Iterable[LinkReservation] = ()
    ) -> Snapshot:
        """The same snapshot with more reserved, as after accepting a plan. The same resource id replaces."""
        held = {r.resource_id: r for r in self.reservations} | {r.resource_id: r for r in reservations}
        links = {r.resource_id: r for r in self.link_reservations} | {r.resource_id: r for r in link_reservations}
        return self._again(reservations=held.values(), link_reservations=links.values())

    def releasing(self, resource_ids: Iterable[str]) -> Snapshot:
        """The same snapshot without the reservations of these ids."""
        gone = frozenset(resource_ids)
        return self._again(
            reservations=[r for r in self.reservations if r.resource_id not in gone],
            link_reservations=[r for r in self.link_reservations if r.resource_id not in gone],
        )

    def _again(
        self,
        *,
        hosts: Iterable[Host] | None = None,
        reservations: Iterable[Reservation] | None = None,
        link_reservations: Iterable[LinkReservation] | None = None,
    ) -> Snapshot:
        if hosts is None:  # lineage does not depend on what is reserved
            return replace(
                self,
                reservations=self._sorted(reservations, self.reservations),
                link_reservations=self._sorted(link_reservations, self.link_reservations),
                since=None,
            )
        return Snapshot.of(
            self.version,
            hosts,
            latencies=self.latencies,
            fabric=self.fabric,
            reservations=self.reservations,
            link_reservations=self.link_reservations,
            licences=self.licences,
            reaches=self.reaches,
        )

    @staticmethod
    def _sorted(new: Iterable[R] | None, old: tuple[R, ...]) -> tuple[R, ...]:
        return old if new is None else tuple(sorted(new, key=lambda r: r.resource_id))


def cost_of(host: Host, runtime: Runtime) -> RuntimeCost:
    """What the runtime costs on the host: told, observed, or else assumed."""
    return host.costs.get(runtime) or ASSUMED_COSTS[runtime]


def _observed(told: RuntimeCost, seen: ObservedCost) -> RuntimeCost:
    values = {"start_ms": seen.start_ms, "memory_bytes": seen.memory_bytes, "hop_us": seen.hop_us}
    new = {name: value for name, value in values.items() if value is not None}
    return RuntimeCost(
        start_ms=new.get("start_ms", told.start_ms),
        memory_bytes=new.get("memory_bytes", told.memory_bytes),
        hop_us=new.get("hop_us", told.hop_us),
        measured=told.measured,
        observed=told.observed | frozenset(new),
    )


def _with_parents(hosts: tuple[Host, ...]) -> tuple[Host, ...]:
    """With an empty host for each parent that nobody told: VMs on it still share a server, and are still VMs."""
    keys = {h.key for h in hosts}
    missing: dict[HostKey, Host] = {}
    for h in sorted(hosts, key=lambda h: h.key):
        above = (h.vim, h.parent)
        if h.parent and above not in keys:
            missing.setdefault(above, Host(h.parent, h.vim, (), frozenset(), site=h.site, zone=h.zone))
    return (*hosts, *missing.values())


def workers_of(host: Host) -> tuple[Host, ...]:
    """The worker VMs that may be opened on a host. Their containers' start-up holds that of the VM itself."""
    found = []
    for size in host.opens:
        bare, vm = cost_of(host, Runtime.CONTAINER), cost_of(host, Runtime.VM)
        told = size.cost or RuntimeCost(bare.start_ms, bare.memory_bytes, bare.hop_us + vm.hop_us)
        cost = replace(told, start_ms=told.start_ms + (size.start_ms or vm.start_ms))
        found += [
            Host(
                id=f"{host.id}:{size.id}-{n}",
                vim=host.vim,
                cells=(Cell(size.cpu_milli, size.memory_bytes),),
                runtimes=frozenset({Runtime.CONTAINER}),
                parent=host.id,
                site=host.site,
                zone=host.zone,
                rack=host.rack,
                arch=host.arch,
                refusals={Runtime.VM: "it is a VM itself", Runtime.KATA: "it is a VM itself"},
                costs={Runtime.CONTAINER: cost},
                disk_bytes=size.disk_bytes or None,
                trust=host.trust,
                only_tenant=host.only_tenant,
                price_per_vcpu=host.price_per_vcpu,
                worker=size,
            )
            for n in range(1, size.most + 1)
        ]
    return tuple(found)


def _with_workers(hosts: tuple[Host, ...]) -> tuple[Host, ...]:
    """With those that may be opened; what is there of a name stays."""
    keys = {h.key for h in hosts}
    return (*hosts, *(w for h in hosts if h.opens for w in workers_of(h) if w.key not in keys))


def _machines(hosts: tuple[Host, ...]) -> dict[HostKey, HostKey]:
    """One key a machine: hosts that share an identity, directly or by way of others, are one."""
    leader: dict[HostKey, HostKey] = {h.key: h.key for h in hosts}

    def find(key: HostKey) -> HostKey:
        while leader[key] != key:
            leader[key] = leader[leader[key]]
            key = leader[key]
        return key

    first: dict[str, HostKey] = {}
    for host in hosts:
        for identity in sorted(host.identities):
            other = find(first.setdefault(identity, host.key))
            mine = find(host.key)
            if other != mine:
                leader[max(other, mine)] = min(other, mine)
    return {h.key: find(h.key) for h in hosts}


def _lineages(hosts: tuple[Host, ...], machine: dict[HostKey, HostKey]) -> dict[HostKey, tuple[HostKey, ...]]:
    """From the physical server to each host. A parent that would close a circle is left out."""
    parent: dict[HostKey, HostKey] = {}  # of a machine: the host that its first VIM names as the one below it

    def above(key: HostKey) -> list[HostKey]:
        line = []
        while (key_above := parent.get(machine[key])) is not None:
            line.append(key_above)
            key = key_above
        return line

    for host in hosts:
        told, mine = (host.vim, host.parent), machine[host.key]
        if host.parent and mine not in parent and mine not in {machine[k] for k in (told, *above(told))}:
            parent[mine] = told
    return {h.key: (*reversed(above(h.key)), h.key) for h in hosts}
