"""Each verdict's effect on message, dead letters and ledger; all of a batch, or nothing."""

import pytest

from headrace import failpoints
from headrace.bus.envelope import Delivery, Outcome, Report, Settlement
from headrace.bus.retry import ACK, Bury, Nack, Reason, Return, Verdict
from headrace.errors import TransportError
from headrace.transports.sql.transport import SqlTransport
from tests.support.bus import settled
from tests.support.stores import Bench, take

DONE = Outcome(b'{"sum":7}', "", "", 0.5, "")
FAILED = Outcome(None, "ValueError: x", "f00d", 0.25, "a line")


async def lent(bench: Bench, transport: SqlTransport, **changes: object) -> Delivery:
    await bench.send(**changes)
    return await bench.one(transport)


# ── ack ──────────────────────────────────────────────────────────────────────────────────────


async def test_ack_completes_the_job_and_removes_the_message(bench: Bench) -> None:
    transport = bench.transport("w7")
    delivery = await lent(bench, transport)

    assert not await transport.settle([settled(delivery, ACK, DONE)])

    assert await bench.size("headrace_messages") == 0
    assert await bench.job(delivery.id, "state", "result", "error", "retries", "crashes", "worker") == (
        "completed",
        '{"sum":7}',
        None,
        0,
        0,
        "w7",
    )
    ran, progress = await bench.job(delivery.id, "ran", "progress")
    assert (ran, progress) == (0.5, None)
    assert await bench.size("headrace_attempts") == 0


async def test_ack_without_a_result_and_with_a_note(bench: Bench) -> None:
    transport = bench.transport()
    delivery = await lent(bench, transport)

    await transport.settle([settled(delivery, ACK, Outcome(None, "the result is too large"))])

    assert await bench.job(delivery.id, "state", "result", "error") == ("completed", None, "the result is too large")


async def test_ack_of_what_logged_keeps_the_attempt(bench: Bench) -> None:
    transport = bench.transport()
    delivery = await lent(bench, transport)

    await transport.settle([settled(delivery, ACK, Outcome(ran=1.0, log="one\ntwo"))])

    [attempt] = await bench.ledger.attempts(delivery.id)
    assert (attempt.attempt, attempt.outcome, attempt.error, attempt.log) == (1, "completed", None, "one\ntwo")


async def test_ack_of_what_made_progress_is_at_its_end(bench: Bench) -> None:
    transport = bench.transport()
    delivery = await lent(bench, transport)
    await transport.report([Report(delivery.receipt, delivery.id, 0.3, 0.4, "half")])

    await transport.settle([settled(delivery, ACK, DONE)])

    assert await bench.job(delivery.id, "progress", "note") == (1.0, "half")


@pytest.mark.parametrize("verdict", [ACK, Nack(0), Bury(Reason.FAILED), Return()], ids=repr)
async def test_untracked_message_leaves_no_trace_in_the_ledger(bench: Bench, verdict: Verdict) -> None:
    transport = bench.transport()
    delivery = await lent(bench, transport, tracked=False)

    assert not await transport.settle([settled(delivery, verdict, FAILED)])

    assert await bench.size("headrace_jobs") == await bench.size("headrace_attempts") == 0
    assert await bench.size("headrace_dead") == isinstance(verdict, Bury)
    assert await bench.size("headrace_messages") == isinstance(verdict, Nack | Return)


async def test_result_with_escapes_is_kept_as_it_is(bench: Bench) -> None:
    transport = bench.transport()
    delivery = await lent(bench, transport)
    result = b'"\\u0000 \xf0\x9f\xa6\x8a \\""'

    await transport.settle([settled(delivery, ACK, Outcome(result))])

    assert (await bench.job(delivery.id, "result"))[0].encode() == result


# ── nack ─────────────────────────────────────────────────────────────────────────────────────


async def test_nack_gives_back_later_and_counts_a_retry(bench: Bench) -> None:
    transport = bench.transport()
    delivery = await lent(bench, transport)

    await transport.settle([settled(delivery, Nack(10), FAILED)])

    assert await bench.job(delivery.id, "state", "error", "retries", "crashes", "ran", "finished_at") == (
        "retrying",
        "ValueError: x",
        1,
        0,
        0.25,
        None,
    )
    [attempt] = await bench.ledger.attempts(delivery.id)
    assert (attempt.attempt, attempt.outcome, attempt.error, attempt.log) == (1, "failed", "ValueError: x", "a line")
    await bench.pass_time(9)
    assert await take(transport) == []
    await bench.pass_time(1)
    again = await bench.one(transport)
    assert (again.id, again.retries, again.crashes, again.attempt) == (delivery.id, 1, 0, 2)
    assert again.receipt != delivery.receipt


async def test_each_attempt_has_its_own_row(bench: Bench) -> None:
    transport = bench.transport()
    sent = await bench.send()
    for number in range(3):
        delivery = await bench.one(transport)
        await transport.settle([settled(delivery, Nack(0), Outcome(None, f"error {number}", "f", 0.1))])
        await bench.pass_time(1)

    attempts = await bench.ledger.attempts(sent)

    assert [(attempt.attempt, attempt.error) for attempt in attempts] == [
        (1, "error 0"),
        (2, "error 1"),
        (3, "error 2"),
    ]


# ── bury ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("reason", "state"),
    [(Reason.FAILED, "failed"), (Reason.REJECTED, "failed"), (Reason.UNDECODABLE, "failed"), (Reason.UNKNOWN, "failed"),
     (Reason.QUARANTINED, "quarantined"), (Reason.EXPIRED, "expired")],
)  # fmt: skip
@pytest.mark.parametrize("tracked", [True, False])
async def test_bury_moves_the_message_to_the_dead_letters(
    bench: Bench, reason: Reason, state: str, tracked: bool
) -> None:
    transport = bench.transport()
    body = b'{"raw":"\\u0000"}'
    delivery = await lent(bench, transport, body=body, headers={"a": "b"}, queue="default", priority=7, tracked=tracked)

    await transport.settle([settled(delivery, Bury(reason, "detail"), FAILED)])

    assert await bench.size("headrace_messages") == 0
    [letter] = await bench.run(
        """SELECT CAST(id AS text), type, queue, priority, body, headers, reason, error, fingerprint, retries, crashes
             FROM headrace_dead"""
    )
    assert tuple(letter) == (
        delivery.id, "shop.greet", "default", 7, body.decode(), '{"a":"b"}', reason, "ValueError: x", "f00d", 0, 0,
    )  # fmt: skip
    if tracked:
        assert await bench.job(delivery.id, "state", "error", "result") == (state, "ValueError: x", None)
        assert (await bench.job(delivery.id, "finished_at"))[0] is not None


async def test_bury_without_an_error_tells_its_reason(bench: Bench) -> None:
    transport = bench.transport()
    delivery = await lent(bench, transport)

    await transport.settle([settled(delivery, Bury(Reason.EXPIRED, "too late"))])

    assert await bench.value("SELECT error FROM headrace_dead") == "too late"
    assert (await bench.job(delivery.id, "error"))[0] == "too late"


async def test_counters_go_along_to_the_dead_letter(bench: Bench) -> None:
    transport = bench.transport()
    delivery = await lent(bench, transport)
    await transport.settle([settled(delivery, Nack(0), FAILED)])
    await bench.pass_time(1)
    await bench.one(transport)
    await bench.pass_time(31)
    await transport.reap()
    last = await bench.one(transport)

    await transport.settle([settled(last, Bury(Reason.FAILED, ""), FAILED)])

    assert tuple(*await bench.run("SELECT retries, crashes FROM headrace_dead")) == (1, 1)
    assert await bench.job(delivery.id, "retries", "crashes") == (1, 1)
    assert [a.attempt for a in await bench.ledger.attempts(delivery.id)] == [1, 2, 3]


async def test_error_of_any_content_and_size_is_stored(bench: Bench) -> None:
    transport = bench.transport()
    delivery = await lent(bench, transport)
    error = "\x00\ud800" + "x" * 10_000_000

    await transport.settle([settled(delivery, Bury(Reason.FAILED), Outcome(None, error, "f"))])

    kept = await bench.value("SELECT error FROM headrace_dead")
    assert 60_000 < len(kept) < 70_000
    assert kept.startswith("\N{REPLACEMENT CHARACTER}?xxx")


# ── return ───────────────────────────────────────────────────────────────────────────────────


async def test_return_charges_nothing_and_keeps_the_place_in_the_line(bench: Bench) -> None:
    transport = bench.transport()
    first = await lent(bench, transport)
    await bench.pass_time(1)
    second = await bench.send()

    await transport.settle([settled(first, Return(), FAILED)])

    assert await bench.job(first.id, "state", "retries", "error") == ("pending", 0, None)
    again, other = await take(transport)
    assert (again.id, again.attempt, other.id) == (first.id, 1, second)
    assert await bench.size("headrace_attempts") == 0


async def test_return_for_later_is_never_early(bench: Bench) -> None:
    transport = bench.transport()
    delivery = await lent(bench, transport)

    await transport.settle([settled(delivery, Return(10))])

    await bench.pass_time(9)
    assert await take(transport) == []
    await bench.pass_time(1)
    assert (await bench.one(transport)).attempt == 1


async def test_return_of_what_was_processing_is_pending_again(bench: Bench) -> None:
    transport = bench.transport()
    delivery = await lent(bench, transport)
    await transport.report([Report(delivery.receipt, delivery.id, 0.3)])
    assert await bench.state(delivery.id) == "processing"

    await transport.settle([settled(delivery, Return())])

    assert await bench.state(delivery.id) == "pending"


async def test_return_of_what_was_retried_is_retrying_again(bench: Bench) -> None:
    transport = bench.transport()
    delivery = await lent(bench, transport)
    await transport.settle([settled(delivery, Nack(0), FAILED)])
    await bench.pass_time(1)
    delivery = await bench.one(transport)
    await transport.report([Report(delivery.receipt, delivery.id, 0.3)])

    await transport.settle([settled(delivery, Return())])

    assert await bench.state(delivery.id) == "retrying"


async def test_parked_time_counts_from_the_first_parking(bench: Bench) -> None:
    transport = bench.transport()
    delivery = await lent(bench, transport)
    assert delivery.parked == 0.0

    parked = []
    for _ in range(3):
        await transport.settle([settled(delivery, Return(1, park=True))])
        await bench.pass_time(5)
        delivery = await bench.one(transport)
        parked.append(delivery.parked)

    assert parked == [pytest.approx(5, abs=0.9), pytest.approx(10, abs=0.9), pytest.approx(15, abs=0.9)]
    assert delivery.attempt == 1


async def test_plain_return_does_not_park(bench: Bench) -> None:
    transport = bench.transport()
    delivery = await lent(bench, transport)
    await transport.settle([settled(delivery, Return())])
    await bench.pass_time(5)

    assert (await bench.one(transport)).parked == 0.0


# ── a batch ──────────────────────────────────────────────────────────────────────────────────


def every_verdict(deliveries: list[Delivery]) -> list[Settlement]:
    """Acks tracked and not, retries, burials, returns, some with logs."""
    verdicts: list[Verdict] = [ACK, ACK, Nack(0), Nack(60), Bury(Reason.FAILED), Return(), Return(9, park=True), ACK]
    outcomes = [DONE, DONE, FAILED, FAILED, FAILED, Outcome(), FAILED, Outcome(b"1", log="x")]
    return [settled(*given) for given in zip(deliveries, verdicts, outcomes, strict=True)]


async def eight(bench: Bench, transport: SqlTransport) -> list[Delivery]:
    await bench.transport().send([bench.envelope(tracked=number % 4 != 1) for number in range(8)])
    return list(await take(transport))


async def test_mixed_batch_is_settled_in_one_call(bench: Bench) -> None:
    transport = bench.transport()
    deliveries = await eight(bench, transport)

    assert not await transport.settle(every_verdict(deliveries))

    counts = (await transport.counts())["default"]
    assert (counts.ready + counts.delayed, counts.leased, counts.dead) == (4, 0, 1)
    states = [await bench.state(delivery.id) for delivery in deliveries if delivery.tracked]
    assert states == ["completed", "retrying", "retrying", "failed", "pending", "completed"]


@pytest.mark.parametrize("place", ["before", *(f"mid@{number}" for number in range(1, 6)), "before_commit"])
async def test_batch_that_breaks_anywhere_changes_nothing(bench: Bench, place: str) -> None:
    transport = bench.transport()
    deliveries = await eight(bench, transport)
    before = await bench.everything()
    name, _, at = place.partition("@")
    failpoints.arm(f"settle.{name}=raise{f'@{at}' if at else ''}")

    with pytest.raises(TransportError):
        await transport.settle(every_verdict(deliveries))
    failpoints.arm("")

    assert await bench.everything() == before
    assert not await transport.settle(every_verdict(deliveries))  # the loans are still alive
    assert await bench.size("headrace_dead") == 1


async def test_lost_loans_of_a_batch_are_refused_and_the_others_settled(bench: Bench) -> None:
    transport = bench.transport()
    deliveries = await eight(bench, transport)
    await bench.pass_time(20)
    kept, lost = deliveries[::2], deliveries[1::2]
    await transport.extend([delivery.receipt for delivery in kept])
    await bench.pass_time(20)

    refused = await transport.settle(every_verdict(deliveries))

    assert sorted(refused) == sorted(delivery.receipt for delivery in lost)
    assert (await transport.counts())["default"].leased == len(lost)
    states = {delivery.id: await bench.state(delivery.id) for delivery in deliveries if delivery.tracked}
    assert [states[d.id] for d in kept if d.tracked] == ["completed", "retrying", "failed", "pending"]
    assert [states[d.id] for d in lost if d.tracked] == ["pending", "pending"]
    assert {row[0] for row in await bench.run("SELECT CAST(job_id AS text) FROM headrace_attempts")} == {
        deliveries[2].id,
        deliveries[4].id,
    }


@pytest.mark.parametrize("verdict", [ACK, Nack(0), Bury(Reason.FAILED), Return()], ids=repr)
async def test_loan_is_settled_once(bench: Bench, verdict: Verdict) -> None:
    transport = bench.transport()
    delivery = await lent(bench, transport)
    assert not await transport.settle([settled(delivery, verdict, FAILED)])
    before = await bench.everything()

    for again in (ACK, Nack(0), Bury(Reason.FAILED), Return()):
        assert list(await transport.settle([settled(delivery, again, FAILED)])) == [delivery.receipt]

    assert await bench.everything() == before


async def test_settling_nothing_is_nothing(bench: Bench) -> None:
    assert not await bench.transport().settle([])


async def test_settling_hundreds(bench: Bench) -> None:
    await bench.transport().send([bench.envelope() for _ in range(500)])
    transport = bench.transport()
    taken = await take(transport, 500)
    verdicts: list[Verdict] = [ACK, Nack(0), Bury(Reason.FAILED), Return()]

    assert not await transport.settle([settled(d, verdicts[n % 4], FAILED) for n, d in enumerate(taken)])

    counts = (await transport.counts())["default"]
    assert (counts.ready, counts.leased, counts.dead) == (250, 0, 125)
