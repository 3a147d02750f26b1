"""pgqueuer: asyncpg, uvloop and large batches. All its tables are durable (its default)."""

import asyncio
import signal
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import probe

from . import Contender, Kind, Mode

ENTRYPOINT = "noop"
BATCH = 1_000  # best of 10, 100, 250, 500, 1,000 on the reference machine (2,000 is no better)


class PgQueuer(Contender):
    store = "postgresql"
    label = "pgqueuer"
    peer = True
    distributions = ("pgqueuer", "asyncpg", "uvloop")
    kinds = ("async", "def")
    modes = ("single", "concurrent", "bulk")
    rate = 11_000

    _queries: Any = None

    async def _open(self, size: int = 1) -> Any:
        """One connection, or a pool where several send at once (each use of a pooled one costs a reset)."""
        if self._queries is None:
            import asyncpg
            from pgqueuer.db import AsyncpgDriver, AsyncpgPoolDriver
            from pgqueuer.queries import Queries

            if size == 1:
                self._connection = await asyncpg.connect(self.target.address)
                self._queries = Queries(AsyncpgDriver(self._connection))
            else:
                self._queries = Queries(
                    AsyncpgPoolDriver(await asyncpg.create_pool(self.target.address, min_size=size, max_size=size))
                )
        return self._queries

    async def create(self) -> None:
        await (await self._open()).install()

    async def fill(self, count: int, delay: float = 0) -> None:
        queries = await self._open()
        after = timedelta(seconds=delay) if delay else None
        for first in range(0, count, 10_000):
            batch = range(first, min(first + 10_000, count))
            await queries.enqueue(
                [ENTRYPOINT] * len(batch),
                [b"%d" % n for n in batch],
                [0] * len(batch),
                [after] * len(batch) if after else None,
            )

    async def unfinished(self) -> bool:
        await self._open()
        return bool(
            await self._connection.fetchval("SELECT EXISTS (SELECT FROM pgqueuer WHERE execute_after <= now())")
        )

    def work(self, kind: Kind) -> None:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._work(kind))

    async def _work(self, kind: Kind) -> None:
        import asyncpg
        from pgqueuer import PgQueuer as Application

        pool = await asyncpg.create_pool(self.target.address, min_size=4, max_size=4)
        application = Application.from_asyncpg_pool(pool)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, application.shutdown.set)

        if kind == "async":

            @application.entrypoint(ENTRYPOINT)
            async def noop(job: Any) -> None:
                await probe.noop(int(job.payload))
        else:

            @application.entrypoint(ENTRYPOINT)
            async def noop_in_thread(job: Any) -> None:  # its documented way to run a `def`
                await asyncio.to_thread(probe.noop_def, int(job.payload))

        await application.run(batch_size=BATCH)

    async def open_producer(self, mode: Mode) -> None:
        await self._open(10 if mode == "concurrent" else 1)

    async def enqueue_one(self, n: int) -> None:
        await self._queries.enqueue(ENTRYPOINT, b"%d" % n)

    async def enqueue_many(self, arguments: Sequence[int]) -> None:
        count = len(arguments)
        await self._queries.enqueue([ENTRYPOINT] * count, [b"%d" % n for n in arguments], [0] * count)
