"""Changes of a chain that stands: what is made, what is kept, what goes, and that packets still find their way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from change_bench import Living, assert_sound, known, out_of, sap_address, simple
from hypothesis import event, given, settings
from hypothesis import strategies as st
from lcm_samples import chain, hosts, vnfd

from vnfm.graph.chainfile import read_chain
from vnfm.lcm.changing import GENERATIONS, Changed, Renewal
from vnfm.lcm.steps import Step, StepKind
from vnfm.model.change import ChainChange, Insert, Remove, Reorder, Replace, Scale, Swap
from vnfm.model.needs import Isolation
from vnfm.model.placement import Runtime
from vnfm.model.problem import ProblemError

KNOWN = known(simple("fw"), simple("rt", Isolation.KERNEL), simple("x"), simple("y"), vnfd("big"))


def living(*aliases: str, extra: str = "") -> Living:
    return Living.created(chain(*(aliases or ("fw", "rt")), extra=extra), dict(KNOWN))


def kinds(done: Changed) -> list[str]:
    return [s.kind.value for s in done.steps]


def path_step(done: Changed) -> Step:
    return next(s for s in done.steps if s.kind is StepKind.PATH)


# ---- what each change does ----


def test_an_inserted_vnf_joins_its_neighbours_link_with_blocks_of_its_own() -> None:
    live = living()
    link = next(x for x in live.stands.links if x.key == "fw-rt")
    done = live.do(Insert("x", "x", before="rt"))
    assert kinds(done) == ["COMPUTE", "PATH", "PROBE"]  # its image runs there already
    (new,) = live.of("x")
    assert {p.link_id for p in new.spec.ports} == {link.spec.resource_id}
    assert [p.ips for p in new.spec.ports] == [("100.64.0.5/30",), ("100.64.0.9/30",)]
    assert {r.via for p in new.spec.ports for r in p.routes} == {"100.64.0.6", "100.64.0.10"}
    assert live.hops() == ["client", "fw", "x", "rt", "server"]
    assert_sound(live)


def test_a_switch_waits_for_what_is_new_only() -> None:
    """The microVM rt has been forwarding for long: a path that is broken by the switch is to be known of soon."""
    live = living()

    def patience(change: ChainChange) -> float:
        (probe,) = (s.probe for s in live.do(change).steps if s.probe)
        return probe.patience_s

    container = patience(Insert("x", "x", before="rt"))
    nothing = patience(Remove("x"))
    assert nothing <= 15 < container < patience(Replace("rt"))


def test_what_a_vnf_translates_to_its_own_address_finds_back_through_one_that_was_moved_behind_it() -> None:
    live = living()
    live.do(Insert("x", "x", before="rt"))
    live.do(Reorder(("fw", "rt", "x")))
    (moved,) = live.of("x")
    (rt,) = live.of("rt")
    assert out_of(moved, rt.spec.ports[1].ips[0].split("/")[0]) == "left"


@pytest.mark.parametrize(("side", "beside"), [("after", "client"), ("before", "server"), ("after", "fw")])
def test_what_a_vnf_translates_to_its_own_address_finds_back_through_one_that_is_inserted(
    side: str, beside: str
) -> None:
    live = living()
    live.do(Insert("x", "x", **{side: beside}))
    (new,) = live.of("x")
    names = live.hops()
    for name in ("fw", "rt"):
        (vnfc,) = live.of(name)
        left, right = vnfc.spec.ports
        if names.index(name) < names.index("x"):
            assert out_of(new, right.ips[0].split("/")[0]) == "left"
        else:
            assert out_of(new, left.ips[0].split("/")[0]) == "right"
    assert_sound(live)


def test_removing_what_was_inserted_gives_the_former_path_with_a_higher_generation() -> None:
    live = living()
    before = live.path().spec
    live.do(Insert("x", "x", before="rt"))
    done = live.do(Remove("x"))
    assert live.path().spec.hops == before.hops
    assert live.path().spec.generation > before.generation + GENERATIONS
    assert [s.title for s in done.steps if s.removal] == ["remove CONTAINER x/front"]
    assert all(s.forward_only for s in done.steps if s.removal)


def test_links_that_nobody_is_on_any_more_go_after_whoever_was_on_them() -> None:
    live = living("fw", "rt", "x")
    live.do(Remove("fw"))
    done = live.do(Remove("rt"))
    link = next(s for s in done.steps if s.title == "remove link fw-rt")
    assert link.needs == tuple(s.key for s in done.steps if s.title == "remove KATA rt/front")
    assert [x.key for x in live.stands.links] == ["client-fw", "rt-x", "x-server"]
    assert_sound(live)


def test_whoever_is_healed_comes_back_where_it_was_with_everything_that_it_had() -> None:
    live = living()
    (old,) = live.of("rt")
    done = live.heal(old.resource_id)
    (new,) = live.of("rt")
    assert new.resource_id != old.resource_id
    assert replace(new.spec, resource_id="") == replace(old.spec, resource_id="")
    keep = [s for s in done.steps if s.keep]
    assert [s.title for s in keep] == ["link fw-rt", "link rt-server", "end server"]
    assert {s.link for s in keep if s.link} <= {x.spec for x in live.stands.links}
    assert kinds(done)[-3:] == ["PATH", "PROBE", "TERMINATE"]
    assert_sound(live)


def test_the_dead_do_not_stand_in_the_way_of_the_living() -> None:
    """The host has room for one of each only: a heal fits, a replacement does not."""
    small = Living.created(chain("fw"), dict(KNOWN), hosts(1))
    host = small.snapshot.hosts[0]
    used = sum(r.cpu_milli for r in small.snapshot.reservations)
    cell = replace(host.cells[0], cpu_milli=used)
    small.snapshot = small.snapshot.with_hosts([replace(host, cells=(cell,))])
    with pytest.raises(ProblemError, match="No placement"):
        small.plan(Replace("fw"))
    small.heal(small.of("fw")[0].resource_id)


def test_a_host_that_is_gone_is_replaced_by_another() -> None:
    live = living()
    (old,) = live.of("fw")
    left = [h for h in live.snapshot.hosts if h.id != old.spec.host]
    live.snapshot = hosts().of(2, left, reservations=live.snapshot.reservations)
    live.heal(old.resource_id)
    assert live.of("fw")[0].spec.host == left[0].id
    assert_sound(live)


def test_vnfcs_on_one_link_of_their_vnf_are_made_anew_together_with_the_link() -> None:
    live = living("fw", "big")
    front = next(v for v in live.of("big") if v.vdu_id == "front")
    before = {v.resource_id for v in live.of("big")}
    done = live.heal(front.resource_id)
    assert len(live.of("big")) == 2
    assert not before & {v.resource_id for v in live.of("big")}
    assert [s.title for s in done.steps if s.link and not s.keep] == ["link big/vl"]
    assert [s.title for s in done.steps if s.removal][-1] == "remove link big/vl"
    assert_sound(live)


def test_a_replacement_follows_what_is_asked_of_the_vnf_now() -> None:
    live = living()
    assert live.of("fw")[0].spec.runtime is Runtime.CONTAINER
    ports = live.of("fw")[0].spec.ports
    live.chain = live.chain.held_to("fw", Isolation.KERNEL)
    live.do(Replace("fw"))
    (new,) = live.of("fw")
    assert new.spec.runtime is Runtime.KATA
    assert new.spec.ports == ports


def test_a_swapped_vnf_takes_position_and_addresses_by_the_order_of_its_own_ports() -> None:
    other = simple("z")
    flavour = other.flavours[0]
    renamed = {"left": "wan", "right": "lan"}
    flavour = replace(
        flavour,
        cps=tuple(replace(c, id=renamed[c.id]) for c in flavour.cps),
        external_cps=tuple(replace(e, id=renamed[e.id], cpd_id=renamed[e.cpd_id]) for e in flavour.external_cps),
    )
    live = living()
    live.known |= known(replace(other, flavours=(flavour,)))
    (old,) = live.of("fw")
    done = live.do(Swap("fw", "z"))
    (new,) = live.of("fw")
    assert [p.cp_id for p in new.spec.ports] == ["wan", "lan"]
    assert [(p.ips, p.routes, p.link_id) for p in new.spec.ports] == [
        (p.ips, p.routes, p.link_id) for p in old.spec.ports
    ]
    hop = path_step(done).path.hops[1]
    assert (hop.ingress_cp, hop.egress_cp, hop.resource_id) == ("wan", "lan", new.resource_id)


def test_instances_of_a_hop_are_its_replicas_each_with_blocks_on_both_sides() -> None:
    live = living()
    live.do(Scale("fw", 3))
    hop = next(h for h in live.path().spec.hops if h.name == "fw")
    assert hop.replicas == tuple(v.resource_id for v in sorted(live.of("fw"), key=lambda v: v.index))
    assert len(hop.replicas) == 3
    assert_sound(live)
    done = live.do(Scale("fw", 1))
    assert [s.title for s in done.steps if s.removal] == [
        "remove CONTAINER fw/front #1",
        "remove CONTAINER fw/front #2",
    ]
    assert live.path().spec.hops[1].replicas == ()
    assert_sound(live)


def test_a_replica_that_is_healed_stays_that_replica() -> None:
    live = living()
    live.do(Scale("fw", 3))
    middle = next(v for v in live.of("fw") if v.index == 1)
    others = {v.resource_id for v in live.of("fw")} - {middle.resource_id}
    live.heal(middle.resource_id)
    hop = live.path().spec.hops[1]
    assert {hop.replicas[0], hop.replicas[2]} == others
    assert next(v for v in live.of("fw") if v.index == 1).spec.ports == middle.spec.ports


def test_a_path_in_doubt_is_switched_again_whatever_else_changes() -> None:
    live = living()
    live.stands = replace(live.stands, paths=(replace(live.path(), in_doubt=True),))
    assert "PATH" in kinds(live.do(None, Renewal()))
    assert not live.path().in_doubt


def test_the_chains_rules_hold_for_what_is_inserted() -> None:
    rule = "rules: [{kind: anti-affinity, scope: NFVI_NODE, vnfs: [fw, rt]}]"
    live = living(extra=rule)
    hosts_of = {v.alias: v.spec.host for v in live.stands.vnfcs}
    assert hosts_of["fw"] != hosts_of["rt"]
    live.do(Replace("fw"))
    assert live.of("fw")[0].spec.host != hosts_of["rt"]


def test_a_latency_bound_that_would_not_hold_refuses_the_change() -> None:
    live = living(extra="latency_us: 60")
    for number in range(9):
        before = live.hops()
        try:
            live.do(Insert(f"x{number}", "x", before="rt"))
        except ProblemError:
            break
    assert 4 < len(before) == len(live.hops()) < 12
    refused(live, Insert("last", "x", before="rt"), "meets the latency bounds: path default within 60 us")


# ---- what cannot be ----


def refused(live: Living, asked: ChainChange, text: str) -> None:
    before = live.stands
    with pytest.raises(ProblemError, match=text):
        live.plan(asked)
    assert live.stands == before


def test_chains_of_ipv6_cannot_be_changed_and_the_field_is_named() -> None:
    text = b"""
chain: six
ends: {client: {cidr: "2001:db8:1::/64"}, server: {cidr: "2001:db8:9::/64"}}
vnfs: {fw: {vnfd: fw}}
path: [client, fw, server]
"""
    live = Living.created(read_chain(text, "six.yaml"), dict(KNOWN))
    refused(live, Insert("x", "x", after="client"), r"ends\.client\.cidr: is 2001:db8:1::/64, and only IPv4")


def test_a_vnf_with_one_port_cannot_be_inserted() -> None:
    live = living()
    one = simple("arm")
    flavour = replace(one.flavours[0], external_cps=one.flavours[0].external_cps[:1])
    live.known |= known(replace(one, flavours=(flavour,)))
    refused(live, Insert("x", "arm", before="rt"), "VNF x is entered and left by one port")


def test_an_ends_network_without_room_is_named() -> None:
    text = b"""
chain: tight
ends: {client: {cidr: 10.1.0.0/30}, server: {cidr: 10.9.0.0/24}}
vnfs: {fw: {vnfd: fw}}
path: [client, fw, server]
"""
    live = Living.created(read_chain(text, "tight.yaml"), dict(KNOWN))
    refused(live, Insert("x", "x", after="client"), r"network 10\.1\.0\.0/30 of link client-fw has no /30 left")
    live.do(Insert("x", "x", after="fw"))


def test_more_instances_than_the_vnfd_admits_are_refused() -> None:
    refused(living(), Scale("fw", 5), r"scale\.replicas: VDU front of VNF fw would have 5 instances; .* 1 to 4")


def test_what_stands_as_it_is_wanted_needs_no_operation() -> None:
    refused(living(), Scale("fw", 1), "nothing has to be done")


# ---- several paths ----

FORK = b"""
chain: fork
ends: {client: {cidr: 10.1.0.0/24}, server: {cidr: 10.9.0.0/24}}
vnfs: {fw: {vnfd: fw}, rt: {vnfd: rt}}
paths:
  web: {match: {ip_protocol: 6, destination_port: 80, source_port: 4000}, hops: [client, fw, rt, server]}
  rest: {hops: [client, fw, server]}
"""


def test_links_at_which_paths_fork_are_steered_and_each_port_has_a_gateway_of_its_own() -> None:
    live = Living.created(read_chain(FORK, "fork.yaml"), dict(KNOWN))
    steered = {x.key: x.spec.steered for x in live.stands.links}
    assert all(steered.values()), steered
    client = live.stands.sap("client")
    assert client
    assert (client.spec.port.ips, client.spec.port.routes[0].via) == (("10.1.0.2/24",), "10.1.0.1")
    assert_sound(live)


def test_a_vnf_behind_a_neighbour_of_several_paths_is_on_all_of_them_or_on_the_one_named() -> None:
    live = Living.created(read_chain(FORK, "fork.yaml"), dict(KNOWN))
    live.do(Insert("x", "x", after="fw"))
    assert live.hops("web") == ["client", "fw", "x", "rt", "server"]
    assert live.hops("rest") == ["client", "fw", "x", "server"]
    live.do(Insert("y", "y", after="fw", path="rest"))
    assert live.hops("web") == ["client", "fw", "x", "rt", "server"]
    assert live.hops("rest") == ["client", "fw", "y", "x", "server"]
    assert_sound(live)


def test_instances_at_creation_are_replicas_too() -> None:
    live = Living.created(chain("fw"), known(simple("fw", initial=2)))
    assert len(live.path().spec.hops[1].replicas) == 2
    assert all(x.spec.steered for x in live.stands.links)
    assert_sound(live)


# ---- any sequence ----


@st.composite
def changes(draw: st.DrawFn, live: Living) -> ChainChange:
    aliases = [v.alias for v in live.chain.vnfs]
    kind = draw(st.sampled_from(["insert", "insert", "remove", "reorder", "swap", "replace", "scale", "heal"]))
    alias = draw(st.sampled_from(aliases))
    if kind == "insert":
        side = draw(st.sampled_from(["before", "after"]))
        return Insert(f"n{live.grants}", draw(st.sampled_from(["x", "y", "big"])), **{side: alias})
    if kind == "remove" and len(aliases) > 1:
        return Remove(alias)
    if kind == "reorder" and len(aliases) > 1:
        order = [h.name for h in live.chain.paths[0].hops[1:-1]]
        return Reorder((*order[1:], order[0]))
    if kind == "swap":
        return Swap(alias, draw(st.sampled_from(["x", "y"])))
    if kind == "scale":
        return Scale(alias, draw(st.integers(1, 3)))
    return Replace(alias)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_sequence_of_changes_keeps_the_chain_sound(data: st.DataObject) -> None:
    live = living()
    for _ in range(data.draw(st.integers(1, 7))):
        asked = data.draw(changes(live))
        before = live.path().spec.generation
        try:
            done = live.do(asked)
        except ProblemError as error:
            event(error.problem.word)
            if error.problem.word not in ("bad-value", "no-addresses", "bad-request", "no-placement"):
                raise
            continue
        if any(s.path for s in done.steps):
            assert live.path().spec.generation >= before // GENERATIONS * GENERATIONS + GENERATIONS
        keys = {s.key for s in done.steps}
        assert len(keys) == len(done.steps)
        assert all(set(s.needs) <= keys for s in done.steps)
        assert_sound(live)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_an_insert_and_its_removal_leave_the_path_as_it_was(data: st.DataObject) -> None:
    live = living()
    for _ in range(data.draw(st.integers(0, 3))):
        try:
            live.do(data.draw(changes(live)))
        except ProblemError:
            continue
    hops = live.path().spec.hops
    beside = data.draw(st.sampled_from([h.name for h in hops[:-1]]))
    live.do(Insert("guest", "x", after=beside))
    live.do(Remove("guest"))
    assert live.path().spec.hops == hops
    assert sap_address(live.stands, "client") == "10.1.0.2"
