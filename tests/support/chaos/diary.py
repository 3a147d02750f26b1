"""What handlers and producers have done, written down outside the store.

One file for each process, opened O_APPEND: a line is there as soon as it is written, whatever becomes of its writer.
Times are monotonic: on Linux they are the same in all processes.
"""

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

from headrace import Context
from headrace.bus.envelope import Receipt

ANSWERS = ("accepted", "unknown", "refused")


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
        """Of a producer: attempted before a send; after it accepted (and duplicate), unknown or refused."""
        self._write("".join(f"{what} {id} {time.monotonic():.6f}\n" for id in ids))

    def _say(self, what: str, ctx: Context, *more: str) -> None:
        row, loan = ctx.delivery.receipt
        words = (what, ctx.id, str(ctx.attempt), str(row), str(loan), f"{time.monotonic():.6f}", *more)
        self._write(f"{' '.join(words)}\n")

    def _write(self, lines: str) -> None:
        if self._pid != (pid := os.getpid()):
            self._fd = os.open(
                self._folder / f"{pid}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
            self._pid = pid  # last: other threads look at it
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
    """What producers know: when each id was attempted, and when its last answer came.

    duplicate  the answer was that the store had the id already
    """

    attempted: dict[str, float]
    accepted: dict[str, float]
    unknown: dict[str, float]
    refused: dict[str, float]
    duplicate: dict[str, float]

    @property
    def longest(self) -> float:
        """Seconds from the attempt to the answer."""
        return max((at - self.attempted[id] for id, at in self.accepted.items()), default=0.0)


class Reader:
    """Reads what has been written since the last look."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, int] = {}
        self._runs: dict[tuple[int, str, Receipt], Run] = {}
        self._running: dict[int, dict[tuple[str, Receipt], Run]] = {}
        self._sends: dict[str, dict[str, float]] = {kind: {} for kind in ("attempted", "duplicate", *ANSWERS)}

    def runs(self) -> list[Run]:
        """Every start, with its end where there was one; in order of time."""
        self._look()
        return sorted(self._runs.values(), key=lambda run: run.began)

    def running(self, pid: int) -> list[Run]:
        """What this process has started and not ended."""
        self._look()
        return list(self._running.get(pid, {}).values())

    def sends(self) -> Sends:
        """What all producers have written; a later answer for the same id replaces the earlier ones."""
        self._look()
        return Sends(**{kind: dict(ids) for kind, ids in self._sends.items()})

    def _look(self) -> None:
        for path in self._folder.glob("*.log"):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                whole, end, _ = file.read().rpartition(b"\n")
            self._read[path] = self._read.get(path, 0) + len(whole) + len(end)
            for line in whole.decode().splitlines():
                self._take(int(path.stem), line.split(" "))

    def _take(self, pid: int, words: list[str]) -> None:
        match words:
            case ["start", id, attempt, row, loan, at]:
                receipt = (int(row), int(loan))
                run = Run(id, int(attempt), receipt, pid, float(at))
                self._runs[pid, id, receipt] = run
                self._running.setdefault(pid, {})[id, receipt] = run
            case ["end", id, _, row, loan, at, how]:
                receipt = (int(row), int(loan))
                begun = self._running[pid].pop((id, receipt))
                self._runs[pid, id, receipt] = replace(begun, ended=float(at), how=how)
            case ["attempted" | "duplicate" as kind, id, at]:
                self._sends[kind].setdefault(id, float(at))
            case [answer, id, at]:
                for other in ANSWERS:
                    self._sends[other].pop(id, None)
                self._sends[answer][id] = float(at)
            case _:
                raise ValueError(words)
