"""Runs one delivery in a lane, here or in the lane's thread, and decides its fate."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial
from typing import Any

from headrace import chance
from headrace.bus import events
from headrace.bus.codec import encode_result
from headrace.bus.context import Context, headers_of
from headrace.bus.dispatch import split
from headrace.bus.envelope import HANDLER_HEADER, NO_OUTCOME, Delivery, Outcome, Settlement
from headrace.bus.fingerprint import cause, fingerprint, traceback_text
from headrace.bus.registry import Handler, Registry, Rules
from headrace.bus.retry import ACK, Return, decide, max_crashes, refuse
from headrace.bus.transport import Transport
from headrace.errors import HeadraceError, LeaseLost, ResultNotStored, TimeLimitExceeded, Unencodable
from headrace.worker.execute import Ran, begin, finish, guarded, run_sync, run_wrapped
from headrace.worker.lane import Lane
from headrace.worker.recorder import Recorder
from headrace.worker.settings import Application

RESULT_LIMIT = 1 << 20

Settle = Callable[[Settlement], None]


class Runner:
    """Begins, executes, ends.

    state   what the application's lifespan yielded
    ending  the worker's tasks are being cancelled: a cancelled lane ends
    """

    def __init__(self, application: Application, transport: Transport, recorder: Recorder | None) -> None:
        self.state: Any = None
        self.ending = False
        self._application = application
        self._clock = application.clock
        self._around = application.around
        self._transport = transport
        self._recorder = recorder
        self._loop = asyncio.get_running_loop()
        self._known = {kind.name: only for kind in application.registry.types if (only := kind.only) is not None}

    def handler(self, delivery: Delivery, settle: Settle) -> Handler | None:
        """Who handles it; None when its fate is decided without running it."""
        known = self._known.get(delivery.type)
        if known is not None and delivery.headers == "{}" and not (delivery.crashes or delivery.expired):
            return known
        try:
            address = None if delivery.headers == "{}" else headers_of(delivery).get(HANDLER_HEADER)
            handler = self._application.registry.find(delivery.type, address)
        except HeadraceError as error:
            verdict = decide(error, delivery.retries, {}, 0.0, delivery.parked)
            settle(Settlement(delivery, verdict, _outcome(error, 0.0)))
            return None
        if handler is None:
            return _Splitter(self._transport, self._application.registry)  # type: ignore[return-value]  # called like one
        refused = refuse(delivery.crashes, delivery.expired, max_crashes(handler.rules.retry))
        if refused is not None:
            settle(Settlement(delivery, refused, NO_OUTCOME))
            return None
        return handler

    async def run_here(self, lane: Lane, handler: Handler, delivery: Delivery, settle: Settle) -> None:
        """In this task; a `def` handler below middleware goes to the thread from within."""
        context = self._begin(lane, handler, delivery)
        lane.threaded = False
        if self._around:
            call: Any = handler if handler.is_async else _Threaded(handler, lane)
            ran = await run_wrapped(call, context, self._around)
        else:
            run = begin(handler, context)
            ran = run if isinstance(run, Ran) else await finish(run)
        if lane.reason or issubclass(type(ran.error), asyncio.CancelledError):  # isinstance() asks the error itself
            ran = await self._taken_back(lane, ran)
        self._end(lane, handler, context, ran, settle)

    def run_chunk(self, lane: Lane, handlers: Sequence[Handler], settle: Settle) -> None:
        """In the lane's thread: the chunk's deliveries, each with its handler, until the rest is taken back."""
        thread = lane.thread
        for handler in handlers:
            try:
                delivery = lane.chunk.popleft()
            except IndexError:
                return
            context = self._begin(lane, handler, delivery)
            self._end(lane, handler, context, run_sync(handler, context), settle)
            if lane.thread is not thread:
                return  # given up: the lane goes on with another one

    def give_up(self, lane: Lane, context: Context, settle: Settle) -> None:
        """A thread cannot be interrupted: record the timeout, and leave the thread to itself."""
        error = TimeLimitExceeded(
            "the job ran longer than its time limit",
            why="it runs in a thread, which goes on until it returns",
            hint="raise time_limit=, or split the work",
        )
        handler = self._application.registry.find(context.type, context.headers.get(HANDLER_HEADER))
        policies = handler.rules.retry if handler is not None else {}
        verdict = decide(error, context.delivery.retries, policies, chance.roll())
        seconds = self._clock.monotonic() - context.started
        self.let_go(lane, context)
        settle(Settlement(context.delivery, verdict, _outcome(error, seconds, context.logged())))

    def let_go(self, lane: Lane, context: Context) -> None:
        """Leave the thread of a lane to itself; what comes of its job is ignored."""
        context.cancelled = context.lost = True
        lane.context = None
        lane.abandon()
        if self._recorder is not None:
            self._recorder.stop(lane.number)

    def _begin(self, lane: Lane, handler: Handler, delivery: Delivery) -> Context:
        context = Context(delivery, self._clock, self._clock.monotonic(), handler.rules.time_limit, self.state)
        lane.reason = ""
        lane.context = context
        if self._recorder is not None:
            self._recorder.start(lane.number, delivery.receipt)
        if self._application.events.wanted(events.Started):
            tell = partial(self._application.events.tell, events.Started(delivery.queue, delivery))
            if lane.threaded:
                self._loop.call_soon_threadsafe(tell)
            else:
                tell()
        return context

    def _end(self, lane: Lane, handler: Handler, context: Context, ran: Ran, settle: Settle) -> None:
        """Until its outcome is ready it counts as running: looking at a result or an error runs code of yours."""
        settlement = self._settlement(handler, context, ran, self._clock.monotonic() - context.started)
        if lane.context is not context:
            return  # given up: the outcome was recorded without us
        lane.context = None
        if self._recorder is not None:
            self._recorder.stop(lane.number)
        settle(settlement)

    def _settlement(self, handler: Handler, context: Context, ran: Ran, seconds: float) -> Settlement:
        delivery, error = context.delivery, ran.error
        if error is None:
            wanted = delivery.tracked and ran.result is not None
            result, note = _encoded(ran.result) if wanted else (None, "")
            return Settlement(delivery, ACK, Outcome(result, note, "", seconds, context.logged()))
        if type(error) is Stopped:
            return Settlement(delivery, Return(), NO_OUTCOME)
        about = (delivery.retries, handler.rules.retry, chance.roll(), delivery.parked)
        judged = guarded(partial(decide, error, *about))
        verdict: Any = decide(RuntimeError(), *about) if judged.error is not None else judged.result
        return Settlement(delivery, verdict, _outcome(error, seconds, context.logged()))

    async def _taken_back(self, lane: Lane, ran: Ran) -> Ran:
        """Take back our cancellation of the lane's task, and say what it meant."""
        task = lane.task
        assert task is not None
        if self.ending and task.cancelling():
            raise asyncio.CancelledError
        while task.cancelling():
            with contextlib.suppress(asyncio.CancelledError):
                await self._clock.sleep(0)  # where a cancellation that came late is delivered
            task.uncancel()
        if ran.error is None:
            return ran
        match lane.reason:
            case "":
                return Ran(RuntimeError("the handler raised CancelledError, or cancelled itself"), None)
            case "limit":
                limit = TimeLimitExceeded("the job ran longer than its time limit", hint="raise time_limit=")
                return Ran(limit, None)
            case "lost":
                return Ran(LeaseLost("the lease lapsed while the job ran"), None)
            case _:
                return Ran(Stopped(), None)


class Stopped(Exception):
    """The job was stopped with the worker: neither done nor failed."""


class _Splitter:
    """Handles a message that came unaddressed, for several handlers: sends one to each."""

    is_async = True
    rules = Rules()

    def __init__(self, transport: Transport, registry: Registry) -> None:
        self._transport = transport
        self._registry = registry

    async def call(self, body: bytes, context: Context) -> None:
        await self._transport.send(split(context.delivery, self._registry.named(context.type)))


class _Threaded:
    """A `def` handler that middleware can await."""

    def __init__(self, handler: Handler, lane: Lane) -> None:
        self._handler = handler
        self._lane = lane

    async def call(self, body: bytes, context: Context) -> Any:
        ran: list[Ran] = []
        run = partial(copy_context().run, run_sync, self._handler, context)
        await self._lane.in_thread(lambda: ran.append(run()))
        if not ran:
            raise Stopped
        if ran[0].error is not None:
            raise ran[0].error
        return ran[0].result


def _encoded(result: object) -> tuple[bytes | None, str]:
    """The result as JSON, and a note when it cannot be kept."""
    error, body = guarded(partial(encode_result, result))
    if error is not None:
        why = error.why or error.what if type(error) is Unencodable else cause(error)
        return None, str(ResultNotStored("the result has no JSON form", why=why, hint="return plain data"))
    assert isinstance(body, bytes)
    if len(body) > RESULT_LIMIT:
        what = f"the result is {len(body):,} bytes, the limit is {RESULT_LIMIT:,}"
        return None, str(ResultNotStored(what, hint="return a reference"))
    return body, ""


def _outcome(error: BaseException, seconds: float, log: str = "") -> Outcome:
    return Outcome(None, traceback_text(error), fingerprint(error), seconds, log)
