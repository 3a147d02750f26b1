"""Accepted means durable; an id and a unique key are stored once."""

import asyncio

import pytest

from headrace import failpoints
from headrace.bus.envelope import Duplicate, Sent
from headrace.bus.retry import ACK, Bury, Nack, Reason, Return, Verdict
from headrace.errors import TransportError
from tests.support.bus import settled
from tests.support.stores import Bench, soon, take

BODIES = {
    "empty object": b"{}",
    "text": '"Grüße, 日本 🦊"'.encode(),
    "escapes": b'{"a":"\\u0000\\ud83e\\udd8a\\n\\"\\\\"}',
    "not json": b'O:8:"stdClass":0:{}',
    "empty": b"",
    "spaces": b'  {"a" : 1}\n',
    "a mebibyte": b'"' + b"x" * ((1 << 20) - 2) + b'"',
}


async def test_message_arrives_as_it_was_sent(bench: Bench) -> None:
    headers = {"tenant": "blau", "trace": "日本"}
    sent = await bench.send(type="t", queue="mail", headers=headers, priority=7, tracked=False, body=b'"x"')

    [delivery] = await take(bench.transport(), queues=["mail"])

    assert (delivery.id, delivery.type, delivery.queue, delivery.body) == (sent, "t", "mail", b'"x"')
    assert (delivery.priority, delivery.tracked, delivery.attempt, delivery.expired) == (7, False, 1, False)
    assert delivery.headers == '{"tenant":"blau","trace":"日本"}'
    assert (delivery.retries, delivery.crashes, delivery.parked) == (0, 0, 0.0)


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_body_is_carried_byte_by_byte(bench: Bench, body: bytes) -> None:
    await bench.send(body=body)

    assert (await bench.one()).body == body


async def test_order_of_sending_is_the_order_of_answers(bench: Bench) -> None:
    known = bench.envelope()
    await bench.answer(known)
    new = [bench.envelope() for _ in range(3)]

    answers = await bench.transport().send([new[0], known, new[1], new[2]])

    assert answers == [Sent(new[0].id), Duplicate(known.id), Sent(new[1].id), Sent(new[2].id)]
    assert await bench.size("headrace_messages") == 4


async def test_sending_nothing_is_nothing(bench: Bench) -> None:
    assert await bench.transport().send([]) == ()


async def test_thousands_are_sent_at_once(bench: Bench) -> None:
    envelopes = [bench.envelope(tracked=number % 2 == 0) for number in range(6_000)]

    answers = await soon(bench.transport().send(envelopes))

    assert answers == [Sent(envelope.id) for envelope in envelopes]
    assert await bench.size("headrace_messages") == 6_000
    assert await bench.size("headrace_jobs") == 3_000


@pytest.mark.parametrize("place", ["send.before", "send.mid", "send.before_commit"])
async def test_failed_send_stores_nothing(bench: Bench, place: str) -> None:
    transport = bench.transport()
    failpoints.arm(f"{place}=raise")

    if place == "send.mid" and bench.store.database.dialect.name == "postgres":
        return  # one statement has no middle
    with pytest.raises(TransportError):
        await soon(transport.send([bench.envelope(), bench.envelope()]))
    failpoints.arm("")

    assert await bench.size("headrace_messages") == await bench.size("headrace_jobs") == 0
    assert len(await soon(transport.send([bench.envelope()]))) == 1


async def test_send_whose_answer_was_lost_may_be_repeated(bench: Bench) -> None:
    transport, envelope = bench.transport(), bench.envelope()
    failpoints.arm("send.after_commit=raise")
    with pytest.raises(TransportError):
        await soon(transport.send([envelope]))
    failpoints.arm("")

    assert await soon(transport.send([envelope])) == [Duplicate(envelope.id)]
    assert await bench.size("headrace_messages") == 1


# ── ids ──────────────────────────────────────────────────────────────────────────────────────


async def test_id_is_stored_once_while_it_waits_and_while_it_runs(bench: Bench) -> None:
    envelope = bench.envelope()
    await bench.answer(envelope)

    assert await bench.answer(envelope) == Duplicate(envelope.id)
    await bench.one()
    assert await bench.answer(envelope) == Duplicate(envelope.id)
    assert await bench.size("headrace_messages") == 1


@pytest.mark.parametrize("verdict", [ACK, Bury(Reason.FAILED)])
@pytest.mark.parametrize("key", [None, "k"])
async def test_id_with_a_record_is_stored_once_even_when_it_is_done(
    bench: Bench, verdict: Verdict, key: str | None
) -> None:
    envelope = bench.envelope(unique=key)
    await bench.answer(envelope)
    transport = bench.transport()
    await transport.settle([settled(await bench.one(transport), verdict)])

    assert await bench.answer(envelope) == Duplicate(envelope.id)
    assert await bench.size("headrace_messages") == 0


async def test_id_twice_in_one_call_is_stored_once(bench: Bench) -> None:
    envelope, other = bench.envelope(), bench.envelope(tracked=False)

    answers = await bench.transport().send([envelope, other, envelope, other])

    assert answers == [Sent(envelope.id), Sent(other.id), Duplicate(envelope.id), Duplicate(other.id)]
    assert await bench.size("headrace_messages") == 2
    assert await bench.size("headrace_jobs") == 1


async def test_id_sent_from_many_sides_at_once_is_stored_once(live: Bench) -> None:
    envelope = live.envelope()
    transports = [live.transport(f"s{number}") for number in range(6)]

    async with asyncio.TaskGroup() as tasks:
        sends = [tasks.create_task(transport.send([envelope])) for transport in transports]

    answers = [send.result()[0] for send in sends]
    assert sorted(answers, key=repr) == [*[Duplicate(envelope.id)] * 5, Sent(envelope.id)]
    assert await live.size("headrace_messages") == await live.size("headrace_jobs") == 1


# ── unique keys ──────────────────────────────────────────────────────────────────────────────


async def test_key_is_held_while_the_message_waits_and_runs(bench: Bench) -> None:
    holder = await bench.send(unique="k")

    assert await bench.answer(bench.envelope(unique="k")) == Duplicate(holder)
    await bench.one()
    assert await bench.answer(bench.envelope(unique="k")) == Duplicate(holder)
    assert isinstance(await bench.answer(bench.envelope(unique="other")), Sent)
    assert isinstance(await bench.answer(bench.envelope()), Sent)


@pytest.mark.parametrize("verdict", [Nack(0), Nack(60), Return(), Return(60)], ids=repr)
async def test_key_is_held_between_attempts(bench: Bench, verdict: Verdict) -> None:
    holder = await bench.send(unique="k")
    transport = bench.transport()
    await transport.settle([settled(await bench.one(transport), verdict)])

    assert await bench.answer(bench.envelope(unique="k")) == Duplicate(holder)


@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize("verdict", [ACK, Bury(Reason.FAILED)])
async def test_key_is_free_when_the_message_is_done(bench: Bench, verdict: Verdict, tracked: bool) -> None:
    await bench.send(unique="k", tracked=tracked)
    transport = bench.transport()
    await transport.settle([settled(await bench.one(transport), verdict)])

    assert isinstance(await bench.answer(bench.envelope(unique="k")), Sent)


async def test_key_is_free_when_the_message_is_cancelled(bench: Bench) -> None:
    holder = await bench.send(unique="k")
    await bench.ledger.cancel(holder)

    assert isinstance(await bench.answer(bench.envelope(unique="k")), Sent)


async def test_key_twice_in_one_call_is_held_by_the_first(bench: Bench) -> None:
    first, second, third = bench.envelope(unique="k"), bench.envelope(unique="k"), bench.envelope(unique="l")

    answers = await bench.transport().send([first, second, third])

    assert answers == [Sent(first.id), Duplicate(first.id), Sent(third.id)]


async def test_key_sent_from_many_sides_at_once_has_one_holder(live: Bench) -> None:
    transports = [live.transport(f"s{number}") for number in range(6)]
    envelopes = [live.envelope(unique="k") for _ in transports]

    async with asyncio.TaskGroup() as tasks:
        sends = [
            tasks.create_task(transport.send([envelope]))
            for transport, envelope in zip(transports, envelopes, strict=True)
        ]

    answers = [send.result()[0] for send in sends]
    [holder] = [answer.id for answer in answers if isinstance(answer, Sent)]
    assert [answer for answer in answers if isinstance(answer, Duplicate)] == [Duplicate(holder)] * 5


# ── group commit ─────────────────────────────────────────────────────────────────────────────


async def test_concurrent_senders_each_get_their_own_answer(live: Bench) -> None:
    transport = live.transport()
    holder = await live.send(unique="k")
    groups = [[live.envelope(), live.envelope(unique="k" if number == 50 else None)] for number in range(100)]

    async with asyncio.TaskGroup() as tasks:
        sends = [tasks.create_task(transport.send(group)) for group in groups]

    for number, (send, group) in enumerate(zip(sends, groups, strict=True)):
        second = Duplicate(holder) if number == 50 else Sent(group[1].id)
        assert send.result() == [Sent(group[0].id), second]
    assert await live.size("headrace_messages") == 200
