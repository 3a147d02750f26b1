"""The application of the fault tests: handlers that say what they do, and some that should not be let near a worker."""

import asyncio
import ctypes
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

from headrace import App, Context, Reject, Retry, Task, TransportError, failpoints
from headrace.errors import OutcomeUnknown
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
        self.die: Task[..., Any] = task(name="chaos.die")(self._die)
        self.armed: Task[..., Any] = task(name="chaos.armed")(self._armed)
        self.gate: Task[..., Any] = task(name="chaos.gate")(self._gate)
        self.raises: Task[..., Any] = task(name="chaos.raises", retry=Retry(max=0))(self._raises)
        self.araises: Task[..., Any] = task(name="chaos.araises", retry=Retry(max=0))(self._araises)
        self.answers: Task[..., Any] = task(name="chaos.answers", retry=Retry(max=0))(self._answers)
        self.chatter: Task[..., Any] = task(name="chaos.chatter")(self._chatter)
        self.agate: Task[..., Any] = task(name="chaos.agate")(self._agate)

    async def send(self, id: str, task: Task[..., Any], *args: object, **options: Any) -> None:
        """Send one call under this id, and write down what came of it."""
        self.diary.send("attempted", id)
        try:
            job = await task.using(id=id, **options).aenqueue(*args)
        except OutcomeUnknown:
            self.diary.send("unknown", id)
        except TransportError:
            self.diary.send("refused", id)
        else:
            self.diary.send("accepted", id)
            if job.duplicate:
                self.diary.send("duplicate", id)

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
                time.sleep(left)  # noqa: ASYNC251, TID251  # the fault
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

    async def _die(self, ctx: Context, how: str, times: int = 99) -> list[int]:
        """Ends its process so many times, then succeeds."""
        self.diary.start(ctx)
        if ctx.delivery.crashes < times:
            end_process(how)
        self.diary.end(ctx)
        return list(ctx.delivery.receipt)

    async def _armed(self, ctx: Context, plan: str, then: str = "done") -> list[int]:
        """Arms failpoints of its worker under its first loan; done, fails once, or is rejected."""
        self.diary.start(ctx)
        if ctx.delivery.receipt[1] == 1:
            failpoints.arm(plan)
        self.diary.end(ctx, "done" if then == "done" or (then == "fail" and ctx.delivery.retries) else "failed")
        if then == "fail" and not ctx.delivery.retries:
            raise RuntimeError("not yet")
        if then == "reject":
            ctx.log("on the way to the dead letters")
            raise Reject("no")
        return list(ctx.delivery.receipt)

    def _gate(self, ctx: Context, path: str) -> list[int]:
        """In its first attempt it runs until the file is there."""
        self.diary.start(ctx)
        while ctx.attempt == 1 and not Path(path).exists():
            ctx.progress(0.5)
            time.sleep(0.01)  # noqa: TID251  # the work
        self.diary.end(ctx)
        return list(ctx.delivery.receipt)

    async def _agate(self, ctx: Context, path: str, fail: bool = False) -> list[int]:
        """As gate, on the loop; `fail`: and fails when it is there."""
        self.diary.start(ctx)
        first = ctx.attempt == 1
        try:
            while first and not Path(path).exists():  # noqa: ASYNC240 - a look
                ctx.progress(0.5)
                await asyncio.sleep(0.01)  # noqa: TID251  # the work
        except asyncio.CancelledError:
            self.diary.end(ctx, "stopped")
            raise
        self.diary.end(ctx, "failed" if first and fail else "done")
        if first and fail:
            raise RuntimeError("too late to say so")
        return list(ctx.delivery.receipt)

    def _raises(self, ctx: Context, what: str) -> None:
        """Raises something that is in misbehaviour.py."""
        self.diary.start(ctx)
        self.diary.end(ctx, "failed")
        misbehave(what)

    async def _araises(self, ctx: Context, what: str, late: bool) -> None:
        """As raises, on the loop; `late`: after it has waited."""
        self.diary.start(ctx)
        if late:
            await asyncio.sleep(0)  # noqa: TID251  # lets others run
        self.diary.end(ctx, "failed")
        misbehave(what)

    async def _answers(self, ctx: Context, what: str) -> Any:
        """Returns something that is in misbehaviour.py."""
        self.diary.start(ctx)
        self.diary.end(ctx)
        return awkward(what)

    async def _chatter(self, ctx: Context, seconds: float) -> None:
        """Tells of its progress as often as it can, and goes on when it has ended."""
        self.diary.start(ctx)
        until, said = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            for _ in range(200):
                ctx.progress(said / 1e5, f"step {said}")
                said += 1
            await asyncio.sleep(0.01)  # noqa: TID251  # the work
        ctx.progress(1.5, f"said {said}")
        await asyncio.sleep(0.4)  # noqa: TID251  # the work
        self.diary.end(ctx)
        asyncio.get_running_loop().call_later(0.05, ctx.progress, 0.1, "after the end")


def misbehave(what: str) -> None:
    from tests.support.chaos.misbehaviour import ERRORS  # few processes need it

    ERRORS[what]()


def awkward(what: str) -> Any:
    from tests.support.chaos.misbehaviour import RESULTS  # as above

    return RESULTS[what]()


def end_process(how: str) -> None:
    """The ways in which a handler can take its worker with it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    match how.split(":"):
        case ["exit", code]:
            os._exit(int(code))
        case ["signal", number]:
            os.kill(os.getpid(), int(number))
            signal.pause()
        case ["segfault"]:
            ctypes.string_at(0)
        case ["abort"]:
            os.abort()
        case ["memory", size]:
            hoard = []
            while True:  # until the kernel has had enough
                hoard.append(bytearray(os.urandom(1 << 20)))
                if len(hoard) > int(size):
                    raise MemoryError(f"{size} MiB, and nobody has minded")
        case _:
            raise ValueError(how)
