"""The only door to the time: wall time, monotonic time and waiting."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Protocol


class Clock(Protocol):
    """now and monotonic are seconds; waits end early when their event is set."""

    def now(self) -> float: ...
    def monotonic(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...
    async def wait(self, event: asyncio.Event, seconds: float) -> bool: ...


class SystemClock:
    """The machine's own clock."""

    now = staticmethod(time.time)  # no call of ours in between: each job asks several times
    monotonic = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Whether `event` was set within `seconds`."""
        if not event.is_set() and seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await event.wait()
        return event.is_set()


class ManualClock:
    """A clock that stands still until `advance` moves it: hours of back-off take no time in a test."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Move the time forward and wake whoever is due."""
        self._now += seconds
        for due, event in self._sleepers:
            if due <= self._now:
                event.set()

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        with self._sleeper(seconds) as over:
            await over.wait()

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Whether `event` was set before the clock had been moved by `seconds`."""
        if event.is_set() or seconds <= 0:
            return event.is_set()
        with self._sleeper(seconds) as over:
            waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(over.wait())]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for waiting in waits:
                    waiting.cancel()
        return event.is_set()

    @contextlib.contextmanager
    def _sleeper(self, seconds: float) -> Iterator[asyncio.Event]:
        """Set when the clock has been moved by `seconds` from now on."""
        sleeper = (self._now + seconds, asyncio.Event())
        self._sleepers.append(sleeper)
        try:
            yield sleeper[1]
        finally:
            self._sleepers.remove(sleeper)
