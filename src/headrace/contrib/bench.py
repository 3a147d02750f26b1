"""How fast a store of your own is, with this release, on this machine; asked by `headrace bench`.

The jobs do nothing, so what is measured is headrace and the store. Everything is in a queue of its
own name, and is removed at the end, whatever happens.
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from headrace import chance
from headrace.app import App
from headrace.bus.events import Started
from headrace.compose import work_here
from headrace.connections import Connections
from headrace.worker.settings import WorkerSettings

BATCH = 1_000  # calls in one enqueue_many, ids in one removal
SINGLES = 200  # calls of one aenqueue each
RATE = 50.0  # jobs per second while latency is measured
SAMPLES = 100


class Report(msgspec.Struct, frozen=True):
    """What was measured. Rates are jobs per second, latencies seconds from enqueue to start."""

    store: str
    jobs: int
    concurrency: int
    enqueue_many: float
    enqueue_one: float
    enqueue_concurrent: float
    drain: float
    latency_p50: float
    latency_p99: float


async def measure(app: App, jobs: int, concurrency: int, say: Callable[[str], None]) -> Report:
    """Measure on the store of this app, which needs no tasks of its own."""
    queue = f"headrace-bench-{chance.bits(32):08x}"
    bench = _Bench(app, queue)
    opened = await app.connections()
    settings = WorkerSettings(queues=(queue,), concurrency=concurrency, drain=True)
    try:
        say(f"enqueueing {jobs:,} jobs")
        many = await bench.many(jobs)
        one = await bench.one_by_one(min(SINGLES, jobs))
        at_once = await bench.at_once(min(jobs, BATCH))
        total = len(bench.ids)
        say(f"draining {total:,} jobs with one worker process, {concurrency} at a time")
        began = app.parts.clock.monotonic()
        await work_here(app.parts, settings, opened)
        drained = total / (app.parts.clock.monotonic() - began)
        say(f"measuring latency at {RATE:g} jobs/s")
        waits = sorted(await bench.latencies(opened, msgspec.structs.replace(settings, drain=False)))
        return Report(
            store=app.store,
            jobs=jobs,
            concurrency=concurrency,
            enqueue_many=many,
            enqueue_one=one,
            enqueue_concurrent=at_once,
            drain=drained,
            latency_p50=waits[len(waits) // 2],
            latency_p99=waits[int(len(waits) * 0.99) - 1],
        )
    finally:
        say("removing what was made")
        await bench.remove(opened)


class _Bench:
    def __init__(self, app: App, queue: str) -> None:
        self.ids: list[str] = []
        self._app = app
        self._clock = app.parts.clock
        self._queue = queue

        @app.task(name=queue, queue=queue)
        async def nothing(number: int) -> None:
            """Does nothing."""

        self._task = nothing

    async def many(self, jobs: int) -> float:
        began = self._clock.monotonic()
        for start in range(0, jobs, BATCH):
            made = await self._task.aenqueue_many([(number,) for number in range(start, min(start + BATCH, jobs))])
            self.ids += [job.id for job in made]
        return jobs / (self._clock.monotonic() - began)

    async def one_by_one(self, jobs: int) -> float:
        began = self._clock.monotonic()
        for number in range(jobs):
            self.ids.append((await self._task.aenqueue(number)).id)
        return jobs / (self._clock.monotonic() - began)

    async def at_once(self, jobs: int) -> float:
        """Many coroutines that enqueue one each: they share commits."""
        began = self._clock.monotonic()
        async with asyncio.TaskGroup() as group:
            sending = [group.create_task(self._task.aenqueue(number)) for number in range(jobs)]
        self.ids += [task.result().id for task in sending]
        return jobs / (self._clock.monotonic() - began)

    async def latencies(self, opened: Connections, settings: WorkerSettings) -> Sequence[float]:
        """Seconds from the call of enqueue to the start of the handler, in this process."""
        started: dict[str, float] = {}
        self._app.on(Started, self._queue)(lambda event: started.setdefault(event.delivery.id, self._clock.monotonic()))
        working = asyncio.create_task(work_here(self._app.parts, settings, opened))
        sent: dict[str, float] = {}
        try:
            for number in range(SAMPLES):
                began = self._clock.monotonic()
                job = await self._task.aenqueue(number)
                self.ids.append(job.id)
                sent[job.id] = began
                await self._clock.sleep(1 / RATE)
            await opened.ledger.wait(self.ids[-1], 10)
        finally:
            working.cancel()
        return [started[job] - sent[job] for job in sent if job in started]

    async def remove(self, opened: Connections) -> None:
        for start in range(0, len(self.ids), BATCH):
            await opened.ledger.delete(self.ids[start : start + BATCH])
