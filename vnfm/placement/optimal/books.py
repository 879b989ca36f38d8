"""What the accepted chains take of a cloud, and what that costs. Chains are put in and taken out whole."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from vnfm.placement.optimal.cloud import CELL_RESOURCES, Cloud, Option
from vnfm.placement.statement import Answer, Chain

Shared = Counter[tuple[str, bool]]


class Books:
    """Free amounts by index of node, cell and wire; `answers` holds the accepted ones."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.free = [list(c) for c in cloud.capacity]
        self.cell_free = [[list(c) for c in cells] for cells in cloud.cells]
        self.wire_free = [w.bandwidth_mbps for w in cloud.wires]
        self.licences: Counter[tuple[str, str]] = Counter()
        self.sharing: dict[int, Shared] = defaultdict(Counter)  # by node: (tenant, careful) of shared kernels
        self.guests: Counter[int] = Counter()  # VNFs by server
        self.answers: dict[str, Answer] = {}
        self.chains: dict[str, Chain] = {c.id: c for c in cloud.instance.chains}
        self.costs: dict[str, int] = {}  # of each accepted chain, without servers switched on
        self._options: dict[str, tuple[Option, ...]] = {}

    def add(self, answer: Answer) -> None:
        """An accepted answer that fits; it is not checked."""
        self._options[answer.id] = options = self.options_of(answer)
        self.answers[answer.id] = answer
        chain = self.chains[answer.id]
        hops = sum(v.bandwidth_mbps * len(answer.vlinks[v.id]) for v in chain.vlinks)
        self.costs[answer.id] = sum(o.cost for o in options) + self.cloud.instance.bandwidth_hop_cost * hops
        self._book(chain, answer, options, 1)

    def remove(self, chain_id: str) -> Answer:
        """Take it out; returns what it was."""
        answer = self.answers.pop(chain_id)
        del self.costs[chain_id]
        self._book(self.chains[chain_id], answer, self._options.pop(chain_id), -1)
        return answer

    def options_of(self, answer: Answer) -> tuple[Option, ...]:
        """By VNF of the chain, in its order."""
        chain, placed = self.chains[answer.id], answer.vnfs
        return tuple(
            self.cloud.option(v, self.cloud.node_index[placed[v.id].node], placed[v.id].realization, placed[v.id].cell)
            for v in chain.vnfs
        )

    def objective(self) -> int:
        """Of everything: chains not accepted, servers switched on, the accepted chains' own costs."""
        nodes = self.cloud.nodes
        refused = sum(c.value for c in self.chains.values() if c.id not in self.answers)
        on = sum(nodes[s].on_cost for s, n in self.guests.items() if n and not nodes[s].active)
        return refused + on + sum(self.costs.values())

    def nodes_of(self, chain_id: str) -> list[int]:
        """Where the chain's VNFs are."""
        return [o.node for o in self._options[chain_id]]

    def is_on(self, server: int) -> bool:
        """Active already, or switched on by a chain."""
        return self.cloud.nodes[server].active or self.guests[server] > 0

    def holds(self, names: Iterable[str]) -> bool:
        """Whether everything that these accepted chains touch is within what there is."""
        for name in names:
            chain, answer = self.chains[name], self.answers[name]
            for vnf, option in zip(chain.vnfs, self._options[name], strict=True):
                if min(self.free[option.node]) < 0 or self._mixed(option.node):
                    return False
                if option.cell is not None and min(self.cell_free[option.node][option.cell]) < 0:
                    return False
                key = (vnf.licence or "", self.cloud.nodes[option.node].site)
                if vnf.licence is not None and self.licences[key] > self.cloud.tokens[key]:
                    return False
            wires = {self.cloud.wire_index[w] for path in answer.vlinks.values() for w in path}
            if any(self.wire_free[w] < 0 for w in wires):
                return False
        return True

    def _mixed(self, node: int) -> bool:
        """Whether a kernel there is shared by tenants of which one must not."""
        if node not in self.sharing:
            return False
        here = [key for key, n in self.sharing[node].items() if n > 0]
        return any(careful for _, careful in here) and len({tenant for tenant, _ in here}) > 1

    def _book(self, chain: Chain, answer: Answer, options: Sequence[Option], sign: int) -> None:
        for vnf, option in zip(chain.vnfs, options, strict=True):
            free = self.free[option.node]
            for i, amount in enumerate(option.takes):
                free[i] -= sign * amount
            if option.cell is not None:
                cell = self.cell_free[option.node][option.cell]
                for i in range(CELL_RESOURCES):
                    cell[i] -= sign * option.takes[i]
            if option.shares:
                self.sharing[option.node][chain.tenant, vnf.isolation >= 1] += sign
            if vnf.licence is not None:
                self.licences[vnf.licence, self.cloud.nodes[option.node].site] += sign
            self.guests[self.cloud.root[option.node]] += sign
        for vlink in chain.vlinks:
            for name in answer.vlinks[vlink.id]:
                self.wire_free[self.cloud.wire_index[name]] -= sign * vlink.bandwidth_mbps


def booked(cloud: Cloud, answers: Mapping[str, Answer]) -> Books:
    """Books with these accepted answers."""
    books = Books(cloud)
    for answer in answers.values():
        books.add(answer)
    return books
