"""VIM connections that were added at run time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from vnfm.store import tables as t
from vnfm.store.database import Database


class VimStore:
    """Rows of `vim`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def put(self, name: str, kind: str, config: Mapping[str, Any]) -> None:
        """Add or replace."""

        def work(c: Connection) -> None:
            c.execute(delete(t.vim).where(t.vim.c.name == name))
            c.execute(insert(t.vim).values(name=name, kind=kind, config=dict(config)))

        await self._db.write(work)

    async def delete(self, name: str) -> None:
        """Success also where there is none."""
        await self._db.write(lambda c: c.execute(delete(t.vim).where(t.vim.c.name == name)))

    async def all(self) -> list[tuple[str, str, dict[str, Any]]]:
        """(name, kind, config) of each."""
        return await self._db.read(
            lambda c: [(r["name"], r["kind"], dict(r["config"])) for r in c.execute(select(t.vim)).mappings()]
        )
