"""How a chain's VNFs and ends are wired and addressed. Pure.

Neighbours on a path share a virtual link; a one-armed VNF joins its two links into one. Each link has a network of its
own: behind an end it is the end's, between VNFs it is cut from a pool (RFC 6598), with room for VNFs that are put into
the link later. Every VNF gets routes to all networks of the path (see routes.py).

A link is *steered* where paths fork, where a VNF has several instances, and where a path takes some traffic only: its
ports reach each other along paths, and each port of a VNF has a block of its own with a fictive gateway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network, ip_network

from vnfm.graph.servicegraph import Attachment, ChainLink
from vnfm.lcm.blocks import free_blocks, no_block
from vnfm.lcm.routes import PathLayout, Position, Spot, routes
from vnfm.model.chain import ChainEnd, Match
from vnfm.model.problem import problem
from vnfm.model.resources import Route

__all__ = ["ChainLayout", "LinkLayout", "PathLayout", "Position", "lay_out"]

POOL = "100.64.0.0/16"
LINK_PREFIX = 26
POOL_V6 = "fd64:6464:6464::/48"  # RFC 4193: for chains whose ends speak IPv6
LINK_PREFIX_V6 = 64
Network = IPv4Network | IPv6Network
NO_COUNTS: Mapping[Attachment, int] = {}


@dataclass(frozen=True, slots=True)
class LinkLayout:
    """A virtual link with its network and members' addresses (with prefix length); `gateways` of steered ports."""

    key: str
    cidr: str
    addresses: Mapping[Attachment, str]
    steered: bool = False
    gateways: Mapping[Attachment, str] = field(default_factory=dict)

    @property
    def ports(self) -> tuple[Attachment, ...]:
        """In path order, further instances behind the first."""
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
    ends: Sequence[ChainEnd],
    wired: Sequence[ChainLink],
    paths: Sequence[PathLayout],
    pool: str = "",
    counts: Mapping[Attachment, int] = NO_COUNTS,
) -> ChainLayout:
    """Networks between VNFs come from `pool`, by default one of the ends' IP version. `counts` says how many instances
    of the VDU behind a port there are, where it is not one. Raises ProblemError `bad-path` where ends cannot be told
    apart on one link or speak different IP versions, `no-addresses` when the pool or an end's network is too small,
    `unsupported` where a link would have to be steered and cannot be."""
    links = _number(wired, {e.name: e for e in ends}, paths, pool or _pool_for(ends), counts)
    spots = {
        port: Spot(link.key, link.cidr, address.split("/")[0], link.gateways.get(port, ""))
        for link in links
        for port, address in link.addresses.items()
    }
    return ChainLayout(links, routes(paths, spots), tuple(paths))


def _pool_for(ends: Sequence[ChainEnd]) -> str:
    versions = {ip_network(e.cidr).version for e in ends}
    if len(versions) > 1:
        told = ", ".join(f"{e.name} {e.cidr}" for e in ends)
        raise problem("bad-path", f"ends speak different IP versions ({told}): give all of them IPv4 or all IPv6")
    return POOL_V6 if versions == {6} else POOL


def _number(
    wired: Sequence[ChainLink],
    ends: Mapping[str, ChainEnd],
    paths: Sequence[PathLayout],
    pool: str,
    counts: Mapping[Attachment, int],
) -> tuple[LinkLayout, ...]:
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
        if _why_steered(link, paths, counts, network):
            links.append(_steered(link, network, ends, counts))
        else:
            links.append(LinkLayout(link.id, str(network), _addresses(link.members, network, ends)))
    return tuple(links)


def _why_steered(
    link: ChainLink, paths: Sequence[PathLayout], counts: Mapping[Attachment, int], network: Network
) -> str:
    """The field that asks for it, or empty. A one-armed VNF is reached over a bridge, where nothing can be steered."""
    members = set(link.members)
    why = next((f"vnfs.{m.owner}.instantiation_level" for m in link.members if counts.get(m, 1) > 1), "")
    if len(members) > 2:
        why = "paths"
    for path in paths:
        if path.match != Match() and any(members & set(pair) for pair in path.crossings):
            why = f"paths.{path.name}.match"
    arms = {p.name for path in paths for p in path.positions if p.one_armed and p.ingress in members}
    if arms:
        if why.endswith(".match"):
            raise problem(
                "unsupported",
                f"{why}: VNF {min(arms)} is entered and left by one port, and flows cannot be told apart there; "
                "leave the match out, or give the VNF a second port",
            )
        return ""
    if why and network.version == 6:
        raise problem("unsupported", f"{why}: link {link.id} would be steered, which is offered for IPv4 only")
    return why


def _steered(
    link: ChainLink, network: Network, ends: Mapping[str, ChainEnd], counts: Mapping[Attachment, int]
) -> LinkLayout:
    """An end keeps an address in its network, whose first is its gateway; everyone else has a block."""
    blocks = free_blocks(str(network), ())
    addresses: dict[Attachment, str] = {}
    gateways: dict[Attachment, str] = {}
    for member in link.members:
        if member.owner in ends:
            first, second = _first_two(network)
            addresses[member], gateways[member] = f"{second}/{network.prefixlen}", first
            continue
        for index in range(counts.get(member, 1)):
            block = next(blocks, None)
            if block is None:
                raise no_block(str(network), link.id)
            port = replace(member, index=index)
            addresses[port], gateways[port] = block.address, block.gateway
    return LinkLayout(link.id, str(network), addresses, True, gateways)


def _first_two(network: Network) -> tuple[str, str]:
    hosts = iter(network.hosts())
    first, second = next(hosts, None), next(hosts, None)
    if first is None or second is None:
        raise problem("no-addresses", f"network {network} is too small for an end and its gateway")
    return str(first), str(second)


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
