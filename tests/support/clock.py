"""A clock that stands still, and tells when somebody sleeps on it."""

import asyncio

from headrace.clock import ManualClock


class StillClock(ManualClock):
    """`asleep` is set whenever somebody begins to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.asleep = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self.asleep.set()
        await super().sleep(seconds)

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        if seconds > 0 and not event.is_set():
            self.asleep.set()
        return await super().wait(event, seconds)
