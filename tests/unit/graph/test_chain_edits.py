"""What a change makes of a chain as ordered, and what is refused by its field."""

from __future__ import annotations

import pytest

from vnfm.graph.chainfile import read_chain
from vnfm.graph.edit import edited, touched, with_instances
from vnfm.model.change import ChainChange, Insert, Remove, Reorder, Replace, Scale, Swap
from vnfm.model.needs import Isolation
from vnfm.model.problem import ProblemError

CHAIN = read_chain(
    b"""
chain: c
ends: {client: {cidr: 10.1.0.0/24}, server: {cidr: 10.9.0.0/24}}
vnfs: {fw: {vnfd: FW}, rt: {vnfd: RT, level: kernel}, gw: {vnfd: GW}}
paths:
  web: {match: {ip_protocol: tcp}, hops: [client, fw, {vnf: rt, in: lan, out: wan}, gw, server]}
  rest: {hops: [client, fw, server]}
rules:
  - {kind: anti-affinity, vnfs: [fw, rt]}
  - {kind: affinity, vnfs: [fw, rt, gw]}
""",
    "c.yaml",
)


def hops(change: ChainChange, path: str = "web") -> list[str]:
    after = edited(CHAIN, change)
    return [h.name for p in after.paths if p.name == path for h in p.hops]


def test_an_insert_stands_beside_its_neighbour_on_every_path_or_on_the_one_named() -> None:
    assert hops(Insert("x", "X", after="fw")) == ["client", "fw", "x", "rt", "gw", "server"]
    assert hops(Insert("x", "X", after="fw"), "rest") == ["client", "fw", "x", "server"]
    assert hops(Insert("x", "X", before="gw"), "rest") == ["client", "fw", "server"]
    one = Insert("x", "X", before="server", path="rest")
    assert (hops(one), hops(one, "rest")) == (
        ["client", "fw", "rt", "gw", "server"],
        ["client", "fw", "x", "server"],
    )


def test_what_is_removed_leaves_paths_and_rules() -> None:
    after = edited(CHAIN, Remove("rt"))
    assert [h.name for h in after.paths[0].hops] == ["client", "fw", "gw", "server"]
    assert [v.alias for v in after.vnfs] == ["fw", "gw"]
    assert [r.vnfs for r in after.rules] == [("fw", "gw")]


def test_reordered_hops_keep_their_ports() -> None:
    after = edited(CHAIN, Reorder(("rt", "gw", "fw"), "web"))
    assert [h.name for h in after.paths[0].hops] == ["client", "rt", "gw", "fw", "server"]
    assert (after.paths[0].hops[1].ingress_cp, after.paths[0].hops[1].egress_cp) == ("lan", "wan")


def test_a_swap_keeps_the_word_on_isolation_and_drops_names_of_ports() -> None:
    after = edited(CHAIN, Swap("rt", "OTHER", "small"))
    rt = after.vnf("rt")
    assert rt
    assert (rt.vnfd_id, rt.flavour_id, rt.isolation) == ("OTHER", "small", Isolation.KERNEL)
    assert after.paths[0].hops[2].ingress_cp == ""


def test_replacing_and_scaling_leave_the_descriptor_to_others() -> None:
    assert edited(CHAIN, Replace("fw")) == CHAIN
    assert edited(CHAIN, Scale("fw", 3)) == CHAIN
    scaled = with_instances(CHAIN, "fw", {"vdu": 3}).vnf("fw")
    assert scaled
    assert scaled.instances == {"vdu": 3}
    assert touched(Reorder(("fw",))) == ""
    assert touched(Remove("fw")) == "fw"


@pytest.mark.parametrize(
    ("change", "word", "text"),
    [
        (Insert("fw", "X", after="rt"), "duplicate-name", r"insert\.alias: a VNF of the chain is called 'fw'"),
        (Insert("client", "X", after="rt"), "duplicate-name", r"insert\.alias: an end of the chain"),
        (Insert("a/b", "X", after="rt"), "bad-name", r"insert\.alias: 'a/b' is no name"),
        (Insert("x", "X"), "bad-value", r"insert: expected either before or after"),
        (Insert("x", "X", before="fw", after="rt"), "bad-value", r"insert: expected either before or after"),
        (
            Insert("x", "X", after="nat"),
            "unknown-hop",
            r"insert\.after: 'nat' is neither .* client, server, fw, rt, gw",
        ),
        (Insert("x", "X", before="client"), "bad-path", r"insert\.before: path 'web' has nothing before its end"),
        (Insert("x", "X", after="server"), "bad-path", r"insert\.after: path 'web' has nothing behind its end"),
        (Insert("x", "X", after="fw", path="no"), "unknown-path", r"insert\.path: there is no path 'no'.* web, rest"),
        (Insert("x", "X", after="rt", path="rest"), "unknown-hop", r"insert\.after: 'rt' is not on path 'rest'"),
        (Remove("nat"), "unknown-vnf", r"remove\.alias: there is no VNF 'nat'.* fw, rt, gw"),
        (Remove("client"), "unknown-vnf", r"remove\.alias: there is no VNF 'client'"),
        (Remove("fw"), "bad-path", r"remove\.alias: without 'fw' the ends of path 'rest' would meet"),
        (
            Reorder(("rt", "fw", "gw")),
            "unknown-path",
            r"reorder\.path: the chain has several; expected one of web, rest",
        ),
        (
            Reorder(("rt", "fw"), "web"),
            "unknown-vnf",
            r"reorder\.aliases: expected each VNF .* \(fw, rt, gw\), found rt, fw",
        ),
        (Reorder(("fw", "rt", "gw"), "web"), "bad-value", r"reorder\.aliases: path 'web' has that order already"),
        (Swap("nat", "X"), "unknown-vnf", r"swap\.alias"),
        (Swap("fw", ""), "bad-value", r"swap\.vnfd_id"),
        (Replace("nat"), "unknown-vnf", r"replace\.alias"),
        (Scale("nat", 2), "unknown-vnf", r"scale\.alias"),
        (Scale("fw", 0), "bad-value", r"scale\.replicas: is 0; expected 1 or more"),
    ],
    ids=lambda v: v if isinstance(v, str) and "\\" not in v and " " not in v else None,
)
def test_what_makes_no_sense_is_refused_by_its_field(change: ChainChange, word: str, text: str) -> None:
    with pytest.raises(ProblemError, match=text) as refused:
        edited(CHAIN, change)
    assert refused.value.problem.word == word
    assert refused.value.problem.instance == "c"
