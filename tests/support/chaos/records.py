"""What the checker knows of a store and of the processes that have ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stored:
    """A job."""

    state: str
    retries: int
    crashes: int
    result: str | None
    worker: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message."""

    leased: bool
    loan: int
    retries: int
    crashes: int


@dataclass(frozen=True, slots=True)
class Buried:
    """A dead letter."""

    reason: str
    crashes: int
    error: str


@dataclass(frozen=True, slots=True)
class Attempted:
    """An attempt that failed or crashed."""

    id: str
    attempt: int
    outcome: str
    worker: str | None
    error: str | None

    @property
    def lapsed(self) -> bool:
        """Whether its lease ran out."""
        return self.outcome == "crashed" and (self.error or "").startswith("lease lapsed")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a store holds. counts: waiting, leased and dead, as the API says."""

    jobs: Mapping[str, Stored]
    messages: Mapping[str, Waiting]
    dead: Mapping[str, Buried]
    attempts: Sequence[Attempted]
    counts: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Death:
    """A process that has ended.

    at       when that was noticed, and before anything was done about it
    charged  whether its jobs are to blame: not when their supervisor had no more patience
    """

    pid: int
    at: float
    worker: str = ""
    cause: str = ""
    charged: bool = True
