"""Bounds of a worker, and how much it lends itself."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as some

from headrace.worker.limits import (
    CHUNK_LIMIT,
    CLAIM_LIMIT,
    HELD_LIMIT,
    HORIZON,
    Limits,
    Tally,
    allowance,
    appetite,
    chunk,
    reached,
    smoothed,
)

NONE = Limits()


@pytest.mark.parametrize(
    ("limits", "tally", "why"),
    [
        (NONE, Tally(10**9, 10**9, 10**9, 10**12, 1e9), None),
        (Limits(messages=5), Tally(received=4), None),
        (Limits(messages=5), Tally(received=5), "limit: 5 messages"),
        (Limits(messages=5), Tally(received=6), "limit: 5 messages"),
        (Limits(failures=2), Tally(failed=1), None),
        (Limits(failures=2), Tally(failed=2), "failure limit: 2"),
        (Limits(memory=1000), Tally(memory=999), None),
        (Limits(memory=1000), Tally(memory=1000), "memory limit: 1,000 of 1,000 bytes"),
        (Limits(seconds=60), Tally(seconds=59.9), None),
        (Limits(seconds=60), Tally(seconds=60), "time limit: 60 s"),
        (Limits(messages=0), Tally(), "limit: 0 messages"),
        (Limits(messages=9, failures=1), Tally(received=3, failed=1), "failure limit: 1"),
    ],
)
def test_limit_is_reached(limits: Limits, tally: Tally, why: str | None) -> None:
    assert reached(limits, tally, held=0) == why


@pytest.mark.parametrize(("received", "held", "ends"), [(5, 1, False), (6, 1, True), (6, 2, False), (5, 0, True)])
def test_limit_is_reached_when_that_many_are_settled(received: int, held: int, ends: bool) -> None:
    assert (reached(Limits(messages=5), Tally(received=received), held) is not None) is ends


@pytest.mark.parametrize(
    ("concurrency", "mean_run", "prefetch", "wanted"),
    [
        (4, None, None, 4),  # nothing is known yet
        (4, 1.0, None, 4),
        (4, 0.1, None, 8),
        (1, 0.101, None, 1),
        (1, 0.1, None, 2),
        (4, 0.01, None, 44),
        (10, 0.001, None, HELD_LIMIT),
        (4, 0.0, None, HELD_LIMIT),
        (1800, 0.0, None, 1800),
        (1800, 10.0, None, 1800),
        (4, 0.0, 0, 4),
        (4, 9.9, 3, 7),
        (4, None, 10_000, 10_004),
    ],
)
def test_worker_lends_itself_what_it_can_start_soon(
    concurrency: int, mean_run: float | None, prefetch: int | None, wanted: int
) -> None:
    assert appetite(concurrency, mean_run, prefetch) == wanted


@pytest.mark.parametrize(
    ("limits", "received", "wanted", "held", "lanes", "room"),
    [
        (NONE, 0, 4, 0, 4, 4),
        (NONE, 0, 4, 3, 4, 1),
        (NONE, 0, 4, 4, 4, 0),
        (NONE, 0, 4, 5, 4, 0),
        (NONE, 0, 99, 67, 1, 0),  # less than a third is free: not worth a claim
        (NONE, 0, 99, 66, 1, 33),
        (NONE, 0, 99, 67, 67, 0),
        (NONE, 0, 99, 67, 68, 32),  # but a lane is idle
        (NONE, 0, 8, 7, 8, 1),
        (Limits(messages=10), 9, 100, 0, 1, 1),
        (Limits(messages=10), 10, 100, 0, 1, 0),
        (Limits(messages=10), 11, 100, 0, 1, 0),
        (Limits(messages=10), 0, 4, 0, 4, 4),
        (NONE, 0, 3000, 2500, 1, CLAIM_LIMIT),  # a full claim is always worth it
        (NONE, 0, 3000, 2501, 1, 0),
        (NONE, 0, 800, 0, 1, CLAIM_LIMIT),
    ],
)
def test_allowance(limits: Limits, received: int, wanted: int, held: int, lanes: int, room: int) -> None:
    assert allowance(limits, Tally(received=received), wanted, held, lanes) == room


@given(some.integers(1, 1000), some.floats(0, 1e6) | some.none(), some.integers(0, 2000), some.integers(0, 5000))
def test_worker_never_asks_for_more_than_it_has_room_for(
    concurrency: int, mean_run: float | None, held: int, messages: int
) -> None:
    wanted = appetite(concurrency, mean_run, None)

    room = allowance(Limits(messages=messages), Tally(), wanted, held, concurrency)

    assert wanted >= concurrency
    assert 0 <= room <= max(0, min(wanted - held, messages, CLAIM_LIMIT))
    assert room or held >= concurrency or not messages  # an idle lane asks for something


@pytest.mark.parametrize(
    ("mean_run", "waiting", "lanes", "many"),
    [
        (None, 100, 1, 1),  # nothing is known yet
        (0.0, 0, 1, 1),
        (0.0, 1, 1, 2),
        (0.0, 10, 1, 11),
        (0.0, 10, 5, 3),
        (0.0, 11, 5, 4),
        (0.0, 1000, 1, CHUNK_LIMIT),
        (0.001, 1000, 1, 2),  # two milliseconds' worth
        (0.0005, 1000, 1, 4),
        (0.002, 1000, 1, 1),
        (1.0, 1000, 1, 1),
    ],
)
def test_chunk_of_plain_jobs_is_two_milliseconds_long(
    mean_run: float | None, waiting: int, lanes: int, many: int
) -> None:
    assert chunk(mean_run, waiting, lanes) == many


def test_worker_begins_with_nothing_done() -> None:
    assert Tally() == Tally(received=0, done=0, failed=0, memory=0, seconds=0.0)


@pytest.mark.parametrize(
    ("mean", "sample", "weight", "moved"),
    [
        (None, 3.0, 0.1, 3.0),
        (1.0, 3.0, 0.1, 3.0),  # upwards at once: too much lent is worse than too little
        (3.0, 1.0, 0.5, 2.0),
        (3.0, 1.0, 0.0, 3.0),
        (3.0, 1.0, 1.0, 1.0),
        (2.0, 2.0, 0.5, 2.0),
    ],
)
def test_mean_follows_upwards_at_once(mean: float | None, sample: float, weight: float, moved: float) -> None:
    assert smoothed(mean, sample, weight) == moved


def test_horizon_is_a_tenth_of_a_second() -> None:
    assert math.isclose(HORIZON, 0.1)
