"""What if: a snapshot with hosts drained, lost or added, and what is free in it. Pure; what stands is not touched.

Hosts are named by their id, or by VIM/ID where several VIMs have one of that id; zones by their name, or by SITE/ZONE.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from vnfm.model.needs import Isolation
from vnfm.model.placement import Runtime
from vnfm.model.problem import problem
from vnfm.placement.amounts import MIB, amounts_of, cells_of, disk_mib_of, total, worker_held
from vnfm.placement.book import Amounts
from vnfm.placement.desk import Desk, desk_of
from vnfm.placement.seek import way_between
from vnfm.placement.snapshot import Kept, Snapshot
from vnfm.placement.types import FabricEdge, Host, HostKey, Reservation

MOST_ADDED = 10_000
UNITS = (1, MIB, MIB, 1, 1, MIB)  # of the search's amounts
FILLER = "nobody/"
"""Begins the ids of reservations that stand for what is closed."""


@dataclass(frozen=True, slots=True)
class More:
    """`count` servers like the one named; empty: of the most frequent kind."""

    count: int
    like: str = ""


@dataclass(frozen=True, slots=True)
class Supposition:
    """What is supposed, in the words in which people name hosts, zones, sites and VIMs."""

    drain: tuple[str, ...] = ()
    fail_hosts: tuple[str, ...] = ()
    fail_zones: tuple[str, ...] = ()
    fail_sites: tuple[str, ...] = ()
    fail_vims: tuple[str, ...] = ()
    add: tuple[More, ...] = ()


@dataclass(frozen=True, slots=True)
class Supposed:
    """The snapshot as it would be. `drained` hosts run what they run but take nothing, `failed` ones are not in it any
    more; both with the workers on them and under all names of their machines. `like`: by added host, its model."""

    snapshot: Snapshot
    drained: frozenset[HostKey] = frozenset()
    failed: frozenset[HostKey] = frozenset()
    like: Mapping[HostKey, HostKey] = field(default_factory=dict)

    @property
    def away(self) -> frozenset[HostKey]:
        """Hosts that nothing can be placed on."""
        return self.drained | self.failed


def supposed(now: Snapshot, asked: Supposition) -> Supposed:
    """Raises ProblemError `not-found` for what no VIM tells, `ambiguous`, `bad-value` for a number of hosts."""
    drained = frozenset(_machines(now, [host_named(now, name, "drain") for name in asked.drain]))
    dead = [host_named(now, name, "fail_hosts") for name in asked.fail_hosts]
    dead += [key for zone in asked.fail_zones for key in _zone(now, zone)]
    dead += [key for site in asked.fail_sites for key in _site(now, site)]
    failed = frozenset(_machines(now, dead)) | {h.key for vim in asked.fail_vims for h in _of_vim(now, vim)}
    made, edges, like = _added(now, asked.add)
    if not failed and not made:
        return Supposed(closed(now, drained, "it is drained") if drained else detached(now), drained)
    hosts = [h for h in now.hosts if h.key not in failed]
    fabric = _reachable(now, failed)
    then = Snapshot.of(
        now.version,
        [*hosts, *made],
        latencies=now.latencies,
        licences=now.licences,
        reaches=now.reaches,
        fabric=(*fabric, *edges),
        reservations=now.reservations,
        link_reservations=now.link_reservations,
    )
    drained -= failed
    return Supposed(closed(then, drained, "it is drained") if drained else then, drained, failed, like)


def detached(snapshot: Snapshot) -> Snapshot:
    """The same, with a memory of its own: what is tried out on it keeps nobody waiting."""
    return replace(snapshot, kept=Kept())


def closed(snapshot: Snapshot, keys: Collection[HostKey], why: str) -> Snapshot:
    """The same hosts, but these offer nothing, for that reason, and nothing is left on them."""
    changed = [
        replace(h, runtimes=frozenset(), refusals=dict.fromkeys(Runtime, why)) if h.key in keys else h
        for h in snapshot.hosts
    ]
    by_key = {h.key: h for h in changed}
    again = replace(detached(snapshot), hosts=tuple(changed), by_key=by_key)
    return again.holding(filling(snapshot, keys))


def only(snapshot: Snapshot, keys: Collection[HostKey]) -> Snapshot:
    """Only these hosts, with what is held on them and the network between: much less to search, and to tell of."""
    kept = set(keys)
    apart = {h.key for h in snapshot.hosts} - kept
    return Snapshot.of(
        snapshot.version,
        [h for h in snapshot.hosts if h.key in kept],
        latencies=snapshot.latencies,
        licences=snapshot.licences,
        reaches=snapshot.reaches,
        fabric=[e for e in snapshot.fabric if (e.vim, e.a) not in apart and (e.vim, e.b) not in apart],
        reservations=[r for r in snapshot.reservations if (r.vim, r.host) in kept],
        link_reservations=snapshot.link_reservations,
    )


@dataclass(frozen=True, slots=True)
class Ways:
    """The ways between a snapshot's servers, whatever it holds."""

    desk: Desk

    @classmethod
    def of(cls, snapshot: Snapshot) -> Ways:
        """Of a snapshot that nobody else works on."""
        with snapshot.kept.lock:
            return cls(desk_of(snapshot))

    def between(self, a: HostKey, b: HostKey) -> tuple[int | None, int]:
        """One-way latency in microseconds (None: nobody tells) and how many edges it crosses."""
        us, edges = way_between(self.desk, a, b)
        return us, len(edges)


def filling(snapshot: Snapshot, keys: Collection[HostKey]) -> tuple[Reservation, ...]:
    """Reservations that take all that is left on these hosts beside what is held: a reservation a machine, in place of
    one that did so before. Workers that are not open stay so: nothing is left to open them."""
    held = _held(snapshot)
    names = {snapshot.machine[k]: snapshot.by_key[k] for k in sorted(keys)}
    return tuple(
        _filler(host, held.get(machine, ()))
        for machine, host in sorted(names.items())
        if host.worker is None or machine in held
    )


def _held(snapshot: Snapshot) -> dict[HostKey, list[Reservation]]:
    """By machine, what is ours there, with what open workers hold of their servers."""
    held: dict[HostKey, list[Reservation]] = {}
    for r in snapshot.reservations:
        machine = snapshot.machine.get((r.vim, r.host))
        if machine is not None and not r.resource_id.startswith(FILLER):
            held.setdefault(machine, []).append(r)
    for machine in tuple(held):
        worker = snapshot.by_key[machine]
        if worker.worker is not None:
            held.setdefault(snapshot.machine[worker.vim, worker.parent], []).append(worker_held(worker))
    return held


def _filler(host: Host, held: Sequence[Reservation]) -> Reservation:
    cpu, memory, huge, vfs, gpus, disk = _left(host, held)
    return Reservation(
        resource_id=f"{FILLER}{host.vim}/{host.id}",
        vim=host.vim,
        host=host.id,
        tenant="",
        runtime=Runtime.VM,
        isolation=Isolation.NONE,
        cpu_milli=cpu,
        memory_bytes=memory * MIB,
        hugepage_bytes=huge * MIB,
        vfs=vfs,
        gpus=gpus,
        disk_bytes=disk * MIB,
    )


def _left(host: Host, held: Sequence[Reservation]) -> Amounts:
    """In the search's units."""
    cells = cells_of([host])
    capacity = (
        sum(c.cpu_milli for c in cells),
        sum(c.memory_mib for c in cells),
        sum(c.hugepages_mib for c in cells),
        sum(c.vfs for c in cells),
        sum(c.gpus for c in cells),
        disk_mib_of([host]) or 0,
    )
    return _amounts([max(0, a - b) for a, b in zip(capacity, total(amounts_of(r) for r in held), strict=True)])


# ---- who is meant ----


def host_named(snapshot: Snapshot, name: str, field_name: str) -> HostKey:
    """Raises ProblemError `not-found`, `ambiguous`; `field_name` begins its detail."""
    found = [h.key for h in snapshot.hosts if h.id == name]
    vim, slash, rest = name.partition("/")
    if not found and slash:
        found = [h.key for h in snapshot.hosts if h.key == (vim, rest)]
    if len(found) == 1:
        return found[0]
    if found:
        known = ", ".join(f"{v}/{h}" for v, h in found)
        raise problem("ambiguous", f"{field_name}: {name!r} may be any of {known}: name it with its VIM", instance=name)
    raise problem(
        "not-found",
        f"{field_name}: no VIM tells a host {name!r}; `vnfm vim inventory NAME --all` lists a VIM's hosts",
        instance=name,
    )


def _machines(snapshot: Snapshot, keys: Iterable[HostKey]) -> Iterable[HostKey]:
    """With all that is on top of these machines, and under every name that they have."""
    gone = {snapshot.machine[k] for k in keys}
    if not gone:
        return ()
    return [h.key for h in snapshot.hosts if any(snapshot.machine[k] in gone for k in snapshot.lineage[h.key])]


def _zone(snapshot: Snapshot, name: str) -> list[HostKey]:
    found = [h for h in snapshot.hosts if h.zone == name]
    site, slash, rest = name.partition("/")
    if not found and slash:
        found = [h for h in snapshot.hosts if (h.site, h.zone) == (site, rest)]
    sites = sorted({h.site for h in found})
    if len(sites) > 1:
        known = ", ".join(f"{s}/{name}" for s in sites)
        raise problem("ambiguous", f"fail_zones: {name!r} may be any of {known}: name it with its site", instance=name)
    return _found([h.key for h in found], "fail_zones", "zone", name, (h.zone for h in snapshot.hosts))


def _site(snapshot: Snapshot, name: str) -> list[HostKey]:
    found = [h.key for h in snapshot.hosts if h.site == name]
    return _found(found, "fail_sites", "site", name, (h.site for h in snapshot.hosts))


def _of_vim(snapshot: Snapshot, name: str) -> list[Host]:
    found = [h for h in snapshot.hosts if h.vim == name]
    _found([h.key for h in found], "fail_vims", "VIM", name, (h.vim for h in snapshot.hosts))
    return found


def _found(keys: list[HostKey], field_name: str, what: str, name: str, known: Iterable[str]) -> list[HostKey]:
    if keys and name:
        return keys
    told = ", ".join(sorted({k for k in known if k})[:12]) or "none"
    raise problem("not-found", f"{field_name}: no host is in {what} {name!r}; there are: {told}", instance=name)


# ---- what fails with hosts, and what comes with them ----


def _reachable(now: Snapshot, failed: Collection[HostKey]) -> tuple[FabricEdge, ...]:
    """Edges that are left. A switch fails where all hosts nearest to it do: it is of their rack, zone or site."""
    if not failed:
        return now.fabric
    beside: dict[HostKey, list[HostKey]] = {}
    for e in now.fabric:
        beside.setdefault((e.vim, e.a), []).append((e.vim, e.b))
        beside.setdefault((e.vim, e.b), []).append((e.vim, e.a))
    gone = set(failed)
    alive = {at: at not in failed for at in beside if at in now.by_key}  # by vertex: whether any of its nearest is well
    layer = sorted(alive)
    while layer:
        found: dict[HostKey, bool] = {}
        for at in layer:
            for near in beside[at]:
                if near not in alive:
                    found[near] = found.get(near, False) or alive[at]
        alive.update(found)
        gone.update(at for at, well in found.items() if not well)
        layer = sorted(found)
    return tuple(e for e in now.fabric if (e.vim, e.a) not in gone and (e.vim, e.b) not in gone)


def _added(now: Snapshot, asked: Iterable[More]) -> tuple[list[Host], list[FabricEdge], dict[HostKey, HostKey]]:
    hosts: list[Host] = []
    edges: list[FabricEdge] = []
    like: dict[HostKey, HostKey] = {}
    for more in asked:
        if not 1 <= more.count <= MOST_ADDED:
            raise problem("bad-value", f"add_hosts: is {more.count}; expected 1 to {MOST_ADDED}")
        model = now.by_key[host_named(now, more.like, "add_hosts")] if more.like else _most_frequent(now)
        if model.parent:
            raise problem(
                "bad-value", f"add_hosts: {model.id} is a worker VM on {model.parent}; name a server", instance=model.id
            )
        mine = [e for e in now.fabric if e.vim == model.vim and model.id in (e.a, e.b)]
        for _ in range(more.count):
            name = _free_name(now, model, len(like))
            hosts.append(_fresh(model, name))
            like[model.vim, name] = model.key
            edges += [replace(e, a=name if e.a == model.id else e.a, b=name if e.b == model.id else e.b) for e in mine]
    return hosts, edges, like


def _fresh(model: Host, name: str) -> Host:
    cells = tuple(replace(c, cpu_used_by_others_milli=0, memory_used_by_others_bytes=0) for c in model.cells)
    return replace(
        model, id=name, cells=cells, identities=frozenset(), disk_used_by_others_bytes=0, active=not model.on_cost
    )


def _free_name(now: Snapshot, model: Host, at: int) -> str:
    name = f"new-{at + 1}"
    while (model.vim, name) in now.by_key:
        name += "'"
    return name


def _most_frequent(now: Snapshot) -> Host:
    servers = [h for h in now.hosts if not h.parent and h.cells and h.runtimes]
    if not servers:
        raise problem("not-found", "add_hosts: no VIM tells a server; name one to take as a model")
    kinds = Counter(_kind(h) for h in servers)
    return next(h for h in servers if kinds[_kind(h)] == max(kinds.values()))


def _kind(host: Host) -> tuple[object, ...]:
    cells = tuple((c.cpu_milli, c.memory_bytes, c.hugepage_bytes, c.vfs, c.gpus) for c in host.cells)
    return (host.vim, cells, host.runtimes, host.arch, host.disk_bytes, host.only_tenant)


# ---- what is left ----


@dataclass(frozen=True, slots=True)
class Headroom:
    """What a snapshot's hosts have and leave. Totals count servers that take VNFs, `free` what is free in workers, too.
    `ours`: servers that we hold something on; `largest`: the most that is free on one host, each by itself."""

    servers: int
    ours: int
    total: Amounts  # CPU in milli-CPU, memory, huge pages and disk in bytes, VFs, GPUs
    free: Amounts
    largest: Amounts


def headroom(snapshot: Snapshot, away: Collection[HostKey] = ()) -> Headroom:
    """Without the hosts that are away. Workers that could be opened are counted with their servers."""
    held = _held(snapshot)
    used = {snapshot.root((r.vim, r.host)) for r in snapshot.reservations if _ours(r, snapshot, away)}
    seen: set[HostKey] = set()
    whole, free, largest = [0] * 6, [0] * 6, [0] * 6
    servers = 0
    for host in snapshot.hosts:
        machine = snapshot.machine[host.key]
        if host.key in away or machine in seen or not host.cells or host.worker is not None:
            continue
        seen.add(machine)
        for at, amount in enumerate(_left(host, held.get(machine, ()))):
            free[at] += amount * UNITS[at]
            largest[at] = max(largest[at], amount * UNITS[at])
        if snapshot.root(host.key) == machine:
            servers += 1
            for at, amount in enumerate(_whole(host)):
                whole[at] += amount
    return Headroom(servers, len(used), _amounts(whole), _amounts(free), _amounts(largest))


def _ours(held: Reservation, snapshot: Snapshot, away: Collection[HostKey]) -> bool:
    key = (held.vim, held.host)
    return key in snapshot.lineage and key not in away and not held.resource_id.startswith(FILLER)


def used_by_others(host: Host) -> bool:
    """Whether someone else than this manager runs something there."""
    return host.disk_used_by_others_bytes > 0 or any(
        c.cpu_used_by_others_milli or c.memory_used_by_others_bytes for c in host.cells
    )


def _whole(host: Host) -> Amounts:
    cells = host.cells
    return (
        sum(c.cpu_milli for c in cells),
        sum(c.memory_bytes for c in cells),
        sum(c.hugepage_bytes for c in cells),
        sum(c.vfs for c in cells),
        sum(c.gpus for c in cells),
        host.disk_bytes or 0,
    )


def _amounts(values: Sequence[int]) -> Amounts:
    cpu, memory, huge, vfs, gpus, disk = values
    return (cpu, memory, huge, vfs, gpus, disk)


Say = Callable[[int, int, str], None]
"""Takes how much of how much is done, and what is being done."""


def no_word(_done: int, _total: int, _doing: str) -> None:
    """For who does not want to know."""
