"""Statements that are run straight on the driver do what they do through SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, bindparam, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError, OperationalError

from vnfm.model.problem import Problem
from vnfm.model.resources import Handle
from vnfm.store import tables as t
from vnfm.store.database import open_engine
from vnfm.store.prepared import _prepared, first, write
from vnfm.store.statements import KEY, change_where, new_row, new_row_unless_there, removal_where

ROW = {
    "operation_id": "o",
    "step": "s",
    "state": "DONE",
    "at": "now",
    "output": Handle("r"),
    "problem": None,
}


@pytest.fixture
def c(tmp_path: Path) -> Iterator[Connection]:
    engine = open_engine(f"sqlite:///{tmp_path / 'x.sqlite'}")
    t.metadata.create_all(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def rows(c: Connection, table: object = t.step_event) -> list[dict[str, object]]:
    return [dict(r) for r in c.execute(select(table)).mappings()]  # type: ignore[call-overload]


def test_rows_are_the_same_whichever_way_they_are_written(c: Connection) -> None:
    write(c, new_row(t.step_event), [ROW, {**ROW, "step": "z", "output": None, "problem": Problem("t", "a", "b")}])
    c.execute(new_row(t.step_event), [ROW, {**ROW, "step": "z", "output": None, "problem": Problem("t", "a", "b")}])
    one, two, three, four = ({k: v for k, v in row.items() if k != "seq"} for row in rows(c))
    assert (one, two) == (three, four)
    assert one["output"]["resource_id"] == "r"  # type: ignore[index]
    assert two["problem"]["title"] == "a"  # type: ignore[index]


def test_parameters_may_differ_from_call_to_call_and_come_in_any_order(c: Connection) -> None:
    subject = {"operation_id": "o", "subject_id": "a", "lane": "", "open": True}
    write(c, new_row(t.op_subject), subject)
    write(c, change_where(t.op_subject.c.operation_id), {"lane": "x", KEY: "o"})
    write(c, change_where(t.op_subject.c.operation_id), {KEY: "o", "open": False, "lane": "y"})
    assert rows(c, t.op_subject) == [{**subject, "lane": "y", "open": False}]
    write(c, new_row_unless_there(t.op_subject, "sqlite"), [subject, {**subject, "subject_id": "b"}])
    assert [row["open"] for row in rows(c, t.op_subject)] == [False, True]
    write(c, removal_where(t.op_subject.c.subject_id), {KEY: "a"})
    assert [row["subject_id"] for row in rows(c, t.op_subject)] == ["b"]
    write(c, new_row(t.op_subject), [])


def test_what_the_statement_itself_says_stays(c: Connection) -> None:
    write(c, new_row(t.step_event), [ROW, {**ROW, "operation_id": "other"}])
    ended = update(t.step_event).where(t.step_event.c.operation_id == bindparam(KEY)).values(state="FAILED")
    write(c, ended, {KEY: "o", "step": "n"})
    assert [(row["state"], row["step"]) for row in rows(c)] == [("FAILED", "n"), ("DONE", "s")]


def test_the_first_row_or_none(c: Connection) -> None:
    query = select(t.step_event.c.step, t.step_event.c.state).where(t.step_event.c.operation_id == bindparam(KEY))
    assert first(c, query, {KEY: "o"}) is None
    write(c, new_row(t.step_event), [ROW, {**ROW, "step": "later"}])
    assert first(c, query, {KEY: "o"}) == ("s", "DONE")


def test_the_drivers_errors_come_as_sqlalchemys(c: Connection) -> None:
    subject = {"operation_id": "o", "subject_id": "a", "lane": "", "open": True}
    write(c, new_row(t.op_subject), subject)
    with pytest.raises(IntegrityError):
        write(c, new_row(t.op_subject), subject)
    t.op_subject.drop(c)
    with pytest.raises(OperationalError, match="no such table"):
        write(c, new_row(t.op_subject), subject)


def test_a_driver_that_takes_names_gets_names() -> None:
    prepared = _prepared(new_row(t.op_subject), ("operation_id", "subject_id", "open"), postgresql.dialect())
    assert prepared.bound({"operation_id": "o", "subject_id": "a", "open": True}) == {
        "operation_id": "o",
        "subject_id": "a",
        "open": True,
    }
