"""A placement in the words of hosts and runtimes, and one VNFC tried out in it, for what is told of a decision.

The search itself counts in nodes (`beam.py`, `extend.py`); what it found becomes a `State` here. `extend` says why a
VNFC could not stand on another host beside what is placed: the texts of reasons and refusals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from vnfm.placement.candidates import Candidate, alike
from vnfm.placement.ledger import NOTHING, Load, kernel_conflict, reserve, shortage, worker_held
from vnfm.placement.network import Route
from vnfm.placement.score import link_score, open_worker_score, switch_on_score
from vnfm.placement.snapshot import Snapshot
from vnfm.placement.task import Task
from vnfm.placement.types import Demand, Host, HostKey, Link, Reservation, Rule, RuleKind


@dataclass(frozen=True, slots=True)
class Placed:
    """One VNFC's place in a state."""

    host: Host
    root: HostKey
    candidate: Candidate
    reservation: Reservation


@dataclass(frozen=True, slots=True)
class Wired:
    """One link's way in a state; latency None: not told."""

    latency_us: int | None
    route: Route


@dataclass(frozen=True, slots=True)
class State:
    """A part of the demands placed. `located`: the server of each placed demand and each end, as far as known."""

    score: int = 0
    placed: Mapping[str, Placed] = field(default_factory=dict)
    loads: Mapping[HostKey, Load] = field(default_factory=dict)  # machines that differ from the task's
    located: Mapping[str, HostKey] = field(default_factory=dict)
    wired: Mapping[str, Wired] = field(default_factory=dict)
    taken: Mapping[str, int] = field(default_factory=dict)  # bandwidth by edge
    lightness: tuple[int, ...] = ()
    tokens: Mapping[tuple[str, str], int] = field(default_factory=dict)  # licences taken, by licence and site

    @property
    def rank(self) -> tuple[object, ...]:
        """Cheaper first; among equals the lighter realizations, then the hosts' names."""
        return (self.score, self.lightness, tuple(p.host.key for p in self.placed.values()))


@dataclass(frozen=True, slots=True)
class Conflict:
    """Why a VNFC cannot stand there. `cause`: kernel, capacity, licence, rule, latency, bandwidth."""

    cause: str
    text: str


@dataclass(frozen=True, slots=True)
class Found:
    """The best state found; `proved`: nothing better exists (or, without a state, nothing at all)."""

    state: State | None
    proved: bool


def start(task: Task) -> State:
    """Nothing placed; the fixed ends stand where they are, the links among them are not ours to judge."""
    snapshot = task.snapshot
    return State(located={e.id: snapshot.root((e.vim, e.host)) for e in task.ends.values() if e.host})


def seats(task: Task, state: State, demand: Demand, candidate: Candidate) -> Iterator[tuple[Host, int | None]]:
    """The candidate's hosts and cells that can be tried: of hosts that are alike one, unless something is near."""
    for host, _ in alike(candidate, task.snapshot, task.loads, frozenset(state.located.values())):
        for cell in range(len(host.cells)) if demand.needs.numa_strict else (None,):
            yield host, cell


def extend(
    task: Task, state: State, demand: Demand, candidate: Candidate, host: Host, cell: int | None
) -> State | Conflict:
    """The state with the demand placed there, or why not."""
    snapshot = task.snapshot
    machine, root = snapshot.machine[host.key], snapshot.root(host.key)
    load = state.loads.get(machine) or task.loads.get(machine, NOTHING)
    reservation = reserve(demand, host, candidate.runtime, candidate.isolation, candidate.memory_bytes, cell)
    if text := kernel_conflict(host, load, reservation):
        return Conflict("kernel", text)
    if text := shortage(host, load, reservation):
        return Conflict("capacity", text)
    token = (reservation.licence, task.network.sites[root])
    tokens = dict(state.tokens)
    if reservation.licence:
        left = task.tokens.get(token, 0) - tokens.get(token, 0)
        if left < reservation.licence_count:
            return Conflict(
                "licence",
                f"needs {reservation.licence_count} of licence {reservation.licence}: {max(0, left)} are left "
                f"{place_of(host)}",
            )
        tokens[token] = tokens.get(token, 0) + reservation.licence_count
    for rule in task.rules_of[demand.id]:
        if text := _against(task, state, demand, host, root, rule):
            return Conflict("rule", text)
    score = state.score + candidate.score
    loads = {**state.loads, machine: load.plus(reservation)}
    if host.worker and machine not in {**task.loads, **state.loads}:
        opened = open_worker(task, loads, host)
        if isinstance(opened, Conflict):
            return opened
        loads, score = opened, score + open_worker_score(host.worker, task.weights)
    if root not in task.occupied and not _runs_on(state, root):
        score += switch_on_score(snapshot.by_key[root], task.weights)
    placed = {**state.placed, demand.id: Placed(host, root, candidate, reservation)}
    nxt = replace(
        state,
        score=score,
        placed=placed,
        loads=loads,
        located={**state.located, demand.id: root},
        lightness=(*state.lightness, candidate.lightness),
        tokens=tokens,
    )
    return _wire_all(task, nxt, demand)


def open_worker(task: Task, loads: Mapping[HostKey, Load], worker: Host) -> dict[HostKey, Load] | Conflict:
    """The loads with a worker VM opened on its server, or why there is no room for it."""
    server = task.snapshot.by_key[worker.vim, worker.parent]
    machine = task.snapshot.machine[server.key]
    load, held = loads.get(machine) or task.loads.get(machine, NOTHING), worker_held(worker)
    if text := shortage(server, load, held):
        return Conflict("capacity", f"worker VM {worker.id} cannot be opened: {text}")
    return {**loads, machine: load.plus(held)}


def hop_us(task: Task, state: State, member: str) -> int:
    """What a demand's realization, or an end, adds to a link; for a demand not placed yet the least it can."""
    placed = state.placed.get(member)
    return placed.candidate.hop_us if placed else task.least_hop_us[member]


def _runs_on(state: State, root: HostKey) -> bool:
    return any(p.root == root for p in state.placed.values())


def _against(task: Task, state: State, demand: Demand, host: Host, root: HostKey, rule: Rule) -> str:
    """Why the rule forbids the host; empty where it does not."""
    mine = task.network.domain(root, rule.scope)
    own = next(g for g in rule.groups if demand.id in g)
    for group in rule.groups:
        for member in group:
            at = state.located.get(member)
            if member == demand.id or at is None:
                continue
            same = task.network.domain(at, rule.scope) == mine
            if rule.kind is RuleKind.AFFINITY and not same:
                return (
                    f"rule {rule.id}: must share its {rule.scope} with {name_of(task, member)}, host {host.id} does not"
                )
            if rule.kind is RuleKind.ANTI_AFFINITY and same and group is not own:
                return f"rule {rule.id}: {name_of(task, member)} is on the same {rule.scope} as host {host.id}"
    return ""


def _wire_all(task: Task, state: State, demand: Demand) -> State | Conflict:
    for link in task.links_of[demand.id]:
        wired = _wire(task, state, demand, link)
        if isinstance(wired, Conflict):
            return wired
        state = wired
    paths = {p.id: p for link in task.links_of[demand.id] for p in task.paths_of[link.id]}
    for path in paths.values():
        least = 0
        for link_id in path.links:
            latency = _least_us(task, state, task.links[link_id])
            if latency is None:
                return Conflict("latency", f"path {path.id}: nobody tells the latency of link {link_id}")
            least += latency
        if least > path.max_latency_us:
            return Conflict("latency", f"path {path.id} would take {least} us, {path.max_latency_us} us are allowed")
    return state


def _wire(task: Task, state: State, demand: Demand, link: Link) -> State | Conflict:
    """The link laid where both its ends are located; an end without a host settles beside the demand."""
    other = link.b if link.a == demand.id else link.a
    if other not in state.located:
        if other not in task.ends:
            return state
        state = replace(state, located={**state.located, other: state.located[demand.id]})
    a, b = state.located[link.a], state.located[link.b]
    route = task.network.route(a, b, link.bandwidth_bps, state.taken)
    if route is None:
        return Conflict(
            "bandwidth", f"link {link.id}: no way to {name_of(task, other)} has {mbit(link.bandwidth_bps)} free"
        )
    latency = None
    if route.latency_us is not None:
        latency = route.latency_us + hop_us(task, state, link.a) + hop_us(task, state, link.b)
    if link.max_latency_us is not None and (latency is None or latency > link.max_latency_us):
        took = "a latency that nobody tells" if latency is None else f"{latency} us"
        return Conflict("latency", f"link {link.id} would take {took}, {link.max_latency_us} us are allowed")
    taken = state.taken
    if route.edges and link.bandwidth_bps:
        taken = {**taken, **{e: taken.get(e, 0) + link.bandwidth_bps for e in route.edges}}
    return replace(
        state,
        score=state.score + link_score(route, link.bandwidth_bps, task.weights),
        wired={**state.wired, link.id: Wired(latency, route)},
        taken=taken,
    )


def _least_us(task: Task, state: State, link: Link) -> int | None:
    """The least latency the link can still have; None: laid, and nobody tells."""
    wired = state.wired.get(link.id)
    if wired is not None:
        return wired.latency_us
    ends = hop_us(task, state, link.a) + hop_us(task, state, link.b)
    a, b = state.located.get(link.a), state.located.get(link.b)
    route = task.network.route(a, b) if a is not None and b is not None else None
    return ends + ((route.latency_us or 0) if route else 0)


def name_of(task: Task, member: str) -> str:
    """How texts call a demand or an end: by the VNF's alias, with the VDU where the VNF has several."""
    demand = next((d for d in task.demands if d.id == member), None)
    if demand is None:
        return member
    several = sum(d.alias == demand.alias for d in task.demands) > 1
    return f"{demand.alias}/{demand.vdu}" if several else demand.alias


def place_of(host: Host) -> str:
    """Where licences are counted, for people."""
    return f"at site {host.site}" if host.site else f"in VIM {host.vim}"


def mbit(bandwidth_bps: int) -> str:
    """A bandwidth for people."""
    return f"{bandwidth_bps / 1_000_000:g} Mbit/s"


def server_of(snapshot: Snapshot, key: HostKey) -> HostKey:
    """The outermost machine that the host's own VIM names: where an end beside it should be."""
    return next(k for k in snapshot.lineage[key] if k[0] == key[0])
