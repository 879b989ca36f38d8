"""What is asked of places, prices, licences and worker VMs on demand, from a chain's file to the VIM and back."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from manager_harness import CHAIN, Manager, manager, onboard

from vnfm.model.needs import Isolation, Needs
from vnfm.pb.nfvo.v1 import nfvo_pb2 as pb

GIB = 1 << 30
WORKER = {"id": "small", "cpu_milli": 4_000, "memory_bytes": 4 * GIB, "start_ms": 7_000, "price": 2.5}
NESTED = CHAIN.replace(b"{vnfd: fw}", b"{vnfd: fw, level: nested}")


def named(name: str, text: bytes = CHAIN) -> bytes:
    return text.replace(b"chain: c\n", f"chain: {name}\n".encode())


def created(m: Manager, text: bytes) -> pb.VnfLcmOpOcc:
    return m.settled(m.chains.CreateChain(pb.ChainRequest(descriptor=text), timeout=20).id)


def plan(m: Manager, text: bytes) -> dict[str, Any]:
    answer = m.chains.PlanChain(pb.ChainRequest(descriptor=text), timeout=60)
    return dict(json_format.MessageToDict(answer.body))


def hosts(m: Manager) -> dict[str, dict[str, Any]]:
    found = json_format.MessageToDict(m.vims.GetInventory(pb.GetRequest(ref="m"), timeout=60).body)
    return {host["id"]: host for host in found["hosts"]}


def test_a_worker_vm_is_opened_for_the_first_container_and_closed_after_the_last(tmp_path: Path) -> None:
    onboard(tmp_path / "s")
    config = {"hosts": [{"id": "a", "worker_sizes": [WORKER]}], "state_file": str(tmp_path / "cloud.sqlite")}
    with manager(tmp_path, config) as m:
        told = plan(m, NESTED)["vnfs"][0]
        assert (told["runtime"], told["nested"], told["host_path"]) == ("CONTAINER", True, ["a", "a:small-1"])
        assert told["worker"] == {
            "host": "a", "size": "small", "cpu_milli": 4_000.0, "memory_bytes": 4.0 * GIB, "opens": True,
        }  # fmt: skip
        assert told["price"]["open_worker"] == 2.5
        empty = hosts(m)
        assert [(w["id"], w["open"], w["start_ms"]) for w in empty["a"]["workers"]] == [("a:small-1", False, 7_050)]
        assert created(m, NESTED).state == "COMPLETED"
        assert plan(m, named("d", NESTED))["vnfs"][0]["worker"]["opens"] is False
        assert created(m, named("d", NESTED)).state == "COMPLETED"
        full = hosts(m)
        assert full["a"]["workers"][0]["open"] is True
        assert empty["a"]["cpu"]["free_milli"] - full["a"]["cpu"]["free_milli"] == 4_000
        shown = json_format.MessageToDict(m.chains.GetChain(pb.GetRequest(ref="c"), timeout=20).body)
        assert shown["vnfs"][0]["host"] == "a:small-1"

        # the plugin dies: the worker and what is in it are there again
        before = m.vims.GetVim(pb.GetRequest(ref="m"), timeout=20).restarts
        os.kill(m.plugin_pid(), signal.SIGKILL)
        deadline = time.monotonic() + 60
        while m.vims.GetVim(pb.GetRequest(ref="m"), timeout=20).restarts == before:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        for name in ("c", "d"):
            assert hosts(m)["a"]["workers"][0]["open"] is True
            gone = m.chains.TerminateChain(pb.TerminateChainRequest(ref=name), timeout=20)
            assert m.settled(gone.id).state == "COMPLETED"
        assert hosts(m)["a"]["cpu"] == empty["a"]["cpu"]
        assert hosts(m)["a"]["workers"][0]["open"] is False


def test_what_the_operator_says_of_prices_and_licences_decides(tmp_path: Path) -> None:
    onboard(tmp_path / "s", needs=Needs(isolation=Isolation.TENANT, licence="dpi", licence_count=2))
    config = {
        "hosts": [
            {"id": "a", "site": "hub", "rack": "r1", "price_per_vcpu": 1},
            {"id": "b", "site": "edge", "rack": "r1", "price_per_vcpu": 2},
            {"id": "c", "site": "edge", "rack": "r2", "price_per_vcpu": 3},
        ],
        "licences": [{"id": "dpi", "site": "hub", "count": 9}],
        "operator": {
            "prices": {"hosts": {"c": {"per_vcpu": 0.5}}},
            "licences": [{"id": "dpi", "site": "edge", "count": 3}],
        },
    }
    with manager(tmp_path, config) as m:
        told = plan(m, CHAIN)["vnfs"][0]
        assert (told["host"], told["price"]["per_vcpu"]) == ("c", 0.5)
        assert created(m, CHAIN).state == "COMPLETED"
        no = plan(m, named("d"))
        assert no["feasible"] is False
        assert no["refused"]["minimal_change"] == "1 more of licence dpi at site edge"
        gone = m.chains.TerminateChain(pb.TerminateChainRequest(ref="c"), timeout=20)
        assert m.settled(gone.id).state == "COMPLETED"
        assert plan(m, named("d"))["feasible"] is True
        held = plan(m, CHAIN.replace(b"{vnfd: fw}", b"{vnfd: fw, sites: [hub]}"))
        assert (held["feasible"], held["refused"]["minimal_change"]) == (False, "allow site edge to fw")
        assert "0 are left at site hub" in held["refused"]["detail"]


def test_terms_without_sense_leave_the_vim_out_by_name(tmp_path: Path) -> None:
    with manager(tmp_path, {}) as m:
        request = pb.AddVimRequest(name="other", kind="mock")
        json_format.ParseDict({"operator": {"prices": {"per_vcpu": "much"}}}, request.config)
        with pytest.raises(grpc.RpcError) as refused:
            m.vims.AddVim(request, timeout=60)
        assert "operator.prices.per_vcpu" in str(refused.value)


def test_hosts_of_two_vims_that_are_one_machine_are_filled_once(tmp_path: Path) -> None:
    onboard(tmp_path / "s")  # fw takes 10 milli-CPU
    machine = {"identities": ["smbios:4c4c4544-0042", "machine-id:aa"], "cpu_milli": 15}
    with manager(tmp_path, {"hosts": [{"id": "node-a", **machine}]}) as m:
        request = pb.AddVimRequest(name="other", kind="mock")
        other = {"hosts": [{"id": "compute-7", **machine, "identities": ["smbios:4c4c4544-0042"]}]}
        json_format.ParseDict(other, request.config)
        m.vims.AddVim(request, timeout=60)
        assert created(m, CHAIN).state == "COMPLETED"
        no = plan(m, named("d"))
        assert no["feasible"] is False
        assert "CPU" in no["refused"]["detail"]
        m.vims.RemoveVim(pb.GetRequest(ref="other"), timeout=20)
        json_format.ParseDict({"hosts": [{"id": "compute-7", "cpu_milli": 15}]}, request.config)
        m.vims.AddVim(request, timeout=60)  # another machine now
        assert plan(m, named("d"))["vnfs"][0]["vim"] == "other"


def test_two_containers_of_one_machine_are_not_apart_whatever_vims_say(tmp_path: Path) -> None:
    onboard(tmp_path / "s")
    machine = {"identities": ["smbios:4c4c4544-0042"]}
    apart = b"""
chain: c
ends: {client: {cidr: 10.1.0.0/24}, server: {cidr: 10.9.0.0/24}}
vnfs: {a: {vnfd: fw, level: nested}, b: {vnfd: fw, level: nested}}
path: [client, a, b, server]
rules: [{kind: anti-affinity, scope: NFVI_NODE, vnfs: [a, b]}]
"""
    guest = {"runtimes": ["CONTAINER"]}
    told = [
        {"id": "s", **machine},
        {"id": "w1", "parent_id": "s", **guest},
        {"id": "w2", "parent_id": "s", **guest},
    ]
    with manager(tmp_path, {"hosts": told}) as m:
        no = plan(m, apart)
        assert (no["feasible"], no["refused"]["proof"]) == (False, "rules")
        assert plan(m, apart.replace(b"scope: NFVI_NODE", b"scope: RACK"))["feasible"] is False
        assert plan(m, apart[: apart.index(b"rules:")])["feasible"] is True
