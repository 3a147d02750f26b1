"""A loan ends once: by its verdict, by time, or with its worker. An old receipt changes nothing."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from headrace.bus.envelope import Delivery, Outcome, Report
from headrace.bus.retry import ACK, Bury, Nack, Reason, Return, Verdict
from headrace.bus.transport import Counts, Evidence, Lapsed
from headrace.transports.sql.transport import SqlTransport
from tests.support.bus import settled
from tests.support.stores import Bench, soon, take

VERDICTS: list[Verdict] = [ACK, Nack(0), Bury(Reason.FAILED), Return()]
FAILED = Outcome(None, "late", "f", 0.1, "line")
KILLED = Evidence("signal 9 (SIGKILL)", "112 MiB resident")

End = Callable[[Bench, SqlTransport, Delivery], Awaitable[None]]


async def by_time(bench: Bench, transport: SqlTransport, delivery: Delivery) -> None:
    await bench.pass_time(31)


async def by_reaping(bench: Bench, transport: SqlTransport, delivery: Delivery) -> None:
    await bench.pass_time(31)
    await transport.reap()


async def by_reaping_and_lending_again(bench: Bench, transport: SqlTransport, delivery: Delivery) -> None:
    await by_reaping(bench, transport, delivery)
    await bench.one(transport)  # the same worker


async def by_release(bench: Bench, transport: SqlTransport, delivery: Delivery) -> None:
    await bench.transport("supervisor").release_worker("w1", [delivery.receipt], KILLED)


async def by_release_and_lending_to_another(bench: Bench, transport: SqlTransport, delivery: Delivery) -> None:
    await by_release(bench, transport, delivery)
    await bench.one(bench.transport("w2"))


async def by_return_and_lending_again(bench: Bench, transport: SqlTransport, delivery: Delivery) -> None:
    await transport.settle([settled(delivery, Return())])
    await bench.one(transport)


ENDS = [
    by_time,
    by_reaping,
    by_reaping_and_lending_again,
    by_release,
    by_release_and_lending_to_another,
    by_return_and_lending_again,
]


@pytest.mark.parametrize("end", ENDS)
async def test_receipt_of_an_ended_loan_is_refused_everywhere(bench: Bench, end: End) -> None:
    transport = bench.transport("w1")
    await bench.send()
    delivery = await bench.one(transport)
    await end(bench, transport, delivery)
    before = await bench.everything()

    for verdict in VERDICTS:
        assert list(await transport.settle([settled(delivery, verdict, FAILED)])) == [delivery.receipt]
    assert list(await transport.extend([delivery.receipt])) == [delivery.receipt]
    await transport.report([Report(delivery.receipt, delivery.id, 9.0, 0.9, "stale")])

    assert await bench.everything() == before


async def test_every_loan_has_a_new_receipt(bench: Bench) -> None:
    transport = bench.transport()
    await bench.send()
    receipts = set()

    for _ in range(4):
        delivery = await bench.one(transport)
        receipts.add(delivery.receipt)
        await transport.settle([settled(delivery, Return())])

    assert len(receipts) == 4


async def test_receipt_is_never_given_again_after_the_table_was_empty(bench: Bench) -> None:
    transport = bench.transport()
    receipts = []
    for _ in range(3):
        await bench.send()
        delivery = await bench.one(transport)
        receipts.append(delivery.receipt)
        await transport.settle([settled(delivery, ACK)])

    assert len(set(receipts)) == 3


# ── extending ────────────────────────────────────────────────────────────────────────────────


async def test_extended_loan_lives_on(bench: Bench) -> None:
    transport = bench.transport(lease=30)
    await bench.send()
    delivery = await bench.one(transport)

    for _ in range(3):
        await bench.pass_time(20)
        assert not await transport.extend([delivery.receipt])
        assert await transport.reap() == []

    await bench.pass_time(20)
    assert not await transport.settle([settled(delivery, ACK)])


@pytest.mark.parametrize(("passed", "alive"), [(28, True), (30, False), (31, False)])
async def test_loan_ends_with_its_lease(bench: Bench, passed: float, alive: bool) -> None:
    transport = bench.transport(lease=30)
    await bench.send()
    delivery = await bench.one(transport)

    await bench.pass_time(passed)

    assert (not await transport.extend([delivery.receipt])) is alive


async def test_extending_tells_which_are_lost(bench: Bench) -> None:
    transport = bench.transport()
    await bench.transport().send([bench.envelope() for _ in range(3)])
    first, second, third = await take(transport)
    await transport.settle([settled(second, ACK)])

    refused = await transport.extend([first.receipt, second.receipt, third.receipt])

    assert list(refused) == [second.receipt]


# ── reaping ──────────────────────────────────────────────────────────────────────────────────


async def test_lapsed_loan_is_given_back_and_charged_as_a_crash(bench: Bench) -> None:
    transport = bench.transport("w1")
    sent = await bench.send()
    await bench.one(transport)
    await bench.pass_time(31)

    assert await transport.reap() == [Lapsed(sent, "shop.greet", "default", "w1", 1, charged=True)]
    assert await transport.reap() == []

    assert await bench.job(sent, "state", "retries", "crashes") == ("retrying", 0, 1)
    again = await bench.one(transport)
    assert (again.id, again.retries, again.crashes, again.attempt) == (sent, 0, 1, 2)
    [attempt] = await bench.ledger.attempts(sent)
    assert (attempt.attempt, attempt.outcome, attempt.worker) == (1, "crashed", "w1")
    assert "lease lapsed" in (attempt.error or "")


async def test_living_loan_is_not_reaped(bench: Bench) -> None:
    transport = bench.transport()
    await bench.send()
    await bench.one(transport)
    await bench.pass_time(28)

    assert await transport.reap() == []


async def test_lapsed_loan_is_reaped_once_by_many(live: Bench) -> None:
    await live.transport().send([live.envelope() for _ in range(40)])
    await take(live.transport("w1", lease=0.0))  # lapsed at once
    reapers = [live.transport(f"r{number}") for number in range(5)]

    async with asyncio.TaskGroup() as tasks:
        reaping = [tasks.create_task(transport.reap()) for transport in reapers]

    ids = [lapsed.id for reaper in reaping for lapsed in reaper.result()]
    assert len(ids) == len(set(ids)) == 40
    assert await live.value("SELECT max(crashes) FROM headrace_messages") == 1


async def test_untracked_loan_is_reaped_without_a_trace_in_the_ledger(bench: Bench) -> None:
    transport = bench.transport()
    await bench.send(tracked=False)
    await bench.one(transport)
    await bench.pass_time(31)

    assert len(await transport.reap()) == 1
    assert await bench.size("headrace_attempts") == 0
    assert (await bench.one(transport)).crashes == 1


async def test_reaping_wakes_a_sleeping_receiver(bench: Bench) -> None:
    sent = await bench.send()
    await bench.one(bench.transport("w1", lease=3))
    receiver = asyncio.get_running_loop().create_task(bench.transport("w2").receive(["default"], 10, 600.0))
    await bench.asleep()
    if bench.store.database.dialect.name == "postgres":
        await bench.run("UPDATE headrace_messages SET lease_until = lease_until - interval '1 hour'")
    else:
        await bench.run("UPDATE headrace_messages SET lease_until = lease_until - 3600")

    assert len(await bench.transport("w3").reap()) == 1

    assert [delivery.id for delivery in await soon(receiver)] == [sent]


# ── the death of a worker ────────────────────────────────────────────────────────────────────


async def test_dead_worker_is_charged_only_with_what_had_started(bench: Bench) -> None:
    await bench.transport().send([bench.envelope() for _ in range(3)])
    await bench.send(tracked=False)
    started, prefetched, also_started, untracked = await take(bench.transport("w1"))
    supervisor = bench.transport("supervisor")

    lapsed = await supervisor.release_worker("w1", [started.receipt, also_started.receipt, untracked.receipt], KILLED)

    charged = {one.id: (one.charged, one.crashes, one.worker) for one in lapsed}
    assert charged == {
        started.id: (True, 1, "w1"),
        also_started.id: (True, 1, "w1"),
        untracked.id: (True, 1, "w1"),
        prefetched.id: (False, 0, "w1"),
    }
    assert await bench.job(started.id, "state", "crashes") == ("retrying", 1)
    assert await bench.job(prefetched.id, "state", "crashes", "error") == ("pending", 0, None)
    error = (await bench.job(started.id, "error"))[0]
    assert "signal 9 (SIGKILL)" in error
    assert "112 MiB resident" in error
    assert await bench.size("headrace_attempts") == 2
    assert {d.id: d.attempt for d in await take(bench.transport("w2"))} == {
        started.id: 2,
        also_started.id: 2,
        untracked.id: 2,
        prefetched.id: 1,
    }


async def test_death_of_a_worker_leaves_the_others_alone(bench: Bench) -> None:
    await bench.transport().send([bench.envelope() for _ in range(2)])
    [mine] = await take(bench.transport("w1"), limit=1)
    other = bench.transport("w2")
    [theirs] = await take(other, limit=1)

    lapsed = await bench.transport().release_worker("w1", [mine.receipt, theirs.receipt], KILLED)

    assert [one.id for one in lapsed] == [mine.id]
    assert not await other.settle([settled(theirs, ACK)])


async def test_loan_that_the_dead_worker_had_given_back_is_not_charged(bench: Bench) -> None:
    await bench.send()
    worker = bench.transport("w1")
    first = await bench.one(worker)
    await worker.settle([settled(first, Return())])
    await bench.one(worker)

    [lapsed] = await bench.transport().release_worker(
        "w1", [first.receipt], KILLED
    )  # what had started was the first loan

    assert (lapsed.charged, lapsed.crashes) == (False, 0)


async def test_death_of_an_unknown_worker_is_nothing(bench: Bench) -> None:
    await bench.send()
    await bench.one()

    assert await bench.transport().release_worker("nobody", [], KILLED) == []


# ── news ─────────────────────────────────────────────────────────────────────────────────────


async def test_report_says_that_a_job_runs_and_how_far_it_is(bench: Bench) -> None:
    transport = bench.transport("w5")
    await bench.transport().send([bench.envelope() for _ in range(2)])
    first, second = await take(transport)

    await transport.report(
        [Report(first.receipt, first.id, 0.2), Report(second.receipt, second.id, 0.2, 0.25, "a quarter")]
    )

    assert await bench.job(first.id, "state", "worker", "progress", "note") == ("processing", "w5", None, None)
    assert await bench.job(second.id, "state", "progress", "note") == ("processing", 0.25, "a quarter")


async def test_report_without_news_keeps_the_old_ones(bench: Bench) -> None:
    transport = bench.transport()
    await bench.send()
    delivery = await bench.one(transport)
    await transport.report([Report(delivery.receipt, delivery.id, 0.2, 0.25, "a quarter")])

    await transport.report([Report(delivery.receipt, delivery.id, 0.4)])
    assert await bench.job(delivery.id, "progress", "note") == (0.25, "a quarter")
    await transport.report([Report(delivery.receipt, delivery.id, 0.4, 0.5)])
    assert await bench.job(delivery.id, "progress", "note") == (0.5, "a quarter")


async def test_report_after_the_end_is_ignored(bench: Bench) -> None:
    transport = bench.transport()
    await bench.send()
    delivery = await bench.one(transport)
    await transport.settle([settled(delivery, ACK)])

    await transport.report([Report(delivery.receipt, delivery.id, 0.4, 0.5)])
    await transport.report([])

    assert await bench.job(delivery.id, "state", "progress") == ("completed", None)


# ── counting ─────────────────────────────────────────────────────────────────────────────────


async def test_queues_are_counted(bench: Bench) -> None:
    transport = bench.transport()
    for queue, delay in (("a", 0), ("a", 0), ("a", 60), ("b", 60), ("c", 0)):
        await bench.send(queue=queue, delay=delay)
    await bench.pass_time(5)
    [first, _] = await take(transport, queues=["a"])
    await take(transport, queues=["c"])
    await transport.settle([settled(first, Bury(Reason.FAILED))])
    await bench.send(queue="a")

    counts = await transport.counts()

    assert {queue: (c.ready, c.leased, c.delayed, c.dead) for queue, c in counts.items()} == {
        "a": (1, 1, 1, 1),
        "b": (0, 0, 1, 0),
        "c": (0, 1, 0, 0),
    }


async def test_age_is_that_of_the_longest_waiting_ready_message(bench: Bench) -> None:
    transport = bench.transport()
    await bench.send(delay=2)
    await bench.send(delay=600)
    await bench.pass_time(10)
    await bench.send()

    assert (await transport.counts())["default"].oldest == pytest.approx(8, abs=0.9)


async def test_empty_store_counts_nothing(bench: Bench) -> None:
    counts = await bench.transport().counts()

    assert counts.get("default", Counts()) == Counts()
