"""From what was asked to an open store or an application."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from headrace import config
from headrace.app import App
from headrace.cli.asked import Asked
from headrace.clock import SystemClock
from headrace.compose import load_app
from headrace.connections import Connections, connect
from headrace.errors import SchemaMissing, StoreNotNamed
from headrace.transports.dsn import file_of, hidden, open_store

T = TypeVar("T")
CLOCK = SystemClock()


def application(asked: Asked) -> App:
    """The App that was named, on the store that was named; AppNotFound."""
    app: App = load_app(config.app(asked.app))
    if asked.store:
        app.parts.store = asked.store
    return app


def dsn(asked: Asked) -> str:
    """The store's DSN; what was asked for goes before what the environment says.

    In the end it is the file that an App without a store has, if it is there.
    """
    if asked.store:
        return asked.store
    if asked.app:
        return application(asked).parts.store
    found = config.store(None)
    if found != config.DEFAULT_STORE:
        return found
    if config.app(None):
        return application(asked).parts.store
    if not Path(config.DEFAULT_STORE.removeprefix("sqlite:///")).exists():
        hint = "give --store DSN or -a module:name, or set HEADRACE_STORE or HEADRACE_APP"
        raise StoreNotNamed("no store was named", hint=hint)
    return found


def with_store(asked: Asked, call: Callable[[Connections], Awaitable[T]]) -> T:
    """What `call` answers about the store; its tables must be there."""

    async def ask(opened: Connections) -> T:
        if not await opened.schema.version():
            raise _no_tables(opened.store.database.dsn)
        await opened.schema.ensure()
        return await call(opened)

    named = dsn(asked)
    if missing(named):
        raise _no_tables(hidden(named))  # looking must not make a file
    return with_any_store(named, ask)


def with_any_store(named: str, call: Callable[[Connections], Awaitable[T]]) -> T:
    """What `call` answers about the store, whatever its tables are like."""

    async def ask() -> T:
        opened = await connect(open_store(named, CLOCK), CLOCK, ensure=False)
        try:
            return await call(opened)
        finally:
            await opened.aclose()

    return asyncio.run(ask())


def with_app(app: App, call: Callable[[], Awaitable[T]]) -> T:
    """What `call` answers, awaited on a loop whose connections are the app's."""

    async def ask() -> T:
        try:
            return await call()
        finally:
            await app.aclose()

    return asyncio.run(ask())


def missing(named: str) -> bool:
    """Whether this is the DSN of a file that is not there."""
    file = file_of(named)
    return file is not None and not file.exists()


def _no_tables(named: str) -> SchemaMissing:
    hint = "the first enqueue or worker makes them, and so does: headrace db upgrade"
    return SchemaMissing(f"{named} has no tables of headrace", hint=hint)
