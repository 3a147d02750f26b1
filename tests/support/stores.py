"""A store on the bench: transports on it, a look into its tables, and time that passes when told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from headrace import chance
from headrace.bus.envelope import Delivery, Duplicate, Envelope, Sent
from headrace.bus.ids import Ids
from headrace.clock import Clock, ManualClock
from headrace.db.migrate import Schema
from headrace.db.port import Role, Row, statement
from headrace.ledger.store import Ledger
from headrace.transports.dsn import open_store
from headrace.transports.sql.transport import SqlTransport
from tests.support.clock import StillClock

T = TypeVar("T")

DEADLINE = 20.0  # of anything that is awaited; a test that needs it fails
TABLES = ("headrace_messages", "headrace_jobs", "headrace_attempts", "headrace_dead")
MOMENTS = ("created_at", "available_at", "delivered_at", "lease_until", "expires_at", "parked_at")


async def soon(awaitable: Awaitable[T]) -> T:
    """Its result, which must come before the deadline."""
    async with asyncio.timeout(DEADLINE):
        return await awaitable


class Bench:
    """One store with its schema.

    clock  its time where the store has none of its own
    """

    def __init__(self, dsn: str, clock: Clock) -> None:
        self.dsn = dsn
        self.clock = clock
        self.store = open_store(dsn, clock)
        self.ledger = Ledger(self.store.database, clock, self.store.table)
        self._browse = self.store.database.session(Role.BROWSE)
        self._ids = Ids(clock.now, chance.bits)
        self._transports: list[tuple[SqlTransport, Any]] = []

    def transport(self, worker: str = "w1", lease: float = 30.0) -> SqlTransport:
        """A transport with connections of its own, as another process would have it."""
        store = self.store.apart()
        transport = SqlTransport(store, self.clock, worker, lease)
        self._transports.append((transport, store.database))
        return transport

    def envelope(self, body: bytes = b"{}", **changes: Any) -> Envelope:
        """An envelope with a new id."""
        return Envelope(**{"id": self._ids.new(), "type": "shop.greet", "body": body, **changes})

    async def send(self, **changes: Any) -> str:
        """Send one message; its id."""
        envelope = self.envelope(**changes)
        assert await self.answer(envelope) == Sent(envelope.id)
        return envelope.id

    async def answer(self, envelope: Envelope) -> Sent | Duplicate:
        """What the transport answers to one envelope."""
        return (await soon(self.transport("sender").send([envelope])))[0]

    async def one(self, transport: SqlTransport | None = None) -> Delivery:
        """The one message that is ready."""
        [delivery] = await take(transport or self.transport())
        return delivery

    async def pass_time(self, seconds: float) -> None:
        """Let time pass for the store and for who waits on the clock."""
        assert isinstance(self.clock, ManualClock)
        if (
            self.store.database.dialect.name == "postgres"
        ):  # its clock is its own: move what is in the past further away
            moved = ", ".join(f"{name} = {name} - {seconds} * interval '1 second'" for name in MOMENTS)
            await self.run(f"UPDATE headrace_messages SET {moved}")
        self.clock.advance(seconds)

    async def asleep(self) -> None:
        """Return once somebody sleeps on the clock."""
        assert isinstance(self.clock, StillClock)
        self.clock.asleep.clear()
        await soon(self.clock.asleep.wait())

    async def run(self, text: str, *args: object) -> Sequence[Row]:
        """The rows of a statement."""
        return await soon(self._browse.run(statement("look", text, *args)))

    async def value(self, text: str, *args: object) -> Any:
        """The one value of a statement."""
        [[value]] = await self.run(text, *args)
        return value

    async def job(self, job: str, *columns: str) -> tuple[Any, ...]:
        """Columns of a job's row."""
        place = self.store.database.dialect.uuid.format("$1")
        [row] = await self.run(f"SELECT {', '.join(columns)} FROM headrace_jobs WHERE id = {place}", job)
        return tuple(row)

    async def state(self, job: str) -> str:
        """State of a job."""
        return str((await self.job(job, "state"))[0])

    async def size(self, table: str) -> int:
        """Rows of a table."""
        return int(await self.value(f"SELECT count(*) FROM {table}"))

    async def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        """All rows of all tables."""
        return {table: sorted(map(tuple, await self.run(f"SELECT * FROM {table}")), key=repr) for table in TABLES}

    async def raw(self, body: str, headers: str = "{}", queue: str = "default", **columns: Any) -> None:
        """A row put there by somebody who knows only Symfony's columns, and perhaps some of ours."""
        postgres = self.store.database.dialect.name == "postgres"
        now = "(now() AT TIME ZONE 'UTC')" if postgres else "$now"
        names = ["body", "headers", "queue_name", *columns]
        places = ", ".join(f"${place}" for place in range(1, len(names) + 1))
        into = f"headrace_messages ({', '.join(names)}, created_at, available_at)"
        await self.run(f"INSERT INTO {into} VALUES ({places}, {now}, {now})", body, headers, queue, *columns.values())

    async def aclose(self) -> None:
        for transport, database in self._transports:
            await transport.aclose()
            if database is not self.store.database:
                await database.aclose()
        await self.ledger.aclose()
        await self._browse.aclose()
        await self.store.database.aclose()


@asynccontextmanager
async def opened(dsn: str, clock: Clock) -> AsyncIterator[Bench]:
    """A bench with the schema in place."""
    bench = Bench(dsn, clock)
    try:
        await Schema(bench.store.database, bench.store.table).ensure()
        yield bench
    finally:
        await bench.aclose()


async def take(transport: SqlTransport, limit: int = 100, queues: Sequence[str] = ("default",)) -> Sequence[Delivery]:
    """What is ready now."""
    return await soon(transport.receive(queues, limit, 0.0))
