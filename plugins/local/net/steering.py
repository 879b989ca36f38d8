"""The wanted table of a fabric out of the courses of its paths: pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from plugins.local.net import balance, matching, naming
from plugins.local.net.courses import Asker, Course, Layout, find_port
from plugins.local.net.errors import InvalidSpecError
from plugins.local.net.ruleset import Chain, Ruleset
from plugins.local.net.specs import Match

__all__ = ["check_conflicts", "find_port", "path_counter", "wanted"]

# Neither with ports nor answered with the mark of what was asked, as an echo request is (RFC 1349, 5.1).
_MARKLESS = f"meta l4proto != {{ {', '.join([*matching.WITH_PORTS.values(), 'icmp'])} }}"


def path_counter(port: str, path_id: str) -> str:
    """The counter of a path's packets that came in by a port, where several paths use it or the path has a match."""
    return f"{port}_{naming.short(path_id)}"


def _remembered(path_id: str) -> tuple[str, str]:
    key = naming.short("remembered", path_id)
    return f"d{key}", f"e{key}"


def check_conflicts(layout: Layout, path_id: str) -> None:
    """InvalidSpecError where the same packets out of one port would have to go two ways, one of them the path's."""
    known: dict[tuple[str, str], Course] = {}
    for course in sorted(layout.courses, key=lambda one: one.path_id == path_id):
        other = known.setdefault((course.port, matching.text(course.match, forward=course.forward)), course)
        if course.path_id != path_id or {one.port for one in other.targets} == {one.port for one in course.targets}:
            continue
        if other.path_id == path_id:
            raise InvalidSpecError(
                f"path {path_id}: port {course.port} would have to send the same packets both ways: a hop that is "
                f"steered needs a port for each side"
            )
        raise InvalidSpecError(
            f"path {path_id}: port {course.port} would have to send the same packets elsewhere than path "
            f"{other.path_id}: give one of the paths a match of its own"
        )


def wanted(layout: Layout, present: Mapping[str, int]) -> Ruleset:
    """The table for the ports that are there, by name with their device's index."""
    by_port: dict[str, list[Course]] = {}
    for course in layout.courses:
        if course.port in present and any(one.port in present for one in course.targets):
            by_port.setdefault(course.port, []).append(course)
    chains: dict[str, Chain] = {}
    sets: dict[str, str] = {}
    counters: set[str] = set()
    for port, found in by_port.items():
        courses = _ordered(found)
        counters.add(port)
        chains[port], arp = _port_chain(port, courses, present)
        if arp:
            chains[_arp_name(port)] = arp
        if not _is_simple(courses):
            counters.update(path_counter(port, course.path_id) for course in courses)
        for course in courses:
            if course.balance:
                more, needed = balance.chains(course, course.balance, present)
                chains |= more
                sets |= needed
            if course.match.dscp:
                sets |= dict(zip(_remembered(course.path_id), (matching.FLOWS5, matching.FLOWS3), strict=True))
    return Ruleset(chains, sets, frozenset(counters))


def _ordered(courses: Iterable[Course]) -> list[Course]:
    """The more specific first; of two paths with the same match only the first decides."""
    ordered = sorted(courses, key=lambda one: (matching.rank(one.match), one.path_id, one.forward))
    distinct: dict[tuple[bool, Match], Course] = {}
    for course in ordered:
        distinct.setdefault((course.forward, course.match), course)
    return list(distinct.values())


def _is_simple(courses: list[Course]) -> bool:
    return len(courses) == 1 and courses[0].match == Match() and courses[0].balance is None


def _arp_name(port: str) -> str:
    return "a" + port[1:]


def _port_chain(port: str, courses: list[Course], present: Mapping[str, int]) -> tuple[Chain, Chain | None]:
    askers = [course.asker for course in courses if course.asker]
    arp = _arp_chain(port, askers[0], courses, present) if askers else None
    to_arp = [f"meta protocol arp goto {_arp_name(port)}"] if arp else []
    if _is_simple(courses):
        # The usual case is the fast one: one rule that counts and forwards.
        only = "meta protocol ip " if arp else ""
        return Chain((f"counter name {port} {only}{_action(courses[0], present)}", *to_arp), port), arp
    rules = [f"counter name {port}", *to_arp]
    for course in courses:
        rules += _pick(port, course, present)
    native = [course for course in courses if not course.balance]
    if not arp and native and all(course.match != Match() for course in native):
        # Neighbours that were made for each other ask one another themselves, which no match would let pass.
        rules.append(f"meta protocol arp {_action(native[0], present)}")
    return Chain(tuple(rules), port), arp


def _pick(port: str, course: Course, present: Mapping[str, int]) -> list[str]:
    """The rules that take a path's packets out of those that come in by a port."""
    match = matching.text(course.match, forward=course.forward)
    count = f"counter name {path_counter(port, course.path_id)} "
    only = "meta protocol ip " if course.asker or course.balance else ""
    action = f"{count}{_action(course, present)}"
    rules = []
    if course.match.dscp:
        five, three = _remembered(course.path_id)
        if course.forward:
            rules.append(f"{match}{matching.HAS_PORTS} update @{five} {{ {matching.KEY5} }}")
            rules.append(f"{match}{_MARKLESS} update @{three} {{ {matching.KEY3} }}")
        else:
            # Replies seldom carry the mark of what they answer.
            rules.append(f"{matching.HAS_PORTS} {matching.KEY5_BACK} @{five} {action}")
            rules.append(f"{_MARKLESS} {matching.KEY3_BACK} @{three} {action}")
    return [*rules, f"{only}{match}{action}"]


def _action(course: Course, present: Mapping[str, int]) -> str:
    if course.balance:
        return f"goto {balance.entry(course.balance, forward=course.forward)}"
    return balance.into(next(one for one in course.targets if one.port in present))


def _arp_chain(port: str, asker: Asker, courses: list[Course], present: Mapping[str, int]) -> Chain:
    """Requests are answered on the spot, whatever neighbour is asked for, but not for the asker's own addresses: that
    is how it looks for somebody else who has them.
    """
    own = f"arp daddr ip != {{ {', '.join(asker.addresses)} }} " if asker.addresses else ""
    told = f"arp daddr ip set {asker.addresses[0]} " if asker.addresses else ""
    answer = (
        f"arp operation request {own}arp saddr ip set arp daddr ip {told}arp daddr ether set {asker.mac} "
        f"arp saddr ether set {asker.answer} arp operation set reply ether saddr set {asker.answer} "
        f"ether daddr set {asker.mac} fwd to {port}"
    )
    native = [course for course in courses if course.asker is None and not course.balance]
    rest = [_action(course, present) for course in native[:1]]
    return Chain((answer, *rest))
