"""E6, E10, E14, E17: handlers that raise what nobody expects, return what nobody can keep, and never stop talking."""

import pytest

from headrace.ledger.job import State
from tests.faults.conftest import Judge, Record
from tests.support.chaos.fleet import a_fleet
from tests.support.chaos.misbehaviour import ENDS, RESULTS, TEXTS
from tests.support.chaos.world import World

pytestmark = pytest.mark.slow

KEPT = 70_000  # characters of a stored error, with what is said about it


async def test_e6_e14_whatever_a_handler_raises_its_job_has_failed_and_its_worker_goes_on(
    world: World, judge: Judge
) -> None:
    """In a thread, on the loop, and on the loop after it has waited; all in one worker."""
    names = [*ENDS, *TEXTS]
    async with a_fleet(world, world.plan(concurrency=3), 1) as fleet:
        await fleet.ready(1)
        ids = [
            *await world.send_many(world.chaos.raises, [(name,) for name in names]),
            *await world.send_many(world.chaos.araises, [(name, False) for name in names]),
            *await world.send_many(world.chaos.araises, [(name, True) for name in names]),
        ]
        await world.drained(30.0)
        last = await world.send(world.chaos.work, 0.0)
        await world.ended(last, 10.0)
        pids = set(fleet.pids.values())
        assert fleet.deaths == [], "the worker lives"
        await fleet.stopped()

    verdict = await judge(fleet.deaths)
    assert verdict.starts == len(ids) + 1
    assert {run.pid for run in world.runs()} == pids
    snapshot = await world.snapshot()
    for id, name in zip(ids, names * 3, strict=True):
        job = snapshot.jobs[id]
        assert (job.state, job.retries, job.crashes) == (State.FAILED, 0, 0), (name, job)
        assert snapshot.dead[id].error == job.error
        assert 0 < len(job.error or "") <= KEPT, name
        if name in ENDS and name != "StopIteration":
            assert name in (job.error or ""), job.error


async def test_e10_whatever_a_handler_returns_its_job_is_done_or_has_failed(world: World, judge: Judge) -> None:
    """What kills its worker while it is encoded is poison too."""
    names = [name for name in RESULTS if name != "kills"]
    async with a_fleet(world, world.plan(concurrency=3), 1) as fleet:
        await fleet.ready(1)
        ids = dict(zip(names, await world.send_many(world.chaos.answers, [(n,) for n in names]), strict=True))
        await world.drained(30.0)
        assert fleet.deaths == [], "the worker lives"
        (killer,) = await world.send_many(world.chaos.answers, [("kills",)])
        await world.ended(killer, 20.0)
        await fleet.stopped()

    await judge(fleet.deaths)
    snapshot = await world.snapshot()
    assert {name: snapshot.jobs[id].state for name, id in ids.items()} == dict.fromkeys(names, State.COMPLETED)
    kept = {name for name, id in ids.items() if snapshot.jobs[id].result is not None}
    assert kept == {"bytes"}
    for name in set(names) - kept:
        assert (snapshot.jobs[ids[name]].error or "").startswith("HR405"), name
    assert snapshot.jobs[killer].state == State.QUARANTINED
    assert sum(run.id == killer for run in world.runs()) == 3


async def test_e17_progress_is_written_a_few_times_a_second_clamped_and_not_after_the_end(
    world: World, judge: Judge, record: Record
) -> None:
    """Two seconds of as much news as it can make; the store counts what is written of it."""
    seconds = 2.0
    await world.left()
    await count_writes(world)
    async with a_fleet(world, world.plan(), 1) as fleet:
        id = await world.send(world.chaos.chatter, seconds)
        await world.drained(20.0)
        last = await world.send(world.chaos.work, 0.1)
        await world.ended(last, 10.0)
        await fleet.stopped()

    await judge(fleet.deaths)
    notes = [row[0] for row in await world.sql("SELECT note FROM chaos_writes WHERE id = $1 ORDER BY at", id)]
    ((progress, note),) = await world.sql("SELECT progress, note FROM headrace_jobs WHERE CAST(id AS text) = $1", id)
    said = int(note.split(" ")[-1])
    record(said=said, writes=len(notes), per_second=round(len(notes) / (seconds + 0.4), 1))
    assert said > 10_000 * seconds / 2
    assert 3 <= len(notes) <= 5 * (seconds + 0.6)
    assert note == f"said {said}"
    assert progress == 1.0
    assert "after the end" not in notes


async def count_writes(world: World) -> None:
    """Let the store note every change of a job that is still running."""
    await world.sql(
        "CREATE TABLE chaos_writes (at INTEGER, id TEXT, note TEXT)"
        if world.sqlite
        else "CREATE TABLE chaos_writes (at bigint GENERATED ALWAYS AS IDENTITY, id text, note text)"
    )
    if world.sqlite:
        await world.sql("""CREATE TRIGGER chaos AFTER UPDATE ON headrace_jobs WHEN NEW.state = 'processing' BEGIN
          INSERT INTO chaos_writes VALUES ((SELECT count(*) FROM chaos_writes), NEW.id, NEW.note); END""")
        return
    await world.sql("""CREATE FUNCTION chaos() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF NEW.state = 'processing' THEN INSERT INTO chaos_writes (id, note) VALUES (NEW.id::text, NEW.note); END IF;
      RETURN NULL; END $$""")
    await world.sql("CREATE TRIGGER chaos AFTER UPDATE ON headrace_jobs FOR EACH ROW EXECUTE FUNCTION chaos()")
