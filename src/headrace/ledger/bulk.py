"""What people do to many jobs at once: choose by a query, then act in batches."""

from collections.abc import Awaitable, Callable, Collection, Sequence

from headrace.errors import IllegalTransition, JobNotFound
from headrace.ledger.job import State
from headrace.ledger.query import JobQuery
from headrace.ledger.store import Ledger

BATCH = 500

Act = Callable[[Sequence[str]], Awaitable[int]]  # done to all of these jobs or to none; how many


async def fitting(ledger: Ledger, query: JobQuery, states: Collection[State]) -> list[str]:
    """Ids of all jobs that fit and are in one of these states, newest first."""
    found: list[str] = []
    before = None
    while jobs := await ledger.jobs(query, BATCH, before):
        found += [job.id for job in jobs if job.state in states]
        before = jobs[-1].id
    return found


async def done_to(ids: Sequence[str], act: Act) -> int:
    """Act on all of them, a batch at a time; how many. What has changed its state meanwhile is left alone."""
    count = 0
    for start in range(0, len(ids), BATCH):
        batch = ids[start : start + BATCH]
        try:
            count += await act(batch)
        except (IllegalTransition, JobNotFound):
            count += sum([await _one(job, act) for job in batch])
    return count


async def _one(job: str, act: Act) -> int:
    try:
        return await act([job])
    except (IllegalTransition, JobNotFound):
        return 0
