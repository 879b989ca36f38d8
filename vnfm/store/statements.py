"""Statements that are put together once: what differs from call to call are their parameters.

Putting one together takes SQLAlchemy longer than SQLite takes to run it. `execute(change_where(column), {KEY: value,
"name": new})` sets the columns that the parameters name.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import Column, Delete, Insert, Select, Table, Update, bindparam, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

KEY = "wanted_key"  # no column has this name
KEYS = "wanted_keys"


@cache
def rows_where(column: Column[Any]) -> Select[Any]:
    """Whole rows by one column's value, KEY."""
    return select(column.table).where(column == bindparam(KEY))


@cache
def rows_among(column: Column[Any], order: Column[Any] | None = None) -> Select[Any]:
    """Whole rows whose column has one of the values KEYS."""
    found = select(column.table).where(column.in_(bindparam(KEYS, expanding=True)))
    return found if order is None else found.order_by(order)


@cache
def value_where(wanted: Column[Any], column: Column[Any]) -> Select[Any]:
    """One column's value by another's, KEY."""
    return select(wanted).where(column == bindparam(KEY))


@cache
def change_where(column: Column[Any]) -> Update:
    """New values for the rows whose column is KEY."""
    return update(_table(column)).where(column == bindparam(KEY))


@cache
def removal_where(column: Column[Any]) -> Delete:
    """The rows whose column is KEY go."""
    return delete(_table(column)).where(column == bindparam(KEY))


@cache
def new_row(table: Table) -> Insert:
    """A row, or several with a list of parameters."""
    return insert(table)


@cache
def new_row_unless_there(table: Table, dialect: str) -> Insert:
    """A row, or several, each passed over where its primary key is there already."""
    return upsert(table, dialect).on_conflict_do_nothing(index_elements=list(table.primary_key.columns))


def upsert(table: Table, dialect: str) -> sqlite.Insert | postgresql.Insert:
    """An insert that knows what to do where the row is there already, as both databases offer it."""
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)


def _table(column: Column[Any]) -> Table:
    table = column.table
    assert isinstance(table, Table)
    return table
