"""Who acts: one row with the manager's id and a fence that rises with every start.

Plugins refuse a lower fence than they have seen, so that a manager which slept cannot act on what is another's.
"""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update

from vnfm.store import tables as t
from vnfm.store.database import Database


async def acquire(database: Database, fresh_id: str) -> tuple[str, int]:
    """The manager's id (kept for ever) and its new fence."""

    def work(c: Connection) -> tuple[str, int]:
        row = c.execute(select(t.manager)).mappings().first()
        if row is None:
            c.execute(insert(t.manager).values(id=fresh_id, fence=1))
            return fresh_id, 1
        fence = int(row["fence"]) + 1
        c.execute(update(t.manager).where(t.manager.c.id == row["id"]).values(fence=fence))
        return str(row["id"]), fence

    return await database.write(work)
