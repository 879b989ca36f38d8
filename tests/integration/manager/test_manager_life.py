"""The manager as a process: how it ends, what it takes up again, whom it lets see what."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from manager_harness import CHAIN, STOP_S, by, manager, onboard

from vnfm.pb.nfvo.v1 import nfvo_pb2 as pb

HANGS = {"hosts": 1, "script": [{"match": {"rpc": "AllocateCompute"}, "do": "hang"}]}
SLOW_READER = """
import time, vnfm.tosca
def read(*_args, **_kwargs):
    time.sleep({seconds})
    raise RuntimeError("the planted reader")
vnfm.tosca.read_package = read
"""


def follow(stream: Iterator[object]) -> None:
    """Read a stream to its end, in the background."""

    def run() -> None:
        try:
            for _ in stream:
                pass
        except grpc.RpcError:
            return

    threading.Thread(target=run, daemon=True).start()


def test_told_to_stop_it_ends_in_time_with_watchers_and_a_call_that_hangs_and_goes_on_at_the_next_start(
    tmp_path: Path,
) -> None:
    onboard(tmp_path / "s")
    with manager(tmp_path, HANGS) as m:
        op = m.chains.CreateChain(pb.ChainRequest(descriptor=CHAIN), timeout=20)
        m.until_step(op.id, "CONTAINER fw/v", "STARTED")
        follow(m.lifecycle.WatchOpOcc(pb.GetRequest(ref=op.id)))
        follow(m.lifecycle.WatchEvents(pb.WatchEventsRequest()))
        time.sleep(0.3)
        assert m.stop() < STOP_S
    with manager(tmp_path) as m:
        done = m.settled(op.id)
        assert done.state == "COMPLETED", done
        follow(m.lifecycle.WatchEvents(pb.WatchEventsRequest()))
        assert m.stop() < STOP_S


def test_a_plugin_that_hangs_does_not_hold_up_the_end(tmp_path: Path) -> None:
    onboard(tmp_path / "s")
    with manager(tmp_path) as m:
        m.vims.GetInventory(pb.GetRequest(ref="m"), timeout=30)
        pid = m.plugin_pid()
        os.kill(pid, signal.SIGSTOP)
        m.chains.CreateChain(pb.ChainRequest(descriptor=CHAIN), timeout=20)
        assert m.stop() < STOP_S
        assert not Path(f"/proc/{pid}").exists()


def test_a_reading_that_takes_for_ever_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with manager(tmp_path, prelude=SLOW_READER.format(seconds=120)) as m:
        package = m.packages.CreatePackage(pb.CreatePackageRequest(), timeout=20)
        upload = m.packages.UploadPackage.future(iter([pb.UploadPackageChunk(package_id=package.id, data=b"zip")]))
        until = time.monotonic() + 30
        while m.packages.GetPackage(pb.GetRequest(ref=package.id)).onboarding_state != "PROCESSING":
            assert time.monotonic() < until, "the package never came to PROCESSING"
            time.sleep(0.05)
        time.sleep(0.3)
        assert m.stop() < STOP_S
        assert upload.exception(10) is not None
    with manager(tmp_path, prelude=SLOW_READER.format(seconds=0)) as m:  # it is read again
        deadline = time.monotonic() + 30
        while (state := m.packages.GetPackage(pb.GetRequest(ref=package.id))).onboarding_state != "ERROR":
            assert time.monotonic() < deadline, state
            time.sleep(0.05)
        assert "the planted reader" in state.error.detail


def test_a_package_is_read_to_its_end_though_its_client_went_away(tmp_path: Path) -> None:
    with manager(tmp_path, prelude=SLOW_READER.format(seconds=1.5)) as m:
        package = m.packages.CreatePackage(pb.CreatePackageRequest(), timeout=20)
        upload = m.packages.UploadPackage.future(iter([pb.UploadPackageChunk(package_id=package.id, data=b"zip")]))
        while m.packages.GetPackage(pb.GetRequest(ref=package.id)).onboarding_state != "PROCESSING":
            time.sleep(0.02)
        upload.cancel()
        deadline = time.monotonic() + 30
        while m.packages.GetPackage(pb.GetRequest(ref=package.id)).onboarding_state != "ERROR":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert not [p for p in (tmp_path / "s" / "blobs").rglob("*") if p.is_file()]


def test_killed_in_the_middle_the_next_manager_takes_it_up(tmp_path: Path) -> None:
    onboard(tmp_path / "s")
    with manager(tmp_path, HANGS) as m:
        op = m.chains.CreateChain(pb.ChainRequest(descriptor=CHAIN), timeout=20)
        m.until_step(op.id, "CONTAINER fw/v", "STARTED")
        m.process.kill()
        m.process.wait()
    with manager(tmp_path) as m:
        assert m.settled(op.id).state == "COMPLETED"


def test_a_tenant_reaches_nothing_of_anothers(tmp_path: Path) -> None:
    onboard(tmp_path / "s", ("default", "other"))
    failing = {"hosts": 1, "script": [{"match": {"rpc": "ProbePath"}, "do": "fail"}]}
    with manager(tmp_path, failing) as m:
        op = m.chains.CreateChain(pb.ChainRequest(descriptor=CHAIN), timeout=20)
        assert m.settled(op.id).state == "FAILED_TEMP"
        (vnf,) = m.lifecycle.ListVnfs(pb.ListRequest(), timeout=20)
        (package,) = m.packages.ListPackages(pb.ListRequest(), timeout=20)
        get = [
            m.chains.GetChain,
            m.chains.GraphChain,
            m.chains.DeleteChain,
            m.lifecycle.GetVnf,
            m.lifecycle.DeleteVnf,
            m.lifecycle.GetOpOcc,
            m.packages.GetPackage,
            m.packages.DeletePackage,
        ]
        calls = [
            lambda call=call, ref=ref: call(pb.GetRequest(ref=ref), metadata=by("other"), timeout=20)
            for call in get
            for ref in ("c", op.id, vnf.id, package.id)
        ]
        calls += [
            lambda action=action: m.lifecycle.ControlOpOcc(
                pb.ControlOpOccRequest(ref=op.id, action=action), metadata=by("other"), timeout=20
            )
            for action in ("retry", "rollback", "fail", "cancel")
        ]
        calls += [
            lambda: m.chains.TerminateChain(pb.TerminateChainRequest(ref="c"), metadata=by("other"), timeout=20),
            lambda: m.chains.ProbeChain(pb.ProbeChainRequest(ref="c"), metadata=by("other"), timeout=20),
            lambda: m.lifecycle.TerminateVnf(pb.TerminateVnfRequest(ref=vnf.id), metadata=by("other"), timeout=20),
            lambda: next(m.lifecycle.WatchOpOcc(pb.GetRequest(ref=op.id), metadata=by("other"), timeout=20)),
            lambda: next(
                m.lifecycle.ExecVnf(
                    iter([pb.ExecVnfInput(ref=vnf.id, command=["id"])]), metadata=by("other"), timeout=20
                )
            ),
            lambda: next(
                m.chains.ExecSap(
                    iter([pb.ExecSapInput(ref="c", sap="client", command=["id"])]), metadata=by("other"), timeout=20
                )
            ),
        ]
        for call in calls:
            with pytest.raises(grpc.RpcError) as refused:
                call()
            assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        assert m.lifecycle.GetOpOcc(pb.GetRequest(ref=op.id), timeout=20).state == "FAILED_TEMP"
        events: list[pb.Event] = []
        with pytest.raises(grpc.RpcError, match="Deadline"):
            events.extend(m.lifecycle.WatchEvents(pb.WatchEventsRequest(), metadata=by("other"), timeout=1.5))
        assert {e.type for e in events} == {"VnfPackageOnboardingNotification"}  # of its own package
        # names are each tenant's own
        mine = m.chains.CreateChain(pb.ChainRequest(descriptor=CHAIN), metadata=by("other"), timeout=20)
        assert m.settled(mine.id, "other").state == "COMPLETED"


def test_terminate_while_the_creation_failed_for_now_says_what_to_do_and_that_works(tmp_path: Path) -> None:
    onboard(tmp_path / "s")
    failing = {"hosts": 1, "script": [{"match": {"rpc": "ProbePath"}, "do": "fail"}]}
    with manager(tmp_path, failing) as m:
        op = m.chains.CreateChain(pb.ChainRequest(descriptor=CHAIN), timeout=20)
        assert m.settled(op.id).state == "FAILED_TEMP"
        with pytest.raises(grpc.RpcError) as refused:
            m.chains.TerminateChain(pb.TerminateChainRequest(ref="c", request_id="r"), timeout=20)
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert f"vnfm op fail {op.id[:8]}" in (refused.value.details() or "")
        m.lifecycle.ControlOpOcc(pb.ControlOpOccRequest(ref=op.id[:8], action="fail"), timeout=20)
        gone = m.chains.TerminateChain(pb.TerminateChainRequest(ref="c", request_id="r"), timeout=20)
        assert m.settled(gone.id).state == "COMPLETED"
        again = m.chains.TerminateChain(pb.TerminateChainRequest(ref="c", request_id="r"), timeout=20)
        assert again.id == gone.id  # the same request
        with pytest.raises(grpc.RpcError, match="NOT_INSTANTIATED"):
            m.chains.TerminateChain(pb.TerminateChainRequest(ref="c", request_id="another"), timeout=20)
        m.chains.DeleteChain(pb.GetRequest(ref="c"), timeout=20)


def test_an_inventory_of_ten_thousand_hosts_arrives(tmp_path: Path) -> None:
    with manager(tmp_path, {"hosts": 10_000}) as m:
        document = m.vims.GetInventory(pb.GetRequest(ref="m"), timeout=60)
        assert len(document.body["hosts"]) == 10_000


def test_a_vim_that_is_refused_is_not_there_and_one_that_is_taken_stays(tmp_path: Path) -> None:
    with manager(tmp_path) as m:
        for name, kind, hosts in (("x", "mock", "many"), ("../x", "mock", 1), ("x", "nimbus", 1), ("m", "mock", 1)):
            request = pb.AddVimRequest(name=name, kind=kind)
            request.config.update({"hosts": hosts})
            with pytest.raises(grpc.RpcError):
                m.vims.AddVim(request, timeout=60)
        request = pb.AddVimRequest(name="added", kind="mock")
        request.config.update({"hosts": 3})
        m.vims.AddVim(request, timeout=60)
        assert [v.name for v in m.vims.ListVims(pb.ListRequest(), timeout=20)] == ["added", "m"]
        m.stop()
    with manager(tmp_path) as m:
        document = m.vims.GetInventory(pb.GetRequest(ref="added"), timeout=60)
        assert len(document.body["hosts"]) == 3
        m.vims.RemoveVim(pb.GetRequest(ref="added"), timeout=20)
        assert [v.name for v in m.vims.ListVims(pb.ListRequest(), timeout=20)] == ["m"]
