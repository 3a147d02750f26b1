"""Oban for Python: psycopg's C build and uvloop. It needs Python 3.12, so it may run in an environment of its own."""

import asyncio
import signal
from collections.abc import Sequence
from typing import Any

import probe

from . import Contender, Kind, Mode

LIMIT = 100  # best of 10, 50, 100, 500 on the reference machine


class Oban(Contender):
    store = "postgresql"
    label = "oban"
    peer = True
    environment = "bench-venv-oban"
    distributions = ("oban", "psycopg", "uvloop")
    modes = ("single", "concurrent", "bulk")
    rate = 2_200

    _oban: Any = None

    async def _open(self, size: int = 4, queues: dict[str, int] | None = None) -> Any:
        if self._oban is None:
            from oban import Oban as Application
            from oban import job

            @job(queue="default")
            async def noop(n: int) -> None:
                await probe.noop(n)

            self._noop = noop
            self._pool = await Application.create_pool(self.target.address, min_size=size, max_size=size)
            self._oban = Application(pool=self._pool, queues=queues or {})
        return self._oban

    async def create(self) -> None:
        from oban.schema import install

        await self._open()
        await install(self._pool)

    async def fill(self, count: int, delay: float = 0) -> None:
        """By its own enqueue for the first job, and copies of that row for the rest: it sends a bulk row by row."""
        oban = await self._open()
        first = await oban.enqueue(self._noop.new(0))
        async with self._pool.connection() as connection:
            await connection.execute(
                """INSERT INTO oban_jobs
                          (args, inserted_at, max_attempts, meta, priority, queue, scheduled_at, state, tags, worker)
                   SELECT jsonb_build_object('n', n), inserted_at, max_attempts, meta, priority, queue,
                          scheduled_at + make_interval(secs => %(delay)s),
                          CASE WHEN %(delay)s > 0 THEN 'scheduled'::oban_job_state ELSE state END, tags, worker
                     FROM oban_jobs, generate_series(1, %(count)s) n WHERE id = %(id)s""",
                {"delay": float(delay), "count": count if delay else count - 1, "id": first.id},
            )
            if delay:
                await connection.execute("DELETE FROM oban_jobs WHERE id = %s", (first.id,))

    async def unfinished(self) -> bool:
        await self._open()
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT EXISTS (SELECT FROM oban_jobs WHERE state IN ('available', 'executing'))"
            )
            return bool((await cursor.fetchone())[0])

    def work(self, kind: Kind) -> None:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._work())

    async def _work(self) -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        async with await self._open(10, {"default": LIMIT}):
            await stop.wait()

    async def open_producer(self, mode: Mode) -> None:
        await self._open(10 if mode == "concurrent" else 1)

    async def enqueue_one(self, n: int) -> None:
        await self._oban.enqueue(self._noop.new(n))

    async def enqueue_many(self, arguments: Sequence[int]) -> None:
        await self._oban.enqueue_many(self._noop.new(n) for n in arguments)
