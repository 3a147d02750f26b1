"""How records look: as a row of a table, and as JSON."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from headrace.bus.durations import spoken
from headrace.bus.transport import Counts
from headrace.cli.reach import CLOCK
from headrace.cli.screen import Screen, clock_time, spark, stamp
from headrace.ledger.control import WorkerSeen
from headrace.ledger.job import State
from headrace.ledger.names import shortened
from headrace.ledger.records import Attempt, DeadLetter, Group, JobRecord

JOB_HEADS = ("ID", "STATE", "TYPE", "QUEUE", "SENT", "TRIES", "RAN", "OUTCOME")
QUEUE_HEADS = ("QUEUE", "READY", "LEASED", "DELAYED", "DEAD", "OLDEST")
WORKER_HEADS = ("WORKER", "HOST", "PID", "QUEUES", "BUSY", "DONE", "UP", "SEEN")
GROUP_HEADS = ("GROUP", "COUNT", "TYPE", "CAUSE", "FIRST", "LAST", "TREND")
ATTEMPT_HEADS = ("ATTEMPT", "OUTCOME", "ENDED", "RAN", "WORKER", "ERROR")
NUMBERS = frozenset(
    {"READY", "LEASED", "DELAYED", "DEAD", "OLDEST", "COUNT", "TRIES", "RAN", "PID", "BUSY", "DONE", "ATTEMPT", "UP"}
)
QUIET_AFTER = 30.0  # seconds without a word from a worker before it is called silent


def raw(text: str | None) -> Any:
    """JSON text as it stands inside a document."""
    if not text:
        return None
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        return text


def first_line(text: str | None) -> str:
    """The cause of an error."""
    return (text or "").partition("\n")[0]


# ── jobs ─────────────────────────────────────────────────────────────────────────────────────


def job_table(screen: Screen, jobs: Sequence[JobRecord]) -> None:
    """A list of jobs: ids only for who wants quiet."""
    if screen.json:
        screen.document([job_document(job) for job in jobs])
    elif screen.quiet:
        for job in jobs:
            screen.line(job.id)
    else:
        screen.table(JOB_HEADS, [_job_row(job) for job in jobs], NUMBERS)


def job_document(job: JobRecord) -> dict[str, Any]:
    """A job as JSON; moments are ISO 8601."""
    made = {name: getattr(job, name) for name in job.__struct_fields__ if name not in ("body", "headers", "result")}
    made |= {name: stamp(made[name]) for name in made if name.endswith("_at")}
    made["ran"] = None if job.ran is None else round(job.ran, 6)
    return {**made, "args": raw(job.body), "headers": raw(job.headers), "result": raw(job.result)}


def job_fields(job: JobRecord, attempts: Sequence[Attempt]) -> list[tuple[str, str]]:
    """All of a job, line by line."""
    now = CLOCK.now()
    waits = job.state in (State.PENDING, State.RETRYING) and job.due_at > now
    return [
        ("id", job.id),
        ("type", job.type),
        ("state", str(job.state)),
        ("queue", f"{job.queue}   priority {job.priority}"),
        ("arguments", job.body),
        ("headers", "" if job.headers in ("", "{}", "[]") else job.headers),
        ("sent", f"{clock_time(job.created_at, now)}   {spoken(now - job.created_at)} ago"),
        ("due", f"{clock_time(job.due_at, now)}   in {spoken(job.due_at - now)}" if waits else ""),
        ("started", clock_time(job.started_at, now)),
        ("ended", clock_time(job.finished_at, now)),
        ("ran", "" if job.ran is None else spoken(job.ran)),
        ("retries", str(job.retries or "")),
        ("crashes", str(job.crashes or "")),
        ("worker", job.worker or ""),
        ("progress", _progress(job)),
        ("result", "" if job.result in (None, "null") else str(job.result)),
        ("error", job.error if job.error and job.state is not State.COMPLETED else ""),
        ("log", f"headrace jobs logs {shortened(job.id)}" if any(attempt.log for attempt in attempts) else ""),
    ]


def attempt_rows(attempts: Iterable[Attempt]) -> list[tuple[str, ...]]:
    """Attempts that failed, crashed or logged."""
    now = CLOCK.now()
    return [
        (
            str(attempt.attempt),
            attempt.outcome,
            clock_time(attempt.finished_at, now),
            "" if attempt.started_at is None else spoken(attempt.finished_at - attempt.started_at),
            attempt.worker or "",
            first_line(attempt.error),
        )
        for attempt in attempts
    ]


def attempt_document(attempt: Attempt) -> dict[str, Any]:
    """An attempt as JSON."""
    made = msgspec.structs.asdict(attempt)
    return {**made, "started_at": stamp(attempt.started_at), "finished_at": stamp(attempt.finished_at)}


def _job_row(job: JobRecord) -> tuple[str, ...]:
    ran = "" if job.ran is None else spoken(job.ran)
    tries = job.retries + job.crashes + (job.state in (State.PROCESSING, State.COMPLETED, State.FAILED))
    sent = clock_time(job.created_at, CLOCK.now())
    return shortened(job.id), job.state, job.type, job.queue, sent, str(tries or ""), ran, _outcome(job)


def _outcome(job: JobRecord) -> str:
    if job.state is State.COMPLETED:
        return "" if job.result in (None, "null") else str(job.result)[:200]
    if job.state in (State.PROCESSING, State.PENDING) and (job.progress is not None or job.note):
        return _progress(job)
    return first_line(job.error)


def _progress(job: JobRecord) -> str:
    share = "" if job.progress is None else f"{job.progress:.0%} "
    return f"{share}{job.note or ''}".strip()


# ── queues and workers ───────────────────────────────────────────────────────────────────────


def queue_rows(counts: Iterable[tuple[str, Counts]]) -> list[tuple[str, ...]]:
    """One row for each queue."""
    return [
        (name, f"{c.ready:,}", f"{c.leased:,}", f"{c.delayed:,}", f"{c.dead:,}", spoken(c.oldest) if c.ready else "-")
        for name, c in counts
    ]


def worker_rows(workers: Iterable[WorkerSeen]) -> list[tuple[str, ...]]:
    """One row for each worker."""
    return [
        (
            seen.worker.id,
            seen.worker.host,
            str(seen.worker.pid),
            seen.worker.queues,
            f"{seen.worker.busy}/{seen.worker.concurrency}",
            f"{seen.worker.done:,}",
            spoken(max(0.0, seen.seen_at - seen.started_at) + seen.age),
            worker_state(seen),
        )
        for seen in workers
    ]


def worker_state(seen: WorkerSeen) -> str:
    """When it was heard of, and what it is asked to do."""
    said = f"silent for {spoken(seen.age)}" if seen.age > QUIET_AFTER else f"{spoken(seen.age)} ago"
    return said if seen.wanted == "run" else f"{said}, asked to {seen.wanted}"


def worker_document(seen: WorkerSeen) -> dict[str, Any]:
    """A worker as JSON."""
    made: dict[str, Any] = msgspec.to_builtins(seen)
    made |= made.pop("worker")
    made["queues"] = seen.worker.queues.split(",")
    made |= {"started_at": stamp(seen.started_at), "seen_at": stamp(seen.seen_at), "silent": seen.age > QUIET_AFTER}
    return made


# ── dead letters ─────────────────────────────────────────────────────────────────────────────


def group_rows(groups: Sequence[Group]) -> list[tuple[str, ...]]:
    """One row for each cause, its fingerprint as short as it can be."""
    now = CLOCK.now()
    names = distinct([group.fingerprint for group in groups])
    return [
        (
            name,
            f"{group.count:,}",
            ",".join(group.types),
            group.cause or group.reason,
            clock_time(group.first, now),
            clock_time(group.last, now),
            spark(group.trend),
        )
        for name, group in zip(names, groups, strict=True)
    ]


def group_document(group: Group) -> dict[str, Any]:
    """A group as JSON."""
    return {**msgspec.to_builtins(group), "first": stamp(group.first), "last": stamp(group.last)}


def letter_document(letter: DeadLetter) -> dict[str, Any]:
    """A dead letter as JSON."""
    made: dict[str, Any] = msgspec.to_builtins(letter)
    made |= {"created_at": stamp(letter.created_at), "died_at": stamp(letter.died_at)}
    made["headers"], made["args"] = raw(letter.headers), raw(made.pop("body"))
    return made


def letter_fields(letter: DeadLetter) -> list[tuple[str, str]]:
    """All of a dead letter, line by line."""
    now = CLOCK.now()
    return [
        ("id", letter.id),
        ("type", letter.type or ""),
        ("queue", letter.queue),
        ("reason", letter.reason),
        ("group", letter.fingerprint),
        ("arguments", letter.body),
        ("headers", "" if letter.headers in ("", "{}", "[]") else letter.headers),
        ("sent", clock_time(letter.created_at, now)),
        ("died", f"{clock_time(letter.died_at, now)}   {spoken(now - letter.died_at)} ago"),
        ("attempts", str(letter.retries + letter.crashes + 1)),
        ("crashes", str(letter.crashes or "")),
        ("error", letter.error),
    ]


def distinct(names: Sequence[str], least: int = 4) -> list[str]:
    """The shortest beginnings, of `least` characters or more, that tell these names apart."""
    longest = max((len(name) for name in names), default=least)
    for length in range(least, longest):
        if len({name[:length] for name in names}) == len(set(names)):
            return [name[:length] for name in names]
    return list(names)
