"""From paths to courses: which port's frames go to which ports, and what has to be translated: pure functions.

Neighbours that are the two ends of one pair need nothing: their wire carries them. All others are joined in the
fabric, an end of a pair by a patch. Two ports that were made for each other speak ARP with one another and need no
translation. Into any other port frames go with the MAC of what stands behind it, and what it asks by ARP is answered
in the fabric, so that a VNF keeps its addresses and gateways wherever it stands. By an edge frames leave as they are,
ARP, too; what comes in by one goes with the MAC of what stands behind the next port, whoever stood there before.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from plugins.local.net import naming
from plugins.local.net.errors import InvalidSpecError, NotThereError
from plugins.local.net.facts import Facts, PortFacts
from plugins.local.net.plan import LinkPlan, Port
from plugins.local.net.specs import Hop, Match, PathSpec, Replica, Wiring


@dataclass(frozen=True, slots=True)
class Turn:
    """A hop whose replicas change: new flows go to `owners` only (empty: to all), `leaving` keep what they know."""

    owners: tuple[str, ...] = ()
    leaving: tuple[Replica, ...] = ()


@dataclass(frozen=True, slots=True)
class PathState:
    """A path as stamped: what is wanted, and by hop's name what is still under way."""

    spec: PathSpec
    turns: Mapping[str, Turn] = field(default_factory=dict)

    def instances(self, hop: Hop) -> tuple[Replica, ...]:
        """All that have flows at this position, those that leave last."""
        return (*hop.instances, *self.turns.get(hop.name, Turn()).leaving)


@dataclass(frozen=True, slots=True)
class End:
    """A member's port with the name that it has, or would have, in the fabric."""

    resource_id: str
    plan: LinkPlan
    port: Port
    name: str

    @property
    def steerable_in(self) -> str:
        """The fabric in which it can be steered; empty for a bridge's port."""
        return "" if self.plan.wiring is Wiring.BRIDGE else self.plan.fabric


@dataclass(frozen=True, slots=True)
class Target:
    """Where frames may go: `mac` empty where they go as they are."""

    resource_id: str
    port: str
    mac: str = ""
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks by ARP at a port, and the MAC that it is told for any neighbour."""

    mac: str
    addresses: tuple[str, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class Balance:
    """A position with several instances: flows are kept in sets named after (path, hop, replica)."""

    path_id: str
    hop: str
    owners: frozenset[str]


@dataclass(frozen=True, slots=True)
class Course:
    """What a path does with the frames that come in by a port. `asker` is set where ARP is answered in the fabric."""

    path_id: str
    match: Match
    forward: bool
    port: str
    targets: tuple[Target, ...]
    asker: Asker | None = None
    balance: Balance | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """All courses of a fabric, and the ends of pairs that need a patch, by port name."""

    courses: tuple[Course, ...]
    patched: Mapping[str, End]


@dataclass(frozen=True, slots=True)
class _Join:
    """Two neighbouring positions: the ports between them."""

    lefts: tuple[End, ...]
    rights: tuple[End, ...]

    @property
    def single(self) -> bool:
        return len(self.lefts) == len(self.rights) == 1

    def on_one(self, *wirings: Wiring) -> bool:
        """Whether it is two ports of one link that is wired so."""
        one, other = self.lefts[0].plan, self.rights[0].plan
        return self.single and one is other and one.wiring in wirings

    def is_native(self, facts: Facts) -> bool:
        """Whether it is the two that a link was made for; where that had networks of their own, not if they differ."""
        plan = self.lefts[0].plan
        if not self.single or plan is not self.rights[0].plan or not plan.native:
            return False
        if not plan.steered:
            return True
        one, other = facts.get(self.lefts[0].name), facts.get(self.rights[0].name)
        return one is not None and other is not None and one.knows(other) and other.knows(one)


def find_port(plans: Iterable[LinkPlan], resource_id: str, cp_id: str) -> tuple[LinkPlan, Port] | None:
    """The link and port of a connection point."""
    for plan in plans:
        for port in plan.ports:
            if (port.member.resource_id, port.member.cp_id) == (resource_id, cp_id):
                return plan, port
    return None


def _end(hop: Hop, resource_id: str, cp_id: str, plans: Sequence[LinkPlan]) -> End:
    found = find_port(plans, resource_id, cp_id)
    if found is None:
        raise NotThereError(f"hop {hop.name}: {resource_id}/{cp_id} is on no link: allocate its link first")
    return End(resource_id, *found, naming.port_name(resource_id, cp_id))


def _join(state: PathState, index: int, plans: Sequence[LinkPlan], fabric: str) -> _Join:
    one, other = state.spec.hops[index], state.spec.hops[index + 1]
    join = _Join(
        tuple(_end(one, at.resource_id, one.egress_cp, plans) for at in state.instances(one)),
        tuple(_end(other, at.resource_id, other.ingress_cp, plans) for at in state.instances(other)),
    )
    if join.on_one(Wiring.BRIDGE):
        return join
    for hop, ends in ((one, join.lefts), (other, join.rights)):
        if any(end.steerable_in != fabric for end in ends):
            raise NotThereError(
                f"hops {one.name} and {other.name} are on different links, and the link of {hop.name} cannot be "
                f"steered within this chain: allocate one link with both, or links of this chain with steered ports"
            )
    return join


@dataclass(frozen=True, slots=True)
class _Walk:
    """A path with its joins; None where, for now, there is none."""

    state: PathState
    joins: tuple[_Join | None, ...]


def _walk(state: PathState, plans: Sequence[LinkPlan], fabric: str, *, strict: bool) -> _Walk:
    joins: list[_Join | None] = []
    for index in range(len(state.spec.hops) - 1):
        try:
            joins.append(_join(state, index, plans, fabric))
        except NotThereError:
            if strict:
                raise
            joins.append(None)
    return _Walk(state, tuple(joins))


def _patched(walks: Sequence[_Walk], beside: Container[str]) -> dict[str, End]:
    """The ends of pairs that some path does not join by their wire; the other end of such a pair needs one as well
    where a path leads over the wire. Of those that wires join the ones named in `beside` have theirs, too.
    """
    patched: dict[str, End] = {}
    wires: list[_Join] = []
    for walk in walks:
        for join in filter(None, walk.joins):
            if join.on_one(Wiring.PAIR) and walk.state.spec.match == Match():
                wires.append(join)
            elif not join.on_one(Wiring.BRIDGE):
                ends = (end for end in (*join.lefts, *join.rights) if end.plan.wiring is Wiring.PAIR)
                patched.update({end.name: end for end in ends})
    patched.update({end.name: end for join in wires for end in (*join.lefts, *join.rights) if end.name in beside})
    while True:
        more = {
            end.name: end
            for join in wires
            if join.lefts[0].name in patched or join.rights[0].name in patched
            for end in (join.lefts[0], join.rights[0])
        }
        if more.keys() <= patched.keys():
            return patched
        patched |= more


def _segments(walk: _Walk, facts: Facts) -> list[range]:
    """The runs of joins between positions that speak IP; in between stand those that pass frames as they are."""
    found: list[range] = []
    start = 0
    for index, join in enumerate(walk.joins):
        ends_here = join is None or any(end.name in facts for end in join.rights)
        if ends_here or index == len(walk.joins) - 1:
            found.append(range(start, index + 1))
            start = index + 1
    return found


def _translates(joins: Sequence[_Join], facts: Facts) -> bool:
    """Whether what stands at the ends of a segment was not made for each other."""
    if all(join.is_native(facts) or join.on_one(Wiring.BRIDGE) for join in joins):
        return False
    return not _Join(joins[0].lefts, joins[-1].rights).is_native(facts)


def _sole(ends: Sequence[End], facts: Facts) -> PortFacts | None:
    return facts.get(ends[0].name) if len(ends) == 1 else None


def _asker(end: End, facts: Facts) -> Asker | None:
    """Who asks at the port itself. It is told its neighbour's own MAC where it has one, for it will meet it again."""
    own = facts.get(end.name)
    if own is None:
        return None
    answer = naming.answer_mac(end.resource_id, end.port.member.cp_id)
    if end.plan.native:
        peer = next(port.member for port in end.plan.ports if port is not end.port)
        known = facts.get(naming.port_name(peer.resource_id, peer.cp_id))
        answer = known.mac if known else naming.derive_mac(peer.resource_id, peer.cp_id)
    return Asker(own.mac, own.addresses, answer)


class _Segment:
    """Makes the courses of the joins between two positions that speak IP."""

    def __init__(self, walk: _Walk, joins: Sequence[_Join], facts: Facts, *, strict: bool) -> None:
        self._state = walk.state
        self._facts = facts
        self._first, self._last = joins[0].lefts, joins[-1].rights
        # Who stands beyond an edge asks and answers by ARP himself: nothing is known of him here.
        self._leaves = any(end.port.member.kind.is_edge for end in (*self._first, *self._last))
        self.translated = _translates(joins, facts)
        if not (strict and self.translated):
            return
        for end in (*self._first, *self._last):
            if end.name in facts and facts[end.name].has_ipv6:
                raise InvalidSpecError(
                    f"path {walk.state.spec.id}: port {end.resource_id}/{end.port.member.cp_id} has IPv6 addresses; "
                    f"only IPv4 is steered between ports that were not made for each other"
                )
        if len(joins) > 1 and (len(self._first) > 1 or len(self._last) > 1):
            raise InvalidSpecError(
                f"path {walk.state.spec.id}: replicas cannot stand beside a hop that passes frames as they are"
            )

    def courses(self, join: _Join, hops: tuple[Hop, Hop]) -> list[Course]:
        """What goes out of each port of the join, both ways."""
        one, other = hops
        return [
            *self._one_way(join.lefts, join.rights, other, self._first, self._last, forward=True),
            *self._one_way(join.rights, join.lefts, one, self._last, self._first, forward=False),
        ]

    def _one_way(
        self,
        ends: tuple[End, ...],
        to: tuple[End, ...],
        hop: Hop,
        first: tuple[End, ...],
        last: tuple[End, ...],
        *,
        forward: bool,
    ) -> list[Course]:
        spec = self._state.spec
        targets = tuple(self._target(end, last) for end in to)
        balance = None
        if len(to) > 1:
            owners = self._state.turns.get(hop.name, Turn()).owners or [one.resource_id for one in hop.instances]
            balance = Balance(spec.id, hop.name, frozenset(owners))
        return [
            Course(spec.id, spec.match, forward, end.name, targets, self._asker(end, first), balance) for end in ends
        ]

    def _target(self, end: End, last: tuple[End, ...]) -> Target:
        if not self.translated:
            return Target(end.resource_id, end.name)
        own = self._facts.get(end.name)
        behind = own or _sole(last, self._facts)
        return Target(end.resource_id, end.name, behind.mac if behind else "", own.addresses if own else ())

    def _asker(self, end: End, first: tuple[End, ...]) -> Asker | None:
        if not self.translated or self._leaves:
            return None
        if end.name in self._facts:
            return _asker(end, self._facts)
        return _asker(first[0], self._facts) if len(first) == 1 else None


def layout(
    states: Sequence[PathState],
    plans: Sequence[LinkPlan],
    facts: Facts,
    fabric: str,
    is_strict: Callable[[str], bool] = lambda _path_id: False,
    beside: Container[str] = (),
) -> Layout:
    """All courses of the paths. Ends of pairs named in `beside` are joined in the fabric though their wire would do.

    Of a path that `is_strict` NotThereError or InvalidSpecError says what cannot be joined; of others it is left out.
    """
    walks = [_walk(state, plans, fabric, strict=is_strict(state.spec.id)) for state in states]
    patched = _patched(walks, beside)
    courses: list[Course] = []
    for walk in walks:
        for segment in _segments(walk, facts):
            joins = [join for index in segment if (join := walk.joins[index]) is not None]
            if not joins:
                continue
            maker = _Segment(walk, joins, facts, strict=is_strict(walk.state.spec.id))
            for index in segment:
                join = walk.joins[index]
                if join is None or join.on_one(Wiring.BRIDGE):
                    continue
                if join.on_one(Wiring.PAIR) and join.lefts[0].name not in patched:
                    continue
                hops = walk.state.spec.hops
                courses += maker.courses(join, (hops[index], hops[index + 1]))
    return Layout(tuple(courses), patched)
