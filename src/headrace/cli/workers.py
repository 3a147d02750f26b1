"""`headrace workers`: who is there."""

from cyclopts import App

from headrace.cli import reach, views
from headrace.cli.asked import NOTHING, Asked
from headrace.cli.screen import Screen
from headrace.ledger.control import Control

app = App(name="workers", help="List workers.")


@app.command(name="list")
def list_(asked: Asked = NOTHING) -> None:
    """List the worker processes that the store knows, on all hosts.

    BUSY is jobs that run now, of how many it runs at a time; SEEN is its last sign of life.
    """
    screen = Screen(asked)
    workers = reach.with_store(asked, lambda opened: Control(opened.store.database).workers())
    if screen.json:
        screen.document([views.worker_document(seen) for seen in workers])
    elif screen.quiet:
        for seen in workers:
            screen.line(seen.worker.id)
    else:
        screen.table(views.WORKER_HEADS, views.worker_rows(workers), views.NUMBERS)
        if not workers:
            screen.talk("no worker runs")
