"""B3, B4, B16: the link to PostgreSQL is cut at each message of the server, goes silent, and loses notifications."""

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import pairwise
from urllib.parse import urlsplit

import msgspec
import pytest

from headrace.bus.envelope import Delivery, Envelope, Outcome, Settlement
from headrace.bus.retry import ACK, Bury, Nack, Reason, Verdict
from headrace.bus.transport import Evidence
from headrace.errors import OutcomeUnknown, StoreUnreachable
from headrace.transports.dsn import open_store
from headrace.transports.sql.transport import SqlTransport
from tests.faults.conftest import Judge, Record
from tests.support.chaos.fleet import a_fleet
from tests.support.chaos.world import World
from tests.support.proxy import BlackHole, Cut, Pass, Proxy

pytestmark = pytest.mark.slow

NOTICED = 10.0  # seconds until a half-open link is given up
POLL = 4.0
AGAIN = 5.0  # seconds until a worker goes on
MANY = 500  # messages that no operation needs
EVIDENCE = Evidence("test", "gives back")


@pytest.fixture
def store(postgres_store: str) -> str:
    return postgres_store


@pytest.fixture
def proxy(store: str) -> Iterator[Proxy]:
    with Proxy(urlsplit(store).port or 0) as proxy:
        yield proxy


@pytest.fixture
def behind(store: str, proxy: Proxy) -> str:
    """The store's DSN, through the proxy."""
    return urlsplit(store)._replace(netloc=f"postgres@127.0.0.1:{proxy.port}").geturl()


class Lines:
    """A transport on a good line, and new ones on a line that is cut."""

    def __init__(self, world: World, behind: str, proxy: Proxy) -> None:
        self.world = world
        self.good = self._on(world.store, "good")
        self.cuts: dict[str, int] = {}
        self._behind = behind
        self._proxy = proxy

    def _on(self, dsn: str, worker: str) -> SqlTransport:
        return SqlTransport(open_store(dsn, self.world.clock), self.world.clock, worker, 30.0)

    async def enumerate(self, operation: Callable[["Lines", SqlTransport, str], Awaitable[None]]) -> None:
        """The operation, with the line cut after 1, 2, 3 … messages of the server, until it is not cut."""
        for number in range(1, MANY):
            bad = self._on(self._behind, "bad")
            self._proxy.set(Cut(messages=number))
            try:
                await operation(self, bad, f"cut {number}")
            finally:
                await bad.aclose()
                fired = self._proxy.fired.is_set()
                self._proxy.set(Pass())
            if not fired:
                self.cuts[operation.__name__] = number - 1
                return
        raise AssertionError(f"{operation.__name__} takes more than {MANY} messages")

    async def lent(self, count: int, to: str = "bad") -> Sequence[Delivery]:
        """New messages, lent to the worker on the bad line."""
        await self.good.send([envelope(self.world) for _ in range(count)])
        other = self._on(self.world.store, to)
        try:
            return await other.receive(["default"], count, 0.0)
        finally:
            await other.aclose()

    async def totals(self) -> list[int]:
        """How many messages, jobs that are not done, dead letters."""
        tables = ("headrace_messages", "headrace_jobs WHERE state NOT IN ('completed', 'failed')", "headrace_dead")
        return [(await self.world.sql(f"SELECT count(*) FROM {table}"))[0][0] for table in tables]


def envelope(world: World) -> Envelope:
    return Envelope(world.id(), "chaos.work", b"[0.0]")


async def sent_once(lines: Lines, bad: SqlTransport, cut: str) -> None:
    one = envelope(lines.world)
    stored = "SELECT count(*) FROM headrace_messages WHERE message_id = $1::uuid"
    try:
        await bad.send([one])
    except StoreUnreachable:
        assert (await lines.world.sql(stored, one.id))[0][0] == 0, f"{cut}: nothing was done, it said"
    except OutcomeUnknown as error:
        await lines.good.send([envelope for envelope in [one] if envelope.id in error.ids])
    else:
        assert (await lines.world.sql(stored, one.id))[0][0] == 1, f"{cut}: it is durable, it said"
    await lines.good.send([one])
    assert (await lines.world.sql(stored, one.id))[0][0] == 1, cut


async def lent_to_nobody_else(lines: Lines, bad: SqlTransport, cut: str) -> None:
    await lines.world.sql("DELETE FROM headrace_messages")
    await lines.good.send([envelope(lines.world) for _ in range(3)])
    try:
        lent = await bad.receive(["default"], 3, 0.0)
        assert len(lent) == 3, cut
    except (StoreUnreachable, OutcomeUnknown):
        lent = []
    assert not (lent and await lines.good.receive(["default"], 3, 0.0)), f"{cut}: lent twice"
    await lines.good.release_worker("bad", [], EVIDENCE)
    again = await lines.good.receive(["default"], 9, 0.0)
    assert [one.attempt for one in again] == [1, 1, 1], f"{cut}: lost, or charged"
    assert not await lines.good.settle([Settlement(one, ACK, Outcome()) for one in again])


async def settled_once(lines: Lines, bad: SqlTransport, cut: str) -> None:
    acked, nacked, buried = lent = await lines.lent(3)
    ends: list[Verdict] = [ACK, Nack(3600.0), Bury(Reason.FAILED, "no")]
    batch = [Settlement(one, end, Outcome(ran=0.1, log="line")) for one, end in zip(lent, ends, strict=True)]
    try:
        refused = await bad.settle(batch)
        assert not refused, cut
    except StoreUnreachable:
        assert not await lines.good.settle(batch), f"{cut}: nothing was done, it said"
    except OutcomeUnknown:
        assert set(await lines.good.settle(batch)) in (set(), {one.receipt for one in lent}), f"{cut}: all or none"
    snapshot = await lines.world.snapshot()
    assert snapshot.jobs[acked.id].state == "completed", cut
    assert (snapshot.jobs[nacked.id].state, snapshot.jobs[nacked.id].retries) == ("retrying", 1), cut
    assert snapshot.messages[nacked.id].retries == 1, cut
    assert snapshot.jobs[buried.id].state == "failed", cut
    assert snapshot.dead.keys() >= {buried.id}
    assert not snapshot.messages.keys() & {acked.id, buried.id}, cut
    assert sum(attempt.id == nacked.id for attempt in snapshot.attempts) == 1, cut


async def acked_once(lines: Lines, bad: SqlTransport, cut: str) -> None:
    """A batch of acks is one statement, and its own transaction."""
    lent = await lines.lent(2)
    batch = [Settlement(one, ACK, Outcome(b"1")) for one in lent]
    try:
        assert not await bad.settle(batch)
    except (StoreUnreachable, OutcomeUnknown):
        await lines.good.settle(batch)
    snapshot = await lines.world.snapshot()
    assert {snapshot.jobs[one.id].state for one in lent} == {"completed"}, cut


async def extended(lines: Lines, bad: SqlTransport, cut: str) -> None:
    (one,) = await lines.lent(1)
    try:
        assert not await bad.extend([one.receipt]), cut
    except (StoreUnreachable, OutcomeUnknown):
        assert not await lines.good.extend([one.receipt]), f"{cut}: the loan has suffered"
    assert not await lines.good.settle([Settlement(one, ACK, Outcome())])


async def given_back_once(lines: Lines, bad: SqlTransport, cut: str) -> None:
    started, waiting = await lines.lent(2, to="dead")
    for line in (bad, lines.good):
        try:
            await line.release_worker("dead", [started.receipt], EVIDENCE)
        except (StoreUnreachable, OutcomeUnknown):
            continue
    crashes = {one.id: one.crashes for one in await lines.good.receive(["default"], 9, 0.0)}
    assert crashes == {started.id: 1, waiting.id: 0}, f"{cut}: charged twice, or not at all"
    await lines.world.sql("DELETE FROM headrace_messages")


@pytest.mark.parametrize(
    "operation", [sent_once, lent_to_nobody_else, settled_once, acked_once, extended, given_back_once]
)
async def test_b3_line_that_is_cut_at_any_message_leaves_an_operation_done_or_not(
    world: World, behind: str, proxy: Proxy, record: Record, operation: Callable[..., Awaitable[None]]
) -> None:
    """From the first byte of the login on, until the operation passes untouched."""
    await world.left()
    lines = Lines(world, behind, proxy)
    await lines.enumerate(operation)
    await lines.good.aclose()
    record(operation=operation.__name__, cuts=lines.cuts[operation.__name__])
    assert lines.cuts[operation.__name__] > 5


@pytest.mark.parametrize("lease", [30.0])
async def test_b3_what_was_lent_in_a_lost_answer_is_given_back_at_once_and_uncharged(
    world: World, behind: str, proxy: Proxy, judge: Judge
) -> None:
    """The claim was committed and nobody heard of it; nobody waits for a lease of half a minute."""
    plan = msgspec.structs.replace(world.plan(prefetch=20), store=behind)
    async with a_fleet(world, plan, 1) as fleet:
        await fleet.ready(1)
        await world.ended(await world.send(world.chaos.work, 0.0), 10.0)
        proxy.set(Cut(reply_to=b"default"), where=b"headrace fetch")
        at = time.monotonic()
        ids = await world.send_many(world.chaos.work, [(0.0,)] * 10)
        runs = await world.ran(3 * AGAIN, ids=ids, count=10)
        assert proxy.fired.is_set()
        await world.drained(10.0)
        await fleet.stopped()

    await judge(fleet.deaths, again=round(max(run.began for run in runs) - at, 2))
    assert {run.receipt[1] for run in runs} == {2}, "lent twice, the first time to nobody"
    assert {run.attempt for run in runs} == {1}
    assert max(run.began for run in runs) - at <= AGAIN


async def test_b4_b16_half_open_links_are_noticed_and_replaced_within_ten_seconds(
    world: World, behind: str, proxy: Proxy, judge: Judge
) -> None:
    """Every link of a worker that is idle, and of one that works, goes silent; new links are fine."""
    plan = msgspec.structs.replace(world.plan(queues=["default"]), store=behind)
    busy = msgspec.structs.replace(world.plan(queues=["busy"]), store=behind)
    async with a_fleet(world, plan, 1) as fleet, a_fleet(world, busy, 1) as working:
        await fleet.ready(1)
        await working.ready(1)
        await world.ended(await world.send(world.chaos.work, 0.0), 10.0)
        for _ in range(100):
            await world.send(world.chaos.work, 0.03, queue="busy")
        (pid,) = working.pids.values()
        await world.ran(10.0, pids=[pid])
        proxy.set(BlackHole(), present=True)
        at = time.monotonic()
        id = await world.send(world.chaos.work, 0.0)
        (run,) = await world.ran(3 * NOTICED, ids=[id])
        await world.ran(3 * NOTICED, pids=[pid], since=at + 1.0)
        starts = [run.began for run in world.runs() if run.pid == pid]
        pause = max(later - earlier for earlier, later in pairwise(starts))
        assert {*fleet.pids.values(), *working.pids.values()} == {run.pid for run in world.runs()}, "nobody has died"

    await judge([*fleet.deaths, *working.deaths], idle=round(run.began - at, 2), busy=round(pause, 2))
    assert run.began - at <= NOTICED
    assert pause <= NOTICED


@pytest.mark.soak
@pytest.mark.parametrize("lease", [12.0])
async def test_b4_heartbeat_on_a_half_open_link_finds_another_one_before_the_lease_is_over(
    world: World, behind: str, proxy: Proxy, judge: Judge
) -> None:
    """Only the link of the heart goes silent, right after it has renewed."""
    plan = msgspec.structs.replace(world.plan(), store=behind)
    async with a_fleet(world, plan, 2) as fleet:
        await fleet.ready(2)
        await world.send(world.chaos.work, 1.2 * world.lease)
        await world.ran(10.0, how="")
        proxy.set(BlackHole(), where=b"headrace heartbeat", present=True)
        await world.drained(3 * world.lease)
        await fleet.stopped()

    verdict = await judge(fleet.deaths)
    assert verdict.starts == 1


async def test_b16_message_that_nobody_was_notified_of_is_found_by_the_poll(world: World, judge: Judge) -> None:
    """It was put into the table without a word, as another program might."""
    async with a_fleet(world, world.plan(), 1) as fleet:
        await fleet.ready(1)
        await world.ended(await world.send(world.chaos.work, 0.0), 10.0)
        at = time.monotonic()
        id = await world.put("chaos.work", '{"seconds": 0.0}')
        (run,) = await world.ran(3 * POLL, ids=[id])
        await fleet.stopped()

    await judge(fleet.deaths, found=round(run.began - at, 2))
    assert run.began - at <= POLL + 1.0
