"""One store, one diary, and the words of a test about them."""

import os
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headrace import Task, chance
from headrace.bus.ids import Ids
from headrace.bus.transport import Counts
from headrace.clock import SystemClock
from headrace.db.port import Role, Row, statement
from headrace.errors import TransportError
from headrace.ledger.job import TERMINAL
from headrace.worker.settings import WorkerSettings
from tests.support.chaos import diary
from tests.support.chaos.app import Chaos
from tests.support.chaos.plan import Plan
from tests.support.chaos.records import Attempted, Buried, Snapshot, Stored, Waiting
from tests.support.chaos.waiting import TooLate, eventually
from tests.support.supervising import ROOT

LEASE = 2.0


class World:
    """A store under test, seen from the test's own process, which is its producer."""

    def __init__(self, store: str, folder: Path, lease: float = LEASE) -> None:
        self.store = store
        self.folder = folder
        self.lease = lease
        (folder / "tokens").mkdir()
        self.chaos = Chaos(store, folder, lease)
        self.app = self.chaos.app
        self.clock = SystemClock()
        self._reader = diary.Reader(folder)
        self._ids = Ids(self.clock.now, chance.bits)

    @property
    def sqlite(self) -> bool:
        """Whether it is a file."""
        return self.store.startswith("sqlite")

    def touch(self, name: str) -> str:
        """The path of a file that is there from now on."""
        (self.folder / name).touch()
        return str(self.folder / name)

    def plan(
        self, failpoints: str = "", rounds: int = 0, ids: Sequence[str] = (), count: int = 0, **settings: Any
    ) -> Plan:
        """For processes of this world; `rounds` of them will have the failpoints armed."""
        for number in range(rounds):
            (self.folder / "tokens" / f"{number:06}").touch()
        return Plan(
            store=self.store,
            folder=str(self.folder),
            lease=self.lease,
            settings=WorkerSettings(**settings),
            failpoints=failpoints,
            ids=tuple(ids),
            count=count,
        )

    @property
    def tokens(self) -> int:
        """Processes that will still have failpoints armed."""
        return len(list((self.folder / "tokens").iterdir()))

    @contextmanager
    def lonely_worker(self, failpoints: str = "", **settings: Any) -> Iterator[subprocess.Popen[bytes]]:
        """A worker process without a supervisor."""
        plan = self.plan(**settings)
        environment = {**os.environ, **plan.environment(), "HEADRACE_FAILPOINTS": failpoints}
        command = [sys.executable, "-m", "headrace.worker", plan.order]
        with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
            try:
                yield process
            finally:
                process.kill()

    # ── sending ──────────────────────────────────────────────────────────────────────────────

    def id(self) -> str:
        return self._ids.new()

    async def send(self, task: Task[..., Any], *args: object, id: str = "", **options: Any) -> str:
        """Send one call and write down what came of it: accepted, unknown or refused."""
        id = id or self.id()
        await self.chaos.send(id, task, *args, **options)
        return id

    async def send_many(self, task: Task[..., Any], calls: Sequence[tuple[object, ...]]) -> list[str]:
        """Send calls in one commit; the test has no use for anything but success."""
        sent = [job.id for job in await task.aenqueue_many(calls)]
        self.chaos.diary.send("attempted", *sent)
        self.chaos.diary.send("accepted", *sent)
        return sent

    async def put(self, type_: str, body: str) -> str:
        """A message and its job, written into the tables as another program might: nobody is notified."""
        id = self.id()
        self.chaos.diary.send("attempted", id)
        self.chaos.diary.send("accepted", id)
        key, moment, now = ("$1", "$now", "$now") if self.sqlite else ("$1::uuid", "now() AT TIME ZONE 'UTC'", "now()")
        kind, text = "CAST($2 AS text)", "CAST($3 AS text)"
        await self.sql(
            f"""INSERT INTO headrace_jobs (id, type, queue, priority, state, body, headers, created_at, due_at)
                VALUES ({key}, {kind}, 'default', 4, 'pending', {text}, '{{}}', {now}, {now})""",
            id, type_, body,
        )  # fmt: skip
        await self.sql(
            f"""INSERT INTO headrace_messages
                  (message_id, type, body, headers, queue_name, created_at, available_at, tracked)
                VALUES ({key}, {kind}, {text}, '{{}}', 'default', {moment}, {moment}, true)""",
            id, type_, body,
        )  # fmt: skip
        return id

    # ── looking ──────────────────────────────────────────────────────────────────────────────

    def runs(self) -> list[diary.Run]:
        """Every start of a handler."""
        return self._reader.runs()

    def sends(self) -> diary.Sends:
        """Every send."""
        return self._reader.sends()

    def running(self, pid: int) -> list[diary.Run]:
        """What a process has started and not ended."""
        return self._reader.running(pid)

    async def counts(self) -> Counts:
        """Of all queues together."""
        counted = await (await self.app.connections()).transport.counts()
        names = ("ready", "leased", "delayed", "dead")
        return Counts(**{name: sum(getattr(queue, name) for queue in counted.values()) for name in names})

    async def left(self) -> int:
        """Messages that have no outcome; -1 while the store cannot be reached."""
        try:
            counts = await self.counts()
        except TransportError:
            return -1
        return counts.ready + counts.leased + counts.delayed

    async def drained(self, within: float) -> float:
        """Seconds until no message is left."""

        async def empty() -> bool:
            return await self.left() == 0

        return await eventually(empty, within, "drained")

    async def ran(
        self,
        within: float,
        *,
        count: int = 1,
        ids: Collection[str] = (),
        pids: Collection[int] = (),
        since: float = 0.0,
        how: str | None = None,
    ) -> list[diary.Run]:
        """Runs of these messages, in these processes, begun since then, that have ended so ("": not yet), once there
        are so many."""

        def found() -> list[diary.Run]:
            return [
                run
                for run in self.runs()
                if (not ids or run.id in ids)
                and (not pids or run.pid in pids)
                and run.began > since
                and (how is None or run.how == how)
            ]

        await eventually(lambda: len(found()) >= count, within, f"{count} runs")
        return found()

    async def ended(self, id: str, within: float) -> None:
        """Wait until the job has ended."""
        record = await (await self.app.connections()).ledger.wait(id, within)
        if record.state not in TERMINAL:
            raise TooLate(f"job {id} is {record.state} after {within:g} s")

    async def sql(self, text: str, *args: object) -> Sequence[Row]:
        database = (await self.app.connections()).store.database
        session = database.session(Role.BROWSE)
        try:
            return await session.run(statement("test", text, *args))
        finally:
            await session.aclose()

    async def leases(self) -> dict[str, float]:
        """When the lease of each message on loan ends, in seconds from now by the store's clock."""
        until = "lease_until" if self.sqlite else "date_part('epoch', lease_until)"
        now = "$now" if self.sqlite else "date_part('epoch', now() AT TIME ZONE 'UTC')"
        rows = await self.sql(
            f"SELECT CAST(message_id AS text), {until} - {now} FROM headrace_messages WHERE delivered_at IS NOT NULL"
        )
        return {row[0]: row[1] for row in rows}

    async def snapshot(self) -> Snapshot:
        """All that the store holds."""
        jobs = await self.sql(
            "SELECT CAST(id AS text), state, retries, crashes, result, worker, error FROM headrace_jobs"
        )
        waiting = await self.sql(
            "SELECT CAST(message_id AS text), delivered_at IS NOT NULL, loan, retries, crashes FROM headrace_messages"
        )
        dead = await self.sql("SELECT CAST(id AS text), reason, crashes, error FROM headrace_dead")
        attempts = await self.sql("SELECT CAST(job_id AS text), attempt, outcome, worker, error FROM headrace_attempts")
        counts = await self.counts()
        return Snapshot(
            {row[0]: Stored(*row[1:]) for row in jobs},
            {row[0]: Waiting(bool(row[1]), *row[2:]) for row in waiting},
            {row[0]: Buried(*row[1:]) for row in dead},
            [Attempted(*row) for row in attempts],
            (counts.ready + counts.delayed, counts.leased, counts.dead),
        )

    async def aclose(self) -> None:
        await self.app.aclose()
