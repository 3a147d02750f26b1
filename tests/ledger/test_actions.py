"""Cancel, retry, delete."""

import asyncio

import pytest

from headrace.bus.retry import ACK
from headrace.errors import IllegalTransition, JobNotFound, NotTracked
from headrace.ledger.job import TERMINAL, State
from tests.support.ledgers import House, a_house


async def test_cancelled_job_is_not_lent_and_its_unique_key_is_free(house: House) -> None:
    job = await house.send(unique="k", delay=60.0)

    assert await house.ledger.cancel(job) is State.CANCELLED
    assert await house.ledger.cancel(job) is State.CANCELLED

    record = await house.ledger.job(job)
    assert record.state is State.CANCELLED
    assert record.finished_at is not None
    assert await house.transport.receive(["default"], 10, 0) == []
    again = await house.send(unique="k")
    assert (await house.claim()).id == again


async def test_untracked_message_can_be_cancelled_while_it_waits(house: House) -> None:
    job = await house.send(tracked=False)
    assert await house.ledger.cancel(job) is State.CANCELLED
    with pytest.raises(JobNotFound):
        await house.ledger.cancel(job)

    running = await house.running(tracked=False)
    with pytest.raises(IllegalTransition, match="running"):
        await house.ledger.cancel(running)


async def test_untracked_dead_letter_cannot_be_cancelled(house: House) -> None:
    job = await house.failed(tracked=False)
    with pytest.raises(IllegalTransition, match="dead letter"):
        await house.ledger.cancel(job)


async def test_job_on_loan_cannot_be_touched_and_ends_as_if_nobody_had_tried(house: House) -> None:
    job = await house.send()
    delivery = await house.claim()

    for attempt in (house.ledger.cancel(job), house.ledger.retry([job]), house.ledger.delete([job])):
        with pytest.raises(IllegalTransition, match="running"):
            await attempt

    await house.settle(delivery, ACK)
    assert await house.ledger.state(job) is State.COMPLETED


async def test_race_of_cancel_and_claim_has_one_winner(house: House) -> None:
    for _ in range(100):
        job = await house.send()

        async def take_back(job: str = job) -> bool:
            try:
                return await house.ledger.cancel(job) is State.CANCELLED
            except IllegalTransition:
                return False

        async with asyncio.TaskGroup() as tasks:
            cancelling = tasks.create_task(take_back())
            claiming = tasks.create_task(house.transport.receive(["default"], 1, 0))
        cancelled, claimed = cancelling.result(), claiming.result()

        assert cancelled is not bool(claimed)
        if claimed:
            await house.settle(claimed[0])
        assert await house.ledger.state(job) is (State.CANCELLED if cancelled else State.COMPLETED)


async def test_retried_job_begins_anew_and_keeps_its_story_until_it_is_overwritten(house: House) -> None:
    job = await house.failed(queue="mail", priority=8, headers={"a": "b"})
    before = await house.ledger.job(job)

    assert await house.ledger.retry([job]) == 1

    record = await house.ledger.job(job)
    assert (record.state, record.retries, record.crashes, record.finished_at) == (State.PENDING, 0, 0, None)
    assert (record.error, record.ran, record.created_at) == (before.error, before.ran, before.created_at)
    assert await house.ledger.dead.letters() == []
    delivery = await house.claim("mail")
    assert (delivery.id, delivery.type, delivery.body, delivery.headers) == (
        job,
        before.type,
        before.body.encode(),
        before.headers,
    )
    assert (delivery.priority, delivery.attempt, delivery.tracked, delivery.expired) == (8, 1, True, False)
    await house.settle(delivery, ACK, result=b"1")
    assert (await house.ledger.job(job)).error is None
    assert (await house.ledger.job(job)).result == "1"


async def test_completed_job_can_be_run_again_and_shows_its_old_result_meanwhile(house: House) -> None:
    job = await house.completed()
    await house.ledger.retry([job])
    assert (await house.ledger.job(job)).result == '"done"'
    await house.settle(await house.claim(), ACK, result=b'"again"')
    assert (await house.ledger.job(job)).result == '"again"'


async def test_retry_wakes_a_worker_that_waits(house: House) -> None:
    job = await house.failed()
    async with asyncio.timeout(3), asyncio.TaskGroup() as tasks:  # less than the transport's poll
        waiting = tasks.create_task(house.claim())
        await house.transport.counts()  # it has had its first look
        await house.ledger.retry([job])
    assert waiting.result().id == job


async def test_untracked_dead_letter_can_be_retried(house: House) -> None:
    job = await house.failed(tracked=False)
    assert await house.ledger.retry([job]) == 1
    delivery = await house.claim()
    assert (delivery.id, delivery.tracked) == (job, False)
    with pytest.raises(NotTracked):
        await house.ledger.job(job)


async def test_dead_letter_whose_job_is_gone_gets_its_job_back(house: House) -> None:
    job = await house.failed()
    await house.sql("DELETE FROM headrace_jobs")
    await house.ledger.retry([job])
    assert await house.ledger.state(job) is State.PENDING
    await house.settle(await house.claim())
    assert await house.ledger.state(job) is State.COMPLETED


async def test_retry_and_delete_are_all_or_nothing(house: House) -> None:
    ended = await house.completed()
    failed = await house.failed()
    waiting = await house.send(delay=60.0)

    with pytest.raises(IllegalTransition, match=waiting):
        await house.ledger.retry([ended, waiting, failed])
    with pytest.raises(JobNotFound):
        await house.ledger.retry([ended, house.id()])
    with pytest.raises(JobNotFound):
        await house.ledger.delete([ended, failed, waiting, house.id()])

    assert await house.ledger.state(ended) is State.COMPLETED
    assert await house.ledger.state(failed) is State.FAILED
    assert await house.ledger.state(waiting) is State.PENDING
    assert len(await house.ledger.dead.letters()) == 1
    assert await house.ledger.retry([ended, failed, ended]) == 2


async def test_two_who_retry_at_once_send_one_message(dsn: str) -> None:
    async with a_house(dsn) as house:
        jobs = [await house.failed() for _ in range(10)]

        async def again() -> int:
            try:
                return await house.ledger.retry(jobs)
            except IllegalTransition:
                return 0

        other = type(house.ledger)(house.store.database, house.clock, house.store.table)
        async with asyncio.TaskGroup() as tasks:
            counts = [tasks.create_task(again()), tasks.create_task(other.dead.retry())]
        await other.aclose()

        assert await house.count("headrace_messages") == 10
        assert await house.count("headrace_dead") == 0
        assert sum(count.result() for count in counts) == 10


async def test_deleted_job_leaves_nothing(house: House) -> None:
    jobs = [
        await house.failed(),
        await house.completed(),
        await house.quarantined(),
        await house.send(),
        await house.retrying(),
    ]
    untracked = [await house.failed(tracked=False, queue="q"), await house.send(tracked=False)]

    assert await house.ledger.delete([*jobs, *untracked]) == 7

    for table in ("headrace_jobs", "headrace_attempts", "headrace_dead", "headrace_messages"):
        assert await house.count(table) == 0, table


async def test_ids_may_be_written_in_any_way(house: House) -> None:
    job = await house.send()
    assert (await house.ledger.job(job.upper().replace("-", ""))).id == job
    assert TERMINAL.isdisjoint({await house.ledger.state(job.upper())})
