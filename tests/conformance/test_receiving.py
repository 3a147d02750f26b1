"""What is lent, when, in which order, and to whom."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest

from headrace.bus.envelope import Delivery
from headrace.bus.retry import ACK, Nack, Return, Verdict
from headrace.transports.sql.transport import SqlTransport
from tests.support.bus import settled
from tests.support.stores import Bench, soon, take

FAR = 253_402_300_799.0  # 9999-12-31T23:59:59Z


# ── order ────────────────────────────────────────────────────────────────────────────────────


async def test_higher_priority_first_then_the_older_one(bench: Bench) -> None:
    names = {}
    for name, priority in (("a4", 4), ("b0", 0), ("c9", 9), ("d4", 4), ("e9", 9), ("f5", 5)):
        names[await bench.send(priority=priority)] = name
        await bench.pass_time(0.01)

    taken = await take(bench.transport())

    assert [names[delivery.id] for delivery in taken] == ["c9", "e9", "f5", "a4", "d4", "b0"]


async def test_messages_of_one_send_keep_their_order(bench: Bench) -> None:
    envelopes = [bench.envelope() for _ in range(50)]
    await bench.transport().send(envelopes)
    transport = bench.transport()

    taken = [*await take(transport, limit=20), *await take(transport, limit=100)]

    assert [delivery.id for delivery in taken] == [envelope.id for envelope in envelopes]


async def test_what_was_due_first_comes_first_whenever_it_was_sent(bench: Bench) -> None:
    late = await bench.send(delay=5)
    early = await bench.send(delay=3)
    await bench.pass_time(10)
    now = await bench.send()

    assert [delivery.id for delivery in await take(bench.transport())] == [early, late, now]


async def test_queues_are_emptied_in_the_order_given_whatever_the_priorities(bench: Bench) -> None:
    low = await bench.send(queue="a", priority=0)
    high = await bench.send(queue="b", priority=9)
    await bench.send(queue="c")
    transport = bench.transport()

    assert [delivery.id for delivery in await take(transport, queues=["a", "b"])] == [low, high]
    assert [delivery.queue for delivery in await take(transport, queues=["b", "a", "c"])] == ["c"]


async def test_earlier_queue_fills_the_batch(bench: Bench) -> None:
    for queue in ("a", "b", "a", "b", "a"):
        await bench.send(queue=queue)
    transport = bench.transport()

    batches = [await take(transport, limit=2, queues=["b", "a"]) for _ in range(4)]

    assert ["".join(delivery.queue for delivery in batch) for batch in batches] == ["bb", "aa", "a", ""]


@pytest.mark.parametrize(
    ("limit", "batches"), [(1, [1, 1, 1, 0]), (2, [2, 1, 0, 0]), (3, [3, 0, 0, 0]), (4, [3, 0, 0, 0])]
)
async def test_batch_has_at_most_the_limit(bench: Bench, limit: int, batches: list[int]) -> None:
    for _ in range(3):
        await bench.send()
    transport = bench.transport()

    assert [len(await take(transport, limit)) for _ in batches] == batches


async def test_message_is_lent_to_one_transport_at_a_time(bench: Bench) -> None:
    await bench.send()

    assert len(await take(bench.transport("w1"))) == 1
    assert len(await take(bench.transport("w2"))) == 0


# ── time ─────────────────────────────────────────────────────────────────────────────────────


async def test_delayed_message_is_never_early(bench: Bench) -> None:
    await bench.send(delay=10)
    transport = bench.transport()

    assert await take(transport) == []
    await bench.pass_time(9)
    assert await take(transport) == []
    await bench.pass_time(1)
    assert len(await take(transport)) == 1


async def test_moment_overrides_delay(bench: Bench) -> None:
    past = await bench.send(at=0.0, delay=3600)

    assert (await bench.one()).id == past


async def test_message_of_1970_is_due_and_first(bench: Bench) -> None:
    await bench.send()
    old = await bench.send(at=0.0)
    older = await bench.send(at=-86_400.0)

    taken = await take(bench.transport())

    assert [delivery.id for delivery in taken][:2] == [older, old]


async def test_message_of_9999_is_not_due(bench: Bench) -> None:
    await bench.send(at=FAR)

    assert await take(bench.transport()) == []
    assert (await bench.transport().counts())["default"].delayed == 1


async def test_message_of_1970_is_due_after_newer_ones_were_taken(bench: Bench) -> None:
    transport = bench.transport()
    await bench.send()
    await take(transport)
    await bench.send(at=0.0)
    await bench.pass_time(1)  # low-water marks are forgotten every second

    assert len(await take(transport)) == 1


async def test_waiting_time_is_told(bench: Bench) -> None:
    await bench.send()
    await bench.send(delay=3)
    await bench.pass_time(5)

    taken = await take(bench.transport())

    assert [delivery.waited for delivery in taken] == [pytest.approx(5, abs=0.9), pytest.approx(2, abs=0.9)]


@pytest.mark.parametrize(("passed", "expired"), [(0, False), (9, False), (10, True), (11, True)])
async def test_expired_message_is_delivered_and_says_so(bench: Bench, passed: float, expired: bool) -> None:
    now = await bench.value(f"SELECT {bench.store.database.dialect.epoch.format(bench.store.database.dialect.now)}")
    await bench.send(expires=float(now) + 10)

    await bench.pass_time(passed)

    assert (await bench.one()).expired is expired


# ── waiting ──────────────────────────────────────────────────────────────────────────────────


def receiving(transport: SqlTransport, wait: float = 60.0, *queues: str) -> "asyncio.Task[Sequence[Delivery]]":
    return asyncio.get_running_loop().create_task(_receive(transport, queues or ("default",), wait))


async def _receive(transport: SqlTransport, queues: Sequence[str], wait: float) -> Sequence[Delivery]:
    return await transport.receive(queues, 10, wait)


async def one_of(receiver: "asyncio.Task[Sequence[Delivery]]") -> Delivery:
    [delivery] = await soon(receiver)
    return delivery


async def test_receive_without_patience_returns_at_once(bench: Bench) -> None:
    assert await soon(bench.transport().receive(["default"], 10, 0.0)) == []


async def test_receive_gives_up_when_its_time_is_over(bench: Bench) -> None:
    receiver = receiving(bench.transport(), 10.0)
    await bench.asleep()

    await bench.pass_time(10)

    assert await soon(receiver) == []


async def test_sleeping_receiver_is_woken_by_a_send_from_elsewhere(bench: Bench) -> None:
    receiver = receiving(bench.transport())
    await bench.asleep()

    sent = await bench.send()  # the clock stands still: nothing but the news of it can wake the receiver

    assert (await one_of(receiver)).id == sent


async def test_receiver_is_woken_by_each_of_its_queues(bench: Bench) -> None:
    transport = bench.transport()
    for queue in ("a", "b"):
        receiver = receiving(transport, 60.0, "a", "b")
        await bench.asleep()
        await bench.send(queue=queue)
        assert (await one_of(receiver)).queue == queue


async def test_sleeping_receiver_is_woken_when_a_delayed_message_is_due(bench: Bench) -> None:
    sent = await bench.send(delay=3)
    receiver = receiving(bench.transport())
    await bench.asleep()

    await bench.pass_time(3)

    assert (await one_of(receiver)).id == sent


@pytest.mark.parametrize("verdict", [Nack(0.0), Return()], ids=repr)
async def test_sleeping_receiver_is_woken_by_what_is_given_back(bench: Bench, verdict: Verdict) -> None:
    sent = await bench.send()
    transport = bench.transport()
    delivery = await bench.one(transport)
    receiver = receiving(transport)
    await bench.asleep()

    await transport.settle([settled(delivery, verdict)])

    assert (await one_of(receiver)).id == sent


async def test_sleeping_receiver_learns_of_what_is_given_back_for_later(bench: Bench) -> None:
    sent = await bench.send()
    transport = bench.transport()
    delivery = await bench.one(transport)
    receiver = receiving(transport)
    await bench.asleep()

    await transport.settle([settled(delivery, Nack(2))])
    await bench.asleep()
    await bench.pass_time(2)

    assert (await one_of(receiver)).id == sent


async def test_sleeping_receiver_is_woken_by_what_another_worker_returns(bench: Bench) -> None:
    sent = await bench.send()
    other = bench.transport("other")
    delivery = await bench.one(other)
    receiver = receiving(bench.transport())
    await bench.asleep()

    await other.settle([settled(delivery, Return())])

    assert (await one_of(receiver)).id == sent


async def test_interrupted_receiver_returns_and_does_not_sleep_again(bench: Bench) -> None:
    transport = bench.transport()
    receiver = receiving(transport)
    await bench.asleep()

    transport.interrupt()

    assert await soon(receiver) == []
    assert await soon(transport.receive(["default"], 10, 60.0)) == []
    await bench.send()
    assert len(await soon(transport.receive(["default"], 10, 60.0))) == 1


# ── many hands ───────────────────────────────────────────────────────────────────────────────


async def test_concurrent_receivers_never_share_a_message(live: Bench) -> None:
    envelopes = [live.envelope(priority=number % 3, tracked=number % 5 == 0) for number in range(2_000)]
    await live.transport().send(envelopes)
    taken: Counter[str] = Counter()

    async def work(transport: SqlTransport, limit: int) -> None:
        while batch := await soon(transport.receive(["default"], limit, 0.0)):
            taken.update(delivery.id for delivery in batch)
            assert await soon(transport.settle([settled(delivery, ACK) for delivery in batch])) in ((), [])

    async with asyncio.TaskGroup() as tasks:
        for number in range(8):
            tasks.create_task(work(live.transport(f"w{number}"), 7 + number))

    assert taken == {envelope.id: 1 for envelope in envelopes}
    assert await live.size("headrace_messages") == 0
    assert await live.value("SELECT count(*) FROM headrace_jobs WHERE state = 'completed'") == 400
