"""The engine over JSON lines: answers hold, errors name their field, and the process lives on."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import format_checker
import format_clouds
import pytest


def talk(lines: list[object]) -> list[Any]:
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    done = subprocess.run(
        [sys.executable, "-m", "vnfm.placement.serve"],
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_chains_are_placed_and_released_and_every_answer_holds() -> None:
    cloud = format_clouds.make("dc100", 3, chains=0)
    chains = list(format_clouds.requests("dc100", 3, 40))
    lines: list[object] = [{"op": "load", "instance": cloud}]
    lines += [{"op": "place", "chain": chain} for chain in chains]
    first = talk([*lines, {"op": "quit"}])
    assert first[0] == {"ok": True}
    assert first[-1] == {"ok": True}
    ledger = format_checker.Ledger(cloud)
    answers = first[1:-1]
    accepted = [(c, a) for c, a in zip(chains, answers, strict=True) if a["accepted"]]
    assert len(accepted) > 25
    assert [v for c, a in accepted for v in ledger.add(c, a)] == []
    again = talk([*lines, {"op": "quit"}])
    assert again == first


def test_what_is_released_can_be_placed_again_in_the_same_way() -> None:
    cloud = format_clouds.make("tight", 3)
    chains, cloud["chains"] = cloud["chains"], []
    place = [{"op": "place", "chain": chain} for chain in chains]
    first = talk([{"op": "load", "instance": cloud}, *place])
    release = [{"op": "release", "id": a["id"]} for a in first[1:] if a["accepted"]]
    both = talk([{"op": "load", "instance": cloud}, *place, *release, *place])
    assert both[1 : 1 + len(place)] == first[1:]
    assert both[1 + len(place) + len(release) :] == first[1:]


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("{", ""),
        ("[1]", ""),
        ({"op": "dance"}, "op"),
        ({"op": ["place"]}, "op"),
        ({"op": "load", "instance": []}, "instance"),
        ({"op": "load", "instance": {"catalogue": {}, "nodes": [{"kind": "server"}]}}, "instance.nodes[0].cells"),
        ({"op": "place", "chain": {"id": "c", "vnfs": [{"id": "v"}]}}, "chain.vnfs[0].cpu"),
        ({"op": "place"}, "chain"),
        ({"op": "release", "id": "nobody"}, "id"),
        ({"op": "release"}, "id"),
    ],
)
def test_a_bad_line_is_answered_with_its_field_and_the_next_is_served(line: object, field: str) -> None:
    cloud = format_clouds.make("tiny", 1)
    chain = cloud["chains"][0]
    cloud["chains"] = []
    good: list[object] = [{"op": "load", "instance": cloud}, {"op": "place", "chain": chain}]
    plain = talk(good)
    answers = talk([good[0], line, good[1], {"op": "quit"}])
    assert answers[1]["error"]["field"] == field
    assert answers[1]["error"]["detail"]
    assert answers[2] == plain[1]


def test_nothing_can_be_placed_before_something_is_loaded() -> None:
    assert talk([{"op": "place", "chain": {}}])[0]["error"]["field"] == "op"
