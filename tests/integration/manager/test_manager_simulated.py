"""A manager with a data centre that nobody has: a thousand hosts, a chain's life on them, and what outlives whom."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from manager_harness import CHAIN, ROOT, Manager, manager, onboard

from vnfm.pb.nfvo.v1 import nfvo_pb2 as pb

HOSTS = 1_000
PLANNED_S = 240.0
"""A plan over a thousand hosts on a machine that is busy with other things."""


def vnfm(m: Manager, *args: str) -> Any:
    """The command as its users type it; what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "vnfm.main", *args, "--endpoint", f"unix:{m.state / 'vnfm.sock'}", "-o", "json"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PLANNED_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def inventory(m: Manager, vim: str) -> dict[str, Any]:
    found: dict[str, Any] = vnfm(m, "vim", "inventory", vim)
    del found["version"]  # rises with every start of the plugin
    return found


def _without_costs(found: dict[str, Any]) -> dict[str, Any]:
    """What a realization was seen to cost is remembered when it is gone."""
    return {**found, "hosts": [{**host, "measured": {}} for host in found["hosts"]]}


def ended(m: Manager, operation: str) -> str:
    seen = list(m.lifecycle.WatchOpOcc(pb.GetRequest(ref=operation), timeout=PLANNED_S))
    return seen[-1].state


def test_a_chain_lives_on_a_thousand_hosts_and_outlives_plugin_and_manager(tmp_path: Path) -> None:
    onboard(tmp_path / "s")
    with manager(tmp_path, {"simulate": {"hosts": 1}}) as m:
        made = vnfm(m, "vim", "simulate", "dc", "--hosts", str(HOSTS), "--seed", "4")
        assert (made["name"], made["kind"], made["state"], made["seed"]) == ("dc", "mock", "CONNECTED", 4)
        assert made["summary"]["hosts"] == HOSTS
        assert vnfm(m, "vim", "inventory", "dc", "--summary")["summary"] == made["summary"]
        empty = inventory(m, "dc")
        assert len(empty["hosts"]) == HOSTS
        assert len({host["id"] for host in empty["hosts"]}) == HOSTS
        m.vims.RemoveVim(pb.GetRequest(ref="m"), timeout=20)
        assert ended(m, m.chains.CreateChain(pb.ChainRequest(descriptor=CHAIN), timeout=20).id) == "COMPLETED"
        (vnf,) = vnfm(m, "chain", "show", "c")["vnfs"]
        assert vnf["vim"] == "dc"
        full = inventory(m, "dc")
        changed = [b["id"] for a, b in zip(empty["hosts"], full["hosts"], strict=True) if a["cpu"] != b["cpu"]]
        assert changed == [vnf["host"]]

        # the plugin dies: it comes back with the same hosts and what runs on them
        before = m.vims.GetVim(pb.GetRequest(ref="dc"), timeout=20).restarts
        os.kill(m.plugin_pid("dc"), signal.SIGKILL)
        deadline = time.monotonic() + 60
        while m.vims.GetVim(pb.GetRequest(ref="dc"), timeout=20).restarts == before:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert inventory(m, "dc") == full
        assert vnfm(m, "chain", "probe", "c")["probe"]["complete"]
        m.stop()

    # so does a manager, which was told of the VIM by no option
    with manager(tmp_path, {"simulate": {"hosts": 1}}) as m:
        assert inventory(m, "dc") == full
        assert vnfm(m, "chain", "probe", "c")["probe"]["complete"]
        with pytest.raises(grpc.RpcError, match="terminate what runs there first"):
            m.vims.RemoveVim(pb.GetRequest(ref="dc"), timeout=20)
        gone = m.chains.TerminateChain(pb.TerminateChainRequest(ref="c", request_id="r"), timeout=20)
        assert ended(m, gone.id) == "COMPLETED"
        assert _without_costs(inventory(m, "dc")) == _without_costs(empty)
        m.vims.RemoveVim(pb.GetRequest(ref="dc"), timeout=20)


def test_a_configured_cloud_is_the_one_that_the_command_makes(tmp_path: Path) -> None:
    with manager(tmp_path, {"simulate": {"hosts": 60, "seed": 8}}) as m:
        vnfm(m, "vim", "simulate", "same", "--hosts", "60", "--seed", "8")
        vnfm(m, "vim", "simulate", "other", "--hosts", "60", "--seed", "9")
        configured, same, other = (inventory(m, vim) for vim in ("m", "same", "other"))
        assert configured["hosts"] == same["hosts"]
        assert configured["links"] == same["links"]
        assert configured["licences"] == same["licences"]
        assert other["hosts"] != same["hosts"]
        request = pb.AddVimRequest(name="both", kind="mock")
        request.config.update({"simulate": {"hosts": 5}, "hosts": 5})
        with pytest.raises(grpc.RpcError, match="leave out hosts"):
            m.vims.AddVim(request, timeout=60)
