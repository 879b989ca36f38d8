"""Which way each port sends what: those networks that lie before a VNF by its left gateway, those behind by its right.

A gateway is the neighbour's address, or for a port with a block of its own the block's fictive one. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from vnfm.graph.servicegraph import Attachment
from vnfm.model.chain import Match
from vnfm.model.resources import Route


@dataclass(frozen=True, slots=True)
class Position:
    """A hop of a path: the ports by which it is entered and left, one of them None at an end."""

    name: str
    ingress: Attachment | None
    egress: Attachment | None

    @property
    def one_armed(self) -> bool:
        """Entered and left by the same port."""
        return self.ingress is not None and self.ingress == self.egress


@dataclass(frozen=True, slots=True)
class PathLayout:
    """A forwarding path, position by position."""

    name: str
    positions: tuple[Position, ...]
    match: Match

    @property
    def crossings(self) -> tuple[tuple[Attachment, Attachment], ...]:
        """Out of one position's port and into the next one's."""
        pairs = zip(self.positions, self.positions[1:], strict=False)
        return tuple((a.egress, b.ingress) for a, b in pairs if a.egress and b.ingress)


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a port is: its link with that one's network, its address, and its own gateway (empty: the neighbour's)."""

    link: str
    cidr: str
    address: str  # without prefix length
    gateway: str = ""


Crossings = Sequence[tuple[Attachment, Attachment]]


def routes(paths: Sequence[PathLayout], spots: Mapping[Attachment, Spot]) -> dict[Attachment, tuple[Route, ...]]:
    """The routes out of each port, of further instances (by `Attachment.index`), too. A VNF of several paths has each
    destination once: the first path that leads there decides."""
    found: dict[Attachment, dict[str, Route]] = {}
    told: dict[tuple[str, int], set[str]] = {}  # destinations that a VNFC has, over all its ports
    instances: dict[Attachment, list[Attachment]] = {}
    for port in spots:
        instances.setdefault(replace(port, index=0), []).append(port)
    for path in paths:
        crossings = path.crossings
        for at, position in enumerate(path.positions):
            left, right = crossings[:at], crossings[at:]
            before = path.positions[at - 1].egress if at else None
            after = path.positions[at + 1].ingress if at + 1 < len(path.positions) else None
            for side, neighbour, mine, other in (
                (position.ingress, before, left, right),
                (position.egress, after, right, left),
            ):
                if side is None or neighbour is None:
                    continue
                for port in instances.get(side, ()):
                    via = spots[port].gateway or spots[neighbour].address
                    known = told.setdefault((position.name, port.index), set())
                    for destination in _destinations(port, mine, other, spots, instances, side is position.egress):
                        if destination not in known:
                            known.add(destination)
                            found.setdefault(port, {})[destination] = Route(destination, via)
    return {port: tuple(ways.values()) for port, ways in found.items()}


def _destinations(
    port: Attachment,
    mine: Crossings,
    other: Crossings,
    spots: Mapping[Attachment, Spot],
    instances: Mapping[Attachment, Sequence[Attachment]],
    right: bool,
) -> list[str]:
    """What lies on this side of the port. A link that lies on both sides (VNFs were put into it) belongs to the side of
    its end, else to the right one; its ports on the other side are told one by one."""
    here = spots[port]
    if not port.cp:
        return ["::/0" if ":" in here.cidr else "0.0.0.0/0"]
    beyond = {spots[p].link for pair in other for p in pair}
    found: list[str] = []
    for at in (p for pair in mine for p in pair):
        spot = spots[at]
        if spot.link == here.link and not here.gateway:
            continue  # its own network: reached as it is
        if spot.link not in beyond or _owns(spot.link, mine, other, spots, right):
            found.append(spot.cidr)
        else:
            bits = 128 if ":" in spot.address else 32
            found += [f"{spots[p].address}/{bits}" for p in instances[at] if p.owner != port.owner]
    return list(dict.fromkeys(found))


def _owns(link: str, mine: Crossings, other: Crossings, spots: Mapping[Attachment, Spot], right: bool) -> bool:
    def has_end(crossings: Crossings) -> bool:
        return any(not p.cp and spots[p].link == link for pair in crossings for p in pair)

    return has_end(mine) or (right and not has_end(other))
