"""The fabric's map, wanted and found, and the one transaction between them: pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from plugins.local.net.errors import InvalidSpecError, NotThereError
from plugins.local.net.naming import TABLE
from plugins.local.net.plan import LinkPlan, Port
from plugins.local.net.specs import Hop, PathSpec, Wiring

MAP = "next"
_TOKEN = re.compile(r"p[0-9a-f]{12}|[0-9]{1,10}")

# The map: a port's name -> the name of the port that its frames leave by. A number is the index of a lost device.
Steering = dict[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """What the fabric's table holds; `exists` is False where there is no table."""

    exists: bool = False
    chains: frozenset[str] = frozenset()
    counters: frozenset[str] = frozenset()
    elements: Mapping[str, str] = field(default_factory=dict)


def find_port(plans: Iterable[LinkPlan], resource_id: str, cp_id: str) -> tuple[LinkPlan, Port] | None:
    """The link and port of a connection point."""
    for plan in plans:
        for port in plan.ports:
            if (port.member.resource_id, port.member.cp_id) == (resource_id, cp_id):
                return plan, port
    return None


def _joined(one: Hop, other: Hop, plans: Iterable[LinkPlan], fabric: str) -> tuple[Port, Port] | None:
    """The fabric ports to join for two neighbours; None where their link carries frames by itself."""
    plans = tuple(plans)
    left = find_port(plans, one.resource_id, one.egress_cp)
    right = find_port(plans, other.resource_id, other.ingress_cp)
    for hop, cp, found in ((one, one.egress_cp, left), (other, other.ingress_cp, right)):
        if found is None:
            raise NotThereError(f"hop {hop.name}: {hop.resource_id}/{cp} is on no link: allocate its link first")
    assert left is not None
    assert right is not None
    if left[0].id == right[0].id and left[0].wiring is not Wiring.FABRIC:
        return None
    for hop, found in ((one, left), (other, right)):
        if found[0].carrier != fabric or found[0].wiring is not Wiring.FABRIC:
            raise NotThereError(
                f"hops {one.name} and {other.name} are on different links, and the link of {hop.name} cannot be "
                f"steered within this chain: allocate one link with both, or links of this chain with steered ports"
            )
    return left[1], right[1]


def steering(path: PathSpec, plans: Iterable[LinkPlan], fabric: str) -> Steering:
    """The elements that a path needs, both ways. NotThereError where two neighbours cannot be joined."""
    plans = tuple(plans)
    wanted: Steering = {}
    for one, other in zip(path.hops, path.hops[1:], strict=False):
        pair = _joined(one, other, plans, fabric)
        if pair:
            _put(wanted, pair[0].far, pair[1].far, path.id)
            _put(wanted, pair[1].far, pair[0].far, path.id)
    return wanted


def _put(wanted: Steering, port: str, following: str, path_id: str) -> None:
    if wanted.setdefault(port, following) != following:
        raise InvalidSpecError(f"path {path_id}: port {port} would have to send to both {wanted[port]} and {following}")


def merged(parts: Iterable[tuple[str, Steering]]) -> Steering:
    """The map of several paths; InvalidSpecError where two send one port's frames to different ports."""
    wanted: Steering = {}
    for path_id, part in parts:
        for port, following in part.items():
            _put(wanted, port, following, path_id)
    return wanted


def parse_table(listing: Mapping[str, Any]) -> Found:
    """The table out of nft's JSON listing."""
    chains: set[str] = set()
    counters: set[str] = set()
    elements: dict[str, str] = {}
    for entry in listing.get("nftables", ()):
        if "chain" in entry:
            chains.add(str(entry["chain"]["name"]))
        elif "counter" in entry:
            counters.add(str(entry["counter"]["name"]))
        elif "map" in entry and entry["map"]["name"] == MAP:
            elements = {str(key): str(value) for key, value in entry["map"].get("elem", ())}
    return Found(True, frozenset(chains), frozenset(counters), elements)


def leaving(found: Found, wanted: Steering, present: frozenset[str]) -> Steering:
    """The elements in force of ports that are there and wanted no more."""
    return {port: to for port, to in found.elements.items() if port not in wanted and port in present and to in present}


def _tokens(names: Iterable[str]) -> None:
    for name in names:
        if not _TOKEN.fullmatch(name):
            raise InvalidSpecError(f"expected the name of a port, got {name!r}")


def transaction(found: Found, wanted: Steering, ports: frozenset[str]) -> str:
    """nft's text that turns what was found into what is wanted in one switch; empty where nothing is to do.

    `ports` are all ports that belong in the fabric: the counter of any other goes. An element that stays is not
    touched. A wanted port without an element of its own is new or was made anew (elements hold indexes, which no
    later device gets): only then is its chain hooked in again, which not every kernel does by itself.
    """
    _tokens([*wanted, *wanted.values(), *found.elements, *found.elements.values(), *found.chains, *found.counters])
    lines: list[str] = []
    if not found.exists:
        lines += [f"add table netdev {TABLE}", f"add map netdev {TABLE} {MAP} {{ typeof meta iif : meta oif; }}"]
    hooked = {port for port in found.chains if port in found.elements and port in wanted}
    stale = {port: to for port, to in found.elements.items() if wanted.get(port) != to}
    if stale:
        lines.append(f"delete element netdev {TABLE} {MAP} {{ {_elements(stale)} }}")
    lines += [f"delete chain netdev {TABLE} {port}" for port in sorted(found.chains - hooked)]
    lines += [f"delete counter netdev {TABLE} {port}" for port in sorted(found.counters - ports - set(wanted))]
    for port in sorted(set(wanted) - hooked):
        lines += _chain(port)
    fresh = {port: to for port, to in wanted.items() if found.elements.get(port) != to}
    if fresh:
        lines.append(f"add element netdev {TABLE} {MAP} {{ {_elements(fresh)} }}")
    return "\n".join(lines) + "\n" if lines else ""


def _elements(part: Mapping[str, str]) -> str:
    return ", ".join(f"{port} : {to}" for port, to in sorted(part.items()))


def _chain(port: str) -> list[str]:
    # One chain a port: all kernels take it, and a port can come and go without touching the others. Nothing is
    # answered for by the policy: a frame that no element steers is dropped.
    return [
        f"add counter netdev {TABLE} {port}",
        f"add chain netdev {TABLE} {port} {{ type filter hook ingress device {port} priority 0; policy drop; }}",
        f"add rule netdev {TABLE} {port} counter name {port} fwd to meta iif map @{MAP}",
    ]
