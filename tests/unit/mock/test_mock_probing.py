"""How far packets come, and what a trace tells of it."""

from __future__ import annotations

import pytest

from plugins.mock.probing import Instance, Station, answer, counted, passings, travel


def _instance(resource_id: str, ingress: str, egress: str, *, runs: bool = True, hop_us: int = 0) -> Instance:
    return Instance(resource_id, runs, f"{resource_id}.in", f"{resource_id}.out", ingress, egress, hop_us)


def _way(*, lost: str = "", dead: str = "", replicas: int = 1) -> list[Station]:
    ones = tuple(
        _instance(f"one{at}", "l", "" if lost == f"one{at}" else "r", runs=dead != f"one{at}", hop_us=10)
        for at in range(replicas)
    )
    client, server = _instance("client", "l", "l"), _instance("server", "r", "r", runs=dead != "server")
    return [Station("client", (client,)), Station("one", ones), Station("server", (server,))]


def _counts(way: list[Station], packets: int) -> list[tuple[int, int]]:
    trips = [travel(way, number, len(way)) for number in range(packets)]
    return [(hop.sent, hop.received) for hop in answer(way, trips, trace=False).hops]


@pytest.mark.parametrize(
    ("way", "counts"),
    [
        (_way(), [(4, 4), (4, 4)]),
        (_way(dead="one0"), [(4, 0), (0, 0)]),
        (_way(dead="server"), [(4, 4), (4, 0)]),
        (_way(lost="one0"), [(4, 4), (4, 0)]),
        (_way(replicas=2), [(4, 4), (4, 4)]),
        (_way(replicas=2, dead="one1"), [(4, 2), (2, 2)]),
        (_way(replicas=2, lost="one1"), [(4, 4), (4, 2)]),
    ],
    ids=["whole", "dead hop", "dead end", "lost link", "replicas", "a dead replica", "a replica without its link"],
)
def test_packets_come_as_far_as_hops_run_and_are_joined(way: list[Station], counts: list[tuple[int, int]]) -> None:
    assert _counts(way, 4) == counts


def test_a_trace_is_one_packets_way_there_and_back_in_order_of_time() -> None:
    way = _way()
    trips = [travel(way, 0, 3)]
    found = answer(way, trips, trace=True)
    assert [(each.hop, each.cp_id, each.reply, each.leaving) for each in found.passings] == [
        ("client", "client.out", False, True),
        ("one", "one0.in", False, False),
        ("one", "one0.out", False, True),
        ("server", "server.in", False, False),
        ("server", "server.in", True, True),
        ("one", "one0.out", True, False),
        ("one", "one0.in", True, True),
        ("client", "client.out", True, False),
    ]
    times = [each.at_ns for each in found.passings]
    assert times == sorted(times)
    assert times[-1] == found.rtt_us * 1000, "the whole way takes as long as the counts say"
    assert not answer(way, trips, trace=False).passings


def test_what_did_not_come_back_is_counted_but_not_traced() -> None:
    way = _way(dead="server")
    trip = travel(way, 0, 3)
    assert [(each.hop, each.leaving) for each in passings(trip)] == [("client", True), ("one", False), ("one", True)]
    assert not answer(way, [trip], trace=True).passings
    assert counted([trip]) == {
        ("client", "client.out"): (0, 1),
        ("one0", "one0.in"): (1, 0),
        ("one0", "one0.out"): (0, 1),
    }


def test_each_port_counts_both_directions() -> None:
    way = _way(replicas=2)
    found = counted([travel(way, number, 3) for number in range(4)])
    assert found["one0", "one0.in"] == found["one1", "one1.out"] == (2, 2)
    assert found["client", "client.out"] == (4, 4)
    assert found["server", "server.in"] == (4, 4)


def test_beyond_an_edge_nothing_is_known_and_packets_pass() -> None:
    edge = Station("edge", (Instance("", True, "", "", "", "", 0),), edge=True)
    way = [*_way()[:2], edge]
    trips = [travel(way, 0, 3)]
    assert answer(way, trips, trace=False).complete
    assert all(place[0] for place in counted(trips))
