"""The script of a mock: which call goes wrong, when, and how.

    [{match: {rpc: AllocateCompute, runtime: KATA, cp: in, resource_id: …, name: …}, nth: 1, when: before,
      do: fail, problem: {type: insufficient-capacity, status: RESOURCE_EXHAUSTED, retry: NEW_PLACEMENT, detail: …}}]

Each rule counts the work that matches it and fires at its `nth` (default 1; "*" is every one). Work is what the
plugin does: joined calls count once, a call that finds the finished object there counts not at all (and StatImage
counts the look that PutImage takes first).
Counts are kept with the objects, so that a rule which crashes the plugin once does not crash it for ever. All rules
that fire at one call act, in the script's order.

`do`: fail (the call fails; `when: after` leaves its effect), partial (the object is there, but failed half-way; a
probe loses its packets before the last hop), crash (the process ends; before or after the effect), hang (until the
caller gives up), delay_ms (with `ms`, or `{delay_ms: 200}`), start_ms (in the same two ways: how long a compute or SAP
takes to start). What a compute waited for by delay_ms and start_ms is the start-up time that it reports.

Two words act later, by themselves, `after_ms` (default 0) after the call has succeeded: die (the object is FAILED;
`problem: {detail}` is the reason, a silent agent for instance) and link_lost (the port that `match` names by `cp`, else
the first, has lost its link, so the object is FAILED, and starting it anew does not mend it). WatchResources tells.
Terminate, or an allocation that builds it anew, takes the fate away.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import grpc

from vnfm.pb.common.v1.common_pb2 import Problem
from vnfm.pluginkit.problems import URN, PluginError, invalid

RPCS = (
    "Configure",
    "AllocateCompute",
    "OperateCompute",
    "AttachPort",
    "Exec",
    "AllocateVolume",
    "AllocateLink",
    "JoinLink",
    "AllocateSap",
    "AllocatePath",
    "ProbePath",
    "CountProbe",
    "WatchStats",
    "Capture",
    "Terminate",
    "StatImage",
    "PutImage",
    "DeleteImage",
)
_NO_PARTIAL = ("Configure", "Exec", "CountProbe", "WatchStats", "Capture", "StatImage", "PutImage", "DeleteImage")
_STARTS = ("AllocateCompute", "OperateCompute", "AllocateSap")
_MORTAL = (*_STARTS, "AttachPort", "AllocateLink", "AllocatePath")
RUNTIMES = ("VM", "KATA", "CONTAINER")

_STATUSES = tuple(code.name for code in grpc.StatusCode if code is not grpc.StatusCode.OK)
_WORDS = ("fail", "delay_ms", "start_ms", "crash", "partial", "hang", "die", "link_lost")
_TIMES = ("delay_ms", "start_ms")
_NAME = {"type": "string", "minLength": 1}
_MS = {"type": "integer", "minimum": 0}

SCHEMA: Mapping[str, object] = {
    "type": "array",
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": ["match", "do"],
        "properties": {
            "match": {
                "type": "object",
                "additionalProperties": False,
                "required": ["rpc"],
                "properties": {
                    "rpc": {"enum": list(RPCS)},
                    "runtime": {"enum": list(RUNTIMES)},
                    "cp": _NAME,
                    "resource_id": _NAME,
                    "name": _NAME,
                },
            },
            "nth": {"anyOf": [{"type": "integer", "minimum": 1}, {"const": "*"}]},
            "when": {"enum": ["before", "after"]},
            "do": {
                "anyOf": [
                    {"enum": list(_WORDS)},
                    {
                        "type": "object",
                        "additionalProperties": False,
                        "minProperties": 1,
                        "maxProperties": 1,
                        "properties": dict.fromkeys(_TIMES, _MS),
                    },
                ]
            },
            "ms": _MS,
            "after_ms": _MS,
            "problem": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "type": _NAME,
                    "title": _NAME,
                    "detail": _NAME,
                    "status": {"enum": list(_STATUSES)},
                    "retry": {"enum": ["NEVER", "SAME_CALL", "NEW_PLACEMENT"]},
                    "retry_after_ms": _MS,
                },
            },
        },
    },
}


class Do(StrEnum):
    """What a rule does."""

    FAIL = "fail"
    DELAY = "delay_ms"
    START = "start_ms"
    CRASH = "crash"
    PARTIAL = "partial"
    HANG = "hang"
    DIE = "die"
    LINK_LOST = "link_lost"


@dataclass(frozen=True, slots=True)
class Call:
    """What a rule can match: the RPC, and what the object is or shall be."""

    rpc: str
    resource_id: str = ""
    runtime: str = ""
    name: str = ""
    cps: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Fault:
    """The problem that a rule answers with."""

    word: str = "realization-failed"
    title: str = ""
    detail: str = "the script of the mock says so"
    status: str = "INTERNAL"
    retry: str = "SAME_CALL"
    retry_after_ms: int = 0

    def error(self, resource_id: str) -> PluginError:
        """To be raised."""
        return PluginError(
            self.word,
            self.detail,
            grpc.StatusCode[self.status],
            retry=Problem.Retry.Value(self.retry),
            title=self.title,
            instance=resource_id,
            retry_after_ms=self.retry_after_ms,
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of the script; empty matches match anything, `nth` None is every time.

    Its `key` follows from what it says, so that counts stay with a rule, not with its place in the script.
    """

    key: str
    match: Call
    do: Do
    nth: int | None = 1
    after: bool = False
    delay_ms: int = 0
    after_ms: int = 0
    fault: Fault = Fault()

    def matches(self, call: Call) -> bool:
        """Whether the call is one that this rule counts."""
        wanted = self.match
        return (
            wanted.rpc == call.rpc
            and wanted.resource_id in ("", call.resource_id)
            and wanted.runtime in ("", call.runtime)
            and wanted.name in ("", call.name)
            and wanted.cps <= call.cps
        )


def parse(script: Sequence[Mapping[str, Any]]) -> tuple[Rule, ...]:
    """Rules from what SCHEMA allows; INVALID_ARGUMENT where the schema cannot tell that it has no sense."""
    rules: list[Rule] = []
    for index, entry in enumerate(script):
        digest = hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()[:16]
        alike = sum(1 for rule in rules if rule.key.startswith(digest))
        rules.append(_rule(f"config/script/{index}", f"{digest}.{alike}", entry))
    return tuple(rules)


def _check_word(where: str, do: str, rpc: str, entry: Mapping[str, Any]) -> None:
    before = entry.get("when") == "before"
    if do == "partial" and (rpc in _NO_PARTIAL or before):
        raise invalid(where, f"do: partial leaves an object half-built: not of {rpc}, not `when: before`")
    if do == "start_ms" and (rpc not in _STARTS or "when" in entry):
        raise invalid(where, f"do: start_ms is of {', '.join(_STARTS)}, not of {rpc}, and has no `when`")
    if do in ("die", "link_lost"):
        mortal = _MORTAL if do == "die" else tuple(each for each in _MORTAL if each != "AllocatePath")
        if rpc not in mortal or before:
            raise invalid(where, f"do: {do} is of {', '.join(mortal)}, not of {rpc}, and not `when: before`")
    elif "after_ms" in entry:
        raise invalid(where, f"after_ms is of die and link_lost, not of {do}")


def _rule(where: str, key: str, entry: Mapping[str, Any]) -> Rule:
    match, do = entry["match"], entry["do"]
    delay_ms = entry.get("ms", 0)
    if isinstance(do, Mapping):
        ((do, delay_ms),) = do.items()
    elif do in _TIMES and "ms" not in entry:
        raise invalid(where, f"do: {do} needs ms, or write do: {{{do}: 200}}")
    _check_word(where, do, match["rpc"], entry)
    problem = entry.get("problem", {})
    fault = Fault(
        word=problem.get("type", "realization-failed").removeprefix(URN),
        **{key: value for key, value in problem.items() if key != "type"},
    )
    return Rule(
        key=key,
        match=Call(
            rpc=match["rpc"],
            resource_id=match.get("resource_id", ""),
            runtime=match.get("runtime", ""),
            name=match.get("name", ""),
            cps=frozenset(filter(None, [match.get("cp", "")])),
        ),
        do=Do(do),
        nth=None if entry.get("nth") == "*" else entry.get("nth", 1),
        after=entry.get("when", "before") == "after",
        delay_ms=delay_ms,
        after_ms=entry.get("after_ms", 0),
        fault=fault,
    )


def fire(rules: Sequence[Rule], counts: Mapping[str, int], call: Call) -> tuple[list[Rule], dict[str, int]]:
    """The rules that act at this call, and the counts that have changed (by the rule's key)."""
    fired: list[Rule] = []
    changed: dict[str, int] = {}
    for rule in rules:
        if rule.matches(call):
            changed[rule.key] = counts.get(rule.key, 0) + 1
            if rule.nth in (None, changed[rule.key]):
                fired.append(rule)
    return fired, changed
