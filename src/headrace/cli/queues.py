"""`headrace queues`: what waits where."""

from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from headrace.bus.transport import Counts
from headrace.cli import reach, views
from headrace.cli.asked import NOTHING, Asked
from headrace.cli.screen import Screen
from headrace.connections import Connections
from headrace.errors import BadOption
from headrace.ledger.control import Control, WorkerSeen
from headrace.ledger.query import parse
from headrace.ledger.records import JobRecord

app = App(name="queues", help="List and show queues.")


@app.command(name="list")
def list_(asked: Asked = NOTHING) -> None:
    """List the queues that hold messages or dead letters.

    READY can be taken now, LEASED is on loan to a worker, DELAYED waits for its time,
    DEAD has failed for good; OLDEST is how long the first one has been ready.
    """
    screen = Screen(asked)
    counts = reach.with_store(asked, lambda opened: opened.transport.counts())
    if screen.json:
        screen.document([{"queue": name, **msgspec.to_builtins(counts[name])} for name in sorted(counts)])
    elif screen.quiet:
        for name in sorted(counts):
            screen.line(name)
    else:
        screen.table(views.QUEUE_HEADS, views.queue_rows(sorted(counts.items())), views.NUMBERS)
        if not counts:
            screen.talk("no queue holds anything")


@app.command
def show(queue: Annotated[str, Parameter(name="queue")], /, *, limit: int = 10, asked: Asked = NOTHING) -> None:
    """Show one queue: its counts, its workers and the newest jobs that have not ended.

    Parameters
    ----------
    limit
        At most so many jobs.
    """
    query = parse(f"{_term(queue)} state=pending,processing,retrying")

    async def read(opened: Connections) -> tuple[Counts, list[WorkerSeen], list[JobRecord]]:
        counts = await opened.transport.counts()
        seen = await Control(opened.store.database).workers()
        mine = [one for one in seen if queue in one.worker.queues.split(",")]
        return counts.get(queue, Counts()), mine, await opened.ledger.jobs(query, max(1, limit))

    screen = Screen(asked)
    counts, workers, jobs = reach.with_store(asked, read)
    if screen.json:
        made = {"queue": queue, **msgspec.to_builtins(counts)}
        made["workers"] = [views.worker_document(seen) for seen in workers]
        made["jobs"] = [views.job_document(job) for job in jobs]
        screen.document(made)
        return
    screen.table(views.QUEUE_HEADS, views.queue_rows([(queue, counts)]), views.NUMBERS)
    screen.line()
    screen.table(views.WORKER_HEADS, views.worker_rows(workers), views.NUMBERS)
    if not workers:
        screen.line("no worker takes from it")
    if jobs:
        screen.line()
        views.job_table(screen, jobs)


def _term(queue: str) -> str:
    if not queue or "'" in queue:
        raise BadOption(f"{queue!r} is not the name of a queue")
    return f"'queue={queue}'"
