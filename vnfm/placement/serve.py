"""Placement over JSON lines: one request a line on stdin, one answer a line on stdout.

`load` (an instance; its chains are not placed), `place` (a chain), `explain`
(a chain: why it would be placed as it would be; nothing is entered), `release` (a chain's id), `quit`. A line
that is wrong is answered with `{"error": {"field", "detail"}}`, and nothing has changed.
"""

from __future__ import annotations

# ruff: noqa: E402
import gc

_looking = gc.isenabled()
gc.disable()  # what is imported stays: there is nothing to look for meanwhile

import json
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, TextIO

from vnfm.model.problem import ProblemError, problem
from vnfm.placement.book import Book
from vnfm.placement.estate import build_estate
from vnfm.placement.fields import shown
from vnfm.placement.placer import Placer
from vnfm.placement.solution_io import answer_dict
from vnfm.placement.statement_io import Known, invalid, known_of, parse_chain, parse_instance

if _looking:
    gc.enable()

Json = dict[str, Any]
SELDOM = (100_000, 20, 100)  # there are no cycles worth the time of looking for them after each chain


class Server:
    """Answers requests, one after the other."""

    def __init__(self) -> None:
        self._placer: Placer | None = None
        self._known = Known({}, frozenset())
        self._done = False
        self._operations: dict[str, Callable[[Json], Json]] = {
            "load": self._load,
            "place": self._place,
            "release": self._release,
            "explain": self._explain,
            "quit": self._quit,
        }

    @property
    def done(self) -> bool:
        """Whether `quit` was asked."""
        return self._done

    def answer(self, line: str) -> Json:
        """The answer to one line."""
        try:
            request = json.loads(line)
        except (ValueError, RecursionError) as wrong:
            return _error("", f"the line is not JSON: {wrong}")
        if not isinstance(request, dict):
            return _error("", f"expected an object, got {shown(request)}")
        op = request.get("op")
        operation = self._operations.get(op) if isinstance(op, str) else None
        if operation is None:
            return _error("op", f"expected one of {', '.join(self._operations)}, got {shown(op)}")
        try:
            return operation(request)
        except ProblemError as wrong:
            return _error(wrong.problem.instance, wrong.problem.detail)

    def _load(self, request: Json) -> Json:
        self._placer = _within("instance", lambda: loaded(request.get("instance")))
        self._known = known_of(self._placer.book.estate.instance)
        import_module("vnfm.placement.refusals")  # by now, so that the first refusal is not the slow one
        gc.freeze()  # what is loaded stays; collecting it again and again costs milliseconds
        gc.set_threshold(*SELDOM)
        return {"ok": True}

    def _place(self, request: Json) -> Json:
        placer = self._loaded()
        chain = _within("chain", lambda: parse_chain(request.get("chain"), self._known))
        if chain.id in placer.book.held:
            raise invalid("chain.id", f"expected one that is not placed, got {shown(chain.id)}")
        return answer_dict(placer.place(chain))

    def _explain(self, request: Json) -> Json:
        placer = self._loaded()
        return placer.explain(_within("chain", lambda: parse_chain(request.get("chain"), self._known)))

    def _release(self, request: Json) -> Json:
        chain = request.get("id")
        if not isinstance(chain, str) or chain not in self._loaded().book.held:
            raise invalid("id", f"expected the id of a chain that is placed, got {shown(chain)}")
        self._loaded().release(chain)
        return {"ok": True}

    def _quit(self, request: Json) -> Json:
        self._done = True
        return {"ok": True}

    def _loaded(self) -> Placer:
        if self._placer is None:
            raise problem("invalid-request", "op: nothing is loaded yet; load an instance first", instance="op")
        return self._placer


def loaded(raw: object) -> Placer:
    """A placer on the instance that is told, its chains not placed. Raises ProblemError `invalid-request`.

    The garbage collector rests meanwhile: what comes stays.
    """
    looking = gc.isenabled()
    gc.disable()
    try:
        return Placer(Book(build_estate(parse_instance(raw))))
    finally:
        if looking:
            gc.enable()


def _within(name: str, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except ProblemError as wrong:
        inner = wrong.problem
        raise invalid(
            f"{name}.{inner.instance}".rstrip("."), inner.detail.removeprefix(f"{inner.instance}: ")
        ) from None


def _error(field: str, detail: str) -> Json:
    return {"error": {"field": field, "detail": detail}}


def serve(lines: TextIO, out: TextIO) -> None:
    """Answer line by line until `quit` or the end."""
    server = Server()
    for line in lines:
        if not line.strip():
            continue
        answer = server.answer(line)
        out.write(json.dumps(answer, separators=(",", ":")) + "\n")
        out.flush()
        if server.done:
            return


if __name__ == "__main__":
    serve(sys.stdin, sys.stdout)
