"""A real supervisor with real workers inside a test; what it tells is awaited, with a deadline."""

import asyncio
import contextlib
import os
import select
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from headrace.bus.envelope import Receipt
from headrace.bus.transport import Evidence, Lapsed
from headrace.clock import SystemClock
from headrace.errors import StoreUnreachable
from headrace.supervisor import events
from headrace.supervisor.events import Event
from headrace.supervisor.loop import Supervisor
from headrace.supervisor.settings import ConsumerSettings, Loading

ROOT = str(Path(__file__).parents[2])
LOADING = Loading("tests.support.seat_worker:load", path=(ROOT,))
DEADLINE = 15.0

E = TypeVar("E")


def gone(pid: int, within: float = 0.0) -> bool:
    """Whether this process has ended, or does so within some seconds; whoever has to reap it may be late."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([pidfd], [], [], within)[0])
    finally:
        os.close(pidfd)


class Watched:
    """A supervisor, everything it has told, and everything it has asked the store for."""

    def __init__(self, consumers: Sequence[ConsumerSettings], loading: Loading) -> None:
        self.clock = SystemClock()
        self.supervisor = Supervisor(consumers, loading, self._release, self.clock, self._hear)
        self.told: list[tuple[float, Event]] = []
        self.asked: list[tuple[float, str, Sequence[Receipt], Evidence]] = []
        self.unreachable = 0  # times
        self.code: int | None = None
        self._news = asyncio.Event()

    def _hear(self, event: Event) -> None:
        self.told.append((self.clock.monotonic(), event))
        self._news.set()

    async def _release(self, worker: str, running: Sequence[Receipt], evidence: Evidence) -> Sequence[Lapsed]:
        self.asked.append((self.clock.monotonic(), worker, running, evidence))
        self._news.set()
        if self.unreachable > 0:
            self.unreachable -= 1
            raise StoreUnreachable("the database does not answer")
        first = len([ask for ask in self.asked if ask[1] == worker]) == 1
        return [Lapsed("1", "t", "q", worker, crashes=1, charged=True)] if first and running else []

    async def until(self, met: Callable[[], bool]) -> None:
        """Wait until `met`, looked at whenever something is told or asked."""
        async with asyncio.timeout(DEADLINE):
            while not met():
                self._news.clear()
                await self._news.wait()

    def all(self, kind: type[E]) -> list[E]:
        """What has been told of this kind."""
        return [event for _, event in self.told if isinstance(event, kind)]

    def times(self, kind: type[Event]) -> list[float]:
        """When it was told."""
        return [at for at, event in self.told if isinstance(event, kind)]

    async def some(self, kind: type[E], count: int = 1) -> list[E]:
        """The events of this kind, once there are `count`."""
        await self.until(lambda: len(self.all(kind)) >= count)
        return self.all(kind)

    async def run(self) -> None:
        self.code = await self.supervisor.run()
        self._news.set()

    async def ended(self) -> int:
        """The exit code, once the supervisor has ended."""
        await self.until(lambda: self.code is not None)
        assert self.code is not None
        return self.code


@contextlib.asynccontextmanager
async def supervising(*consumers: ConsumerSettings, loading: Loading = LOADING) -> AsyncIterator[Watched]:
    """Runs until the block ends, and is then killed if it has not been stopped; nothing may have gone wrong inside."""
    watched = Watched(consumers, loading)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(watched.run())
        yield watched
        if not running.done():
            watched.supervisor.stop()
            watched.supervisor.stop()
            await watched.ended()
    assert watched.all(events.SupervisorFailed) == []
