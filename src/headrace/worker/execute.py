"""The only place where user code runs. Whatever it raises comes back as a value.

Each job runs in a context of its own (contextvars): what one sets, the next does not see. A task per
job would do the same at several times the price; here every step of the handler's coroutine is handed
to `Context.run`, and every future that it waits for to the task that drives us.
"""

import types
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextvars import copy_context
from functools import partial
from typing import Any, NamedTuple

from headrace.bus.context import CURRENT, Context
from headrace.bus.middleware import AroundHandler, wrap_handler
from headrace.bus.registry import Handler

Step = Callable[..., Any]  # Context.run


class Ran(NamedTuple):
    """How a run ended: with an error, or with a result."""

    error: BaseException | None
    result: object


class Suspended(NamedTuple):
    """A run that waits for something."""

    step: Step
    coroutine: Coroutine[Any, Any, Any]
    waited: Any


def begin(handler: Handler, context: Context) -> Ran | Suspended:
    """Run an `async def` handler as far as it goes without waiting; most short ones end here."""
    step = copy_context().run
    try:
        step(CURRENT.set, context)
        coroutine: Any = handler.call(context.delivery.body, context)
        return Suspended(step, coroutine, step(coroutine.send, None))
    except StopIteration as end:
        return Ran(None, end.value)
    except BaseException as error:  # noqa: BLE001  # SystemExit and the like end the job, not the worker
        return Ran(error, None)


async def finish(run: Suspended) -> Ran:
    """The rest of a run that waits."""
    try:
        return Ran(None, await _drive(run))
    except BaseException as error:  # noqa: BLE001  # as in begin()
        return Ran(error, None)


async def run_wrapped(handler: Handler, context: Context, around: Sequence[AroundHandler]) -> Ran:
    """Run a handler below middleware."""

    async def call() -> Any:
        return await handler.call(context.delivery.body, context)

    step = copy_context().run
    try:
        step(CURRENT.set, context)
        coroutine = _awaited(wrap_handler(around, context, call))
        return await finish(Suspended(step, coroutine, step(coroutine.send, None)))
    except StopIteration as end:
        return Ran(None, end.value)
    except BaseException as error:  # noqa: BLE001  # as in begin()
        return Ran(error, None)


def run_sync(handler: Handler, context: Context) -> Ran:
    """Run a `def` handler in this thread."""
    step = copy_context().run
    step(CURRENT.set, context)
    return guarded(partial(step, handler.call, context.delivery.body, context))


def guarded(call: Callable[[], Any]) -> Ran:
    """What comes of a call in which code of yours may run: a handler, or the encoding of what it returned."""
    try:
        return Ran(None, call())
    except BaseException as error:  # noqa: BLE001  # SystemExit and the like end the job, not the thread
        return Ran(error, None)


@types.coroutine
def _drive(run: Suspended) -> Generator[Any, Any, Any]:
    """Hand what the coroutine waits for to our task, and what comes of it back."""
    step, coroutine, waited = run
    while True:
        try:
            value = yield waited
        except BaseException as error:  # noqa: BLE001  # thrown by our task: it belongs to the handler
            call: Any = partial(coroutine.throw, error)
        else:
            call = partial(coroutine.send, value)
        try:
            waited = step(call)
        except StopIteration as end:
            return end.value


async def _awaited(handle: Callable[[], Any]) -> Any:
    return await handle()
