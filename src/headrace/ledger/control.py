"""Who is there: workers say so, and hear what they are asked to do."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from headrace.db.port import Database, Role, Session, statement
from headrace.ledger.statements import WorkersSql

Wanted = Literal["run", "drain"]


class WorkerRow(msgspec.Struct, frozen=True):
    """A worker, as it describes itself.

    id      the name under which it holds loans
    queues  joined by commas
    busy    handlers that run now
    done    deliveries that it has settled
    """

    id: str
    host: str
    pid: int
    consumer: str
    queues: str
    concurrency: int
    busy: int = 0
    done: int = 0


class WorkerSeen(msgspec.Struct, frozen=True):
    """A worker, as the store knows it. Moments are unix seconds of the store's clock.

    wanted  what it is asked to do
    age     seconds since it was last seen
    """

    worker: WorkerRow
    wanted: Wanted
    started_at: float
    seen_at: float
    age: float


class Control:
    """The table of workers, through a session that is never behind another statement.

    session  the one that its caller beats with, if there is one
    """

    def __init__(self, database: Database, session: Session | None = None) -> None:
        self._session = session or database.session(Role.HEART)
        self._sql = WorkersSql(database.dialect)

    async def beat(self, worker: WorkerRow) -> Wanted:
        """Say that it is there; answers what is wanted of it. Its first beat is its start."""
        rows = await self._session.run(statement("beat", self._sql.beat, *msgspec.structs.astuple(worker)))
        wanted: Wanted = rows[0][0]
        return wanted

    async def gone(self, worker: str) -> None:
        """Take it off the list: it has ended."""
        await self._session.run(statement("gone", self._sql.gone, worker))

    async def workers(self) -> list[WorkerSeen]:
        """All that are on the list, by consumer and start."""
        rows = await self._session.run(statement("workers", self._sql.workers, writes=False))
        return [WorkerSeen(WorkerRow(*row[:8]), row[8], row[9], row[10], max(0.0, row[11])) for row in rows]

    async def want(self, workers: Sequence[str], wanted: Wanted) -> int:
        """Ask these workers to do this at their next beat; how many of them are on the list."""
        asked = statement("want", self._sql.want, wanted, self._sql.words.batch(workers))
        rows = await self._session.run(asked)
        return len(rows)

    async def forget(self, older_than: float) -> list[str]:
        """Take off those that have not been seen for so many seconds; their ids."""
        return [row[0] for row in await self._session.run(statement("forget", self._sql.forget, float(older_than)))]

    async def aclose(self) -> None:
        """Close the session."""
        await self._session.aclose()
