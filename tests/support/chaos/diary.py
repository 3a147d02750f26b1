"""What handlers and producers have done, written down outside the store.

One file for each process, opened O_APPEND: a line is there as soon as it is written, whatever becomes of its writer.
Times are monotonic: on Linux they are the same in all processes.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from headrace import Context
from headrace.bus.envelope import Receipt


class Diary:
    """Writes lines into the file of the process that it is in."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pid = 0
        self._fd = -1

    def start(self, ctx: Context) -> None:
        """The handler runs."""
        self._say("start", ctx)

    def end(self, ctx: Context, how: str = "done") -> None:
        """The handler is about to return, or to raise: done, failed or stopped."""
        self._say("end", ctx, how)

    def send(self, what: str, *ids: str) -> None:
        """Of a producer: attempted before a send, and after it accepted, unknown or refused."""
        self._write("".join(f"{what} {id} {time.monotonic():.6f}\n" for id in ids))

    def _say(self, what: str, ctx: Context, *more: str) -> None:
        row, loan = ctx.delivery.receipt
        words = (what, ctx.id, str(ctx.attempt), str(row), str(loan), f"{time.monotonic():.6f}", *more)
        self._write(f"{' '.join(words)}\n")

    def _write(self, lines: str) -> None:
        if self._pid != os.getpid():
            self._pid = os.getpid()
            path = self._folder / f"{self._pid}.log"
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.write(self._fd, lines.encode())


@dataclass(frozen=True, slots=True)
class Run:
    """One start of a handler. ended: None while it has not; how: done, failed, stopped, or ""."""

    id: str
    attempt: int
    receipt: Receipt
    pid: int
    began: float
    ended: float | None = None
    how: str = ""


@dataclass(frozen=True, slots=True)
class Sends:
    """What producers know: when each id was attempted, and when its last answer came."""

    attempted: dict[str, float]
    accepted: dict[str, float]
    unknown: dict[str, float]
    refused: dict[str, float]

    @property
    def longest(self) -> float:
        """Seconds from the attempt to the answer."""
        return max((at - self.attempted[id] for id, at in self.accepted.items()), default=0.0)


def runs(folder: Path) -> list[Run]:
    """Every start, with its end where there was one; in order of time."""
    found: dict[tuple[int, str, Receipt], Run] = {}
    for pid, words in _lines(folder):
        if words[0] not in ("start", "end"):
            continue
        what, id, attempt, row, loan, at, *how = words
        receipt = (int(row), int(loan))
        if what == "start":
            found[pid, id, receipt] = Run(id, int(attempt), receipt, pid, float(at))
        else:
            begun = found[pid, id, receipt]
            found[pid, id, receipt] = Run(id, begun.attempt, receipt, pid, begun.began, float(at), how[0])
    return sorted(found.values(), key=lambda run: run.began)


def running(folder: Path, pid: int) -> list[Run]:
    """What this process has started and not ended."""
    return [run for run in runs(folder) if run.pid == pid and run.ended is None]


def sends(folder: Path) -> Sends:
    """What all producers have written; a later answer for the same id replaces the earlier ones."""
    kept: dict[str, dict[str, float]] = {"attempted": {}, "accepted": {}, "unknown": {}, "refused": {}}
    for _, words in _lines(folder):
        if words[0] not in kept:
            continue
        what, id, at = words
        if what == "attempted":
            kept[what].setdefault(id, float(at))
        else:
            for other in ("accepted", "unknown", "refused"):
                kept[other].pop(id, None)
            kept[what][id] = float(at)
    return Sends(**kept)


def _lines(folder: Path) -> Iterator[tuple[int, list[str]]]:
    for path in sorted(folder.glob("*.log")):
        for line in path.read_text().splitlines():
            yield int(path.stem), line.split(" ")
