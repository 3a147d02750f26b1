"""headrace itself, as a user has it: an App with one task, and a worker without options (concurrency 1, no limits).

The worker is the one that a supervisor runs and that `headrace work` becomes, without the lines that `headrace work`
prints about each job. Nothing here reaches below what the product documents, except `unfinished`, which asks the table.
"""

import time
from collections.abc import Sequence
from typing import Any

import probe

from . import Contender, Kind, Mode

QUEUE = "default"


class Headrace(Contender):
    store = "postgresql"
    label = "headrace"
    ours = True
    distributions = ("headrace", "asyncpg", "uvloop", "msgspec")
    kinds = ("async", "def")
    ledgers = (False, True)
    modes = ("single", "sync", "concurrent", "bulk")
    claims = True
    rate = 25_000

    _app: Any = None
    _task: Any
    _control: Any = None

    def _dsn(self) -> str:
        return self.target.address

    def _open(self, kind: Kind = "async") -> Any:
        if self._app is None:
            from headrace import App

            self._app = App(self._dsn())
            handler = probe.noop if kind == "async" else probe.noop_def
            self._task = self._app.task(name="noop", track=self.target.ledger)(handler)
        return self._app

    # control

    async def create(self) -> None:
        await self._open().connections()  # makes the tables where there are none, as `headrace db upgrade` does

    async def fill(self, count: int, delay: float = 0) -> None:
        self._open()
        task = self._task.using(delay=delay) if delay else self._task
        for first in range(0, count, 5_000):
            await task.aenqueue_many((n,) for n in range(first, min(first + 5_000, count)))

    async def unfinished(self) -> bool:
        import asyncpg
        import raw_sql

        self._control = self._control or await asyncpg.connect(self.target.address)
        return bool(await self._control.fetchval(raw_sql.UNFINISHED))

    # worker

    def work(self, kind: Kind) -> None:
        self._watch()
        app = self._open(kind)

        from headrace import compose
        from headrace.worker.settings import WorkerSettings

        compose.run_worker(app.parts, WorkerSettings(queues=[QUEUE]), compose.alone())

    def _watch(self) -> None:
        from headrace.transports.sql.postgres import CLAIM

        probe.watch_asyncpg(lambda text: text == CLAIM)

    # producer

    async def open_producer(self, mode: Mode) -> None:
        await self._open().connections()

    async def enqueue_one(self, n: int) -> None:
        await self._task.aenqueue(n)

    async def enqueue_many(self, arguments: Sequence[int]) -> None:
        await self._task.aenqueue_many((n,) for n in arguments)

    def enqueue_sync(self, n: int) -> None:
        self._open()
        self._task.enqueue(n)

    # claimer

    async def open_claimer(self) -> None:
        from headrace.clock import SystemClock
        from headrace.transports.dsn import open_store
        from headrace.transports.sql.transport import SqlTransport

        clock = SystemClock()
        self._transport = SqlTransport(open_store(self._dsn(), clock), clock, "claimer")
        await self._transport.receive(["another"], 1, 0)  # connects

    async def claim_and_settle(self, limit: int) -> tuple[float, int]:
        from headrace.bus.envelope import NO_OUTCOME, Settlement
        from headrace.bus.retry import ACK

        began = time.perf_counter()
        claimed = await self._transport.receive([QUEUE], limit, 0)
        took = time.perf_counter() - began
        await self._transport.settle([Settlement(delivery, ACK, NO_OUTCOME) for delivery in claimed])
        return took, len(claimed)


class HeadraceSqlite(Headrace):
    store = "sqlite"
    claims = False
    distributions = ("headrace", "uvloop", "msgspec")

    def _dsn(self) -> str:
        return f"sqlite:///{self.target.address}"

    async def unfinished(self) -> bool:
        import sqlite3

        import raw_sql

        self._control = self._control or sqlite3.connect(self.target.address)
        return bool(self._control.execute(raw_sql.SQLITE_UNFINISHED, (time.time(),)).fetchone()[0])

    def _watch(self) -> None:
        pass
