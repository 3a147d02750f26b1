"""Settlements sorted by what becomes of the message."""

import msgspec
import pytest

from headrace.bus.envelope import Outcome, Report
from headrace.bus.retry import ACK, Bury, Nack, Reason, Return, Verdict
from headrace.bus.transport import Counts
from headrace.transports.sql.rows import (
    Batch,
    batch,
    columns,
    delivery,
    merged,
    report_row,
    sent_row,
    state_of,
)
from tests.support.bus import ID, a_settlement, an_envelope

QUIET = Outcome(ran=0.5)
FAILED = Outcome(None, "ValueError: x", "f00d", 0.5, "")
TALKING = Outcome(b"7", "", "", 0.5, "line")


@pytest.mark.parametrize(
    ("verdict", "tracked", "outcome", "made"),
    [
        (ACK, False, QUIET, Batch(plain=[(5, 2)])),
        (ACK, False, TALKING, Batch(plain=[(5, 2)])),
        (ACK, True, QUIET, Batch(done=[(5, 2, None, 0.5, None)])),
        (ACK, True, Outcome(b"7", ran=1), Batch(done=[(5, 2, "7", 1, None)])),
        (ACK, True, Outcome(None, "not stored"), Batch(done=[(5, 2, None, 0.0, "not stored")])),
        (
            ACK,
            True,
            TALKING,
            Batch(done=[(5, 2, "7", 0.5, None)], attempts=[(5, ID, 1, "completed", 0.5, None, "line")]),
        ),
        (
            Nack(3.0),
            True,
            FAILED,
            Batch(
                nacks=[(5, 2, 3.0, "ValueError: x", 0.5)], attempts=[(5, ID, 1, "failed", 0.5, "ValueError: x", None)]
            ),
        ),
        (Nack(3.0), True, QUIET, Batch(nacks=[(5, 2, 3.0, "", 0.5)])),
        (Nack(3.0), False, FAILED, Batch(nacks=[(5, 2, 3.0, "ValueError: x", 0.5)])),
        (
            Bury(Reason.FAILED, "3 attempts"),
            True,
            FAILED,
            Batch(
                buries=[(5, 2, "failed", "failed", "ValueError: x", "f00d", 0.5)],
                attempts=[(5, ID, 1, "failed", 0.5, "ValueError: x", None)],
            ),
        ),
        (
            Bury(Reason.QUARANTINED, "3 workers died"),
            True,
            Outcome(),
            Batch(buries=[(5, 2, "quarantined", "quarantined", "3 workers died", "quarantined", 0.0)]),
        ),
        (
            Bury(Reason.EXPIRED, "late"),
            False,
            Outcome(),
            Batch(buries=[(5, 2, "expired", "expired", "late", "expired", 0.0)]),
        ),
        (Return(), True, TALKING, Batch(returns=[(5, 2, 0.0, False)])),
        (Return(5.0, park=True), True, FAILED, Batch(returns=[(5, 2, 5.0, True)])),
    ],
)
def test_settlement_becomes_rows(verdict: Verdict, tracked: bool, outcome: Outcome, made: Batch) -> None:
    assert batch([a_settlement(verdict, outcome, receipt=(5, 2), tracked=tracked)]) == made


def test_mixed_batch_is_sorted_and_keeps_its_order() -> None:
    verdicts: list[Verdict] = [ACK, Nack(1), Bury(Reason.FAILED), Return(), ACK, Nack(2)]

    made = batch([a_settlement(verdict, receipt=(row, row + 10)) for row, verdict in enumerate(verdicts)])

    kinds = (made.plain, made.done, made.nacks, made.buries, made.returns)
    assert [[row[:2] for row in rows] for rows in kinds] == [
        [],
        [(0, 10), (4, 14)],
        [(1, 11), (5, 15)],
        [(2, 12)],
        [(3, 13)],
    ]


def test_batches_share_nothing() -> None:
    batch([a_settlement(ACK, tracked=False)])

    assert batch([]) == Batch()


def test_attempt_is_numbered_by_retries_and_crashes() -> None:
    made = batch([a_settlement(Nack(0), FAILED, retries=2, crashes=1)])

    assert made.attempts[0][2] == 4


@pytest.mark.parametrize("reason", Reason)
def test_dead_letter_stands_for_a_job_state(reason: Reason) -> None:
    expected = {Reason.QUARANTINED: "quarantined", Reason.EXPIRED: "expired"}.get(reason, "failed")

    assert state_of(reason) == expected


def test_envelope_becomes_a_row_in_the_order_of_the_statement() -> None:
    envelope = an_envelope(
        body=b'"x"',
        queue="q",
        headers={"a": "\x7f"},
        priority=9,
        delay=1.5,
        at=7.0,
        expires=8.0,
        unique="k",
        tracked=False,
    )

    assert msgspec.structs.astuple(sent_row(envelope)) == (
        ID,
        "shop.greet",
        '"x"',
        '{"a":"\x7f"}',
        "q",
        9,
        1.5,
        7.0,
        8.0,
        "k",
        False,
    )


def test_report_is_cleaned_and_short() -> None:
    row = report_row(Report((1, 2), ID, 0.5, 0.25, "a\x00" + "b" * 600))

    assert row == (1, 2, ID, 0.5, 0.25, "a\N{REPLACEMENT CHARACTER}" + "b" * 498)


def test_row_becomes_a_delivery() -> None:
    row = (5, 2, "m", "t", "q", '"ä"', "{}", 9, 1, 2, 1, 0, None, 0.25, 99.0)

    made = delivery(row, "t")

    assert (made.receipt, made.id, made.type, made.queue, made.body) == ((5, 2), "m", "t", "q", '"ä"'.encode())
    assert (made.priority, made.retries, made.crashes, made.attempt) == (9, 1, 2, 4)
    assert (made.tracked, made.expired, made.parked, made.waited) == (True, False, 0.0, 0.25)


def test_row_of_a_store_that_answers_bytes_becomes_a_delivery_too() -> None:
    row = (5, 2, "m", "t", "q", b"\xff", b"{\xff}", 9, 0, 0, 0, 1, 7.5, 0.25, 99.0)

    made = delivery(row, "t")

    assert (made.body, made.headers) == (b"\xff", "{\N{REPLACEMENT CHARACTER}}")
    assert (made.tracked, made.expired, made.parked) == (False, True, 7.5)


@pytest.mark.parametrize(
    ("rows", "width", "turned"),
    [([], 2, ([], [])), ([(1, 2)], 2, ([1], [2])), ([(1, 2), (3, 4)], 2, ([1, 3], [2, 4])), ([], 0, ())],
)
def test_rows_become_columns(rows: list[tuple[int, ...]], width: int, turned: tuple[list[int], ...]) -> None:
    assert columns(rows, width) == turned


def test_counts_are_added_up_by_queue() -> None:
    rows = [("b", 1, 2, 3, 0, 4.5), ("a", 1, 0, 0, 0, 0), ("b", 0, 0, 0, 7, 0)]

    assert merged(rows) == {"a": Counts(ready=1), "b": Counts(1, 2, 3, 7, 4.5)}
