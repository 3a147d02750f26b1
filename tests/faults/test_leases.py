"""A13, A16, E2: leases of workers that die in a heartbeat, that sleep for too long, and that only seem to."""

import asyncio
import signal
import time
from contextlib import ExitStack

import pytest

from tests.faults.conftest import Figure, Judge
from tests.support.chaos.checker import LAPSE
from tests.support.chaos.fleet import a_fleet
from tests.support.chaos.records import Death
from tests.support.chaos.waiting import exited, moment
from tests.support.chaos.world import World

pytestmark = pytest.mark.slow

BEAT = 1 / 3  # of a lease


async def test_a13_worker_killed_in_a_heartbeat_holds_nothing_for_longer_than_it_has_committed(
    world: World, judge: Judge
) -> None:
    """Without a supervisor: one dies before the commit of its second extension, one after it; a third takes over."""
    with ExitStack() as stack:
        jobs = {}
        for point in ("extend.before_commit", "extend.after_commit"):
            worker = stack.enter_context(world.lonely_worker(f"{point}=kill@2", queues=[point], prefetch=0))
            jobs[point] = worker, await world.send(world.chaos.gate, "never", queue=point)
        await world.ran(30.0, ids=[id for _, id in jobs.values()], count=2)
        stack.enter_context(world.lonely_worker(queues=list(jobs), prefetch=0))
        deaths = []
        for point, (worker, id) in sorted(jobs.items(), reverse=True):  # before_commit dies first, or they die together
            await exited(worker, 30.0)
            deaths.append(Death(worker.pid, time.monotonic()))
            left = (await world.leases())[id]
            committed_now = point == "extend.after_commit"
            assert left <= world.lease * (1.0 if committed_now else 1 - BEAT / 2), point
        await world.drained(30.0)

    verdict = await judge(deaths, kills=2)
    assert verdict.duplicates.total() == 2
    again = [run for run in world.runs() if run.attempt == 2]
    assert len(again) == 2
    bound = world.lease * (1 + BEAT) + 1
    assert all(run.began - death.at <= bound for run, death in zip(again, deaths, strict=False))


async def test_a16_worker_that_was_stopped_for_three_leases_writes_nothing(
    world: World, many: Figure, judge: Judge
) -> None:
    """Its jobs have been run by others meanwhile; what it says of them afterwards is refused."""
    rounds, each = many(1, 16), 8
    stale = 0
    async with a_fleet(world, world.plan(concurrency=each), 4) as fleet:
        for number in range(rounds):
            await fleet.ready(4)
            path = str(world.folder / f"open-{number}")
            for task, *more in ((world.chaos.gate,), (world.chaos.agate, False), (world.chaos.agate, True)):
                await world.send_many(task, [(path, *more)] * each)
            held = await world.ran(20.0, how="", count=3 * each)
            victims = {worker: pid for worker, pid in fleet.pids.items() if world.running(pid)}
            for worker in victims:
                fleet.supervisor.signal_worker(worker, signal.SIGSTOP)
            stopped_at = time.monotonic()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(world.drained(30.0))
                tasks.create_task(moment(stopped_at + 3 * world.lease))
            before = await world.snapshot()
            world.touch(f"open-{number}")
            for worker in victims:
                fleet.supervisor.signal_worker(worker, signal.SIGCONT)
            await fleet.idle(victims.values(), 10.0)
            stale += len(held)
            await world.ended(await world.send(world.chaos.work, 0.0), 10.0)
            after = await world.snapshot()
            assert {id: after.jobs[id] for id in before.jobs} == before.jobs
            assert after.attempts == before.attempts
        await fleet.stopped()

    verdict = await judge(fleet.deaths, stale=stale)
    assert verdict.duplicates == {LAPSE: stale}


@pytest.mark.parametrize("lease", [1.0])
async def test_e2_handler_that_blocks_its_thread_or_its_loop_for_five_leases_runs_once(
    world: World, judge: Judge
) -> None:
    """Asleep and busy; each has a worker of its own, and others are there to take over."""
    seconds = 5 * world.lease
    async with a_fleet(world, world.plan(), 4) as fleet:
        await fleet.ready(4)
        await world.send_many(world.chaos.block, [(seconds, False), (seconds, True)])
        await world.send(world.chaos.threaded, seconds)
        await world.drained(30.0)
        await fleet.stopped()

    verdict = await judge(fleet.deaths, seconds=seconds)
    assert verdict.starts == 3
    assert {job.crashes for job in (await world.snapshot()).jobs.values()} == {0}
