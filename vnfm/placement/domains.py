"""Where each VNF of a chain can be at all: only what is impossible is taken away, so an empty domain is a proof.

Narrowed by what each VNF asks alone, by licences, by the bandwidth that is left towards the chain's ends, by affinity,
and by the least latency along bounded links and paths.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vnfm.placement.ahead import Horizon
from vnfm.placement.ask import Ask
from vnfm.placement.book import Book
from vnfm.placement.estate import Bools, Ints
from vnfm.placement.fabric import FAR, Spot
from vnfm.placement.statement import RuleKind, Scope


@dataclass(frozen=True, slots=True)
class Impossible:
    """Why a chain cannot be placed as things are: what the proof rests on, and what belongs to it."""

    proof: str
    detail: str
    facts: dict[str, object] = field(default_factory=dict)


class Domains:
    """`of[v]`: the nodes where VNF v can be. `narrow` returns the first contradiction that it meets."""

    def __init__(self, ask: Ask, book: Book, horizon: Horizon) -> None:
        self.ask, self.book, self.horizon = ask, book, horizon
        self.estate = book.estate
        for unit in ask.units:
            unit.source.refresh(book)
        for kind in ask.kinds:
            kind.refresh(book)
        self.of: list[Bools] = [np.asarray(k.score < k.never) if k.ways else self._nowhere() for k in ask.kinds]

    def _nowhere(self) -> Bools:
        return np.zeros(self.estate.size, dtype=np.bool_)

    def narrow(self) -> Impossible | None:
        """Narrow by all but the rules that keep VNFs apart."""
        return (
            self._by_licences()
            or self._by_ends()
            or self._by_leaving()
            or self._by_affinity()
            or self._by_latency()
            or self._by_affinity()
        )

    def docks(self, v: int) -> Bools:
        """The docks with a node of v's domain."""
        starts = self.estate.starts
        return np.logical_or.reduceat(self.of[v], starts) if len(starts) else np.zeros(0, dtype=np.bool_)

    def keep_docks(self, v: int, docks: Bools) -> bool:
        """Leave v only nodes at those docks; whether there are any."""
        if not docks.all():
            self.of[v] = self.of[v] & docks[self.estate.dock_codes]
        return bool(self.of[v].any())

    def name(self, v: int) -> str:
        """A VNF's id."""
        return self.ask.chain.vnfs[v].id

    # ---- licences ----

    def _by_licences(self) -> Impossible | None:
        asked: dict[str, list[int]] = {}
        for v, vnf in enumerate(self.ask.chain.vnfs):
            if vnf.licence is not None:
                asked.setdefault(vnf.licence, []).append(v)
        for licence, members in asked.items():
            left = {site: n for (name, site), n in self.book.licences.items() if name == licence and n > 0}
            takes = {v: self.ask.chain.vnfs[v].licence_count for v in members}
            for v in members:
                codes = [self.estate.sites[s] for s, n in left.items() if n >= takes[v] and s in self.estate.sites]
                self.of[v] = self.of[v] & np.isin(self.estate.site_at, codes)
                if not self.of[v].any():
                    return Impossible("licence", f"{self.name(v)}: no site that it fits at has a token of {licence}",
                                      {"vnf": self.name(v), "licence": licence, "left": left})  # fmt: skip
            if sum(takes.values()) > sum(left.values()):
                text = f"{sum(takes.values())} tokens of {licence} are asked, {sum(left.values())} are left"
                return Impossible("licence", text, {"licence": licence, "left": left})
        return None

    # ---- bandwidth towards the ends ----

    def _by_ends(self) -> Impossible | None:
        ask = self.ask
        for e in range(len(ask.end_spots)):
            found = self._by_end(-1 - e)
            if found:
                return found
        return None

    def _by_leaving(self) -> Impossible | None:
        """What a VNF exchanges with others that must not share its server has to leave it."""
        ask = self.ask
        for v, u in enumerate(ask.unit_of):
            others = ((i, ask.wires[i].other(v)) for i in ask.wires_of[v])
            need = sum(
                ask.wires[i].bandwidth for i, other in others if other >= 0 and ask.unit_of[other] in ask.apart[u]
            )
            if need:
                self.of[v] = self.of[v] & (self.book.up_left >= need)
                if not self.of[v].any():
                    text = f"{self.name(v)}: no host that it fits on has {need} Mbit/s left for what has to leave it"
                    return Impossible("bandwidth", text, {"vnf": self.name(v), "asked": need})
        return None

    def _by_end(self, end: int) -> Impossible | None:
        """What a VNF exchanges with an end has to get there; so has what joins others to that VNF."""
        ask = self.ask
        spot = ask.end_spots[-1 - end]
        name = ask.chain.ends[-1 - end].id
        widest = self._widest_to(end)
        if not widest:
            return None
        if spot.place < 0:
            here = {-1 - i for i, s in enumerate(ask.end_spots) if s.place == spot.place}
            total = sum(w.bandwidth for w in ask.wires if (w.a in here) != (w.b in here))
            room = sum(self.book.bandwidth[link] for _, link, _ in self.book.estate.fabric.near[spot.vertex])
            room += self._uplinks_at(spot)
            if total > room:
                text = f"at {ask.chain.ends[-1 - end].at} {total} Mbit/s are asked, {room} are left"
                return Impossible("bandwidth", text, {"end": name, "asked": total, "left": room})
        reached: dict[int, Bools] = {}
        for v, bandwidth in widest.items():
            if bandwidth not in reached:
                reached[bandwidth] = self._reached(spot, bandwidth)
            self.of[v] = self.of[v] & reached[bandwidth]
            if not self.of[v].any():
                text = f"{self.name(v)}: no host that it fits on has {bandwidth} Mbit/s left to {name}"
                return Impossible("bandwidth", text, {"vnf": self.name(v), "end": name, "asked": bandwidth})
        return None

    def _uplinks_at(self, spot: Spot) -> int:
        docks = self.estate.fabric.dock_of
        dock = docks[spot.vertex]
        if dock < 0:
            return 0
        start, end = self.estate.dock_slice(dock)
        servers = self.estate.roots[(self.estate.roots >= start) & (self.estate.roots < end)]
        room = self.book.up_left[servers]
        return int(room[room < FAR].sum())

    def _widest_to(self, end: int) -> dict[int, int]:
        """By VNF: the bandwidth that certainly has to pass between it (or its server) and the end's place."""
        ask = self.ask
        widest: dict[int, int] = {}
        queue = [(1 << 60, end)]
        while queue:
            queue.sort()
            so_far, point = queue.pop()
            if point >= 0:
                if widest.get(point, -1) >= so_far:
                    continue
                widest[point] = so_far
            elif point != end:
                continue
            for w in ask.wires:
                if point in (w.a, w.b) and w.other(point) >= 0:
                    queue.append((min(so_far, w.bandwidth), w.other(point)))
        return widest

    def _reached(self, spot: Spot, bandwidth: int) -> Bools:
        """The nodes of servers that are joined to a spot by links with that much left, its own server included."""
        book, estate, fabric = self.book, self.estate, self.estate.fabric
        met = bytearray(len(fabric.vertices))
        left = book.bandwidth
        if spot.uplink < 0 or left[spot.uplink] >= bandwidth:
            met[spot.vertex] = 1
            queue = [spot.vertex]
            for at in queue:
                if fabric.through[at] or at == spot.vertex:
                    for w, link, _ in fabric.near[at]:
                        if not met[w] and left[link] >= bandwidth:
                            met[w] = 1
                            queue.append(w)
        there: Bools = np.frombuffer(met, dtype=np.bool_)[estate.vertex_codes]
        out = there & (book.up_left >= bandwidth)
        server = estate.server_at.get(spot.place)
        if server is not None:
            out[server : estate.server_end[server]] = True
        return out

    # ---- affinity ----

    def _by_affinity(self) -> Impossible | None:
        ask = self.ask
        for unit in ask.units:
            if len(unit.members) > 1:
                fits = np.asarray(unit.score < unit.never)[self.estate.root_codes]
                for v in unit.members:
                    self.of[v] = self.of[v] & fits
                    if not self.of[v].any():
                        names = [self.name(m) for m in unit.members]
                        return Impossible("rules", f"no server holds {', '.join(names)} together", {"vnfs": names})
        points = {v.id: i for i, v in enumerate(ask.chain.vnfs)}
        for rule in ask.chain.rules:
            if rule.kind is RuleKind.AFFINITY and rule.vnfs:
                found = self._together(rule.scope, [points[x] for x in rule.vnfs])
                if found:
                    return found
        return None

    def _together(self, scope: Scope, members: list[int]) -> Impossible | None:
        codes = self.estate.domain_codes[scope]
        common: Bools | None = None
        for v in members:
            here = np.bincount(codes[self.of[v]], minlength=int(codes.max(initial=0)) + 1) > 0
            common = here if common is None else common & here
        if common is None or not common.any():
            names = [self.name(v) for v in members]
            text = f"no {scope.value} has a host for each of {', '.join(names)}"
            return Impossible("rules", text, {"affinity": scope.value, "vnfs": names})
        if not common.all():
            for v in members:
                self.of[v] = self.of[v] & common[codes]
        return None

    # ---- latency ----

    def _by_latency(self) -> Impossible | None:
        ask = self.ask
        for i, w in enumerate(ask.wires):
            if w.max_us is not None and w.a != w.b:
                found = self._along((w.a, w.b), (i,), w.max_us)
                if found:
                    return found
        for bound in ask.bounds:
            if bound.walk:
                found = self._along(bound.walk, bound.wires, bound.max_us)
                if found:
                    return found
        return None

    def _along(self, walk: tuple[int, ...], wires: tuple[int, ...], limit: int) -> Impossible | None:
        ask = self.ask
        hops = [ask.least_us(ask.wires[i].a) + ask.least_us(ask.wires[i].b) for i in wires]
        ahead = self._lengths(walk, hops)
        back = self._lengths(walk[::-1], hops[::-1])[::-1]
        best = [int((a + b).min(initial=FAR)) for a, b in zip(ahead, back, strict=True)]
        least = max(best)
        names = [ask.chain.vlinks[i].id for i in wires]
        if least > limit:
            told = str(least) if least < FAR else "unreachable"
            text = f"{' + '.join(names)} take {told} us at least, {limit} are allowed"
            facts: dict[str, object] = {"vlinks": names, "limit": limit}
            return Impossible("latency", text, facts | ({"least": least} if least < FAR else {}))
        for point, a, b in zip(walk, ahead, back, strict=True):
            if point >= 0:
                self.keep_docks(point, a + b <= limit)
        return None

    def _lengths(self, walk: tuple[int, ...], hops: list[int]) -> list[Ints]:
        """By point of a walk and dock: the least latency from the walk's start to the point there."""
        out: list[Ints] = []
        for i, point in enumerate(walk):
            if point < 0:
                row = self._row(self.ask.end_spots[-1 - point]) if i and walk[i - 1] >= 0 else 0
                least = int((out[-1] + row).min(initial=FAR)) + hops[i - 1] if i else 0
                at = np.full(len(self.estate.starts), least, dtype=np.int64)  # the same whichever dock is looked at
            elif not out:
                at = np.where(self.docks(point), 0, FAR)
            else:
                before = walk[i - 1]
                if before < 0:
                    near = self._from_end(before, out[-1])
                elif self.ask.unit_of[before] in self.ask.apart[self.ask.unit_of[point]]:
                    near = self.horizon.nearest_other(out[-1])
                else:
                    near = self.horizon.nearest(out[-1])
                at = np.where(self.docks(point), near + hops[i - 1], FAR)
            out.append(np.minimum(at, FAR))
        return out

    def _from_end(self, end: int, so_far: Ints) -> Ints:
        return so_far + self._row(self.ask.end_spots[-1 - end])

    def _row(self, spot: Spot) -> Ints:
        us = self.horizon.routes.rows(spot)[1]
        dock = self.horizon.routes.fabric.dock_of[spot.vertex]
        if spot.place >= 0 and dock >= 0:
            us = us.copy()
            us[dock] = 0  # it may be on that very server
        return us
