"""How a chain's VNFs and ends are wired and addressed. Pure.

Neighbours on a path share a virtual link; a one-armed VNF joins its two links into one. Each link has a network of its
own: behind an end it is the end's, between VNFs it is cut from a pool (RFC 6598). Every VNF gets routes to all networks
of the path: those before it by its left neighbour, those behind it by its right one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from vnfm.graph.servicegraph import Attachment, ChainLink
from vnfm.model.chain import ChainEnd, Match
from vnfm.model.problem import problem
from vnfm.model.resources import Route

POOL = "100.64.0.0/16"
LINK_PREFIX = 29
POOL_V6 = "fd64:6464:6464::/48"  # RFC 4193: for chains whose ends speak IPv6
LINK_PREFIX_V6 = 64
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Position:
    """A hop of a path: the ports by which it is entered and left, one of them None at an end."""

    name: str
    ingress: Attachment | None
    egress: Attachment | None


@dataclass(frozen=True, slots=True)
class PathLayout:
    """A forwarding path, position by position."""

    name: str
    positions: tuple[Position, ...]
    match: Match


@dataclass(frozen=True, slots=True)
class LinkLayout:
    """A virtual link with its network and members' addresses (with prefix length)."""

    key: str
    cidr: str
    addresses: Mapping[Attachment, str]

    @property
    def ports(self) -> tuple[Attachment, ...]:
        """In path order."""
        return tuple(self.addresses)


@dataclass(frozen=True, slots=True)
class ChainLayout:
    """All links, and the routes out of each port."""

    links: tuple[LinkLayout, ...]
    routes: Mapping[Attachment, tuple[Route, ...]]
    paths: tuple[PathLayout, ...]

    def link_of(self, port: Attachment) -> LinkLayout | None:
        """The link that the port is on."""
        return next((link for link in self.links if port in link.addresses), None)


def lay_out(
    ends: Sequence[ChainEnd], wired: Sequence[ChainLink], paths: Sequence[PathLayout], pool: str = ""
) -> ChainLayout:
    """Networks between VNFs come from `pool`, by default one of the ends' IP version. Raises ProblemError `bad-path`
    where ends cannot be told apart on one link or speak different IP versions, `no-addresses` when the pool or an end's
    network is too small."""
    links = _number(wired, {e.name: e for e in ends}, pool or _pool_for(ends))
    return ChainLayout(links, _routes(paths, links), tuple(paths))


def _pool_for(ends: Sequence[ChainEnd]) -> str:
    versions = {ip_network(e.cidr).version for e in ends}
    if len(versions) > 1:
        told = ", ".join(f"{e.name} {e.cidr}" for e in ends)
        raise problem("bad-path", f"ends speak different IP versions ({told}): give all of them IPv4 or all IPv6")
    return POOL_V6 if versions == {6} else POOL


def _number(wired: Sequence[ChainLink], ends: Mapping[str, ChainEnd], pool: str) -> tuple[LinkLayout, ...]:
    taken = [ip_network(e.cidr) for e in ends.values()]
    free = _free_networks(pool, taken)
    links = []
    for link in wired:
        at_ends = [ends[p.owner] for p in link.members if p.owner in ends]
        if len(at_ends) > 1:
            names = " and ".join(e.name for e in at_ends)
            raise problem("bad-path", f"ends {names} meet on one link: put a VNF between them")
        network = ip_network(at_ends[0].cidr) if at_ends else next(free, None)
        if network is None:
            raise problem("no-addresses", f"the pool {pool} has no network left for another link")
        links.append(LinkLayout(link.id, str(network), _addresses(link.members, network, ends)))
    return tuple(links)


def _addresses(group: Sequence[Attachment], network: Network, ends: Mapping[str, ChainEnd]) -> dict[Attachment, str]:
    hosts = iter(network.hosts())  # a list for /31 and /32
    # VNFs first, so that the gateway of an end's network is its first address
    numbered = {}
    for port in sorted(group, key=lambda p: p.owner in ends):
        address = next(hosts, None)
        if address is None:
            raise problem("no-addresses", f"network {network} is too small for {len(group)} ports")
        numbered[port] = f"{address}/{network.prefixlen}"
    return {port: numbered[port] for port in group}


def _free_networks(pool: str, taken: Sequence[Network]) -> Iterator[Network]:
    whole = ip_network(pool)
    for network in whole.subnets(new_prefix=LINK_PREFIX if whole.version == 4 else LINK_PREFIX_V6):
        if not any(network.version == t.version and network.overlaps(t) for t in taken):
            yield network


def _routes(paths: Sequence[PathLayout], links: Sequence[LinkLayout]) -> dict[Attachment, tuple[Route, ...]]:
    where = {port: link for link in links for port in link.ports}
    found: dict[Attachment, dict[str, Route]] = {}
    told: dict[str, set[str]] = {}  # destinations that a VNF has, over all its ports
    for path in paths:
        order = _links_of(path, where)
        for index, position in enumerate(path.positions):
            before = path.positions[index - 1].egress if index else None
            after = path.positions[index + 1].ingress if index + 1 < len(path.positions) else None
            sides = (
                (position.ingress, before, order[: max(index - 1, 0)]),
                (position.egress, after, order[index + 1 :]),
            )
            for port, neighbour, far in sides:
                if port is None or neighbour is None:
                    continue
                via = where[neighbour].addresses[neighbour].split("/")[0]
                at_end = not port.cp
                for destination in _destinations(port, far, where, at_end, via):
                    if destination not in told.setdefault(position.name, set()):
                        told[position.name].add(destination)
                        found.setdefault(port, {})[destination] = Route(destination, via)
    return {port: tuple(routes.values()) for port, routes in found.items()}


def _links_of(path: PathLayout, where: Mapping[Attachment, LinkLayout]) -> list[LinkLayout]:
    return [where[p.egress] for p in path.positions if p.egress]


def _destinations(
    port: Attachment, far: Sequence[LinkLayout], where: Mapping[Attachment, LinkLayout], at_end: bool, via: str
) -> list[str]:
    if at_end:
        return ["::/0" if ":" in via else "0.0.0.0/0"]
    own = where[port].cidr
    return [link.cidr for link in far if link.cidr != own]
