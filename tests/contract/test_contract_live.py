"""Chains that change while they run: late members, other hops, replicas, matches, traces."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest
from contract_client import Refused, new_id
from contract_live import UDP, altered, another_instance, by_path, eventually, hop, inserted, samples, sibling
from contract_world import Running, World, port

from vnfm.pb.common.v1.common_pb2 import Handle
from vnfm.pb.vim.v1 import vim_pb2 as pb

CHAINS = (pb.CAPABILITY_SAP, pb.CAPABILITY_PATH, pb.CAPABILITY_PROBE)
DSCP_EF = 46


def _ways(answer: pb.ProbePathResponse) -> list[tuple[str, str]]:
    return [(getattr(each, "from"), each.to) for each in answer.hops]


def test_a_late_member_joins_is_led_through_and_leaves(world: World, running: Running) -> None:
    running.needs(*CHAINS, pb.CAPABILITY_STEER)
    request = world.chain()
    made = world.path(request)
    client, one, server = request.hops
    two = inserted(world, request)
    assert world.probe(made).complete, "joining alone changes nothing"

    assert world.path(altered(request, 2, client, one, two, server)).handle.resource_id == request.resource_id
    longer = world.probe(made)
    assert longer.complete, longer
    assert _ways(longer) == [("client", "one"), ("one", "two"), ("two", "server")]

    world.path(altered(request, 3))
    world.terminate(two.compute.resource_id)
    shorter = world.probe(made)
    assert shorter.complete, shorter
    assert _ways(shorter) == [("client", "one"), ("one", "server")]
    links = {each.handle.resource_id: each.state for each in world.caller.query() if each.kind == pb.KIND_LINK}
    assert links == dict.fromkeys(world.links.values(), pb.STATE_RUNNING)


def test_a_late_member_takes_the_place_of_an_early_one(world: World, running: Running) -> None:
    running.needs(*CHAINS, pb.CAPABILITY_STEER)
    request = world.chain()
    made = world.path(request)
    client, one, server = request.hops
    heir = another_instance(world, request)
    world.path(altered(request, 2, client, hop(heir.resource_id, "heir"), server))
    assert _ways(world.probe(made)) == [("client", "heir"), ("heir", "server")]
    world.terminate(one.compute.resource_id)
    assert world.probe(made).complete, "its neighbours do not go with it"


def test_generations_rise_and_only_they_replace(world: World, running: Running) -> None:
    running.needs(*CHAINS, pb.CAPABILITY_STEER)
    request = world.chain()
    world.path(request)
    client, one, server = request.hops
    two = inserted(world, request)
    with pytest.raises(Refused) as refused:
        world.path(altered(request, 1, client, one, two, server))
    assert refused.value.code == grpc.StatusCode.ALREADY_EXISTS
    newer = altered(request, 7, client, one, two, server)
    world.path(newer)
    for older in (request, altered(request, 6)):
        with pytest.raises(Refused) as refused:
            world.path(older)
        assert refused.value.code == grpc.StatusCode.ABORTED
        assert refused.value.retry == "NEVER"
    assert world.path(newer).state == pb.STATE_RUNNING, "the same call again is the same"
    world.path(altered(request, 8))


def test_what_is_not_offered_is_not_joined_late(world: World, running: Running) -> None:
    if pb.CAPABILITY_STEER in running.offer.capabilities:
        pytest.skip(f"{running.target.name} lets members join late")
    link = world.link_request()
    member = world.compute_request(port("in", link.resource_id, "10.98.1.1/24"))
    link.members.add(resource_id=member.resource_id, cp_id="in", runtime=member.runtime, host_id=member.host_id)
    world.link(link)
    with pytest.raises(Refused) as refused:
        world.compute(world.compute_request(port("in", link.resource_id, "10.98.1.5/24")))
    assert refused.value.code == grpc.StatusCode.UNIMPLEMENTED
    assert "CAPABILITY_STEER" in refused.value.problem.detail
    assert world.compute(member).state == pb.STATE_RUNNING


def test_a_match_is_not_ignored_where_it_is_not_offered(world: World, running: Running) -> None:
    running.needs(pb.CAPABILITY_SAP, pb.CAPABILITY_PATH)
    if pb.CAPABILITY_STEER in running.offer.capabilities:
        pytest.skip(f"{running.target.name} takes matches")
    request = world.chain()
    request.match.dscp = DSCP_EF
    with pytest.raises(Refused) as refused:
        world.path(request)
    assert refused.value.code == grpc.StatusCode.UNIMPLEMENTED
    assert "match" in refused.value.problem.detail


def test_replicas_come_and_go(world: World, running: Running) -> None:
    running.needs(*CHAINS, pb.CAPABILITY_STEER, pb.CAPABILITY_BALANCE)
    request = world.chain()
    made = world.path(request)
    client, one, server = request.hops
    spread = pb.Hop()
    spread.CopyFrom(one)
    spread.replicas.extend([one.compute, another_instance(world, request)])
    wider = altered(request, 2, client, spread, server)
    world.path(wider)
    assert world.path(wider).handle.resource_id == request.resource_id
    for _ in range(3):  # each probe may be a flow of its own
        answer = world.probe(made, trace=True)
        assert answer.complete, answer
        assert _ways(answer) == [("client", "one"), ("one", "server")]
        through = {each.resource_id for each in answer.passings if each.hop == "one"}
        assert len(through) == 1, "a flow keeps its instance, both ways"
        assert through <= {each.resource_id for each in spread.replicas}
    world.path(altered(request, 3))
    world.terminate(spread.replicas[1].resource_id)
    assert world.probe(made).complete


def _other_first(replicas: list[Handle]) -> list[Handle]:
    return replicas[::-1]


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (_other_first, "INVALID_ARGUMENT"),
        (lambda replicas: [replicas[0], *replicas], "INVALID_ARGUMENT"),
        (lambda replicas: [*replicas, Handle(resource_id="no such id")], "INVALID_ARGUMENT"),
        (lambda replicas: [replicas[0], Handle(resource_id=new_id())], "FAILED_PRECONDITION"),
    ],
    ids=["another is first", "one twice", "no id", "not there"],
)
def test_replicas_without_sense_are_refused_by_name(
    world: World, running: Running, spoil: Callable[[list[Handle]], list[Handle]], code: str
) -> None:
    running.needs(*CHAINS, pb.CAPABILITY_BALANCE)
    request = world.chain()
    handles = spoil([request.hops[1].compute, Handle(resource_id=new_id())])
    request.hops[1].replicas.extend(handles)
    with pytest.raises(Refused) as refused:
        world.path(request)
    assert refused.value.code.name == code
    assert "hops[1]" in refused.value.problem.detail


@pytest.mark.parametrize(
    "match",
    [pb.Classifier(dscp=DSCP_EF), pb.Classifier(ip_protocol=UDP, destination_port=5001)],
    ids=["dscp", "5-tuple"],
)
def test_a_packet_takes_the_path_whose_match_picks_it(world: World, running: Running, match: pb.Classifier) -> None:
    running.needs(*CHAINS, pb.CAPABILITY_STEER, pb.CAPABILITY_STATS)
    request = world.chain()
    client, one, server = request.hops
    two = inserted(world, request)
    world.path(request)
    special = sibling(request, match, client, one, two, server)
    made = world.path(special)
    assert world.path(special).handle == made.handle
    narrower = altered(special, 1)
    narrower.match.source_cidr = "10.99.1.0/24"
    with pytest.raises(Refused) as refused:
        world.path(narrower)
    assert refused.value.code == grpc.StatusCode.ALREADY_EXISTS

    plain, special_id = request.resource_id, special.resource_id
    shared, own = (one.compute.resource_id, "in"), (two.compute.resource_id, "in")
    ordinary = world.probe(pb.Resource(handle=Handle(resource_id=plain)), packets=20)
    assert ordinary.complete, ordinary
    assert _ways(ordinary) == [("client", "one"), ("one", "server")]
    assert eventually(lambda: _steered(world, plain, *shared) >= 20)
    assert _steered(world, special_id, *own) == 0, "what the match does not pick stays away"
    before = _steered(world, plain, *shared)

    answer = world.probe(made, packets=20)
    if answer.unsupported:
        pytest.skip(f"{running.target.name} cannot prove {match}: {answer.unsupported}")
    assert answer.complete, answer
    assert _ways(answer) == [("client", "one"), ("one", "two"), ("two", "server")]
    assert eventually(lambda: _steered(world, special_id, *own) >= 20)
    assert _steered(world, special_id, *shared) >= 20
    assert _steered(world, plain, *shared) < before + 20, "what another match picks is not this path's"
    assert _steered(world, plain, *own) == 0


def _steered(world: World, path_id: str, resource_id: str, cp_id: str) -> int:
    """Packets that a path has sent into a port; where it leads nowhere near it, none."""
    return by_path(samples(world.caller)[0]).get((path_id, resource_id, cp_id), 0)


@pytest.mark.parametrize(
    ("field", "match"),
    [
        ("match.dscp", {"dscp": 64}),
        ("match.ip_protocol", {"ip_protocol": 256}),
        ("match.source_port", {"source_port": 65536}),
        ("match.destination_port", {"ip_protocol": 1, "destination_port": 80}),
        ("match.vlan", {"vlan": 4095}),
        ("match.source_cidr", {"source_cidr": "10.0.0.1/8"}),
        ("match.destination_cidr", {"source_cidr": "10.0.0.0/8", "destination_cidr": "fd00::/8"}),
    ],
)
def test_a_match_without_sense_is_refused_by_field(
    world: World, running: Running, field: str, match: dict[str, int | str]
) -> None:
    running.needs(pb.CAPABILITY_SAP, pb.CAPABILITY_PATH)
    ends = [pb.Hop(sap=Handle(resource_id=new_id())) for _ in range(2)]
    request = pb.AllocatePathRequest(resource_id=new_id(), owner=world.caller.owner(), hops=ends, generation=1)
    request.match.MergeFrom(pb.Classifier(**match))
    with pytest.raises(Refused) as refused:
        world.path(request)
    assert refused.value.code == grpc.StatusCode.INVALID_ARGUMENT
    assert f"{field}:" in refused.value.problem.detail


def test_a_trace_follows_one_packet_there_and_back(world: World, running: Running) -> None:
    running.needs(*CHAINS)
    request = world.chain()
    made = world.path(request)
    assert not world.probe(made).passings, "nobody asked"
    answer = world.probe(made, trace=True)
    assert answer.complete
    if pb.CAPABILITY_STEER not in running.offer.capabilities and not answer.passings:
        pytest.skip(f"{running.target.name} traces nothing")
    times = [each.at_ns for each in answer.passings]
    assert times == sorted(times)
    assert times[0] < 10**9
    assert times[-1] > 0
    there = [(each.hop, each.leaving) for each in answer.passings if not each.reply]
    back = [(each.hop, each.leaving) for each in answer.passings if each.reply]
    assert there == [("client", True), ("one", False), ("one", True), ("server", False)]
    assert back == [("server", True), ("one", False), ("one", True), ("client", False)]
    assert [each.reply for each in answer.passings] == [False] * 4 + [True] * 4
    ports = {(each.hop, each.cp_id) for each in answer.passings}
    assert ports == {("client", "c0"), ("one", "in"), ("one", "out"), ("server", "s0")}
    ids = {each.hop: each.resource_id for each in answer.passings}
    assert ids["one"] == request.hops[1].compute.resource_id
