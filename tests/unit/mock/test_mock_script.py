"""The script's own rules: what it says, when it fires, what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.mock import config
from plugins.mock.script import RPCS, Call, Do, fire, parse
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.problems import PluginError


def _fired(script: list[dict[str, Any]], calls: list[Call]) -> list[list[Do]]:
    rules, counts, seen = parse(script), {}, []
    for call in calls:
        fired, changed = fire(rules, counts, call)
        counts.update(changed)
        seen.append([rule.do for rule in fired])
    return seen


def test_a_rule_fires_once_at_its_turn_and_counts_only_what_matches() -> None:
    script = [{"match": {"rpc": "AllocateCompute", "runtime": "KATA"}, "nth": 2, "do": "fail"}]
    kata, vm = Call("AllocateCompute", runtime="KATA"), Call("AllocateCompute", runtime="VM")
    assert _fired(script, [kata, vm, kata, kata]) == [[], [], [Do.FAIL], []]


def test_without_nth_it_is_the_first_and_a_star_is_every_one() -> None:
    call = Call("AllocateLink")
    assert _fired([{"match": {"rpc": "AllocateLink"}, "do": "crash"}], [call] * 2) == [[Do.CRASH], []]
    script = [{"match": {"rpc": "AllocateLink"}, "nth": "*", "do": {"delay_ms": 5}}]
    assert _fired(script, [call] * 2) == [[Do.DELAY], [Do.DELAY]]


def test_connection_points_names_and_ids_narrow_a_match() -> None:
    script = [{"match": {"rpc": "AllocateCompute", "cp": "in", "name": "fw", "resource_id": "r"}, "do": "fail"}]
    hit = Call("AllocateCompute", "r", "VM", "fw", frozenset({"in", "out"}))
    misses = [
        Call("AllocateCompute", "r", "VM", "fw", frozenset({"out"})),
        Call("AllocateCompute", "r", "VM", "rt", frozenset({"in"})),
        Call("AllocateCompute", "q", "VM", "fw", frozenset({"in"})),
        Call("Terminate", "r", "VM", "fw", frozenset({"in"})),
    ]
    assert _fired(script, [*misses, hit]) == [[], [], [], [], [Do.FAIL]]


def test_two_rules_that_say_the_same_count_apart_and_both_act() -> None:
    rule = {"match": {"rpc": "Terminate"}, "do": "delay_ms", "ms": 1}
    assert _fired([rule, rule], [Call("Terminate")]) == [[Do.DELAY, Do.DELAY]]


def test_counts_stay_with_a_rule_when_the_script_grows() -> None:
    rule = {"match": {"rpc": "Terminate"}, "do": "crash"}
    other = {"match": {"rpc": "AllocateLink"}, "do": "fail"}
    assert parse([rule])[0].key == parse([other, rule])[1].key


def test_a_problem_says_what_the_script_says() -> None:
    (rule,) = parse(
        [
            {
                "match": {"rpc": "AllocateCompute"},
                "do": "fail",
                "problem": {
                    "type": "urn:vnfm:problem:insufficient-capacity",
                    "title": "Full",
                    "detail": "no room",
                    "status": "RESOURCE_EXHAUSTED",
                    "retry": "NEW_PLACEMENT",
                    "retry_after_ms": 7,
                },
            }
        ]
    )
    error = rule.fault.error("r-1")
    assert (error.code.name, error.word, error.problem.title) == ("RESOURCE_EXHAUSTED", "insufficient-capacity", "Full")
    assert (error.problem.detail, error.problem.instance, error.problem.retry_after_ms) == ("no room", "r-1", 7)


@pytest.mark.parametrize(
    "entry",
    [
        {"match": {"rpc": "AllocateCompute"}, "do": "delay_ms"},
        {"match": {"rpc": "PutImage"}, "do": "partial"},
        {"match": {"rpc": "AllocateCompute"}, "do": "partial", "when": "before"},
        {"match": {"rpc": "WatchStats"}, "do": "partial"},
        {"match": {"rpc": "AllocateCompute"}, "do": "start_ms"},
        {"match": {"rpc": "AllocateLink"}, "do": {"start_ms": 5}},
        {"match": {"rpc": "AllocateCompute"}, "do": {"start_ms": 5}, "when": "after"},
        {"match": {"rpc": "Terminate"}, "do": "die"},
        {"match": {"rpc": "AllocateCompute"}, "do": "die", "when": "before"},
        {"match": {"rpc": "AllocatePath"}, "do": "link_lost"},
        {"match": {"rpc": "AllocateCompute"}, "do": "fail", "after_ms": 5},
    ],
)
def test_what_has_no_sense_is_refused_by_its_place(entry: dict[str, Any]) -> None:
    with pytest.raises(PluginError, match="config/script/1"):
        parse([{"match": {"rpc": "Terminate"}, "do": "fail"}, entry])


def test_hosts_are_a_number_or_a_list_and_have_plausible_costs() -> None:
    found = config.parse({"hosts": 2, "host": {"cpu_milli": 4000, "cells": 2}}, None)
    assert [host.id for host in found.hosts] == ["host-1", "host-2"]
    assert [cell.cpu_milli for cell in found.hosts[0].cells] == [2000, 2000]
    costs = {cost.runtime: (cost.start_ms, cost.hop_us, cost.memory_bytes >> 20) for cost in found.hosts[0].costs}
    assert costs == {
        pb.RUNTIME_CONTAINER: (50, 5, 8),
        pb.RUNTIME_KATA: (2500, 150, 160),
        pb.RUNTIME_VM: (20000, 300, 300),
    }
    own = config.parse({"hosts": [{"id": "a"}, {"id": "w", "parent_id": "a", "runtimes": ["CONTAINER"]}]}, None)
    assert own.hosts[1].parent_id == "a"
    assert {refusal.runtime for refusal in own.hosts[1].refusals} == {pb.RUNTIME_VM, pb.RUNTIME_KATA}


@pytest.mark.parametrize("hosts", [[{"id": "a"}, {"id": "a"}], [{"id": "a", "parent_id": "b"}]])
def test_hosts_that_cannot_be_are_refused(hosts: list[dict[str, Any]]) -> None:
    with pytest.raises(PluginError, match="config/hosts"):
        config.parse({"hosts": hosts}, None)


def test_words_for_later_and_for_starting_keep_their_times() -> None:
    die, lost, start = parse(
        [
            {"match": {"rpc": "AllocateCompute", "runtime": "CONTAINER"}, "nth": 1, "do": "die", "after_ms": 300},
            {"match": {"rpc": "AllocateSap"}, "do": "link_lost"},
            {"match": {"rpc": "AllocateCompute"}, "nth": "*", "do": {"start_ms": 40}},
        ]
    )
    assert (die.do, die.after_ms, lost.do, lost.after_ms) == (Do.DIE, 300, Do.LINK_LOST, 0)
    assert (start.do, start.delay_ms, start.nth) == (Do.START, 40, None)


def test_every_rpc_of_the_contract_that_does_work_is_a_fault_point() -> None:
    served = {method.name for service in pb.DESCRIPTOR.services_by_name.values() for method in service.methods}
    kits_own = {"Handshake", "WatchInventory", "QueryResources", "WatchResources", "Exchange"}
    assert set(RPCS) == served - kits_own
