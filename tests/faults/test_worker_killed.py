"""A7: workers are killed at random instants of their handlers."""

import pytest

from headrace.supervisor import events
from tests.faults.conftest import Figure, Judge, Record
from tests.support.chaos.checker import AFTERWARDS, CRASH
from tests.support.chaos.diary import Run
from tests.support.chaos.fleet import a_fleet
from tests.support.chaos.monkey import Monkey
from tests.support.chaos.world import World

pytestmark = pytest.mark.slow

SEED = 20_260


@pytest.mark.parametrize("form", ["work", "threaded"])
async def test_a7_jobs_survive_kills_of_the_workers_that_run_them(
    world: World, many: Figure, judge: Judge, record: Record, form: str
) -> None:
    """Jobs of 20 ms on four workers; every kill hits a worker that was running something."""
    hits = many(15, 500)
    task = getattr(world.chaos, form)
    async with a_fleet(world, world.plan(), 4) as fleet:
        await fleet.ready(4)
        monkey = Monkey(fleet, SEED)
        while len(monkey.hits) < hits:
            if await world.left() < 200:
                await world.send_many(task, [(0.02,)] * 200)
            await fleet.ready(4)
            await monkey.strike()
        await world.drained(60.0)
        assert await fleet.stopped() == 0

    held = sum(len(hit.held) for hit in monkey.hits)
    verdict = await judge(fleet.deaths, kills=len(monkey.hits), missed=monkey.missed, held=held, most_attempts=40)
    assert verdict.lost == 0
    assert verdict.duplicates[CRASH] == held
    assert verdict.duplicates[AFTERWARDS] <= len(monkey.hits) + monkey.missed, "what had ended and was not settled yet"
    assert verdict.duplicates.keys() <= {CRASH, AFTERWARDS}
    again = recovery(monkey, world.runs())
    record(again_p50=round(sorted(again)[len(again) // 2], 3), again_max=round(max(again), 3))
    assert max(again) <= 2.0, "a killed worker's jobs run again within two seconds"
    snapshot = await world.snapshot()
    crashed = [attempt for attempt in snapshot.attempts if attempt.outcome == "crashed"]
    assert held <= len(crashed) <= held + verdict.duplicates[AFTERWARDS], "charged is what was running"
    assert {attempt.worker for attempt in crashed} >= {hit.worker for hit in monkey.hits}
    assert all("signal 9 (SIGKILL)" in (attempt.error or "") for attempt in crashed)
    assert fleet.all(events.ReleaseFailed) == []


def recovery(monkey: Monkey, runs: list[Run]) -> list[float]:
    """Seconds from each kill until what it had hit was running again."""
    found = []
    for hit in monkey.hits:
        for held in hit.held:
            again = [run.began for run in runs if run.id == held.id and run.began > hit.at and run.pid != hit.pid]
            found.append(min(again) - hit.at)
    return found
