"""B5, B6, B7, B14, B17: many at once: on one file, one queue, an empty database, and a server that has enough."""

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from anyio import to_thread

from headrace.bus.envelope import Envelope, Outcome, Settlement
from headrace.bus.retry import ACK
from headrace.db.port import Role, Statement, Steps, Work
from headrace.transports.dsn import open_store
from headrace.transports.sql.transport import SqlTransport
from tests.faults.conftest import Figure, Judge, Judged, Record
from tests.support.chaos.fleet import a_fleet
from tests.support.chaos.world import World
from tests.support.postgres import Postgres, fresh_database

pytestmark = pytest.mark.slow

AGAIN = ("40001", "40P01", "55P03")  # serialization failure, deadlock, lock not available
WAIT = 5.0  # seconds that anybody may wait for SQLite's only writer


async def test_b6_what_the_server_asks_to_try_again_is_tried_again_and_nobody_hears_of_it(
    world: World, many: Figure, judge: Judge
) -> None:
    """A fifth of all statements on messages fails; on SQLite somebody else keeps the file's writer for a while."""
    count = many(150, 2000)
    await world.left()
    busy = None
    if world.sqlite:
        busy = asyncio.get_running_loop().run_in_executor(None, hold_the_writer, world.store, 12)
    else:
        await fail_often(world)
    async with a_fleet(world, world.plan(), 4) as fleet:
        for number in range(count):
            task = world.chaos.fail if number % 3 == 0 else world.chaos.work
            await world.send(task, 1 if number % 3 == 0 else 0.002)
        await world.drained(60.0)
        await fleet.stopped()
    if busy:
        await busy

    fired = count if world.sqlite else (await world.sql("SELECT last_value FROM chaos_fired"))[0][0]
    verdict = await judge(fleet.deaths, fired=fired)
    assert verdict.accepted == count
    assert verdict.duplicates.keys() <= {"retry"}
    assert {job.retries for job in (await world.snapshot()).jobs.values()} == {0, 1}
    assert fired > count / 5


async def fail_often(world: World) -> None:
    """One of the codes, for a fifth of the statements on messages."""
    codes = ", ".join(f"'{code}'" for code in AGAIN)
    await world.sql("CREATE SEQUENCE chaos_fired")
    await world.sql(f"""CREATE FUNCTION chaos() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF random() < 0.2 THEN
        PERFORM nextval('chaos_fired');
        RAISE EXCEPTION 'chaos' USING ERRCODE = (ARRAY[{codes}])[1 + floor(random() * 3)::int];
      END IF; RETURN NULL; END $$""")
    await world.sql(
        """CREATE TRIGGER chaos BEFORE INSERT OR UPDATE OR DELETE ON headrace_messages
           FOR EACH STATEMENT EXECUTE FUNCTION chaos()"""
    )


def hold_the_writer(store: str, times: int) -> None:
    """Another program with transactions of a quarter of a second."""
    connection = sqlite3.connect(store.removeprefix("sqlite:///"), timeout=20.0, isolation_level=None)
    for _ in range(times):
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(0.25)  # noqa: TID251  # the fault
        connection.execute("COMMIT")
        time.sleep(0.02)  # noqa: TID251  # so that others have a chance
    connection.close()


async def test_b6_real_deadlock_is_resolved_and_nobody_hears_of_it(postgres_store: str, tmp_path: Path) -> None:
    """Two transactions lock two messages in crossed order; the server ends one of them, and it is run again."""
    world = World(postgres_store, tmp_path)
    one, other = await world.send_many(world.chaos.work, [(0.0,)] * 2)
    database = (await world.app.connections()).store.database
    runs: Counter[str] = Counter()

    def crossed(name: str, *ids: str) -> Work[None]:
        def steps() -> Steps[None]:
            runs[name] += 1
            for id in ids:
                yield Statement("UPDATE headrace_messages SET priority = 5 WHERE message_id = $1::uuid", (id,))
                yield Statement("SELECT pg_sleep(0.2)")

        return Work(name, steps)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(database.session(Role.SETTLE).run(crossed("one", one, other)))
        tasks.create_task(database.session(Role.SETTLE).run(crossed("other", other, one)))

    assert sorted(runs.values()) == [1, 2]
    await world.aclose()


async def test_b7_claimers_of_one_queue_never_get_the_same_message(world: World, many: Figure, record: Record) -> None:
    """Thirty-two of them, each on connections of its own."""
    count, claimers = many(3_000, 100_000), 32
    await world.left()
    transport = (await world.app.connections()).transport
    for start in range(0, count, 1000):
        await transport.send(
            [Envelope(world.id(), "chaos.none", b"{}", tracked=False) for _ in range(min(1000, count - start))]
        )
    claimed: Counter[str] = Counter()
    waits: list[float] = []

    async def claim(number: int) -> None:
        own = SqlTransport(open_store(world.store, world.clock), world.clock, f"claimer-{number}", 30.0)
        while True:
            at = time.monotonic()
            batch = await own.receive(["default"], 20, 0.0)
            waits.append(time.monotonic() - at)
            if not batch:
                break
            claimed.update(delivery.id for delivery in batch)
            assert not await own.settle([Settlement(delivery, ACK, Outcome()) for delivery in batch])
        await own.aclose()

    async with asyncio.TaskGroup() as tasks:
        for number in range(claimers):
            tasks.create_task(claim(number))

    waits.sort()
    record(claimers=claimers, messages=count, claims=len(waits), p99=round(waits[int(len(waits) * 0.99)], 3))
    assert len(claimed) == count
    assert set(claimed.values()) == {1}
    assert await world.left() == 0


async def test_b14_eight_processes_share_one_sqlite_file_and_none_starves(
    tmp_path: Path, many: Figure, judged: Judged
) -> None:
    """Four send and four work; none waits for long, and every one gets its share."""
    world, each = World(f"sqlite:///{tmp_path}/jobs.db", tmp_path), many(300, 12_500)
    async with (
        a_fleet(world, world.plan(), 4) as workers,
        a_fleet(world, world.plan(count=each), 4, role="producer") as producers,
    ):
        await producers.over(60.0 + each / 10)
        await world.drained(60.0 + each / 10)
        await workers.stopped()

    gaps = {pid: gap for pid in {run.pid for run in world.runs()} if (gap := longest_gap(world, pid))}
    sends = world.sends()
    verdict = await judged(
        world, [*workers.deaths, *producers.deaths], send=round(sends.longest, 2), start=round(max(gaps.values()), 2)
    )
    assert verdict.accepted == verdict.starts == 4 * each
    assert len(gaps) == 4, "every worker has worked"
    assert sends.longest < WAIT
    assert max(gaps.values()) < WAIT
    assert [death.cause.split(":")[0] for death in producers.deaths] == ["exit code 0"] * 4
    await world.aclose()


def longest_gap(world: World, pid: int) -> float:
    """Seconds between two starts in one process."""
    starts = [run.began for run in world.runs() if run.pid == pid]
    return max((later - earlier for earlier, later in pairwise(starts)), default=0.0)


async def test_b17_workers_that_start_together_on_an_empty_store_all_come_up(
    kind: str, server: Postgres, tmp_path: Path, many: Figure, record: Record
) -> None:
    """One of twenty makes the tables, the others wait for it."""
    rounds = many(1, 50)
    for number in range(rounds):
        folder = tmp_path / str(number)
        folder.mkdir()
        async with an_empty_store(kind, server, folder) as store:
            world = World(store, folder)
            async with a_fleet(world, world.plan(), 20) as fleet:
                await fleet.ready(20)
                assert fleet.deaths == []
                await world.ended(await world.send(world.chaos.work, 0.0), 10.0)
                await fleet.stopped()
            assert (await world.sql("SELECT count(*) FROM headrace_schema"))[0][0] == 1
            await world.aclose()
    record(rounds=rounds)


@asynccontextmanager
async def an_empty_store(kind: str, server: Postgres, folder: Path) -> AsyncIterator[str]:
    """Another one in the middle of a test."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/jobs.db"
        return
    database = fresh_database(server.dsn)  # it runs a loop of its own
    dsn = await to_thread.run_sync(database.__enter__)
    try:
        yield dsn
    finally:
        await to_thread.run_sync(database.__exit__, None, None, None)


async def test_b5_workers_that_get_no_connection_wait_and_those_that_have_theirs_lose_no_lease(
    tmp_path: Path, judged: Judged
) -> None:
    """Four workers want twelve connections of a server that has ten; jobs take longer than a lease."""
    server = Postgres.create(max_connections=10, superuser_reserved_connections=0, max_wal_senders=0)
    server.start()
    try:
        world = World(server.dsn, tmp_path, lease=1.0)
        await world.send_many(world.chaos.work, [(1.5,)] * 6)
        async with a_fleet(world, world.plan(), 4) as fleet:
            await world.drained(60.0)
            assert fleet.deaths == []
            await fleet.stopped()
        verdict = await judged(world, fleet.deaths)
        assert verdict.starts == verdict.accepted
        await world.aclose()
    finally:
        server.destroy()
