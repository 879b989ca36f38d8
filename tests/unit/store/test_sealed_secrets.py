"""Secrets of VIMs in the database: sealed, opened by the right key only, and never lost over it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from vnfm.model.problem import ProblemError
from vnfm.store import tables as t
from vnfm.store.database import Database, sqlite_url
from vnfm.store.sealing import Seal, new_key_file
from vnfm.store.vims import VimStore

PASSWORD = "correct-horse-battery"
CONFIG = {"auth_url": "http://k", "username": "u", "password": PASSWORD, "tenants": {"gold": {"password": PASSWORD}}}
SCHEMA: dict[str, Any] = {"properties": {"password": {"writeOnly": True}}}


def key(folder: Path, name: str = "key") -> Seal:
    path = folder / name
    new_key_file(path)
    return Seal.of_file(path, folder / "state")


def played(folder: Path, story: Callable[[Database], Awaitable[None]]) -> None:
    """On a database in `folder/state`."""
    state = folder / "state"
    state.mkdir(exist_ok=True)

    async def main() -> None:
        database = Database(sqlite_url(state))
        database.migrate()
        try:
            await story(database)
        finally:
            database.close()

    asyncio.run(main())


def on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in (folder / "state").rglob("*") if path.is_file())


@pytest.mark.parametrize("passphrase", [False, True])
def test_secrets_come_back_with_their_key_and_stand_nowhere_on_the_disk(tmp_path: Path, passphrase: bool) -> None:
    seal = Seal.of_passphrase("open sesame") if passphrase else key(tmp_path)

    async def keep(database: Database) -> None:
        await VimStore(database, seal).put("pop1", "openstack", CONFIG, SCHEMA)
        assert PASSWORD.encode() not in on_disk(tmp_path)
        assert b"http://k" in on_disk(tmp_path)

    async def read(database: Database) -> None:
        (vim,) = await VimStore(database, seal).all()
        assert (vim.name, vim.kind, vim.config, vim.locked) == ("pop1", "openstack", CONFIG, None)
        assert PASSWORD not in repr(vim)

    played(tmp_path, keep)
    played(tmp_path, read)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda folder: None, "was given no key: start it with the right --key-file"),
        (lambda folder: key(folder, "other"), "was given key "),
        (lambda folder: Seal.of_passphrase("open sesame"), "was given a passphrase"),
    ],
)
def test_a_wrong_or_missing_key_is_told_and_nothing_is_lost(
    tmp_path: Path, wrong: Callable[[Path], Seal | None], why: str
) -> None:
    seal = key(tmp_path)

    async def story(database: Database) -> None:
        await VimStore(database, seal).put("pop1", "openstack", CONFIG, SCHEMA)
        await VimStore(database).put("m", "mock", {"hosts": 3}, {})
        other = VimStore(database, wrong(tmp_path))
        by_name = {vim.name: vim for vim in await other.all()}
        assert by_name["m"].locked is None
        problem = by_name["pop1"].locked
        assert problem is not None
        assert (problem.word, problem.instance) == ("secrets-locked", "pop1")
        assert why in problem.detail
        assert PASSWORD not in problem.detail
        with pytest.raises(ProblemError) as refused:
            await other.reseal(Seal.of_passphrase("another one"))
        assert refused.value.problem.word == "secrets-locked"
        (again,) = [vim for vim in await VimStore(database, seal).all() if vim.name == "pop1"]
        assert again.config == CONFIG

    played(tmp_path, story)


def test_without_a_key_secrets_are_not_taken_and_the_rest_is(tmp_path: Path) -> None:
    async def story(database: Database) -> None:
        store = VimStore(database)
        for refuse in (
            lambda: store.put("pop1", "openstack", CONFIG, SCHEMA),
            lambda: store.put("pop1", "x", {"pin": "1"}, {"properties": {"pin": {"writeOnly": True}}}),
        ):
            with pytest.raises(ProblemError, match="--key-file") as refused:
                await refuse()
            assert refused.value.problem.word == "no-key"
            assert PASSWORD not in str(refused.value)
        with pytest.raises(ProblemError, match="tenants/gold/password"):
            store.expect_key("pop1", CONFIG)
        store.expect_key("pop1", {"cloud": "c", "application_credential_secret_file": "/f"})
        assert await store.all() == []

    played(tmp_path, story)


def test_what_an_older_version_kept_plain_is_sealed_once_there_is_a_key(tmp_path: Path) -> None:
    seal = key(tmp_path)
    (tmp_path / "state").mkdir()
    engine = sa.create_engine(sqlite_url(tmp_path / "state"))
    _to_version(engine, "0003")
    with engine.begin() as connection:
        words = "INSERT INTO vim (name, kind, config) VALUES ('pop1', 'openstack', :config)"
        connection.execute(sa.text(words), {"config": json.dumps(CONFIG)})
    engine.dispose()
    assert PASSWORD.encode() in on_disk(tmp_path)

    async def story(database: Database) -> None:
        bare = VimStore(database)
        assert await bare.seal_plain() == ["pop1"]
        assert (await bare.all())[0].config == CONFIG
        store = VimStore(database, seal)
        assert await store.seal_plain() == ["pop1"]
        assert PASSWORD.encode() not in on_disk(tmp_path)
        assert (await store.all())[0].config == CONFIG
        assert await store.seal_plain() == []
        assert (await bare.all())[0].locked is not None

    played(tmp_path, story)
    assert PASSWORD.encode() not in on_disk(tmp_path)


def test_another_key_takes_over_and_the_old_one_opens_nothing_more(tmp_path: Path) -> None:
    old, fresh = key(tmp_path), Seal.of_passphrase("open sesame")

    async def story(database: Database) -> None:
        await VimStore(database, old).put("a", "openstack", CONFIG, SCHEMA)
        await VimStore(database, old).put("m", "mock", {"hosts": 3}, {})
        assert await VimStore(database, old).reseal(fresh) == ["a"]
        assert {vim.name: vim.config for vim in await VimStore(database, fresh).all()} == {
            "a": CONFIG,
            "m": {"hosts": 3},
        }
        assert [vim.locked is None for vim in await VimStore(database, old).all() if vim.name == "a"] == [False]

    played(tmp_path, story)


def test_what_is_sealed_cannot_be_moved_or_changed(tmp_path: Path) -> None:
    seal = key(tmp_path)

    async def story(database: Database) -> None:
        store = VimStore(database, seal)
        await store.put("a", "openstack", CONFIG, SCHEMA)
        await store.put("b", "openstack", {**CONFIG, "password": "another"}, SCHEMA)

        def swap(connection: sa.Connection) -> None:
            sealed = connection.scalar(sa.select(t.vim.c.sealed).where(t.vim.c.name == "a"))
            connection.execute(sa.update(t.vim).where(t.vim.c.name == "b").values(sealed=sealed))

        await database.write(swap)
        by_name = {vim.name: vim for vim in await store.all()}
        assert by_name["a"].locked is None
        damaged = by_name["b"].locked
        assert damaged is not None
        assert damaged.word == "secrets-damaged"

    played(tmp_path, story)


@pytest.mark.parametrize(
    ("content", "mode", "where", "why"),
    [
        (None, 0o600, "key", "cannot be read"),
        ("vnfm-key-1 AAAA\n", 0o600, "key", "vnfm key new"),
        ("hunter2\n", 0o600, "key", "vnfm key new"),
        ("vnfm-key-1 AAAA\n", 0o640, "key", "chmod 600"),
        ("vnfm-key-1 AAAA\n", 0o600, "state/key", "beside what it opens"),
    ],
)
def test_a_key_file_that_is_none_is_told_why(
    tmp_path: Path, content: str | None, mode: int, where: str, why: str
) -> None:
    (tmp_path / "state").mkdir()
    path = tmp_path / where
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    with pytest.raises(ProblemError, match=why) as refused:
        Seal.of_file(path, tmp_path / "state")
    assert refused.value.problem.word == "bad-key-file"
    assert "hunter2" not in str(refused.value)


def test_a_key_is_never_written_over(tmp_path: Path) -> None:
    new_key_file(tmp_path / "key")
    before = (tmp_path / "key").read_text()
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ProblemError, match="is there already"):
        new_key_file(tmp_path / "key")
    assert (tmp_path / "key").read_text() == before
    with pytest.raises(ProblemError, match="at least 8"):
        Seal.of_passphrase("short")


def _to_version(engine: sa.Engine, version: str) -> None:
    from alembic import command
    from alembic.config import Config

    from vnfm.store.database import MIGRATIONS

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, version)
