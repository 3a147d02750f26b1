"""The open store of an event loop, and who closes it."""

import asyncio
from collections.abc import AsyncGenerator
from weakref import WeakKeyDictionary

import msgspec

from headrace.clock import Clock
from headrace.db.migrate import Schema
from headrace.errors import HeadraceError
from headrace.ledger.store import Ledger
from headrace.parts import Parts
from headrace.transports.dsn import open_store
from headrace.transports.sql.store import Store
from headrace.transports.sql.transport import SqlTransport


class Connections(msgspec.Struct):
    """The open store of one event loop."""

    store: Store
    transport: SqlTransport
    ledger: Ledger
    schema: Schema

    async def aclose(self) -> None:
        """Close every connection."""
        await self.transport.aclose()
        await self.ledger.aclose()
        await self.store.database.aclose()


async def connect(store: Store, clock: Clock, *, ensure: bool = True) -> Connections:
    """Open a store in the running loop; its tables are created where there are none."""
    transport = SqlTransport(store, clock)
    ledger = Ledger(store.database, clock, store.table)
    schema = Schema(store.database, store.table)
    if ensure:
        await schema.ensure()
    return Connections(store, transport, ledger, schema)


class Pool:
    """The connections of an application: one set for each event loop, closed when the loop ends."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Future[Connections]] = WeakKeyDictionary()
        self._guards: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncGenerator[None, None]] = WeakKeyDictionary()
        self._memory: Store | None = None

    async def here(self) -> Connections:
        """The connections of the running loop, opened when first asked for."""
        loop = asyncio.get_running_loop()
        opening = self._by_loop.get(loop)
        if opening is None:
            opening = self._by_loop[loop] = loop.create_future()
            try:
                opened = await connect(self.store(), self._parts.clock)
                guard = self._guards[loop] = self._until_the_loop_ends(opened)
                await anext(guard)
                opening.set_result(opened)
            except HeadraceError as error:
                opening.set_exception(error)
                opening.exception()  # whoever else waits for it hears it; nobody must
                raise
            finally:
                if not opening.done():
                    opening.cancel()
                if opening.cancelled() or opening.exception() is not None:
                    del self._by_loop[loop]
            return opened
        return opening.result() if opening.done() else await asyncio.shield(opening)

    def store(self) -> Store:
        """The application's store; one in memory is shared by all loops."""
        if self._memory is not None:
            return self._memory
        store = open_store(self._parts.store, self._parts.clock)
        if self._parts.store.startswith("memory:"):
            self._memory = store
        return store

    async def aclose(self) -> None:
        """Close the running loop's connections."""
        loop = asyncio.get_running_loop()
        guard = self._guards.pop(loop, None)
        self._by_loop.pop(loop, None)
        if guard is not None:
            await guard.aclose()

    async def _until_the_loop_ends(self, opened: Connections) -> AsyncGenerator[None, None]:
        """asyncio.run closes the async generators of its loop before the loop: so it closes us."""
        try:
            yield
        finally:
            self._by_loop.pop(asyncio.get_running_loop(), None)
            await opened.aclose()
