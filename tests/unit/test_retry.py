"""The fate of a delivery: a row for each rule, and one on each side of every comparison."""

import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as some

from headrace.bus.durations import LONGEST
from headrace.bus.retry import (
    ACK,
    DEFAULT,
    PARK_LONGEST,
    PARK_WINDOW,
    Bury,
    Nack,
    Policies,
    Reason,
    Retry,
    Return,
    Verdict,
    as_policies,
    decide,
    max_crashes,
    parking,
    policy_for,
    refuse,
)
from headrace.errors import BadOption, DecodeError, Reject, RetryLater, UnknownType

STEADY = Retry(max=2, first=1, factor=2, jitter=0)


def symfony(policy: Retry, retries: int, drawn: int) -> float:
    """MultiplierRetryStrategy::getWaitingTime, in milliseconds; `drawn` is what random_int answered."""
    delay = float(policy.first) * 1000 * policy.factor**retries
    if policy.jitter > 0:
        delay += drawn
    longest = float(policy.cap) * 1000
    if delay > longest and longest != 0:
        return longest
    return math.ceil(delay)


# ── before the handler ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("crashes", "expired", "bound", "reason"),
    [
        (0, False, 3, None),
        (2, False, 3, None),
        (3, False, 3, Reason.QUARANTINED),
        (4, False, 3, Reason.QUARANTINED),
        (0, False, 1, None),
        (1, False, 1, Reason.QUARANTINED),
        (0, True, 3, Reason.EXPIRED),
        (2, True, 3, Reason.EXPIRED),
        (3, True, 3, Reason.QUARANTINED),  # what it did to workers matters more than that it is late
    ],
)
def test_refused_before_it_runs(crashes: int, expired: bool, bound: int, reason: Reason | None) -> None:
    verdict = refuse(crashes, expired, bound)

    assert (verdict and verdict.reason) == reason


def test_refusal_says_how_many_workers_died() -> None:
    assert refuse(3, expired=False, bound=3) == Bury(Reason.QUARANTINED, "3 workers died running it")


@pytest.mark.parametrize(
    ("policies", "bound"),
    [
        (Retry(max_crashes=5), 5),
        ({}, 3),
        ({ValueError: Retry(max_crashes=7)}, 7),
        ({ValueError: Retry(max_crashes=7), OSError: Retry(max_crashes=2)}, 2),
    ],
)
def test_smallest_bound_on_crashes_counts(policies: Policies, bound: int) -> None:
    assert max_crashes(policies) == bound


# ── after the handler ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("error", "retries", "verdict"),
    [
        (None, 0, ACK),
        (None, 99, ACK),
        (ValueError("x"), 0, Nack(1.0)),
        (ValueError("x"), 1, Nack(2.0)),
        (ValueError("x"), 2, Bury(Reason.FAILED, "3 attempts")),
        (ValueError("x"), 3, Bury(Reason.FAILED, "4 attempts")),
        (Reject("no"), 0, Bury(Reason.REJECTED, "no")),
        (DecodeError("bad body"), 0, Bury(Reason.UNDECODABLE, "bad body")),
        (UnknownType("?"), 0, Return(1.0, park=True)),
        (RetryLater(5), 0, Nack(5.0)),
        (RetryLater("2m"), 1, Nack(120.0)),
        (RetryLater(0), 0, Nack(0.0)),
        (RetryLater(5), 2, Nack(5.0)),  # never the last one
        (RetryLater(), 0, Nack(1.0)),  # the policy's wait
        (RetryLater(), 2, Nack(4.0)),
        (RetryLater(), 50, Nack(LONGEST)),
        (SystemExit(0), 0, Nack(1.0)),
        (KeyboardInterrupt(), 2, Bury(Reason.FAILED, "3 attempts")),
        (ExceptionGroup("two", [ValueError(), OSError()]), 0, Nack(1.0)),
    ],
)
def test_verdict_after_a_run(error: BaseException | None, retries: int, verdict: Verdict) -> None:
    assert decide(error, retries, STEADY, roll=0.5) == verdict


def test_policy_without_retries_buries_the_first_failure() -> None:
    assert decide(ValueError(), 0, Retry(max=0), 0.5) == Bury(Reason.FAILED, "1 attempts")


@pytest.mark.parametrize("nonsense", ["soon", -1, math.nan, math.inf])
def test_handler_that_asks_for_an_impossible_delay_has_failed(nonsense: float | str) -> None:
    assert decide(RetryLater(nonsense), 0, STEADY, 0.5) == Nack(1.0)


# ── which policy ─────────────────────────────────────────────────────────────────────────────

A, B, C = Retry(max=11), Retry(max=12), Retry(max=13)


@pytest.mark.parametrize(
    ("policies", "error", "policy"),
    [
        (A, ValueError(), A),
        ({ValueError: A}, ValueError(), A),
        ({Exception: A}, ValueError(), A),
        ({Exception: A, ValueError: B}, ValueError(), B),
        ({Exception: A, ValueError: B, UnicodeError: C}, UnicodeDecodeError("utf-8", b"", 0, 1, ""), C),
        ({Exception: A, ValueError: B}, UnicodeDecodeError("utf-8", b"", 0, 1, ""), B),  # the closest class
        ({ValueError: A}, OSError(), DEFAULT),
        ({Exception: A}, SystemExit(), DEFAULT),  # not an Exception
        ({}, ValueError(), DEFAULT),
    ],
)
def test_closest_class_names_the_policy(policies: Policies, error: BaseException, policy: Retry) -> None:
    assert policy_for(policies, error) is policy


@pytest.mark.parametrize("value", [A, {}, {ValueError: A}, {ValueError: A, Exception: B}])
def test_policy_or_table_is_accepted(value: Policies) -> None:
    assert as_policies(value) is value


@pytest.mark.parametrize(
    "value",
    [None, 3, "A", [A], {ValueError: 3}, {"ValueError": A}, {int: A}, {ValueError(): A}, {KeyboardInterrupt: A}],
)
def test_anything_else_is_not_a_policy(value: Mapping[type[Exception], Retry]) -> None:
    with pytest.raises(BadOption, match="is not a policy"):
        as_policies(value)


def test_defaults_are_those_of_symfony() -> None:
    assert Retry() == Retry(max=3, first=1.0, factor=2.0, cap=0.0, jitter=0.1, max_crashes=3)
    assert Retry() == DEFAULT
    assert (Return(), PARK_WINDOW, PARK_LONGEST) == (Return(0.0, park=False), 24 * 3600.0, 300.0)
    assert decide(UnknownType("?"), 0, STEADY, 0.5) == Return(1.0, park=True)


# ── how long ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("policy", "retries", "roll", "wait"),
    [
        (Retry(jitter=0), 0, 0.5, 1.0),
        (Retry(jitter=0), 1, 0.5, 2.0),
        (Retry(jitter=0), 9, 0.5, 512.0),
        (Retry(jitter=0, first="250ms", factor=1), 7, 0.5, 0.25),
        (Retry(first=0), 5, 0.5, 0.0),
        (Retry(first=0), 5_000, 0.5, 0.0),
        (Retry(jitter=0.1), 0, 0.0, 0.9),
        (Retry(jitter=0.1), 0, 0.5, 1.0),
        (Retry(jitter=0.1), 0, math.nextafter(1, 0), 1.1),
        (Retry(jitter=1), 0, 0.0, 0.0),
        (Retry(jitter=1), 0, math.nextafter(1, 0), 2.0),
        (Retry(jitter=0.1, first=0.019), 0, 0.0, 0.018),  # the spread is cut to whole milliseconds
        (Retry(jitter=0.1, first=0.009), 0, 0.0, 0.009),
        (Retry(jitter=0, first=0.0015), 0, 0.5, 0.002),  # the wait is rounded up
        (Retry(jitter=0, cap=4), 2, 0.5, 4.0),
        (Retry(jitter=0, cap=4), 3, 0.5, 4.0),
        (Retry(jitter=0, cap=0), 3, 0.5, 8.0),
        (Retry(jitter=0.1, cap=4), 2, math.nextafter(1, 0), 4.0),  # the jitter cannot pass the cap
        (Retry(jitter=0.1, cap=4), 2, 0.0, 3.6),
        (Retry(jitter=0), 40, 0.5, LONGEST),
        (Retry(jitter=1, factor=10), 300, 0.5, LONGEST),
        (Retry(jitter=1), 1014, 0.999, LONGEST),
        (Retry(jitter=0), 5_000, 0.5, LONGEST),
        (Retry(jitter=0, cap="1h"), 5_000, 0.5, 3600.0),
    ],
)
def test_waiting_time(policy: Retry, retries: int, roll: float, wait: float) -> None:
    assert policy.backoff(retries, roll) == wait


@given(
    some.integers(0, 60_000),
    some.sampled_from([1, 1.5, 2, 3]),
    some.integers(0, 9),
    some.sampled_from([0, 0.05, 0.1, 0.5, 1]),
    some.integers(0, 100),
    some.floats(0, 1, exclude_max=True),
)
def test_waiting_time_is_that_of_symfony(
    first: int, factor: float, retries: int, jitter: float, cap: int, roll: float
) -> None:
    policy = Retry(first=first / 1000, factor=factor, jitter=jitter, cap=cap)
    spread = int(first / 1000 * 1000 * factor**retries * jitter)
    drawn = math.floor(roll * (2 * spread + 1)) - spread

    wait = policy.backoff(retries, roll)

    assert -spread <= drawn <= spread
    assert wait == min(symfony(policy, retries, drawn) / 1000, LONGEST)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max": -1},
        {"first": -0.001},
        {"first": "1 year"},
        {"factor": 0.999},
        {"cap": -1},
        {"jitter": -0.01},
        {"jitter": 1.01},
        {"max_crashes": 0},
        {"max": "3"},
        {"factor": math.nan},
        {"factor": math.inf},
        {"jitter": math.nan},
        {"max": True},
    ],
)
def test_policy_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadOption) as caught:
        Retry(**wrong)  # type: ignore[arg-type]  # on purpose

    assert next(iter(wrong)) in caught.value.what


@pytest.mark.parametrize(
    "fine",
    [{"max": 0}, {"first": 0}, {"factor": 1}, {"cap": 0}, {"jitter": 0}, {"jitter": 1}, {"max_crashes": 1}],
)
def test_policy_at_the_edge_is_accepted(fine: dict[str, int]) -> None:
    policy = Retry(**fine)

    assert {name: getattr(policy, name) for name in fine} == fine


# ── unknown types ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("parked", "verdict"),
    [
        (0.0, Return(1.0, park=True)),
        (0.9, Return(1.0, park=True)),
        (1.5, Return(1.5, park=True)),
        (299.0, Return(299.0, park=True)),
        (300.0, Return(PARK_LONGEST, park=True)),
        (301.0, Return(PARK_LONGEST, park=True)),
        (PARK_WINDOW - 1, Return(PARK_LONGEST, park=True)),
        (PARK_WINDOW, Bury(Reason.UNKNOWN, "no worker knew its type for a day")),
        (PARK_WINDOW + 1, Bury(Reason.UNKNOWN, "no worker knew its type for a day")),
    ],
)
def test_unknown_type_waits_longer_each_time_for_a_day(parked: float, verdict: Verdict) -> None:
    assert parking(parked) == verdict
    assert decide(UnknownType("?"), 0, STEADY, 0.5, parked) == verdict


def test_day_of_parking_takes_some_hundred_deliveries() -> None:
    parked, deliveries = 0.0, 0

    while isinstance(verdict := parking(parked), Return):
        parked += verdict.delay
        deliveries += 1

    assert 280 < deliveries < 300
