"""Answers and solutions to JSON and back."""

from __future__ import annotations

from typing import Any

from vnfm.placement.fields import Json, each, flag, mapping, maybe_whole, misfit, text, texts
from vnfm.placement.statement import SOLUTION_FORMAT, Answer, Placed, Solution
from vnfm.placement.statement_io import told


def parse_solution(data: object) -> Solution:
    """A solution of the format; whether it is right is not looked at."""
    return told(lambda: _solution(mapping(data)))


def answer_dict(answer: Answer) -> dict[str, Any]:
    """A chain's answer in the format's words."""
    out: dict[str, Any] = {"id": answer.id, "accepted": answer.accepted}
    if answer.accepted:
        out["vnfs"] = {name: _placed_dict(p) for name, p in answer.vnfs.items()}
        out["vlinks"] = {name: list(path) for name, path in answer.vlinks.items()}
    if answer.reason is not None:
        out["reason"] = dict(answer.reason)
    return out


def _placed_dict(placed: Placed) -> dict[str, Any]:
    out: dict[str, Any] = {"node": placed.node, "realization": placed.realization, "cell": placed.cell}
    if placed.opened:
        out["opened"] = placed.opened
        out["worker"] = placed.worker
    return out


def solution_dict(solution: Solution) -> dict[str, Any]:
    """A solution in the format's words, with the figures that are known."""
    out: dict[str, Any] = {"format": SOLUTION_FORMAT, "instance": solution.instance}
    out.update(
        (name, value)
        for name, value in (("objective", solution.objective), ("bound", solution.bound), ("gap", solution.gap))
        if value is not None
    )
    out["chains"] = [answer_dict(a) for a in solution.chains]
    return out


def _solution(data: Json) -> Solution:
    if data.get("format") != SOLUTION_FORMAT:
        misfit("format", repr(SOLUTION_FORMAT), data.get("format"))
    gap = data.get("gap")
    return Solution(
        instance=text(data, "instance", ""),
        chains=each(data, "chains", lambda x: _answer(mapping(x)), required=True),
        objective=maybe_whole(data, "objective"),
        bound=maybe_whole(data, "bound"),
        gap=None if gap is None else float(gap),
    )


def _answer(data: Json) -> Answer:
    vnfs = mapping(data.get("vnfs") or {}, "vnfs")
    vlinks = mapping(data.get("vlinks") or {}, "vlinks")
    return Answer(
        id=text(data, "id"),
        accepted=flag(data, "accepted"),
        vnfs={name: _placed(mapping(p, f"vnfs.{name}")) for name, p in vnfs.items()},
        vlinks={name: texts(vlinks, name) for name in vlinks},
        reason=data.get("reason") if isinstance(data.get("reason"), dict) else None,
    )


def _placed(data: Json) -> Placed:
    return Placed(
        node=text(data, "node"),
        realization=text(data, "realization"),
        cell=maybe_whole(data, "cell"),
        opened=text(data, "opened", ""),
        worker=text(data, "worker", ""),
    )
