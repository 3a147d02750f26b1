"""What a worker process tells the harness while it works, through a small file of shared memory.

Every contender's handler is one of the functions below, so all pay the same for being measured (about 0.1 us a job).
The file comes from the environment, so a worker that is a program of its own can be measured too:

    HEADRACE_BENCH_PROBE  path of the file
    HEADRACE_BENCH_MODE   count (jobs done) or latency (the argument is time.monotonic_ns() of the sender)

Layout, in 8-byte words: [0] jobs started, [1] claims recorded, [8 ...] latencies in ns, then the claims, each as
(time, duration, rows).
"""

import mmap
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

LATENCIES = 400_000
CLAIMS = 200_000
HEADER = 8
WORDS = HEADER + LATENCIES + 3 * CLAIMS


class Probe:
    """The shared words of one worker process."""

    def __init__(self, path: str, create: bool = False) -> None:
        if create:
            with Path(path).open("wb") as new:
                new.truncate(WORDS * 8)
        with Path(path).open("r+b") as file:
            self.words = memoryview(mmap.mmap(file.fileno(), WORDS * 8)).cast("q")

    def hits(self) -> int:
        return self.words[0]

    def latencies(self) -> list[int]:
        """Nanoseconds from send to start, in order of start."""
        return self.words[HEADER : HEADER + min(self.words[0], LATENCIES)].tolist()

    def claims(self) -> list[tuple[int, int, int]]:
        """(monotonic ns at the end, ns taken, rows) of every claim."""
        first = HEADER + LATENCIES
        flat = self.words[first : first + 3 * min(self.words[1], CLAIMS)].tolist()
        return list(zip(flat[0::3], flat[1::3], flat[2::3], strict=True))


def _counting(words: memoryview) -> Callable[[int], None]:
    count = words[0]

    def hit(n: int) -> None:
        nonlocal count
        count += 1
        words[0] = count

    return hit


def _timing(words: memoryview) -> Callable[[int], None]:
    count = words[0]

    def hit(n: int) -> None:
        nonlocal count
        if count < LATENCIES:
            words[HEADER + count] = time.monotonic_ns() - n
        count += 1
        words[0] = count

    return hit


_words = (
    Probe(os.environ["HEADRACE_BENCH_PROBE"]).words
    if "HEADRACE_BENCH_PROBE" in os.environ
    else memoryview(bytearray(WORDS * 8)).cast("q")
)
_lock = threading.Lock()
hit: Callable[[int], None] = (_timing if os.environ.get("HEADRACE_BENCH_MODE") == "latency" else _counting)(_words)


async def noop(n: int) -> None:
    """The task of the benchmark, as `async def`."""
    hit(n)


def noop_def(n: int) -> None:
    """The task of the benchmark, as `def`; locked, as it may run in several threads."""
    with _lock:
        hit(n)


def claimed(began: int, rows: int) -> None:
    """A contender that can tell records each claim: `began` is time.monotonic_ns() before it."""
    index = _words[1]
    if index < CLAIMS:
        now = time.monotonic_ns()
        base = HEADER + LATENCIES + 3 * index
        _words[base], _words[base + 1], _words[base + 2] = now, now - began, rows
        _words[1] = index + 1


def watch_asyncpg(is_claim: Callable[[str], bool]) -> None:
    """Record as claims all asyncpg fetches whose SQL text `is_claim`, without touching the program under test."""
    import asyncpg.prepared_stmt

    def wrapped(original, text):  # type: ignore[no-untyped-def]
        async def fetch(self, *args, **options):  # type: ignore[no-untyped-def]
            if not is_claim(text(self, args)):
                return await original(self, *args, **options)
            began = time.monotonic_ns()
            rows = await original(self, *args, **options)
            claimed(began, len(rows))
            return rows

        return fetch

    statement, connection = asyncpg.prepared_stmt.PreparedStatement, asyncpg.Connection
    statement.fetch = wrapped(statement.fetch, lambda self, args: self.get_query())
    connection.fetch = wrapped(connection.fetch, lambda self, args: args[0])
