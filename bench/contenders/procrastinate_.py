"""procrastinate: psycopg's C build, uvloop, concurrent jobs; done jobs deleted (faster than its default)."""

import asyncio
from collections.abc import Sequence
from typing import Any

import probe

from . import Contender, Kind, Mode

CONCURRENCY = 30  # best of 1, 10, 30, 100 on the reference machine


class Procrastinate(Contender):
    store = "postgresql"
    label = "procrastinate"
    peer = True
    distributions = ("procrastinate", "psycopg", "uvloop")
    kinds = ("async", "def")
    modes = ("single", "sync", "concurrent", "bulk")
    rate = 550

    _app: Any = None

    def _application(self, connector: Any = None, kind: Kind = "async") -> Any:
        from procrastinate import App

        self._app = App(connector=connector)
        self._task = self._app.task(name="noop", queue="default")(probe.noop if kind == "async" else probe.noop_def)
        return self._app

    async def _open(self, size: int = 4) -> Any:
        if self._app is None:
            from procrastinate import PsycopgConnector

            app = self._application(PsycopgConnector(conninfo=self.target.address, min_size=size, max_size=size))
            await app.open_async()
        return self._app

    async def create(self) -> None:
        await (await self._open()).schema_manager.apply_schema_async()

    async def fill(self, count: int, delay: float = 0) -> None:
        await self._open()
        defer = self._task.configure(schedule_in={"seconds": delay}) if delay else self._task
        for first in range(0, count, 5_000):
            await defer.batch_defer_async(*({"n": n} for n in range(first, min(first + 5_000, count))))

    async def unfinished(self) -> bool:
        row = await (await self._open()).connector.execute_query_one_async(
            "SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE status IN ('todo', 'doing') "
            "AND (scheduled_at IS NULL OR scheduled_at <= now())) AS some"
        )
        return bool(row["some"])

    def work(self, kind: Kind) -> None:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._work(kind))

    async def _work(self, kind: Kind) -> None:
        from procrastinate import PsycopgConnector

        app = self._application(PsycopgConnector(conninfo=self.target.address, min_size=10, max_size=10), kind)
        async with app.open_async():
            await app.run_worker_async(concurrency=CONCURRENCY, delete_jobs="always")

    async def open_producer(self, mode: Mode) -> None:
        if mode != "sync":
            await self._open(10 if mode == "concurrent" else 1)

    async def enqueue_one(self, n: int) -> None:
        await self._task.defer_async(n=n)

    async def enqueue_many(self, arguments: Sequence[int]) -> None:
        await self._task.batch_defer_async(*({"n": n} for n in arguments))

    def enqueue_sync(self, n: int) -> None:
        if self._app is None:
            from procrastinate import SyncPsycopgConnector

            self._application(SyncPsycopgConnector(conninfo=self.target.address)).open()
        self._task.defer(n=n)
