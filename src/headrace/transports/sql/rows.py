"""Settlements sorted by what becomes of the message, as rows for the statements. Pure."""

from collections.abc import Collection, Sequence
from typing import Any, Protocol, assert_never

import msgspec

from headrace.bus.envelope import Delivery, Envelope, Receipt, Report, Settlement
from headrace.bus.fingerprint import capped
from headrace.bus.retry import Ack, Bury, Nack, Reason, Return
from headrace.bus.transport import Counts, Evidence, Lapsed
from headrace.bus.wire.native import headers_text
from headrace.db.port import Row, Work


class Batch(msgspec.Struct):
    """One settle call. Each row starts with (row, loan).

    plain     untracked acks
    done      … result, seconds, error        tracked acks
    nacks     … delay, error, seconds
    buries    … state, reason, error, fingerprint, seconds
    returns   … delay, park
    attempts  row, job id, attempt, outcome, seconds, error, log: worth a row of their own
    """

    plain: list[Row] = []
    done: list[Row] = []
    nacks: list[Row] = []
    buries: list[Row] = []
    returns: list[Row] = []
    attempts: list[Row] = []


def batch(settlements: Sequence[Settlement]) -> Batch:
    """The rows of these settlements."""
    made = Batch()
    for settlement in settlements:
        delivery, verdict, outcome = settlement.delivery, settlement.verdict, settlement.outcome
        match verdict:
            case Ack():
                if delivery.tracked:
                    made.done.append(
                        (
                            *delivery.receipt,
                            _text(outcome.result),
                            outcome.ran,
                            capped(outcome.error) if outcome.error else None,
                        )
                    )
                else:
                    made.plain.append(delivery.receipt)
            case Nack(delay=delay):
                made.nacks.append((*delivery.receipt, delay, capped(outcome.error), outcome.ran))
            case Bury(reason=reason, detail=detail):
                error = capped(outcome.error or detail)
                made.buries.append(
                    (
                        *delivery.receipt,
                        state_of(reason),
                        reason.value,
                        error,
                        outcome.fingerprint or reason.value,
                        outcome.ran,
                    )
                )
            case Return(delay=delay, park=park):
                made.returns.append((*delivery.receipt, delay, park))
            case _:
                assert_never(verdict)
        if (
            delivery.tracked
            and not isinstance(verdict, Return)
            and (outcome.log or (outcome.error and not isinstance(verdict, Ack)))
        ):
            ended = "completed" if isinstance(verdict, Ack) else "failed"
            made.attempts.append(
                (
                    delivery.receipt[0],
                    delivery.id,
                    delivery.attempt,
                    ended,
                    outcome.ran,
                    capped(outcome.error) if outcome.error else None,
                    outcome.log or None,
                )
            )
    return made


def state_of(reason: Reason) -> str:
    """The job state that a dead letter of this reason stands for."""
    match reason:
        case Reason.QUARANTINED | Reason.EXPIRED:
            return reason.value
        case _:
            return "failed"


class SentRow(msgspec.Struct, gc=False):
    """One message to store, as both databases read it from JSON. Moments are unix seconds."""

    id: str
    type: str
    body: str
    headers: str
    queue: str
    priority: int
    delay: float
    at: float | None
    expires: float | None
    key: str | None
    tracked: bool


def sent_row(envelope: Envelope) -> SentRow:
    """The row of an envelope."""
    return SentRow(
        envelope.id,
        envelope.type,
        envelope.body.decode(),
        headers_text(envelope.headers),
        envelope.queue,
        envelope.priority,
        envelope.delay,
        envelope.at,
        envelope.expires,
        envelope.unique,
        envelope.tracked,
    )


def report_row(report: Report) -> Row:
    """row, loan, job id, seconds, progress, note."""
    return (*report.receipt, report.id, report.ran, report.progress, capped(report.note)[:500])


def delivery(row: Row, type_of: str) -> Delivery:
    """From the columns of CLAIMED."""
    return Delivery(
        (row[0], row[1]),
        row[2],
        type_of,
        row[4],
        row[5] if isinstance(row[5], bytes) else row[5].encode(),
        row[6].decode("utf-8", "replace") if isinstance(row[6], bytes) else row[6],
        row[7],
        row[8],
        row[9],
        bool(row[10]),
        bool(row[11]),
        row[12] or 0.0,
        row[13],
    )


def columns(rows: Sequence[Row], width: int) -> tuple[list[Any], ...]:
    """Rows turned into columns; `width` empty ones for no rows."""
    return tuple(map(list, zip(*rows, strict=True))) if rows else tuple([] for _ in range(width))


def merged(rows: Sequence[Row]) -> dict[str, Counts]:
    """Rows of counts, added up by queue."""
    found: dict[str, Counts] = {}
    for queue, ready, leased, delayed, dead, oldest in rows:
        old = found.get(queue, Counts())
        found[queue] = Counts(
            old.ready + ready,
            old.leased + leased,
            old.delayed + delayed,
            old.dead + dead,
            max(old.oldest, float(oldest)),
        )
    return dict(sorted(found.items()))


def _text(result: bytes | None) -> str | None:
    return None if result is None else result.decode()


class QueueSql(Protocol):
    """What the transport asks of a database; one file of SQL per database answers."""

    def send(self, rows: Sequence[SentRow], new: bool) -> Work[Collection[str] | None]:
        """Store sent rows; the ids that were stored, or None for all of them.

        new  all of them are new, as far as is known; Conflict, and nothing stored, if that is wrong
        """
        ...

    def holders(self, keys: Sequence[str]) -> Work[Sequence[Row]]:
        """key, id of whoever holds these unique keys."""
        ...

    def claim(self, queues: Sequence[str], limit: int, lease: float, worker: str) -> Work[Sequence[Row]]:
        """Lend ready rows, in order of queue, priority and time."""
        ...

    def next_due(self, queues: Sequence[str]) -> Work[float | None]:
        """Seconds until the next row of these queues is due; None without any."""
        ...

    def settle(self, batch: Batch, worker: str) -> Work[Collection[int] | None]:
        """Rows that were accepted, or None for all of them."""
        ...

    def extend(self, receipts: Sequence[Receipt], lease: float) -> Work[Collection[int]]:
        """Rows whose lease was renewed."""
        ...

    def reap(self, limit: int) -> Work[Sequence[Lapsed]]: ...

    def release(
        self, worker: str, started: Sequence[Receipt], evidence: Evidence, kept: Sequence[Receipt] = ()
    ) -> Work[Sequence[Lapsed]]:
        """Give back all that the worker was lent, but for the kept; only what had started is charged."""
        ...

    def report(self, rows: Sequence[Row]) -> Work[None]: ...

    def counts(self) -> Work[dict[str, Counts]]: ...


_encode = msgspec.json.Encoder().encode


def as_json(rows: Sequence[object]) -> str:
    """Rows as one JSON array: the cheapest way to bring many of them to a database."""
    return _encode(rows).decode()
