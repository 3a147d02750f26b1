"""The fate of a delivery: verdicts, the retry policy, and the two decisions about them. Pure."""

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from headrace.bus.durations import LONGEST, seconds
from headrace.errors import BadOption, DecodeError, Reject, RetryLater, UnknownType


class Reason(StrEnum):
    """Why a message is among the dead letters."""

    FAILED = "failed"  # its last attempt failed
    REJECTED = "rejected"  # its handler said Reject
    UNDECODABLE = "undecodable"  # its bytes do not fit its type
    UNKNOWN = "unknown"  # nobody knew its type for a day
    QUARANTINED = "quarantined"  # it killed its worker too often
    EXPIRED = "expired"  # it was too late to run it


class Ack(msgspec.Struct, frozen=True):
    """Done: remove it."""


class Nack(msgspec.Struct, frozen=True):
    """Failed: give it back for `delay` seconds; counts as a retry."""

    delay: float


class Bury(msgspec.Struct, frozen=True):
    """Move it to the dead letters."""

    reason: Reason
    detail: str = ""


class Return(msgspec.Struct, frozen=True):
    """Give it back for `delay` seconds, uncharged; `park` when nobody here knows its type."""

    delay: float = 0.0
    park: bool = False


Verdict = Ack | Nack | Bury | Return
ACK = Ack()

PARK_WINDOW = 86_400.0  # after a day, a type that nobody knows is buried
PARK_LONGEST = 300.0


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return _whole(value) or isinstance(value, float)


class Retry(msgspec.Struct, frozen=True):
    """When a failed message is tried again.

    max          retries after the first attempt
    first        wait before the first retry: seconds, or "250ms", "1s", "2m"
    factor       each wait is this much longer than the one before
    cap          longest wait; 0 for none
    jitter       share of the wait by which it is spread, 0 to 1
    max_crashes  workers that may die running it before it is quarantined

    The formula is Symfony Messenger's MultiplierRetryStrategy (in milliseconds).
    """

    max: int = 3
    first: float | str = 1.0
    factor: float = 2.0
    cap: float | str = 0.0
    jitter: float = 0.1
    max_crashes: int = 3

    def __post_init__(self) -> None:
        checks = [
            ("max", self.max, _whole(self.max) and self.max >= 0, "0 or more"),
            ("first", self.first, seconds(self.first, "first") >= 0, "0 or more"),
            ("factor", self.factor, _number(self.factor) and 1 <= self.factor < math.inf, "1 or more"),
            ("cap", self.cap, seconds(self.cap, "cap") >= 0, "0 (none) or more"),
            ("jitter", self.jitter, _number(self.jitter) and 0 <= self.jitter <= 1, "0 to 1"),
            ("max_crashes", self.max_crashes, _whole(self.max_crashes) and self.max_crashes >= 1, "1 or more"),
        ]
        for name, value, fine, allowed in checks:
            if not fine:
                raise BadOption(f"Retry({name}={value!r}) is out of range", hint=f"allowed: {allowed}")

    def backoff(self, retries: int, roll: float) -> float:
        """Seconds until the next try, after `retries` retries; `roll` is uniform in [0, 1)."""
        longest = seconds(self.cap, "cap") or LONGEST
        first = seconds(self.first, "first") * 1000
        try:
            wait = first * self.factor**retries
        except OverflowError:
            wait = math.inf if first else 0.0
        if wait > 2000 * LONGEST:
            return longest
        spread = int(wait * self.jitter)
        wait += math.floor(roll * (2 * spread + 1)) - spread
        return min(math.ceil(wait) / 1000, longest)


Policies = Retry | Mapping[type[Exception], Retry]


def policy_for(policies: Policies, error: BaseException | None) -> Retry:
    """The policy of the closest class of `error`; the default policy where a table has none."""
    if isinstance(policies, Retry):
        return policies
    for kind in type(error).__mro__:
        found = policies.get(kind)
        if found is not None:
            return found
    return DEFAULT


DEFAULT = Retry()


def max_crashes(policies: Policies) -> int:
    """Crashes that bring a message into quarantine: the smallest bound of its policies."""
    if isinstance(policies, Retry):
        return policies.max_crashes
    return min((policy.max_crashes for policy in policies.values()), default=DEFAULT.max_crashes)


def refuse(crashes: int, expired: bool, bound: int) -> Bury | None:
    """Asked before the handler runs: a message that kills its worker never reaches decide()."""
    if crashes >= bound:
        return Bury(Reason.QUARANTINED, f"{crashes} workers died running it")
    if expired:
        return Bury(Reason.EXPIRED, "it expired before a worker could run it")
    return None


def parking(parked: float) -> Verdict:
    """For a type that this worker does not know, `parked` seconds after it was first met."""
    if parked >= PARK_WINDOW:
        return Bury(Reason.UNKNOWN, "no worker knew its type for a day")
    return Return(min(max(1.0, parked), PARK_LONGEST), park=True)


def decide(error: BaseException | None, retries: int, policies: Policies, roll: float, parked: float = 0.0) -> Verdict:
    """Asked after the handler ran: the fate of the delivery."""
    match error:
        case None:
            return ACK
        case UnknownType():
            return parking(parked)
        case Reject():
            return Bury(Reason.REJECTED, str(error))
        case DecodeError():
            return Bury(Reason.UNDECODABLE, error.what)
        case RetryLater(delay=delay) if delay is not None and (asked := _asked(delay)) is not None:
            return Nack(asked)
        case _:
            policy = policy_for(policies, error)
            if retries >= policy.max and not isinstance(error, RetryLater):
                return Bury(Reason.FAILED, f"{retries + 1} attempts")
            return Nack(policy.backoff(retries, roll))


def _asked(delay: float | str) -> float | None:
    """The seconds that a handler asked for; None for nonsense, which must not harm its worker."""
    try:
        return seconds(delay, "delay")
    except BadOption:
        return None


def as_policies(value: Any) -> Policies:
    """`value` if it is a policy or a table of policies; BadOption otherwise."""
    if isinstance(value, Retry):
        return value
    if isinstance(value, Mapping) and all(
        isinstance(kind, type) and issubclass(kind, Exception) and isinstance(policy, Retry)
        for kind, policy in value.items()
    ):
        return value
    raise BadOption(
        f"retry={value!r} is not a policy",
        hint="give Retry(max=3, first='1s'), or a table such as {TimeoutError: Retry(max=10), Exception: Retry(max=2)}",
    )
