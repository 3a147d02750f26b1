"""Facts in the past tense. Listeners hear them; nobody can answer them."""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from headrace.bus.envelope import Delivery, Envelope
from headrace.bus.retry import Verdict


class Sent(msgspec.Struct, frozen=True):
    """These envelopes are stored durably."""

    queue: str
    envelopes: Sequence[Envelope]


class Received(msgspec.Struct, frozen=True):
    """A worker was lent these deliveries."""

    queue: str
    deliveries: Sequence[Delivery]


class Started(msgspec.Struct, frozen=True):
    """A handler is about to run."""

    queue: str
    delivery: Delivery


class Settled(msgspec.Struct, frozen=True):
    """The verdict on a delivery, `ran` seconds after its handler started, is recorded."""

    queue: str
    delivery: Delivery
    verdict: Verdict
    ran: float
    error: str
    result: bytes | None


class LeaseWasLost(msgspec.Struct, frozen=True):
    """A loan ended under a running handler; its outcome was not recorded."""

    queue: str
    delivery: Delivery


class WorkerStarted(msgspec.Struct, frozen=True):
    """A worker is about to receive."""

    queue: str  # its queues, joined by commas
    worker: str


class WorkerStopped(msgspec.Struct, frozen=True):
    """A worker has settled or returned all it held."""

    queue: str
    worker: str
    reason: str


class ConnectionLost(msgspec.Struct, frozen=True):
    """The store cannot be reached; the worker keeps trying."""

    queue: str
    error: str


class Reconnected(msgspec.Struct, frozen=True):
    """The store answers again, after `away` seconds."""

    queue: str
    away: float


Event = (
    Sent | Received | Started | Settled | LeaseWasLost | WorkerStarted | WorkerStopped | ConnectionLost | Reconnected
)
Listener = Callable[[Any], object]

_log = logging.getLogger("headrace")


class Events:
    """Who listens to what, for all queues or for one."""

    def __init__(self) -> None:
        self._listeners: dict[type, list[tuple[str | None, Listener]]] = defaultdict(list)

    def listen(self, kind: type, listener: Listener, queue: str | None = None) -> None:
        """Call `listener` with each event of this kind (on this queue)."""
        self._listeners[kind].append((queue, listener))

    def wanted(self, kind: type) -> bool:
        """Whether anybody listens; an event that nobody hears is not made."""
        return kind in self._listeners

    def tell(self, event: Event) -> None:
        """Call each listener. They cannot answer, not even by raising: that is logged."""
        for queue, listener in self._listeners.get(type(event), ()):
            if queue is None or queue == event.queue:
                try:
                    listener(event)
                except Exception:  # noqa: BLE001  # your listener
                    _log.exception("a listener of %s raised", type(event).__name__)
