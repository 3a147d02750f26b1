"""The transport over an SQL table; what it says to the database is in one file per database."""

import asyncio
import contextlib
from collections.abc import Collection, Mapping, Sequence

from headrace.bus.context import headers_of
from headrace.bus.envelope import Delivery, Duplicate, Envelope, Receipt, Report, Sent, Settlement
from headrace.bus.retry import Nack, Return
from headrace.bus.transport import Counts, Evidence, Lapsed
from headrace.clock import Clock
from headrace.db.port import Conflict, Role, Row, Session
from headrace.errors import OutcomeUnknown, TransportError
from headrace.transports.sql import rows
from headrace.transports.sql.commit import GroupCommit
from headrace.transports.sql.store import Store

LEASE = 30.0
POLL = 4.0  # seconds between looks at the table when nothing was heard
GROUP = 500  # envelopes of concurrent senders in one commit
GIVEN_BACK = (Nack, Return)
CHUNK = 5_000  # rows of one statement
TRIES = 2  # more sends of a message whose unique key nobody holds
REAP = 100  # lapsed loans given back in one transaction


class SqlTransport:
    """Transport, Leasing, Reporting and Countable over one table.

    worker  the name under which loans are held; new for each worker process
    """

    def __init__(self, store: Store, clock: Clock, worker: str = "", lease: float = LEASE) -> None:
        self.lease = lease
        self._sql = store.queue_sql()
        self._clock = clock
        self._worker = worker
        self._table = store.table
        self._sessions = {role: store.database.session(role) for role in (Role.FETCH, Role.SETTLE, Role.HEART)}
        self._commit = GroupCommit(self._write, GROUP)
        self._heard = asyncio.Event()
        self._listening = False
        self._interrupted = False
        self._lent: set[Receipt] = set()  # received and not settled
        self._astray = False  # a claim may have been made whose answer was lost

    # ── Transport ────────────────────────────────────────────────────────────────────────────

    async def send(self, envelopes: Sequence[Envelope]) -> Sequence[Sent | Duplicate]:
        return await self._commit.send(envelopes) if envelopes else ()

    async def receive(self, queues: Sequence[str], limit: int, wait: float) -> Sequence[Delivery]:
        await self._connected()
        await self._listen(queues)
        await self._give_back_strays()
        deadline = self._clock.monotonic() + wait
        while True:
            self._heard.clear()  # before looking, so that what comes during the look is heard
            claimed = await self._claim(queues, limit)
            left = deadline - self._clock.monotonic()
            if claimed or left <= 0 or self._interrupted:
                return [self._delivery(row) for row in claimed]
            due = await self.session(Role.FETCH).run(self._sql.next_due(queues))
            await self._clock.wait(self._heard, min(left, POLL, max(0.0, POLL if due is None else due)))

    async def settle(self, settlements: Sequence[Settlement]) -> Collection[Receipt]:
        accepted = await self.session(Role.SETTLE).run(self._sql.settle(rows.batch(settlements), self._worker))
        self._lent.difference_update([settlement.delivery.receipt for settlement in settlements])
        if any(isinstance(settlement.verdict, GIVEN_BACK) for settlement in settlements):
            self._heard.set()  # what was given back may be due before the sleep that is under way ends
        if accepted is None:
            return ()
        return [s.delivery.receipt for s in settlements if s.delivery.receipt[0] not in accepted]

    async def aclose(self) -> None:
        await self._commit.aclose()
        for session in self._sessions.values():
            await session.aclose()

    # ── Leasing, Reporting, Countable ────────────────────────────────────────────────────────

    async def extend(self, receipts: Sequence[Receipt]) -> Collection[Receipt]:
        kept = await self.session(Role.HEART).run(self._sql.extend(receipts, self.lease))
        return [receipt for receipt in receipts if receipt[0] not in kept]

    async def reap(self) -> Sequence[Lapsed]:
        return await self.session(Role.HEART).run(self._sql.reap(REAP))

    async def release_worker(self, worker: str, started: Collection[Receipt], evidence: Evidence) -> Sequence[Lapsed]:
        return await self.session(Role.HEART).run(self._sql.release(worker, list(started), evidence))

    async def report(self, reports: Sequence[Report]) -> None:
        if reports:
            await self.session(Role.SETTLE).run(
                self._sql.report([(*rows.report_row(r), self._worker) for r in reports])
            )

    def interrupt(self) -> None:
        self._interrupted = True
        self._heard.set()

    async def counts(self) -> Mapping[str, Counts]:
        return await self.session(Role.FETCH).run(self._sql.counts())

    # ─────────────────────────────────────────────────────────────────────────────────────────

    def session(self, role: Role) -> Session:
        """Its connection for this."""
        return self._sessions[role]

    async def _write(self, envelopes: Sequence[Envelope], tries: int = TRIES) -> Sequence[Sent | Duplicate]:
        made = [rows.sent_row(envelope) for envelope in envelopes]
        new = all(envelope.unique is None for envelope in envelopes)
        try:
            stored = await self._store(made, new)
        except OutcomeUnknown as error:
            error.ids = [envelope.id for envelope in envelopes]
            raise
        if stored is None:
            return [Sent(envelope.id) for envelope in envelopes]
        return await self._answers(envelopes, set(stored), tries)

    async def _store(self, made: Sequence[rows.SentRow], new: bool) -> Collection[str] | None:
        session = self.session(Role.SETTLE)
        if new:
            with contextlib.suppress(Conflict):
                return await session.run(self._sql.send(made, new=True))
        return await session.run(self._sql.send(made, new=False))

    async def _answers(self, envelopes: Sequence[Envelope], stored: set[str], tries: int) -> Sequence[Sent | Duplicate]:
        """Who was stored, and who holds the key of the others."""
        keys = [e.unique for e in envelopes if e.unique is not None and e.id not in stored]
        holders = await self.session(Role.SETTLE).run(self._sql.holders(keys)) if keys else ()
        held: dict[str, str] = {row[0]: row[1] for row in holders}
        answers: list[Sent | Duplicate] = []
        for envelope in envelopes:
            if envelope.id in stored:
                stored.discard(envelope.id)  # the same id twice in one call is stored once
                answers.append(Sent(envelope.id))
            elif envelope.unique is not None and envelope.unique not in held and tries:
                answers += await self._write([envelope], tries - 1)  # its holder has just ended, or its id is known
            else:
                answers.append(Duplicate(held.get(envelope.unique or "", envelope.id)))
        return answers

    async def _connected(self) -> None:
        """Both connections or none: who claims must be able to settle, also on a server that has no more to give."""
        sessions = [self._sessions[Role.FETCH], self._sessions[Role.SETTLE]]
        try:
            for session in sessions:
                await session.ready()
        except TransportError:
            for session in sessions:
                await session.rest()
            raise

    async def _claim(self, queues: Sequence[str], limit: int) -> Sequence[Row]:
        try:
            claimed = await self.session(Role.FETCH).run(self._sql.claim(queues, limit, self.lease, self._worker))
        except OutcomeUnknown:
            self._astray = True
            raise
        self._lent.update([(row[0], row[1]) for row in claimed])
        return claimed

    async def _give_back_strays(self) -> None:
        """What a claim has lent us without our knowing it need not wait for its lease; nobody has started it."""
        if self._astray:
            lost = Evidence("the answer to a claim was lost", "nothing of it was started")
            await self.session(Role.FETCH).run(self._sql.release(self._worker, [], lost, list(self._lent)))
            self._astray = False

    async def _listen(self, queues: Sequence[str]) -> None:
        if not self._listening:
            wanted = frozenset(queues)

            def heard(queue: str) -> None:
                if not queue or queue in wanted:
                    self._heard.set()

            await self.session(Role.FETCH).listen(self._table, heard)
            self._listening = True

    def _delivery(self, row: Row) -> Delivery:
        made = rows.delivery(row, row[3] or "")
        return made if row[3] else rows.delivery(row, headers_of(made).get("type", ""))
