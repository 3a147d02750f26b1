"""A supervisor in a process of its own, to be killed with all that it has: PLAN WORKERS.

It begins when it has read a line, tells each event on its stdout, and is stopped by SIGTERM.
"""

import asyncio
import signal
import sys

import msgspec

from headrace.clock import SystemClock
from headrace.compose import Releaser
from headrace.supervisor.events import Event
from headrace.supervisor.loop import Supervisor
from headrace.supervisor.settings import Backoff, ConsumerSettings, Loading
from tests.support.chaos.plan import Plan


async def run(plan: Plan, workers: int) -> int:
    settings = ConsumerSettings("chaos", workers, grace=5.0, backoff=Backoff(first=0.0, cap=0.0))
    loading = Loading("tests.support.chaos.entry:load_worker", sys.argv[1], (".",))
    release = Releaser(plan.chaos().app.parts)
    supervisor = Supervisor([settings], loading, release, SystemClock(), tell)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, supervisor.stop)
    code = await supervisor.run()
    await release.aclose()
    return code


def tell(event: Event) -> None:
    print(type(event).__name__, msgspec.json.encode(event).decode(), flush=True)


if __name__ == "__main__":
    sys.stdin.readline()
    sys.exit(asyncio.run(run(msgspec.json.decode(sys.argv[1], type=Plan), int(sys.argv[2]))))
