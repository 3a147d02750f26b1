"""How a worker ends, what it gives back, and what it loses."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from headrace import App, Context, Retry, failpoints
from headrace.bus import events
from headrace.bus.envelope import Delivery
from headrace.ledger.job import State
from headrace.transports.sql.transport import SqlTransport
from headrace.worker.limits import Limits
from headrace.worker.loop import Worker
from headrace.worker.settings import Application, WorkerSettings
from tests.support.stores import soon
from tests.support.work import Yard, breathe, until

ONCE = Retry(max=0)


class Gate:
    """A handler that has started waits here until the test lets it go."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.ended: list[str] = []
        self.open = threading.Event()

    def pass_through(self, name: str) -> None:
        self.started.append(name)
        self.open.wait(60)
        self.ended.append(name)

    async def apass_through(self, name: str) -> None:
        self.started.append(name)
        try:
            await asyncio.get_running_loop().run_in_executor(None, self.open.wait, 60)
        finally:
            self.ended.append(name)


@pytest.fixture
def gate() -> AsyncIterator[Gate]:  # type: ignore[misc]
    gate = Gate()
    yield gate
    gate.open.set()


async def free(yard: Yard) -> list[Delivery]:
    """What another worker can take now."""
    return list(await (await yard.transport()).receive(["default"], 100, 0.0))


# ── stopping ─────────────────────────────────────────────────────────────────────────────────


async def test_idle_worker_stops_at_once(yard: Yard) -> None:
    async with yard.working() as crew:
        await yard.clock.asleep.wait()
        crew.worker.stop("SIGTERM")

        assert await crew.ended() == "SIGTERM"


@pytest.mark.parametrize("plain", [True, False])
async def test_stopped_worker_finishes_what_runs_and_returns_the_rest_uncharged(
    yard: Yard, gate: Gate, plain: bool
) -> None:
    task = yard.app.task(name="gate")(gate.pass_through if plain else gate.apass_through)
    jobs = await task.aenqueue_many([(f"job {number}",) for number in range(6)])
    async with yard.working(concurrency=2, prefetch=3) as crew:
        await until(lambda: len(gate.started) == 2)
        crew.worker.stop("SIGTERM")
        await breathe()
        assert [delivery.attempt for delivery in await free(yard)] == [1] * 4
        gate.open.set()

        assert await crew.ended() == "SIGTERM"

    assert sorted(gate.ended) == ["job 0", "job 1"]
    assert [await job.astatus() for job in jobs] == [State.COMPLETED] * 2 + [State.PENDING] * 4
    assert crew.worker.held == {}
    assert crew.worker.tally.done == 2


@pytest.mark.parametrize("plain", [True, False])
async def test_what_does_not_end_within_the_grace_is_returned_uncharged(yard: Yard, gate: Gate, plain: bool) -> None:
    task = yard.app.task(name="gate")(gate.pass_through if plain else gate.apass_through)
    job = await task.aenqueue("slow")
    async with yard.working(grace=10.0) as crew:
        await until(lambda: gate.started == ["slow"])
        crew.worker.stop("SIGTERM")
        await crew.pass_time(9)
        assert not crew.task.done()
        await crew.pass_until(crew.task.done)

    [delivery] = await free(yard)
    assert (delivery.id, delivery.attempt, delivery.crashes) == (job.id, 1, 0)
    assert await yard.attempts(job.id) == []


@pytest.mark.parametrize("plain", [True, False])
async def test_second_stop_means_now(yard: Yard, gate: Gate, plain: bool) -> None:
    task = yard.app.task(name="gate")(gate.pass_through if plain else gate.apass_through)
    await task.aenqueue("slow")
    async with yard.working(grace=1e6) as crew:
        await until(lambda: gate.started == ["slow"])
        crew.worker.stop("SIGTERM")
        await breathe()
        assert not crew.task.done()
        crew.worker.stop("SIGINT")

        assert await crew.ended() == "SIGTERM"  # no time has passed

    assert [delivery.attempt for delivery in await free(yard)] == [1]


async def test_outcome_of_a_thread_that_was_left_behind_is_ignored(yard: Yard, gate: Gate) -> None:
    task = yard.app.task(name="gate")(gate.pass_through)
    job = await task.aenqueue("slow")
    async with yard.working(grace=0.0) as crew:
        await until(lambda: gate.started == ["slow"])
        crew.worker.stop("SIGTERM")
        await crew.ended()
    gate.open.set()
    await until(lambda: gate.ended == ["slow"])
    await breathe()

    assert await job.astatus() is State.PENDING


async def test_handler_that_ignores_its_cancellation_does_not_keep_the_worker(yard: Yard) -> None:
    started, cancellations = asyncio.Event(), 0

    @yard.app.task
    async def deaf() -> None:
        nonlocal cancellations
        started.set()
        while cancellations < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancellations += 1

    await deaf.aenqueue()
    async with yard.working(grace=1.0) as crew:
        await soon(started.wait())
        crew.worker.stop("SIGTERM")
        await crew.pass_until(crew.task.done)

    assert cancellations == 2
    assert [delivery.attempt for delivery in await free(yard)] == [1]


async def test_worker_whose_task_is_cancelled_ends(yard: Yard, gate: Gate) -> None:
    task = yard.app.task(name="gate")(gate.apass_through)
    await task.aenqueue("slow")
    crew_ended = asyncio.Event()
    async with yard.working() as crew:
        crew.task.add_done_callback(lambda _: crew_ended.set())
        await until(lambda: gate.started == ["slow"])
        crew.task.cancel()

        await soon(crew_ended.wait())

    assert crew.task.cancelled()


async def test_message_that_arrives_while_stopping_is_not_kept(yard: Yard, gate: Gate) -> None:
    task = yard.app.task(name="gate")(gate.apass_through)
    await task.aenqueue("first")
    async with yard.working(concurrency=2) as crew:
        await until(lambda: gate.started == ["first"])
        crew.worker.stop("SIGTERM")
        await task.aenqueue("second")
        await breathe()
        gate.open.set()
        await crew.ended()

    assert gate.started == ["first"]
    assert len(await free(yard)) == 1


# ── limits ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("plain", [True, False])
async def test_limit_takes_exactly_that_many(yard: Yard, concurrency: int, plain: bool) -> None:
    seen: list[int] = []

    def run(number: int) -> None:
        seen.append(number)

    async def wait(number: int) -> None:
        seen.append(number)

    task = yard.app.task(run if plain else wait)
    await task.aenqueue_many([(number,) for number in range(20)])

    why = await yard.drain(drain=False, concurrency=concurrency, limits=Limits(messages=7))

    assert why == "limit: 7 messages"
    assert sorted(seen) == list(range(7))
    assert len(await free(yard)) == 13


async def test_limit_on_failures_counts_retried_ones_too(yard: Yard) -> None:
    @yard.app.task(retry=Retry(max=5, first=0, jitter=0))
    async def fail() -> None:
        raise ValueError

    job = await fail.aenqueue()

    assert await yard.drain(drain=False, limits=Limits(failures=3)) == "failure limit: 3"
    assert (await job.arecord()).retries in (3, 4)  # the next claim may be under way


async def test_limit_on_time_ends_an_idle_worker(yard: Yard) -> None:
    async with yard.working(limits=Limits(seconds=60)) as crew:
        await soon(yard.clock.asleep.wait())
        await crew.pass_time(59, step=1)
        assert not crew.task.done()
        await crew.pass_until(crew.task.done, step=1)

        assert await crew.ended() == "time limit: 60 s"


async def test_limit_on_time_lets_the_running_job_finish(yard: Yard, gate: Gate) -> None:
    task = yard.app.task(name="gate")(gate.apass_through)
    job = await task.aenqueue("long")
    async with yard.working(limits=Limits(seconds=60), grace=1e6, lease=1e6) as crew:
        await until(lambda: gate.started == ["long"])
        await crew.pass_time(62, step=1)
        assert crew.worker.ending == "time limit: 60 s"
        gate.open.set()
        await crew.ended()

    assert await job.astatus() is State.COMPLETED


async def test_limit_on_memory_is_looked_at_between_messages(yard: Yard) -> None:
    resident = 500

    @yard.app.task
    async def grow() -> None:
        nonlocal resident
        resident += 300

    await grow.aenqueue_many([()] * 5)
    parts = yard.app.parts
    application = Application(parts.registry, yard.clock, parts.events)
    settings = WorkerSettings(limits=Limits(memory=1000), prefetch=0)
    transport = SqlTransport((await yard.app.connections()).store, yard.clock, "w1")
    worker = Worker(transport, application, settings, memory=lambda: resident)

    assert await soon(worker.run()) == "memory limit: 1,100 of 1,000 bytes"
    assert worker.tally.done == 2


async def test_drain_waits_for_what_runs_and_takes_what_that_sends(yard: Yard) -> None:
    seen: list[int] = []

    @yard.app.task
    async def countdown(number: int) -> None:
        seen.append(number)
        await breathe()
        if number:
            await countdown.aenqueue(number - 1)

    await countdown.aenqueue(5)

    assert await yard.drain(concurrency=3) == "drained"
    assert seen == [5, 4, 3, 2, 1, 0]


async def test_draining_worker_does_not_ask_again_and_again_while_a_job_runs(
    yard: Yard, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    whole = SqlTransport.receive

    async def receive(transport: SqlTransport, *args: Any) -> Any:
        nonlocal asked
        asked += 1
        return await whole(transport, *args)

    monkeypatch.setattr(SqlTransport, "receive", receive)
    task = yard.app.task(name="gate")(gate.apass_through)
    await task.aenqueue("long")
    async with yard.working(drain=True, concurrency=4) as crew:
        await until(lambda: gate.started == ["long"])
        await breathe(100)
        assert asked < 10
        gate.open.set()

        assert await crew.ended() == "drained"


async def test_drain_of_nothing_ends_at_once(yard: Yard) -> None:
    assert await yard.drain() == "drained"


# ── lifespan ─────────────────────────────────────────────────────────────────────────────────


async def test_lifespan_opens_and_closes_once_around_all_jobs() -> None:
    story: list[str] = []

    @asynccontextmanager
    async def lifespan(parts: Any) -> AsyncIterator[dict[str, str]]:
        story.append("open")
        yield {"pool": "a pool"}
        story.append("close")

    yard = Yard(lifespan=lifespan)

    @yard.app.task
    async def use(ctx: Context) -> str:
        story.append("job")
        return str(ctx.state["pool"])

    jobs = await use.aenqueue_many([()] * 3)
    await yard.drain(concurrency=2)

    assert story == ["open", "job", "job", "job", "close"]
    assert [await job.aresult(timeout=0) for job in jobs] == ["a pool"] * 3
    await yard.app.aclose()


async def test_lifespan_that_fails_ends_the_worker_before_it_takes_anything() -> None:
    @asynccontextmanager
    async def lifespan(parts: Any) -> AsyncIterator[None]:
        raise OSError("no database")
        yield

    yard = Yard(lifespan=lifespan)

    @yard.app.task
    async def work() -> None: ...

    await work.aenqueue()

    with pytest.raises(OSError, match="no database"):
        await yard.drain()
    assert len(await free(yard)) == 1
    await yard.app.aclose()


async def reap_and_take(transport: SqlTransport) -> None:
    """End what has lapsed and lend it to this transport, before anybody else can."""
    _, taken = await asyncio.gather(transport.reap(), transport.receive(["default"], 1, 0.0))
    assert len(taken) == 1


# ── losing a lease ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("plain", [True, False])
async def test_outcome_of_a_lost_lease_is_refused_and_told(yard: Yard, gate: Gate, plain: bool) -> None:
    lost: list[events.LeaseWasLost] = []
    settled: list[events.Settled] = []
    yard.app.on(events.LeaseWasLost)(lost.append)
    yard.app.on(events.Settled)(settled.append)
    task = yard.app.task(name="gate")(gate.pass_through if plain else gate.apass_through)
    job = await task.aenqueue("long")
    other = await yard.transport()
    async with yard.working():
        await until(lambda: gate.started == ["long"])
        yard.clock.advance(31)
        await reap_and_take(other)
        gate.open.set()
        await until(lambda: len(lost) == 1)

    assert (lost[0].delivery.id, settled) == (job.id, [])
    record = await job.arecord()
    assert (record.state, record.crashes, record.result) == (State.RETRYING, 1, None)


async def test_handler_is_cancelled_when_the_heart_finds_its_lease_lost(yard: Yard, gate: Gate) -> None:
    seen: list[tuple[bool, bool]] = []
    lost: list[events.LeaseWasLost] = []
    yard.app.on(events.LeaseWasLost)(lost.append)

    @yard.app.task
    async def long(ctx: Context) -> None:
        gate.started.append(ctx.id)
        try:
            await asyncio.Event().wait()
        finally:
            seen.append((ctx.cancelled, ctx.lost))

    await long.aenqueue()
    other = await yard.transport()
    async with yard.working() as crew:
        await until(lambda: len(gate.started) == 1)
        yard.clock.advance(31)
        await reap_and_take(other)
        receipts = list(crew.worker.held)
        refused = await other.extend(receipts)
        crew.worker.lost(refused, yard.clock.monotonic())
        await until(lambda: len(lost) == 1)

    assert seen == [(True, True)]


async def test_delivery_that_waited_longer_than_its_lease_is_not_started(yard: Yard, gate: Gate) -> None:
    task = yard.app.task(name="gate")(gate.apass_through)
    await task.aenqueue_many([("first",), ("second",)])
    async with yard.working(prefetch=1) as crew:
        await until(lambda: len(crew.worker.held) == 2)
        yard.clock.advance(100)  # the process was stopped for that long
        gate.open.set()
        await until(lambda: crew.worker.held == {})

    assert gate.started == ["first"]


# ── long jobs ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("plain", [True, False])
async def test_what_waits_behind_long_jobs_is_given_back(yard: Yard, gate: Gate, plain: bool) -> None:
    task = yard.app.task(name="gate")(gate.pass_through if plain else gate.apass_through)
    await task.aenqueue_many([(f"job {number}",) for number in range(6)])
    async with yard.working(concurrency=2, prefetch=4) as crew:
        await until(lambda: len(gate.started) == 2)
        assert len(crew.worker.held) == 6
        await crew.pass_time(2)
        assert len(crew.worker.held) == 2

        returned = await free(yard)
        assert [delivery.attempt for delivery in returned] == [1] * 4
        assert max(loan for _, loan in (delivery.receipt for delivery in returned)) <= 4  # not again and again
        gate.open.set()
        await until(lambda: len(gate.ended) == 2)


async def test_short_plain_jobs_behind_a_long_one_in_the_same_thread_are_given_back(yard: Yard, gate: Gate) -> None:
    """Short ones are handed to a thread many at once; a long one among them must not keep the others."""

    @yard.app.task
    def work(number: int) -> None:
        if number == 100:
            gate.pass_through("long")

    await work.aenqueue_many([(number,) for number in range(200)])
    async with yard.working() as crew:
        await until(lambda: gate.started == ["long"])
        await crew.pass_time(2)
        assert len(crew.worker.held) == 1
        assert len(await free(yard)) == 99
        gate.open.set()


async def test_worker_asks_to_be_replaced_after_too_many_threads_were_left_to_themselves(
    yard: Yard, gate: Gate
) -> None:
    @yard.app.task(time_limit="1s", retry=ONCE)
    def hang() -> None:
        gate.pass_through("x")

    await hang.aenqueue_many([()] * 10)
    async with yard.working() as crew:
        await crew.pass_until(crew.task.done)

        assert await crew.ended() == "too many threads past their time limit"

    assert len(gate.started) == 8
    assert len(await free(yard)) == 2


# ── several queues ───────────────────────────────────────────────────────────────────────────


async def work_through(yard: Yard, **settings: Any) -> str:
    order: list[str] = []

    @yard.app.task
    async def note(ctx: Context) -> None:
        order.append(ctx.queue)

    for _ in range(3):
        for queue in ("b", "a"):
            await note.using(queue=queue).aenqueue()
    await yard.drain(queues=["a", "b"], prefetch=0, **settings)
    return "".join(order)


async def test_earlier_queue_comes_first(yard: Yard) -> None:
    assert await work_through(yard) == "aaabbb"


async def test_fair_worker_takes_queues_in_turn(yard: Yard) -> None:
    assert await work_through(yard, fair=True) in ("ababab", "bababa")


# ── the store ────────────────────────────────────────────────────────────────────────────────


async def test_outcome_that_the_store_does_not_like_is_settled_without_it(yard: Yard) -> None:
    @yard.app.task
    async def work() -> int:
        return 7

    job = await work.aenqueue()
    failpoints.arm("settle.mid=raise@1")
    try:
        await yard.drain()
    finally:
        failpoints.arm("")

    record = await job.arecord()
    assert record.state is State.COMPLETED


def test_making_an_app_opens_nothing() -> None:
    before = threading.active_count()

    App("postgresql://nowhere.invalid/x")

    assert threading.active_count() == before
