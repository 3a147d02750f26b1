"""The raw limit on SQLite: stdlib sqlite3 in one thread of an asyncio process.

The acks of a batch and the next claim are one BEGIN IMMEDIATE transaction (WAL, synchronous=FULL); woken by inotify on
the -wal file.
"""

import asyncio
import concurrent.futures
import ctypes
import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import probe
import raw_sql as sql

from . import Contender, Kind, Mode

QUEUE, TYPE, HEADERS, PRIORITY, LEASE, BATCH = "default", "bench.noop", '{"codec":"json"}', 4, 30.0, 500
IN_MODIFY, IN_CREATE = 0x2, 0x100
ID, LOAN, TYPE_OF, BODY, HEADERS_OF, PRIORITY_OF, DUE = (
    sql.CLAIMED[name] for name in ("id", "loan", "type", "body", "headers", "priority", "due")
)


def message_id() -> str:
    return f"{time.time_ns() // 1_000_000:012x}7{os.urandom(10).hex()[1:]}"


class RawSqlite(Contender):
    store = "sqlite"
    label = "raw"
    distributions = ("uvloop", "msgspec")
    modes = ("single", "bulk")
    rate = 55_000

    _connection: Any = None

    def _open(self) -> Any:
        if self._connection is None:
            self._connection = sqlite3.connect(self.target.address, isolation_level=None, check_same_thread=False)
            for pragma in sql.SQLITE_PRAGMAS:
                self._connection.execute(pragma)
        return self._connection

    async def create(self) -> None:
        for text in sql.schema("sqlite"):
            self._open().execute(text)

    async def fill(self, count: int, delay: float = 0) -> None:
        for first in range(0, count, 10_000):
            self._insert(range(first, min(first + 10_000, count)), delay)
        self._open().execute("PRAGMA wal_checkpoint(TRUNCATE)")

    async def unfinished(self) -> bool:
        return bool(self._open().execute(sql.SQLITE_UNFINISHED, (time.time(),)).fetchone()[0])

    def _insert(self, arguments: Sequence[int], delay: float = 0) -> None:
        import msgspec

        connection = self._open()
        rows = [
            (message_id(), TYPE, f'{{"n":{n}}}', HEADERS, QUEUE, PRIORITY, delay, None, None, None, 0)
            for n in arguments
        ]
        _begin(connection)
        connection.execute(sql.SQLITE_SEND, {"1": msgspec.json.encode(rows).decode(), "now": time.time()}).fetchall()
        connection.execute("COMMIT")

    async def open_producer(self, mode: Mode) -> None:
        self._thread = concurrent.futures.ThreadPoolExecutor(1)

    async def enqueue_one(self, n: int) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._insert, (n,))

    async def enqueue_many(self, arguments: Sequence[int]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._insert, arguments)

    def work(self, kind: Kind) -> None:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._work())

    async def _work(self) -> None:
        import msgspec

        loop, thread = asyncio.get_running_loop(), concurrent.futures.ThreadPoolExecutor(1)
        decode_body = msgspec.json.Decoder(dict[str, int]).decode
        decode_headers = msgspec.json.Decoder(dict[str, str]).decode
        handlers = {TYPE: probe.noop}
        connection = await loop.run_in_executor(thread, self._open)
        wake, durable = asyncio.Event(), True
        _watch(loop, Path(self.target.address), wake)

        def settle_and_claim(done: list[tuple[int, int]]) -> list[Any]:
            nonlocal durable
            if durable != bool(done):  # a claim alone may be lost, it only repeats work; what holds an outcome may not
                durable = bool(done)
                connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            _begin(connection)
            now = time.time()
            if done:
                mine = [
                    row[0]
                    for row in connection.execute(
                        sql.SQLITE_MINE, {"1": msgspec.json.encode(done).decode(), "now": now}
                    )
                ]
                connection.execute(sql.SQLITE_REMOVE, {"1": msgspec.json.encode(mine).decode()})
            rows = connection.execute(
                sql.SQLITE_CLAIM, {"1": QUEUE, "2": BATCH, "3": LEASE, "4": "raw", "now": now}
            ).fetchall()
            connection.execute("COMMIT")
            rows.sort(key=lambda row: (-row[PRIORITY_OF], row[DUE], row[ID]))
            return rows

        done: list[tuple[int, int]] = []
        while True:
            wake.clear()
            rows = await loop.run_in_executor(thread, settle_and_claim, done)
            done = []
            for row in rows:
                arguments = decode_body(row[BODY])
                decode_headers(row[HEADERS_OF])
                await handlers[row[TYPE_OF]](**arguments)
                done.append((row[ID], row[LOAN]))
            if not rows:
                try:
                    async with asyncio.timeout(1.0):
                        await wake.wait()
                except TimeoutError:
                    pass


def _begin(connection: Any) -> None:
    """Knock again soon, not after the milliseconds of SQLite's own busy handler.

    The -wal file changes before the writer's fsync is over, so whoever it wakes meets the writer's lock.
    """
    for _ in range(50_000):
        try:
            connection.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as problem:
            if problem.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
        time.sleep(0.0001)
    raise RuntimeError("the database stayed locked")


def _watch(loop: asyncio.AbstractEventLoop, database: Path, wake: asyncio.Event) -> None:
    """Wake on any write to the -wal file; the folder is watched too, as the file may be made anew."""
    libc = ctypes.CDLL(None, use_errno=True)
    notifier = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    wal = database.with_name(database.name + "-wal")
    libc.inotify_add_watch(notifier, os.fsencode(database.parent), IN_CREATE)
    if wal.exists():
        libc.inotify_add_watch(notifier, os.fsencode(wal), IN_MODIFY)

    def readable() -> None:
        os.read(notifier, 65536)
        if wal.exists():
            libc.inotify_add_watch(notifier, os.fsencode(wal), IN_MODIFY)
        wake.set()

    loop.add_reader(notifier, readable)
