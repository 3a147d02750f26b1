"""Values of the bus, as tests need them."""

from typing import Any

import msgspec

from headrace.bus.envelope import Delivery, Envelope, Outcome, Settlement
from headrace.bus.retry import Verdict

ID = "0190a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b"
_FIRST = Delivery(
    receipt=(1, 1),
    id=ID,
    type="shop.greet",
    queue="default",
    body=b"{}",
    headers="{}",
    priority=4,
    retries=0,
    crashes=0,
    tracked=True,
    expired=False,
    parked=0.0,
    waited=0.0,
)


def a_delivery(**changes: Any) -> Delivery:
    """A first delivery, but for `changes`."""
    return msgspec.structs.replace(_FIRST, **changes)


def an_envelope(**changes: Any) -> Envelope:
    """An envelope of nothing in particular, but for `changes`."""
    return msgspec.structs.replace(Envelope(ID, "shop.greet", b"{}"), **changes)


def a_settlement(verdict: Verdict, outcome: Outcome | None = None, **changes: Any) -> Settlement:
    """The end of the loan of `a_delivery(**changes)`."""
    return Settlement(a_delivery(**changes), verdict, outcome or Outcome())


def settled(delivery: Delivery, verdict: Verdict, outcome: Outcome | None = None) -> Settlement:
    """The end of this loan."""
    return Settlement(delivery, verdict, outcome or Outcome())
