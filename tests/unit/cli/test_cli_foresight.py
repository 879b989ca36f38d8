"""`vnfm placement what-if, defragment, replace`: what is asked, what is shown, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_manager import FakeManager, Run, op, struct

from vnfm.pb.nfvo.v1 import nfvo_pb2 as pb

SPOT = {"vim": "dc", "host": "h1", "runtime": "CONTAINER", "nested": False}
THERE = {**SPOT, "host": "h2"}
WHO = {"tenant": "default", "chain": "c", "vnf": None, "id": "chain-1"}
MOVE = {
    **WHO,
    "alias": "fw",
    "vnf_instance_id": "i-1",
    "vdu_id": "v",
    "index": 0,
    "vnfc_id": "x",
    "from": SPOT,
    "to": THERE,
}
MEASURE = {"price": 9.5, "hops": 2, "latency_us": 50}
SAVED = {"price": 1.5, "hops": -2, "latency_us": 8}
COMMAND = "vnfm placement replace c/fw --to dc/h2 --apply"
AMOUNT = {"total": 8000, "free": 4000, "most_on_one_host": 2000}
ROOM = {
    "servers": 3,
    "servers_in_use": 2,
    **dict.fromkeys(("cpu_milli", "memory_bytes", "hugepage_bytes", "vfs", "gpus"), AMOUNT),
}
REFUSED = {"proof": "host", "detail": "no host has room for VNF fw", "minimal_change": "1 more CPU on host h2"}


def fate(outcome: str, **more: Any) -> dict[str, Any]:
    usual = {
        "why": "",
        "ends": [],
        "before": MEASURE,
        "after": MEASURE,
        "saved": SAVED,
        "command": None,
        "warnings": [],
    }
    return {**WHO, **usual, "outcome": outcome, "refused": None, **more}


def outlook(*chains: dict[str, Any], then: dict[str, Any] | None = None) -> list[pb.ForesightPiece]:
    """As it comes: progress, all but the lists, then the lists in pieces."""
    counts = {
        k.lower(): sum(c["outcome"] == k for c in chains) for k in ("MOVED", "HEALED", "RECREATED", "LOST", "BETTER")
    }
    change = {"price": {"before": 1.0, "after": 2.0}, "hops": {"before": 1, "after": 2}}
    head = {
        "supposed": {
            "drain": ["h1"],
            **{key: [] for key in ("fail_hosts", "fail_zones", "fail_sites", "fail_vims", "add_hosts")},
            "hosts_drained": 1,
            "hosts_failed": 0,
        },
        "running": {"chains": 3, "vnfs_alone": 0},
        "summary": {"touched": len(chains), **counts, "moves": 1, "cost": change},
        "headroom": {"now": ROOM, "then": ROOM},
        "then": then,
        "chains": [],
        "moves": [],
        "untold": [],
    }
    pieces: list[dict[str, Any]] = [head, *({"chains": [c]} for c in chains), {"moves": [MOVE]}]
    return [
        pb.ForesightPiece(progress=pb.ForesightProgress(done=0, total=2, doing="chain c")),
        *(pb.ForesightPiece(json=json.dumps(p)) for p in pieces),
    ]


def test_what_is_supposed_is_asked_as_typed(manager: FakeManager, vnfm: Run, tmp_path: Path) -> None:
    manager.answer("WhatIf", outlook(fate("MOVED", command=COMMAND)))
    file = tmp_path / "x.yaml"
    file.write_text("chain: x")
    args = ("--drain", "h1", "--drain", "dc/h2", "--fail-host", "h3", "--fail-zone", "z", "--fail-site", "s",
            "--fail-vim", "v", "--add-hosts", "3", "--add-hosts", "2:h4", "--then", str(file))  # fmt: skip
    assert vnfm("placement", "what-if", *args).exit_code == 0
    (request,) = manager.requests("WhatIf")
    assert request == pb.WhatIfRequest(
        drain=["h1", "dc/h2"],
        fail_hosts=["h3"],
        fail_zones=["z"],
        fail_sites=["s"],
        fail_vims=["v"],
        add_hosts=[pb.AddedHosts(count=3), pb.AddedHosts(count=2, like="h4")],
        then_chain=b"chain: x",
        then_filename="x.yaml",
    )


def test_a_program_gets_the_pieces_as_one_document(manager: FakeManager, vnfm: Run) -> None:
    manager.answer("WhatIf", outlook(fate("MOVED"), fate("RECREATED")))
    done = vnfm("placement", "what-if", "--drain", "h1", "-o", "json")
    data = json.loads(done.stdout)
    assert [c["outcome"] for c in data["chains"]] == ["MOVED", "RECREATED"]
    assert data["moves"] == [MOVE]
    assert data["untold"] == []


def test_a_person_sees_who_goes_where_what_is_left_and_how_to_do_it(manager: FakeManager, vnfm: Run) -> None:
    manager.answer("WhatIf", outlook(fate("MOVED", command=COMMAND), fate("RECREATED", why="its end client is there")))
    shown = vnfm("placement", "what-if", "--drain", "h1", "-o", "table").stdout
    for word in ("drained: h1", "1 moved, 1 recreated", "its end client is there", "dc/h2", "2 of 3", COMMAND):
        assert word in shown
    assert "price -1.5, +2 hops, -8 us" in shown  # what changes, not what is saved


def test_what_would_be_lost_is_exit_1_and_says_why(manager: FakeManager, vnfm: Run) -> None:
    manager.answer("WhatIf", outlook(fate("LOST", refused=REFUSED, after=None, saved=None)))
    done = vnfm("placement", "what-if", "--drain", "h1", "-o", "json")
    assert done.exit_code == 1
    data = json.loads(done.stdout)
    assert data["problem"]["type"] == "urn:vnfm:problem:no-placement"
    assert "chain c" in data["problem"]["detail"]
    table = vnfm("placement", "what-if", "--drain", "h1", "-o", "table")
    assert table.exit_code == 1
    assert "1 more CPU on host h2" in table.stdout


def test_a_chain_that_would_not_be_admitted_then_is_exit_1(manager: FakeManager, vnfm: Run, tmp_path: Path) -> None:
    manager.answer("WhatIf", outlook(then={"chain": "x", "feasible": False, "vnfs": [], "refused": REFUSED}))
    file = tmp_path / "x.yaml"
    file.write_text("chain: x")
    done = vnfm("placement", "what-if", "--add-hosts", "1", "--then", str(file))
    assert done.exit_code == 1
    assert "x would not be admitted" in json.loads(done.stdout)["problem"]["detail"]


@pytest.mark.parametrize(
    "args",
    [
        ("what-if",),
        ("what-if", "--add-hosts", "many"),
        ("what-if", "--add-hosts", "0"),
        ("what-if", "--then", "/nowhere/x.yaml"),
        ("defragment", "--most", "0"),
        ("replace",),
        ("replace", "c/fw", "--to", "h1", "--vim", "v"),
    ],
)
def test_wrong_use_asks_nobody(manager: FakeManager, vnfm: Run, args: tuple[str, ...]) -> None:
    assert vnfm("placement", *args).exit_code == 2
    assert not manager.calls


def test_moves_are_shown_in_order_with_what_each_saves(manager: FakeManager, vnfm: Run) -> None:
    move = {**fate("MOVED", command=COMMAND), "moves": [MOVE], "empties": [{"vim": "dc", "host": "h1"}], "order": 1}
    summary = {
        "moves": 1,
        "vnfcs": 1,
        "servers_emptied": 1,
        "servers_pinned": 2,
        "servers_without_refuge": 0,
        "chains_left_out": 7,
        "cost": {"price": {"before": 2.0, "after": 0.5}, "hops": {"before": 1, "after": 3}},
    }
    head = {"summary": summary, "headroom": {"now": ROOM, "then": ROOM}, "moves": []}
    manager.answer("Defragment", [pb.ForesightPiece(json=json.dumps(p)) for p in (head, {"moves": [move]})])
    done = vnfm("placement", "defragment", "--most", "5", "-o", "table")
    assert done.exit_code == 0
    for word in ("1 server emptied", "fw: CONTAINER h1 → CONTAINER h2", "price 1.5, -2 hops, 8 us", COMMAND,
                 "2 servers cannot be emptied", "7 chains not looked at"):  # fmt: skip
        assert word in done.stdout
    assert manager.requests("Defragment") == [pb.DefragmentRequest(most=5)]


def plan(**more: Any) -> pb.Document:
    why = {"reasons": ["the lightest that will do"], "rejected": [], "runner_up": None}
    told = {
        "tenant": "default",
        "chain": "c",
        "chain_id": "chain-1",
        "aliases": ["fw", "rt"],
        "feasible": True,
        "stays": False,
        "moves": [{**MOVE, **why}],
        "before": MEASURE,
        "after": MEASURE,
        "saved": SAVED,
        "warnings": ["fw starts anew from its image"],
        "operation": "CHAIN_UPDATE",
        "command": COMMAND,
        "refused": None,
    }
    return pb.Document(body=struct({**told, **more}))


def test_a_replacement_is_only_planned_unless_it_is_to_be_applied(manager: FakeManager, vnfm: Run) -> None:
    manager.answer("PlanReplacement", plan())
    shown = vnfm("placement", "replace", "c/fw", "c/rt", "--avoid", "h1", "-o", "table").stdout
    for word in ("would be moved", "the lightest that will do", "! fw starts anew", "Nothing was touched", COMMAND):
        assert word in shown
    assert manager.requests("PlanReplacement") == [pb.ReplacementRequest(refs=["c/fw", "c/rt"], avoid=["h1"])]
    assert not manager.requests("UpdateChain")


def test_what_is_applied_is_what_was_planned_under_the_callers_id(manager: FakeManager, vnfm: Run) -> None:
    manager.answer("PlanReplacement", plan())
    manager.answer("UpdateChain", op("STARTING"))
    manager.answer("WatchOpOcc", [op("COMPLETED", 100)])
    done = vnfm("placement", "replace", "c/fw", "--to", "h2", "--apply", "--request-id", "r-1", "-o", "json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["applied"]["state"] == "COMPLETED"
    assert "fw starts anew" in done.stderr
    place = pb.VnfcPlace(alias="fw", vdu_id="v", index=0, vim="dc", host="h2", runtime="CONTAINER")
    change = pb.ReplaceVnf(alias="fw", also=["rt"], places=[place])
    assert manager.requests("UpdateChain") == [pb.UpdateChainRequest(ref="chain-1", request_id="r-1", replace=change)]


def test_an_applied_move_that_fails_is_exit_1_with_the_operation_and_the_plan(manager: FakeManager, vnfm: Run) -> None:
    manager.answer("PlanReplacement", plan())
    manager.answer("UpdateChain", op("STARTING"))
    manager.answer("WatchOpOcc", [op("FAILED_TEMP", 50)])
    done = vnfm("placement", "replace", "c/fw", "--apply", "-o", "json")
    assert done.exit_code == 1
    data = json.loads(done.stdout)
    assert (data["state"], data["plan"]["chain"]) == ("FAILED_TEMP", "c")
    assert "vnfm op retry" in done.stderr


def test_what_would_stay_is_not_moved(manager: FakeManager, vnfm: Run) -> None:
    manager.answer("PlanReplacement", plan(stays=True, command=None))
    done = vnfm("placement", "replace", "c/fw", "--apply")
    assert done.exit_code == 0
    assert "nothing is moved" in done.stderr
    assert not manager.requests("UpdateChain")


def test_what_cannot_go_there_is_refused_with_proof_and_change(manager: FakeManager, vnfm: Run) -> None:
    manager.answer("PlanReplacement", plan(feasible=False, moves=[], refused=REFUSED, command=None))
    done = vnfm("placement", "replace", "c/fw", "--to", "h2", "--apply", "-o", "json")
    assert done.exit_code == 1
    data = json.loads(done.stdout)
    assert data["problem"]["detail"] == REFUSED["detail"]
    assert data["refused"] == REFUSED
    assert not manager.requests("UpdateChain")
