"""An application whose time stands still, and workers in the test's own loop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from headrace import App
from headrace.compose import work_here
from headrace.ledger.records import Attempt, DeadLetter, JobRecord
from headrace.transports.sql.transport import SqlTransport
from headrace.worker.loop import Worker
from headrace.worker.settings import Application, WorkerSettings
from tests.support.clock import StillClock
from tests.support.stores import DEADLINE, soon


class Yard:
    """One application on a store in memory.

    app    register tasks and handlers here
    clock  stands still until it is moved
    """

    def __init__(self, **options: Any) -> None:
        self.clock = StillClock()
        self.app = App("memory://", clock=self.clock, **options)

    async def drain(self, **settings: Any) -> str:
        """Work until there is nothing to do now; why it ended."""
        connections = await self.app.connections()
        chosen = WorkerSettings(**{"drain": True, "name": "w1", **settings})
        return await soon(work_here(self.app.parts, chosen, connections))

    async def worker(self, **settings: Any) -> Worker:
        """A worker that has not begun."""
        store = (await self.app.connections()).store
        chosen = WorkerSettings(**{"name": "w1", **settings})
        parts = self.app.parts
        application = Application(parts.registry, self.clock, parts.events, parts.around_handler)
        return Worker(SqlTransport(store, self.clock, chosen.name, chosen.lease), application, chosen)

    @asynccontextmanager
    async def working(self, **settings: Any) -> AsyncIterator["Crew"]:
        """A worker at work; it is told to stop at the end."""
        crew = Crew(await self.worker(**settings), self.clock)
        try:
            yield crew
        finally:
            await crew.aclose()

    async def record(self, job: str) -> JobRecord:
        """What the ledger knows of a job."""
        return await (await self.app.connections()).ledger.job(job)

    async def attempts(self, job: str) -> list[Attempt]:
        """Its attempts that failed, crashed or logged."""
        return await (await self.app.connections()).ledger.attempts(job)

    async def letters(self) -> list[DeadLetter]:
        """All dead letters."""
        return await (await self.app.connections()).ledger.dead.letters()

    async def transport(self, name: str = "other", lease: float = 30.0) -> SqlTransport:
        """A transport of somebody else's."""
        return SqlTransport((await self.app.connections()).store, self.clock, name, lease)


class Crew:
    """A worker and the task that it runs in."""

    def __init__(self, worker: Worker, clock: StillClock) -> None:
        self.worker = worker
        self.clock = clock
        self.task = asyncio.get_running_loop().create_task(worker.run())

    async def pass_until(self, event: asyncio.Event | Callable[[], bool], step: float = 0.05) -> None:
        """Let time pass until this has happened."""
        happened = event if callable(event) else event.is_set
        async with asyncio.timeout(DEADLINE):
            while not happened():
                self.clock.advance(step)
                await breathe()

    async def pass_time(self, seconds: float, step: float = 0.05) -> None:
        """Let time pass, in steps in which everybody may act."""
        until = self.clock.monotonic() + seconds
        while self.clock.monotonic() < until:
            self.clock.advance(step)
            await breathe()

    async def ended(self) -> str:
        """Why the worker ended; it must do so."""
        return await soon(self.task)

    async def aclose(self) -> None:
        if not self.task.done():
            self.worker.stop("the test is over")
            self.worker.stop("now")
            await self.pass_until(self.task.done)
        if not self.task.cancelled():
            self.task.result()


async def breathe(turns: int = 5) -> None:
    """Let everybody act who can: some turns of the loop, and of the threads that it waits for."""
    loop = asyncio.get_running_loop()
    for _ in range(turns):
        await loop.run_in_executor(None, _nothing)


async def until(happened: Callable[[], bool | Awaitable[bool]]) -> None:
    """Return once it has happened, without any time passing."""
    async with asyncio.timeout(DEADLINE):
        while True:
            answer = happened()
            if answer if isinstance(answer, bool) else await answer:
                return
            await breathe()


def _nothing() -> None: ...
