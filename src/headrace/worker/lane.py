"""A lane runs one job at a time; a worker has as many as its concurrency."""

import asyncio
import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable

from headrace.bus.context import Context
from headrace.bus.envelope import Delivery


class Lane:
    """What runs in one lane, and the thread of its `def` handlers.

    context  of the running job; None while idle
    reason   why the running job was cancelled by us; "" when it was not
    threaded whether the running job is in the thread
    chunk    `def` deliveries handed to the thread and not started
    """

    __slots__ = ("abandoned", "chunk", "context", "number", "reason", "task", "thread", "threaded")

    def __init__(self, number: int) -> None:
        self.number = number
        self.task: asyncio.Task[None] | None = None
        self.context: Context | None = None
        self.reason = ""
        self.threaded = False
        self.chunk: deque[Delivery] = deque()
        self.thread: LaneThread | None = None
        self.abandoned = 0

    def in_thread(self, call: Callable[[], None]) -> "asyncio.Future[None]":
        """Run `call` in the lane's thread; the future is done when it has returned."""
        self.threaded = True
        if self.thread is None:
            self.thread = LaneThread(f"headrace-lane-{self.number}")
        return self.thread.submit(call)

    def take_back(self) -> list[Delivery]:
        """What the thread has not started, in order; it will not start it any more."""
        taken: list[Delivery] = []
        with contextlib.suppress(IndexError):  # the thread takes from the other end
            while True:
                taken.append(self.chunk.pop())
        return taken[::-1]

    def abandon(self) -> None:
        """Leave a thread that cannot be interrupted to itself, and go on with a new one."""
        if self.thread is not None:
            self.thread.leave()
            self.thread = None
            self.abandoned += 1

    def close(self) -> None:
        """End the thread when its call returns."""
        if self.thread is not None:
            self.thread.leave()
            self.thread = None


class LaneThread:
    """One daemon thread and its inbox."""

    def __init__(self, name: str) -> None:
        self._inbox: queue.SimpleQueue[tuple[Callable[[], None], asyncio.Future[None]] | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] | None = None
        threading.Thread(target=self._serve, name=name, daemon=True).start()

    def submit(self, call: Callable[[], None]) -> "asyncio.Future[None]":
        """Run `call`, which must not raise."""
        self._future = self._loop.create_future()
        self._inbox.put((call, self._future))
        return self._future

    def leave(self) -> None:
        """Take no more calls; whoever waits for the current one is let go."""
        self._inbox.put(None)
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def _serve(self) -> None:
        while (item := self._inbox.get()) is not None:
            call, future = item
            call()
            try:
                self._loop.call_soon_threadsafe(_done, future)
            except RuntimeError:
                return  # the loop is closed: the worker has ended without us


def _done(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
