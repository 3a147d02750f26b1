"""The application of the fault tests: handlers that say what they do, and some that should not be let near a worker."""

import asyncio
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

from headrace import App, Context, Reject, Retry, Task
from tests.support.chaos.diary import Diary

QUICK = Retry(max=4, first="20ms", factor=1, jitter=0)
ENDURING = Retry(max=4, first="20ms", factor=1, jitter=0, max_crashes=1000)  # for those whom the monkey kills


class Chaos:
    """One application on one store; its workers and its producers keep the same diary."""

    def __init__(self, store: str, folder: Path, lease: float) -> None:
        self.app = App(store, lease=lease, retry=QUICK)
        self.diary = Diary(folder)
        task = self.app.task
        self.work: Task[..., Any] = task(name="chaos.work", retry=ENDURING)(self._work)
        self.threaded: Task[..., Any] = task(name="chaos.threaded", retry=ENDURING)(self._threaded)
        self.block: Task[..., Any] = task(name="chaos.block")(self._block)
        self.fail: Task[..., Any] = task(name="chaos.fail")(self._fail)
        self.reject: Task[..., Any] = task(name="chaos.reject")(self._reject)
        self.die: Task[..., Any] = task(name="chaos.die")(self._die)
        self.gate: Task[..., Any] = task(name="chaos.gate")(self._gate)

    async def _work(self, ctx: Context, seconds: float) -> list[int]:
        """Waits, and answers the loan under which it did."""
        self.diary.start(ctx)
        try:
            await asyncio.sleep(seconds)  # noqa: TID251  # the work
        except asyncio.CancelledError:
            self.diary.end(ctx, "stopped")
            raise
        self.diary.end(ctx)
        return list(ctx.delivery.receipt)

    def _threaded(self, ctx: Context, seconds: float) -> list[int]:
        """As work, in a thread."""
        self.diary.start(ctx)
        time.sleep(seconds)  # noqa: TID251  # the work
        self.diary.end(ctx)
        return list(ctx.delivery.receipt)

    async def _block(self, ctx: Context, seconds: float, spin: bool) -> list[int]:
        """As work, without letting anything else in its loop run; `spin`: and using its core."""
        self.diary.start(ctx)
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if not spin:
                time.sleep(left)  # noqa: TID251  # the fault
        self.diary.end(ctx)
        return list(ctx.delivery.receipt)

    async def _fail(self, ctx: Context, times: int) -> list[int]:
        """Fails so many times, then succeeds."""
        self.diary.start(ctx)
        if ctx.delivery.retries < times:
            self.diary.end(ctx, "failed")
            raise RuntimeError("not yet")
        self.diary.end(ctx)
        return list(ctx.delivery.receipt)

    async def _reject(self, ctx: Context) -> None:
        """Is never done."""
        self.diary.start(ctx)
        ctx.log("on the way to the dead letters")
        self.diary.end(ctx, "failed")
        raise Reject("no")

    async def _die(self, ctx: Context, how: str, times: int = 99) -> list[int]:
        """Ends its process so many times, then succeeds."""
        self.diary.start(ctx)
        if ctx.delivery.crashes < times:
            end_process(how)
        self.diary.end(ctx)
        return list(ctx.delivery.receipt)

    def _gate(self, ctx: Context, path: str) -> list[int]:
        """Runs until the file is there."""
        self.diary.start(ctx)
        while not Path(path).exists():
            time.sleep(0.01)  # noqa: TID251  # the work
        self.diary.end(ctx)
        return list(ctx.delivery.receipt)


def end_process(how: str) -> None:
    """The ways in which a handler can take its worker with it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    match how.split(":"):
        case ["exit", code]:
            os._exit(int(code))
        case ["signal", number]:
            os.kill(os.getpid(), int(number))
            signal.pause()
        case ["memory", size]:
            hoard = []
            while True:  # until the kernel has had enough
                hoard.append(bytearray(os.urandom(1 << 20)))
                if len(hoard) > int(size):
                    raise MemoryError(f"{size} MiB, and nobody has minded")
        case _:
            raise ValueError(how)
