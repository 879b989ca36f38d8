"""Tables as people see them, at 80 and 120 columns."""

from __future__ import annotations

import io
from typing import Any

import pytest
from fake_manager import CHAIN_BODY, PLAN_BODY, op, step, struct
from rich.console import Console

from vnfm.cli import render, render_chain, render_inventory, shapes
from vnfm.cli.progress import Board
from vnfm.pb.common.v1 import common_pb2
from vnfm.pb.nfvo.v1 import nfvo_pb2


def drawn(renderable: Any, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False, color_system=None).print(renderable)
    return out.getvalue()


def squeezed(text: str) -> str:
    """The words in order, line breaks and borders gone."""
    return " ".join(w for w in text.split() if not set(w) <= set("│─┼╭╮╰╯"))


PLAN_120 = """\
Chain vcpe can be realized

 VNF   Realized as   Host            Why
 ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
 fw    CONTAINER     local           • isolation level tenant: the kernel may be shared within the tenant
                     └ rack1-host7   • starts in 30 ms
                                     ✗ KATA on rack1-host7 and 1 more: adds 60 us a hop, more than hop_us 20 allows
                                     ✗ VM: the package brings no disk image
                                     next best: CONTAINER on rack1-host8: it is as light, but starts slower

 gw    VM            local           • operating_system own: only a VM brings its own operating system
                     └ rack1-host7
"""


def test_a_plan_at_120_columns() -> None:
    text = drawn(render_chain.plan({"chain": "vcpe", "feasible": True} | PLAN_BODY), 120)
    assert [line.rstrip() for line in text.splitlines()][:12] == PLAN_120.splitlines()


@pytest.mark.parametrize("width", [80, 120])
def test_a_plan_fits_and_loses_no_word(width: int) -> None:
    text = drawn(render_chain.plan({"chain": "vcpe", "feasible": True} | PLAN_BODY), width)
    assert max(len(line) for line in text.splitlines()) <= width
    words = squeezed(text)
    for expected in (
        "isolation level tenant: the kernel may be shared",
        "✗ KATA on rack1-host7 and 1 more: adds 60 us",
        "✗ VM: the package brings no disk image",
        "next best: CONTAINER on rack1-host8",
        "client-fw 12.5 us 1 Gbit/s",
    ):
        assert all(word in words for word in expected.split()), (expected, text)


@pytest.mark.parametrize("width", [80, 120])
def test_a_refusal_shows_proof_detail_and_smallest_change(width: int) -> None:
    refused = {"proof": "INSUFFICIENT", "detail": "gw wants 64 GiB [all at once]", "minimal_change": "ask for 16 GiB"}
    text = drawn(render_chain.plan({"chain": "vcpe", "feasible": False, "vnfs": [], "refused": refused}), width)
    assert "Chain vcpe cannot be realized" in text
    assert "Refused: INSUFFICIENT" in text
    assert "gw wants 64 GiB [all at once]" in text  # square brackets are no markup
    assert "Smallest change that would do: ask for 16 GiB" in text
    assert "chain create" not in text


@pytest.mark.parametrize("width", [80, 120])
def test_a_chain_shows_what_each_hop_counted(width: int) -> None:
    text = drawn(render_chain.chain({"name": "vcpe", "id": "c-1", "state": "INSTANTIATED"} | CHAIN_BODY), width)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    lines = [squeezed(line) for line in text.splitlines()]
    assert "client → fw 10 10 - 85 us" in lines
    assert "fw → server 10 9 1 2.1 ms" in lines or "fw → server 10 9 1 2.2 ms" in lines
    assert any("vnfm-1a2b" in line and "CONTAINER" in line for line in lines)


def test_a_failed_operation_shows_its_problem_and_steps() -> None:
    problem = common_pb2.Problem(
        type="t", title="Boot timeout", detail="gw did not answer", instance="gw", retry=common_pb2.Problem.SAME_CALL
    )
    text = drawn(render.operation(op("FAILED_TEMP", 40, step("compute gw", "FAILED", 60.0), error=problem)), 80)
    for expected in ("FAILED_TEMP", "Boot timeout", "gw did not answer", "the same call may succeed later"):
        assert expected in text
    assert "compute gw FAILED 60.0 s" in squeezed(text)


def test_an_inventory_says_what_is_free_and_what_was_measured() -> None:
    host = {
        "id": "h1",
        "parent": None,
        "runtimes": ["CONTAINER", "KATA"],
        "cpu": {"total_milli": 2000, "free_milli": 500, "cells": 1},
        "memory_bytes": {"total": 24 << 30, "free": 1536 << 20},
        "measured": {"KATA": {"start_ms": 2100, "memory_bytes": 220 << 20, "hop_latency_us": 180}},
    }
    words = squeezed(drawn(render_inventory.inventory({"vim": "local", "version": 7, "hosts": [host]}), 120))
    assert "0.5 of 2" in words
    assert "1.5 GiB of 24 GiB" in words
    assert "KATA: 2100 ms to start, 220 MiB, 180 us" in words


def test_empty_lists_say_so() -> None:
    assert "none" in drawn(render.packages([]), 80)


def test_a_document_of_unknown_fields_is_shown_whole() -> None:
    document = {"a": 1, "b": {"c": True, "f": [{"g": "[x]"}]}, "d": [{"e": 2}]}
    lines = [squeezed(line) for line in drawn(render.fields(shapes.body(struct(document))), 80).splitlines()]
    assert "b c: yes" in lines
    assert lines.index("g") < lines.index("[x]")
    assert lines.index("e") < lines.index("2")


def test_the_live_board_names_running_steps_and_counts_the_done() -> None:
    board = Board(Console(file=io.StringIO(), width=80))
    board.update(
        op(
            "PROCESSING",
            50,
            step("link a", "DONE"),
            step("compute [gw]", "STARTED", 3.2, "booting"),
            step("x", "PENDING"),
        )
    )
    text = drawn(board.render(), 80)
    assert "1/3 steps" in text
    assert "compute [gw]: booting  3.2 s" in text
    assert "x" not in text.split("booting")[1]
    board.note("the manager is not reachable")
    assert "the manager is not reachable" in drawn(board.render(), 80)


@pytest.mark.parametrize(
    ("count", "text"), [(None, "-"), (0, "0 B"), (1536, "1.5 KiB"), (13 << 20, "13 MiB"), (3 << 50, "3072 TiB")]
)
def test_sizes_are_for_eyes(count: int | None, text: str) -> None:
    assert render.size(count) == text


def test_packages_list_names_product_and_states() -> None:
    package = nfvo_pb2.Package(id="p-1", product="fw", version="1.0", onboarding_state="ONBOARDED")
    assert "p-1 fw 1.0 - ONBOARDED" in squeezed(drawn(render.packages([package]), 100))
