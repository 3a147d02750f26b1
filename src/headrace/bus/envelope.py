"""What travels: the envelope, the delivery on loan, the settlement that ends the loan. Pure.

These are msgspec Structs, not dataclasses: one is made per message, and a Struct is made in a
twentieth of the time (docs/decisions/0003).
"""

from collections.abc import Mapping

import msgspec

from headrace.bus.retry import Ack, Return, Verdict

PRIORITIES = range(10)
DEFAULT_PRIORITY = 4
HANDLER_HEADER = "handler"  # the handler that a message is addressed to
NO_HEADERS: Mapping[str, str] = {}


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """One encoded message on its way to a queue.

    id        UUIDv7; a second send of the same id stores nothing
    type      wire name; a label, never imported
    body      JSON
    headers   text to text
    priority  0 to 9, larger first
    delay     seconds until it may run
    at        unix seconds before which it may not run; overrides delay
    expires   unix seconds after which it must not start
    unique    key that one waiting or running message may hold
    tracked   whether the ledger keeps a job about it
    """

    id: str
    type: str
    body: bytes
    queue: str = "default"
    headers: Mapping[str, str] = NO_HEADERS
    priority: int = DEFAULT_PRIORITY
    delay: float = 0.0
    at: float | None = None
    expires: float | None = None
    unique: str | None = None
    tracked: bool = True


class Sent(msgspec.Struct, frozen=True):
    """The message is stored durably under this id."""

    id: str


class Duplicate(msgspec.Struct, frozen=True):
    """Nothing was stored: the message of id `of` holds the id or the unique key."""

    of: str


Receipt = tuple[int, int]  # (row, loan); opaque outside the transport


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """An envelope on loan, to be settled once.

    receipt  the transport's token for this loan
    headers  as the wire has them: JSON text
    retries  verdicts that gave it back
    crashes  loans that ended without a verdict
    expired  whether it came too late to be run
    parked   seconds since a worker first did not know its type
    waited   seconds between being due and this loan
    """

    receipt: Receipt
    id: str
    type: str
    queue: str
    body: bytes
    headers: str
    priority: int
    retries: int
    crashes: int
    tracked: bool
    expired: bool
    parked: float
    waited: float

    @property
    def attempt(self) -> int:
        """1 the first time; crashes and retries both count."""
        return self.retries + self.crashes + 1


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What the ledger should know of one attempt.

    result       JSON, or None
    error        text for people, with the traceback; "" when there was none
    fingerprint  equal for errors of the same cause
    ran          seconds the handler took
    log          what the handler logged, capped
    """

    result: bytes | None = None
    error: str = ""
    fingerprint: str = ""
    ran: float = 0.0
    log: str = ""


NO_OUTCOME = Outcome()


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """The end of a loan: what becomes of the message, and what is recorded of the attempt."""

    delivery: Delivery
    verdict: Verdict
    outcome: Outcome

    @property
    def failed(self) -> bool:
        """Whether the attempt failed."""
        return not isinstance(self.verdict, Ack | Return)


class Report(msgspec.Struct, frozen=True, gc=False):
    """News of a loan that goes on: it is processing, and how far it is.

    ran       seconds since the handler started
    progress  0 to 1, or None when the handler says nothing
    """

    receipt: Receipt
    id: str
    ran: float
    progress: float | None = None
    note: str = ""
