"""What people do to jobs: cancel, retry, delete. Steps of one transaction each. Pure."""

from collections.abc import Collection, Sequence

from headrace.db.port import Statement, Steps
from headrace.errors import IllegalTransition, JobNotFound
from headrace.ledger.job import Input, State, sources, step
from headrace.ledger.statements import DONE_CHANNEL, Sql

RETRIABLE = sources(Input.RETRY)
LOOKS = 3  # at a message that is lent and given back while we look


def cancel(sql: Sql, job: str) -> Steps[State]:
    """Take back what waits; IllegalTransition for what is running or has ended, JobNotFound."""
    batch = sql.words.batch([job])
    for _ in range(LOOKS):
        withdrawn = yield Statement(sql.withdraw, (batch,))
        if withdrawn:
            changed = yield Statement(sql.cancel_job, (job,))
            if not changed:
                yield from _refuse(sql, job)
            yield from _tell(sql, DONE_CHANNEL, [job] if changed and changed[0][0] else [])
            return State.CANCELLED
        held = yield Statement(sql.messages_of, (batch,))
        if held and held[0][1]:
            raise IllegalTransition(
                f"cannot cancel job {job}: it is running", hint="a job can be cancelled while it waits"
            )
        if not held:
            yield from _refuse(sql, job)
            dead = yield Statement(sql.lock_dead, (batch,))
            state = yield Statement(sql.state, (job,))
            if dead and not state:
                raise IllegalTransition(
                    f"cannot cancel job {job}: it is a dead letter", hint="run: headrace failed remove"
                )
            if not state:
                raise not_found([job])
            if state[0][0] == State.CANCELLED:
                return State.CANCELLED
            raise IllegalTransition(
                f"cannot cancel job {job}: it is {state[0][0]}, but its message is not in {sql.messages}"
            )
    raise IllegalTransition(
        f"cannot cancel job {job}: it is running", hint="it is lent and given back all the time; try again"
    )


def retry(sql: Sql, ids: Sequence[str], *, strict: bool = True) -> Steps[int]:
    """Send these jobs and dead letters to their queues anew, all or none; how many.

    The message has the same id, no retries, crashes, delay, expiry or unique key. The job's error and
    result stay readable until the next attempt overwrites them. Not strict: what cannot be retried
    is left alone.
    """
    wanted = sorted(set(ids))
    batch = sql.words.batch(wanted)
    dead = {row[0] for row in (yield Statement(sql.lock_dead, (batch,)))}
    states = {row[0]: State(row[1]) for row in (yield Statement(sql.lock_jobs, (batch,)))}
    there = {row[0]: bool(row[1]) for row in (yield Statement(sql.messages_of, (batch,)))}
    refused = _refused(wanted, dead, states, there, strict=strict)
    batch = sql.words.batch([job for job in wanted if job not in refused])
    sent = yield Statement(sql.send_again, (batch,))
    batch = sql.words.batch([row[0] for row in sent])
    yield Statement(sql.revive_jobs, (batch,))
    yield Statement(sql.retry_jobs, (batch,))
    yield Statement(sql.delete_dead, (batch,))
    yield from _tell(sql, sql.messages, sorted({row[1] for row in sent}))
    return len(sent)


def delete(sql: Sql, ids: Sequence[str]) -> Steps[int]:
    """Remove jobs with all that belongs to them, and what waits; all or none. Refused while running."""
    wanted = sorted(set(ids))
    batch = sql.words.batch(wanted)
    waiting = yield Statement(sql.messages_of, (batch,))
    yield Statement(sql.withdraw, (batch,))
    held = yield Statement(sql.messages_of, (batch,))
    if held:
        raise IllegalTransition(f"cannot delete job {held[0][0]}: it is running", hint="delete it when it has ended")
    jobs = yield Statement(sql.delete_jobs, (batch,))
    yield Statement(sql.delete_attempts, (batch,))
    dead = yield Statement(sql.delete_dead, (batch,))
    unknown = set(wanted) - {row[0] for row in (*waiting, *jobs, *dead)}
    if unknown:
        raise not_found(unknown)
    yield from _tell(sql, DONE_CHANNEL, [row[0] for row in jobs if row[1]])
    return len(wanted)


def not_found(ids: Collection[str]) -> JobNotFound:
    """The error about ids that nothing in the store has."""
    names = ", ".join(sorted(ids)[:5])
    return JobNotFound(f"no job {names}" if len(ids) == 1 else f"{len(ids)} of these jobs are not there: {names}")


def _refused(
    wanted: Sequence[str], dead: set[str], states: dict[str, State], there: dict[str, bool], *, strict: bool
) -> set[str]:
    """What cannot be retried; raises about it when strict."""
    refused = {job for job in wanted if job in there or (job not in dead and states.get(job) not in RETRIABLE)}
    if not strict or not refused:
        return refused
    unknown = refused - there.keys() - states.keys()
    if unknown:
        raise not_found(unknown)
    first = min(refused)
    if there.get(first):
        raise IllegalTransition(f"cannot retry job {first}: it is running", hint="retry it when it has ended")
    step(states.get(first, State.PENDING), Input.RETRY, f"job {first}")
    raise IllegalTransition(f"cannot retry job {first}: it is waiting already")


def _refuse(sql: Sql, job: str) -> Steps[None]:
    """Raise if the table has no arrow for cancelling this job; nothing if there is no such job."""
    state = yield Statement(sql.state, (job,))
    if state:
        step(State(state[0][0]), Input.CANCEL, f"job {job}")


def _tell(sql: Sql, channel: str, payloads: Sequence[str]) -> Steps[None]:
    if sql.words.tell and payloads:
        yield Statement(sql.words.tell, (channel, sql.words.batch(payloads)))
