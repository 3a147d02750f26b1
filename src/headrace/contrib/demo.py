"""The main job on real input: every file below a folder, four workers, one of them killed on the way."""

import asyncio
import os
import signal
import stat
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from headrace.bus.events import Sent
from headrace.bus.transport import Lapsed
from headrace.clock import Clock
from headrace.compose import releaser
from headrace.connections import Connections
from headrace.contrib.files import Examined, app, examine
from headrace.errors import UsageError
from headrace.ledger.job import TERMINAL, State
from headrace.ledger.records import JobRecord
from headrace.supervisor import events
from headrace.supervisor.loop import Supervisor
from headrace.supervisor.settings import ConsumerSettings, Loading
from headrace.worker.order import Order
from headrace.worker.settings import WorkerSettings

CHUNK = 500
PAGE = 2_000
KILL_AT = 0.25  # share of the files that are done when a worker is killed
LOOK = 0.05


class Progress(msgspec.Struct, frozen=True):
    """Where the run is. rate: files a second, lately; eta: seconds, None while unknown."""

    total: int
    done: int
    waiting: int
    running: int
    workers: int
    rate: float
    eta: float | None


class Killed(msgspec.Struct, frozen=True):
    """A worker was sent SIGKILL."""

    worker: str
    pid: int


class GivenBack(msgspec.Struct, frozen=True):
    """What the dead worker held is running again.

    running  of these files, had been started
    seconds  from the kill to the start of the last of them
    """

    files: int
    running: int
    seconds: float


class Report(msgspec.Struct, frozen=True):
    """What came of it. lost: files that have no outcome."""

    files: int
    bytes: int
    lines: int
    duplicates: int
    seconds: float
    rate: float
    retries: int
    crashes: int
    failed: int
    lost: int


News = Progress | Killed | GivenBack | Report | events.Event


def files_below(folder: Path) -> Iterator[str]:
    """Regular files that can be read, links not followed; in order."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(place, name)  # noqa: PTH118  # ten thousand of them
            try:
                plain = stat.S_ISREG(os.lstat(path).st_mode) and os.access(path, os.R_OK)
                path.encode()
            except (OSError, UnicodeEncodeError):
                continue
            if plain:
                yield path


class FileDemo:
    """One run. `tell` hears the news; the last is the Report."""

    def __init__(self, folder: Path, workers: int, kill: bool, tell: Callable[[News], None]) -> None:
        self._folder = folder
        self._workers = workers
        self._kill = kill
        self._tell = tell
        self._clock: Clock = app.parts.clock
        self._killed_at = 0.0
        self._victim = ""
        self._released: asyncio.Future[Sequence[Lapsed]] | None = None

    async def run(self) -> Report:
        """Dispatch, supervise, kill, wait for the last file, report."""
        paths = list(files_below(self._folder))
        if not paths:
            raise UsageError(
                f"no readable file below {self._folder}", hint="name another folder: headrace demo files PATH"
            )
        connections = await app.connections()
        order = Order(app="headrace.contrib.files:app", settings=WorkerSettings(queues=["files"]), told="nothing")
        supervisor = Supervisor(
            [ConsumerSettings("demo", self._workers, grace=5.0)],
            Loading("headrace.compose:load_worker", msgspec.json.encode(order).decode()),
            releaser(app.parts),
            self._clock,
            self._hear,
        )
        self._released = asyncio.get_running_loop().create_future()
        began = self._clock.monotonic()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(supervisor.run())
            sending = tasks.create_task(self._send(paths))
            watching = tasks.create_task(self._watch(connections, supervisor, len(paths)))
            await sending
            await watching
            seconds = self._clock.monotonic() - began
            supervisor.stop()
        report = await self._report(connections, len(paths), seconds)
        self._tell(report)
        return report

    async def _send(self, paths: Sequence[str]) -> None:
        for start in range(0, len(paths), CHUNK):
            await examine.aenqueue_many([(path,) for path in paths[start : start + CHUNK]])

    async def _watch(self, connections: Connections, supervisor: Supervisor, total: int) -> None:
        """Tell how far it is, until every file has an outcome; kill a busy worker on the way."""
        recent: list[tuple[float, int]] = []
        waking: asyncio.Task[None] | None = None
        sent = 0

        def count(event: Sent) -> None:
            nonlocal sent
            sent += len(event.envelopes)

        app.on(Sent)(count)
        while True:
            counts = (await connections.transport.counts()).get("files")
            left = 0 if counts is None else counts.ready + counts.leased + counts.delayed
            done = max(0, sent - left)
            now = self._clock.monotonic()
            recent = [*recent[-40:], (now, done)]
            rate = (done - recent[0][1]) / max(now - recent[0][0], 0.001)
            alive = [worker for worker in supervisor.workers if worker.state == "running"]
            running = 0 if counts is None else counts.leased
            eta = (total - done) / rate if rate > 0 else None
            self._tell(Progress(total, done, left - running, running, len(alive), rate, eta))
            if sent == total and not left:
                break
            busy = [worker for worker in alive if worker.done or worker.busy]
            if self._kill and not self._victim and done >= total * KILL_AT and busy and left:
                victim = busy[0]
                self._victim, self._killed_at = victim.worker, self._clock.now()
                supervisor.signal_worker(victim.worker, signal.SIGKILL)
                self._tell(Killed(victim.worker, victim.pid))
                waking = asyncio.get_running_loop().create_task(self._running_again(connections))
            await self._clock.sleep(LOOK)
        if waking is not None:
            await waking

    async def _running_again(self, connections: Connections) -> None:
        """Wait until everything that the dead worker held has been taken up by another."""
        assert self._released is not None
        released = await self._released
        waiting, last = [lapsed.id for lapsed in released], self._killed_at
        while waiting:  # the last of them first: when it runs, the others do too
            record = await connections.ledger.job(waiting[-1])
            moved_on = record.state is State.PROCESSING or record.state in TERMINAL
            if moved_on and record.worker != self._victim:
                waiting.pop()
                last = max(last, record.started_at or 0.0)
            else:
                await self._clock.sleep(LOOK)
        charged = sum(lapsed.charged for lapsed in released)
        self._tell(GivenBack(len(released), charged, last - self._killed_at))

    def _hear(self, event: events.Event) -> None:
        self._tell(event)
        if (
            isinstance(event, events.JobsReleased)
            and event.worker == self._victim
            and self._released is not None
            and not self._released.done()
        ):
            self._released.set_result(event.released)

    async def _report(self, connections: Connections, total: int, seconds: float) -> Report:
        seen: Counter[str] = Counter()
        ended = failed = size = lines = retries = crashes = 0
        async for record in _all_jobs(connections):
            ended += record.state in TERMINAL
            retries += record.retries
            crashes += record.crashes
            if record.state is State.COMPLETED and record.result is not None:
                found = msgspec.json.decode(record.result, type=Examined)
                seen[found.sha256] += 1
                size += found.size
                lines += found.lines
            else:
                failed += 1
        duplicates = sum(count - 1 for count in seen.values())
        return Report(total, size, lines, duplicates, seconds, total / seconds, retries, crashes, failed, total - ended)


async def _all_jobs(connections: Connections) -> AsyncIterator[JobRecord]:
    before: str | None = None
    while True:
        page = await connections.ledger.jobs(limit=PAGE, before=before)
        for record in page:
            yield record
        if len(page) < PAGE:
            return
        before = page[-1].id
