"""Every call of the public surface, blocking and not."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import pytest

from headrace import App, Context, JobFailed, ResultTimeout, Retry, Task
from headrace.bus.middleware import Send
from headrace.clock import SystemClock
from headrace.errors import (
    BadOption,
    BlockingCall,
    DuplicateJob,
    HeadraceError,
    IllegalTransition,
    JobNotFound,
    NaiveDatetime,
    NoHandler,
    NotTracked,
    PayloadTooLarge,
    Unencodable,
    WrongArguments,
)
from headrace.ledger.job import State
from tests.support.programs import drained
from tests.support.stores import soon

UNKNOWN = "0190a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b"


@dataclass
class Paid:
    order: int


@dataclass
class Nobody:
    wants: str


class Shop:
    """An application with something of everything."""

    def __init__(self, store: str) -> None:
        self.app = App(store, clock=DeafClock())
        self.add = self.app.task(name="add")(add)
        self.fail = self.app.task(name="fail", retry=Retry(max=0))(fail)
        self.quiet = self.app.task(name="quiet", track=False)(add)
        self.app.handler(Paid, queue="a", name="receipt")(receipt)
        self.app.handler(Paid, queue="b", name="parcel")(parcel)


class DeafClock(SystemClock):
    """Does not end a wait of a second or more by itself: who waits so must be woken."""

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        return await super().wait(event, seconds if seconds < 1 else 1e6)


async def add(a: int, b: int = 1) -> int:
    return a + b


def fail(how: str) -> None:
    raise ValueError(how)


def receipt(message: Paid, ctx: Context) -> str:
    return f"receipt {message.order}"


async def parcel(message: Paid) -> str:
    return f"parcel {message.order}"


@pytest.fixture
async def shop(store: str) -> AsyncIterator[Shop]:
    shop = Shop(store)
    yield shop
    await shop.app.aclose()


@pytest.fixture
def blocking(store: str) -> Iterator[Shop]:
    shop = Shop(store)
    yield shop
    shop.app.close()


async def stored(shop: Shop) -> int:
    return sum(c.ready + c.delayed for c in (await (await shop.app.connections()).transport.counts()).values())


# ── not blocking ─────────────────────────────────────────────────────────────────────────────


async def test_job_from_call_to_result(shop: Shop) -> None:
    job = await shop.add.aenqueue(3, b=4)
    assert await job.astatus() is State.PENDING

    await drained(shop.app)

    assert await job.aresult(timeout=10) == 7
    assert (await job.arecord()).body == '{"a":3,"b":4}'


async def test_task_can_still_be_called(shop: Shop) -> None:
    assert await shop.add(3, 4) == 7
    assert await stored(shop) == 0


async def test_many_calls_are_one_commit_and_keep_their_order(shop: Shop) -> None:
    jobs = await shop.add.aenqueue_many([(1,), (2, 3), shop.add.call(4, b=5), shop.add.call(a=6)])
    await drained(shop.app)

    assert [await job.aresult(timeout=10) for job in jobs] == [2, 5, 9, 7]
    assert await shop.add.aenqueue_many([]) == []


async def test_one_wrong_call_of_many_queues_none(shop: Shop) -> None:
    wrong: list[Any] = [[(1,), ("x",)], [(1,), [2]], [(1,), 2], [(1,), ()]]
    for calls in wrong:
        with pytest.raises(WrongArguments, match="call 1"):
            await shop.add.aenqueue_many(calls)

    assert await stored(shop) == 0


async def test_unique_key_answers_the_holder(shop: Shop) -> None:
    unique = shop.add.using(unique="k")
    first = await unique.aenqueue(1)
    second = await unique.aenqueue(2)

    assert (second.id, second.duplicate, first.duplicate) == (first.id, True, False)
    await drained(shop.app)
    assert await second.aresult(timeout=10) == 2
    third = await unique.aenqueue(5)
    assert not third.duplicate


async def test_unique_key_is_the_tasks_own(shop: Shop) -> None:
    first = await shop.add.using(unique="k").aenqueue(1)
    other = await shop.fail.using(unique="k").aenqueue("x")

    assert (first.duplicate, other.duplicate) == (False, False)


async def test_duplicate_raises_when_asked_to(shop: Shop) -> None:
    strict = shop.add.using(unique="k", on_duplicate="raise")
    first = await strict.aenqueue(1)

    with pytest.raises(DuplicateJob, match=first.id):
        await strict.aenqueue(1)
    assert await stored(shop) == 1


async def test_id_of_an_earlier_try_is_stored_once(shop: Shop) -> None:
    first = await shop.add.using(id=UNKNOWN).aenqueue(1)
    again = await shop.add.using(id=UNKNOWN).aenqueue(1)

    assert (first.id, again.id, again.duplicate) == (UNKNOWN, UNKNOWN, True)
    assert await stored(shop) == 1


async def test_message_goes_to_each_of_its_handlers(shop: Shop) -> None:
    jobs = await shop.app.using(headers={"a": "b"}, priority=9).adispatch(Paid(7))
    await drained(shop.app, "a", "b")

    assert [await job.aresult(timeout=10) for job in jobs] == ["receipt 7", "parcel 7"]
    assert {(await job.arecord()).priority for job in jobs} == {9}


async def test_failure_is_told_to_who_asks_for_the_result(shop: Shop) -> None:
    job = await shop.fail.aenqueue("no luck")
    await drained(shop.app)

    with pytest.raises(JobFailed, match="no luck"):
        await job.aresult(timeout=10)


async def test_result_that_is_not_there_in_time_is_told(shop: Shop) -> None:
    job = await shop.add.aenqueue(1)

    with pytest.raises(ResultTimeout, match=r"is pending after 0\.01 s"):
        await job.aresult(timeout=0.01)
    with pytest.raises(TimeoutError):
        await job.aresult(timeout=0)


async def test_who_waits_for_a_result_is_woken(shop: Shop) -> None:
    """Its clock never ends a wait of a second: only the news of the end can."""
    jobs = [await shop.add.aenqueue(number) for number in range(3)]
    waiting = [asyncio.get_running_loop().create_task(job.aresult()) for job in jobs]
    worker = App(shop.app.parts.store)
    worker.task(name="add")(add)

    await drained(worker)

    assert [await soon(task) for task in waiting] == [1, 2, 3]
    await worker.aclose()


async def test_who_waits_for_a_cancelled_job_is_woken(shop: Shop) -> None:
    job = await shop.add.aenqueue(1)
    waiting = asyncio.get_running_loop().create_task(job.aresult())
    await shop.app.job(job.id).acancel()

    with pytest.raises(JobFailed, match="is cancelled"):
        await soon(waiting)


async def test_waiting_job_is_cancelled_once(shop: Shop) -> None:
    job = await shop.add.using(delay="1h").aenqueue(1)

    assert await job.acancel() is State.CANCELLED
    assert await job.acancel() is State.CANCELLED
    assert await job.astatus() is State.CANCELLED
    await drained(shop.app)
    with pytest.raises(JobFailed, match="is cancelled"):
        await job.aresult(timeout=10)


async def test_ended_job_is_not_cancelled_and_may_be_retried_or_deleted(shop: Shop) -> None:
    job = await shop.add.aenqueue(1)
    with pytest.raises(IllegalTransition):
        await job.aretry()
    await drained(shop.app)
    with pytest.raises(IllegalTransition):
        await job.acancel()

    await job.aretry()
    assert await job.astatus() is State.PENDING
    await drained(shop.app)
    assert await job.aresult(timeout=10) == 2

    await job.adelete()
    with pytest.raises(JobNotFound):
        await job.astatus()


async def test_unknown_job_is_told(shop: Shop) -> None:
    job = shop.app.job(UNKNOWN)

    for ask in (job.astatus, job.aresult, job.acancel, job.aretry, job.adelete):
        with pytest.raises(JobNotFound, match=UNKNOWN):
            await ask()


async def test_untracked_job_has_no_status_and_can_be_cancelled(shop: Shop) -> None:
    job = await shop.quiet.aenqueue(1)

    for ask in (job.astatus, job.aresult, job.arecord):
        with pytest.raises(NotTracked):
            await ask()
    assert await job.acancel() is State.CANCELLED
    assert await stored(shop) == 0


async def test_tracking_may_be_chosen_for_one_call(shop: Shop) -> None:
    assert await (await shop.quiet.using(track=True).aenqueue(1)).astatus() is State.PENDING
    with pytest.raises(NotTracked):
        await (await shop.add.using(track=False).aenqueue(1)).astatus()


async def test_middleware_may_change_what_is_sent(shop: Shop) -> None:
    import msgspec

    @shop.app.around_dispatch
    async def stamp(envelopes: Any, send: Send) -> Any:
        return await send([msgspec.structs.replace(e, headers={**e.headers, "by": "ada"}) for e in envelopes])

    job = await shop.add.aenqueue(1)

    assert (await job.arecord()).headers == '{"by":"ada"}'


# ── refused at once, and nothing queued ──────────────────────────────────────────────────────

NOT_NOW = datetime(2026, 1, 2)  # noqa: DTZ001  # on purpose


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda shop: shop.add.aenqueue(), WrongArguments),
        (lambda shop: shop.add.aenqueue("1"), WrongArguments),
        (lambda shop: shop.add.aenqueue(1, 2, 3), WrongArguments),
        (lambda shop: shop.add.aenqueue(1, c=3), WrongArguments),
        (lambda shop: shop.add.using(at=NOT_NOW).aenqueue(1), NaiveDatetime),
        (lambda shop: shop.add.using(queue="a\x00").aenqueue(1), Unencodable),
        (lambda shop: shop.add.using(unique="\ud800").aenqueue(1), Unencodable),
        (lambda shop: shop.add.using(priority=10).aenqueue(1), BadOption),
        (lambda shop: shop.add.using(delay="soon").aenqueue(1), BadOption),
        (lambda shop: shop.fail.aenqueue("\ud800"), Unencodable),
        (lambda shop: shop.fail.aenqueue("x" * (1 << 20)), PayloadTooLarge),
        (lambda shop: shop.app.adispatch(Paid(cast("int", "7"))), WrongArguments),
        (lambda shop: shop.app.adispatch(Nobody("this")), NoHandler),
        (lambda shop: shop.app.adispatch(Paid), BadOption),
        (lambda shop: shop.app.adispatch(7), NoHandler),
    ],
    ids=range(15),
)
async def test_wrong_call_is_refused_and_nothing_is_queued(shop: Shop, wrong: Any, error: type[HeadraceError]) -> None:
    with pytest.raises(error):
        await wrong(shop)

    assert await stored(shop) == 0


# ── blocking ─────────────────────────────────────────────────────────────────────────────────


def test_blocking_calls_do_the_same(blocking: Shop) -> None:
    shop = blocking
    job = shop.add.enqueue(3, b=4)
    failing = shop.fail.enqueue("no luck")
    many = shop.add.enqueue_many([(1,), shop.add.call(2)])
    receipts = shop.app.using(queue="default").dispatch(Paid(7))
    doomed = shop.add.using(delay=60).enqueue(1)
    assert (job.status(), doomed.cancel()) == (State.PENDING, State.CANCELLED)

    asyncio.run(drained(shop.app))

    assert job.result(timeout=10) == 7
    assert [each.result(timeout=10) for each in many] == [2, 3]
    assert [each.result(timeout=10) for each in receipts] == ["receipt 7", "parcel 7"]
    with pytest.raises(JobFailed, match="no luck"):
        failing.result(timeout=10)
    assert failing.record().state is State.FAILED
    failing.retry()
    assert failing.status() is State.PENDING
    failing.delete()
    with pytest.raises(JobNotFound):
        failing.status()


def test_threads_may_send_at_the_same_time(blocking: Shop) -> None:
    ids: list[str] = []

    def send() -> None:
        for number in range(25):
            ids.append(blocking.add.enqueue(number).id)  # noqa: PERF401

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(ids)) == 200
    assert asyncio.run(stored(blocking)) == 200


async def test_blocking_call_in_a_running_loop_is_refused(shop: Shop) -> None:
    job = await shop.add.aenqueue(1)
    calls: list[Any] = [
        lambda: shop.add.enqueue(1),
        lambda: shop.add.enqueue_many([(1,)]),
        lambda: shop.app.dispatch(Paid(1)),
        *(job.status, job.record, job.result, job.cancel, job.retry, job.delete),
    ]

    for call in calls:
        with pytest.raises(BlockingCall, match="await") as caught:
            call()
        assert caught.value.hint.startswith("write: await ")
    assert await stored(shop) == 1


async def test_memory_is_shared_by_blocking_and_other_calls() -> None:
    app = App("memory://")
    task: Task[[int, int], int] = app.task(name="add")(add)

    job = await asyncio.to_thread(task.enqueue, 3, 4)
    await drained(app)

    assert await asyncio.to_thread(job.result, 10) == 7
    await app.aclose()
    await asyncio.to_thread(app.close)


async def test_two_applications_in_memory_share_nothing() -> None:
    one, other = App("memory://"), App("memory://")
    task = one.task(name="add")(add)
    job = await task.aenqueue(1)

    with pytest.raises(JobNotFound):
        await other.job(job.id).astatus()
    await one.aclose()
    await other.aclose()


async def test_first_calls_at_once_open_one_set_of_connections(shop: Shop) -> None:
    async with asyncio.TaskGroup() as tasks:
        sends = [tasks.create_task(shop.add.aenqueue(number)) for number in range(20)]

    assert len({send.result().id for send in sends}) == 20
    assert await shop.app.connections() is await shop.app.connections()
