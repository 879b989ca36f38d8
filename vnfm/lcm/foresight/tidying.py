"""Moves that leave the cloud tidier, in an order in which each is possible when it is its turn. Pure.

First servers are emptied that nobody else uses, into servers that are in use anyway, the least loaded first; then
chains go to where they are cheaper. A move is make before break: while it is made, what moves is held twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from vnfm.lcm.changing import Renewal
from vnfm.lcm.foresight.moving import Gauge, Measure, Moved, Shift, Sight, moved
from vnfm.lcm.foresight.running import Running
from vnfm.lcm.foresight.saying import Say, no_word
from vnfm.model.problem import ProblemError
from vnfm.placement.headroom import filling, used_by_others
from vnfm.placement.inventory import HostKey
from vnfm.placement.snapshot import Snapshot
from vnfm.placement.whatif import only

TRIES = 100
"""Chains that are looked at in vain before the search ends; more where many moves are wanted."""


@dataclass(frozen=True, slots=True)
class Improvement:
    """One move: VNFs of one chain, together. `empties`: servers that nothing of ours is on once it is done."""

    running: Running  # as it was
    shifts: tuple[Shift, ...]
    before: Measure | None
    after: Measure | None
    empties: tuple[HostKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Tidied:
    """`pinned`: servers in use by nobody else that cannot be emptied, since an end or a VNF that cannot be moved is
    there; `tried`: those that could not be emptied for want of room elsewhere; `unlooked`: chains that were left out as
    enough was found or tried."""

    moves: tuple[Improvement, ...]
    snapshot: Snapshot
    running: tuple[Running, ...]
    pinned: int = 0
    tried: int = 0
    unlooked: int = 0


@dataclass(slots=True)
class _State:
    """How it stands in thought."""

    running: dict[str, Running]
    snapshot: Snapshot
    moves: list[Improvement]
    gauge: Gauge
    hosts: dict[HostKey, list[HostKey]]  # by server

    @classmethod
    def of(cls, everyone: Sequence[Running], now: Snapshot) -> _State:
        hosts: dict[HostKey, list[HostKey]] = {}
        for host in now.hosts:
            hosts.setdefault(now.root(host.key), []).append(host.key)
        return cls({r.id: r for r in everyone}, now, [], Gauge.of(now), hosts)

    def hosts_of(self, servers: Iterable[HostKey]) -> list[HostKey]:
        return [key for server in servers for key in self.hosts[server]]


def tidied(everyone: Sequence[Running], now: Snapshot, sight: Sight, most: int, say: Say = no_word) -> Tidied:
    """At most so many moves, of VNFs."""
    state = _State.of(everyone, now)
    pinned, tried = _empty_servers(state, sight, most, say)
    unlooked = _cheapen(state, sight, most, say)
    return Tidied(tuple(state.moves), state.snapshot, tuple(state.running.values()), pinned, tried, unlooked)


def bettered(
    everyone: Sequence[Running], then: Snapshot, sight: Sight, most: int, onto: Collection[HostKey], say: Say = no_word
) -> Tidied:
    """Moves that become worth while by these hosts: at least one VNF of each goes to one of them."""
    state = _State.of(everyone, then)
    unlooked = _cheapen(state, sight, most, say, onto)
    return Tidied(tuple(state.moves), state.snapshot, tuple(state.running.values()), unlooked=unlooked)


# ---- servers that become empty ----


def _empty_servers(state: _State, sight: Sight, most: int, say: Say) -> tuple[int, int]:
    """How many were pinned, and how many could not be emptied."""
    on = _by_server(state)
    candidates = [s for s in on if not any(used_by_others(state.snapshot.by_key[k]) for k in state.hosts_of([s]))]
    pinned = {s for s in candidates if any(not _movable(state.running[i], s, state.snapshot) for i, _ in on[s])}
    left = sorted(set(candidates) - pinned, key=lambda s: (sum(cpu for _, cpu in on[s]), s))
    if not left:
        return len(pinned), 0
    crowd = only(state.snapshot, state.hosts_of(on))  # only servers that are in use take anything
    tried = 0
    for at, server in enumerate(left):
        room = most - sum(len(m.shifts) for m in state.moves)
        if room <= 0:
            break
        say(at, len(left), f"server {server[1]}")
        found = _emptied(state, crowd, server, sight)
        if found is None or sum(len(m.shifts) for m in found.moves) > room:
            tried += 1
            continue
        held = {r.resource_id for r in state.snapshot.reservations}
        links = {r.resource_id for r in state.snapshot.link_reservations}
        state.running.update(found.running)
        state.moves += found.moves
        state.snapshot = _following(state.snapshot, found.snapshot, held, links)
        crowd = found.snapshot
    return len(pinned), tried


def _following(whole: Snapshot, crowd: Snapshot, held: set[str], links: set[str]) -> Snapshot:
    """The whole cloud with what changed in the crowd."""
    now = {r.resource_id: r for r in crowd.reservations}
    ways = {r.resource_id: r for r in crowd.link_reservations}
    return whole.releasing([*(held - set(now)), *(links - set(ways))]).holding(now.values(), ways.values())


def _by_server(state: _State) -> dict[HostKey, list[tuple[str, int]]]:
    """By server: chain or VNF, and CPU, of each VNFC on it."""
    found: dict[HostKey, list[tuple[str, int]]] = {}
    for one in state.running.values():
        for vnfc in one.stands.vnfcs:
            key = (vnfc.vim, vnfc.spec.host)
            if key in state.snapshot.lineage:
                found.setdefault(state.snapshot.root(key), []).append((one.id, vnfc.spec.cpu_milli))
    return found


def _servers_in_use(state: _State) -> set[HostKey]:
    """By a VNFC or an end of ours."""
    known = state.snapshot.lineage
    keys = [(v.vim, v.spec.host) for one in state.running.values() for v in one.stands.vnfcs]
    keys += [(s.vim, s.spec.host) for one in state.running.values() for s in one.stands.saps]
    return {state.snapshot.root(key) for key in keys if key in known}


def _movable(one: Running, server: HostKey, snapshot: Snapshot) -> bool:
    """Whether what it has on the server could leave it."""
    if one.chain is None or one.busy or not _known(one):
        return False
    saps = ((s.vim, s.spec.host) for s in one.stands.saps)
    return all(key not in snapshot.lineage or snapshot.root(key) != server for key in saps)


def _known(one: Running) -> bool:
    try:
        _ = one.wanted
    except ProblemError:
        return False
    return True


def _emptied(state: _State, crowd: Snapshot, server: HostKey, sight: Sight) -> _State | None:
    """All that is on the server goes elsewhere, or nothing does."""
    hosts = set(state.hosts_of([server]))
    trial = replace(state, running={}, snapshot=crowd.holding(filling(crowd, hosts)), moves=[])
    for one in sorted((r for r in state.running.values() if r.on(hosts)), key=lambda r: (r.tenant, r.name)):
        aliases = {v.alias for v in one.on(hosts)}
        found = moved(one, Renewal(one.of(aliases)), trial.snapshot, sight)
        if not isinstance(found, Moved) or found.running.on(hosts):
            return None
        measures = state.gauge.measured(one), state.gauge.measured(found.running)
        trial.moves.append(Improvement(one, found.shifts, *measures))
        trial.running[one.id] = found.running
        trial.snapshot = found.snapshot.holding(filling(found.snapshot, hosts))  # what is free there now stays closed
    if not trial.moves:
        return None
    trial.moves[-1] = replace(trial.moves[-1], empties=(server,))
    return trial


# ---- chains that become cheaper ----


def _cheapen(state: _State, sight: Sight, most: int, say: Say, onto: Collection[HostKey] = ()) -> int:
    """The dearest first. How many were not looked at, as enough was found or tried in vain."""
    everyone = [one for one in state.running.values() if _worth(one)]
    ranked = [(cost, one) for one in everyone if (cost := state.gauge.measured(one)) is not None]
    ranked.sort(key=lambda x: (-x[0].score, x[1].tenant, x[1].name))
    vain = 0
    for at, (cost, one) in enumerate(ranked):
        room = most - sum(len(m.shifts) for m in state.moves)
        if room <= 0 or vain >= max(TRIES, most):
            return len(ranked) - at
        say(at, len(ranked), f"chain {one.name}")
        made = next(_cheaper(one, cost, state, sight, onto, room), None)
        if made is None:
            vain += 1
            continue
        found, after = made
        state.snapshot = found.snapshot
        state.running[one.id] = found.running
        left = {state.snapshot.root(s.before.key) for s in found.shifts if not s.stays} - _servers_in_use(state)
        state.moves.append(Improvement(one, found.shifts, cost, after, tuple(sorted(left))))
    return 0


def _worth(one: Running) -> bool:
    return one.chain is not None and not one.busy and _known(one) and bool(one.stands.vnfcs)


def _cheaper(
    one: Running, cost: Measure, state: _State, sight: Sight, onto: Collection[HostKey], room: int
) -> Iterator[tuple[Moved, Measure]]:
    """All of it anew, then only those VNFs that really go elsewhere; where it is cheaper and within the bounds."""
    snapshot = state.snapshot
    whole = moved(one, Renewal(frozenset(v.resource_id for v in one.stands.vnfcs)), snapshot, sight)
    if not isinstance(whole, Moved):
        return
    going = {s.alias for s in whole.shifts if not s.stays}
    if not going:
        return
    for aliases in (going, *({a} for a in sorted(going) if len(going) > 1)):
        found = moved(one, Renewal(one.of(aliases)), snapshot, sight)
        if not isinstance(found, Moved) or len(found.shifts) > room or all(s.stays for s in found.shifts):
            continue
        if onto and not any(s.after.key in onto for s in found.shifts):
            continue
        if not onto and any(_switched_on(state, s.after.key) for s in found.shifts):
            continue
        after = state.gauge.measured(found.running)
        if after is not None and after.score < cost.score:
            yield found, after


def _switched_on(state: _State, key: HostKey) -> bool:
    """Whether a server that is off would be switched on for it: no saving."""
    snapshot = state.snapshot
    root = snapshot.root(key)
    if snapshot.by_key[root].active:
        return False
    ours = {(r.vim, r.host) for r in snapshot.reservations if r.cpu_milli}
    return not any(k in ours for k in state.hosts_of([root]))
