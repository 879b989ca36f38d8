"""Finding one row by id, name, or an unambiguous beginning of the id."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import BindParameter, Column, Connection, RowMapping, Select, Table, bindparam, or_, select

from vnfm.model.problem import problem

MIN_PREFIX = 4


@cache
def _exact(table: Table, names: tuple[Column[str], ...]) -> Select[Any]:
    ref: BindParameter[str] = bindparam("wanted_ref")
    by_name = (n == ref for n in names)
    return select(table).where(table.c.tenant == bindparam("wanted_tenant"), or_(table.c.id == ref, *by_name))


def find(c: Connection, table: Table, tenant: str, ref: str, names: tuple[Column[str], ...], what: str) -> RowMapping:
    """The one row meant. Raises ProblemError `not-found`, `ambiguous` or `bad-request`."""
    if not ref:  # some names are empty: a package has no VNFD id before it is onboarded
        raise problem("bad-request", f"expected the name or id of a {what}, found nothing")
    mine = table.c.tenant == tenant
    rows = c.execute(_exact(table, names), {"wanted_tenant": tenant, "wanted_ref": ref}).mappings().all()
    if not rows and len(ref) >= MIN_PREFIX:
        rows = c.execute(select(table).where(mine, table.c.id.startswith(ref, autoescape=True))).mappings().all()
    if not rows:
        raise problem("not-found", f"there is no {what} {ref!r} in tenant {tenant!r}", instance=ref)
    if len(rows) > 1:
        ids = ", ".join(r["id"][:13] for r in rows[:4])
        raise problem(
            "ambiguous", f"{ref!r} may be any of {len(rows)} {what}s ({ids}…): give more of the id", instance=ref
        )
    return rows[0]
