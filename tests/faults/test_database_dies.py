"""B1, B2: PostgreSQL is restarted and crashed under load."""

import asyncio
import time
from dataclasses import dataclass, field

import pytest
from anyio import to_thread

from tests.faults.conftest import Figure, Judge
from tests.support.chaos.checker import LAPSE, STORE
from tests.support.chaos.fleet import a_fleet
from tests.support.chaos.waiting import eventually
from tests.support.chaos.world import World
from tests.support.postgres import Postgres

pytestmark = pytest.mark.slow

AGAIN = 5.0  # seconds from accepting connections until jobs are done again
JOB = 0.02


def go_away(server: Postgres, how: str) -> None:
    """And come back."""
    if how == "kill":
        server.crash()
    else:
        server.stop(how)
    server.start()


@pytest.fixture
def store(private_postgres: Postgres) -> str:
    """A database on a server of the test's own."""
    return private_postgres.dsn


@pytest.fixture
def lease() -> float:
    return 30.0


@dataclass
class Load:
    """Sends all the time; what was refused or is unknown is sent again under its id until it is accepted."""

    world: World
    pending: dict[str, None] = field(default_factory=dict)
    stopping: bool = False

    async def run(self) -> None:
        while not self.stopping or self.pending:
            batch = list(self.pending) or [self.world.id() for _ in range(8)]
            for id in batch:
                self.pending[id] = None
                await self.world.send(self.world.chaos.work, JOB, id=id)
            answered = self.world.sends()
            for id in batch:
                if id in answered.accepted:
                    del self.pending[id]
            if await self.world.left() > 400:
                await eventually(self._short, 60.0)

    async def _short(self) -> bool:
        return 0 <= await self.world.left() < 200


@pytest.mark.parametrize("how", ["fast", "immediate", "kill"])
async def test_b1_b2_database_that_went_away_is_worked_on_within_five_seconds_of_its_return(
    world: World, private_postgres: Postgres, many: Figure, judge: Judge, how: str
) -> None:
    """Four workers and a producer go on by themselves; what was accepted is done, what was unknown is there once."""
    rounds = many(2, 20)
    crashes: list[float] = []
    again: list[float] = []
    load = Load(world)
    async with a_fleet(world, world.plan(), 4) as fleet, asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(load.run())
        await fleet.ready(4)
        for number in range(rounds):
            done = sum(run.how == "done" for run in world.runs())
            await world.ran(30.0, how="done", count=done + 50 + 10 * number)
            crashes.append(time.monotonic())
            await to_thread.run_sync(go_away, private_postgres, how)
            accepting = time.monotonic()
            (first, *_) = await world.ran(30.0, since=accepting)
            again.append(first.began - accepting)
        load.stopping = True
        await sending
        drained = await world.drained(60.0)
        assert set(fleet.pids.values()) == {run.pid for run in world.runs()}, "no worker has died"
        await fleet.stopped()

    verdict = await judge(
        fleet.deaths,
        store_crashes=crashes if how != "fast" else (),
        how=how,
        restarts=rounds,
        again=round(max(again), 2),
        drained=round(drained, 1),
    )
    assert max(again) <= AGAIN
    assert verdict.lost == 0
    assert verdict.unknown == 0, "all were sent again"
    assert verdict.duplicates.keys() <= ({STORE} if how != "fast" else set())
    assert drained < 10.0
    assert LAPSE not in verdict.duplicates
    assert (await world.snapshot()).jobs.keys() == world.sends().attempted.keys()
