"""From a chain to steps: what is decided, what people are told of it, and what the steps promise."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from ipaddress import ip_interface, ip_network
from uuid import UUID, uuid4, uuid5

import networkx as nx
import pytest
from lcm_samples import IMAGE, OPERATION, chain, hosts, packages, planned, vnfd

from vnfm.graph.chainfile import read_chain
from vnfm.lcm.planning import Planned, refused
from vnfm.lcm.recipes.chain_create import chain_create
from vnfm.lcm.recipes.terminate import Standing, terminate
from vnfm.lcm.steps import Step, StepKind, mint, nodes
from vnfm.model.codec import decode, encode
from vnfm.model.needs import Isolation
from vnfm.model.placement import Runtime
from vnfm.model.problem import ProblemError
from vnfm.model.resources import Owner, ResourceKind
from vnfm.model.vdu import ImageFormat, SwImage
from vnfm.placement.plan import Plan, Proof, Refusal
from vnfm.placement.snapshot import Snapshot
from vnfm.vim.convert import compute_out, owner_out


def steps_of(made: Planned) -> tuple[Step, ...]:
    assert made.facts, made.document
    return chain_create(made.facts)


def usual(operation: str = OPERATION, backs: int = 1) -> tuple[Step, ...]:
    known = packages(vnfd("fw"), vnfd("rt", Isolation.KERNEL, backs=backs))
    return steps_of(planned(chain("fw", "rt"), known, operation=operation))


def test_needs_form_a_dag_that_the_order_of_the_steps_respects() -> None:
    steps = usual(backs=3)
    graph = nx.DiGraph((need, s.key) for s in steps for need in s.needs)
    assert nx.is_directed_acyclic_graph(graph)
    seen: set[str] = set()
    for step in steps:
        assert seen >= set(step.needs), step.key
        seen.add(step.key)
    assert len(seen) == len(steps) == len(nodes(steps))


def test_every_resource_is_needed_by_what_refers_to_it() -> None:
    steps = usual()
    maker = {s.allocates: s.key for s in steps if s.allocates}
    for step in steps:
        ports = step.compute.ports if step.compute else (step.sap.port,) if step.sap else ()
        assert {maker[p.link_id] for p in ports} <= set(step.needs)
        if step.path:
            assert {maker[h.resource_id] for h in step.path.hops} <= set(step.needs)
        if step.probe:
            assert maker[step.probe.path_id] in step.needs


def test_the_same_operation_mints_the_same_ids_and_another_one_others() -> None:
    first, again, other = usual(), usual(), usual("22222222-2222-4222-8222-222222222222")
    assert first == again
    ids = [s.allocates for s in first if s.allocates]
    assert len(set(ids)) == len(ids)
    assert not set(ids) & {s.allocates for s in other}


def test_steps_survive_the_database() -> None:
    steps = usual(backs=2)
    assert decode(tuple[Step, ...], encode(list(steps))) == steps


def test_each_instance_of_a_vdu_is_a_vnfc_with_an_address_of_its_own_on_the_internal_link() -> None:
    steps = [s for s in usual(backs=3) if s.compute and s.lane == "rt"]
    assert [s.key for s in steps] == ["vnfc rt/front/0", "vnfc rt/back/0", "vnfc rt/back/1", "vnfc rt/back/2"]
    inner = [p for s in steps if s.compute for p in s.compute.ports if p.cp_id in ("in", "b")]
    addresses = [p.ips[0] for p in inner]
    assert len(set(addresses)) == 4
    (link,) = {p.link_id for p in inner}
    made = next(s.link for s in usual(backs=3) if s.allocates == link)
    assert made
    assert all(ip_interface(a) in ip_network(made.cidrs[0]) for a in addresses)
    assert len(made.members) == 4


def test_a_vnfs_own_small_network_is_used_from_its_first_address() -> None:
    known = packages(vnfd("fw", cidr="192.168.7.0/29", backs=5))
    computes = [s.compute for s in steps_of(planned(chain("fw"), known)) if s.compute]
    inner = [ip_interface(p.ips[0]) for c in computes for p in c.ports if p.cp_id in ("in", "b")]
    assert {a.network for a in inner} == {ip_network("192.168.7.0/29")}
    assert len({a.ip for a in inner}) == 6


def test_a_vnfs_own_network_that_is_too_small_is_named() -> None:
    known = packages(vnfd("fw", cidr="192.168.7.0/29", backs=6))
    with pytest.raises(ProblemError, match=r"VNF fw: network 192\.168\.7\.0/29 of its link vl is too small for 7"):
        steps_of(planned(chain("fw"), known))


def test_an_image_of_two_vnfs_is_brought_once() -> None:
    images = [s for s in usual() if s.kind is StepKind.PUT_IMAGE]
    assert [s.image.sha256 for s in images if s.image] == [IMAGE.sha256]


@pytest.mark.parametrize(
    ("image", "held"),
    [(SwImage("far", "1", ImageFormat.OCI_ARCHIVE, "registry/far:1", "", 0), True), (IMAGE, False)],
    ids=["reference", "lost"],
)
def test_an_image_that_is_not_in_the_package_is_named(image: SwImage, held: bool) -> None:
    made = planned(chain("fw"), packages(vnfd("fw", image=image), held=held))
    with pytest.raises(ProblemError, match=rf"VNF fw: software image {image.name} \({image.path}\)") as refused_:
        steps_of(made)
    assert refused_.value.problem.word == "image-missing"


def test_guests_have_longer_to_answer_a_probe() -> None:
    def patience(level: Isolation) -> float:
        found = [s.probe for s in steps_of(planned(chain("fw"), packages(vnfd("fw", level)))) if s.probe]
        assert found[0]
        return found[0].patience_s

    assert patience(Isolation.KERNEL) > patience(Isolation.TENANT)


def test_a_hundred_vnfs_are_planned_and_their_steps_are_one_dag() -> None:
    names = [f"v{n}" for n in range(100)]
    made = planned(chain(*names), packages(*(vnfd(n) for n in names)), hosts(4))
    steps = steps_of(made)
    assert Counter(s.kind for s in steps)[StepKind.COMPUTE] == 200
    assert nx.is_directed_acyclic_graph(nx.DiGraph((need, s.key) for s in steps for need in s.needs))


# ---- planning ----


def test_a_gpu_is_asked_for_where_there_is_one_and_of_who_has_it() -> None:
    plain = vnfd("fw")
    (flavour,) = plain.flavours
    front = replace(flavour.vdus[0], needs=replace(flavour.vdus[0].needs, gpus=2))
    known = packages(replace(plain, flavours=(replace(flavour, vdus=(front, *flavour.vdus[1:])),)))
    assert isinstance(planned(chain("fw"), known).outcome, Refusal)
    without, other = hosts().hosts
    equipped = replace(other, cells=(replace(other.cells[0], gpus=2),))
    made = planned(chain("fw"), known, Snapshot.of(1, [without, equipped]))
    asked = {s.compute.name: (s.compute.host, s.compute.gpus) for s in steps_of(made) if s.compute}
    assert asked["front-0"] == (equipped.id, 2)
    assert asked["back-0"][1] == 0
    (step,) = [s for s in steps_of(made) if s.compute and s.compute.gpus]
    assert step.compute is not None
    assert compute_out(step.compute, owner_out(Owner("t"), 1, "m"), {}).gpus == 2


def test_a_need_lowered_or_raised_changes_the_realization() -> None:
    def runtime(level: Isolation) -> Runtime:
        outcome = planned(chain("fw"), packages(vnfd("fw", level))).outcome
        assert isinstance(outcome, Plan)
        return outcome.assignments[0].runtime

    assert runtime(Isolation.TENANT) is Runtime.CONTAINER
    assert runtime(Isolation.KERNEL) is Runtime.KATA


def test_the_chains_own_word_on_isolation_is_told_in_the_reasons() -> None:
    made = planned(chain("fw", "rt", per_vnf=", level: kernel"), packages(vnfd("fw"), vnfd("rt")))
    for vnf in made.document["vnfs"]:
        assert vnf["runtime"] == "KATA"
        assert vnf["reasons"][0].startswith("the chain's file asks for isolation level kernel")


def test_a_chain_holds_a_vnf_to_sites_and_zones() -> None:
    known = packages(vnfd("fw"), vnfd("rt"))
    there = [replace(h, site=site, zone="z1") for h, site in zip(hosts().hosts, ("hub", "edge"), strict=True)]
    made = planned(chain("fw", "rt", per_vnf=", sites: [edge], zones: z1"), known, Snapshot.of(1, there))
    assert isinstance(made.outcome, Plan)
    assert {a.host for a in made.outcome.assignments} == {there[1].id}
    no = planned(chain("fw", per_vnf=", sites: [moon]"), known, Snapshot.of(1, there)).outcome
    assert isinstance(no, Refusal)
    assert "only site moon is allowed" in no.detail


def test_each_path_is_held_to_its_own_bound() -> None:
    paths = """
chain: c
ends: {client: {cidr: 10.1.0.0/24}, server: {cidr: 10.9.0.0/24}}
vnfs: {fw: {vnfd: fw}, rt: {vnfd: rt}}
paths:
  main: {hops: [client, fw, rt, server]}
  voice: {match: {dscp: 46}, hops: [client, fw, server], latency_us: LEAST}
"""
    known = packages(vnfd("fw"), vnfd("rt"))
    asked = {us: read_chain(paths.replace("LEAST", str(us)).encode(), "chain.yaml") for us in (9, 10)}
    assert isinstance(planned(asked[10], known).outcome, Plan)  # a container's 5 us at each of two links' ends
    no = planned(asked[9], known).outcome
    assert isinstance(no, Refusal)
    assert (no.proof, no.minimal_change) == (Proof.LATENCY, "raise latency bound of path voice to 10 us")


def test_links_are_told_by_name_and_not_by_id() -> None:
    document = planned(chain("fw", "rt"), packages(vnfd("fw"), vnfd("rt"))).document
    assert [link["id"] for link in document["links"]] == ["client-fw", "fw-rt", "rt-server"]
    assert all(ip_network(link["cidr"]) for link in document["links"])


def test_a_refusal_says_why_and_what_would_help_and_decides_nothing() -> None:
    only_containers = hosts(runtimes=frozenset({Runtime.CONTAINER}))
    made = planned(chain("fw"), packages(vnfd("fw", Isolation.KERNEL)), only_containers)
    assert isinstance(made.outcome, Refusal)
    assert made.facts is None
    assert made.document["feasible"] is False
    assert made.document["refused"]["detail"]
    assert made.document["refused"]["minimal_change"]
    assert made.document["vnfs"] == []
    error = refused(made.outcome, {"far": "no plugin answers"}).problem
    assert error.word == "no-placement"
    assert "smallest change" in error.detail
    assert "VIM far could not be asked: no plugin answers" in error.detail


def test_a_chain_of_an_unknown_vnfd_is_refused_by_name() -> None:
    with pytest.raises(ProblemError, match="rt") as refused_:
        planned(chain("fw", "rt"), packages(vnfd("fw")))
    assert refused_.value.problem.word == "unknown-vnfd"


# ---- terminate ----


def standing(kind: ResourceKind, name: str, number: int) -> Standing:
    return Standing(f"{number:08d}-0000-4000-8000-000000000000", kind, "m", name)


def test_removals_go_path_then_ends_and_vnfcs_then_links_and_never_back() -> None:
    kinds = (ResourceKind.LINK, ResourceKind.SAP, ResourceKind.PATH, ResourceKind.COMPUTE, ResourceKind.LINK)
    steps = terminate(standing(k, f"r{n}", n) for n, k in enumerate(kinds))
    assert all(s.forward_only for s in steps)
    order = {s.key: s.removal.kind for s in steps if s.removal}
    assert len(order) == len(kinds)
    for step in steps:
        assert step.removal
        needed = {order[n] for n in step.needs}
        if step.removal.kind is ResourceKind.LINK:
            assert needed == {ResourceKind.SAP, ResourceKind.COMPUTE}
        elif step.removal.kind is not ResourceKind.PATH:
            assert needed == {ResourceKind.PATH}


def test_a_wave_that_is_empty_does_not_break_the_order() -> None:
    steps = terminate([standing(ResourceKind.PATH, "p", 1), standing(ResourceKind.LINK, "l", 2)])
    assert steps[1].needs == (steps[0].key,)


def test_nothing_standing_is_nothing_to_do() -> None:
    assert terminate([]) == ()


def test_ids_are_those_of_rfc_4122_by_name() -> None:
    for n in range(50):
        operation = str(uuid4())
        assert mint(operation, "compute", "fw", str(n)) == str(uuid5(UUID(operation), f"compute/fw/{n}"))
