"""Whatever a handler does, the job ends and the worker lives."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from headrace import Context, Retry, Task
from headrace.bus import events
from headrace.bus.envelope import Report
from headrace.ledger.job import State
from headrace.transports.sql.transport import SqlTransport
from headrace.worker import console
from tests.support.stores import soon
from tests.support.work import Yard, breathe, until

ONCE = Retry(max=0)
Handle = Callable[[], Awaitable[Any]]


class Odd(BaseException):
    pass


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")

    def __reduce__(self) -> str:
        raise RuntimeError("nor this")


def cyclic() -> Exception:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    return one


RAISED: dict[str, Callable[[], BaseException]] = {
    "SystemExit": lambda: SystemExit(0),
    "SystemExit with text": lambda: SystemExit("bye"),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "CancelledError": asyncio.CancelledError,
    "StopIteration": lambda: StopIteration(7),
    "StopAsyncIteration": StopAsyncIteration,
    "a BaseException": Odd,
    "ExceptionGroup": lambda: ExceptionGroup("two", [ValueError("a"), OSError("b")]),
    "BaseExceptionGroup": lambda: BaseExceptionGroup("two", [KeyboardInterrupt(), Odd()]),
    "unprintable": Unprintable,
    "10 MB of text": lambda: ValueError("x" * 10_000_000),
    "surrogates and NUL": lambda: ValueError("\ud800\x00"),
    "cyclic cause": cyclic,
    "MemoryError": MemoryError,
    "RecursionError": RecursionError,
    "TimeoutError": TimeoutError,
}


async def fine() -> str:
    return "fine"


@pytest.mark.parametrize("raised", RAISED)
@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
async def test_whatever_is_raised_fails_the_job_and_the_worker_lives(
    yard: Yard, raised: str, plain: bool, wrapped: bool
) -> None:
    def run() -> None:
        error = RAISED[raised]()
        raise error

    async def wait() -> None:
        await asyncio.get_running_loop().run_in_executor(None, len, "")
        error = RAISED[raised]()
        raise error

    if wrapped:

        @yard.app.around_handler
        async def through(ctx: Context, handle: Handle) -> Any:
            return await handle()

    task = yard.app.task(retry=ONCE)(run if plain else wait)
    after = yard.app.task(fine)
    job, second = await task.aenqueue(), await after.aenqueue()

    assert await yard.drain() == "drained"

    record = await job.arecord()
    assert record.state is State.FAILED
    assert record.error
    assert len(record.error) < 100_000
    assert len((await yard.letters())[0].fingerprint) == 8
    assert await second.aresult(timeout=0) == "fine"


async def test_handler_that_cancels_itself_has_failed(yard: Yard) -> None:
    @yard.app.task(retry=ONCE)
    async def give_up() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.get_running_loop().run_in_executor(None, len, "")

    after = yard.app.task(fine)
    given_up = [await give_up.aenqueue(), await give_up.aenqueue()]
    last = await after.aenqueue()

    await yard.drain()

    assert [await job.astatus() for job in given_up] == [State.FAILED, State.FAILED]
    assert await last.aresult(timeout=0) == "fine"


async def test_handler_may_use_its_own_timeouts_and_groups(yard: Yard) -> None:
    @yard.app.task(retry=ONCE)
    async def structured() -> str:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            async with asyncio.TaskGroup() as tasks:
                task = tasks.create_task(fine())
            return task.result()
        return "never"

    job = await structured.aenqueue()
    await yard.drain()

    assert await job.aresult(timeout=0) == "fine"


# ── isolation ────────────────────────────────────────────────────────────────────────────────

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
async def test_what_one_job_sets_the_next_does_not_see(yard: Yard, plain: bool, wrapped: bool) -> None:
    def run(name: str) -> str:
        before = tenant.get()
        tenant.set(name)
        return before

    async def wait(name: str) -> str:
        before = tenant.get()
        tenant.set(name)
        await asyncio.get_running_loop().run_in_executor(None, len, "")
        assert tenant.get() == name
        return before

    if wrapped:

        @yard.app.around_handler
        async def through(ctx: Context, handle: Handle) -> Any:
            return await handle()

    task: Task[[str], str] = yard.app.task(run if plain else wait)
    jobs = await task.aenqueue_many([(f"tenant {number}",) for number in range(20)])
    await yard.drain(concurrency=2)

    assert {await job.aresult(timeout=0) for job in jobs} == {"nobody"}
    assert tenant.get() == "nobody"


async def test_what_middleware_sets_the_handler_sees(yard: Yard) -> None:
    @yard.app.around_handler
    async def as_tenant(ctx: Context, handle: Handle) -> Any:
        tenant.set(ctx.headers["tenant"])
        return await handle()

    @yard.app.task
    def run() -> str:
        return tenant.get()

    @yard.app.task
    async def wait() -> str:
        return tenant.get()

    jobs = [await task.using(headers={"tenant": "blue"}).aenqueue() for task in (run, wait)]
    await yard.drain()

    assert [await job.aresult(timeout=0) for job in jobs] == ["blue", "blue"]


@pytest.fixture
def marked() -> Iterator[None]:
    factory = logging.getLogRecordFactory()
    console.mark_records()
    yield
    logging.setLogRecordFactory(factory)


@pytest.mark.usefixtures("marked")
async def test_job_id_is_in_every_log_record(yard: Yard, caplog: pytest.LogCaptureFixture) -> None:
    @yard.app.task
    def run() -> None:
        logging.getLogger("shop").warning("in a thread")

    @yard.app.task
    async def wait() -> None:
        await asyncio.get_running_loop().run_in_executor(None, len, "")
        logging.getLogger("shop").warning("in the loop")

    jobs = [await run.aenqueue(), await wait.aenqueue()]
    await yard.drain()
    logging.getLogger("shop").warning("outside")

    told = {record.getMessage(): getattr(record, "job", None) for record in caplog.records if record.name == "shop"}
    assert told == {"in a thread": jobs[0].id, "in the loop": jobs[1].id, "outside": ""}


# ── middleware ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("plain", [True, False])
async def test_middleware_sees_result_and_error_and_may_change_both(yard: Yard, plain: bool) -> None:
    @yard.app.around_handler
    async def mend(ctx: Context, handle: Handle) -> Any:
        try:
            return {"from": await handle()}
        except LookupError:
            return "mended"

    def run(number: int) -> int:
        if not number:
            raise LookupError
        return 10 // number

    async def wait(number: int) -> int:
        return run(number)

    task: Task[[int], Any] = yard.app.task(run if plain else wait)
    jobs = [await task.aenqueue(5), await task.aenqueue(0)]
    await yard.drain()

    assert [await job.aresult(timeout=0) for job in jobs] == [{"from": 2}, "mended"]


async def test_middleware_may_refuse_to_run_the_handler(yard: Yard) -> None:
    @yard.app.around_handler
    async def closed(ctx: Context, handle: Handle) -> Any:
        raise PermissionError("closed on Sundays")

    task = yard.app.task(retry=ONCE)(fine)
    job = await task.aenqueue()
    await yard.drain()

    assert "closed on Sundays" in ((await job.arecord()).error or "")


# ── results, progress, logs ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (object(), "no JSON form"),
        ("\ud800", "no JSON form"),
        (b"x" * 2_000_000, "2,666,670 bytes, the limit is 1,048,576"),
        ("x" * ((1 << 20) - 1), "1,048,577 bytes"),
    ],
    ids=range(4),
)
async def test_result_that_cannot_be_kept_leaves_a_note_and_a_completed_job(yard: Yard, result: Any, why: str) -> None:
    @yard.app.task
    async def odd() -> Any:
        return result

    job = await odd.aenqueue()
    await yard.drain()

    record = await job.arecord()
    assert (record.state, record.result) == (State.COMPLETED, None)
    assert why in (record.error or "")
    assert "HR405" in (record.error or "")


async def test_largest_result_is_kept(yard: Yard) -> None:
    @yard.app.task
    async def large() -> str:
        return "x" * ((1 << 20) - 2)

    job = await large.aenqueue()
    await yard.drain()

    assert len(await job.aresult(timeout=0)) == (1 << 20) - 2


async def test_untracked_result_is_not_looked_at(yard: Yard) -> None:
    @yard.app.task(track=False)
    async def odd() -> object:
        return object()

    await odd.aenqueue()

    assert await yard.drain() == "drained"
    assert await yard.letters() == []


async def test_log_lines_are_kept_with_the_attempt(yard: Yard) -> None:
    @yard.app.task(retry=Retry(max=1, jitter=0))
    def talk(ctx: Context) -> None:
        ctx.log(f"attempt {ctx.attempt}\x00")
        if ctx.attempt == 1:
            raise ValueError

    job = await talk.aenqueue()
    await yard.drain()
    yard.clock.advance(1)
    await yard.drain()

    assert [(a.outcome, a.log) for a in await yard.attempts(job.id)] == [
        ("failed", "attempt 1\N{REPLACEMENT CHARACTER}"),
        ("completed", "attempt 2\N{REPLACEMENT CHARACTER}"),
    ]


class Reports:
    """Every report that reached the store."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[Report] = []
        whole = SqlTransport.report

        async def report(transport: SqlTransport, reports: list[Report]) -> None:
            self.made += reports
            await whole(transport, reports)

        monkeypatch.setattr(SqlTransport, "report", report)


@pytest.mark.parametrize("plain", [True, False])
async def test_progress_is_clamped_and_written_at_most_five_times_a_second(
    yard: Yard, plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = Reports(monkeypatch)
    over, finished = threading.Event(), asyncio.Event()

    def run(ctx: Context) -> None:
        while not over.is_set():
            for _ in range(100):
                ctx.progress(1.5, "far")

    async def wait(ctx: Context) -> None:
        while not over.is_set():
            for _ in range(100):
                ctx.progress(1.5, "far")
            await asyncio.get_running_loop().run_in_executor(None, len, "")

    yard.app.on(events.Settled)(lambda _: finished.set())
    task: Task[[], None] = yard.app.task(run if plain else wait)
    job = await task.aenqueue()
    async with yard.working() as crew:
        await until(lambda: crew.worker.busy == 1)
        began = yard.clock.monotonic()
        await crew.pass_until(lambda: len(reports.made) == 6)
        seconds = yard.clock.monotonic() - began
        record = await job.arecord()
        over.set()
        await soon(finished.wait())

    assert (record.state, record.progress, record.note) == (State.PROCESSING, 1.0, "far")
    assert seconds >= 1.0
    assert (await job.arecord()).progress == 1.0


async def test_short_job_is_never_processing(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    reports = Reports(monkeypatch)
    task = yard.app.task(fine)
    await task.aenqueue_many([()] * 50)

    await yard.drain()

    assert reports.made == []


@pytest.mark.parametrize(("passed", "state"), [(0.15, State.PENDING), (0.3, State.PROCESSING)])
async def test_job_is_processing_after_200_ms(yard: Yard, passed: float, state: State) -> None:
    over = asyncio.Event()

    @yard.app.task
    async def long() -> None:
        await over.wait()

    job = await long.aenqueue()
    async with yard.working() as crew:
        await until(lambda: crew.worker.busy == 1)
        await crew.pass_time(passed)
        assert await job.astatus() is state
        over.set()


# ── time limits ──────────────────────────────────────────────────────────────────────────────


async def test_async_handler_is_cancelled_at_its_time_limit(yard: Yard) -> None:
    seen: list[str] = []

    @yard.app.task(time_limit="10s", retry=ONCE)
    async def long(ctx: Context) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(f"cancelled: {ctx.cancelled}")

    after = yard.app.task(fine)
    job, second = await long.aenqueue(), await after.aenqueue()
    async with yard.working() as crew:
        await until(lambda: crew.worker.busy == 1)
        await crew.pass_time(9.5)
        assert seen == []
        await crew.pass_time(1)
        await until(lambda: crew.worker.tally.done == 2)

    assert seen == ["cancelled: True"]
    record = await job.arecord()
    assert record.state is State.FAILED
    assert "TimeLimitExceeded" in (record.error or "")
    assert await second.astatus() is State.COMPLETED


async def test_handler_that_ends_in_time_though_it_was_cancelled_is_completed(yard: Yard) -> None:
    @yard.app.task(time_limit="1s", retry=ONCE)
    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "saved what there was"
        return "never"

    job = await stubborn.aenqueue()
    async with yard.working() as crew:
        await until(lambda: crew.worker.busy == 1)
        await crew.pass_until(lambda: crew.worker.tally.done == 1)

    assert await job.aresult(timeout=0) == "saved what there was"


@pytest.mark.parametrize("wrapped", [True, False])
async def test_plain_handler_past_its_limit_is_left_to_itself_and_its_late_outcome_ignored(
    yard: Yard, wrapped: bool
) -> None:
    release, returned = threading.Event(), threading.Event()

    if wrapped:

        @yard.app.around_handler
        async def through(ctx: Context, handle: Handle) -> Any:
            return await handle()

    @yard.app.task(time_limit="1s", retry=ONCE)
    def long(ctx: Context) -> str:
        release.wait(60)
        returned.set()
        return f"cancelled: {ctx.cancelled}"

    @yard.app.task
    def short() -> str:
        return threading.current_thread().name

    job, second = await long.aenqueue(), await short.aenqueue()
    async with yard.working() as crew:
        await until(lambda: crew.worker.busy == 1)
        await crew.pass_until(lambda: crew.worker.tally.done == 2)  # the second runs in a new thread
        release.set()
        await until(returned.is_set)
        await breathe()

    record = await job.arecord()
    assert (record.state, record.result) == (State.FAILED, None)
    assert "TimeLimitExceeded" in (record.error or "")
    assert await second.astatus() is State.COMPLETED
    assert crew.worker.tally.done == 2


async def test_time_limit_counts_as_a_failure_of_the_policy(yard: Yard) -> None:
    @yard.app.task(time_limit="1s", retry=Retry(max=1, first="5s", jitter=0))
    async def long() -> None:
        await asyncio.Event().wait()

    job = await long.aenqueue()
    async with yard.working() as crew:
        await until(lambda: crew.worker.busy == 1)
        await crew.pass_until(lambda: crew.worker.tally.failed == 1)

    record = await job.arecord()
    assert (record.state, record.retries) == (State.RETRYING, 1)


# ── how many at once ─────────────────────────────────────────────────────────────────────────


async def test_never_more_at_once_than_the_concurrency_and_all_lanes_are_used(yard: Yard) -> None:
    lock = threading.Lock()
    running = most = 0
    barrier = threading.Event()

    def enter() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)

    def leave() -> None:
        nonlocal running
        with lock:
            running -= 1

    @yard.app.task
    def run() -> None:
        enter()
        barrier.wait(60)
        leave()

    @yard.app.task
    async def wait() -> None:
        enter()
        await asyncio.get_running_loop().run_in_executor(None, barrier.wait, 60)
        leave()

    for _ in range(10):
        await run.aenqueue()
        await wait.aenqueue()
    async with yard.working(concurrency=5) as crew:
        await until(lambda: running == 5)
        await breathe(20)
        assert (running, crew.worker.busy) == (5, 5)
        barrier.set()
        await until(lambda: crew.worker.tally.done == 20)

    assert most == 5
