"""How far hosts are from each other: over the fabric, the shortest way, on one server not at all."""

from __future__ import annotations

import networkx as nx
import pytest

from plugins.mock.datacentre import data_centre
from plugins.mock.distances import Distances
from plugins.mock.probing import Instance, Station, answer, passings, travel
from vnfm.pb.vim.v1 import vim_pb2 as pb


@pytest.mark.parametrize("hosts", [5, 40, 160])
def test_distances_are_the_shortest_ways_of_the_fabric(hosts: int) -> None:
    made = data_centre(hosts, 1)
    by_id = {host.id: host for host in made.hosts}
    distances = Distances(by_id, made.fabric)
    graph = nx.Graph()
    graph.add_weighted_edges_from((edge.a, edge.b, edge.one_way_us) for edge in made.fabric)
    server_of = {host.id: host.parent_id or host.id for host in made.hosts}
    start = next((host.id for host in made.hosts if host.parent_id), made.hosts[0].id)
    expected = nx.single_source_dijkstra_path_length(graph, server_of[start])
    for host in made.hosts:
        assert distances.between_us(start, host.id) == expected[server_of[host.id]]
        assert distances.between_us(host.id, start) == expected[server_of[host.id]]


def test_servers_pass_nothing_on_and_what_is_not_joined_is_no_distance_apart() -> None:
    hosts = {name: pb.Host(id=name) for name in "abcd"}
    fabric = [
        pb.Fabric(a="a", b="b", one_way_us=3),
        pb.Fabric(a="b", b="c", one_way_us=1),
        pb.Fabric(a="a", b="s", one_way_us=50),
        pb.Fabric(a="s", b="c", one_way_us=50),
    ]
    distances = Distances(hosts, fabric)
    assert distances.between_us("a", "b") == 3
    assert distances.between_us("a", "c") == 100
    assert distances.between_us("a", "d") == 0
    assert distances.between_us("a", "unknown") == 0


def test_a_probe_takes_as_long_as_the_fabric_says() -> None:
    far = Instance("one", True, "in", "out", "l", "r", 10, "a")
    ends = [
        Instance(name, True, "p", "p", link, link, 0, host) for name, link, host in (("x", "l", "a"), ("y", "r", "b"))
    ]
    way = [Station("x", (ends[0],)), Station("one", (far,)), Station("y", (ends[1],))]
    trip = travel(way, 0, 3)

    def between(a: str, b: str) -> int:
        return 0 if a == b else 200

    assert [p.at_ns // 1000 for p in passings(trip, between)] == [0, 11, 11, 221, 221, 431, 431, 442]
    told = answer(way, [trip], trace=True, between=between)
    assert [hop.rtt_us for hop in told.hops] == [22, 420]
