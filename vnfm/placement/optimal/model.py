"""The exact model of some chains on some nodes, everything else standing still; solved by CP-SAT.

One Boolean a VNF and option (node, realization, NUMA cell), one a chain (accepted), one a virtual link and edge of the
grouped fabric that it crosses. ortools is imported here and only when something is solved: it must never meet another
library's HiGHS in one process.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vnfm.placement.optimal.books import Books
from vnfm.placement.optimal.cloud import CELL_RESOURCES, RESOURCES, Cloud, Option
from vnfm.placement.optimal.fabric import Fabric, fabric_of, lay
from vnfm.placement.statement import Answer, Chain, Placed, RuleKind, VirtualLink, Vnf

Var = Any  # cp_model.IntVar
Terms = list[tuple[Var, int]]


@dataclass(frozen=True, slots=True)
class Result:
    """What a solve gave. `bound` is of the whole objective, what stands still included; `proved`: nothing better
    exists under the model's freedom, where `laid` says that its traffic found real links, too."""

    answers: Mapping[str, Answer]
    bound: float
    proved: bool
    laid: bool
    found: bool


class Model:
    """Free `chains` on `nodes`, over what `books` leave (the chains are not in the books)."""

    def __init__(self, books: Books, chains: Sequence[Chain], nodes: Sequence[int], *, grouped: bool = True) -> None:
        from ortools.sat.python import cp_model

        self.cp = cp_model
        self.model = cp_model.CpModel()
        self.books, self.cloud, self.chains = books, books.cloud, chains
        self.wire_free = list(books.wire_free)  # books may go on while this is solved
        self.accepted: dict[str, Var] = {}
        self.options: dict[tuple[str, str], list[tuple[Option, Var]]] = {}
        self.crossings: dict[tuple[str, str], dict[int, Terms]] = {}
        self.cost: Terms = []
        self.constant = 0
        ends = {self.cloud.vertex(e.at) for c in chains for e in c.ends}
        self._choose(nodes)
        used = {self.cloud.root[o.node] for ways in self.options.values() for o, _ in ways}
        self.fabric = fabric_of(self.cloud, used | {e for e in ends if self.cloud.is_server(e)}, ends, grouped=grouped)
        self._capacities()
        self._switching_on()
        self._kernels()
        self._licences()
        for chain in chains:
            self._rules(chain)
            self._traffic(chain)
        self._bandwidth()
        self._objective()

    # -- building ----------------------------------------------------------------------------------------------------

    def _bool(self) -> Var:
        return self.model.new_bool_var("")

    def _sum(self, terms: Terms) -> Any:
        return self.cp.LinearExpr.weighted_sum([v for v, _ in terms], [c for _, c in terms])

    def _choose(self, nodes: Sequence[int]) -> None:
        for chain in self.chains:
            accepted = self.accepted[chain.id] = self._bool()
            for vnf in chain.vnfs:
                ways = [
                    (o, self._bool())
                    for o in self.cloud.options(vnf, chain.tenant, nodes)
                    if self._fits(o) and not self._kernel_taken(o, chain, vnf)
                ]
                self.options[chain.id, vnf.id] = ways
                self.cost += [(x, o.cost) for o, x in ways if o.cost]
                self.model.add(self._sum([(x, 1) for _, x in ways]) == accepted)
            self.constant += chain.value
            self.cost.append((accepted, -chain.value))

    def _fits(self, option: Option) -> bool:
        free = self.books.free[option.node]
        if any(takes > has for takes, has in zip(option.takes, free, strict=True)):
            return False
        if option.cell is None:
            return True
        cell = self.books.cell_free[option.node][option.cell]
        return all(takes <= has for takes, has in zip(option.takes, cell, strict=False))

    def _kernel_taken(self, option: Option, chain: Chain, vnf: Vnf) -> bool:
        if not option.shares or option.node not in self.books.sharing:
            return False
        return any(
            n > 0 and tenant != chain.tenant and (careful or vnf.isolation >= 1)
            for (tenant, careful), n in self.books.sharing[option.node].items()
        )

    def _capacities(self) -> None:
        whole: dict[int, list[Terms]] = defaultdict(lambda: [[] for _ in range(RESOURCES)])
        strict: dict[tuple[int, int], list[Terms]] = defaultdict(lambda: [[] for _ in range(CELL_RESOURCES)])
        for ways in self.options.values():
            for option, x in ways:
                for i, amount in enumerate(option.takes):
                    if amount:
                        whole[option.node][i].append((x, amount))
                        if option.cell is not None and i < CELL_RESOURCES:
                            strict[option.node, option.cell][i].append((x, amount))
        for node, rows in whole.items():
            self._within(rows, self.books.free[node])
        for (node, cell), rows in strict.items():
            self._within(rows, self.books.cell_free[node][cell])

    def _within(self, rows: Sequence[Terms], free: Sequence[int]) -> None:
        for terms, has in zip(rows, free, strict=False):
            if sum(a for _, a in terms) > has:
                self.model.add(self._sum(terms) <= has)

    def _switching_on(self) -> None:
        switches: dict[int, Var] = {}
        for ways in self.options.values():
            here: dict[int, list[Var]] = defaultdict(list)
            for option, x in ways:
                server = self.cloud.root[option.node]
                if self.cloud.nodes[server].on_cost and not self.books.is_on(server):
                    here[server].append(x)
            for server, found in here.items():
                if server not in switches:
                    switches[server] = self._bool()
                    self.cost.append((switches[server], self.cloud.nodes[server].on_cost))
                self.model.add(self.cp.LinearExpr.sum(found) <= switches[server])

    def _kernels(self) -> None:
        sharers: dict[int, dict[str, list[tuple[Var, bool]]]] = defaultdict(lambda: defaultdict(list))
        for chain in self.chains:
            for vnf in chain.vnfs:
                for option, x in self.options[chain.id, vnf.id]:
                    if option.shares:
                        sharers[option.node][chain.tenant].append((x, vnf.isolation >= 1))
        for tenants in sharers.values():
            if len(tenants) < 2 or not any(careful for found in tenants.values() for _, careful in found):
                continue
            owner = {t: self._bool() for t in tenants}  # the tenant whose careful VNFs are here
            shared = {t: self._bool() for t in tenants}
            for tenant, found in tenants.items():
                for x, careful in found:
                    self.model.add_implication(x, shared[tenant])
                    if careful:
                        self.model.add_implication(x, owner[tenant])
                for other in tenants:
                    if other != tenant:
                        self.model.add_bool_or([~owner[tenant], ~shared[other]])

    def _licences(self) -> None:
        rows: dict[tuple[str, str], Terms] = defaultdict(list)
        for chain in self.chains:
            for vnf in chain.vnfs:
                if vnf.licence is not None:
                    for option, x in self.options[chain.id, vnf.id]:
                        rows[vnf.licence, self.cloud.nodes[option.node].site].append((x, 1))
        for key, terms in rows.items():
            self.model.add(self._sum(terms) <= max(0, self.cloud.tokens[key] - self.books.licences[key]))

    def _rules(self, chain: Chain) -> None:
        for rule in chain.rules:
            where: list[dict[object, list[Var]]] = []
            for name in rule.vnfs:
                here: dict[object, list[Var]] = defaultdict(list)
                for option, x in self.options[chain.id, name]:
                    here[self.cloud.domain(rule.scope, option.node)].append(x)
                where.append(here)
            for domain in dict.fromkeys(d for here in where for d in here):
                sums = [self.cp.LinearExpr.sum(here.get(domain, [])) for here in where]
                if rule.kind is RuleKind.AFFINITY:
                    for other in sums[1:]:
                        self.model.add(sums[0] == other)
                elif sum(domain in here for here in where) > 1:
                    self.model.add(self.cp.LinearExpr.sum(sums) <= 1)

    # -- traffic -----------------------------------------------------------------------------------------------------

    def _at(self, chain: Chain, end: str) -> dict[int, Terms]:
        """By vertex: what is 1 when that end is there."""
        if (chain.id, end) in self.options:
            out: dict[int, Terms] = defaultdict(list)
            for option, x in self.options[chain.id, end]:
                out[self.cloud.root[option.node]].append((x, 1))
            return out
        at = next(e.at for e in chain.ends if e.id == end)
        return {self.cloud.vertex(at): [(self.accepted[chain.id], 1)]}

    def _traffic(self, chain: Chain) -> None:
        places = {name: self._at(chain, name) for v in chain.vlinks for name in (v.a, v.b)}
        latencies: dict[str, Terms] = {}
        watched = {v for path in chain.paths for v in path.vlinks}
        for vlink in chain.vlinks:
            crossed = self._crossed(places[vlink.a], places[vlink.b])
            self.crossings[chain.id, vlink.id] = crossed
            price = self.books.cloud.instance.bandwidth_hop_cost * vlink.bandwidth_mbps
            if price:
                self.cost += [(x, price * n) for terms in crossed.values() for x, n in terms]
            if vlink.max_latency_us is not None or vlink.id in watched:
                latencies[vlink.id] = self._latency(chain, vlink, crossed)
            if vlink.max_latency_us is not None:
                self.model.add(self._sum(latencies[vlink.id]) <= vlink.max_latency_us)
        for path in chain.paths:
            total = [term for v in path.vlinks for term in latencies[v]]
            self.model.add(self._sum(total) <= path.max_latency_us)

    def _latency(self, chain: Chain, vlink: VirtualLink, crossed: Mapping[int, Terms]) -> Terms:
        terms = [(x, n * self.fabric.edges[i].latency_us) for i, found in crossed.items() for x, n in found]
        for end in (vlink.a, vlink.b):
            terms += [(x, o.latency_us) for o, x in self.options.get((chain.id, end), ())]
        return [(x, n) for x, n in terms if n]

    def _crossed(self, a: Mapping[int, Terms], b: Mapping[int, Terms]) -> dict[int, Terms]:
        """By edge of the fabric: terms that add up to at least how often the traffic crosses it."""

        def net(side: Collection[int]) -> tuple[Terms, Terms]:
            return (
                [t for vertex, terms in a.items() if vertex in side for t in terms],
                [t for vertex, terms in b.items() if vertex in side for t in terms],
            )

        for island in self.fabric.islands:
            here, there = net(island)
            self.model.add(self._sum(here) == self._sum(there))
        out: dict[int, Terms] = {}
        flows: dict[int, Terms] = defaultdict(list)  # by group: what leaves it, less what enters
        inward: dict[int, list[Var]] = defaultdict(list)
        for i, edge in enumerate(self.fabric.edges):
            if edge.side is None:
                onward, back = self._bool(), self._bool()
                out[i] = [(onward, 1), (back, 1)]
                flows[edge.a] += [(onward, 1), (back, -1)]
                flows[edge.b] += [(onward, -1), (back, 1)]
                inward[edge.b].append(onward)
                inward[edge.a].append(back)
                continue
            here, there = net(edge.side)
            if not here and not there:
                continue
            crosses = self._bool()
            if here and there:
                self.model.add(self._sum([*here, *((x, -n) for x, n in there)]) <= crosses)
                self.model.add(self._sum([*there, *((x, -n) for x, n in here)]) <= crosses)
            else:
                self.model.add(self._sum(here or there) == crosses)
            out[i] = [(crosses, 1)]
        for group, hanging in self.fabric.hangs.items():
            here, there = net(hanging)
            self.model.add(self._sum(flows[group]) == self._sum([*here, *((x, -n) for x, n in there)]))
            if group in self.fabric.servers:
                self.model.add(self.cp.LinearExpr.sum(inward[group]) <= self._sum(there))
        return out

    def _bandwidth(self) -> None:
        loads: dict[int, Terms] = defaultdict(list)
        for chain in self.chains:
            for vlink in chain.vlinks:
                if vlink.bandwidth_mbps:
                    for i, terms in self.crossings[chain.id, vlink.id].items():
                        loads[i] += [(x, n * vlink.bandwidth_mbps) for x, n in terms]
        for i, terms in loads.items():
            free = [self.books.wire_free[w] for w in self.fabric.edges[i].wires]
            if sum(n for _, n in terms) > min(free):
                self.model.add(self._sum(terms) <= sum(f for f in free if f > 0))
                widest = max(free)
                for x, n in terms:  # one virtual link takes one wire
                    if n > widest:
                        self.model.add(x == 0)

    def _objective(self) -> None:
        nodes, fixed = self.cloud.nodes, self.books
        self.constant += sum(fixed.costs.values())
        self.constant += sum(nodes[s].on_cost for s, n in fixed.guests.items() if n and not nodes[s].active)
        free = {c.id for c in self.chains}
        self.constant += sum(c.value for c in fixed.chains.values() if c.id not in fixed.answers and c.id not in free)
        self.model.minimize(self._sum(self.cost) + self.constant)

    # -- solving -----------------------------------------------------------------------------------------------------

    def hint(self, answers: Mapping[str, Answer]) -> None:
        """Begin from these answers; free chains without one begin refused."""
        for chain in self.chains:
            answer = answers.get(chain.id)
            self.model.add_hint(self.accepted[chain.id], answer is not None)
            for vnf in chain.vnfs:
                placed = answer.vnfs[vnf.id] if answer else None
                for option, x in self.options[chain.id, vnf.id]:
                    self.model.add_hint(x, placed is not None and self._is(option, placed))

    def _is(self, option: Option, placed: Placed) -> bool:
        node = self.cloud.nodes[option.node].id
        return (node, option.realization, option.cell) == (placed.node, placed.realization, placed.cell)

    def solve(self, seconds: float, *, threads: int, seed: int, on_answers: Any = None) -> Result:
        """The best within that time. `on_answers` is told answers on the way (mapping of chain to answer)."""
        cp = self.cp
        solver = cp.CpSolver()
        solver.parameters.max_time_in_seconds = max(0.01, seconds)
        solver.parameters.num_workers = threads
        solver.parameters.random_seed = seed
        if threads == 1:
            solver.parameters.linearization_level = 2  # what most often ends small models soonest
        told = _teller(cp, self, on_answers) if on_answers else None
        status = solver.solve(self.model, told)
        found = status in (cp.OPTIMAL, cp.FEASIBLE)
        bound = solver.best_objective_bound if found or status == cp.UNKNOWN else float("inf")
        answers, laid = self.answers(solver.boolean_value) if found else ({}, True)
        return Result(answers, bound, status in (cp.OPTIMAL, cp.INFEASIBLE), laid, found)

    def answers(self, value: Any) -> tuple[dict[str, Answer], bool]:
        """Accepted answers by a way to ask variables for their values; False where traffic found no real links, and
        its chain is left out."""
        wire_free = list(self.wire_free)
        out: dict[str, Answer] = {}
        laid = True
        taken = [c for c in self.chains if value(self.accepted[c.id])]
        taken.sort(key=lambda c: -max((v.bandwidth_mbps for v in c.vlinks), default=0))
        for chain in taken:
            chosen = {v.id: next(o for o, x in self.options[chain.id, v.id] if value(x)) for v in chain.vnfs}
            paths = self._paths(chain, chosen, value, wire_free)
            if paths is None:
                laid = False
                continue
            placed = {name: Placed(self.cloud.nodes[o.node].id, o.realization, o.cell) for name, o in chosen.items()}
            out[chain.id] = Answer(chain.id, True, placed, paths)
        return out, laid

    def _paths(
        self, chain: Chain, chosen: Mapping[str, Option], value: Any, wire_free: list[int]
    ) -> dict[str, tuple[str, ...]] | None:
        """Real links by virtual link, taken off `wire_free`; None where there are none."""
        out: dict[str, tuple[str, ...]] = {}
        taken: list[tuple[int, int]] = []
        ends = {e.id: self.cloud.vertex(e.at) for e in chain.ends}
        at = ends | {name: self.cloud.root[o.node] for name, o in chosen.items()}
        for vlink in sorted(chain.vlinks, key=lambda v: -v.bandwidth_mbps):
            crossed = [i for i, terms in self.crossings[chain.id, vlink.id].items() if any(value(x) for x, _ in terms)]
            path = _laid(self.cloud, self.fabric, crossed, at[vlink.a], at[vlink.b], vlink, wire_free)
            if path is None:
                for i, amount in taken:
                    wire_free[i] += amount
                return None
            for i in path:
                wire_free[i] -= vlink.bandwidth_mbps
                taken.append((i, vlink.bandwidth_mbps))
            out[vlink.id] = tuple(self.cloud.wires[i].id for i in path)
        return {v.id: out[v.id] for v in chain.vlinks}


def _laid(
    cloud: Cloud,
    fabric: Fabric,
    crossed: Collection[int],
    begin: int,
    end: int,
    vlink: VirtualLink,
    free: Sequence[int],
) -> list[int] | None:
    if begin == end:
        return []
    groups = fabric.walk(crossed, begin, end)
    return None if groups is None else lay(cloud, fabric, groups, vlink.bandwidth_mbps, free)


def _teller(cp: Any, model: Model, on_answers: Any) -> Any:
    class Teller(cp.CpSolverSolutionCallback):  # type: ignore[misc]
        def on_solution_callback(self) -> None:
            answers, laid = model.answers(self.boolean_value)
            if laid:
                on_answers(answers)

    return Teller()
