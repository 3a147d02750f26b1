"""The only place where the parts are joined."""

import asyncio
import importlib
import os
import signal
import socket
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import psutil

from headrace import chance, config, failpoints
from headrace.bridge import new_loop
from headrace.bus.envelope import Receipt
from headrace.bus.transport import Evidence, Lapsed
from headrace.clock import Clock
from headrace.connections import Connections
from headrace.db.migrate import Schema
from headrace.db.port import Role
from headrace.errors import AppNotFound, HeadraceError, TransportError
from headrace.ledger.control import Control, WorkerRow
from headrace.parts import Parts
from headrace.supervisor.orders import Seat
from headrace.transports.dsn import open_store
from headrace.transports.sql.store import Store
from headrace.transports.sql.transport import SqlTransport
from headrace.worker import status
from headrace.worker.console import Console, mark_records, show_records
from headrace.worker.heartbeat import Heart, HeartParts
from headrace.worker.loop import Worker
from headrace.worker.order import Order
from headrace.worker.recorder import Recorder
from headrace.worker.settings import Application, WorkerSettings

STATUS_EVERY = 0.25  # seconds between looks at what to tell the supervisor


# ── applications ─────────────────────────────────────────────────────────────────────────────


def load_app(name: str | None) -> Any:
    """The App of an import string `module:name`; AppNotFound says what was wrong with it."""
    if not name:
        raise AppNotFound("no application was named", hint="give -a module:name, or set HEADRACE_APP")
    module, colon, attribute = name.partition(":")
    if not colon or not module or not attribute:
        raise AppNotFound(
            f"{name!r} is not an import string", hint="it has the form module:name, for example hello:app"
        )
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        ours = error.name is not None and module.split(".")[0] == error.name.split(".")[0]
        hint = (
            "is it in this folder, or installed?" if ours else f"a module that {module} needs is missing: {error.name}"
        )
        raise AppNotFound(f"cannot import {module!r} of {name!r}", why=str(error), hint=hint) from error
    except HeadraceError:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise AppNotFound(
            f"{module!r} raised while it was imported",
            why=_last_lines(error),
            hint="mend the module; nothing was started",
        ) from error
    found = getattr(loaded, attribute, None)
    if found is None or not hasattr(found, "parts"):
        named = [key for key, value in vars(loaded).items() if hasattr(value, "parts") and hasattr(value, "registry")]
        why = f"{module} has {', '.join(named)}" if named else f"{module} has no headrace.App"
        raise AppNotFound(f"{name!r} is not a headrace.App", why=why, hint=f"try {module}:{named[0]}" if named else "")
    return found


def _last_lines(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)[-3:]).strip()


# ── workers ──────────────────────────────────────────────────────────────────────────────────


def alone() -> Seat:
    """The seat of a worker without a supervisor."""
    return Seat(f"{socket.gethostname()}-work-{os.getpid()}-{chance.bits(32):08x}", "work", 0, "")


def run_worker(parts: Parts, settings: WorkerSettings, seat: Seat, say: Callable[[str], None] = lambda _: None) -> str:
    """Work in this process until told to stop; returns why it ended. Signals are handled here."""
    failpoints.arm(config.failpoints())
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(_work(parts, settings, seat, say))


async def work_here(parts: Parts, settings: WorkerSettings, connections: Connections) -> str:
    """Work in the running loop on connections that are open: how an application is drained in a test."""
    transport = SqlTransport(connections.store, parts.clock, settings.name, parts.lease)
    worker = Worker(transport, _application(parts), settings)
    async with _lifespan(parts) as state:
        return await worker.run(state)


async def _work(parts: Parts, settings: WorkerSettings, seat: Seat, say: Callable[[str], None]) -> str:
    settings = msgspec.structs.replace(settings, name=seat.worker, lease=parts.lease, beating=True)
    store = open_store(parts.store, parts.clock)
    await _ensure(store, parts.clock, say)
    transport = SqlTransport(store, parts.clock, seat.worker, parts.lease)
    recorder = Recorder(Path(seat.recorder), settings.concurrency) if seat.recorder else None
    worker = Worker(transport, _application(parts), settings, recorder=recorder, memory=_rss())
    heart = Heart(worker.held, parts.clock, parts.lease, worker.lost, partial(_obey, worker))
    _on_signals(worker)
    try:
        async with _lifespan(parts) as state, _reporting(worker, seat, parts.clock):
            heart.start(partial(_connect_heart, store, parts, worker, _row(seat, settings)))
            try:
                return await worker.run(state)
            finally:
                await heart.stop()
    finally:
        await transport.aclose()
        await store.database.aclose()


async def _connect_heart(store: Store, parts: Parts, worker: Worker, row: WorkerRow) -> HeartParts:
    """In the heart's thread: a transport and a signature on connections of its own."""
    own = store.apart()
    transport = SqlTransport(own, parts.clock, row.id, parts.lease)
    control = Control(own.database, transport.session(Role.HEART))

    async def sign() -> str:
        return await control.beat(msgspec.structs.replace(row, busy=worker.busy, done=worker.tally.done))

    async def close() -> None:
        with suppress(HeadraceError):  # the store is away; the row ages and is forgotten
            await control.gone(row.id)
        await transport.aclose()
        await own.database.aclose()

    return transport, sign, close


def _application(parts: Parts) -> Application:
    return Application(parts.registry, parts.clock, parts.events, parts.around_handler)


def _obey(worker: Worker, wanted: str) -> None:
    if wanted == "drain":
        worker.stop("asked to drain")


async def _ensure(store: Store, clock: Clock, say: Callable[[str], None]) -> None:
    """Wait for the store, for ever; a wrong schema ends the worker."""
    pause = 0.1
    while True:
        try:
            await Schema(store.database, store.table).ensure()
            return
        except TransportError as error:
            if pause < 0.2:
                say(str(error))
            await clock.sleep(pause * (0.5 + chance.roll()))
            pause = min(pause * 2, 2.0)


def _lifespan(parts: Parts) -> AbstractAsyncContextManager[Any]:
    return nullcontext() if parts.lifespan is None else parts.lifespan()


def _rss() -> Callable[[], int]:
    myself = psutil.Process()
    return lambda: int(myself.memory_info().rss)


def _row(seat: Seat, settings: WorkerSettings) -> WorkerRow:
    return WorkerRow(
        id=seat.worker, host=socket.gethostname(), pid=os.getpid(), consumer=seat.consumer,
        queues=",".join(settings.queues), concurrency=settings.concurrency,
    )  # fmt: skip


def _on_signals(worker: Worker) -> None:
    """SIGTERM and SIGINT: finish; a second one: now."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop, number.name)


@asynccontextmanager
async def _reporting(worker: Worker, seat: Seat, clock: Clock) -> AsyncIterator[None]:
    """Frames to the supervisor, while there is one: hello, what changed, bye."""
    if seat.status_fd < 0:
        yield
        return

    def say(frame: status.Frame) -> None:
        with suppress(OSError):  # a full pipe, or no supervisor any more: both will be noticed elsewhere
            os.write(seat.status_fd, status.encode(frame))

    def now(lag: float) -> status.Beat:
        return status.Beat(worker.busy, worker.tally.done, worker.tally.failed, round(lag, 2))

    async def beat() -> None:
        last = status.Beat()
        while True:
            before = clock.monotonic()
            await clock.sleep(STATUS_EVERY)
            if (frame := now(max(0.0, clock.monotonic() - before - STATUS_EVERY))) != last:
                say(frame)
                last = frame

    say(status.Hello(seat.worker, os.getpid()))
    beating = asyncio.get_running_loop().create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
        say(now(0.0))
        say(status.Bye(worker.ending))


# ── supervised workers ───────────────────────────────────────────────────────────────────────


def load_worker(argument: str) -> Callable[[Seat], int]:
    """What a zygote calls once, with an Order: imports the application, answers what a worker process runs."""
    order = msgspec.json.decode(argument, type=Order)
    app = load_app(order.app)
    if order.store:
        app.parts.store = order.store
    settings = order.settings_for(app.registry)
    mark_records()
    show_records(as_json=order.told == "json")
    console = Console(order.told, app.parts.clock.now)
    console.listen(app.parts.events)

    def run(seat: Seat) -> int:
        run_worker(app.parts, settings, seat, console.say)
        return 0

    return run


class Releaser:
    """Gives back what a dead worker held; for the supervisor. Connects when first called."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._opened: tuple[Store, SqlTransport] | None = None

    async def __call__(self, worker: str, started: Sequence[Receipt], evidence: Evidence) -> Sequence[Lapsed]:
        if self._opened is None:
            store = open_store(self._parts.store, self._parts.clock)
            self._opened = store, SqlTransport(store, self._parts.clock, lease=self._parts.lease)
        return await self._opened[1].release_worker(worker, started, evidence)

    async def aclose(self) -> None:
        """Close the connection."""
        if self._opened is not None:
            (store, transport), self._opened = self._opened, None
            await transport.aclose()
            await store.database.aclose()


releaser = Releaser
