"""SQLite through the standard library, in one thread of its own.

All work that is waiting when the thread is free runs in one transaction, each piece inside its own
savepoint: concurrent sends share a commit, and so do the settling of one batch and the claim of the
next. A commit is synced to disk (`synchronous=FULL`) when any of its work must be durable.
"""

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from headrace import chance
from headrace.clock import Clock
from headrace.db.port import Dialect, Role, Work
from headrace.db.watch import FileWatch
from headrace.errors import (
    HeadraceError,
    NotADatabase,
    OutcomeUnknown,
    SchemaMissing,
    StoreFault,
    StoreReadOnly,
    StoreUnreachable,
)
from headrace.failpoints import armed, failpoint

T = TypeVar("T")

DIALECT = Dialect(name="sqlite", now="$now", epoch="({0})", moment="({0})", uuid="({0})")
BUSY_TIMEOUT = 20.0  # how long a transaction waits for the file's only writer
GROUP = 64  # pieces of work in one transaction
NAP = 0.0001  # a commit takes about ten of these
LONGEST_NAP = 0.001


class SqliteDatabase:
    """One SQLite file, or one database in memory on the given clock."""

    dialect = DIALECT

    def __init__(self, path: Path | None, shown: str, clock: Clock) -> None:
        self.dsn = shown
        self._path = path
        self._clock = clock
        self._engine = _Engine(path, shown, clock)

    def session(self, role: Role) -> "SqliteSession":
        return SqliteSession(self._engine, durable=role in (Role.SETTLE, Role.BROWSE))

    def apart(self) -> "SqliteDatabase":
        return self if self._path is None else SqliteDatabase(self._path, self.dsn, self._clock)

    async def aclose(self) -> None:
        await self._engine.aclose()


class SqliteSession:
    """A way into the engine; `durable` work is synced to disk before it returns."""

    def __init__(self, engine: "_Engine", durable: bool) -> None:
        self._engine = engine
        self._durable = durable
        self._watches: list[FileWatch] = []

    async def run(self, work: Work[T]) -> T:
        return await self._engine.run(work, self._durable)

    async def ready(self) -> None:
        """The engine has one connection for everybody."""

    async def rest(self) -> None:
        """As above."""

    async def listen(self, channel: str, heard: Callable[[str], None]) -> None:
        """Any write to the file is heard, whoever wrote; the channel is not looked at."""
        watch = self._engine.watch(heard)
        if watch is not None:
            self._watches.append(watch)

    async def aclose(self) -> None:
        for watch in self._watches:
            watch.close()
        self._watches.clear()


class _Piece:
    """Work on its way through the thread."""

    __slots__ = ("durable", "error", "future", "loop", "result", "work")

    def __init__(self, work: Work[Any], durable: bool) -> None:
        self.work = work
        self.durable = durable
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.result: Any = None
        self.error: BaseException | None = None


class _Engine:
    """The thread, its connection, and the line of work before it."""

    def __init__(self, path: Path | None, shown: str, clock: Clock) -> None:
        self._path = path
        self._shown = shown
        self._clock = clock
        self._line: queue.SimpleQueue[_Piece | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._connection: sqlite3.Connection | None = None
        self._full = False
        self._closed = False
        self._ended: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None
        self._heard: list[tuple[asyncio.AbstractEventLoop, Callable[[str], None]]] = []
        self._changes = 0

    async def run(self, work: Work[T], durable: bool) -> T:
        if self._closed:
            raise StoreUnreachable(f"{self._shown} has been closed", hint="the app was closed; make a new one")
        piece = _Piece(work, durable)
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="headrace-sqlite", daemon=True)
            self._thread.start()
        self._line.put(piece)
        result: T = await piece.future
        return result

    def watch(self, heard: Callable[[str], None]) -> FileWatch | None:
        """Call `heard` in the running loop after writes, by anybody."""
        loop = asyncio.get_running_loop()
        if self._path is None:
            self._heard.append((loop, heard))
            return None
        return FileWatch(self._path.with_name(self._path.name + "-wal"), loop, lambda: heard(""))

    async def aclose(self) -> None:
        self._closed = True
        thread, self._thread = self._thread, None
        if thread is not None:
            loop = asyncio.get_running_loop()
            self._ended = loop, loop.create_future()
            self._line.put(None)
            await self._ended[1]

    # ── in the thread ────────────────────────────────────────────────────────────────────────

    def _serve(self) -> None:
        while True:
            pieces = self._waiting()
            if pieces is None:
                break
            try:
                self._patiently(pieces)
            except HeadraceError as error:
                _fail(pieces, error)
            except sqlite3.Error as error:
                self._drop()
                _fail(pieces, self._translated(error, pieces[0].work.name))
            except OSError as error:  # a failpoint
                self._drop()
                _fail(pieces, StoreFault(f"{pieces[0].work.name} failed", why=str(error)))
            _deliver(pieces)
            if self._heard and self._changed():
                for loop, heard in self._heard:
                    with contextlib.suppress(RuntimeError):  # that loop is closed
                        loop.call_soon_threadsafe(heard, "")
        self._drop()
        if self._ended is not None:
            loop, future = self._ended
            with contextlib.suppress(RuntimeError):  # that loop is closed: nobody waits any more
                loop.call_soon_threadsafe(future.set_result, None)

    def _changed(self) -> bool:
        """Whether any row was written since the last time: a claim that finds nothing is no news."""
        before = self._changes
        self._changes = 0 if self._connection is None else self._connection.total_changes
        return self._changes != before

    def _waiting(self) -> list[_Piece] | None:
        """Everything in the line, at least one piece; None when it is time to end."""
        pieces: list[_Piece] = []
        with contextlib.suppress(queue.Empty):
            item = self._line.get()
            while item is not None:
                pieces.append(item)
                if len(pieces) == GROUP:
                    return pieces
                item = self._line.get_nowait()
            if pieces:
                self._line.put(None)  # end after these
            else:
                return None
        return pieces

    def _transact(self, connection: sqlite3.Connection, pieces: Sequence[_Piece]) -> None:
        _reached(pieces, "before")
        writes = any(piece.work.writes for piece in pieces)
        durable = any(piece.durable and piece.work.writes for piece in pieces)
        if writes and durable is not self._full:
            connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._full = durable
        connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
        try:
            if len(pieces) == 1:
                pieces[0].result = self._drive(connection, pieces[0].work)
            else:
                for piece in pieces:
                    self._nested(connection, piece)
            _reached(pieces, "before_commit")
            self._commit(connection, pieces)
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _commit(self, connection: sqlite3.Connection, pieces: Sequence[_Piece]) -> None:
        """An error that leaves no transaction to be rolled back may have come after the commit."""
        try:
            connection.execute("COMMIT")
            _reached(pieces, "after_commit")
        except (sqlite3.Error, OSError) as error:
            if connection.in_transaction:
                raise
            name = pieces[0].work.name
            raise OutcomeUnknown(f"{name}: {self._shown} failed while it committed", why=str(error)) from error

    def _nested(self, connection: sqlite3.Connection, piece: _Piece) -> None:
        """One piece of a group: its failure is its own."""
        connection.execute("SAVEPOINT piece")
        try:
            piece.result = self._drive(connection, piece.work)
        except (sqlite3.Error, HeadraceError) as error:
            if not connection.in_transaction or (isinstance(error, sqlite3.Error) and _busy(error)):
                raise  # the whole transaction is over, or must be tried again
            connection.execute("ROLLBACK TO piece")
            piece.error = error if isinstance(error, HeadraceError) else self._translated(error, piece.work.name)
        connection.execute("RELEASE piece")

    def _drive(self, connection: sqlite3.Connection, work: Work[T]) -> T:
        steps = work.steps()
        now = self._clock.now()
        rows: Any = None
        try:
            while True:
                asked = steps.send(rows)
                if rows is not None:
                    failpoint(f"{work.name}.mid")
                if asked.each is not None:
                    connection.executemany(asked.text, [_named(row, now) for row in asked.each])
                    rows = ()
                else:
                    rows = connection.execute(asked.text, _named(asked.args, now)).fetchall()
        except StopIteration as end:
            result: T = end.value
            return result

    def _patiently(self, pieces: Sequence[_Piece]) -> None:
        """Wait for the file's only writer in short naps: SQLite's own are long and unfair.

        Whatever was busy is run again from its start, which work allows.
        """
        deadline = time.monotonic() + BUSY_TIMEOUT
        nap = NAP
        while True:
            try:
                return self._transact(self._open(), pieces)
            except sqlite3.OperationalError as error:
                if not _busy(error) or time.monotonic() > deadline:
                    raise
            time.sleep(nap * (0.5 + chance.roll()))
            nap = min(nap * 1.02, LONGEST_NAP)

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        if self._path is not None and not self._path.parent.is_dir():
            raise StoreUnreachable(
                f"{self._shown}: there is no folder {self._path.parent}", hint="make it, or name another file"
            )
        connection = sqlite3.connect(
            self._path or ":memory:", timeout=0, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        if self._path is not None:
            _tune(connection, time.monotonic() + BUSY_TIMEOUT)
        self._connection, self._full = connection, True
        return connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and (self._path is not None or self._closed):
            with contextlib.suppress(sqlite3.Error):
                connection.close()
        elif connection is not None:
            self._connection = connection  # a database in memory lives in its connection

    def _translated(self, error: sqlite3.Error, name: str) -> HeadraceError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        text = str(error)
        if code == sqlite3.SQLITE_READONLY or (
            code == sqlite3.SQLITE_CANTOPEN and self._path is not None and not os.access(self._path.parent, os.W_OK)
        ):
            return StoreReadOnly(
                f"{self._shown} cannot be written", why=text, hint="check the permissions of the file and of its folder"
            )
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return NotADatabase(
                f"{self._shown} is not a usable SQLite database",
                why=text,
                hint="name another file, or restore this one",
            )
        if code in (
            sqlite3.SQLITE_BUSY,
            sqlite3.SQLITE_LOCKED,
            sqlite3.SQLITE_CANTOPEN,
            sqlite3.SQLITE_IOERR,
            sqlite3.SQLITE_FULL,
        ):
            return StoreUnreachable(
                f"{name}: {self._shown} cannot be used now",
                why=text,
                hint="is another program holding a transaction, or the disk full?",
            )
        if text.startswith("no such table"):
            return SchemaMissing(f"{text} in {self._shown}", hint="run: headrace db upgrade")
        return StoreFault(f"{name} failed on {self._shown}", why=text)


def _tune(connection: sqlite3.Connection, deadline: float) -> None:
    """Write-ahead log: readers never wait. Changing the mode needs the file for a moment."""
    while True:
        try:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            busy = _busy(error)
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_READONLY:
                break  # reading still works
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA cache_size=-8192")


def _busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _named(args: Sequence[Any], now: float) -> dict[str, Any]:
    """$1, $2 … and $now."""
    values: dict[str, Any] = {str(place): value for place, value in enumerate(args, 1)}
    values["now"] = now
    return values


def _reached(pieces: Sequence[_Piece], place: str) -> None:
    if armed():
        for name in dict.fromkeys(piece.work.name for piece in pieces):
            failpoint(f"{name}.{place}")


def _fail(pieces: Sequence[_Piece], error: HeadraceError) -> None:
    for piece in pieces:
        piece.error = error


def _deliver(pieces: Sequence[_Piece]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[_Piece]] = {}
    for piece in pieces:
        by_loop.setdefault(piece.loop, []).append(piece)
    for loop, done in by_loop.items():
        with contextlib.suppress(RuntimeError):  # that loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_resolve, done)


def _resolve(pieces: Sequence[_Piece]) -> None:
    for piece in pieces:
        if piece.future.done():
            continue
        if piece.error is not None:
            piece.future.set_exception(piece.error)
        else:
            piece.future.set_result(piece.result)
