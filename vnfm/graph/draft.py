"""A chain while it is read: its parts with their places, whichever form they were written in, and the checks that both
forms share. All complaints are gathered; one Problem tells them all."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from vnfm.graph.yamltree import Node
from vnfm.model.chain import ChainEnd, ChainRule, ChainVnf, ForwardingPath, Match, PathHop, ServiceChain
from vnfm.model.needs import Isolation
from vnfm.model.problem import ProblemError, problem

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
CP_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
SCOPES = ("NFVI_NODE", "RACK", "ZONE", "ZONE_GROUP", "NFVI_POP")
KINDS = ("affinity", "anti-affinity")
PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "ipv6-icmp": 58, "sctp": 132}

T = TypeVar("T")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(slots=True)
class Complaints:
    """What is wrong with one file, in the order found."""

    filename: str
    found: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, word: str, path: str, line: int, what: str, mend: str) -> None:
        """`word` is the problem's name, `what` what is wrong, `mend` what was expected and what to do."""
        place = f"{self.filename}:{line}" if line else self.filename
        self.found.append((word, path, f"{place}: {path or 'the file'}: {what}. {mend}"))

    def at(self, word: str, node: Node, what: str, mend: str) -> None:
        """The same, said of a node."""
        self.add(word, node.path, node.line, what, mend)

    def error(self) -> ProblemError:
        """One problem: named after the first complaint, its detail has a line for each."""
        word, path, _ = self.found[0]
        return problem(word, "\n".join(text for *_, text in self.found), instance=f"{self.filename}#{path}")

    def raise_if_any(self) -> None:
        """Raise the error where something was found."""
        if self.found:
            raise self.error()


@dataclass(frozen=True, slots=True)
class Part(Generic[T]):
    """A part of the chain and the node it was read from."""

    value: T
    at: Node


@dataclass(slots=True)
class Draft:
    """All parts, not yet checked against one another. `max_latency_us` is checked where it is read."""

    name: str
    ends: list[Part[ChainEnd]] = field(default_factory=list)
    vnfs: list[Part[ChainVnf]] = field(default_factory=list)
    paths: list[tuple[Part[ForwardingPath], tuple[Node, ...]]] = field(default_factory=list)
    rules: list[Part[ChainRule]] = field(default_factory=list)
    max_latency_us: int | None = None


def finish(draft: Draft, bad: Complaints) -> ServiceChain:
    """The chain, if its parts fit together; raises a ProblemError that tells everything found before and here."""
    _check_ends(draft, bad)
    _check_names(draft, bad)
    before = len(bad.found)
    for path, hops in draft.paths:
        _check_path(draft, path, hops, bad)
    if len(bad.found) == before:
        _check_visited(draft, bad)
    _check_matches(draft, bad)
    _check_rules(draft, bad)
    bad.raise_if_any()
    return ServiceChain(
        draft.name,
        tuple(p.value for p in draft.ends),
        tuple(p.value for p in draft.vnfs),
        tuple(p.value for p, _ in draft.paths),
        draft.max_latency_us,
        tuple(p.value for p in draft.rules),
    )


def _check_ends(draft: Draft, bad: Complaints) -> None:
    seen: list[tuple[str, Network]] = []
    for part in draft.ends:
        network = as_network(part.value.cidr)
        if network is None:
            continue  # said where it was read
        for name, other in seen:
            if network.version == other.version and network.overlaps(other):
                bad.at(
                    "overlapping-ends",
                    part.at,
                    f"{network} overlaps {other} of end {name!r}",
                    "The networks behind the ends must be disjoint; choose another cidr.",
                )
        seen.append((part.value.name, network))


def _check_names(draft: Draft, bad: Complaints) -> None:
    ends = {p.value.name for p in draft.ends}
    for part in draft.vnfs:
        if part.value.alias in ends:
            what = f"{part.value.alias!r} is an end too"
            bad.at("duplicate-name", part.at, what, "Give the VNF or the end another name.")


def _check_visited(draft: Draft, bad: Complaints) -> None:
    """A VNF off all paths would be realized for nothing."""
    visited = {hop.name for path, _ in draft.paths for hop in path.value.hops}
    for part in draft.vnfs:
        if draft.paths and part.value.alias not in visited:
            bad.at("vnf-off-path", part.at, "no path leads through it", "Add it to a path or take it out of `vnfs`.")


def _check_path(draft: Draft, path: Part[ForwardingPath], nodes: tuple[Node, ...], bad: Complaints) -> None:
    ends = {p.value.name for p in draft.ends}
    vnfs = {p.value.alias for p in draft.vnfs}
    hops = path.value.hops
    known = f"Expected one of {', '.join(sorted(ends | vnfs)) or 'the ends and VNFs'}."
    for hop, node in zip(hops, nodes, strict=True):
        if hop.name not in ends | vnfs:
            bad.at("unknown-hop", node, f"{hop.name!r} is neither a VNF nor an end of this chain", known)
    if len(hops) < 2:
        bad.at("path-ends", path.at, "fewer than two hops", "Write an end, the VNFs in order, and another end.")
        return
    for position, word in ((0, "begins"), (-1, "ends")):
        if hops[position].name in vnfs:
            mend = f"A path begins and ends at an end: {', '.join(sorted(ends)) or 'declare two'}."
            bad.at("path-ends", nodes[position], f"the path {word} at the VNF {hops[position].name!r}", mend)
    for hop, node in zip(hops[1:-1], nodes[1:-1], strict=True):
        if hop.name in ends:
            bad.at("path-ends", node, f"the end {hop.name!r} in the middle", "Ends stand first and last only.")
    _check_visits(hops, nodes, vnfs, bad)


def _check_visits(hops: tuple[PathHop, ...], nodes: tuple[Node, ...], vnfs: set[str], bad: Complaints) -> None:
    first: dict[str, Node] = {}
    for hop, node in zip(hops, nodes, strict=True):
        if hop.name in first:
            word = "duplicate-vnf" if hop.name in vnfs else "path-ends"
            mend = "Name each once; for a second instance of a VNFD add another alias under `vnfs`."
            bad.at(word, node, f"{hop.name!r} stands on the path twice (first as {first[hop.name].path})", mend)
        first.setdefault(hop.name, node)


WITH_PORTS = (6, 17, 132)  # TCP, UDP, SCTP


def _check_matches(draft: Draft, bad: Complaints) -> None:
    seen: dict[Match, str] = {}
    for part, _ in draft.paths:
        match = part.value.match
        if (match.source_port or match.destination_port) and match.ip_protocol not in WITH_PORTS:
            mend = "Expected ip_protocol tcp, udp or sctp beside it."
            bad.at("bad-value", part.at, "matches a port, and its protocol has none", mend)
        if match in seen:
            bad.at(
                "ambiguous-paths",
                part.at,
                f"takes the same traffic as path {seen[match]!r}",
                "With several paths each needs a match of its own.",
            )
        seen.setdefault(match, part.value.name)


def _check_rules(draft: Draft, bad: Complaints) -> None:
    vnfs = {p.value.alias for p in draft.vnfs}
    for part in draft.rules:
        unknown = [name for name in part.value.vnfs if name not in vnfs]
        if unknown:
            mend = f"Expected names out of {', '.join(sorted(vnfs)) or 'vnfs, which is empty'}."
            bad.at("unknown-vnf", part.at, f"no VNF of this chain: {', '.join(map(repr, unknown))}", mend)
        elif len(set(part.value.vnfs)) != len(part.value.vnfs):
            bad.at("duplicate-vnf", part.at, "names a VNF twice", "Name each once.")
        elif len(part.value.vnfs) < 2:
            bad.at("bad-value", part.at, "fewer than two VNFs", "A rule binds two at least.")


# --- values ------------------------------------------------------------------------------------------------------


def as_network(cidr: str) -> Network | None:
    """The network of a CIDR; None for what is none, or has host bits set."""
    try:
        return ipaddress.ip_network(cidr) if "/" in cidr else None
    except ValueError:
        return None


def get_map(node: Node | None, bad: Complaints, expected: str) -> Mapping[str, Node]:
    """The mapping at `node`; empty, with a complaint, for anything else but nothing."""
    if node is None:
        return {}
    if node.mapping is None:
        bad.at("bad-value", node, f"is {node.shown}", f"Expected {expected}.")
        return {}
    return node.mapping


def get_list(node: Node | None, bad: Complaints, expected: str) -> tuple[Node, ...]:
    """The list at `node`; empty, with a complaint, for anything else but nothing."""
    if node is None:
        return ()
    if node.items is None:
        bad.at("bad-value", node, f"is {node.shown}", f"Expected {expected}.")
        return ()
    return node.items


def only_keys(node: Node, allowed: Iterable[str], bad: Complaints) -> None:
    """A complaint for each key that has no meaning here."""
    keys = tuple(allowed)
    for key, value in (node.mapping or {}).items():
        if key not in keys:
            bad.at("unknown-key", value, f"the key {key!r} has no meaning here", f"Expected {', '.join(keys)}.")


def need(node: Node, key: str, bad: Complaints, expected: str) -> Node | None:
    """The value of a key that must be there."""
    value = (node.mapping or {}).get(key)
    if value is None and node.mapping is not None:
        where = f"{node.path}.{key}" if node.path else key
        bad.add("missing-key", where, node.line, "is missing", f"Expected {expected}.")
    return value


def get_name(text: object, node: Node, bad: Complaints, what: str, pattern: re.Pattern[str] = NAME) -> str:
    """A name; an empty one, with a complaint, for what is none."""
    if isinstance(text, str) and pattern.fullmatch(text):
        return text
    shown = node.shown if text is node.value else repr(text)[:60]
    mend = f"Expected {what}: letters, digits, dash, dot and underscore, in quotes where YAML sees a number."
    bad.at("bad-name", node, f"{shown} is no name", mend)
    return ""


def get_text(node: Node | None, bad: Complaints, what: str) -> str:
    """A non-empty printable line; an empty one where there is nothing."""
    if node is None:
        return ""
    if isinstance(node.value, str) and 0 < len(node.value) <= 255 and node.value.isprintable():
        return node.value
    bad.at("bad-value", node, f"is {node.shown}", f"Expected {what}, in quotes where YAML sees a number.")
    return ""


def get_words(node: Node | None, bad: Complaints, expected: str) -> tuple[str, ...]:
    """A list of names, each once and one at least; a single name stands for itself. No commas: an NSD has such names
    in one text."""
    if node is None:
        return ()
    if isinstance(node.value, str) and node.items is None:
        return (_word(node, bad),)
    words = tuple(_word(n, bad) for n in get_list(node, bad, expected))
    if node.items is not None and (not words or len(set(words)) != len(words)):
        bad.at("bad-value", node, "is empty" if not words else "names one twice", f"Expected {expected}, each once.")
    return words


def _word(node: Node, bad: Complaints) -> str:
    word = get_text(node, bad, "a name")
    if word != word.strip() or "," in word:
        bad.at("bad-value", node, f"is {node.shown}", "Expected a name without commas and without spaces around it.")
    return word


def get_int(node: Node | None, bad: Complaints, what: str, low: int, high: int) -> int:
    """A number within bounds; 0, with a complaint, for anything else but nothing."""
    if node is None:
        return 0
    if isinstance(node.value, int) and not isinstance(node.value, bool) and low <= node.value <= high:
        return node.value
    bad.at("bad-value", node, f"is {node.shown}", f"Expected {what}, a whole number from {low} to {high}.")
    return 0


def get_cidr(node: Node | None, bad: Complaints) -> str:
    """A network in its usual form; empty, with a complaint, for anything else but nothing."""
    if node is None:
        return ""
    text = node.value if isinstance(node.value, str) else ""
    network = as_network(text)
    if network is not None:
        return str(network)
    mend = "Expected a network such as 10.1.0.0/24."
    if "/" in text:
        with contextlib.suppress(ValueError):
            mend = f"The address has bits set behind the prefix; the network is {ipaddress.ip_interface(text).network}."
    bad.at("bad-cidr", node, f"{node.shown} is no network", mend)
    return ""


def get_isolation(node: Node | None, bad: Complaints) -> Isolation | None:
    """A level by number or word."""
    if node is None:
        return None
    value = node.value
    if isinstance(value, int) and not isinstance(value, bool) and value in tuple(Isolation):
        return Isolation(value)
    if isinstance(value, str) and value.upper() in Isolation.__members__:
        return Isolation[value.upper()]
    words = ", ".join(f"{level.value} {level.name.lower()}" for level in Isolation)
    bad.at("unknown-level", node, f"{node.shown} is no isolation level", f"Expected a number or word of: {words}.")
    return None


def get_protocol(node: Node | None, bad: Complaints) -> int:
    """An IP protocol by IANA's number or keyword."""
    if node is None:
        return 0
    if isinstance(node.value, str):
        text = node.value.lower()
        if text in PROTOCOLS:
            return PROTOCOLS[text]
        if text.isascii() and text.isdecimal() and 1 <= int(text[:4]) <= 255:
            return int(text[:4])
        bad.at("bad-value", node, f"is {node.shown}", f"Expected 1 to 255 or one of {', '.join(PROTOCOLS)}.")
        return 0
    return get_int(node, bad, "an IP protocol", 1, 255)


def get_rule(kind: str, scope: str, vnfs: tuple[str, ...], node: Node, bad: Complaints) -> Part[ChainRule]:
    """A rule whose scope is known."""
    if kind not in KINDS:
        bad.at("bad-value", node, f"kind {kind!r}", f"Expected one of {', '.join(KINDS)}.")
    if scope.upper() not in SCOPES:
        bad.at("bad-value", node, f"scope {scope!r}", f"Expected one of {', '.join(SCOPES)}.")
    return Part(ChainRule(kind, scope.upper(), vnfs), node)
