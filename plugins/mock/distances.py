"""How long a packet takes between two hosts of the mock, as its inventory's fabric tells."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

from vnfm.pb.vim.v1 import vim_pb2 as pb


class Distances:
    """One-way latencies. Ways between switches are looked for once a switch; servers pass nothing on."""

    def __init__(self, hosts: Mapping[str, pb.Host], fabric: Sequence[pb.Fabric]) -> None:
        self._hosts = hosts
        self._edges: dict[str, dict[str, int]] = {}
        self._from: dict[str, Mapping[str, int]] = {}
        for edge in fabric:
            for a, b in ((edge.a, edge.b), (edge.b, edge.a)):
                there = self._edges.setdefault(self._server(a), {})
                end = self._server(b)
                there[end] = min(edge.one_way_us, there.get(end, edge.one_way_us))

    def between_us(self, host_a: str, host_b: str) -> int:
        """0 on one server, and where the fabric does not join the two."""
        a, b = self._server(host_a), self._server(host_b)
        if a == b:
            return 0
        near, far = self._edges.get(a, {}), self._edges.get(b, {})
        if b in near:
            return near[b]
        found = [
            up_us + ways[other] + down_us
            for switch, up_us in near.items()
            if switch not in self._hosts
            for ways in (self._ways(switch),)
            for other, down_us in far.items()
            if other in ways
        ]
        return min(found, default=0)

    def _server(self, name: str) -> str:
        """The server below a worker VM; a switch is its own."""
        seen = {name}
        while (host := self._hosts.get(name)) is not None and host.parent_id and host.parent_id not in seen:
            name = host.parent_id
            seen.add(name)
        return name

    def _ways(self, switch: str) -> Mapping[str, int]:
        known = self._from.get(switch)
        if known is None:
            known = self._from[switch] = self._search(switch)
        return known

    def _search(self, start: str) -> Mapping[str, int]:
        done: dict[str, int] = {}
        queue = [(0, start)]
        while queue:
            us, at = heapq.heappop(queue)
            if at in done:
                continue
            done[at] = us
            for to, more_us in self._edges.get(at, {}).items():
                if to not in done and to not in self._hosts:
                    heapq.heappush(queue, (us + more_us, to))
        return done
