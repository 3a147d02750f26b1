"""A14, A15: the end of a worker in the middle of its drain, and the end of everything at once."""

import random
import time

import pytest

from tests.faults.conftest import Figure, Judge
from tests.support.chaos.fleet import a_fleet
from tests.support.chaos.host import a_host
from tests.support.chaos.records import Death
from tests.support.chaos.waiting import moment
from tests.support.chaos.world import World

pytestmark = pytest.mark.slow

GRACE = 0.4


async def test_a14_worker_killed_while_it_drains_acks_nothing_that_has_not_ended(
    world: World, many: Figure, judge: Judge
) -> None:
    """SIGTERM, and SIGKILL somewhere in the grace; what was under way then is done by others."""
    points = many(3, 20)
    deaths: list[Death] = []
    killed = 0
    for number in range(points):
        await world.send_many(world.chaos.work, [(0.03 * size,) for size in range(12)])
        async with a_fleet(world, world.plan(concurrency=4), 2, grace=GRACE) as fleet:
            await fleet.ready(2)
            await world.ran(30.0, how="", pids=fleet.pids.values(), count=4)
            fleet.supervisor.stop()
            await moment(time.monotonic() + GRACE * number / points)
            fleet.supervisor.stop()  # a second time: now
            await fleet.over(30.0)
            deaths += fleet.deaths
            killed += sum("signal 9" in death.cause for death in fleet.deaths)
    async with a_fleet(world, world.plan(concurrency=4), 2) as fleet:
        await world.drained(30.0)
        await fleet.stopped()

    verdict = await judge(deaths + fleet.deaths, killed=killed, drained=2 * points - killed)
    assert killed, "nobody was killed in the middle of a drain"
    assert verdict.accepted == 12 * points
    assert {job.crashes for job in (await world.snapshot()).jobs.values()} == {0}, "our impatience is nobody's crash"


async def test_a15_everything_recovers_by_itself_after_a_power_cut(world: World, many: Figure, judge: Judge) -> None:
    """Supervisor, zygote and workers are killed together, again and again, and started again."""
    cuts, dice = many(5, 50), random.Random(15)
    deaths: list[Death] = []
    again: list[float] = []
    for _ in range(cuts):
        if await world.left() < 200:
            await world.send_many(world.chaos.work, [(0.02,)] * 200)
        began = time.monotonic()
        with a_host(world.plan(concurrency=2), 3) as host:
            (first, *_) = await world.ran(30.0, since=began)
            again.append(first.began - began)
            await moment(time.monotonic() + dice.uniform(0.0, 0.3))
            deaths += host.power_cut()
    with a_host(world.plan(concurrency=2), 3) as host:
        await world.drained(60.0)
        deaths += [Death(process.pid, time.monotonic()) for process in host.processes()]
        assert host.stop() == 0

    verdict = await judge(deaths, most_attempts=cuts + 8, cuts=cuts, restart_max=round(max(again), 2))
    assert verdict.lost == 0
    assert all(seconds <= world.lease + 2.0 for seconds in again)
