"""Gives back what dead workers held, as long as it takes."""

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from headrace.bus.envelope import Receipt
from headrace.bus.transport import Evidence, Lapsed
from headrace.clock import Clock
from headrace.errors import TransportError
from headrace.supervisor.events import Event, JobsReleased, ReleaseFailed
from headrace.supervisor.settings import Backoff

Release = Callable[[str, Sequence[Receipt], Evidence], Awaitable[Sequence[Lapsed]]]
Tell = Callable[[Event], None]

STRAGGLER = 1.0  # seconds after which a claim that was on its way when the worker died has come to an end
UNREACHABLE = Backoff(first=0.2, cap=5.0, jitter=0.0)


def undisturbed(tell: Tell) -> Tell:
    """`tell`, whose trouble with its output (a closed pipe, a full disk) is not ours."""

    def quietly(event: Event) -> None:
        with contextlib.suppress(OSError):
            tell(event)

    return quietly


@dataclass(frozen=True, slots=True)
class Death:
    """What is known of a worker that is gone.

    charged    what was running in it, and is charged with a crash
    straggler  something it asked for may still be on its way to the store
    """

    worker: str
    charged: Sequence[Receipt]
    evidence: Evidence
    straggler: bool


class GiveBack:
    """Releases a dead worker's loans; a store that cannot be reached is asked until it can."""

    def __init__(self, release: Release, clock: Clock, tell: Tell) -> None:
        self._release = release
        self._clock = clock
        self._tell = tell

    async def give_back(self, death: Death) -> None:
        """Release at once, and once more when a claim may have been committed after that."""
        await self._until_done(death)
        if death.straggler:
            await self._clock.sleep(STRAGGLER)
            await self._until_done(death)

    async def _until_done(self, death: Death) -> None:
        tries = 0
        while True:
            try:
                released = await self._release(death.worker, death.charged, death.evidence)
            except TransportError as error:
                tries += 1
                if tries == 1:
                    self._tell(ReleaseFailed(death.worker, str(error)))
                await self._clock.sleep(UNREACHABLE.rest(tries + 1, 0.5))
            else:
                if released:
                    self._tell(JobsReleased(death.worker, death.evidence, released))
                return
