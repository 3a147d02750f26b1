"""Retention: what is old enough goes, batch by batch; what lives stays."""

import pytest

from headrace.errors import BadOption
from headrace.ledger import prune
from headrace.ledger.prune import Pruned, Retention
from tests.support.ledgers import DAY, House


async def aged(house: House, job: str, days: float) -> str:
    for column in ("created_at", "finished_at"):
        await house.ago("headrace_jobs", column, job, days * DAY)
    await house.ago("headrace_dead", "died_at", job, days * DAY)
    return job


async def a_history(house: House) -> set[str]:
    """Jobs of every state and age; answers those that must stay under Retention()."""
    goes = [
        await aged(house, await house.completed(), 7.1),
        await aged(house, await house.cancelled(), 8),
        await aged(house, await house.failed(), 91),
        await aged(house, await house.quarantined(), 90.1),
        await aged(house, await house.expired(), 100),
    ]
    stays = {
        await house.completed(),
        await aged(house, await house.completed(), 6.9),
        await aged(house, await house.cancelled(), 6.9),
        await aged(house, await house.failed(), 89.9),
        await aged(house, await house.expired(), 50),
        await aged(house, await house.processing(), 400),
        await aged(house, await house.retrying(), 400),
        await aged(house, await house.send(queue="later"), 400),
    }
    assert await house.count("headrace_jobs") == len(goes) + len(stays)
    return stays


@pytest.mark.parametrize(("batch", "window"), [(1_000, 10_000), (1, 1), (2, 3)])
async def test_prune_removes_what_count_counted_and_no_more(
    house: House, batch: int, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "BATCH", batch)
    monkeypatch.setattr(prune, "WINDOW", window)
    stays = await a_history(house)

    assert await house.ledger.pruner.count(Retention()) == Pruned(done=2, failed=3, dead=3)
    assert await house.count("headrace_jobs") == len(stays) + 5
    assert await house.ledger.pruner.prune(Retention()) == Pruned(done=2, failed=3, dead=3)
    assert await house.ledger.pruner.prune(Retention()) == Pruned()

    assert {job.id for job in await house.ledger.jobs()} == stays
    orphans = "SELECT count(*) FROM headrace_attempts WHERE job_id NOT IN (SELECT id FROM headrace_jobs)"
    assert (await house.sql(orphans))[0][0] == 0
    assert await house.count("headrace_attempts") == 2, "of what stays: one failed, one retrying"


async def test_none_keeps_for_ever_and_zero_keeps_nothing_that_has_ended(house: House) -> None:
    stays = await a_history(house)
    assert await house.ledger.pruner.prune(Retention(done=None, failed=None, dead=None)) == Pruned()
    pruned = await house.ledger.pruner.prune(Retention(done=None, failed="1h", dead=None))
    assert pruned == Pruned(failed=5)
    assert await house.count("headrace_dead") == 5

    await house.ledger.pruner.prune(Retention(done=0, failed=0, dead=0))

    left = {job.id: job.state for job in await house.ledger.jobs()}
    assert set(left) < stays
    assert sorted(left.values()) == ["pending", "processing", "retrying"]
    assert await house.count("headrace_dead") == 0


async def test_dead_letter_that_outlives_its_job_can_be_retried(house: House) -> None:
    job = await aged(house, await house.failed(), 5)
    assert await house.ledger.pruner.prune(Retention(failed="1d")) == Pruned(failed=1)
    assert await house.ledger.dead.retry(job) == 1
    assert (await house.ledger.job(job)).retries == 0


@pytest.mark.parametrize("field", ["done", "failed", "dead"])
def test_retention_that_is_no_duration_is_refused(field: str) -> None:
    with pytest.raises(BadOption, match=field):
        Retention(**{field: "a week"})
