"""The same chain as in hand_wired, wired by the local plugin's network library through its public API."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from bench_host import Workspace
from hand_wired import set_forwarding, settle, subnet

from plugins.local.net import (
    Hop,
    HostNetwork,
    LinkSpec,
    Member,
    MemberKind,
    PathSpec,
    PortSpec,
    ResourceKind,
    Route,
    namespace_name,
)


@dataclass(frozen=True)
class Built:
    """A chain that stands: the namespaces of its ends."""

    client: str
    server: str
    seconds: float
    parts: dict[str, float]


class LibraryChains:
    """Chains of one run folder."""

    def __init__(self, space: Workspace, tag: str) -> None:
        self._tag = f"{space.pid}-{tag}"
        self.network = HostNetwork(_folder(space, tag))
        self._count = 0

    def build(self, hops: int, *, steered: bool) -> Built:
        """client - hops containers - server. `seconds` is for namespaces, links, addresses, routes and path."""
        self._count += 1
        unique = f"{self._tag}-{self._count}"
        net, nodes = self.network, [f"n{i}-{unique}" for i in range(hops + 2)]
        kinds = [MemberKind.SAP, *[MemberKind.CONTAINER] * hops, MemberKind.SAP]
        parts: dict[str, float] = {}
        begun = mark = time.perf_counter()
        for node in nodes:
            net.ensure_namespace(node)
        parts["namespaces"], mark = time.perf_counter() - mark, time.perf_counter()
        for i in range(hops + 1):
            members = (Member(nodes[i], "right", kinds[i]), Member(nodes[i + 1], "left", kinds[i + 1]))
            net.allocate_link(LinkSpec(f"l{i}-{unique}", members, f"c-{unique}", steered=steered))
        parts["links"], mark = time.perf_counter() - mark, time.perf_counter()
        for i in range(hops + 1):
            prefix = subnet(i, hops)
            default = (Route("0.0.0.0/0", f"{prefix}.2"),)
            summary = (Route("10.210.0.0/16", f"{prefix}.1"),) if i else ()
            net.configure_port(nodes[i], PortSpec("right", (f"{prefix}.1/30",), routes=default))
            net.configure_port(nodes[i + 1], PortSpec("left", (f"{prefix}.2/30",), routes=summary))
        parts["ports"], mark = time.perf_counter() - mark, time.perf_counter()
        path = tuple(
            Hop(node, kind, "left" if i else "", "right" if i <= hops else "", f"n{i}")
            for i, (node, kind) in enumerate(zip(nodes, kinds, strict=True))
        )
        net.allocate_path(PathSpec(f"p-{unique}", path, f"c-{unique}"))
        parts["path"] = time.perf_counter() - mark
        seconds = time.perf_counter() - begun
        for node in nodes[1:-1]:
            set_forwarding(namespace_name(node))
        return Built(namespace_name(nodes[0]), namespace_name(nodes[-1]), seconds, parts)

    def remove(self) -> None:
        """All chains of the folder."""
        for kind in (ResourceKind.PATH, ResourceKind.LINK, ResourceKind.NAMESPACE):
            for seen in self.network.query():
                if seen.kind is kind:
                    self.network.terminate(seen.id, kind)
        settle()


def _folder(space: Workspace, tag: str) -> Path:
    folder = space.folder / f"net-{tag}" / "run"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
