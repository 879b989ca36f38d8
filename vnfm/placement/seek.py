"""A task given to the search, and what the search found given back: the seam between hosts and nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vnfm.placement.atlas import HALVES, MEGA, UNTOLD_US
from vnfm.placement.book import Book, Draft
from vnfm.placement.desk import Desk, desk_of
from vnfm.placement.estate import Bools
from vnfm.placement.kinds import Kind
from vnfm.placement.ledger import NOTHING, Load, reserve
from vnfm.placement.network import Route
from vnfm.placement.openings import Opening, point_of
from vnfm.placement.placer import SMALL, THOROUGH, Effort
from vnfm.placement.score import link_score, open_worker_score, switch_on_score
from vnfm.placement.statement import Chain, PathBound, Rule, RuleKind, Scope, VirtualLink, Vnf
from vnfm.placement.statement import End as FixedEnd
from vnfm.placement.task import Task
from vnfm.placement.tryout import Conflict, Placed, State, Wired, open_worker
from vnfm.placement.types import Demand, HostKey, Link
from vnfm.placement.types import RuleKind as AskedKind
from vnfm.placement.types import Scope as AskedScope
from vnfm.placement.units import Units

TINY = 8  # nodes up to which nearly everything is looked at
EVERYTHING = Effort((64, 400))
SCOPES = {AskedScope.NFVI_NODE: Scope.SERVER, AskedScope.RACK: Scope.RACK, AskedScope.ZONE: Scope.ZONE}


@dataclass(frozen=True, slots=True)
class Found:
    """The best state found; `proved`: where there is none, that none exists."""

    state: State | None
    proved: bool


def solve(task: Task) -> Found:
    """Search for the whole task. Equal tasks give equal answers."""
    kept = task.snapshot.kept
    with kept.lock:
        return _Seek(task, desk_of(task.snapshot)).found()


class _Given:
    """Kinds that were made for this chain."""

    def __init__(self, book: Book, kinds: Mapping[str, Kind]) -> None:
        self.book = book
        self.kinds = kinds

    def of(self, vnf: Vnf, tenant: int) -> Kind:
        """Up to date."""
        kind = self.kinds[vnf.id]
        kind.refresh(self.book)
        return kind


class _Seek:
    """One task in the search's words. Ends without a host are points that share a server with a neighbour."""

    def __init__(self, task: Task, desk: Desk) -> None:
        self.task, self.desk = task, desk
        self.estate = desk.atlas.estate
        self.beside = self._beside()
        self.openings = {d.id: self._opening(d) for d in task.demands}
        located = {e.id: task.snapshot.root((e.vim, e.host)) for e in task.ends.values() if e.host}
        self.located: dict[str, HostKey] = located
        self.chain = self._chain()

    def found(self) -> Found:
        """The answer."""
        placer, book = self.desk.placer, self.desk.book
        tenant = book.tenant(self.task.request.tenant)
        docks = len(self.estate.starts)
        kinds: dict[str, Kind] = {
            d.id: self.openings[d.id].kind(book.tenant(d.tenant), docks, self._allowed(d.id)) for d in self.task.demands
        }
        point = point_of(self.estate.size)
        kinds.update((e, point.kind(tenant, docks)) for e in self.beside)
        placer.kinds = _Given(book, kinds)  # type: ignore[assignment]
        placer.units = Units(book)
        size = self.estate.size
        effort = EVERYTHING if size <= TINY else THOROUGH if size <= SMALL else None
        found = placer.find(self.chain, effort)
        if found.draft is None:
            return Found(None, found.why is not None)
        return Found(self._state(found.draft), proved=False)

    # ---- what is asked ----

    def _beside(self) -> dict[str, str]:
        """By end without a host: the demand that it is with, the first in the order of placing."""
        order = {d.id: i for i, d in enumerate(self.task.demands)}
        found: dict[str, str] = {}
        for link in self.task.request.links:
            for end, other in ((link.a, link.b), (link.b, link.a)):
                known = self.task.ends.get(end)
                open_end = known is not None and not known.host and other in order
                if open_end and (end not in found or order[other] < order[found[end]]):
                    found[end] = other
        return found

    def _opening(self, demand: Demand) -> Opening:
        return self.desk.opening(demand, self.task.weights, self.task.candidates[demand.id])

    def _chain(self) -> Chain:
        task = self.task
        vnfs = [
            Vnf(
                d.id,
                d.cpu_milli,
                -(-d.memory_bytes // (1 << 20)),
                (),
                numa_strict=d.needs.numa_strict,
                licence=d.needs.licence or None,
                licence_count=d.needs.licence_count,
            )
            for d in task.demands
        ]
        vnfs += [Vnf(e, 0, 0, ()) for e in sorted(self.beside)]
        known = {v.id for v in vnfs} | set(self.located)
        links = [x for x in task.request.links if {x.a, x.b} <= known and not {x.a, x.b} <= set(self.located)]
        laid = {x.id for x in links}
        ids = self.estate.ids
        node = self.desk.atlas.node_of
        return Chain(
            id="",
            tenant=task.request.tenant,
            vnfs=tuple(vnfs),
            ends=tuple(FixedEnd(e, ids[node[task.snapshot.machine[at]]]) for e, at in sorted(self.located.items())),
            vlinks=tuple(self._vlink(x) for x in sorted(links, key=lambda x: x.id)),
            paths=tuple(
                PathBound(
                    tuple(i for i in p.links if i in laid),
                    HALVES * p.max_latency_us - sum(self._aside_us(task.links[i], i in laid) for i in p.links),
                )
                for p in sorted(task.request.paths, key=lambda p: p.id)
            ),
            rules=tuple(self._rules()),
        )

    def _vlink(self, link: Link) -> VirtualLink:
        most = link.max_latency_us
        bound = None if most is None else HALVES * most - self._aside_us(link, laid=True)
        return VirtualLink(link.id, link.a, link.b, -(-link.bandwidth_bps // MEGA), bound)

    def _aside_us(self, link: Link, laid: bool) -> int:
        """What of a link's latency does not depend on the search: fixed ends, or all of it, in half microseconds."""
        us = sum(self.task.least_hop_us[e] for e in (link.a, link.b) if e in self.task.ends)
        if not laid and {link.a, link.b} <= set(self.located):
            route = self.task.network.route(self.located[link.a], self.located[link.b])
            us += (route.latency_us or 0) if route else 0
        return us * HALVES

    def _rules(self) -> list[Rule]:
        """Among demands, pair by pair; what is fixed already closes nodes, see `_allowed`."""
        rules = [Rule(RuleKind.AFFINITY, Scope.SERVER, (e, d)) for e, d in sorted(self.beside.items())]
        for rule in self.task.request.rules:
            scope = SCOPES.get(rule.scope, Scope.SITE)
            groups = [[self.beside.get(m, m) for m in g if self.beside.get(m, m) in self.openings] for g in rule.groups]
            members = sorted({m for g in groups for m in g})
            if rule.kind is AskedKind.AFFINITY:
                if len(members) > 1:
                    rules.append(Rule(RuleKind.AFFINITY, scope, tuple(members)))
                continue
            own = {m: i for i in reversed(range(len(groups))) for m in groups[i]}
            rules += [
                Rule(RuleKind.ANTI_AFFINITY, scope, (a, b))
                for i, a in enumerate(members)
                for b in members[i + 1 :]
                if own[a] != own[b]
            ]
        return rules

    def _allowed(self, demand_id: str) -> Bools | None:
        """The nodes that rules leave to a demand beside what is fixed; None: all."""
        allowed: Bools | None = None
        for rule in self.task.rules_of[demand_id]:
            own = next(g for g in rule.groups if demand_id in g)
            codes = self.estate.domain_codes[SCOPES.get(rule.scope, Scope.SITE)]
            for group in rule.groups:
                for member in group:
                    at = self.located.get(member)
                    if at is None or (rule.kind is AskedKind.ANTI_AFFINITY and group is own):
                        continue
                    same = codes == codes[self.desk.atlas.node_of[self.task.snapshot.machine[at]]]
                    mask = same if rule.kind is AskedKind.AFFINITY else ~same
                    allowed = mask if allowed is None else allowed & mask
        return None if allowed is None else np.asarray(allowed)

    # ---- what was found ----

    def _state(self, draft: Draft) -> State:
        task, snapshot = self.task, self.task.snapshot
        position = {v.id: i for i, v in enumerate(self.chain.vnfs)}
        placed: dict[str, Placed] = {}
        loads: dict[HostKey, Load] = {}
        score = 0
        switched: set[HostKey] = set()
        for demand in task.demands:
            seat = draft.seats[position[demand.id]]
            candidate, host = self.openings[demand.id].takers[seat.variant][seat.node]
            cell = seat.cell if seat.cell >= 0 else None
            held = reserve(demand, host, candidate.runtime, candidate.isolation, candidate.memory_bytes, cell)
            machine, root = snapshot.machine[host.key], snapshot.root(host.key)
            load = loads.get(machine) or task.loads.get(machine, NOTHING)
            if host.worker and machine not in {**task.loads, **loads}:
                opened = open_worker(task, loads, host)
                loads = loads if isinstance(opened, Conflict) else opened
                score += open_worker_score(host.worker, task.weights)
            loads[machine] = load.plus(held)
            placed[demand.id] = Placed(host, root, candidate, held)
            score += candidate.score
            if root not in task.occupied and root not in switched:
                switched.add(root)
                score += switch_on_score(snapshot.by_key[root], task.weights)
        located = {**self.located, **{i: p.root for i, p in placed.items()}}
        located.update((e, placed[d].root) for e, d in self.beside.items())
        wired, taken = self._wired(draft, placed)
        for i, way in wired.items():
            score += link_score(way.route, task.links[i].bandwidth_bps, task.weights)
        lightness = tuple(placed[d.id].candidate.lightness for d in task.demands)
        tokens: dict[tuple[str, str], int] = {}
        for p in placed.values():
            if p.reservation.licence:
                token = (p.reservation.licence, task.network.sites[p.root])
                tokens[token] = tokens.get(token, 0) + p.reservation.licence_count
        return State(score, placed, loads, located, wired, taken, lightness, tokens)

    def _wired(self, draft: Draft, placed: Mapping[str, Placed]) -> tuple[dict[str, Wired], dict[str, int]]:
        fabric, edges = self.estate.fabric, self.desk.atlas.link_of
        wired: dict[str, Wired] = {}
        taken: dict[str, int] = {}
        at = {x.id: i for i, x in enumerate(self.chain.vlinks)}
        for link in self.task.request.links:
            if link.id not in at:
                continue
            walked = draft.routes.get(at[link.id], ())
            half_us = sum(fabric.link_us[i] for i in walked)
            names = tuple(name for i in walked if (name := fabric.link_ids[i]) in edges)
            way_us = None if half_us >= UNTOLD_US // 2 else half_us // HALVES
            hops = sum(
                placed[e].candidate.hop_us if e in placed else self.task.least_hop_us[e] for e in (link.a, link.b)
            )
            wired[link.id] = Wired(None if way_us is None else way_us + hops, Route(way_us, names))
            if link.bandwidth_bps:
                taken.update((e, taken.get(e, 0) + link.bandwidth_bps) for e in names)
        return wired, taken
