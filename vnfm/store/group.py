"""Group commit: whoever waits while a commit runs is committed together by the next one.

One thread writes. Each piece of work is a transaction to its caller: what it raised takes back what it did, and no
more than that; what it answered is durable when the caller hears of it. How many share a commit depends only on how
many came while the disk was busy, so that a lone one does not wait for company.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DatabaseError, IntegrityError

MOST = 128  # pieces of work a commit
_FACTS = "facts"


@dataclass(slots=True, eq=False)
class Piece:
    """A caller's transaction, its outcome, and what is told once it is durable."""

    work: Callable[[Connection], Any]
    future: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None
    facts: list[object] = field(default_factory=list)


def tell(connection: Connection, fact: object) -> None:
    """Within a piece of work: what it changes, for those who keep that in memory. They hear of it in the event loop
    once it is durable, before the caller goes on, in the order of the transactions; of what came to nothing never."""
    facts = connection.info.get(_FACTS)
    if facts is not None:  # else nobody keeps anything: a transaction outside of the group
        facts.append(fact)


class GroupWriter:
    """The one writer. `submit` and `hear`, which takes what is told, belong to one event loop."""

    def __init__(
        self, engine: Engine, storage_problem: Callable[[Exception], Exception], hear: Callable[[object], None]
    ) -> None:
        self._engine = engine
        self._storage_problem = storage_problem
        self._hear = hear
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="db-writer")
        self._waiting: deque[Piece] = deque()
        self._lock = Lock()
        self._writing = False
        self._connection: Connection | None = None  # kept from one transaction to the next; the thread's own

    def submit(self, work: Callable[[Connection], Any]) -> asyncio.Future[Any]:
        """Its answer, once it is durable."""
        loop = asyncio.get_running_loop()
        piece = Piece(work, loop.create_future())
        with self._lock:
            self._waiting.append(piece)
            begin, self._writing = not self._writing, True
        if begin:
            self._thread.submit(self._write_all, loop)
        return piece.future

    def close(self) -> None:
        """Let what was submitted end."""
        self._thread.shutdown(wait=True)
        self._let_go()

    def _write_all(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            with self._lock:
                group = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
                if not group:
                    self._writing = False
                    return
            try:
                self._write(group)
            except Exception as error:  # noqa: BLE001  nobody may be left waiting, whatever it was
                for piece in group:
                    piece.error = error
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._answer, group)

    def _write(self, group: Sequence[Piece]) -> None:
        if len(group) > 1 and (self._together(group, self._bare) or self._together(group, self._savepoint)):
            return
        for piece in group:
            self._alone(piece)

    def _together(self, group: Sequence[Piece], run: Callable[[Connection, Piece], None]) -> bool:
        """All in one transaction. False where one of them, or the database over one of them, gave up: nothing is
        written then, and it has to be tried in another way."""
        try:
            with self._transaction() as connection:
                for piece in group:
                    connection.info[_FACTS] = piece.facts
                    run(connection, piece)
                try:
                    _commit(connection)
                except DatabaseError as error:  # whether it is written is not known: it must not be done twice
                    _fail(group, self._storage_problem(error))
        except Exception:  # noqa: BLE001  whose it is shows when it is tried in another way
            for piece in group:
                piece.result, piece.error = None, None
                piece.facts.clear()
            return False
        return True

    def _bare(self, connection: Connection, piece: Piece) -> None:
        """Raises what the work raises: few do, and a savepoint for each costs more than doing a group again."""
        piece.result = piece.work(connection)

    def _savepoint(self, connection: Connection, piece: Piece) -> None:
        """Raises DatabaseError where the whole transaction may be lost with it."""
        try:
            with connection.begin_nested():
                piece.result = piece.work(connection)
        except IntegrityError as error:
            piece.error = error
        except DatabaseError:
            raise
        except Exception as error:  # noqa: BLE001  the caller gets it
            piece.error = error
        if piece.error:
            piece.facts.clear()

    def _alone(self, piece: Piece) -> None:
        try:
            with self._transaction() as connection:
                connection.info[_FACTS] = piece.facts
                piece.result = piece.work(connection)
                _commit(connection)
        except IntegrityError as error:
            piece.error = error  # a mistake of ours, not the disk's
        except DatabaseError as error:
            piece.error = self._storage_problem(error)
        except Exception as error:  # noqa: BLE001  the caller gets it
            piece.error = error
        if piece.error:
            piece.facts.clear()

    def _answer(self, group: Sequence[Piece]) -> None:
        for piece in group:
            for fact in piece.facts:
                self._hear(fact)
            if piece.future.done():  # nobody waits any more
                continue
            if piece.error is not None:
                piece.future.set_exception(piece.error)
            else:
                piece.future.set_result(piece.result)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """Within it something is committed, or raised: then the next one gets another connection."""
        connection = self._connection = self._connection or self._engine.connect()
        try:
            if self._engine.dialect.name == "sqlite":
                # the driver would begin at the first change only, and take the end of a savepoint before it for the end
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
        except BaseException:
            self._let_go()
            raise
        if connection.in_transaction() or connection.invalidated:
            self._let_go()

    def _let_go(self) -> None:
        """Whatever was not committed is taken back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _commit(connection: Connection) -> None:
    try:
        connection.commit()
    except BaseException:
        connection.invalidate()  # its transaction may still be open: the next one gets another connection
        raise


def _fail(group: Sequence[Piece], error: Exception) -> None:
    for piece in group:
        piece.result, piece.error = None, piece.error or error
        piece.facts.clear()
