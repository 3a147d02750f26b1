"""The ledger: what became of each message, and what people may do about it."""

import asyncio
import contextlib
import math
import uuid
from collections.abc import AsyncIterator, Sequence
from functools import partial

from headrace.clock import Clock
from headrace.db.migrate import MESSAGES
from headrace.db.port import Database, Role, Row, Statement, Steps, Work, statement
from headrace.errors import JobNotFound, NotTracked, TransportError
from headrace.ledger import actions
from headrace.ledger.control import Control
from headrace.ledger.dead import DeadLetters
from headrace.ledger.job import TERMINAL, State
from headrace.ledger.names import Names
from headrace.ledger.prune import Pruner
from headrace.ledger.query import JobQuery, where
from headrace.ledger.records import Attempt, JobRecord, job_record
from headrace.ledger.statements import DONE_CHANNEL, HIGHEST, LOWEST, Sql

POLL = 1.0  # seconds between looks at a job that is waited for, when nothing was heard
ECHO = 0.002  # and when something was; SQLite's writes are heard before they can be read: later looks follow, doubled
WINDOW = 20_000  # jobs looked through by one statement
ALL = JobQuery()


class Ledger:
    """One store's ledger, through one session of its own.

    dead     the dead letters
    control  who is there, through a session of its own
    pruner   removes what is older than its retention
    names    whole ids from short ones
    """

    def __init__(self, database: Database, clock: Clock, table: str = MESSAGES) -> None:
        self._session = database.session(Role.BROWSE)
        self._sql = Sql(database.dialect, table)
        self._clock = clock
        self._waiting: dict[str, list[asyncio.Event]] = {}
        self._starting = asyncio.Lock()
        self._listening = False
        self.dead = DeadLetters(self._session, self._sql)
        self.control = Control(database)
        self.pruner = Pruner(self._session, self._sql)
        self.names = Names(self._session, self._sql)

    async def job(self, job: str) -> JobRecord:
        """What is known of this job. JobNotFound; NotTracked while its message is there without a record."""
        return await self._session.run(Work("job", partial(self._job, known(job)), writes=False))

    async def state(self, job: str) -> State:
        """As `job`, in less."""
        rows = await self._session.run(statement("state", self._sql.state, known(job), writes=False))
        return State(rows[0][0]) if rows else (await self.job(job)).state

    async def jobs(self, query: JobQuery = ALL, limit: int = 50, before: str | None = None) -> list[JobRecord]:
        """Jobs that fit, newest first; the next page is `before` the last id of this one.

        However many jobs there are, a statement looks through a bounded number of them.
        """
        condition, arguments = where(query, self._sql.dialect, self._sql.words, 4)
        text = self._sql.jobs(condition)
        high, found = HIGHEST if before is None else known(before), list[JobRecord]()
        async for low in self._windows(high, bounded=bool(query.conditions)):
            args = (high, low, limit - len(found), *arguments)
            rows = await self._session.run(statement("jobs", text, *args, writes=False))
            found += map(job_record, rows)
            if len(found) >= limit:
                break
            high = low
        return found

    async def attempts(self, job: str) -> list[Attempt]:
        """Attempts that failed, crashed or logged, in order; JobNotFound, NotTracked."""
        rows = await self._session.run(Work("attempts", partial(self._attempts, known(job)), writes=False))
        return [Attempt(*row) for row in rows]

    async def log(self, job: str) -> str:
        """What all its attempts logged, in order."""
        return "\n".join(attempt.log.rstrip("\n") for attempt in await self.attempts(job) if attempt.log)

    async def await_end(self, job: str) -> JobRecord:
        """The record, after it has been marked so that its end will be told."""
        return await self._session.run(Work("await", partial(self._await_end, known(job))))

    async def wait(self, job: str, timeout: float | None = None) -> JobRecord:
        """The record once the job has ended, or as it is after `timeout` seconds.

        A store that goes away meanwhile is waited for too.
        """
        job, heard = known(job), asyncio.Event()
        deadline = math.inf if timeout is None else self._clock.monotonic() + timeout
        self._waiting.setdefault(job, []).append(heard)
        try:
            await self._listen()
            heard.clear()
            state = (await self.await_end(job)).state
            pause = POLL
            while state not in TERMINAL and (left := deadline - self._clock.monotonic()) > 0:
                pause = ECHO if await self._clock.wait(heard, min(left, pause)) else min(2 * pause, POLL)
                heard.clear()  # before the look, so that what comes during the look is heard
                with contextlib.suppress(TransportError):
                    state = await self.state(job)
            return await self.job(job)
        finally:
            self._waiting[job].remove(heard)
            if not self._waiting[job]:
                del self._waiting[job]

    async def cancel(self, job: str) -> State:
        """Take back a message that waits, tracked or not; IllegalTransition when it is running or has ended."""
        return await self._session.run(Work("cancel", partial(actions.cancel, self._sql, known(job))))

    async def retry(self, ids: Sequence[str]) -> int:
        """Send ended jobs and dead letters to their queues anew, all or none. JobNotFound, IllegalTransition."""
        wanted = [known(job) for job in ids]
        return await self._session.run(Work("retry", partial(actions.retry, self._sql, wanted)))

    async def delete(self, ids: Sequence[str]) -> int:
        """Remove jobs with attempts, dead letter and waiting message, all or none; not while running."""
        wanted = [known(job) for job in ids]
        return await self._session.run(Work("delete", partial(actions.delete, self._sql, wanted)))

    async def aclose(self) -> None:
        """Close the session; whoever still waits gets an error."""
        await self._session.aclose()
        await self.control.aclose()

    # ─────────────────────────────────────────────────────────────────────────────────────────

    def _job(self, job: str) -> Steps[JobRecord]:
        rows = yield Statement(self._sql.job, (job,))
        if not rows:
            if (yield Statement(self._sql.untracked, (job,)))[0][0]:
                raise NotTracked(
                    f"job {job} has no record", hint="track=True keeps one; a dead letter of it: headrace failed show"
                )
            raise actions.not_found([job])
        return job_record(rows[0])

    def _attempts(self, job: str) -> Steps[Sequence[Row]]:
        yield from self._job(job)
        return (yield Statement(self._sql.attempts, (job,)))

    def _await_end(self, job: str) -> Steps[JobRecord]:
        yield Statement(self._sql.await_end, (job,))  # first: whoever ends it later, tells
        return (yield from self._job(job))

    async def _windows(self, high: str, *, bounded: bool) -> AsyncIterator[str]:
        """Lower ends of the pieces of the table below `high`."""
        while bounded:
            edge = await self._session.run(statement("edge", self._sql.older_edge, high, WINDOW - 1, writes=False))
            if not edge:
                break
            yield (high := edge[0][0])
        yield LOWEST

    async def _listen(self) -> None:
        async with self._starting:
            if not self._listening:
                await self._session.listen(DONE_CHANNEL, self._hear)
                self._listening = True

    def _hear(self, job: str) -> None:
        """Wake who waits for this job; for no job in particular, everybody."""
        events = self._waiting.get(job, ()) if job else [event for events in self._waiting.values() for event in events]
        for event in events:
            event.set()


def known(job: str) -> str:
    """The id as it is stored; JobNotFound for what cannot be one."""
    try:
        return str(uuid.UUID(job))
    except (ValueError, AttributeError, TypeError):
        raise JobNotFound(
            f"no job {job!r:.100}", why="it is not an id", hint="ids are listed by: headrace jobs list"
        ) from None
