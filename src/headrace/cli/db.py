"""`headrace db`: the tables of a store."""

from collections.abc import Sequence

import msgspec
from cyclopts import App

from headrace.cli import reach
from headrace.cli.asked import NOTHING, Asked, Flag
from headrace.cli.screen import Screen, counted
from headrace.connections import Connections
from headrace.db.migrate import Migration, latest, migrations
from headrace.ledger.prune import Pruned, Retention

Found = tuple[Connections, int, Sequence[Migration]]  # the store, its version, the steps
app = App(name="db", help="Plan, upgrade, check and prune the tables of a store.")


@app.command
def plan(*, sql: Flag = False, asked: Asked = NOTHING) -> None:
    """Show what upgrade would do.

    Parameters
    ----------
    sql
        Print the statements themselves, to read or to run elsewhere.
    """
    named = reach.dsn(asked)

    async def read(opened: Connections) -> Found:
        if reach.missing(named):  # looking must not make a file
            return opened, 0, migrations(opened.store.database.dialect.name)
        return opened, await opened.schema.version(), await opened.schema.plan()

    _show(asked, reach.with_any_store(named, read), sql=sql, done=False)


@app.command
def upgrade(*, to: int | None = None, sql: Flag = False, asked: Asked = NOTHING) -> None:
    """Create or upgrade the tables, all or nothing.

    Parameters
    ----------
    to
        Not further than this version.
    sql
        Only print the statements; nothing is changed.
    """
    if sql:
        plan(sql=True, asked=asked)
        return

    async def apply(opened: Connections) -> Found:
        applied = await opened.schema.upgrade(to)
        return opened, await opened.schema.version(), applied

    _show(asked, reach.with_any_store(reach.dsn(asked), apply), sql=False, done=True)


@app.command
def check(*, asked: Asked = NOTHING) -> None:
    """Check that the tables are there and fit this code; fails if not."""
    screen = Screen(asked)

    async def ask(opened: Connections) -> tuple[str, int]:
        return opened.store.database.dsn, await opened.schema.version()

    store, version = reach.with_store(asked, ask)
    if screen.json:
        screen.document({"store": store, "schema": version, "fits": True})
    else:
        screen.line(f"{store}: schema {version} fits this code")


@app.command
def prune(
    *, done: str = "7d", failed: str = "90d", dead: str = "90d", dry_run: Flag = False, asked: Asked = NOTHING
) -> None:
    """Remove what ended long ago.

    Parameters
    ----------
    done
        Keep completed and cancelled jobs for so long; never: for ever.
    failed
        Keep failed, quarantined and expired jobs for so long.
    dead
        Keep dead letters for so long.
    dry_run
        Only say what would be removed.
    """
    kept = Retention(done=_age(done), failed=_age(failed), dead=_age(dead))
    screen = Screen(asked)

    async def run(opened: Connections) -> Pruned | None:
        pruner = opened.ledger.pruner
        found = await pruner.count(kept)
        if found == Pruned():
            return found
        if not screen.confirm(f"remove {_words(found)}", dry_run=dry_run, document=msgspec.structs.asdict(found)):
            return None
        return await pruner.prune(kept)

    removed = reach.with_store(asked, run)
    if removed is None:
        return
    if screen.json:
        screen.document(msgspec.structs.asdict(removed))
    else:
        screen.talk("nothing is that old" if removed == Pruned() else f"removed {_words(removed)}")


def _show(asked: Asked, found: Found, *, sql: bool, done: bool) -> None:
    opened, version, steps = found
    screen, store = Screen(asked), opened.store
    texts = {step.name: step.statements(store.table) for step in steps}
    if screen.json:
        code = latest(store.database.dialect.name)
        screen.document({"store": store.database.dsn, "schema": version, "code": code, "steps": texts})
    elif sql:
        for step in steps:
            screen.line(f"-- {step.name}")
            screen.line("\n".join(f"{text};" for text in texts[step.name]))
    else:
        for step in steps:
            verb = "applied" if done else "would apply"
            screen.line(f"{verb} {step.name}   {counted(len(texts[step.name]), 'statement')}")
        if not steps:
            screen.talk(f"{store.database.dsn}: schema {version}, nothing to do")


def _age(text: str) -> str | None:
    return None if text == "never" else text


def _words(found: Pruned) -> str:
    parts = ((found.done, "done job"), (found.failed, "failed job"), (found.dead, "dead letter"))
    return ", ".join(counted(number, thing) for number, thing in parts if number)
