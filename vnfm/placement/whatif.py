"""What if: a snapshot with hosts drained, lost or added. Pure; what stands is not touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from vnfm.model.placement import Runtime
from vnfm.model.problem import problem
from vnfm.placement.desk import Desk, desk_of
from vnfm.placement.headroom import filling
from vnfm.placement.inventory import FabricEdge, Host, HostKey
from vnfm.placement.naming import host_named, machines_of, site_named, vim_named, zone_named
from vnfm.placement.seek import way_between
from vnfm.placement.snapshot import Kept, Snapshot

MOST_ADDED = 10_000


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
    drained = frozenset(machines_of(now, [host_named(now, name, "drain") for name in asked.drain]))
    dead = [host_named(now, name, "fail_hosts") for name in asked.fail_hosts]
    dead += [key for zone in asked.fail_zones for key in zone_named(now, zone)]
    dead += [key for site in asked.fail_sites for key in site_named(now, site)]
    failed = frozenset(machines_of(now, dead)) | {key for vim in asked.fail_vims for key in vim_named(now, vim)}
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
