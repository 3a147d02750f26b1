"""The raw limit on PostgreSQL: a minimal script with asyncpg, uvloop and msgspec that runs the product's SQL.

The worker overlaps: claims on one connection while the last batch runs, settles on a second whenever it is free.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from typing import Any

import probe
import raw_sql as sql

from . import Contender, Kind, Mode, Target

QUEUE, TYPE, HEADERS, PRIORITY, LEASE = "default", "bench.noop", '{"codec":"json"}', 4, 30.0
PRIORITIES = list(range(9, -1, -1))
QUEUES = [QUEUE] * len(PRIORITIES)
SINCE_EVER = [-1e10] * len(PRIORITIES)
CLAIM_LIMIT, SETTLE_LIMIT, IN_FLIGHT = 500, 500, 1_500
ID, LOAN, TYPE_OF, BODY, HEADERS_OF, PRIORITY_OF, DUE = (
    sql.CLAIMED[name] for name in ("id", "loan", "type", "body", "headers", "priority", "due")
)


def message_ids(count: int) -> list[Any]:
    """Time-ordered ids (UUIDv7), made in the client."""
    from asyncpg.pgproto.pgproto import UUID

    stamp = (time.time_ns() // 1_000_000).to_bytes(6)
    noise = os.urandom(8 * count)
    return [
        UUID(
            stamp
            + (0x7000 | (i & 0xFFF)).to_bytes(2)
            + bytes((noise[8 * i] & 0x3F | 0x80,))
            + noise[8 * i + 1 : 8 * i + 8]
        )
        for i in range(count)
    ]


class Raw(Contender):
    store = "postgresql"
    label = "raw"
    distributions = ("asyncpg", "uvloop", "msgspec")
    ledgers = (False, True)
    modes = ("single", "wake", "concurrent", "bulk")
    claims = True
    rate = 45_000

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._control: Any = None

    async def _connect(self, settings: dict[str, str]) -> Any:
        import asyncpg

        return await asyncpg.connect(self.target.address, server_settings=settings)

    async def _controller(self) -> Any:
        if self._control is None:
            self._control = await self._connect(sql.SEND_SETTINGS)
        return self._control

    def _insert_many(self) -> str:
        return sql.INSERT_MANY_LEDGER if self.target.ledger else sql.INSERT_MANY

    # control

    async def create(self) -> None:
        for text in sql.schema("postgres"):
            await (await self._controller()).execute(text)

    async def fill(self, count: int, delay: float = 0) -> None:
        control = await self._controller()
        for first in range(0, count, 10_000):
            batch = range(first, min(first + 10_000, count))
            await control.fetch(self._insert_many(), *_columns(batch), float(delay))

    async def unfinished(self) -> bool:
        return bool(await (await self._controller()).fetchval(sql.UNFINISHED))

    # worker

    def work(self, kind: Kind) -> None:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_Worker(self.target.ledger).run(await_connect=self._connect))

    # producer

    async def open_producer(self, mode: Mode) -> None:
        self._producer = await self._connect(sql.SEND_SETTINGS)
        ledger = self.target.ledger
        bare, waking = (sql.INSERT_LEDGER, sql.INSERT_AND_WAKE_LEDGER) if ledger else (sql.INSERT, sql.INSERT_AND_WAKE)
        self._one = await self._producer.prepare(bare if mode == "single" else waking)
        self._many = await self._producer.prepare(self._insert_many())
        self._turn = asyncio.Lock()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._sending: asyncio.Task[None] | None = None
        if mode == "concurrent":
            self.enqueue_one = self._enqueue_grouped  # type: ignore[method-assign]

    async def enqueue_one(self, n: int) -> None:
        async with self._turn:  # a slow disk must not make two sends meet on the connection
            await self._one.fetch(message_ids(1)[0], TYPE, f'{{"n":{n}}}', HEADERS, QUEUE, PRIORITY)

    async def enqueue_many(self, arguments: Sequence[int]) -> None:
        await self._many.fetch(*_columns(arguments), 0.0)

    async def _enqueue_grouped(self, n: int) -> None:
        """Group commit: all who wait share the next statement."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((n, done))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_groups())
        await done

    async def _send_groups(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            await self._many.fetch(*_columns([n for n, _ in group]), 0.0)
            for _, done in group:
                done.set_result(None)
            await asyncio.sleep(0)
        self._sending = None

    # claimer

    async def open_claimer(self) -> None:
        self._claim = await (await self._connect(sql.FETCH_SETTINGS)).prepare(sql.CLAIM)
        self._settle = await (await self._connect(sql.SETTLE_SETTINGS)).prepare(sql.PLAIN)

    async def claim_and_settle(self, limit: int) -> tuple[float, int]:
        began = time.perf_counter()
        rows = await self._claim.fetch(QUEUES, PRIORITIES, SINCE_EVER, LEASE, "claimer", limit)
        took = time.perf_counter() - began
        await self._settle.fetch([row[ID] for row in rows], [row[LOAN] for row in rows])
        return took, len(rows)


def _columns(arguments: Sequence[int]) -> tuple[list[Any], ...]:
    count = len(arguments)
    bodies = [f'{{"n":{n}}}' for n in arguments]
    return message_ids(count), [TYPE] * count, bodies, [HEADERS] * count, [QUEUE] * count, [PRIORITY] * count


class _Worker:
    """Claim, run, settle: each batch is claimed while the one before it runs, and settled while the next one does."""

    def __init__(self, ledger: bool) -> None:
        self._ledger = ledger
        self._in_flight = 0
        self._settled: list[Any] = []  # (row, seconds it ran) that wait for the settling connection
        self._wake, self._some, self._room = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._marks = dict(zip(PRIORITIES, SINCE_EVER, strict=True))
        self._swept = 0.0

    async def run(self, await_connect: Any) -> None:
        import msgspec

        fetch, settle = await await_connect(sql.FETCH_SETTINGS), await await_connect(sql.SETTLE_SETTINGS)
        await fetch.add_listener(sql.CHANNEL, lambda *_: self._wake.set())
        self._claim_statement = await fetch.prepare(sql.CLAIM)
        settler = asyncio.create_task(self._settle(settle))
        decode_body = msgspec.json.Decoder(dict[str, int]).decode
        decode_headers = msgspec.json.Decoder(dict[str, str]).decode
        handlers, clock, ledger, settled = {TYPE: probe.noop}, time.monotonic, self._ledger, self._settled
        claiming = asyncio.create_task(self._claim())
        while not settler.done():
            rows = await claiming
            self._in_flight += len(rows)
            claiming = asyncio.create_task(self._claim(idle=not rows))
            if not rows:
                continue
            await asyncio.sleep(0)  # the next claim leaves before this batch runs
            for row in rows:
                arguments = decode_body(row[BODY])
                decode_headers(row[HEADERS_OF])
                began = clock() if ledger else 0.0
                await handlers[row[TYPE_OF]](**arguments)
                settled.append((row, clock() - began if ledger else 0.0))
            self._some.set()
        await settler

    async def _claim(self, idle: bool = False) -> list[Any]:
        if idle:  # the event was cleared before the claim that found nothing
            try:
                async with asyncio.timeout(1.0):
                    await self._wake.wait()
            except TimeoutError:
                pass
        while self._in_flight > IN_FLIGHT - CLAIM_LIMIT:
            self._room.clear()
            await self._room.wait()
        self._wake.clear()
        return await self._claim_from()

    async def _claim_from(self) -> list[Any]:
        """Claim above the low-water marks; from the start when that finds nothing and every 10 s."""
        now = time.monotonic()
        sweep = now > self._swept + 10
        lows = SINCE_EVER if sweep else list(self._marks.values())
        self._swept = now if sweep else self._swept
        began = time.monotonic_ns()
        rows: list[Any] = await self._claim_statement.fetch(QUEUES, PRIORITIES, lows, LEASE, "raw", CLAIM_LIMIT)
        probe.claimed(began, len(rows))
        if rows:
            rows.sort(key=lambda row: (-row[PRIORITY_OF], row[DUE], row[ID]))
            last = rows[-1]
            self._marks[last[PRIORITY_OF]] = max(self._marks[last[PRIORITY_OF]], last[DUE] - 2)
        return rows

    async def _settle(self, connection: Any) -> None:
        statement = await connection.prepare(sql.DONE if self._ledger else sql.PLAIN)
        settled = self._settled
        while True:
            while not settled:
                self._some.clear()
                await self._some.wait()
            batch = settled[:SETTLE_LIMIT]
            del settled[:SETTLE_LIMIT]
            ids, loans = [row[ID] for row, _ in batch], [row[LOAN] for row, _ in batch]
            if self._ledger:
                nothing = [None] * len(batch)
                await statement.fetch(ids, loans, nothing, [ran for _, ran in batch], nothing, "raw")
            else:
                await statement.fetch(ids, loans)
            self._in_flight -= len(batch)
            self._room.set()
