"""A5, A6, A8 to A12: a worker is killed at each point of a message's life that its store knows of."""

import pytest

from tests.faults.conftest import Figure, Judge
from tests.support.chaos.fleet import Fleet, a_fleet
from tests.support.chaos.world import World

pytestmark = pytest.mark.slow

ROUNDS = (3, 200)
AGAIN = 2.0  # seconds from a death until what the worker held runs again
NOT_DONE = ["settle.before", "settle.before_commit"]


@pytest.mark.parametrize(
    ("then", "points", "starts", "letters"),
    [
        pytest.param("done", NOT_DONE, 2, 0, id="a8-a9-after-the-handler-before-the-commit"),
        pytest.param("done", ["settle.after_commit"], 1, 0, id="a9-after-the-commit"),
        pytest.param("fail", NOT_DONE, 3, 0, id="a10-a11-before-the-retry-is-stored"),
        pytest.param("fail", ["settle.after_commit"], 2, 0, id="a11-after-the-retry-is-stored"),
        pytest.param("reject", [*NOT_DONE, "settle.mid"], 2, 1, id="a12-before-it-is-buried"),
        pytest.param("reject", ["settle.after_commit"], 1, 1, id="a12-after-it-is-buried"),
    ],
)
async def test_worker_killed_while_it_settles_has_either_settled_or_not(
    world: World, many: Figure, judge: Judge, then: str, points: list[str], starts: int, letters: int
) -> None:
    """One message at a time kills its worker at its own settling, and is settled by the next one."""
    rounds = many(*ROUNDS)
    async with a_fleet(world, world.plan(prefetch=0), 1) as fleet:
        for point in points * rounds:
            before = len(fleet.deaths)
            id = await world.send(world.chaos.armed, f"{point}=kill@1", then)
            await world.ended(id, 30.0)
            await fleet.died(before + 1, 10.0)
            assert sum(run.id == id for run in world.runs()) == starts, point
        again = recovery(fleet, world)
        await fleet.stopped()

    kills = rounds * len(points)
    verdict = await judge(fleet.deaths, kills=kills, again=round(max(again, default=0.0), 3))
    assert [death.cause[:8] for death in fleet.deaths[:-1]] == ["signal 9"] * kills
    assert all(seconds <= AGAIN for seconds in again)
    snapshot = await world.snapshot()
    assert verdict.accepted == len(snapshot.jobs) == kills
    assert {job.crashes for job in snapshot.jobs.values()} == {0}, "its handler was not running"
    assert {job.retries for job in snapshot.jobs.values()} == {1 if then == "fail" else 0}, "counted once"
    assert len(snapshot.dead) == letters * kills


@pytest.mark.parametrize(
    ("point", "released"),
    [pytest.param("claim.before_commit", 0, id="a5-before"), pytest.param("claim.after_commit", 1, id="a6-after")],
)
async def test_worker_killed_while_it_claims_has_started_nothing(
    world: World, many: Figure, judge: Judge, point: str, released: int
) -> None:
    """The claim of the second message kills; before the commit there is no loan, after it nobody has begun."""
    rounds = many(*ROUNDS)
    targets = []
    async with a_fleet(world, world.plan(prefetch=0), 1) as fleet:
        await fleet.ready(1)
        for _ in range(rounds):
            before = len(fleet.deaths)
            plan = (f"{point}=kill@1",)
            fuse, target = await world.send_many(world.chaos.armed, [plan, ("",)])
            targets.append(target)
            await world.ended(target, 30.0)
            await world.ended(fuse, 30.0)
            assert len(fleet.deaths) == before + 1
        deaths, again = fleet.deaths, recovery(fleet, world)
        await fleet.stopped()

    await judge(fleet.deaths, kills=rounds, again=round(max(again, default=0.0), 3))
    runs = [run for run in world.runs() if run.id in targets]
    assert [(run.attempt, run.how) for run in runs] == [(1, "done")] * rounds
    assert {run.receipt[1] for run in runs} == {1 + released}, "loans that were committed"
    assert all(run.began - death.at <= AGAIN for run, death in zip(runs, deaths, strict=True))
    assert {job.crashes for job in (await world.snapshot()).jobs.values()} == {0}


def recovery(fleet: Fleet, world: World) -> list[float]:
    """Seconds from each death until what the dead worker had held was running again."""
    found = []
    for _, lapsed in fleet.released:
        (death,) = [death for death in fleet.deaths if death.worker == lapsed.worker]
        again = [run.began for run in world.runs() if run.id == lapsed.id and run.began >= death.at]
        found += [min(again) - death.at] if again else []
    return found
