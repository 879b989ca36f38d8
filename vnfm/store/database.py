"""One writer thread to the database, reader threads beside it; every write is one transaction (see group.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import ArgumentError, DatabaseError

from vnfm.model.codec import dumps
from vnfm.model.problem import Retry, problem
from vnfm.store.group import GroupWriter

T = TypeVar("T")
CACHE_KIB = 16 * 1024  # most, of a connection
WAL_PAGES = 4000  # 16 MiB, before they are taken over into the database itself
MIGRATIONS = Path(__file__).parent / "migrations"


def sqlite_url(state_dir: Path) -> str:
    """The default database of a state folder."""
    return f"sqlite:///{state_dir / 'vnfm.sqlite'}"


def newest_version() -> str:
    """The version that the last migration leads to. Their files are named by it: `0007_what_it_does.py`."""
    return max(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def _pragmas(connection: Any, _record: object) -> None:
    # FULL: an id is promised to be on disk before the call that uses it
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
        connection.execute(f"PRAGMA {pragma}")
    # ids are random, so that rows land anywhere: pages are read and written over again where few are kept
    for pragma in (f"cache_size=-{CACHE_KIB}", f"wal_autocheckpoint={WAL_PAGES}"):
        connection.execute(f"PRAGMA {pragma}")


def open_engine(url: str) -> Engine:
    """An engine for `url`; SQLite gets WAL and full durability. JSON columns take frozen dataclasses as they are.
    Raises ProblemError `bad-database`."""
    try:
        if url.startswith("sqlite"):
            engine = create_engine(url, connect_args={"check_same_thread": False}, json_serializer=dumps)
            event.listen(engine, "connect", _pragmas)
            return engine
        return create_engine(url, pool_pre_ping=True, json_serializer=dumps)
    except (ArgumentError, ImportError) as error:  # no word of the URL itself: it may hold a password
        raise problem(
            "bad-database", f"--database: expected an SQLAlchemy URL with an installed driver ({type(error).__name__})"
        ) from error


class Database:
    """Runs functions of a Connection in threads. Raises ProblemError `storage` when the disk is full or gone."""

    def __init__(self, url: str) -> None:
        self.engine = open_engine(url)
        self._writer = GroupWriter(self.engine, storage_problem, self._hear)
        self.listeners: list[Callable[[object], None]] = []
        """Who keeps something in memory: told of each fact of a transaction (see group.tell) once it is durable."""
        self._reader = ThreadPoolExecutor(2, thread_name_prefix="db-reader")

    def migrate(self) -> None:
        """Bring the schema to the newest version. Blocking: call before the event loop serves. Raises ProblemError like
        `write`, and `storage` for a schema of a newer version."""
        try:
            if self._version() == newest_version():
                return
        except DatabaseError as error:
            raise storage_problem(error) from error
        from alembic import command
        from alembic.config import Config
        from alembic.util.exc import CommandError

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        try:
            with self.engine.begin() as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        except (DatabaseError, CommandError) as error:
            raise storage_problem(error) from error

    def _version(self) -> str:
        """The schema's; empty where there is none. Asked without Alembic: a quarter of a start's time, and 7 MiB."""
        with self.engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return ""
            return connection.scalar(text("SELECT version_num FROM alembic_version")) or ""

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction on the writer thread; durable when this returns. It may share its commit with
        others', and may be run a second time where the first one came to nothing: it does nothing outside of the
        database but `tell`."""
        running: asyncio.Future[T] = self._writer.submit(work)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            # the thread cannot be called back: whoever comes next has to find its transaction ended
            await asyncio.wait([running])
            raise

    async def write_over(self, work: Callable[[Connection], T]) -> T:
        """`write`, and what was there before is overwritten on the disk, too, as far as the database can."""
        if self.engine.dialect.name != "sqlite":
            return await self.write(work)

        def zeroing(c: Connection) -> T:
            c.exec_driver_sql("PRAGMA secure_delete=ON")
            try:
                return work(c)
            finally:
                c.exec_driver_sql("PRAGMA secure_delete=OFF")

        done = await self.write(zeroing)
        await asyncio.get_running_loop().run_in_executor(self._reader, self._empty_log)
        return done

    def _empty_log(self) -> None:
        """The write-ahead log holds pages as they were."""
        with self.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on a reader thread; all that it reads is of one moment, whatever is written meanwhile."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, self._reading, work)

    def _hear(self, fact: object) -> None:
        for listener in self.listeners:
            listener(fact)

    def _reading(self, work: Callable[[Connection], T]) -> T:
        try:
            with self.engine.connect() as connection:
                if self.engine.dialect.name == "sqlite":
                    connection.exec_driver_sql("BEGIN")  # else each statement would see a moment of its own
                else:
                    connection = connection.execution_options(isolation_level="REPEATABLE READ")
                return work(connection)
        except DatabaseError as error:
            raise storage_problem(error) from error

    def close(self) -> None:
        """Let running transactions end."""
        self._writer.close()
        self._reader.shutdown(wait=True)
        self.engine.dispose()


def storage_problem(error: Exception) -> Exception:
    """The database's own word, as a Problem that may pass."""
    text = str(getattr(error, "orig", error))
    full = "full" in text or "disk I/O" in text
    return problem(
        "no-space" if full else "storage",
        f"the manager's database says: {text}" + ("; make room where its state folder lies" if full else ""),
        retry=Retry.SAME_CALL,
        title="No space left" if full else "Storage failed",
    )
