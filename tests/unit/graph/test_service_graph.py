"""What becomes of a chain and its VNFDs: who meets whom, how many of what, and what does not fit."""

from __future__ import annotations

import pytest

from vnfm.graph.build import build_graph, graph_of_vnfd, instances_at
from vnfm.graph.chainfile import read_chain
from vnfm.graph.servicegraph import Attachment, ServiceGraph
from vnfm.model.connectivity import Cpd, ExtCpd, VirtualLinkDesc
from vnfm.model.needs import Needs
from vnfm.model.policies import InstantiationLevel, ScalingAspect
from vnfm.model.problem import Problem, ProblemError
from vnfm.model.vdu import Vdu
from vnfm.model.vnfd import Flavour, Vnfd


def vdu(name: str, instances: int = 1) -> Vdu:
    return Vdu(name, name, "", 100, 1 << 26, 0, Needs(), initial_instances=instances, max_instances=9)


def two_armed(vnfd_id: str) -> Vnfd:
    """A VNF with `right` written before `left`: the order decides, not the place in the file."""
    flavour = Flavour(
        "default",
        vdus=(vdu("unit"),),
        cps=(Cpd("right", "unit", "", 1), Cpd("left", "unit", "", 0)),
        external_cps=(ExtCpd("right", "right"), ExtCpd("left", "left")),
    )
    return Vnfd(vnfd_id, "p", vnfd_id, "1", "1", (flavour,))


def clustered() -> Vnfd:
    """Two VDUs behind an internal link; one external CP leads to a VDU, one to the link."""
    flavour = Flavour(
        "large",
        vdus=(vdu("front", 2), vdu("store")),
        cps=(
            Cpd("public", "front", "", 0),
            Cpd("front_data", "front", "data", 1),
            Cpd("store_data", "store", "data", 5),
        ),
        virtual_links=(VirtualLinkDesc("data"),),
        external_cps=(ExtCpd("backup", "", "data"), ExtCpd("public", "public")),
        scaling_aspects=(ScalingAspect("load", 3, step_deltas={"front": (1, 2, 4)}),),
        instantiation_levels=(
            InstantiationLevel("small", {"front": 2, "store": 1}, default=True),
            InstantiationLevel("busy", scale_levels={"load": 2}),
        ),
    )
    return Vnfd("v-cluster", "p", "cluster", "1", "1", (flavour,))


def one_armed() -> Vnfd:
    flavour = Flavour("d", vdus=(vdu("u"),), cps=(Cpd("eth", "u", "", 0),), external_cps=(ExtCpd("eth", "eth"),))
    return Vnfd("v-one", "p", "one", "1", "1", (flavour,))


VNFDS = {v.id: v for v in (two_armed("v-a"), two_armed("v-b"), clustered(), one_armed())}


def graph(vnfs: str, paths: str) -> ServiceGraph:
    ends = "ends: {l: {cidr: 10.1.0.0/24}, r: {cidr: 10.2.0.0/24}}"
    return build_graph(read_chain(f"chain: c\n{ends}\nvnfs: {vnfs}\n{paths}\n".encode()), VNFDS)


def refused(vnfs: str, paths: str) -> Problem:
    with pytest.raises(ProblemError) as caught:
        graph(vnfs, paths)
    return caught.value.problem


def test_the_first_external_cp_is_the_way_in_and_the_second_the_way_out() -> None:
    g = graph("{a: {vnfd: v-a}, b: {vnfd: v-b}}", "path: [l, a, b, r]")
    assert [(c.source, c.target) for c in g.crossings()] == [
        (Attachment("l"), Attachment("a", "left")),
        (Attachment("a", "right"), Attachment("b", "left")),
        (Attachment("b", "right"), Attachment("r")),
    ]
    assert [link.id for link in g.links] == ["l-a", "a-b", "b-r"]
    assert g.neighbours("a") == ("l", "b")
    assert g.between("l", "r") == ("a", "b")
    assert g.between("r", "l") == ("b", "a")
    at = g.link_at("b", "left")
    assert at is not None
    assert at.id == "a-b"
    assert g.link_at("b", "nowhere") is None


def test_a_hop_may_name_its_cps() -> None:
    g = graph("{a: {vnfd: v-a}}", "path: [l, {vnf: a, in: right, out: left}, r]")
    assert g.crossings()[0].target == Attachment("a", "right")
    assert g.crossings()[1].source == Attachment("a", "left")


def test_a_way_back_uses_the_links_of_the_way_there() -> None:
    g = graph(
        "{a: {vnfd: v-a}, b: {vnfd: v-b}}",
        "paths: {there: {hops: [l, a, b, r]}, back: {match: {source_cidr: 10.2.0.0/24}, hops: [r, b, a, l]}}",
    )
    assert [c.link_id for c in g.crossings("back")] == ["b-r", "a-b", "l-a"]
    assert all(len(link.members) == 2 for link in g.links)


def test_paths_that_part_share_the_link_at_the_cp_where_they_part() -> None:
    g = graph(
        "{a: {vnfd: v-a}, b: {vnfd: v-b}}",
        "paths: {long: {hops: [l, a, b, r]}, short: {match: {ip_protocol: 1}, hops: [l, a, r]}}",
    )
    shared = g.link_at("a", "right")
    assert shared is not None
    assert set(shared.members) == {
        Attachment("a", "right"),
        Attachment("b", "left"),
        Attachment("b", "right"),
        Attachment("r"),
    }
    assert [c.link_id for c in g.crossings("short")] == ["l-a", shared.id]


def test_a_one_armed_vnf_is_left_where_it_was_entered() -> None:
    g = graph("{o: {vnfd: v-one}}", "path: [l, o, r]")
    (link,) = g.links
    assert link.members == (Attachment("l"), Attachment("o", "eth"), Attachment("r"))


def test_the_inside_of_a_vnf_is_in_the_graph() -> None:
    g = graph_of_vnfd(clustered())
    (member,) = g.vnfs
    assert member.alias == "cluster"
    assert [(v.id, count) for v, count in member.vdus()] == [("front", 2), ("store", 1)]
    ((link, cps),) = member.link_members()
    assert (link.id, [c.id for c in cps]) == ("data", ["front_data", "store_data"])
    assert [e.id for e in member.external_cps()] == ["public", "backup"]
    inner = member.inner_cp("backup")
    assert inner is not None
    assert inner.id == "front_data"
    assert ("vl", "cluster", "data") in g.graph.adj["ext", "cluster", "backup"]
    assert g.graph.has_edge(("cp", "cluster", "store_data"), ("vl", "cluster", "data"))
    assert [count for _, _, count in g.vdus()] == [2, 1]


def test_instances_follow_the_level() -> None:
    flavour = clustered().flavours[0]
    assert instances_at(flavour) == {"front": 2, "store": 1}
    assert instances_at(flavour, "busy") == {"front": 5, "store": 1}, "2 at first, then the steps 1 and 2"
    assert instances_at(flavour, "huge") is None


@pytest.mark.parametrize(
    ("vnf", "word", "says"),
    [
        ("{vnfd: v-x}", "unknown-vnfd", "Onboard it, or choose one of: v-a, v-b, v-cluster, v-one"),
        ("{vnfd: v-a, flavour: gold}", "unknown-flavour", "Expected: default"),
        ("{vnfd: v-cluster, instantiation_level: gold}", "unknown-level", "Expected: busy, small"),
    ],
)
def test_what_a_vnfd_does_not_have_is_named(vnf: str, word: str, says: str) -> None:
    problem = refused(f"{{a: {vnf}}}", "path: [l, a, r]")
    assert problem.word == word
    assert says in problem.detail
    assert problem.instance == "c#vnfs.a"


def test_an_unknown_cp_is_named_with_those_that_are_there() -> None:
    problem = refused("{a: {vnfd: v-a}}", "path: [l, {vnf: a, in: wan, out: lan}, r]")
    assert problem.word == "unknown-cp"
    assert [line.split(" has ")[0] for line in problem.detail.splitlines()] == ["paths.default[1]: 'a'"] * 2
    assert "Expected: left, right" in problem.detail


def test_a_vnf_without_external_cp_cannot_be_chained() -> None:
    closed = Vnfd("v-closed", "p", "closed", "1", "1", (Flavour("d", vdus=(vdu("u"),)),))
    chain = read_chain(
        b"chain: c\nends: {l: {cidr: 10.1.0.0/24}, r: {cidr: 10.2.0.0/24}}\n"
        b"vnfs: {a: {vnfd: v-closed}}\npath: [l, a, r]"
    )
    with pytest.raises(ProblemError) as caught:
        build_graph(chain, {closed.id: closed})
    assert caught.value.problem.word == "no-external-cp"


def test_the_graph_cannot_be_changed() -> None:
    g = graph("{a: {vnfd: v-a}}", "path: [l, a, r]")
    with pytest.raises(Exception, match=r"[Ff]rozen"):
        g.graph.add_node(("end", "x"))
