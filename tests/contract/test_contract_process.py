"""A plugin as a process: how it starts, what it serves beside the contract, how it ends."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest
from contract_client import CALL_S, ROOT, Caller, Refused, done, new_id, private_folder, spawned
from contract_targets import Target
from contract_world import World, port
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from vnfm.pb.vim.v1 import vim_pb2 as pb

SERVICES = {f"vnfm.vim.v1.{name}" for name in pb.DESCRIPTOR.services_by_name}


def test_it_says_where_it_is_in_one_line_and_then_no_more(spawnable: Target) -> None:
    with private_folder() as folder, spawned(spawnable, folder) as process:
        layout, api, network, path, protocol = process.line.split("|")
        assert (layout, api, network, protocol) == ("1", "1", "unix", "grpc")
        assert Path(path).parent == folder
        assert stat.S_ISSOCK(os.stat(path).st_mode)
        Caller(process.address).hello(spawnable)
        process.close_stdin()
        assert process.rest_of_stdout() == b""


def test_started_by_hand_it_tells_people_what_it_is(spawnable: Target) -> None:
    env = {key: value for key, value in os.environ.items() if not key.startswith("VNFM_PLUGIN_")}
    ended = subprocess.run(spawnable.argv, env=env, cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert ended.stdout == b""
    assert b"manager" in ended.stderr
    assert b"Traceback" not in ended.stderr


def test_a_folder_that_others_may_enter_is_refused(spawnable: Target) -> None:
    with private_folder() as folder:
        folder.chmod(0o755)
        env = {**os.environ, "VNFM_PLUGIN_COOKIE": "x", "VNFM_PLUGIN_DIR": str(folder)}
        ended = subprocess.run(spawnable.argv, env=env, cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert b"0700" in ended.stderr


def test_beyond_loopback_it_insists_on_mutual_tls(spawnable: Target) -> None:
    argv = [*spawnable.argv, "--listen", "0.0.0.0:0"]
    ended = subprocess.run(argv, cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert b"--tls-client-ca" in ended.stderr


def test_when_the_manager_is_gone_it_goes_too(spawnable: Target) -> None:
    with private_folder() as folder, spawned(spawnable, folder) as process:
        Caller(process.address).hello(spawnable)
        process.close_stdin()
        assert process.popen.wait(15) == 0
        assert not list(folder.glob("*.sock"))


def test_it_goes_even_with_watchers_listening(spawnable: Target) -> None:
    with private_folder() as folder, spawned(spawnable, folder) as process:
        caller = Caller(process.address)
        caller.hello(spawnable)
        watch = caller.inventory.WatchInventory(pb.WatchInventoryRequest())
        assert next(iter(watch)).version > 0
        process.close_stdin()
        assert process.popen.wait(15) == 0


def test_sigterm_ends_it_in_good_order(spawnable: Target) -> None:
    with private_folder() as folder, spawned(spawnable, folder) as process:
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(15) == 0


def test_a_killed_plugin_finds_by_stamp_what_it_made(spawnable: Target) -> None:
    with private_folder() as folder:
        with spawned(spawnable, folder) as process:
            caller = Caller(process.address)
            caller.hello(spawnable)
            world = World(caller, spawnable)
            link = world.link_request()
            made_link = world.link(link)
            request = world.compute_request(port("in", link.resource_id, "10.98.1.1/24"))
            made = world.compute(request)
            process.popen.kill()
            process.popen.wait(10)
        with spawned(spawnable, folder) as process:
            again = Caller(process.address, manager_id=caller.manager_id)
            again.hello(spawnable)
            try:
                found = {resource.handle.resource_id: resource for resource in again.query()}
                assert set(found) == {link.resource_id, request.resource_id}
                same = World(again, spawnable).compute(request)
                assert same.handle.native_id == made.handle.native_id
                with pytest.raises(Refused) as refused:
                    World(again, spawnable).link(_with_other_mtu(link))
                assert refused.value.code.name == "ALREADY_EXISTS"
                assert made_link.handle.native_id == found[link.resource_id].handle.native_id
            finally:
                again.terminate(request.resource_id)
                again.terminate(link.resource_id)
            assert again.query() == []


def _with_other_mtu(link: pb.AllocateLinkRequest) -> pb.AllocateLinkRequest:
    other = pb.AllocateLinkRequest()
    other.CopyFrom(link)
    other.mtu_bytes += 1
    return other


def test_a_restarted_plugin_still_refuses_the_manager_that_slept(spawnable: Target) -> None:
    with private_folder() as folder:
        with spawned(spawnable, folder) as process:
            caller = Caller(process.address, fence=7)
            caller.hello(spawnable)
            world = World(caller, spawnable)
            link = world.link(world.link_request())
        with spawned(spawnable, folder) as process:
            again = Caller(process.address, manager_id=caller.manager_id, fence=7)
            again.hello(spawnable)
            try:
                with pytest.raises(Refused) as refused:
                    again.terminate(link.handle.resource_id, fence=6)
                assert refused.value.code.name == "ABORTED"
            finally:
                again.terminate(link.handle.resource_id)


def test_until_configured_it_does_nothing(spawnable: Target) -> None:
    with private_folder() as folder, spawned(spawnable, folder) as process:
        caller = Caller(process.address)
        caller.handshake(1)
        link = pb.AllocateLinkRequest(resource_id=new_id(), owner=caller.owner())
        for call in (
            lambda: caller.query(),
            lambda: caller.snapshot(),
            lambda: caller.has("0" * 64),
            lambda: caller.terminate(new_id()),
            lambda: done(caller.network.AllocateLink(link, timeout=CALL_S)),
        ):
            with pytest.raises(Refused) as refused:
                call()
            assert refused.value.code.name == "FAILED_PRECONDITION"
            assert refused.value.retry == "SAME_CALL"
            assert "Configure" in refused.value.problem.detail


def test_health_is_served_for_every_service(caller: Caller) -> None:
    health = health_pb2_grpc.HealthStub(caller.channel)
    for service in ("", *sorted(SERVICES)):
        answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=CALL_S)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING, service


def test_reflection_names_the_whole_contract(caller: Caller) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(caller.channel)
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    answer = next(iter(stub.ServerReflectionInfo(iter([asked]), timeout=CALL_S)))
    assert {service.name for service in answer.list_services_response.service} >= SERVICES
