"""A chain's file, short or long: what is read, and how each mistake is told."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from vnfm.graph.chainfile import read_chain
from vnfm.graph.yamltree import MAX_BYTES
from vnfm.model.chain import ChainRule, Match, PathHop
from vnfm.model.needs import Isolation
from vnfm.model.problem import Problem, ProblemError

CHAINS = Path(__file__).parents[3] / "descriptors" / "chains"

GOOD = """\
chain: edge
ends:
  client: {cidr: 10.1.0.0/24}
  server: {cidr: 10.9.0.0/24}
vnfs:
  fw: {vnfd: v-fw, flavour: small, level: kernel}
  rt: {vnfd: v-rt}
path: [client, fw, rt, server]
"""


def refused(text: str | bytes) -> Problem:
    """The problem with which a file is refused."""
    with pytest.raises(ProblemError) as caught:
        read_chain(text.encode() if isinstance(text, str) else text, "edge.yaml")
    return caught.value.problem


def test_the_sample_chain_reads_the_same_in_both_forms() -> None:
    short = read_chain((CHAINS / "vcpe.yaml").read_bytes(), "vcpe.yaml")
    long = read_chain((CHAINS / "vcpe-nsd.yaml").read_bytes(), "vcpe-nsd.yaml")
    assert short == long
    assert [hop.name for hop in short.paths[0].hops] == ["client", "fw", "rt", "gw", "server"]


def test_what_a_chain_may_say() -> None:
    chain = read_chain(
        b"""\
chain: edge
ends: {a: {cidr: 10.1.0.0/24}, b: {cidr: "2001:db8::/64"}}
vnfs:
  fw: {vnfd: v-fw, flavour: small, level: 2, instantiation_level: big}
  rt: {vnfd: v-rt, level: NESTED, sites: [edge, hub], zones: z1}
paths:
  web: {match: {ip_protocol: tcp, destination_port: 80, source_cidr: 10.1.0.0/25, dscp: 46}, hops: [a, fw, b]}
  rest: {hops: [a, {vnf: rt, in: wan, out: lan}, b], latency_us: 900}
latency_us: 5000
rules: [{kind: anti-affinity, scope: nfvi_node, vnfs: [fw, rt]}]
"""
    )
    fw, rt = chain.vnf("fw"), chain.vnf("rt")
    assert fw is not None
    assert rt is not None
    assert (fw.flavour_id, fw.level_id, fw.isolation) == ("small", "big", Isolation.NESTED)
    assert rt.isolation is Isolation.NESTED
    web, rest = chain.paths
    assert web.match == Match(source_cidr="10.1.0.0/25", ip_protocol=6, destination_port=80, dscp=46)
    assert rest.hops[1] == PathHop("rt", "wan", "lan")
    assert chain.max_latency_us == 5000
    assert [chain.latency_bound_us(p) for p in ("web", "rest")] == [5000, 900]
    assert (rt.sites, rt.zones, fw.sites) == (("edge", "hub"), ("z1",), ())
    assert chain.rules == (ChainRule("anti-affinity", "NFVI_NODE", ("fw", "rt")),)


@pytest.mark.parametrize(
    ("old", "new", "word", "place", "says"),
    [
        ("v-rt}", "v-rt, runtime: VM}", "unknown-key", "edge.yaml:7: vnfs.rt.runtime", "Expected vnfd, flavour"),
        ("path:", "pth:", "unknown-key", "edge.yaml:8: pth", "Expected chain, ends"),
        ("  rt: {vnfd: v-rt}", "  fw: {vnfd: v-rt}", "duplicate-vnf", "edge.yaml:7: vnfs.fw", "first on line 6"),
        ("server: {cidr: 10.9", "client: {cidr: 10.9", "duplicate-key", "edge.yaml:4: ends.client", "first on line 3"),
        ("fw, rt, server]", "fw, rt, fw, server]", "duplicate-vnf", "path[3]", "first as path[1]"),
        ("fw, rt, server]", "fw, dpi, rt, server]", "unknown-hop", "path[2]", "Expected one of client, fw, rt, server"),
        ("[client, fw, rt, server]", "[client, fw, rt]", "path-ends", "path[2]", "the path ends at the VNF 'rt'"),
        ("[client, fw, rt, server]", "[fw, rt, server]", "path-ends", "path[0]", "begins at the VNF 'fw'"),
        ("[client, fw, rt, server]", "[client, fw, server, rt, client]", "path-ends", "path[2]", "in the middle"),
        ("[client, fw, rt, server]", "[client]", "path-ends", "edge.yaml:8: path", "fewer than two"),
        ("[client, fw, rt, server]", "client", "bad-value", "edge.yaml:8: path", "a list of hops"),
        ("10.1.0.0/24", "10.1.0.300/24", "bad-cidr", "ends.client.cidr", "such as 10.1.0.0/24"),
        ("10.1.0.0/24", "10.1.0.7/24", "bad-cidr", "ends.client.cidr", "the network is 10.1.0.0/24"),
        ("10.1.0.0/24", "10.1.0.0", "bad-cidr", "ends.client.cidr", "is no network"),
        ("10.9.0.0/24", "10.1.0.128/25", "overlapping-ends", "ends.server", "overlaps 10.1.0.0/24 of end 'client'"),
        ("level: kernel", "level: hypervisor", "unknown-level", "vnfs.fw.level", "3 kernel, 4 machine"),
        ("level: kernel", "level: 5", "unknown-level", "vnfs.fw.level", "0 none"),
        ("level: kernel", "level: true", "unknown-level", "vnfs.fw.level", "0 none"),
        ("path:", "rules: [{kind: affinity, vnfs: [fw, ids]}]\npath:", "unknown-vnf", "rules[0]", "'ids'"),
        ("path:", "rules: [{kind: near, vnfs: [fw, rt]}]\npath:", "bad-value", "rules[0]", "anti-affinity"),
        ("path:", "latency_us: -1\npath:", "bad-value", "latency_us", "whole number from 1"),
        ("{vnfd: v-rt}", "{}", "missing-key", "vnfs.rt.vnfd", "the VNFD's id"),
        ("{vnfd: v-rt}", "{vnfd: v-rt, sites: []}", "bad-value", "vnfs.rt.sites", "a list of sites"),
        ("{vnfd: v-rt}", "{vnfd: v-rt, zones: [a, a]}", "bad-value", "vnfs.rt.zones", "names one twice"),
        ("{vnfd: v-rt}", "{vnfd: v-rt, zones: ['a,b']}", "bad-value", "vnfs.rt.zones[0]", "without commas"),
        ("{vnfd: v-rt}", "{vnfd: v-rt, sites: {a: 1}}", "bad-value", "vnfs.rt.sites", "a list of sites"),
        ("{vnfd: v-rt}", "{vnfd: 17}", "bad-value", "vnfs.rt.vnfd", "in quotes"),
        ("fw, rt, server]", "fw, server]", "vnf-off-path", "vnfs.rt", "take it out"),
        ("chain: edge", "chain: ../etc", "bad-name", "edge.yaml:1: chain", "letters, digits"),
        ("rt: {vnfd: v-rt}", "server: {vnfd: v-rt}", "duplicate-name", "vnfs.server", "is an end too"),
        ("chain: edge\n", "", "missing-key", "the file", "chain: NAME"),
    ],
)
def test_a_mistake_is_named_and_placed(old: str, new: str, word: str, place: str, says: str) -> None:
    assert GOOD.count(old) == 1
    problem = refused(GOOD.replace(old, new))
    assert problem.word == word
    assert place in problem.detail.splitlines()[0]
    assert says in problem.detail


def test_all_mistakes_are_told_at_once() -> None:
    text = (
        GOOD.replace("10.1.0.0/24", "nowhere").replace("level: kernel", "level: 9").replace("fw, rt,", "fw, dpi, rt,")
    )
    assert [line.split(": ")[1] for line in refused(text).detail.splitlines()] == [
        "ends.client.cidr",
        "vnfs.fw.level",
        "path[2]",
    ]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "bad-yaml"),
        ("chain: [", "bad-yaml"),
        ("chain: a\n\tends: b", "bad-yaml"),
        (b"chain: \xff\xfe", "bad-yaml"),
        ("chain: a\0b", "bad-yaml"),
        ("chain: a\n---\nchain: b\n", "bad-yaml"),
        ("? {a: b}\n: c", "bad-yaml"),
        ("- chain: a", "missing-key"),
        ("chain", "missing-key"),
        ("chain: !!python/object/apply:os.system [true]", "bad-name"),
        ("chain: " + "9" * 5000, "bad-name"),
        ("a: " + "[" * 10_000, "too-large"),
        ("a: [" + "1," * 60_000 + "]", "too-large"),
        ("chain: a\n" + "#" * MAX_BYTES, "too-large"),
    ],
)
def test_hostile_files_are_refused_quickly(text: str | bytes, word: str) -> None:
    started = time.monotonic()
    assert refused(text).word == word
    assert time.monotonic() - started < 5


def test_a_yaml_bomb_does_not_go_off() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    problem = refused("\n".join(lines))
    assert problem.word == "bad-yaml"
    assert "anchors" in problem.detail


@pytest.mark.parametrize(
    ("old", "new", "word", "says"),
    [
        ("profile_element: fw", "profile_element: dpi", "unknown-hop", "'dpi'"),
        ("internal_virtual_link: client_net", "internal_virtual_link: nowhere", "unknown-node", "'nowhere'"),
        ("cidr: 10.1.0.0/24", "cidr: 10.1.0.1/24", "bad-cidr", "10.1.0.0/24"),
        ("type: tosca.nodes.nfv.NFP\n", "type: tosca.nodes.nfv.NFQ\n", "missing-key", "forwarding path"),
        ("element: at_fw", "element: at_rt", "duplicate-vnf", "'rt' stands on the path twice"),
        ("type: tosca.nodes.nfv.NS\n", "type: tosca.nodes.Root\n", "missing-key", "the network service itself"),
        ("      name: vcpe", "      nam: vcpe", "missing-key", "the service's name"),
    ],
)
def test_mistakes_in_an_nsd_are_named(old: str, new: str, word: str, says: str) -> None:
    text = (CHAINS / "vcpe-nsd.yaml").read_text()
    assert old in text
    problem = refused(text.replace(old, new, 1))
    assert problem.word == word
    assert says in problem.detail


def test_a_vendors_own_vnf_type_counts_as_a_vnf() -> None:
    text = (CHAINS / "vcpe-nsd.yaml").read_text()
    own = text.replace("tosca.nodes.nfv.VNF\n", "acme.Firewall\n").replace(
        "topology_template:",
        "node_types:\n  acme.Base: {derived_from: tosca.nodes.nfv.VNF}\n  acme.Firewall: {derived_from: acme.Base}\n"
        "topology_template:",
    )
    assert read_chain(own.encode()) == read_chain(text.encode())


def test_types_that_derive_from_each_other_end() -> None:
    text = (CHAINS / "vcpe-nsd.yaml").read_text()
    loop = "node_types:\n  a.B: {derived_from: a.C}\n  a.C: {derived_from: a.B}\ntopology_template:"
    looping = text.replace("tosca.nodes.nfv.VNF\n", "a.B\n").replace("topology_template:", loop)
    assert refused(looping).word == "unknown-hop"


def test_a_port_is_matched_beside_a_protocol_that_has_ports() -> None:
    text = b"""
chain: c
ends: {a: {cidr: 10.1.0.0/24}, b: {cidr: 10.2.0.0/24}}
vnfs: {fw: {vnfd: fw}}
paths:
  web: {match: {MATCH}, hops: [a, fw, b]}
"""
    chain = read_chain(text.replace(b"MATCH", b"ip_protocol: udp, source_port: 5060"), "c.yaml")
    assert chain.paths[0].match == Match(ip_protocol=17, source_port=5060)
    for lacking in (b"destination_port: 80", b"ip_protocol: icmp, source_port: 9"):
        with pytest.raises(ProblemError, match=r"paths\.web: matches a port, and its protocol has none") as refused:
            read_chain(text.replace(b"MATCH", lacking), "c.yaml")
        assert refused.value.problem.word == "bad-value"
