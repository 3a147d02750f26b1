"""The dead letters: grouped by cause, looked at, retried, removed."""

import uuid
from collections.abc import AsyncIterator, Sequence
from functools import partial

import msgspec

from headrace.db.port import Row, Session, Statement, Steps, Work, statement
from headrace.errors import BadOption, JobNotFound
from headrace.ledger import actions
from headrace.ledger.records import DeadLetter, Group, Tally, dead_letter, edges, grouped
from headrace.ledger.statements import HIGHEST, LOWEST, Sql

BATCH = 500  # letters retried or removed in one transaction


class Chosen(msgspec.Struct, frozen=True):
    """Some dead letters: those of one fingerprint, the one with an id, or all."""

    fingerprint: str | None = None
    id: str | None = None


class DeadLetters:
    """What has been buried, and what may be done about it.

    `which` in all methods: a group (a fingerprint or its beginning), one letter (its id or its
    beginning), or None for all. BadOption when a beginning is shared, JobNotFound when nothing has it.
    """

    def __init__(self, session: Session, sql: Sql) -> None:
        self._session = session
        self._sql = sql

    async def groups(self) -> list[Group]:
        """One entry per cause, the most recent first."""
        return await self._session.run(Work("groups", self._groups, writes=False))

    async def letters(self, which: str | None = None, limit: int = 50) -> list[DeadLetter]:
        """Dead letters, newest first."""
        condition, args = self._condition(await self._choose(which), 1)
        text = self._sql.dead(condition, f"${len(args) + 1}")
        return [
            dead_letter(row) for row in await self._session.run(statement("letters", text, *args, limit, writes=False))
        ]

    async def letter(self, which: str) -> DeadLetter:
        """One dead letter; of a group, the newest."""
        return (await self.letters(which, 1))[0]

    async def tally(self, which: str | None = None) -> list[Tally]:
        """What retry and remove would touch."""
        condition, args = self._condition(await self._choose(which), 1)
        rows = await self._session.run(statement("tally", self._sql.tally(condition), *args, writes=False))
        return [Tally(*row) for row in rows]

    async def retry(self, which: str | None = None) -> int:
        """Send them to their queues anew, in batches; those that die meanwhile are left. How many."""
        count = 0
        async for ids in self._pages(which):
            count += await self._session.run(Work("retry", partial(actions.retry, self._sql, ids, strict=False)))
        return count

    async def remove(self, which: str | None = None) -> int:
        """Remove them for good, in batches; their jobs keep their records. How many."""
        count = 0
        async for ids in self._pages(which):
            gone = await self._session.run(statement("remove", self._sql.delete_dead, self._sql.words.batch(ids)))
            count += len(gone)
        return count

    # ─────────────────────────────────────────────────────────────────────────────────────────

    def _groups(self) -> Steps[list[Group]]:
        oldest, now = (yield Statement(self._sql.dead_span))[0]
        if oldest is None:
            return []
        rows = yield Statement(self._sql.groups, tuple(edges(oldest, now)))
        return grouped(rows, (yield Statement(self._sql.causes)))

    async def _choose(self, which: str | None) -> Chosen:
        if which is None:
            return Chosen()
        return await self._session.run(Work("choose", partial(self._choice, which), writes=False))

    def _choice(self, which: str) -> Steps[Chosen]:
        which = which.strip().replace("\x00", "").encode("utf-8", "replace").decode()
        prints = [row[0] for row in (yield Statement(self._sql.fingerprints, (which,)))] if which else []
        if which in prints or len(prints) == 1:
            return Chosen(fingerprint=which if which in prints else prints[0])
        if prints:
            raise BadOption(
                f"{which!r} is the beginning of several groups", why=", ".join(prints), hint="give more of it"
            )
        between = id_range(which)
        ids = [row[0] for row in (yield Statement(self._sql.dead_between, between))] if between else []
        if len(ids) > 1:
            raise BadOption(f"{which!r} is the beginning of several ids", hint="give more of it")
        if not ids:
            raise JobNotFound(f"no dead letter and no group {which!r:.100}", hint="run: headrace failed list")
        return Chosen(id=ids[0])

    def _condition(self, chosen: Chosen, place: int) -> tuple[str, list[object]]:
        """SQL over headrace_dead d, and its arguments."""
        if chosen.fingerprint is not None:
            return f"d.fingerprint = ${place}", [chosen.fingerprint]
        if chosen.id is not None:
            return f"d.id = {self._sql.dialect.uuid.format(f'${place}')}", [chosen.id]
        return "true", []

    async def _pages(self, which: str | None) -> AsyncIterator[Sequence[str]]:
        """Ids of what is dead now, in order, a batch at a time."""
        condition, args = self._condition(await self._choose(which), 4)
        text = f"{self._sql.dead_page} AND {condition} ORDER BY d.id LIMIT $3"
        until = (await self._session.run(statement("now", self._sql.dead_span, writes=False)))[0][1]
        after = LOWEST
        while True:
            rows: Sequence[Row] = await self._session.run(
                statement("page", text, after, until, BATCH, *args, writes=False)
            )
            if rows:
                yield [row[0] for row in rows]
            if len(rows) < BATCH:
                return
            after = rows[-1][0]


def id_range(beginning: str) -> tuple[str, str] | None:
    """The smallest and the largest id that begin so; None if no id can."""
    compact = beginning.replace("-", "").lower()
    if not 0 < len(compact) <= 32 or set(compact) - set("0123456789abcdef"):
        return None
    return str(uuid.UUID(compact + LOWEST.replace("-", "")[len(compact) :])), str(
        uuid.UUID(compact + HIGHEST.replace("-", "")[len(compact) :])
    )
