"""Waiting for a condition that nobody announces, with a deadline."""

import asyncio
import subprocess
import time
from collections.abc import Awaitable, Callable

LOOK = 0.01


class TooLate(AssertionError):
    """It did not come true in time."""


async def moment(at: float) -> None:
    """Wait for a moment of the monotonic clock: how long a fault lasts."""
    await eventually(lambda: time.monotonic() >= at, max(0.0, at - time.monotonic()) + 60.0)


async def exited(process: subprocess.Popen[bytes], within: float) -> None:
    """Wait until it has ended."""
    await eventually(lambda: process.poll() is not None, within, f"process {process.pid} has ended")


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
