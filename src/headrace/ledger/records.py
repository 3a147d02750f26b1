"""What the ledger answers: jobs, attempts, dead letters and their groups, made from rows. Pure."""

from collections.abc import Sequence

import msgspec

from headrace.db.port import Row
from headrace.ledger.job import State

SLICES = 5  # of a group's trend


class JobRecord(msgspec.Struct, frozen=True):
    """A job as the ledger knows it. Moments are unix seconds of the store's clock.

    body        the message as it was sent: JSON text
    headers     JSON text
    due_at      not before this
    started_at  the last attempt
    ran         seconds of the last attempt
    worker      who made it, or makes it
    progress    0 to 1, or None when the handler says nothing
    result      JSON text; of the last attempt that completed
    error       of the last attempt that failed; its first line is the cause
    """

    id: str
    type: str
    queue: str
    priority: int
    state: State
    body: str
    headers: str
    created_at: float
    due_at: float
    started_at: float | None
    finished_at: float | None
    retries: int
    crashes: int
    ran: float | None
    worker: str | None
    progress: float | None
    note: str | None
    result: str | None
    error: str | None


class Attempt(msgspec.Struct, frozen=True):
    """An attempt that failed, crashed or logged.

    outcome  completed, failed or crashed
    """

    attempt: int
    outcome: str
    worker: str | None
    started_at: float | None
    finished_at: float
    error: str | None
    log: str | None


class DeadLetter(msgspec.Struct, frozen=True):
    """A buried message, tracked or not. error: its first line is the cause."""

    id: str
    type: str | None
    queue: str
    priority: int
    body: str
    headers: str
    tracked: bool
    reason: str
    error: str
    fingerprint: str
    retries: int
    crashes: int
    created_at: float
    died_at: float


class Group(msgspec.Struct, frozen=True):
    """Dead letters of one cause.

    cause  first line of the newest error
    first  when the oldest of them died; `last` the newest
    trend  how many died in each fifth of the time that `groups()` looks at, the same for all groups
    """

    fingerprint: str
    count: int
    types: tuple[str, ...]
    queues: tuple[str, ...]
    reason: str
    cause: str
    first: float
    last: float
    trend: tuple[int, ...]


class Tally(msgspec.Struct, frozen=True):
    """How many dead letters of one type and queue an action would touch."""

    type: str
    queue: str
    count: int


def job_record(row: Row) -> JobRecord:
    """From the columns of Sql.job_columns."""
    values = [*row]
    values[4] = State(row[4])
    values[15] = None if row[15] is None else round(row[15], 6)  # without the noise of a four-byte column
    return JobRecord(*values)


def dead_letter(row: Row) -> DeadLetter:
    """From the columns of Sql.dead_columns."""
    values = [*row]
    values[6] = bool(row[6])
    return DeadLetter(*values)


def grouped(rows: Sequence[Row], errors: Sequence[Row]) -> list[Group]:
    """Groups, the most recent first, from rows of Sql.groups and Sql.causes."""
    causes = {fingerprint: (text or "").partition("\n")[0] for fingerprint, text in errors}
    found: dict[str, Group] = {}
    for fingerprint, kind, queue, reason, first, last, count, *before in rows:
        trend = tuple(later - earlier for earlier, later in zip((0, *before), (*before, count), strict=True))
        group = Group(
            fingerprint, count, (kind or "",), (queue,), reason, causes.get(fingerprint, ""), first, last, trend
        )
        old = found.get(fingerprint)
        found[fingerprint] = group if old is None else _merged(old, group)
    return sorted(found.values(), key=lambda group: (-group.last, group.fingerprint))


def edges(oldest: float, now: float) -> list[float]:
    """Where the slices of the trend meet: the time since the oldest letter, and at least the last hour."""
    start = min(oldest, now - 3600)
    return [start + (now - start) * number / SLICES for number in range(1, SLICES)]


def _merged(one: Group, other: Group) -> Group:
    newest = max(one, other, key=lambda group: group.last)
    return Group(
        one.fingerprint,
        one.count + other.count,
        tuple(sorted({*one.types, *other.types})),
        tuple(sorted({*one.queues, *other.queues})),
        newest.reason,
        newest.cause,
        min(one.first, other.first),
        newest.last,
        tuple(a + b for a, b in zip(one.trend, other.trend, strict=True)),
    )
