"""`headrace failed`: dead letters, by cause."""

from collections.abc import Awaitable, Callable
from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from headrace.cli import reach, views
from headrace.cli.asked import NOTHING, Asked, Flag
from headrace.cli.screen import Screen, clock_time, counted
from headrace.connections import Connections
from headrace.errors import BadOption
from headrace.ledger.dead import DeadLetters
from headrace.ledger.names import shortened
from headrace.ledger.records import DeadLetter, Tally

app = App(
    name="failed",
    help="""List, show, retry and remove dead letters by their cause.

WHICH is a group (its fingerprint or the beginning of it), or one id.""",
)
LETTER_HEADS = ("ID", "DIED", "TYPE", "QUEUE", "REASON", "ARGUMENTS")
Which = Annotated[str, Parameter(name="which")]
Chosen = Annotated[str | None, Parameter(name="which")]
All = Annotated[bool, Parameter(name="--all", negative="", show_default=False)]


@app.command(name="list")
def list_(asked: Asked = NOTHING) -> None:
    """List the causes, the most recent first, with a trend since the oldest failure."""
    screen = Screen(asked)
    groups = reach.with_store(asked, lambda opened: opened.ledger.dead.groups())
    if screen.json:
        screen.document([views.group_document(group) for group in groups])
    elif screen.quiet:
        for group in groups:
            screen.line(group.fingerprint)
    else:
        screen.table(views.GROUP_HEADS, views.group_rows(groups), views.NUMBERS)
        if not groups:
            screen.talk("no dead letters")


@app.command
def show(which: Which, /, *, limit: int = 20, asked: Asked = NOTHING) -> None:
    """Show one dead letter, or the newest of a group and a list of the others.

    Parameters
    ----------
    limit
        At most so many others.
    """

    async def read(opened: Connections) -> tuple[list[DeadLetter], list[Tally]]:
        dead = opened.ledger.dead
        named = await _named(opened, which)
        return await dead.letters(named, max(1, limit)), await dead.tally(named)

    screen = Screen(asked)
    letters, tally = reach.with_store(asked, read)
    if screen.json:
        screen.document([views.letter_document(letter) for letter in letters])
        return
    screen.fields(views.letter_fields(letters[0]))
    total = sum(part.count for part in tally)
    if total > 1:
        screen.line()
        now = reach.CLOCK.now()
        rows = [
            (shortened(one.id), clock_time(one.died_at, now), one.type or "", one.queue, one.reason, one.body)
            for one in letters
        ]
        screen.table(LETTER_HEADS, rows)
        if total > len(letters):
            screen.talk(f"the newest {len(letters)} of {total:,}; see --limit")


@app.command
def retry(which: Chosen = None, /, *, all_: All = False, dry_run: Flag = False, asked: Asked = NOTHING) -> None:
    """Send dead letters to their queues anew.

    Parameters
    ----------
    all_
        All there are.
    dry_run
        Only say what would be done.
    """
    _act("retry", which, lambda dead, named: dead.retry(named), everything=all_, dry_run=dry_run, asked=asked)


@app.command
def remove(which: Chosen = None, /, *, all_: All = False, dry_run: Flag = False, asked: Asked = NOTHING) -> None:
    """Remove dead letters for good; their jobs keep their records.

    Parameters
    ----------
    all_
        All there are.
    dry_run
        Only say what would be done.
    """
    _act("remove", which, lambda dead, named: dead.remove(named), everything=all_, dry_run=dry_run, asked=asked)


# ─────────────────────────────────────────────────────────────────────────────────────────────


def _act(  # noqa: PLR0913  # two of them come from every command
    verb: str,
    which: str | None,
    act: Callable[[DeadLetters, str | None], Awaitable[int]],
    *,
    everything: bool,
    dry_run: bool,
    asked: Asked,
) -> None:
    """Choose, count, ask, act, tell."""
    if (which is None) is not everything:
        raise BadOption(f"failed {verb}: which ones?", hint="give a group or an id, or --all")
    screen = Screen(asked)

    async def run(opened: Connections) -> int | None:
        dead = opened.ledger.dead
        named = None if which is None else await _named(opened, which)
        tally = await dead.tally(named)
        if not tally:
            return 0
        total = sum(part.count for part in tally)
        kinds = ", ".join(f"{part.count:,} {part.type or 'of no type'} (queue {part.queue})" for part in tally)
        document = {"count": total, "of": msgspec.to_builtins(tally)}
        if not screen.confirm(f"{verb} {counted(total, 'dead letter')}: {kinds}", dry_run=dry_run, document=document):
            return None
        return await act(dead, named)

    count = reach.with_store(asked, run)
    if count is None:
        return
    if screen.json:
        screen.document({"count": count})
    else:
        past = "queued anew:" if verb == "retry" else "removed"
        screen.talk(f"{past} {counted(count, 'dead letter')}" if count else f"no dead letter to {verb}")


async def _named(opened: Connections, which: str) -> str:
    """What the ledger takes: a fingerprint, or a whole id for a short one."""
    return await opened.ledger.names.whole(which) if ".." in which or "…" in which else which
