"""Checks answers of the placement format on its raw dictionaries, by the format's own words and nothing of the engine.

`Ledger` holds what is placed; `add` tells every broken constraint that an answer brings, `remove` undoes it. `check`
does that for a whole solution and adds up the objective.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

Json = Mapping[str, Any]
RESOURCES = ("cpu", "mem", "hugepages", "vfs", "gpus")


class Violation(NamedTuple):
    """`kind`: form, realization, capacity, kernel, path, bandwidth, latency, rule or licence."""

    kind: str
    where: str
    text: str


@dataclass(frozen=True)
class Verdict:
    """Of a whole solution; the objective counts only what could be understood."""

    violations: tuple[Violation, ...]
    objective: int

    @property
    def kinds(self) -> set[str]:
        """Of its violations."""
        return {v.kind for v in self.violations}


class Ledger:
    """What is placed in an instance, chain by chain."""

    def __init__(self, instance: Json) -> None:
        self.catalogue: Json = instance["catalogue"]
        self.nodes: dict[str, Json] = {n["id"]: n for n in instance["nodes"]}
        self.links: dict[str, Json] = {k["id"]: k for k in instance["links"]}
        self.vertices = {n["id"] for n in instance["nodes"] if n["kind"] == "server"} | set(instance["switches"])
        self.tokens = {(k["id"], k["site"]): int(k["count"]) for k in instance["licences"]}
        self.bw_hop = int(instance["weights"]["bw_hop"])
        self.whole: dict[str, Counter[str]] = defaultdict(Counter)
        self.strict: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
        self.traffic: Counter[str] = Counter()
        self.licences: Counter[tuple[str, str]] = Counter()
        self.sharing: dict[str, Counter[tuple[str, bool]]] = defaultdict(Counter)
        self.guests: Counter[str] = Counter()
        self.placed: dict[str, tuple[Json, Json]] = {}

    def root(self, node: str) -> str:
        """The server below all nesting."""
        while self.nodes[node].get("parent") is not None:
            node = self.nodes[node]["parent"]
        return node

    # -- one chain ---------------------------------------------------------------------------------------------------

    def add(self, chain: Json, answer: Json) -> list[Violation]:
        """Take an accepted answer; what it breaks, by itself or together with what is placed."""
        found = self._form(chain, answer)
        if found:
            return found
        for vnf in chain["vnfs"]:
            found += self._realization(chain, vnf, answer["vnfs"][vnf["id"]])
        found += self._rules(chain, answer)
        lengths, broken = self._paths(chain, answer)
        found += broken
        if not broken:
            found += self._latency(chain, answer, lengths)
        self._book(chain, answer, +1)
        self.placed[chain["id"]] = (chain, answer)
        return found + self._shared(chain, answer)

    def remove(self, chain_id: str) -> None:
        """As if it had never been added."""
        chain, answer = self.placed.pop(chain_id)
        self._book(chain, answer, -1)

    def cost(self) -> int:
        """Of all that is placed: servers switched on, realizations, prices, bandwidth."""
        total = sum(int(self.nodes[s]["on_cost"]) for s, n in self.guests.items() if n and not self.nodes[s]["active"])
        for chain, answer in self.placed.values():
            for vnf in chain["vnfs"]:
                at = answer["vnfs"][vnf["id"]]
                total += self.catalogue[at["realization"]]["cost"] + self.nodes[at["node"]]["price"] * vnf["cpu"]
            total += self.bw_hop * sum(v["bw"] * len(answer["vlinks"][v["id"]]) for v in chain["vlinks"])
        return total

    # -- the parts ---------------------------------------------------------------------------------------------------

    def _form(self, chain: Json, answer: Json) -> list[Violation]:
        where = f"{chain['id']}"
        found: list[Violation] = []

        def bad(text: str) -> None:
            found.append(Violation("form", where, text))

        vnfs, vlinks = answer.get("vnfs"), answer.get("vlinks")
        if chain["id"] in self.placed:
            bad("placed twice")
        if not isinstance(vnfs, Mapping) or set(vnfs) != {v["id"] for v in chain["vnfs"]}:
            bad("vnfs are not those of the chain")
        if not isinstance(vlinks, Mapping) or set(vlinks) != {v["id"] for v in chain["vlinks"]}:
            bad("vlinks are not those of the chain")
        if found:
            return found
        for vnf in chain["vnfs"]:
            at = vnfs[vnf["id"]]
            if at.get("node") not in self.nodes or at.get("realization") not in self.catalogue:
                bad(f"{vnf['id']}: unknown node or realization")
                continue
            cell, cells = at.get("cell"), len(self.nodes[at["node"]]["cells"])
            if vnf["numa_strict"] and not (isinstance(cell, int) and 0 <= cell < cells):
                bad(f"{vnf['id']}: is strict and names no cell of the node")
            if not vnf["numa_strict"] and cell is not None:
                bad(f"{vnf['id']}: names a cell and is not strict")
        for vlink, path in vlinks.items():
            if not isinstance(path, Sequence) or any(k not in self.links for k in path):
                bad(f"{vlink}: unknown link")
        return found

    def _realization(self, chain: Json, vnf: Json, at: Json) -> list[Violation]:
        node, name = self.nodes[at["node"]], at["realization"]
        kind = self.catalogue[name]
        checks = {
            "the node does not offer it": name in node["runtimes"],
            "no image": name in vnf["artefacts"],
            "isolation": kind["isolation"] >= vnf["isolation"],
            "own kernel": kind["own_kernel"] or not vnf["own_kernel"],
            "own operating system": kind["own_os"] or not vnf["own_os"],
            "sriov": kind["sriov"] or vnf["vfs"] == 0,
            "gpu": kind["gpu"] or vnf["gpus"] == 0,
            "pin": kind["pin"] or not vnf["pin"],
            "start": vnf["max_start"] is None or kind["start"] <= vnf["max_start"],
            "trust": node["trust"] >= vnf["trust"],
            "tenant": node["tenant"] in (None, chain["tenant"]),
            "site": vnf["sites"] is None or node["site"] in vnf["sites"],
            "zone": vnf["zones"] is None or node["zone"] in vnf["zones"],
        }
        where = f"{chain['id']}/{vnf['id']}"
        return [
            Violation("realization", where, f"{name} on {node['id']}: {w}") for w, held in checks.items() if not held
        ]

    def _rules(self, chain: Json, answer: Json) -> list[Violation]:
        found = []
        for number, rule in enumerate(chain["rules"]):
            seen = []
            for vnf in rule["vnfs"]:
                server = self.nodes[self.root(answer["vnfs"][vnf]["node"])]
                seen.append(server["id"] if rule["scope"] == "server" else server[rule["scope"]])
            same, differ = len(set(seen)) <= 1, all(a != b for a, b in combinations(seen, 2))
            if not (same if rule["kind"] == "affinity" else differ):
                where = f"{chain['id']}/rules[{number}]"
                found.append(Violation("rule", where, f"{rule['kind']} {rule['scope']}: {seen}"))
        return found

    def _vertex(self, chain: Json, answer: Json, end: str) -> str:
        if end in answer["vnfs"]:
            return self.root(answer["vnfs"][end]["node"])
        return str(next(e["at"] for e in chain["ends"] if e["id"] == end))

    def _paths(self, chain: Json, answer: Json) -> tuple[dict[str, int], list[Violation]]:
        """Latency of the links of each path, and what is wrong with the paths."""
        lengths, found = {}, []
        for vlink in chain["vlinks"]:
            path = answer["vlinks"][vlink["id"]]
            begin, end = (self._vertex(chain, answer, vlink[side]) for side in "ab")
            lengths[vlink["id"]] = sum(self.links[k]["lat"] for k in path)
            if fault := self._path_fault(path, begin, end):
                found.append(Violation("path", f"{chain['id']}/{vlink['id']}", fault))
        return lengths, found

    def _path_fault(self, path: Sequence[str], begin: str, end: str) -> str:
        at, seen = begin, [begin]
        for name in path:
            link = self.links[name]
            if at not in (link["a"], link["b"]):
                return f"{name} does not continue at {at}"
            at = link["b"] if at == link["a"] else link["a"]
            seen.append(at)
        if at != end:
            return f"ends at {at}, not at {end}"
        if len(set(seen)) != len(seen):
            return f"is not simple: {seen}"
        through = [v for v in seen[1:-1] if v in self.nodes]
        return f"passes through {through}" if through else ""

    def _latency(self, chain: Json, answer: Json, lengths: dict[str, int]) -> list[Violation]:
        found = []
        seen = {}
        for vlink in chain["vlinks"]:
            total = lengths[vlink["id"]]
            for side in "ab":
                if vlink[side] in answer["vnfs"]:
                    total += self.catalogue[answer["vnfs"][vlink[side]]["realization"]]["lat"]
            seen[vlink["id"]] = total
            if vlink["max_lat"] is not None and total > vlink["max_lat"]:
                found.append(Violation("latency", f"{chain['id']}/{vlink['id']}", f"{total} > {vlink['max_lat']}"))
        for number, path in enumerate(chain["paths"]):
            total = sum(seen[v] for v in path["vlinks"])
            if total > path["max_lat"]:
                where = f"{chain['id']}/paths[{number}]"
                found.append(Violation("latency", where, f"{total} > {path['max_lat']}"))
        return found

    def _book(self, chain: Json, answer: Json, sign: int) -> None:
        for vnf in chain["vnfs"]:
            at = answer["vnfs"][vnf["id"]]
            node, kind = self.nodes[at["node"]], self.catalogue[at["realization"]]
            for resource in RESOURCES:
                need = sign * (vnf[resource] + kind.get(resource, 0) * (resource in ("cpu", "mem")))
                self.whole[node["id"]][resource] += need
                if vnf["numa_strict"]:
                    self.strict[node["id"], at["cell"]][resource] += need
            if kind["shared_kernel"]:
                self.sharing[node["id"]][chain["tenant"], vnf["isolation"] >= 1] += sign
            if vnf["licence"] is not None:
                self.licences[vnf["licence"], node["site"]] += sign
            self.guests[self.root(node["id"])] += sign
        for vlink in chain["vlinks"]:
            for name in answer["vlinks"][vlink["id"]]:
                self.traffic[name] += sign * vlink["bw"]

    def _shared(self, chain: Json, answer: Json) -> list[Violation]:
        """What is broken now at the nodes, links and sites that the chain touches."""
        nodes = dict.fromkeys(answer["vnfs"][v["id"]]["node"] for v in chain["vnfs"])
        found = [v for n in nodes for v in self._node_faults(chain["id"], n)]
        for name in dict.fromkeys(k for path in answer["vlinks"].values() for k in path):
            if self.traffic[name] > self.links[name]["bw"]:
                text = f"{name}: {self.traffic[name]} > {self.links[name]['bw']}"
                found.append(Violation("bandwidth", chain["id"], text))
        used = {
            (v["licence"], self.nodes[answer["vnfs"][v["id"]]["node"]]["site"]) for v in chain["vnfs"] if v["licence"]
        }
        for key in sorted(used):
            if self.licences[key] > self.tokens.get(key, 0):
                text = f"{key}: {self.licences[key]} > {self.tokens.get(key, 0)}"
                found.append(Violation("licence", chain["id"], text))
        return found

    def _node_faults(self, where: str, name: str) -> Iterable[Violation]:
        cells = self.nodes[name]["cells"]
        for resource in RESOURCES:
            if (used := self.whole[name][resource]) > (has := sum(c[resource] for c in cells)):
                yield Violation("capacity", where, f"{name} {resource}: {used} > {has}")
            for index, cell in enumerate(cells):
                if (used := self.strict[name, index][resource]) > cell[resource]:
                    yield Violation("capacity", where, f"{name} cell {index} {resource}: {used} > {cell[resource]}")
        sharers = [key for key, n in self.sharing[name].items() if n]
        if any(careful for _, careful in sharers) and len({tenant for tenant, _ in sharers}) > 1:
            yield Violation("kernel", where, f"{name}: {sorted(sharers)}")


def check(instance: Json, solution: Json) -> Verdict:
    """A whole solution of the batch mode."""
    ledger = Ledger(instance)
    found: list[Violation] = []
    if solution.get("format") != "vnf-placement-solution/1" or solution.get("instance") != instance["name"]:
        found.append(Violation("form", "", "not a solution of this instance"))
    answers: dict[str, Json] = {}
    for answer in solution["chains"]:
        if answer["id"] in answers:
            found.append(Violation("form", answer["id"], "answered twice"))
        answers[answer["id"]] = answer
    chains = {c["id"]: c for c in instance["chains"]}
    if set(answers) != set(chains):
        found.append(Violation("form", "", f"answers for {sorted(set(answers) ^ set(chains))} are missing or too many"))
    refused = 0
    for name, chain in chains.items():
        answer = answers.get(name, {"accepted": False})
        if answer.get("accepted") is True:
            found += ledger.add(chain, answer)
        else:
            refused += int(chain["value"])
    return Verdict(tuple(found), refused + ledger.cost())
