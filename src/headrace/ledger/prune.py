"""Removes what has been kept for long enough, in steps that keep nobody waiting."""

from collections.abc import AsyncIterator, Iterable
from functools import partial

import msgspec

from headrace.bus.durations import Duration, seconds
from headrace.db.port import Session, Statement, Steps, Work, statement
from headrace.ledger.job import TERMINAL, State
from headrace.ledger.statements import HIGHEST, LOWEST, Sql

DONE = frozenset({State.COMPLETED, State.CANCELLED})
FAILED = TERMINAL - DONE
BATCH = 1_000  # rows removed in one transaction
WINDOW = 10_000  # jobs looked through by one statement


class Retention(msgspec.Struct, frozen=True):
    """How long to keep what has ended; None: for ever.

    done    completed and cancelled jobs, after their end
    failed  failed, quarantined and expired jobs, after their end
    dead    dead letters, after their death; one without its job can still be retried
    """

    done: Duration | None = "7d"
    failed: Duration | None = "90d"
    dead: Duration | None = "90d"

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if getattr(self, name) is not None:
                seconds(getattr(self, name), name)


class Pruned(msgspec.Struct, frozen=True):
    """How many of each."""

    done: int = 0
    failed: int = 0
    dead: int = 0


class Pruner:
    """Never touches a job that has not ended.

    Candidates are read first, by id, which is the order of their creation, a window at a time; only
    the removal of those that were found is a transaction that writes.
    """

    def __init__(self, session: Session, sql: Sql) -> None:
        self._session = session
        self._sql = sql

    async def count(self, retention: Retention) -> Pruned:
        """What `prune` would remove."""
        return await self._each(retention, remove=False)

    async def prune(self, retention: Retention) -> Pruned:
        """Remove what is older; returns how many were removed."""
        return await self._each(retention, remove=True)

    # ─────────────────────────────────────────────────────────────────────────────────────────

    async def _each(self, retention: Retention, *, remove: bool) -> Pruned:
        done = 0 if retention.done is None else await self._jobs(DONE, seconds(retention.done), remove=remove)
        failed = 0 if retention.failed is None else await self._jobs(FAILED, seconds(retention.failed), remove=remove)
        if retention.dead is None:
            return Pruned(done, failed)
        age = seconds(retention.dead)
        return Pruned(done, failed, await (self._remove_dead(age) if remove else self._count_dead(age)))

    async def _jobs(self, states: Iterable[State], age: float, *, remove: bool) -> int:
        count = 0
        async for ids in self._candidates(states, age):
            if not remove:
                count += len(ids)
                continue
            for start in range(0, len(ids), BATCH):
                steps = partial(self._remove, self._sql.delete_old_jobs(states), ids[start : start + BATCH], age)
                count += await self._session.run(Work("prune", steps))
        return count

    async def _candidates(self, states: Iterable[State], age: float) -> AsyncIterator[list[str]]:
        """Ids of a window's jobs that ended long enough ago."""
        text = self._sql.old_jobs(states)
        low = LOWEST
        while low != HIGHEST:
            edge = await self._session.run(statement("edge", self._sql.newer_edge, low, WINDOW - 1, writes=False))
            high = edge[0][0] if edge else HIGHEST
            yield [row[0] for row in await self._session.run(statement("old", text, low, high, age, writes=False))]
            low = high

    def _remove(self, text: str, ids: list[str], age: float) -> Steps[int]:
        """Those of `ids` that are still old enough, with their attempts."""
        gone = [row[0] for row in (yield Statement(text, (self._sql.words.batch(ids), age)))]
        yield Statement(self._sql.delete_attempts, (self._sql.words.batch(gone),))
        return len(gone)

    async def _count_dead(self, age: float) -> int:
        count: int = (await self._session.run(statement("old", self._sql.count_old_dead, age, writes=False)))[0][0]
        return count

    async def _remove_dead(self, age: float) -> int:
        count = 0
        while True:
            gone = await self._session.run(statement("prune", self._sql.delete_old_dead, age, BATCH))
            count += len(gone)
            if len(gone) < BATCH:
                return count
