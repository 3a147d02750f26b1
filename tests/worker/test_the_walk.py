"""One message from `enqueue` to its recorded outcome, through the real loop."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from headrace import Context, Job, Reject, Retry, RetryLater
from headrace.bus import events
from headrace.bus.envelope import Envelope
from headrace.bus.retry import Nack, Return
from headrace.ledger.job import State
from headrace.worker.limits import Limits
from tests.support.work import Yard

STEADY = Retry(max=3, first="1s", factor=2, jitter=0)


@dataclass
class Paid:
    order: int


# ── success ──────────────────────────────────────────────────────────────────────────────────


async def test_async_task_runs_and_its_result_is_kept(yard: Yard) -> None:
    @yard.app.task
    async def add(a: int, b: int) -> int:
        return a + b

    job = await add.aenqueue(3, b=4)
    assert await job.astatus() is State.PENDING

    assert await yard.drain() == "drained"

    record = await job.arecord()
    assert (record.state, record.result, record.error, record.worker) == (State.COMPLETED, "7", None, "w1")
    assert await job.aresult(timeout=0) == 7


async def test_plain_task_runs_in_a_thread(yard: Yard) -> None:
    import threading

    @yard.app.task
    def where() -> str:
        return threading.current_thread().name

    job = await where.aenqueue()
    await yard.drain()

    assert await job.aresult(timeout=0) == "headrace-lane-0"


async def test_task_that_returns_nothing_is_completed_without_a_result(yard: Yard) -> None:
    @yard.app.task
    async def quiet() -> None: ...

    job: Job[Any] = await quiet.aenqueue()
    await yard.drain()

    assert await job.aresult(timeout=0) is None
    assert (await job.arecord()).result is None


async def test_context_tells_the_handler_what_it_needs(yard: Yard) -> None:
    seen: list[Any] = []

    @yard.app.task(time_limit="10s", queue="mail")
    async def look(ctx: Context, name: str) -> None:
        seen.extend([ctx.id, ctx.type, ctx.queue, ctx.attempt, dict(ctx.headers), ctx.remaining, name])

    job = await look.using(headers={"a": "b"}).aenqueue("Ada")
    await yard.drain(queues=["mail"])

    assert seen == [job.id, look.name, "mail", 1, {"a": "b"}, 10.0, "Ada"]


async def test_handler_of_a_message_class_runs(yard: Yard) -> None:
    seen: list[Paid] = []

    @yard.app.handler(Paid)
    async def receipt(message: Paid, ctx: Context) -> None:
        seen.append(message)

    await yard.app.adispatch(Paid(7))
    await yard.drain()

    assert seen == [Paid(7)]


async def test_untracked_job_runs_and_leaves_nothing(yard: Yard) -> None:
    seen: list[int] = []

    @yard.app.task(track=False)
    async def note(number: int) -> int:
        seen.append(number)
        return number

    await note.aenqueue(7)
    await yard.drain()

    assert seen == [7]
    assert await yard.letters() == []
    assert await (await yard.transport()).counts() == {}


async def test_many_jobs_of_both_kinds(yard: Yard) -> None:
    @yard.app.task
    async def double(number: int) -> int:
        return 2 * number

    @yard.app.task
    def triple(number: int) -> int:
        return 3 * number

    doubles = await double.aenqueue_many([(number,) for number in range(300)])
    triples = await triple.aenqueue_many([(number,) for number in range(300)])
    await yard.drain(concurrency=3)

    assert [await job.aresult(timeout=0) for job in doubles] == [2 * number for number in range(300)]
    assert [await job.aresult(timeout=0) for job in triples] == [3 * number for number in range(300)]


# ── failure ──────────────────────────────────────────────────────────────────────────────────


async def test_failing_message_waits_longer_each_time_then_is_buried(yard: Yard) -> None:
    attempts: list[int] = []

    @yard.app.task(retry=STEADY)
    async def flaky(ctx: Context) -> None:
        attempts.append(ctx.attempt)
        raise ValueError("no luck")

    job = await flaky.aenqueue()
    waits = []
    for _ in range(3):
        await yard.drain()
        record = await job.arecord()
        assert record.state is State.RETRYING
        waits.append(record.due_at - yard.clock.now())
        yard.clock.advance(waits[-1] - 0.01)
        await yard.drain()  # not yet
        yard.clock.advance(0.01)
    await yard.drain()

    assert waits == pytest.approx([1, 2, 4])
    assert attempts == [1, 2, 3, 4]
    record = await job.arecord()
    assert (record.state, record.retries, record.crashes) == (State.FAILED, 3, 0)
    assert (record.error or "").startswith("ValueError: no luck")
    [letter] = await yard.letters()
    assert (letter.id, letter.reason, letter.retries) == (job.id, "failed", 3)
    assert "raise ValueError" in letter.error
    assert [(a.attempt, a.outcome) for a in await yard.attempts(job.id)] == [(n, "failed") for n in (1, 2, 3, 4)]


async def test_second_try_may_succeed(yard: Yard) -> None:
    @yard.app.task(retry=STEADY)
    def flaky(ctx: Context) -> str:
        if ctx.attempt == 1:
            raise OSError("busy")
        return "done"

    job = await flaky.aenqueue()
    await yard.drain()
    yard.clock.advance(1)
    await yard.drain()

    assert await job.aresult(timeout=0) == "done"
    assert (await job.arecord()).retries == 1
    assert len(await yard.attempts(job.id)) == 1


async def test_rejected_message_is_buried_at_once(yard: Yard) -> None:
    @yard.app.task
    async def refuse() -> None:
        raise Reject("no such order")

    job = await refuse.aenqueue()
    await yard.drain()

    [letter] = await yard.letters()
    assert (letter.reason, (await job.arecord()).state, (await job.arecord()).retries) == ("rejected", State.FAILED, 0)
    assert "no such order" in letter.error


async def test_handler_may_ask_for_a_later_time_again_and_again(yard: Yard) -> None:
    @yard.app.task(retry=Retry(max=0))
    async def later(ctx: Context) -> str:
        if ctx.attempt <= 4:
            raise RetryLater("10s")
        return f"attempt {ctx.attempt}"

    job = await later.aenqueue()
    for _ in range(4):
        await yard.drain()
        assert (await job.arecord()).due_at - yard.clock.now() == pytest.approx(10)
        yard.clock.advance(10)
    await yard.drain()

    assert await job.aresult(timeout=0) == "attempt 5"


async def test_nonsense_in_retry_later_fails_the_job_not_the_worker(yard: Yard) -> None:
    @yard.app.task(retry=Retry(max=0))
    async def nonsense() -> None:
        raise RetryLater("soonish")

    @yard.app.task
    async def fine() -> int:
        return 1

    await nonsense.aenqueue()
    job = await fine.aenqueue()
    await yard.drain()

    assert await job.aresult(timeout=0) == 1


async def test_each_exception_has_its_policy(yard: Yard) -> None:
    table = {
        TimeoutError: Retry(max=5, first="7s", jitter=0),
        OSError: Retry(max=1, first="3s", jitter=0),
        Exception: Retry(max=0),
    }

    @yard.app.task(retry=table)
    async def fail(how: str) -> None:
        raise {"timeout": TimeoutError, "os": ConnectionResetError, "value": ValueError}[how]

    jobs = {how: await fail.aenqueue(how) for how in ("timeout", "os", "value")}
    await yard.drain()

    due = {how: (await job.arecord()).due_at - yard.clock.now() for how, job in jobs.items()}
    assert due["timeout"] == pytest.approx(7)
    assert due["os"] == pytest.approx(3)
    assert await jobs["value"].astatus() is State.FAILED


async def test_failure_of_one_job_harms_no_other(yard: Yard) -> None:
    @yard.app.task(retry=Retry(max=0))
    def odd_fails(number: int) -> int:
        if number % 2:
            raise ValueError
        return number

    jobs = await odd_fails.aenqueue_many([(number,) for number in range(50)])
    await yard.drain(concurrency=2)

    states = [await job.astatus() for job in jobs]
    assert states == [State.COMPLETED, State.FAILED] * 25


# ── what never reaches a handler ─────────────────────────────────────────────────────────────


async def put(yard: Yard, **changes: Any) -> str:
    """Send something that no task of ours would send."""
    envelope = Envelope(
        **{"id": "0190a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b", "type": "nobody.knows", "body": b"{}", **changes}
    )
    await (await yard.transport()).send([envelope])
    return envelope.id


async def test_unknown_type_is_parked_with_growing_delay_and_buried_after_a_day(yard: Yard) -> None:
    settled: list[events.Settled] = []
    yard.app.on(events.Settled)(settled.append)
    job = await put(yard)

    for _ in range(400):
        await yard.drain()
        if not isinstance(settled[-1].verdict, Return):
            break
        yard.clock.advance(settled[-1].verdict.delay)

    delays = [event.verdict.delay for event in settled if isinstance(event.verdict, Return)]
    assert delays[:8] == pytest.approx([1, 1, 2, 4, 8, 16, 32, 64])
    assert delays == sorted(delays)
    assert max(delays) == 300
    assert 86_000 < sum(delays) < 87_000
    record = await yard.record(job)
    assert (record.state, record.retries, record.crashes) == (State.FAILED, 0, 0)
    [letter] = await yard.letters()
    assert letter.reason == "unknown"
    assert "nobody.knows" in letter.error


async def test_parked_message_runs_once_somebody_knows_its_type(yard: Yard) -> None:
    job = await put(yard, type="new.task")
    await yard.drain()
    assert await yard.app.job(job).astatus() is State.PENDING

    @yard.app.task(name="new.task")
    async def new() -> str:
        return "at last"

    yard.clock.advance(1)
    await yard.drain()

    assert await yard.app.job(job).aresult(timeout=0) == "at last"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"name":7}', b'{"name":"x","more":1}', b"{}"])
async def test_body_that_does_not_fit_is_buried_at_once_with_its_bytes(yard: Yard, body: bytes) -> None:
    seen: list[str] = []

    @yard.app.task(name="greet")
    def greet(name: str) -> None:
        seen.append(name)

    job = await put(yard, type="greet", body=body)
    await yard.drain()

    [letter] = await yard.letters()
    assert (letter.reason, letter.body, letter.retries) == ("undecodable", body.decode(), 0)
    assert (await yard.record(job)).state is State.FAILED
    assert seen == []


async def test_expired_message_is_not_run(yard: Yard) -> None:
    seen: list[str] = []

    @yard.app.task
    async def late() -> None:
        seen.append("ran")

    job = await late.using(expires="5s").aenqueue()
    fresh = await late.using(expires="6s").aenqueue()
    yard.clock.advance(5)
    await yard.drain()

    assert await job.astatus() is State.EXPIRED
    assert await fresh.astatus() is State.COMPLETED
    assert seen == ["ran"]
    [letter] = await yard.letters()
    assert letter.reason == "expired"


async def test_poison_is_quarantined_after_three_crashes_without_being_run(yard: Yard) -> None:
    seen: list[str] = []

    @yard.app.task
    async def poison() -> None:
        seen.append("ran")

    job = await poison.aenqueue()
    doomed = await yard.transport("doomed")
    for _ in range(3):
        assert len(await doomed.receive(["default"], 1, 0.0)) == 1
        yard.clock.advance(31)
        await doomed.reap()
    await yard.drain()

    record = await job.arecord()
    assert (record.state, record.crashes, record.retries) == (State.QUARANTINED, 3, 0)
    assert seen == []
    assert [a.outcome for a in await yard.attempts(job.id)] == ["crashed"] * 3
    [letter] = await yard.letters()
    assert (letter.reason, letter.crashes) == ("quarantined", 3)


async def test_bound_on_crashes_is_the_tasks_own(yard: Yard) -> None:
    @yard.app.task(retry=Retry(max_crashes=1))
    async def fragile() -> None: ...

    @yard.app.task(retry={ValueError: Retry(max_crashes=2), OSError: Retry(max_crashes=9)})
    async def sturdy() -> None: ...

    jobs = [await fragile.aenqueue(), await sturdy.aenqueue()]
    doomed = await yard.transport("doomed")
    await doomed.receive(["default"], 2, 0.0)
    yard.clock.advance(31)
    await doomed.reap()
    await yard.drain()

    assert [await job.astatus() for job in jobs] == [State.QUARANTINED, State.COMPLETED]


# ── suspects ─────────────────────────────────────────────────────────────────────────────────


async def test_message_with_a_crash_behind_it_is_run_alone(yard: Yard) -> None:
    running: set[str] = set()
    together: dict[str, int] = {}

    @yard.app.task
    async def work(name: str) -> None:
        running.add(name)
        for _ in range(3):
            await asyncio.get_running_loop().run_in_executor(None, len, name)
            together[name] = max(together.get(name, 0), len(running))
        running.discard(name)

    doomed = await yard.transport("doomed")
    suspects = await work.aenqueue_many([("suspect 1",), ("suspect 2",)])
    await doomed.receive(["default"], 2, 0.0)
    yard.clock.advance(31)
    await doomed.reap()
    good = await work.aenqueue_many([(f"good {number}",) for number in range(20)])
    await yard.drain(concurrency=8)

    assert [await job.astatus() for job in [*suspects, *good]] == [State.COMPLETED] * 22
    assert (together["suspect 1"], together["suspect 2"]) == (1, 1)
    assert max(together.values()) > 1
    assert [(await job.arecord()).crashes for job in suspects] == [1, 1]


async def test_limit_counts_each_message_once_though_suspects_were_returned(yard: Yard) -> None:
    seen: list[int] = []

    @yard.app.task
    async def work(number: int) -> None:
        seen.append(number)

    doomed = await yard.transport("doomed")
    await work.aenqueue_many([(number,) for number in range(3)])
    await doomed.receive(["default"], 3, 0.0)
    yard.clock.advance(31)
    await doomed.reap()
    await work.aenqueue_many([(number,) for number in range(3, 9)])

    assert await yard.drain(concurrency=4, limits=Limits(messages=5)) == "limit: 5 messages"

    assert len(seen) == 5


# ── several handlers ─────────────────────────────────────────────────────────────────────────


async def test_each_handler_has_its_own_job_queue_and_retries(yard: Yard) -> None:
    seen: list[str] = []

    @yard.app.handler(Paid, queue="a", retry=Retry(max=0))
    async def receipt(message: Paid) -> None:
        seen.append(f"receipt {message.order}")
        raise ValueError

    @yard.app.handler(Paid, queue="b")
    def parcel(message: Paid) -> str:
        seen.append(f"parcel {message.order}")
        return "sent"

    first, second = await yard.app.adispatch(Paid(7))
    await yard.drain(queues=["a", "b"])

    assert sorted(seen) == ["parcel 7", "receipt 7"]
    assert (await first.astatus(), await second.aresult(timeout=0)) == (State.FAILED, "sent")


async def test_unaddressed_message_for_several_handlers_is_split_once(yard: Yard) -> None:
    seen: list[str] = []

    @yard.app.handler(Paid, type_name="paid", queue="a")
    async def receipt(message: Paid) -> None:
        seen.append("receipt")

    @yard.app.handler(Paid, queue="b")
    async def parcel(message: Paid) -> None:
        seen.append("parcel")

    transport = await yard.transport()
    job = await put(yard, type="paid", body=b'{"order":7}', queue="in")
    [delivery] = await transport.receive(["in"], 1, 0.0)
    await yard.drain(queues=["in", "a", "b"])
    yard.clock.advance(31)
    await transport.reap()  # a worker had taken it and died: it is split a second time
    yard.clock.advance(1)
    await yard.drain(queues=["in", "a", "b"])
    await yard.drain(queues=["in", "a", "b"])

    assert delivery.id == job
    assert sorted(seen) == ["parcel", "receipt"]
    assert (await yard.record(job)).state is State.COMPLETED


# ── events ───────────────────────────────────────────────────────────────────────────────────


async def test_listeners_hear_the_whole_story(yard: Yard) -> None:
    told: list[object] = []
    for kind in (events.WorkerStarted, events.Received, events.Started, events.Settled, events.WorkerStopped):
        yard.app.on(kind)(told.append)
    of_mail: list[events.Settled] = []
    yard.app.on(events.Settled, queue="mail")(of_mail.append)

    @yard.app.task(retry=STEADY)
    async def fail() -> None:
        raise ValueError

    job = await fail.aenqueue()
    await yard.drain()

    assert [type(event).__name__ for event in told] == [
        "WorkerStarted",
        "Received",
        "Started",
        "Settled",
        "WorkerStopped",
    ]
    settled = told[3]
    assert isinstance(settled, events.Settled)
    assert (settled.delivery.id, settled.verdict) == (job.id, Nack(1.0))
    assert settled.error.startswith("ValueError")
    assert of_mail == []


@pytest.mark.parametrize("kind", [events.Received, events.Started, events.Settled, events.WorkerStopped])
@pytest.mark.parametrize("plain", [True, False])
async def test_listener_that_raises_changes_nothing(yard: Yard, kind: type, plain: bool) -> None:
    def listen(event: object) -> None:
        raise ZeroDivisionError

    yard.app.on(kind)(listen)

    async def wait() -> int:
        return 7

    def run() -> int:
        return 7

    task = yard.app.task(run if plain else wait)
    jobs = await task.aenqueue_many([(), ()])
    await yard.drain()

    assert [await job.aresult(timeout=0) for job in jobs] == [7, 7]
