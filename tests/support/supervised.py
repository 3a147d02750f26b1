"""A supervisor in a process of its own, for tests that kill it; its arguments: consumer, workers, grace."""

import asyncio
import sys
from collections.abc import Sequence

import msgspec

from headrace.bus.envelope import Receipt
from headrace.bus.transport import Evidence, Lapsed
from headrace.clock import SystemClock
from headrace.supervisor.events import Event
from headrace.supervisor.loop import Supervisor
from headrace.supervisor.settings import ConsumerSettings, Loading


async def release(worker: str, running: Sequence[Receipt], evidence: Evidence) -> Sequence[Lapsed]:
    return []


def tell(event: Event) -> None:
    print(type(event).__name__, msgspec.json.encode(event).decode(), flush=True)


if __name__ == "__main__":
    name, workers, grace = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    settings = ConsumerSettings(name, workers, grace=grace)
    loading = Loading("tests.support.seat_worker:load", path=(".",))
    sys.exit(asyncio.run(Supervisor([settings], loading, release, SystemClock(), tell).run()))
