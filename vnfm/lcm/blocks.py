"""Small networks cut out of a link's own, for ports that are steered: an address and a fictive gateway each. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_address, ip_network

from vnfm.model.problem import ProblemError, problem

BLOCK_PREFIX = 30


@dataclass(frozen=True, slots=True)
class Block:
    """`address` with prefix length, the gateway without: it is nobody's, frames to it are steered."""

    address: str
    gateway: str


def free_blocks(cidr: str, taken: Iterable[str]) -> Iterator[Block]:
    """Blocks of an IPv4 network in which none of the addresses `taken` lies, lowest first. The first block is left to
    the link's gateway and end, so that there may be none at all."""
    network = ip_network(cidr)
    if not isinstance(network, IPv4Network) or network.prefixlen >= BLOCK_PREFIX:
        return
    used = {int(ip_address(a.split("/")[0])) >> 2 for a in taken}
    for base in range(int(network.network_address) + 4, int(network.broadcast_address), 4):
        if base >> 2 not in used:
            first = network.network_address + (base - int(network.network_address))
            yield Block(f"{first + 1}/{BLOCK_PREFIX}", str(first + 2))


def no_block(cidr: str, link: str) -> ProblemError:
    """The network of a link is used up."""
    return problem(
        "no-addresses",
        f"network {cidr} of link {link} has no /{BLOCK_PREFIX} left for another steered port: "
        "take VNFs or instances away, or give the end a larger network",
        instance=link,
    )
