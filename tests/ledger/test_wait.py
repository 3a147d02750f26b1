"""Waiting for the end of a job: woken at once, however it ends."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from headrace.bus.retry import ACK, Bury, Nack, Reason
from headrace.clock import ManualClock, SystemClock
from headrace.errors import JobNotFound
from headrace.ledger import store
from headrace.ledger.job import State
from headrace.ledger.store import Ledger
from tests.support.ledgers import House, a_house
from tests.support.postgres import Postgres


@pytest.fixture
def no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is not told of the end waits for it longer than the test."""
    monkeypatch.setattr(store, "POLL", 3600.0)


async def begun(house: House, job: str) -> None:
    """Until somebody has marked the job as awaited."""
    text = f"SELECT 1 FROM headrace_jobs WHERE awaited AND id = {house.dialect.uuid.format('$1')}"
    while not await house.sql(text, job):
        pass


async def ack(house: House, _: str) -> None:
    await house.settle(await house.claim(), ACK, result=b"42")


async def bury(house: House, _: str) -> None:
    await house.settle(await house.claim(), Bury(Reason.FAILED))


async def cancel(house: House, job: str) -> None:
    await house.ledger.cancel(job)


@pytest.mark.usefixtures("no_poll")
@pytest.mark.parametrize(("end", "state"), [(ack, State.COMPLETED), (bury, State.FAILED), (cancel, State.CANCELLED)])
async def test_waiter_is_told_of_every_end(
    house: House, end: Callable[[House, str], Awaitable[None]], state: State
) -> None:
    job = await house.send()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(house.ledger.wait(job)) for _ in range(3)]
        await begun(house, job)
        await end(house, job)
    assert [task.result().state for task in waiting] == [state] * 3
    assert waiting[0].result() == await house.ledger.job(job)


@pytest.mark.usefixtures("no_poll")
async def test_deleted_job_ends_the_wait(house: House) -> None:
    job = await house.send()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(gone(house, job))
        await begun(house, job)
        await house.ledger.delete([job])
    assert waiting.result()


async def gone(house: House, job: str) -> bool:
    with pytest.raises(JobNotFound):
        await house.ledger.wait(job)
    return True


async def test_job_that_has_ended_is_answered_without_waiting(house: House) -> None:
    job = await house.failed()
    assert (await house.ledger.wait(job, 0)).state is State.FAILED
    assert not (await house.sql("SELECT awaited FROM headrace_jobs"))[0][0], "nobody has to be told"


async def test_wait_that_is_over_answers_what_is_known_then(house: House) -> None:
    job = await house.send()
    assert (await house.ledger.wait(job, 0)).state is State.PENDING
    delivery = await house.claim()
    await house.report(delivery, 0.5)
    assert (await house.ledger.wait(job, 0.02)).progress == 0.5


async def test_retry_of_the_job_does_not_end_the_wait_for_it(house: House) -> None:
    job = await house.send()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(house.ledger.wait(job))
        await begun(house, job)
        await house.settle(await house.claim(), Nack(0.0), error="no")
        await house.settle(await house.claim(), ACK, result=b"1")
    assert waiting.result().result == "1"


@pytest.mark.usefixtures("no_poll")
@pytest.mark.parametrize("dsn", ["sqlite", "postgres"], indirect=True)
async def test_end_in_another_process_is_heard(dsn: str) -> None:
    async with a_house(dsn) as house, a_house(dsn) as other:
        job = await house.send()
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(house.ledger.wait(job))
            await begun(house, job)
            await ack(other, job)
        assert waiting.result().result == "42"


async def test_poll_finds_what_was_not_heard() -> None:
    clock = ManualClock()
    async with a_house("memory://", clock) as house:
        job = await house.send()
        deaf = Deaf(house.store.database, clock)
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(deaf.wait(job, 60.0))
            await begun(house, job)
            await ack(house, job)
            assert not waiting.done()
            clock.advance(store.POLL)
        assert waiting.result().state is State.COMPLETED


class Deaf(Ledger):
    async def _listen(self) -> None:
        pass


@pytest.mark.slow
async def test_wait_outlives_a_restart_of_the_server(private_postgres: Postgres) -> None:
    async with a_house(private_postgres.dsn, SystemClock()) as house:
        job = await house.send()
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(house.ledger.wait(job))
            await begun(house, job)
            await asyncio.to_thread(private_postgres.restart)
            async with a_house(private_postgres.dsn) as other:
                await ack(other, job)
        assert waiting.result().result == "42"
