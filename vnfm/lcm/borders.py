"""Where a chain may go from one VIM into another: by what links between them are joined, and where paths are cut. Pure.

Two VIMs can join a link where both reach a network of the same name with the same encapsulation, and not both insist on
choosing the segment: what one has chosen the others take up. A flat network has nothing to tell links apart, so that it
carries one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from vnfm.model.resources import Encap, HopSpec, Reach
from vnfm.placement.inventory import LinkReservation

EDGE = "joined:"
ORDER = (Encap.VXLAN, Encap.VLAN, Encap.FLAT)  # the first that both can
Reaches = Sequence[Reach]


@dataclass(frozen=True, slots=True)
class Tie:
    """By what a link between VIMs is joined. `leads`: the VIM whose answer says which segment it is. What is 0 is not
    told."""

    network: str
    encap: Encap
    leads: str
    vims: tuple[str, str]
    mtu_bytes: int = 0
    one_way_us: int = 0
    bandwidth_bps: int = 0

    @property
    def edge(self) -> str:
        """What links that are tied so hold of the network, as reservations name it."""
        return f"{EDGE}{self.network}/{self.encap}"


def ties(reaches: Reaches, a: str, b: str) -> tuple[Tie, ...]:
    """All ways to join a link of these VIMs, the best first."""
    found = []
    for one in (r for r in reaches if r.vim == a):
        for other in (r for r in reaches if r.vim == b and r.network == one.network):
            common = [e for e in ORDER if e in one.encaps and e in other.encaps]
            found += [_tie(e, one, other) for e in common if e is Encap.FLAT or not (one.chooses and other.chooses)]
    return tuple(sorted(found, key=lambda t: (ORDER.index(t.encap), t.network)))


def _tie(encap: Encap, one: Reach, other: Reach) -> Tie:
    leads = one.vim if one.chooses or (not other.chooses and one.vim < other.vim) else other.vim
    return Tie(
        one.network,
        encap,
        leads,
        (one.vim, other.vim),
        mtu_bytes=_least(one.mtu_bytes, other.mtu_bytes),
        one_way_us=one.one_way_us + other.one_way_us,
        bandwidth_bps=_least(one.bandwidth_bps, other.bandwidth_bps),
    )


def _least(*told: int) -> int:
    return min((n for n in told if n), default=0)


def why_not(reaches: Reaches, a: str, b: str) -> str:
    """Why links of these VIMs cannot be joined, and what would have to be configured."""
    of = {vim: {r.network: r for r in reaches if r.vim == vim} for vim in (a, b)}
    common = sorted(of[a].keys() & of[b].keys())
    if not common:
        told = "; ".join(f"{vim} reaches {', '.join(sorted(of[vim])) or 'none that it was told of'}" for vim in (a, b))
        return f"VIMs {a} and {b} have no network in common by which links could be joined ({told})"
    reasons = []
    for network in common:
        one, other = of[a][network], of[b][network]
        refused = {f"{r.vim}: {encap} {why}" for r in (one, other) for encap, why in r.refused.items()}
        if set(one.encaps) & set(other.encaps):
            reasons.append(f"on {network} both choose the segment themselves")
        else:
            offers = ", ".join(f"{r.vim} offers {'/'.join(r.encaps) or 'nothing'}" for r in (one, other))
            reasons.append(f"on {network} {offers}" + "".join(f"; {text}" for text in sorted(refused)))
    return f"VIMs {a} and {b} cannot join links: {'; '.join(reasons)}"


def assign(
    reaches: Reaches, borders: Sequence[tuple[str, str, str, int]], held: Iterable[LinkReservation] = ()
) -> dict[str, Tie] | str:
    """A tie for each link, given as (id, VIM, VIM, bandwidth_bps), beside what others hold; or why one has none."""
    made: dict[str, Tie] = {}
    if not borders:
        return made
    used = Counter[str]()
    for link_held in held:
        used.update(dict.fromkeys((e for e in link_held.edges if e.startswith(EDGE)), link_held.bandwidth_bps))
    full = {e for e in used if e.endswith(Encap.FLAT)}
    for link, a, b, bandwidth_bps in borders:
        every = ties(reaches, a, b)
        if not every:
            return why_not(reaches, a, b)
        free = [t for t in every if t.edge not in full]
        if not free:
            return f"VIMs {a} and {b} can join one link only by {every[0].network}, a flat network, and it has one"
        wide = [t for t in free if not t.bandwidth_bps or t.bandwidth_bps - used[t.edge] >= bandwidth_bps]
        if not wide:
            return f"no network between VIMs {a} and {b} has {bandwidth_bps / 1e6:g} Mbit/s free"
        tie = made[link] = wide[0]
        used[tie.edge] += bandwidth_bps
        if tie.encap is Encap.FLAT:
            full.add(tie.edge)
    return made


def cliques(reaches: Reaches, vims: Collection[str]) -> list[tuple[str, ...]]:
    """Sets of two VIMs and more in which each can join with each other, the largest first; of a few VIMs only."""
    pairs = {(a, b) for a in vims for b in vims if a != b and ties(reaches, a, b)}
    found: set[tuple[str, ...]] = set()
    for start in sorted(vims):
        group: tuple[str, ...] = (start,)
        for other in sorted(vims):
            if all((other, one) in pairs for one in group):
                group = (*group, other)
        if len(group) > 1:
            found.add(tuple(sorted(group)))
    return sorted(found, key=lambda g: (-len(g), g))


# ---- paths ----


@dataclass(frozen=True, slots=True)
class Placed:
    """A hop with its VIM and the ids of the links (or pieces of links) on its two sides, empty at an end."""

    hop: HopSpec
    vim: str
    ingress_link: str
    egress_link: str


def cut(hops: Sequence[Placed]) -> list[tuple[str, tuple[HopSpec, ...]]]:
    """The pieces of a path with their VIMs, in order; where one ends and the next begins both have an edge."""
    pieces: list[tuple[str, list[HopSpec]]] = []
    for number, here in enumerate(hops):
        before = hops[number - 1] if number else None
        if before is None:
            pieces.append((here.vim, [here.hop]))
        elif before.vim == here.vim:
            pieces[-1][1].append(here.hop)
        else:
            pieces[-1][1].append(_edge(f"to {here.vim}", before.egress_link))
            pieces.append((here.vim, [_edge(f"from {before.vim}", here.ingress_link), here.hop]))
    return [(vim, tuple(piece)) for vim, piece in pieces]


def _edge(name: str, link_id: str) -> HopSpec:
    return HopSpec(name, link_id, None, "", "", edge=True)


def piece_name(path: str, number: int) -> str:
    """What the pieces of a path are called; the first has the path's own name."""
    return path if number == 0 else f"{path}/{number}"


def pieces_of(path: str, known: Iterable[str]) -> list[str]:
    """The names of a path's pieces, in order, among the names of all pieces of a chain."""
    names = set(known)
    found: list[str] = []
    while (name := piece_name(path, len(found))) in names:
        found.append(name)
    return found


def is_further_piece(name: str) -> bool:
    """Whether this is the name of a piece that another one comes before."""
    return name.rpartition("/")[2].isdigit() and "/" in name
