"""The port: what a broker must do for headrace, and what it may do besides."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from headrace.bus.envelope import Delivery, Duplicate, Envelope, Receipt, Report, Sent, Settlement


class Transport(Protocol):
    """Moves bytes. Every method may raise TransportError, and nothing else of its broker's."""

    async def send(self, envelopes: Sequence[Envelope]) -> Sequence[Sent | Duplicate]:
        """Store all or raise; durable on return. OutcomeUnknown when the connection broke midway."""
        ...

    async def receive(self, queues: Sequence[str], limit: int, wait: float) -> Sequence[Delivery]:
        """Lend at most `limit` messages, earlier queues first; waits up to `wait` seconds for one."""
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> Collection[Receipt]:
        """End these loans, all in one transaction; returns the refused ones (lost leases)."""
        ...

    async def aclose(self) -> None: ...


class Lapsed(msgspec.Struct, frozen=True):
    """A loan that ended without a verdict. `charged`: counted as a crash of the message."""

    id: str
    type: str
    queue: str
    worker: str
    crashes: int
    charged: bool


class Evidence(msgspec.Struct, frozen=True):
    """How a worker ended, for the record of the jobs that were running in it."""

    cause: str  # "signal 9 (SIGKILL)", "exit code 3", "lease lapsed"
    detail: str = ""


@runtime_checkable
class Leasing(Protocol):
    """Loans with a term, held under a worker's name."""

    lease: float  # seconds

    async def extend(self, receipts: Sequence[Receipt]) -> Collection[Receipt]:
        """Renew these loans; returns the refused ones, which are lost."""
        ...

    async def reap(self) -> Sequence[Lapsed]:
        """Give back what lapsed, each charged with a crash."""
        ...

    async def release_worker(self, worker: str, started: Collection[Receipt], evidence: Evidence) -> Sequence[Lapsed]:
        """Give back all that a dead worker held, at once; only what had started is charged."""
        ...


@runtime_checkable
class Interruptible(Protocol):
    """Ends a receive that is waiting; it returns what it has, and the next ones do not wait."""

    def interrupt(self) -> None: ...


@runtime_checkable
class Reporting(Protocol):
    """Takes news of running jobs; a report of a lost lease is ignored."""

    async def report(self, reports: Sequence[Report]) -> None: ...


class Counts(msgspec.Struct, frozen=True):
    """One queue. oldest: seconds since the longest-waiting ready message became due."""

    ready: int = 0
    leased: int = 0
    delayed: int = 0
    dead: int = 0
    oldest: float = 0.0


@runtime_checkable
class Countable(Protocol):
    """Knows how much is waiting."""

    async def counts(self) -> Mapping[str, Counts]: ...
