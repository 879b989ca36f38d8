"""The data centre that nobody has: the same for the same seed, of one piece, and never larger than it says."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.mock.config import parse
from plugins.mock.datacentre import TENANTS, DataCentre, data_centre
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.problems import PluginError

ROOT = Path(__file__).resolve().parents[3]


def _bytes(made: DataCentre) -> list[bytes]:
    parts = (*made.hosts, *made.fabric, *made.licences)
    return [part.SerializeToString(deterministic=True) for part in parts]


def _digest(hosts: int, seed: int) -> str:
    return hashlib.sha256(b"".join(_bytes(data_centre(hosts, seed)))).hexdigest()


def test_the_same_seed_gives_the_same_cloud_in_another_process() -> None:
    code = "from test_mock_datacentre import _digest; print(_digest(300, 7))"
    paths = os.pathsep.join((str(ROOT), str(Path(__file__).parent)))
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == _digest(300, 7)


def test_another_seed_gives_another_cloud_of_the_same_size() -> None:
    assert len({_digest(50, seed) for seed in range(4)}) == 4


@settings(max_examples=40, deadline=None)
@given(hosts=st.integers(1, 700), seed=st.integers(0, (1 << 53) - 1))
def test_every_cloud_is_of_one_piece(hosts: int, seed: int) -> None:
    made = data_centre(hosts, seed)
    by_id = {host.id: host for host in made.hosts}
    assert len(by_id) == len(made.hosts) == hosts
    servers = [host for host in made.hosts if not host.parent_id]
    for host in made.hosts:
        assert all(c.cpu_used_by_others_milli <= c.cpu_milli for c in host.cells)
        assert all(c.memory_used_by_others_bytes <= c.memory_bytes for c in host.cells)
        assert host.disk_used_by_others_bytes <= host.disk_bytes
        assert {cost.runtime for cost in host.costs} == set(host.runtimes)
        offered_or_refused = [*host.runtimes, *(refusal.runtime for refusal in host.refusals)]
        assert sorted(offered_or_refused) == [pb.RUNTIME_VM, pb.RUNTIME_KATA, pb.RUNTIME_CONTAINER]
        assert all(refusal.reason for refusal in host.refusals)
        assert (host.on_cost > 0) == (not host.active)
    # names nest: a rack is in one zone, a zone in one site
    assert len({s.rack for s in servers}) == len({(s.site, s.zone, s.rack) for s in servers})
    assert len({s.zone for s in servers}) == len({(s.site, s.zone) for s in servers})
    assert _reached(made, servers[0].id) >= {server.id for server in servers}
    assert Counter(edge.a for edge in made.fabric if edge.a in by_id) == {server.id: 1 for server in servers}
    assert not any(edge.b in by_id for edge in made.fabric)
    assert all(edge.bandwidth_bps > 0 and edge.one_way_us > 0 for edge in made.fabric)
    assert {licence.site for licence in made.licences} == {server.site for server in servers}


@pytest.mark.parametrize("hosts", [10, 100, 1_000])
def test_worker_vms_take_their_capacity_from_a_server_that_runs_vms(hosts: int) -> None:
    made = data_centre(hosts, 3)
    by_id = {host.id: host for host in made.hosts}
    workers = [host for host in made.hosts if host.parent_id]
    assert len(workers) == hosts // 10
    taken: Counter[str] = Counter()
    for worker in workers:
        server = by_id[worker.parent_id]
        assert not server.parent_id
        assert server.active
        assert pb.RUNTIME_VM in server.runtimes
        assert list(worker.runtimes) == [pb.RUNTIME_CONTAINER]
        assert (worker.site, worker.zone, worker.rack) == (server.site, server.zone, server.rack)
        assert worker.only_tenant == server.only_tenant or not server.only_tenant
        taken[server.id] += sum(cell.cpu_milli for cell in worker.cells)
    for server_id, cpu_milli in taken.items():
        assert sum(cell.cpu_used_by_others_milli for cell in by_id[server_id].cells) >= cpu_milli


def test_a_cloud_of_a_thousand_has_some_of_everything() -> None:
    made = data_centre(1_000, 0)
    servers = [host for host in made.hosts if not host.parent_id]
    for places in ({s.site for s in servers}, {s.zone for s in servers}, {s.rack for s in servers}):
        assert len(places) > 1
    assert all(len(server.cells) == 2 for server in servers)
    for amount in ("vfs", "gpus", "hugepage_bytes"):
        have = sum(any(getattr(cell, amount) for cell in server.cells) for server in servers)
        assert 0 < have < len(servers)
    assert len({tuple(server.runtimes) for server in servers}) >= 4
    assert len({server.trust for server in servers}) > 1
    assert len({server.price_per_vcpu for server in servers}) > 2
    assert {host.only_tenant for host in made.hosts} == {"", *TENANTS}
    assert 0 < sum(not server.active for server in servers) < len(servers) / 2


def test_a_cloud_of_one_can_do_everything_that_a_server_can() -> None:
    for seed in range(20):
        (only,) = data_centre(1, seed).hosts
        assert only.active
        assert sorted(only.runtimes) == [pb.RUNTIME_VM, pb.RUNTIME_KATA, pb.RUNTIME_CONTAINER]


def test_the_mock_makes_it_from_two_numbers_and_takes_no_hosts_beside_them() -> None:
    made = parse({"simulate": {"hosts": 30, "seed": 5}}, None)
    told = DataCentre(made.hosts, made.fabric, made.licences)
    assert _bytes(told) == _bytes(data_centre(30, 5))
    assert _bytes(data_centre(30, 0)) == _bytes(DataCentre(*_parts({"hosts": 30})))
    with pytest.raises(PluginError, match="leave out hosts"):
        parse({"simulate": {"hosts": 30}, "hosts": 3}, None)


def _parts(simulate: dict[str, int]) -> tuple[tuple[pb.Host, ...], tuple[pb.Fabric, ...], tuple[pb.Licence, ...]]:
    made = parse({"simulate": simulate}, None)
    return made.hosts, made.fabric, made.licences


def _reached(made: DataCentre, start: str) -> set[str]:
    beside: dict[str, list[str]] = {}
    for edge in made.fabric:
        beside.setdefault(edge.a, []).append(edge.b)
        beside.setdefault(edge.b, []).append(edge.a)
    found, left = {start}, [start]
    while left:
        for other in beside[left.pop()]:
            if other not in found:
                found.add(other)
                left.append(other)
    return found


def test_servers_that_run_vms_open_workers_where_that_is_wanted_and_all_else_stays() -> None:
    plain, opening = data_centre(60, 2), data_centre(60, 2, open_workers=True)
    for before, after in zip(plain.hosts, opening.hosts, strict=True):
        able = pb.RUNTIME_VM in after.runtimes
        assert after.can_open_workers == able
        assert [size.id for size in after.worker_sizes] == (["small", "large"] if able else [])
        after.can_open_workers = False
        del after.worker_sizes[:]
        assert before == after
    assert (plain.fabric, plain.licences) == (opening.fabric, opening.licences)
