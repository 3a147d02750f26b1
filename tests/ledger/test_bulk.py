"""Acting on many jobs: what has changed meanwhile is left alone, the rest is done."""

from collections.abc import Sequence

from headrace.errors import IllegalTransition
from headrace.ledger.bulk import BATCH, done_to


async def test_one_job_that_has_changed_does_not_keep_the_others_from_their_batch() -> None:
    ids = [f"job {number}" for number in range(BATCH + 10)]
    done: list[str] = []

    async def act(batch: Sequence[str]) -> int:
        if "job 3" in batch:
            raise IllegalTransition("job 3 is running")
        done.extend(batch)
        return len(batch)

    assert await done_to(ids, act) == BATCH + 9
    assert sorted(done) == sorted(set(ids) - {"job 3"})
