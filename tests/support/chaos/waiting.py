"""Waiting for a condition that nobody announces, with a deadline."""

import asyncio
import time
from collections.abc import Awaitable, Callable

LOOK = 0.01


class TooLate(AssertionError):
    """It did not come true in time."""


async def eventually(met: Callable[[], bool | Awaitable[bool]], within: float, what: str = "") -> float:
    """Seconds until `met`, which is looked at a hundred times a second."""
    began = time.monotonic()
    while True:
        answer = met()
        if answer if isinstance(answer, bool) else await answer:
            return time.monotonic() - began
        if time.monotonic() - began > within:
            raise TooLate(f"not within {within:g} s: {what or met}")
        await asyncio.sleep(LOOK)  # noqa: TID251  # the only one; everybody else waits here
