"""`headrace status`: one screen about a store."""

from typing import Any

import msgspec

from headrace.bus.durations import spoken
from headrace.bus.transport import Counts
from headrace.cli import reach, views
from headrace.cli.asked import NOTHING, Asked, Flag
from headrace.cli.screen import Screen, counted
from headrace.connections import Connections
from headrace.ledger.control import Control, WorkerSeen
from headrace.ledger.prune import Retention

HOUR = 3600.0
LATE = 60.0  # seconds that the oldest ready message may wait before it is remarked on


class Report(msgspec.Struct, frozen=True):
    """What the screen shows. failed: dead letters of the last hour."""

    store: str
    version: int
    queues: dict[str, Counts]
    workers: list[WorkerSeen]
    failed: int


def status(*, watch: Flag = False, interval: float = 1.0, asked: Asked = NOTHING) -> int:
    """Show store, queues, workers and failures on one screen.

    Parameters
    ----------
    watch
        Show it anew every second, until Ctrl-C; with --json one document each time.
    interval
        Seconds between two looks.
    """
    screen = Screen(asked)

    async def look(opened: Connections) -> int:
        while True:
            report = await read(opened)
            if watch:
                screen.clear()
            _show(screen, report)
            if not watch:
                return 0
            await reach.CLOCK.sleep(max(0.1, interval))

    return reach.with_store(asked, look)


async def read(opened: Connections) -> Report:
    """Look at the store once."""
    queues = await opened.transport.counts()
    dead = sum(tally.count for tally in await opened.ledger.dead.tally())
    older = await opened.ledger.pruner.count(Retention(done=None, failed=None, dead=HOUR))
    return Report(
        store=opened.store.database.dsn,
        version=await opened.schema.version(),
        queues=dict(sorted(queues.items())),
        workers=await Control(opened.store.database).workers(),
        failed=dead - older.dead,
    )


def remarks(report: Report) -> list[str]:
    """What needs somebody's attention, and what to do about it."""
    alive = [seen for seen in report.workers if seen.age <= views.QUIET_AFTER]
    served = {queue for seen in alive for queue in seen.worker.queues.split(",")}
    found = []
    for name, counts in report.queues.items():
        if counts.ready and name not in served:
            waiting = counted(counts.ready, "message")
            found.append(f"{name}: {waiting} ready, and no worker takes them. Run: headrace work {name} -a MODULE:NAME")
        elif counts.ready and counts.oldest > LATE:
            found.append(
                f"{name}: the oldest message has been ready for {spoken(counts.oldest)}; more workers may help"
            )
    found += [
        f"worker {seen.worker.id} has said nothing for {spoken(seen.age)}; what it held is given back"
        for seen in report.workers
        if seen not in alive
    ]
    if report.failed:
        found.append(f"{counted(report.failed, 'failure')} in the last hour. Look: headrace failed list")
    return found


def _show(screen: Screen, report: Report) -> None:
    notes = remarks(report)
    if screen.json:
        screen.document(_document(report, notes))
        return
    health = screen.paint("needs attention", "yellow") if notes else screen.paint("healthy", "green")
    screen.line(f"{report.store}   {health}   schema {report.version}")
    screen.line()
    screen.table(views.QUEUE_HEADS, views.queue_rows(report.queues.items()), views.NUMBERS)
    if not report.queues:
        screen.line("no message waits")
    screen.line()
    screen.table(views.WORKER_HEADS, views.worker_rows(report.workers), views.NUMBERS)
    if not report.workers:
        screen.line("no worker runs")
    if notes:
        screen.line()
    for note in notes:
        screen.line(f"{screen.paint('!', 'yellow')} {note}")


def _document(report: Report, notes: list[str]) -> dict[str, Any]:
    return {
        "store": report.store,
        "schema": report.version,
        "healthy": not notes,
        "queues": {name: msgspec.to_builtins(counts) for name, counts in report.queues.items()},
        "workers": [views.worker_document(seen) for seen in report.workers],
        "failed_last_hour": report.failed,
        "remarks": notes,
    }
