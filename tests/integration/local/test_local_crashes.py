"""The plugin is killed at random moments: the same call then completes, and Terminate leaves nothing."""

from __future__ import annotations

import random
import threading
import time

import grpc
import pytest
from local_harness import Plugin

from vnfm.pb.common.v1.common_pb2 import Handle
from vnfm.pb.vim.v1 import vim_pb2 as pb


def test_killed_while_it_allocates_the_same_call_completes(plugin: Plugin, box: str) -> None:
    chance = random.Random(20261121)
    for round_number in range(12):
        name = f"c{round_number}"
        plugin.ids |= {f"s{round_number}"}
        runtime = pb.RUNTIME_CONTAINER
        plugin.link(f"l{round_number}", (name, "eth0", runtime), (f"s{round_number}", "eth0", 0))
        request = plugin.container(name, box, "sleep", "1000")
        request.ports.add(cp_id="eth0", link=Handle(resource_id=f"l{round_number}"), ips=["10.66.0.1/24"])
        delay = chance.uniform(0, 0.08)
        thread = threading.Thread(target=quietly, args=(plugin, request))
        thread.start()
        time.sleep(delay)
        plugin.kill()
        thread.join()
        plugin.start()
        if round_number % 3 == 2:
            plugin.terminate(name)
            assert [r.handle.resource_id for r in plugin.query(name)] == []
        else:
            assert plugin.allocate(request).state == pb.STATE_RUNNING
            assert plugin.run(name, "ip", "-4", "addr")[1].count(b"10.66.0.1/24") == 1
            again = plugin.allocate(request)
            assert again.handle == plugin.query(name)[0].handle


def quietly(plugin: Plugin, request: pb.AllocateComputeRequest) -> None:
    try:
        plugin.allocate(request, timeout=20)
    except (grpc.RpcError, ValueError):
        return


def test_killed_while_it_terminates_the_same_call_completes(plugin: Plugin, box: str) -> None:
    chance = random.Random(7)
    for number in range(6):
        name = f"c{number}"
        plugin.allocate(plugin.container(name, box, "sleep", "1000"))
        thread = threading.Thread(target=terminate_quietly, args=(plugin, name))
        thread.start()
        time.sleep(chance.uniform(0, 0.02))
        plugin.kill()
        thread.join()
        plugin.start()
        plugin.terminate(name)
        assert plugin.query() == []


def terminate_quietly(plugin: Plugin, name: str) -> None:
    try:
        plugin.terminate(name)
    except (grpc.RpcError, ValueError):
        return


def test_what_runs_survives_the_plugin_and_is_watched_again(plugin: Plugin, box: str) -> None:
    before = plugin.allocate(plugin.container("c1", box, "sleep", "1000"))
    plugin.kill()
    plugin.start()
    after = plugin.query("c1")[0]
    assert (after.state, after.handle) == (pb.STATE_RUNNING, before.handle)
    assert plugin.run("c1", "echo", "still here")[1] == b"still here\n"


def test_other_spec_under_the_same_id_is_refused_after_a_restart_too(plugin: Plugin, box: str) -> None:
    plugin.allocate(plugin.container("c1", box, "sleep", "1000"))
    plugin.kill()
    plugin.start()
    with pytest.raises(grpc.RpcError) as caught:
        plugin.allocate(plugin.container("c1", box, "sleep", "1001"))
    assert caught.value.code() == grpc.StatusCode.ALREADY_EXISTS
