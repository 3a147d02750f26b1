"""`headrace jobs`: what became of messages, and what people do about it."""

import shlex
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Annotated

from cyclopts import App, Parameter

from headrace.bus.codec import encode
from headrace.cli import reach, views
from headrace.cli.asked import NOTHING, Asked, Flag, Id, duration
from headrace.cli.screen import Screen, counted
from headrace.connections import Connections
from headrace.errors import BadOption, JobFailed
from headrace.ledger.bulk import done_to, fitting
from headrace.ledger.job import TERMINAL, Input, State, sources
from headrace.ledger.query import JobQuery, parse
from headrace.ledger.records import Attempt, JobRecord
from headrace.ledger.store import Ledger

LOOK = 0.5  # seconds between looks at a log that is followed

app = App(
    name="jobs",
    help="""List, show, wait for, retry, cancel and delete jobs.

An id may be shortened: its beginning, its end after two dots, or both,
as lists show it (019a3f2c..9d2f0c3a); it must fit one job only.""",
)
Follow = Annotated[bool, Parameter(name=("--follow", "-f"), negative="", show_default=False)]
Where = Annotated[str | None, Parameter(name=("--where", "-w"))]


@app.command(name="list")
def list_(*words: str, where: Where = None, limit: int = 30, asked: Asked = NOTHING) -> None:
    """List jobs, newest first.

    headrace jobs list state=failed type=greet 'age>1h' args.name=Ada
    Fields: id type queue state worker error note priority retries crashes
    age ended ran args.NAME; operators: = != > >= < <= and ~ for "has".

    Parameters
    ----------
    words
        Conditions that must all hold, as field=value.
    where
        The same, as one text.
    limit
        At most so many.
    """
    if limit < 1:
        raise BadOption(f"--limit={limit} is out of range", hint="give 1 or more")
    query = _query(words, where)
    screen = Screen(asked)
    jobs = reach.with_store(asked, lambda opened: opened.ledger.jobs(query, limit + 1))
    views.job_table(screen, jobs[:limit])
    if not jobs:
        screen.talk("no job fits" if query.conditions else "no jobs yet")
    elif len(jobs) > limit:
        screen.talk(f"there are more than {limit}; see --limit")


@app.command
def show(id_: Id, /, *, asked: Asked = NOTHING) -> None:
    """Show all that is known of one job."""

    async def read(opened: Connections) -> tuple[JobRecord, Sequence[Attempt]]:
        ledger = opened.ledger
        job = await ledger.job(await ledger.names.whole(id_))
        return job, await ledger.attempts(job.id)

    screen = Screen(asked)
    job, attempts = reach.with_store(asked, read)
    if screen.json:
        tried = [views.attempt_document(attempt) for attempt in attempts]
        screen.document({**views.job_document(job), "attempts": tried})
        return
    screen.fields(views.job_fields(job, attempts))
    if attempts:
        screen.line()
        screen.table(views.ATTEMPT_HEADS, views.attempt_rows(attempts), views.NUMBERS)


@app.command
def logs(id_: Id, /, *, follow: Follow = False, asked: Asked = NOTHING) -> None:
    """Print what a job logged with ctx.log, all attempts in order.

    Parameters
    ----------
    follow
        Go on until the job ends; with --json one line for each piece.
    """
    screen = Screen(asked)

    async def read(opened: Connections) -> None:
        ledger, seen = opened.ledger, ""
        job = await ledger.names.whole(id_)
        while True:
            state = await ledger.state(job)  # before the log, so that the last lines are not missed
            text = await ledger.log(job)
            if news := text.removeprefix(seen):
                _print_log(screen, job, news.lstrip("\n") if seen else news)
            seen = text
            if not follow or state in TERMINAL:
                return
            await reach.CLOCK.sleep(LOOK)

    reach.with_store(asked, read)


@app.command
def wait(id_: Id, /, *, timeout: str | None = None, asked: Asked = NOTHING) -> None:
    """Wait until a job has ended; prints its result, or fails with its error.

    Parameters
    ----------
    timeout
        At most so long: 30s.
    """
    patience = None if timeout is None else duration(timeout, "--timeout")

    async def read(opened: Connections) -> JobRecord:
        return await opened.ledger.wait(await opened.ledger.names.whole(id_), patience)

    screen = Screen(asked)
    job = reach.with_store(asked, read)
    if job.state is not State.COMPLETED:
        cause = views.first_line(job.error)
        raise JobFailed(f"job {job.id} is {job.state}", why=cause, hint=f"run: headrace jobs show {job.id}")
    if screen.json:
        screen.document(views.job_document(job))
    elif (value := views.raw(job.result)) is not None:
        screen.line(value if isinstance(value, str) else encode(value).decode())


@app.command
def retry(*ids: str, where: Where = None, dry_run: Flag = False, asked: Asked = NOTHING) -> None:
    """Queue ended jobs anew, with all their attempts before them.

    Parameters
    ----------
    ids
        Which ones.
    where
        All that fit these conditions, of those that have ended: 'state=failed age<1d'.
    dry_run
        Only say what would be done.
    """
    _act("retry", ids, where, sources(Input.RETRY), Ledger.retry, dry_run=dry_run, asked=asked)


@app.command
def cancel(*ids: str, where: Where = None, dry_run: Flag = False, asked: Asked = NOTHING) -> None:
    """Take back jobs that wait.

    Parameters
    ----------
    ids
        Which ones.
    where
        All that fit these conditions, of those that wait: 'type=greet'.
    dry_run
        Only say what would be done.
    """
    _act("cancel", ids, where, sources(Input.CANCEL) - TERMINAL, _cancel, dry_run=dry_run, asked=asked)


@app.command
def delete(*ids: str, where: Where = None, dry_run: Flag = False, asked: Asked = NOTHING) -> None:
    """Remove jobs with their attempts, dead letter and waiting message.

    Parameters
    ----------
    ids
        Which ones.
    where
        All that fit these conditions, but for those that run: 'state=completed age>1d'.
    dry_run
        Only say what would be done.
    """
    _act("delete", ids, where, frozenset(State) - {State.PROCESSING}, Ledger.delete, dry_run=dry_run, asked=asked)


# ─────────────────────────────────────────────────────────────────────────────────────────────


def _act(  # noqa: PLR0913  # two of them come from every command
    verb: str,
    ids: Sequence[str],
    where: str | None,
    states: frozenset[State],
    act: Callable[[Ledger, Sequence[str]], Awaitable[int]],
    *,
    dry_run: bool,
    asked: Asked,
) -> None:
    """Choose, count, ask, act, tell."""
    if bool(ids) is (where is not None):
        raise BadOption(f"jobs {verb}: which ones?", hint="give ids, or --where with conditions")
    query = None if where is None else _query((), where)
    screen = Screen(asked)

    async def run(opened: Connections) -> int | None:
        ledger = opened.ledger
        if query is None:
            chosen = [await ledger.names.whole(text) for text in ids]
        else:
            chosen = await fitting(ledger, query, states)
        if not chosen:
            return 0
        document = {"count": len(chosen), "ids": chosen}
        one = len(ids) == 1 and verb != "delete" and not dry_run  # named, and can be undone
        if not one and not screen.confirm(f"{verb} {counted(len(chosen), 'job')}", dry_run=dry_run, document=document):
            return None
        if query is None:
            return await act(ledger, chosen)  # all of them, or an error about one
        return await done_to(chosen, partial(act, ledger))

    count = reach.with_store(asked, run)
    if count is None:
        return
    if screen.json:
        screen.document({"count": count})
    else:
        screen.talk(f"{_PAST[verb]} {counted(count, 'job')}" if count else f"no job to {verb}")


async def _cancel(ledger: Ledger, ids: Sequence[str]) -> int:
    return sum([await ledger.cancel(job) is State.CANCELLED for job in ids])


def _query(words: Sequence[str], where: str | None) -> JobQuery:
    parts = [parse(text) for text in (*([] if where is None else [where]), *map(shlex.quote, words))]
    return JobQuery(tuple(condition for part in parts for condition in part.conditions))


def _print_log(screen: Screen, job: str, text: str) -> None:
    if screen.json:
        screen.document({"id": job, "log": text})
    else:
        screen.line(text)


_PAST = {"retry": "queued anew:", "cancel": "cancelled", "delete": "deleted"}
