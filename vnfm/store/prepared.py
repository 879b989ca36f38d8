"""Statements that are run as they were put together once, straight on the driver.

SQLAlchemy says what they are, for whichever database; running one of them through its layers takes several times as
long as SQLite takes for it, and a chain that is created needs some thirty. Only what gives no rows back, or rows of
plain columns, is run like this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Delete, Dialect, Insert, Select, Update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import ReturningDelete

from vnfm.model.codec import loads

Statement = Insert | Update | Delete | Select[Any] | ReturningDelete[Any]
Row = Mapping[str, Any]
_REMEMBERED = 1024


@dataclass(frozen=True, slots=True)
class _Prepared:
    """`names` are the parameters in the order of the text, `made` those places of them at which the driver takes
    something else than the value itself, `constants` what no row names."""

    text: str
    names: tuple[str, ...]
    made: tuple[tuple[int, Callable[[Any], Any]], ...]
    constants: Row
    by_name: bool

    def bound(self, row: Row) -> Any:
        told = {**self.constants, **row} if self.constants else row
        values = [told[name] for name in self.names]
        for place, make in self.made:
            values[place] = make(values[place])
        return dict(zip(self.names, values, strict=True)) if self.by_name else values


def write(c: Connection, statement: Statement, rows: Row | Sequence[Row]) -> None:
    """Run it once for each row; all rows name the same parameters. Raises DBAPIError like `c.execute`."""
    many = [rows] if isinstance(rows, Mapping) else rows
    if not many:
        return
    prepared = _prepared(statement, tuple(many[0]), c.dialect)
    _run(c, prepared.text, [prepared.bound(row) for row in many])


def first(c: Connection, statement: Select[Any], row: Row) -> Sequence[Any] | None:
    """Its first row, as the driver gives it: of columns whose values are what they are. Raises like `c.execute`."""
    prepared = _prepared(statement, tuple(row), c.dialect)
    cursor = _run(c, prepared.text, [prepared.bound(row)])
    found: Sequence[Any] | None = cursor.fetchone()
    return found


def every(c: Connection, statement: Select[Any] | ReturningDelete[Any], row: Row) -> list[Sequence[Any]]:
    """All its rows; as `first`."""
    prepared = _prepared(statement, tuple(row), c.dialect)
    found: list[Sequence[Any]] = _run(c, prepared.text, [prepared.bound(row)]).fetchall()
    return found


def document(c: Connection, statement: Select[Any], row: Row) -> Any:
    """The JSON value in the one column of its first row; None where there is none. As `first`."""
    found = first(c, statement, row)
    value = found[0] if found else None
    return loads(value) if isinstance(value, str) else value  # a driver may have read it already


@lru_cache(_REMEMBERED)
def _prepared(statement: Statement, names: tuple[str, ...], dialect: Dialect) -> _Prepared:
    """By the statement itself: those of statements.py and of modules are made once."""
    compiled: Any = statement.compile(dialect=dialect, column_keys=list(names))
    order = tuple(compiled.positiontup if compiled.positional else compiled.binds)
    makes = [compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect) for name in order]
    made = tuple((place, make) for place, make in enumerate(makes) if make)
    constants = {name: compiled.params[name] for name in order if name not in names}
    return _Prepared(str(compiled), order, made, constants, not compiled.positional)


def _run(c: Connection, text: str, bound: list[Any]) -> Any:
    driver: Any = c.dialect.dbapi
    cursor = c.connection.cursor()
    try:
        if len(bound) == 1:
            cursor.execute(text, bound[0])
        else:
            cursor.executemany(text, bound)
    except driver.Error as error:
        raise DBAPIError.instance(text, None, error, driver.Error, dialect=c.dialect) from error
    return cursor
