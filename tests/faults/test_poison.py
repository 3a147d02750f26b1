"""A17, A18, E5, E8: messages that take their worker with them."""

import pytest

from headrace.ledger.job import State
from headrace.supervisor import events
from tests.faults.conftest import Judge, Record
from tests.support.chaos.fleet import a_fleet
from tests.support.chaos.host import a_host, little_memory
from tests.support.chaos.records import Death
from tests.support.chaos.waiting import exited
from tests.support.chaos.world import World

pytestmark = pytest.mark.slow

GOOD = 1000
MEBIBYTE = 1 << 20


@pytest.mark.parametrize("concurrency", [1, 8])
async def test_a17_poison_is_quarantined_after_three_crashes_and_no_neighbour_with_it(
    world: World, judge: Judge, concurrency: int
) -> None:
    """At the head of a thousand good ones. What ran beside it is charged at most once."""
    (poison,) = await world.send_many(world.chaos.die, [("signal:9",)])
    good = await world.send_many(world.chaos.work, [(0.002,)] * GOOD)
    async with a_fleet(world, world.plan(concurrency=concurrency), 4) as fleet:
        await world.drained(60.0)
        await fleet.stopped()

    snapshot = await world.snapshot()
    crashes = [snapshot.jobs[id].crashes for id in good]
    await judge(fleet.deaths, concurrency=concurrency, neighbours=sum(crashes))
    assert {snapshot.jobs[id].state for id in good} == {State.COMPLETED}
    assert max(crashes) <= (0 if concurrency == 1 else 1)
    assert sum(crashes) <= concurrency - 1, "only those that ran beside its first run"
    assert [run.attempt for run in world.runs() if run.id == poison] == [1, 2, 3]
    assert snapshot.jobs[poison].state == State.QUARANTINED
    assert snapshot.dead.keys() == {poison}
    assert snapshot.dead[poison].reason == "quarantined"
    assert "3 workers died running it" in snapshot.dead[poison].error
    evidence = [attempt for attempt in snapshot.attempts if attempt.id == poison]
    assert [attempt.attempt for attempt in evidence] == [1, 2, 3]
    assert all((attempt.error or "").startswith("signal 9 (SIGKILL): nobody here") for attempt in evidence)
    assert len({attempt.worker for attempt in evidence}) == 3
    assert fleet.all(events.LoadFailed) == []


@pytest.mark.parametrize("lease", [1.0])
async def test_a17_without_a_supervisor_poison_is_quarantined_and_what_was_lent_with_it_is_not(
    world: World, judge: Judge
) -> None:
    """Nobody can read the flight recorder, so all that the dead worker had been lent is charged; once."""
    (poison,) = await world.send_many(world.chaos.die, [("signal:9",)])
    good = await world.send_many(world.chaos.work, [(0.0,)] * 20)
    deaths = []
    for _ in range(3):
        with world.lonely_worker(prefetch=20) as worker:
            await exited(worker, 20.0)
            deaths.append(Death(worker.pid, world.clock.monotonic()))
    with world.lonely_worker(prefetch=20):
        await world.drained(20.0)

    snapshot = await world.snapshot()
    await judge(deaths, charged=sum(snapshot.jobs[id].crashes for id in good))
    assert snapshot.jobs[poison].state == State.QUARANTINED
    assert {snapshot.jobs[id].state for id in good} == {State.COMPLETED}
    assert max(snapshot.jobs[id].crashes for id in good) <= 1
    assert sum(run.id == poison for run in world.runs()) == 3


async def test_a18_worker_that_the_kernel_kills_for_want_of_memory_is_labelled_so(
    world: World, judge: Judge, record: Record
) -> None:
    """In a control group with little memory; its parents survive. Where we may make no such group, the kernel kills
    nobody: then it is proved that any other SIGKILL is not called a want of memory."""
    with little_memory(160 * MEBIBYTE) as enter:
        record(kernel=enter is not None)
        how = "memory:2000" if enter else "signal:9"
        (hog,) = await world.send_many(world.chaos.die, [(how,)])
        good = await world.send_many(world.chaos.work, [(0.001,)] * 100)
        with a_host(world.plan(), 2, before=enter) as host:
            await world.drained(60.0)
            deaths = [Death(run.pid, run.began) for run in world.runs() if run.id == hog]
            assert host.process.poll() is None, "the supervisor lives"
            assert host.stop() == 0

    snapshot = await world.snapshot()
    await judge(deaths)
    assert {snapshot.jobs[id].state for id in good} == {State.COMPLETED}
    assert snapshot.jobs[hog].state == State.QUARANTINED
    evidence = [attempt.error or "" for attempt in snapshot.attempts if attempt.id == hog]
    assert len(evidence) == 3
    assert all(error.startswith("signal 9 (SIGKILL): ") for error in evidence)
    assert all(("out of memory" in error) == (enter is not None) for error in evidence), evidence


async def test_e5_e8_handler_that_ends_its_process_has_crashed_and_the_cause_is_named(
    world: World, judge: Judge, record: Record
) -> None:
    """Each does it once, and is done at the second time."""
    causes = {
        "exit:0": "exit code 0: it said no goodbye: a handler has ended the process",
        "exit:3": "exit code 3: nobody here has told it to end",
        "segfault": "signal 11 (SIGSEGV): nobody here has told it to end",
        "abort": "signal 6 (SIGABRT): nobody here has told it to end",
    }
    ids = dict(zip(causes, await world.send_many(world.chaos.die, [(how, 1) for how in causes]), strict=True))
    async with a_fleet(world, world.plan(), 2) as fleet:
        await world.drained(30.0)
        await fleet.stopped()

    verdict = await judge(fleet.deaths)
    record(causes=[death.cause for death in fleet.deaths])
    assert verdict.duplicates.total() == len(causes)
    snapshot = await world.snapshot()
    for how, cause in causes.items():
        job = snapshot.jobs[ids[how]]
        assert (job.state, job.crashes, job.retries) == (State.COMPLETED, 1, 0), how
        (evidence,) = [attempt for attempt in snapshot.attempts if attempt.id == ids[how]]
        assert (evidence.outcome, evidence.attempt) == ("crashed", 1)
        assert (evidence.error or "").startswith(cause)
