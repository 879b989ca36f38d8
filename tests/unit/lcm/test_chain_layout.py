"""How chains are addressed and routed."""

from __future__ import annotations

from ipaddress import ip_interface, ip_network

import pytest

from vnfm.graph.servicegraph import Attachment, ChainLink
from vnfm.lcm.layout import ChainLayout, PathLayout, Position, lay_out
from vnfm.model.chain import ChainEnd, Match
from vnfm.model.problem import ProblemError

CLIENT, SERVER = Attachment("client"), Attachment("server")


def ends(client: str = "10.1.0.0/24", server: str = "10.9.0.0/24") -> list[ChainEnd]:
    return [ChainEnd("client", client), ChainEnd("server", server)]


def straight(count: int, client: str = "10.1.0.0/24", server: str = "10.9.0.0/24", pool: str = "") -> ChainLayout:
    """client - v1 - … - vN - server, each VNF entered on `in` and left on `out`."""
    names = [f"v{n}" for n in range(1, count + 1)]
    left = [CLIENT, *(Attachment(n, "out") for n in names)]
    right = [*(Attachment(n, "in") for n in names), SERVER]
    links = [ChainLink(f"{a.owner}-{b.owner}", (a, b)) for a, b in zip(left, right, strict=True)]
    positions = [
        Position("client", None, CLIENT),
        *(Position(n, Attachment(n, "in"), Attachment(n, "out")) for n in names),
        Position("server", SERVER, None),
    ]
    path = PathLayout("default", tuple(positions), Match())
    return lay_out(ends(client, server), links, [path], pool)


def address(layout: ChainLayout, port: Attachment) -> str:
    link = layout.link_of(port)
    assert link
    return link.addresses[port]


def hop(layout: ChainLayout, ports: dict[str, list[Attachment]], at: str, target: str) -> str | None:
    """Who is next from `at` to the address `target`, by longest prefix; None where it is on a link of `at` itself."""
    wanted = ip_interface(target).ip
    if any(wanted in ip_interface(address(layout, p)).network for p in ports[at]):
        return None
    routes = [r for p in ports[at] for r in layout.routes.get(p, ()) if wanted in ip_network(r.destination)]
    assert routes, f"{at} has no route to {target}"
    via = max(routes, key=lambda r: ip_network(r.destination).prefixlen).via
    return next(owner for owner, mine in ports.items() for p in mine if address(layout, p).split("/")[0] == via)


def walk(layout: ChainLayout, names: list[str], source: str, target: Attachment) -> list[str]:
    """The owners that a packet crosses by the routes."""
    ports: dict[str, list[Attachment]] = {}
    for link in layout.links:
        for port in link.ports:
            ports.setdefault(port.owner, []).append(port)
    seen, at = [source], source
    while (after := hop(layout, ports, at, address(layout, target))) is not None:
        at = after
        seen.append(at)
        assert len(seen) <= len(names), seen
    return [*seen, target.owner]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_routes_lead_along_the_path_both_ways(count: int) -> None:
    layout = straight(count)
    names = ["client", *(f"v{n}" for n in range(1, count + 1)), "server"]
    assert walk(layout, names, "client", SERVER) == names
    assert walk(layout, names, "server", CLIENT) == names[::-1]


def test_every_address_is_of_its_links_network_and_unique() -> None:
    layout = straight(6)
    given = [a for link in layout.links for a in link.addresses.values()]
    assert len({a.split("/")[0] for a in given}) == len(given) == 14
    for link in layout.links:
        assert all(ip_interface(a).network == ip_network(link.cidr) for a in link.addresses.values())


def test_behind_an_end_lies_the_ends_network_with_the_vnf_as_its_gateway() -> None:
    layout = straight(1)
    assert layout.links[0].cidr == "10.1.0.0/24"
    assert address(layout, Attachment("v1", "in")) == "10.1.0.1/24"
    assert address(layout, CLIENT) == "10.1.0.2/24"
    assert [(r.destination, r.via) for r in layout.routes[CLIENT]] == [("0.0.0.0/0", "10.1.0.1")]


def test_networks_of_the_ends_are_not_given_out_again() -> None:
    layout = straight(3, client="100.64.0.0/24")
    cut = [ip_network(link.cidr) for link in layout.links]
    assert not any(a.overlaps(b) for n, a in enumerate(cut) for b in cut[n + 1 :])


def test_a_one_armed_vnf_has_one_port_on_one_link() -> None:
    arm = Attachment("v", "eth0")
    link = ChainLink("v", (CLIENT, arm, Attachment("w", "in")))
    last = ChainLink("w-server", (Attachment("w", "out"), SERVER))
    positions = (
        Position("client", None, CLIENT),
        Position("v", arm, arm),
        Position("w", Attachment("w", "in"), Attachment("w", "out")),
        Position("server", SERVER, None),
    )
    layout = lay_out(ends(), [link, last], [PathLayout("p", positions, Match())])
    assert len(layout.links[0].addresses) == 3
    # on towards the server by its right neighbour; the client is on its own link
    assert [(r.destination, r.via) for r in layout.routes[arm]] == [
        ("10.9.0.0/24", address(layout, Attachment("w", "in")).split("/")[0])
    ]


def test_ends_of_a_single_address_are_too_small_for_a_gateway() -> None:
    with pytest.raises(ProblemError, match=r"10\.1\.0\.7/32 is too small for 2 ports"):
        straight(1, client="10.1.0.7/32")


def test_a_link_of_two_addresses_is_enough_for_two() -> None:
    layout = straight(1, client="10.1.0.0/31")
    assert {address(layout, CLIENT), address(layout, Attachment("v1", "in"))} == {"10.1.0.0/31", "10.1.0.1/31"}


def test_a_pool_that_is_used_up_is_named() -> None:
    with pytest.raises(ProblemError, match=r"pool 100\.64\.0\.0/26 has no network left"):
        straight(3, pool="100.64.0.0/26")


def test_ipv6_ends_have_ipv6_links_and_routes_between() -> None:
    layout = straight(3, client="2001:db8:1::/64", server="2001:db8:9::/64")
    assert all(ip_network(link.cidr).version == 6 for link in layout.links)
    assert all(ip_network(r.destination).version == 6 for routes in layout.routes.values() for r in routes)
    names = ["client", "v1", "v2", "v3", "server"]
    assert walk(layout, names, "client", SERVER) == names
    assert [r.destination for r in layout.routes[CLIENT]] == ["::/0"]


def test_ends_of_different_ip_versions_are_refused_by_name() -> None:
    with pytest.raises(ProblemError, match=r"client 10\.1\.0\.0/24, server 2001:db8:9::/64") as refused:
        straight(2, server="2001:db8:9::/64")
    assert refused.value.problem.word == "bad-path"


def test_ends_may_not_meet_without_a_vnf_between() -> None:
    with pytest.raises(ProblemError, match="client and server meet on one link"):
        lay_out(ends(), [ChainLink("l", (CLIENT, SERVER))], [])
