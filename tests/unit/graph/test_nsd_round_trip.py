"""Whatever a chain says, its NSD says the same."""

from __future__ import annotations

import ipaddress

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vnfm.graph.chainfile import read_chain
from vnfm.graph.nsdtext import to_nsd
from vnfm.model.chain import ChainEnd, ChainRule, ChainVnf, ForwardingPath, Match, PathHop, ServiceChain
from vnfm.model.needs import Isolation

# Names that YAML could take for something else, or that the NSD's own nodes are called by, are wanted here.
NAMES = st.one_of(
    st.from_regex(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,12}[A-Za-z0-9])?", fullmatch=True),
    st.sampled_from(
        ["service", "nfp_default", "at_fw", "client_net", "null", "true", "no", "12", "1e3", "0x1F", "1.5"]
    ),
)
IDS = st.one_of(st.just(""), st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=30))
CPS = st.one_of(st.just(""), st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,9}", fullmatch=True))


@st.composite
def networks(draw: st.DrawFn, number: int) -> str:
    """A network of its own for each number."""
    if draw(st.booleans()):
        return f"10.{number}.0.0/{draw(st.integers(16, 32))}"
    return str(ipaddress.ip_network(f"2001:db8:{number:x}::/{draw(st.integers(48, 128))}"))


@st.composite
def matches(draw: st.DrawFn) -> Match:
    protocol = draw(st.one_of(st.sampled_from([6, 17, 132]), st.integers(0, 255)))
    ports = st.integers(0, 65535) if protocol in (6, 17, 132) else st.just(0)
    return Match(
        draw(st.one_of(st.just(""), networks(77))),
        draw(st.one_of(st.just(""), networks(78))),
        protocol,
        draw(ports),
        draw(st.integers(0, 4094)),
        draw(st.integers(0, 63)),
        draw(ports),
    )


@st.composite
def chains(draw: st.DrawFn) -> ServiceChain:
    names = draw(st.lists(NAMES, min_size=2, max_size=8, unique=True))
    count = draw(st.integers(2, min(4, len(names))))
    ends = tuple(ChainEnd(name, draw(networks(i))) for i, name in enumerate(names[:count]))
    levels = st.one_of(st.none(), st.sampled_from(list(Isolation)))
    places = st.lists(NAMES, max_size=3, unique=True).map(tuple)
    vnfs = tuple(
        ChainVnf(
            name, draw(IDS.filter(bool)), draw(IDS), draw(IDS), draw(levels), sites=draw(places), zones=draw(places)
        )
        for name in names[count:]
    )
    paths = []
    every = draw(st.lists(matches(), min_size=1, max_size=3, unique=True))
    for number, match in enumerate(every):
        middle = draw(st.permutations([v.alias for v in vnfs]))
        if number:  # the first path visits all, so that none is left over
            middle = middle[: draw(st.integers(0, len(middle)))]
        first, last = draw(st.permutations([e.name for e in ends]))[:2]
        hops = (PathHop(first), *(PathHop(name, draw(CPS), draw(CPS)) for name in middle), PathHop(last))
        bound = draw(st.one_of(st.none(), st.integers(1, 10**9)))
        paths.append(ForwardingPath(f"{draw(NAMES)}-{number}", hops, match, bound))
    rules: list[ChainRule] = []
    if len(vnfs) > 1:
        scopes = st.sampled_from(["NFVI_NODE", "RACK", "ZONE", "ZONE_GROUP", "NFVI_POP"])
        members = st.lists(st.sampled_from([v.alias for v in vnfs]), min_size=2, unique=True).map(tuple)
        kinds = st.sampled_from(["affinity", "anti-affinity"])
        rules = draw(st.lists(st.builds(ChainRule, kinds, scopes, members), max_size=3))
    latency = draw(st.one_of(st.none(), st.integers(1, 10**9)))
    return ServiceChain(draw(NAMES), ends, vnfs, tuple(paths), latency, tuple(rules))


@settings(deadline=None)
@given(chains())
def test_an_nsd_reads_back_as_the_chain_that_it_was_written_from(chain: ServiceChain) -> None:
    text = to_nsd(chain)
    assert read_chain(text.encode(), "nsd.yaml") == chain
    assert to_nsd(chain) == text


@settings(deadline=None)
@given(chains())
def test_every_name_in_an_nsd_leads_somewhere(chain: ServiceChain) -> None:
    topology = yaml.safe_load(to_nsd(chain))["topology_template"]
    nodes = topology["node_templates"]
    for node in nodes.values():
        for requirement in node.get("requirements", []):
            for target in requirement.values():
                assert (target["node"] if isinstance(target, dict) else target) in nodes
    for group in topology["groups"].values():
        assert set(group["members"]) <= set(nodes)
    for policy in topology.get("policies", []):
        for body in policy.values():
            assert set(body["targets"]) <= set(nodes)
