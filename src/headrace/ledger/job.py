"""The states of a job, and every arrow between them. Pure.

What the SQL does to a job's row is an arrow of this table: the ledger's own statements are guarded by
`sources()`, those of the transports by the loan, and a test walks both.
"""

from enum import StrEnum

from headrace.errors import IllegalTransition


class State(StrEnum):
    """Where a job is in its life; the value is what the store holds."""

    PENDING = "pending"  # its message waits for its first attempt, or that attempt is under way and still short
    PROCESSING = "processing"  # an attempt has been running for long enough to be worth writing down
    RETRYING = "retrying"  # an attempt failed or crashed; its message waits, or the next attempt is still short
    COMPLETED = "completed"  # its handler returned; no message is left
    FAILED = "failed"  # buried after its last attempt, or because its handler, bytes or type said so
    CANCELLED = "cancelled"  # taken back while it waited; no message is left
    QUARANTINED = "quarantined"  # buried because it killed its workers
    EXPIRED = "expired"  # buried because nobody had begun it in time


class Input(StrEnum):
    """What may happen to a job; its creation is not an input: a new job is pending."""

    REPORT = "report"  # its handler has been running for 200 ms, or has news
    ACK = "ack"  # its handler returned
    NACK = "nack"  # its attempt failed, and another one will be made
    CRASH = "crash"  # its loan ended without a verdict, charged
    RETURN_NEW = "return before any attempt"  # given back uncharged, nothing behind it
    RETURN_TRIED = "return after an attempt"  # given back uncharged, a retry or a crash behind it
    FAIL = "fail"  # its verdict was bury
    QUARANTINE = "quarantine"  # refused: it has killed too many workers
    EXPIRE = "expire"  # refused: too late
    CANCEL = "cancel"  # somebody took it back
    RETRY = "retry"  # somebody sent it back to its queue, to begin anew


ARROWS: dict[tuple[State, Input], State] = {
    (State.PENDING, Input.REPORT): State.PROCESSING,
    (State.PENDING, Input.ACK): State.COMPLETED,
    (State.PENDING, Input.NACK): State.RETRYING,
    (State.PENDING, Input.CRASH): State.RETRYING,
    (State.PENDING, Input.RETURN_NEW): State.PENDING,
    (State.PENDING, Input.FAIL): State.FAILED,
    (State.PENDING, Input.EXPIRE): State.EXPIRED,
    (State.PENDING, Input.CANCEL): State.CANCELLED,
    (State.PROCESSING, Input.REPORT): State.PROCESSING,
    (State.PROCESSING, Input.ACK): State.COMPLETED,
    (State.PROCESSING, Input.NACK): State.RETRYING,
    (State.PROCESSING, Input.CRASH): State.RETRYING,
    (State.PROCESSING, Input.RETURN_NEW): State.PENDING,
    (State.PROCESSING, Input.RETURN_TRIED): State.RETRYING,
    (State.PROCESSING, Input.FAIL): State.FAILED,
    (State.RETRYING, Input.REPORT): State.PROCESSING,
    (State.RETRYING, Input.ACK): State.COMPLETED,
    (State.RETRYING, Input.NACK): State.RETRYING,
    (State.RETRYING, Input.CRASH): State.RETRYING,
    (State.RETRYING, Input.RETURN_TRIED): State.RETRYING,
    (State.RETRYING, Input.FAIL): State.FAILED,
    (State.RETRYING, Input.QUARANTINE): State.QUARANTINED,
    (State.RETRYING, Input.EXPIRE): State.EXPIRED,
    (State.RETRYING, Input.CANCEL): State.CANCELLED,
    (State.COMPLETED, Input.RETRY): State.PENDING,
    (State.FAILED, Input.RETRY): State.PENDING,
    (State.CANCELLED, Input.RETRY): State.PENDING,
    (State.CANCELLED, Input.CANCEL): State.CANCELLED,  # asked twice
    (State.QUARANTINED, Input.RETRY): State.PENDING,
    (State.EXPIRED, Input.RETRY): State.PENDING,
}

TERMINAL = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED, State.QUARANTINED, State.EXPIRED})


def step(state: State, given: Input, of: str = "") -> State:
    """The next state; an input without an arrow raises IllegalTransition, which names the job `of`."""
    try:
        return ARROWS[state, given]
    except KeyError:
        raise IllegalTransition(
            f"cannot {given!s} {of or 'the job'}: it is {state!s}", hint=_HINTS.get((state, given), "")
        ) from None


def sources(given: Input) -> frozenset[State]:
    """The states in which this input is legal: the guard of the statement that makes the transition."""
    return frozenset(state for state, known in ARROWS if known is given)


_HINTS = {
    (State.PROCESSING, Input.CANCEL): "a job can be cancelled while it waits",
    (State.PENDING, Input.RETRY): "it is waiting for its first attempt already",
    (State.RETRYING, Input.RETRY): "it is waiting for its next attempt already",
    (State.PROCESSING, Input.RETRY): "it is running; retry it when it has ended",
}
