"""A store with its transport and its ledger, and short words for what happens to a message."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from headrace import chance
from headrace.bus.envelope import Delivery, Envelope, Outcome, Report, Settlement
from headrace.bus.ids import Ids
from headrace.bus.retry import ACK, Bury, Nack, Reason, Verdict
from headrace.bus.transport import Evidence
from headrace.clock import Clock, SystemClock
from headrace.db.migrate import Schema
from headrace.db.port import Role, Row, statement
from headrace.ledger.store import Ledger
from headrace.transports.dsn import open_store
from headrace.transports.sql.transport import SqlTransport

DAY = 86_400.0


class House:
    """One store and what speaks to it."""

    def __init__(self, dsn: str, clock: Clock) -> None:
        self.store = open_store(dsn, clock)
        self.clock = clock
        self.transport = SqlTransport(self.store, clock, "w1")
        self.ledger = Ledger(self.store.database, clock, self.store.table)
        self.dialect = self.store.database.dialect
        self._session = self.store.database.session(Role.BROWSE)
        self._ids = Ids(clock.now, chance.bits)

    def id(self) -> str:
        return self._ids.new()

    async def send(self, body: str = '{"name":"Ada"}', **options: Any) -> str:
        named = {"id": self.id(), "type": "hello.greet", **options}
        envelope = Envelope(body=body.encode(), **named)
        await self.transport.send([envelope])
        return envelope.id

    async def claim(self, *queues: str) -> Delivery:
        (delivery,) = await self.transport.receive(queues or ("default",), 1, 5.0)
        return delivery

    async def settle(self, delivery: Delivery, verdict: Verdict = ACK, **outcome: Any) -> None:
        assert not await self.transport.settle([Settlement(delivery, verdict, Outcome(**outcome))])

    async def report(self, delivery: Delivery, progress: float | None = None, note: str = "") -> None:
        await self.transport.report([Report(delivery.receipt, delivery.id, 0.2, progress, note)])

    async def crash(self, delivery: Delivery, *, charged: bool = True) -> None:
        started = [delivery.receipt] if charged else []
        await self.transport.release_worker("w1", started, Evidence("signal 9", "SIGKILL"))

    async def sql(self, text: str, *args: object) -> Sequence[Row]:
        return await self._session.run(statement("test", text, *args))

    async def ago(self, table: str, column: str, job: str, seconds: float) -> None:
        """Move a moment of a row into the past."""
        moment = self.dialect.moment.format(f"{self.dialect.epoch.format(self.dialect.now)} - $1")
        await self.sql(
            f"UPDATE {table} SET {column} = {moment} WHERE id = {self.dialect.uuid.format('$2')}", seconds, job
        )

    async def count(self, table: str) -> int:
        return int((await self.sql(f"SELECT count(*) FROM {table}"))[0][0])

    # ── jobs that have come to an end ────────────────────────────────────────────────────────

    async def completed(self, **options: Any) -> str:
        job = await self.send(**options)
        await self.settle(await self.claim(options.get("queue", "default")), result=b'"done"', ran=0.1)
        return job

    async def failed(
        self, error: str = "ValueError: no at hello.py:9", print_: str = "f3a1c0de", **options: Any
    ) -> str:
        job = await self.send(**options)
        delivery = await self.claim(options.get("queue", "default"))
        await self.settle(delivery, Bury(Reason.FAILED), error=error, fingerprint=print_, ran=0.1)
        return job

    async def quarantined(self, **options: Any) -> str:
        job = await self.send(**options)
        await self.crash(await self.claim())
        await self.settle(await self.claim(), Bury(Reason.QUARANTINED, "1 workers died running it"))
        return job

    async def expired(self, **options: Any) -> str:
        job = await self.send(**options)
        await self.settle(await self.claim(), Bury(Reason.EXPIRED, "too late"))
        return job

    async def cancelled(self, **options: Any) -> str:
        job = await self.send(**options)
        await self.ledger.cancel(job)
        return job

    async def retrying(self, **options: Any) -> str:
        job = await self.send(**options)
        await self.settle(await self.claim(), Nack(3600.0), error="ValueError: no", ran=0.1)
        return job

    async def running(self, **options: Any) -> str:
        """Claimed, and not yet reported."""
        job = await self.send(**options)
        assert (await self.claim()).id == job
        return job

    async def processing(self, **options: Any) -> str:
        job = await self.send(**options)
        await self.report(await self.claim())
        return job


@asynccontextmanager
async def a_house(dsn: str, clock: Clock | None = None) -> AsyncIterator[House]:
    house = House(dsn, clock or SystemClock())
    await Schema(house.store.database, house.store.table).ensure()
    try:
        yield house
    finally:
        await house.ledger.aclose()
        await house.transport.aclose()
        await house.store.database.aclose()
