"""VIM connections that were added at run time. Their secrets are kept sealed, never plain."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from vnfm.model.confidential import part, whole
from vnfm.model.problem import Problem, ProblemError, problem
from vnfm.store import tables as t
from vnfm.store.database import Database
from vnfm.store.sealing import Seal, opened_json, sealed_json


@dataclass(frozen=True, slots=True)
class StoredVim:
    """One as added. `locked`: why its secrets are not in `config`."""

    name: str
    kind: str
    config: Mapping[str, Any] = field(repr=False)
    locked: Problem | None = None


class VimStore:
    """Rows of `vim`. Without a `seal` nothing is kept that has secrets."""

    def __init__(self, database: Database, seal: Seal | None = None) -> None:
        self._db = database
        self._seal = seal

    async def put(self, name: str, kind: str, config: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
        """Add or replace; `schema` says what is secret (see vnfm.model.confidential). Raises ProblemError `no-key`."""
        parted = part(config, schema)
        sealed = await asyncio.to_thread(self._sealed, name, parted.secrets)

        def work(c: Connection) -> None:
            c.execute(delete(t.vim).where(t.vim.c.name == name))
            c.execute(insert(t.vim).values(name=name, kind=kind, config=dict(parted.plain), sealed=sealed))

        await self._db.write(work)

    def expect_key(self, name: str, config: Mapping[str, Any]) -> None:
        """Raises ProblemError `no-key` for a configuration that sounds as if it could not be kept."""
        if self._seal is None and (secrets := part(config, {}).secrets):
            raise _no_key(name, secrets)

    async def delete(self, name: str) -> None:
        """Success also where there is none."""
        await self._db.write(lambda c: c.execute(delete(t.vim).where(t.vim.c.name == name)))

    async def all(self) -> list[StoredVim]:
        """Each of them."""
        rows = await self._db.read(lambda c: [dict(row) for row in c.execute(select(t.vim)).mappings()])
        return [await asyncio.to_thread(self._stored, row) for row in rows]

    async def seal_plain(self) -> list[str]:
        """Seal what an earlier version has kept plain; their names. Without a key nothing is touched. What is replaced
        is overwritten on the disk, too."""
        rows = await self._db.read(lambda c: [dict(row) for row in c.execute(select(t.vim)).mappings()])
        found = {row["name"]: parted for row in rows if (parted := part(row["config"], {})).secrets}
        if self._seal is None or not found:
            return sorted(found)
        opened = {row["name"]: self._secrets(row) for row in rows if row["name"] in found}
        sealed = {n: self._sealed(n, {**opened[n], **parted.secrets}) for n, parted in found.items()}

        def work(c: Connection) -> None:
            for name, parted in found.items():
                values = {"config": dict(parted.plain), "sealed": sealed[name]}
                c.execute(update(t.vim).where(t.vim.c.name == name).values(values))

        await self._db.write_over(work)
        return sorted(found)

    async def reseal(self, fresh: Seal) -> list[str]:
        """Open everything and seal it with another key, in one transaction; the names. Raises ProblemError where one
        of them does not open; then nothing has changed."""
        rows = await self._db.read(lambda c: [dict(row) for row in c.execute(select(t.vim)).mappings()])
        secrets = {row["name"]: self._secrets(row) | dict(part(row["config"], {}).secrets) for row in rows}
        plain = {row["name"]: dict(part(row["config"], {}).plain) for row in rows}
        sealed = {name: sealed_json(fresh, values, _purpose(name)) for name, values in secrets.items() if values}

        def work(c: Connection) -> None:
            for name, envelope in sealed.items():
                c.execute(update(t.vim).where(t.vim.c.name == name).values(config=plain[name], sealed=envelope))

        await self._db.write_over(work)
        return sorted(sealed)

    def _sealed(self, name: str, secrets: Mapping[str, str]) -> dict[str, Any] | None:
        if not secrets:
            return None
        if self._seal is None:
            raise _no_key(name, secrets)
        return sealed_json(self._seal, dict(secrets), _purpose(name))

    def _secrets(self, row: Mapping[str, Any]) -> dict[str, str]:
        return dict(opened_json(self._seal, row["sealed"], _purpose(row["name"]))) if row["sealed"] else {}

    def _stored(self, row: Mapping[str, Any]) -> StoredVim:
        try:
            return StoredVim(row["name"], row["kind"], whole(row["config"], self._secrets(row)))
        except ProblemError as error:
            return StoredVim(row["name"], row["kind"], dict(row["config"]), error.problem.about(row["name"]))


def _purpose(name: str) -> str:
    return f"VIM {name}"


def _no_key(name: str, secrets: Mapping[str, str]) -> ProblemError:
    return problem(
        "no-key",
        f"the configuration of VIM {name} has secrets ({', '.join(sorted(secrets))}), which are only kept sealed, and "
        "the manager has no key: start it with --key-file FILE (`vnfm key new FILE` makes one) or --passphrase, or "
        "name a file that holds them",
        instance=name,
        title="No key for secrets",
    )
