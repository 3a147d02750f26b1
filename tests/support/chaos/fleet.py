"""A supervisor with real workers on a real store, inside the test's process."""

import asyncio
import signal
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Literal

import msgspec

from headrace.bus.envelope import Receipt
from headrace.bus.transport import Evidence, Lapsed
from headrace.compose import Releaser
from headrace.supervisor import events
from headrace.supervisor.settings import Backoff, ConsumerSettings, Loading
from tests.support.chaos.plan import Plan
from tests.support.chaos.records import Death
from tests.support.chaos.waiting import eventually
from tests.support.chaos.world import World
from tests.support.supervising import ROOT, Watched

AT_ONCE = Backoff(first=0.0, cap=0.0)


class Fleet(Watched):
    """Its workers run the application of a world; what a dead one held is given back in the store."""

    def __init__(self, world: World, consumers: Sequence[ConsumerSettings], loading: Loading) -> None:
        super().__init__(consumers, loading)
        self.world = world
        self.released: list[tuple[float, Lapsed]] = []
        self.give_back = Releaser(world.app.parts)

    async def _release(self, worker: str, running: Sequence[Receipt], evidence: Evidence) -> Sequence[Lapsed]:
        lapsed = await self.give_back(worker, running, evidence)
        self.released += [(self.clock.monotonic(), one) for one in lapsed]
        return lapsed

    @property
    def deaths(self) -> list[Death]:
        """Every worker process that has ended."""
        found = []
        for at, event in self.told:
            if isinstance(event, events.WorkerExited):
                proof = event.evidence
                charged = "it had no more time to finish" not in proof.detail
                found.append(Death(event.pid, at, event.worker, f"{proof.cause}: {proof.detail}", charged))
        return found

    @property
    def pids(self) -> dict[str, int]:
        """Of the workers that receive."""
        return {view.worker: view.pid for view in self.supervisor.workers if view.state == "running"}

    async def ready(self, count: int, within: float = 30.0) -> None:
        """Wait until so many workers receive."""
        await eventually(lambda: len(self.pids) >= count, within, f"{count} workers are ready")

    async def stopped(self, within: float = 60.0) -> int:
        """Drain; the exit code."""
        self.supervisor.stop()
        return await self.over(within)

    async def over(self, within: float) -> int:
        """The exit code, once everything has ended."""
        await eventually(lambda: self.code is not None, within, "the supervisor has stopped")
        assert self.code is not None
        return self.code

    async def died(self, count: int, within: float) -> None:
        """Wait until so many workers have ended."""
        await eventually(lambda: len(self.deaths) >= count, within, f"{count} workers are dead")

    async def idle(self, pids: Collection[int], within: float) -> None:
        """Wait until nothing runs in these processes."""
        await eventually(lambda: not any(map(self.world.running, pids)), within, "nothing runs any more")

    def kill(self, worker: str) -> None:
        """As the kernel does it."""
        self.supervisor.signal_worker(worker, signal.SIGKILL)


@asynccontextmanager
async def a_fleet(
    world: World,
    plan: Plan,
    workers: int = 4,
    *,
    role: Literal["worker", "producer"] = "worker",
    grace: float = 10.0,
    backoff: Backoff = AT_ONCE,
) -> AsyncIterator[Fleet]:
    """Runs until the block ends; what is left of it is then killed."""
    loading = Loading(f"tests.support.chaos.entry:load_{role}", msgspec.json.encode(plan).decode(), (ROOT,))
    settings = ConsumerSettings("chaos", workers, grace=grace, finite=role == "producer", backoff=backoff)
    fleet = Fleet(world, [settings], loading)
    running = asyncio.get_running_loop().create_task(fleet.run())
    try:
        yield fleet
    except BaseException:
        for at, event in fleet.told[-40:]:
            print(f"{at:.3f}", event)
        raise
    finally:
        if not running.done():
            fleet.supervisor.stop()
            fleet.supervisor.stop()
        await running
        await fleet.give_back.aclose()
    assert fleet.all(events.SupervisorFailed) == []
