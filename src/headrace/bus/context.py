"""What a handler may know and say about the run it is in."""

import threading
from collections import deque
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

import msgspec

from headrace.bus.envelope import Delivery
from headrace.clock import Clock

LOG_LIMIT = 1 << 20  # bytes kept of one attempt's log: half from its head, half from its tail


class Context:
    """One run of one job. Plain calls, buffered: the same in `def` and `async def`, from any thread.

    state  what the application's lifespan yielded
    """

    __slots__ = (
        "_clock",
        "_log",
        "_news",
        "_note",
        "_progress",
        "cancelled",
        "deadline",
        "delivery",
        "lost",
        "started",
        "state",
    )

    def __init__(self, delivery: Delivery, clock: Clock, started: float, limit: float | None, state: Any) -> None:
        self.delivery = delivery
        self.started = started
        self.deadline: float | None = None if limit is None else started + limit
        self.state = state
        self.cancelled = False
        self.lost = False
        self._clock = clock
        self._progress: float | None = None
        self._note = ""
        self._news = False
        self._log: Log | None = None

    @property
    def id(self) -> str:
        """The job's id: the same in each attempt, so a good idempotency key."""
        return self.delivery.id

    @property
    def type(self) -> str:
        """Wire name of the message."""
        return self.delivery.type

    @property
    def queue(self) -> str:
        """The queue it was received from."""
        return self.delivery.queue

    @property
    def attempt(self) -> int:
        """1 the first time."""
        return self.delivery.attempt

    @property
    def headers(self) -> Mapping[str, str]:
        """What the sender attached."""
        return headers_of(self.delivery)

    @property
    def remaining(self) -> float | None:
        """Seconds until the time limit; None without one."""
        return None if self.deadline is None else self.deadline - self._clock.monotonic()

    def progress(self, fraction: float, note: str = "") -> None:
        """How far the job is, clamped to 0 … 1; written at most five times a second."""
        self._progress = min(1.0, max(0.0, float(fraction)))
        self._note = note
        self._news = True

    def log(self, line: str) -> None:
        """Keep a line with this attempt: the first and last half MiB are stored."""
        if self._log is None:
            self._log = Log()
        self._log.add(str(line))
        self._news = True

    def news(self) -> tuple[float | None, str] | None:
        """Progress since the last call, for the worker; None when there is none."""
        if not self._news:
            return None
        self._news = False
        return self._progress, self._note

    def logged(self) -> str:
        """All that is kept of the log."""
        return "" if self._log is None else self._log.text()


class Log:
    """Lines up to a limit, then the head and the tail of them; safe across threads."""

    def __init__(self, limit: int = LOG_LIMIT) -> None:
        self._half = limit // 2
        self._head: list[str] = []
        self._tail: deque[str] = deque()
        self._head_size = self._tail_size = self._dropped = 0
        self._lock = threading.Lock()

    def add(self, line: str) -> None:
        """Append one line."""
        line = line.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
        if len(line.encode()) >= self._half:
            side = max(1, (self._half - 8) // 8)  # characters of at most four bytes
            line = f"{line[:side]} … {line[-side:]}"
        with self._lock:
            size = len(line.encode()) + 1
            if not self._tail and self._head_size + size <= self._half:
                self._head.append(line)
                self._head_size += size
                return
            self._tail.append(line)
            self._tail_size += size
            while self._tail_size > self._half:
                self._tail_size -= len(self._tail.popleft().encode()) + 1
                self._dropped += 1

    def text(self) -> str:
        """The lines, and how many are missing between head and tail."""
        with self._lock:
            gap = [f"… {self._dropped} lines dropped …"] if self._dropped else []
            return "\n".join([*self._head, *gap, *self._tail])


_headers = msgspec.json.Decoder(dict[str, str])


def headers_of(delivery: Delivery) -> Mapping[str, str]:
    """The headers of a delivery; empty when they cannot be read."""
    try:
        return _headers.decode(delivery.headers) if delivery.headers not in ("", "{}", "[]") else {}
    except msgspec.DecodeError:
        return {}


CURRENT: ContextVar[Context | None] = ContextVar("headrace_job", default=None)
