"""Bounds after which a worker ends, and how much it lends itself. Pure."""

import msgspec

CLAIM_LIMIT = 500  # a larger claim only adds latency
HELD_LIMIT = 1_000  # loans at once: one batch runs while the next is claimed
HORIZON = 0.1  # seconds of work that a worker lends itself ahead
UNSETTLED_LIMIT = 2_000
CHUNK_LIMIT = 64
CHUNK_SECONDS = 0.002


class Limits(msgspec.Struct, frozen=True):
    """When a worker ends by itself; None for never.

    messages  received messages
    failures  failed attempts, retried ones included
    memory    resident bytes, looked at between messages
    seconds   age
    """

    messages: int | None = None
    failures: int | None = None
    memory: int | None = None
    seconds: float | None = None


class Tally(msgspec.Struct):
    """What a worker has done so far."""

    received: int = 0
    done: int = 0
    failed: int = 0
    memory: int = 0
    seconds: float = 0.0


def reached(limits: Limits, tally: Tally, held: int) -> str | None:
    """The limit that has been reached, in words; `held` of the received messages are not settled yet."""
    if limits.messages is not None and tally.received - held >= limits.messages:
        return f"limit: {limits.messages} messages"
    if limits.failures is not None and tally.failed >= limits.failures:
        return f"failure limit: {limits.failures}"
    if limits.memory is not None and tally.memory >= limits.memory:
        return f"memory limit: {tally.memory:,} of {limits.memory:,} bytes"
    if limits.seconds is not None and tally.seconds >= limits.seconds:
        return f"time limit: {limits.seconds:g} s"
    return None


def appetite(concurrency: int, mean_run: float | None, prefetch: int | None) -> int:
    """Deliveries to hold, running and waiting: what can be started within the horizon.

    mean_run  seconds a job takes, as far as is known
    prefetch  a fixed number beyond the running ones, instead
    """
    if prefetch is not None:
        return concurrency + prefetch
    if mean_run is None:
        return concurrency
    ahead = HORIZON * concurrency / max(mean_run, 1e-6)
    return int(min(max(concurrency + ahead, concurrency), max(HELD_LIMIT, concurrency)))


def allowance(limits: Limits, tally: Tally, wanted: int, held: int, lanes: int) -> int:
    """How many to ask for now; 0 while it is not worth a claim.

    As long as every lane has something, a claim waits until a third of what is wanted is free.
    """
    room = wanted - held
    if limits.messages is not None:
        room = min(room, limits.messages - tally.received)
    if room <= 0 or (held >= lanes and room < min(wanted // 3, CLAIM_LIMIT)):
        return 0
    return min(room, CLAIM_LIMIT)


def chunk(mean_run: float | None, waiting: int, lanes: int) -> int:
    """How many `def` jobs to hand to a thread at once: two milliseconds' worth, shared out over the lanes."""
    if mean_run is None:
        return 1
    share = -(-waiting // lanes) + 1
    return max(1, min(CHUNK_LIMIT, share, int(CHUNK_SECONDS / max(mean_run, 1e-6))))


def smoothed(mean: float | None, sample: float, weight: float) -> float:
    """The mean moved towards a sample; it follows upwards at once, downwards by `weight`."""
    if mean is None or sample > mean:
        return sample
    return mean + (sample - mean) * weight
