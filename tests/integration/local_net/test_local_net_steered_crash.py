"""The process dies between any two steps of a live change: the same call completes it, and nothing stays behind."""

from __future__ import annotations

from pathlib import Path
from re import fullmatch

import pytest
from local_net_chains import Ids, ping
from local_net_deaths import deaths
from local_net_live import CONTAINER, SERVER_IP, VM, LiveChain, build_live, replicated

from plugins.local.net import HostNetwork, Member, MemberKind, PathSpec, ResourceKind, State, naming, netns
from plugins.local.net.switch import devices, found_in


def _steady(net: HostNetwork, chain: LiveChain) -> None:
    assert ping(chain.client, SERVER_IP) == 3
    assert {one.state for one in net.query()} == {State.RUNNING}


@pytest.mark.parametrize("kind", [CONTAINER, VM], ids=["pairs", "guests"])
def test_a_switch_is_completed_by_the_same_call_wherever_its_maker_died(
    net: HostNetwork, ids: Ids, tmp_path: Path, kind: MemberKind
) -> None:
    chain = build_live(net, ids, kind, CONTAINER)
    first, second = chain.vnfs
    added = chain.add("added")
    try:
        current: list[PathSpec] = [chain.path(first, added, second)]
        for _ in deaths(tmp_path / "run", lambda dying: dying.allocate_path(current[0])):
            found = [one for one in net.query() if one.kind is ResourceKind.PATH]
            assert found[0].state in State
            net.allocate_path(current[0])
            _steady(net, chain)
            net.allocate_path(chain.path(first, second))
            current[0] = chain.path(first, added, second)
        current[0] = chain.path(first, second)
        for _ in deaths(tmp_path / "run", lambda dying: dying.allocate_path(current[0])):
            net.allocate_path(current[0])
            _steady(net, chain)
            net.allocate_path(chain.path(first, added, second))
            current[0] = chain.path(first, second)
    finally:
        chain.stop()


def test_a_switch_that_was_broken_off_is_not_called_done(net: HostNetwork, ids: Ids, tmp_path: Path) -> None:
    """Whoever asks whether the call has to be made again must be told so until all of it is done."""
    chain = build_live(net, ids, CONTAINER, CONTAINER)
    first, second = chain.vnfs
    added = chain.add("added")
    orders = ((first, added, second), (first, second))
    for wanted, former in (orders, orders[::-1]):
        net.allocate_path(chain.path(*former))
        current = [chain.path(*wanted)]
        told = ""
        for _ in deaths(tmp_path / "run", lambda dying: dying.allocate_path(current[0])):  # noqa: B023 - called at once
            (found,) = (one for one in net.query() if one.kind is ResourceKind.PATH)
            told += "D" if found.state is State.RUNNING else "-"
            if found.state is State.RUNNING:
                left = _in_force(chain)
                net.allocate_path(current[0])
                assert _in_force(chain) == left, "it was called done, and something was left to do"
            net.allocate_path(chain.path(*former))
            current[0] = chain.path(*wanted)
        assert fullmatch("-+D+", told), told


def _in_force(chain: LiveChain) -> tuple[object, ...]:
    """What steers the chain: the fabric's rules, and the devices there and beside the VNFs."""
    fabric = naming.fabric_name(chain.chain_id)
    places = [fabric, *(naming.namespace_name(vnf.resource_id) for vnf in chain.vnfs)]
    return (found_in(fabric), *(sorted(devices(place)) for place in places))


def test_replicas_that_come_and_go_are_settled_by_the_same_call(
    net: HostNetwork, ids: Ids, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugins.local.net.paths.LEARN_SECONDS", 0.05)
    monkeypatch.setattr("plugins.local.net.paths.FLOWS_DRAIN_SECONDS", 0.05)
    chain = build_live(net, ids, CONTAINER, CONTAINER, CONTAINER)
    first, one, third = chain.vnfs
    two = chain.add("two")
    hops = [replicated("mid", one, two), replicated("mid", one)]
    net.allocate_path(chain.path(first, hops[1], third))
    for wanted, former in (hops, hops[::-1]):
        current = [chain.path(first, wanted, third)]
        for _ in deaths(tmp_path / "run", lambda dying: dying.allocate_path(current[0])):  # noqa: B023 - called at once
            net.allocate_path(current[0])
            _steady(net, chain)
            net.allocate_path(chain.path(first, former, third))
            current[0] = chain.path(first, wanted, third)
        net.allocate_path(current[0])


def test_joining_and_leaving_a_link_are_completed_by_the_same_calls(net: HostNetwork, ids: Ids, tmp_path: Path) -> None:
    chain = build_live(net, ids, CONTAINER, CONTAINER)
    member = Member(ids("late"), "left", CONTAINER)
    link_id = chain.link_ids[1]
    for _ in deaths(tmp_path / "run", lambda dying: dying.join_link(link_id, member)):
        net.join_link(link_id, member)
        _steady(net, chain)
        net.leave_link(link_id, member.resource_id)
        _steady(net, chain)
        assert not netns.exists(naming.namespace_name(member.resource_id))
    for _ in deaths(tmp_path / "run", lambda dying: dying.leave_link(link_id, member.resource_id)):
        net.leave_link(link_id, member.resource_id)
        assert not netns.exists(naming.namespace_name(member.resource_id))
        _steady(net, chain)
        net.join_link(link_id, member)


def test_a_link_with_a_patch_is_terminated_without_a_rest_wherever_its_maker_died(
    net: HostNetwork, ids: Ids, tmp_path: Path
) -> None:
    chain = build_live(net, ids, CONTAINER, CONTAINER)
    first, second = chain.vnfs
    added = chain.add("added")
    net.allocate_path(chain.path(first, added, second))
    link_id = chain.link_ids[1]
    spec = net.link(link_id)
    assert spec is not None
    for _ in deaths(tmp_path / "run", lambda dying: dying.terminate(link_id, ResourceKind.LINK)):
        net.terminate(link_id, ResourceKind.LINK)
        net.allocate_link(spec)
        for cp in ("left", "right"):
            net.join_link(link_id, Member(added.resource_id, cp, CONTAINER))
        for vnf in (first, added, second):
            chain.start(vnf)
        net.allocate_path(chain.path(first, added, second))
        _steady(net, chain)
