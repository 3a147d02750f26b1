"""The only place where user code runs. Whatever it raises comes back as a value."""

import types
from collections.abc import Coroutine, Generator, Sequence
from contextvars import copy_context
from functools import partial
from typing import Any, NamedTuple

from headrace.bus.context import CURRENT, Context
from headrace.bus.middleware import AroundHandler, wrap_handler
from headrace.bus.registry import Handler


class Ran(NamedTuple):
    """How a run ended: with an error, or with a result."""

    error: BaseException | None
    result: object


@types.coroutine
def isolated(coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Await `coroutine` in a context of its own: what one job sets, the next does not see.

    A task per job would do the same at several times the price; this hands every step of the
    coroutine to `Context.run` and every future it waits for to the task that drives us.
    """
    step = copy_context().run
    call: Any = partial(coroutine.send, None)
    while True:
        try:
            waited = step(call)
        except StopIteration as end:
            return end.value
        try:
            value = yield waited
        except BaseException as error:  # noqa: BLE001  # thrown by our task: it belongs to the handler
            call = partial(coroutine.throw, error)
        else:
            call = partial(coroutine.send, value)


async def run_async(handler: Handler, context: Context, around: Sequence[AroundHandler]) -> Ran:
    """Run an `async def` handler, or any handler below middleware."""
    try:
        if around:
            call = partial(_call, handler, context)
            return Ran(None, await isolated(_with_context(context, wrap_handler(around, context, call)())))
        return Ran(None, await isolated(_direct(handler, context)))
    except BaseException as error:  # noqa: BLE001  # SystemExit and the like end the job, not the worker
        return Ran(error, None)


def run_sync(handler: Handler, context: Context) -> Ran:
    """Run a `def` handler in this thread."""
    try:
        return Ran(None, copy_context().run(_call_sync, handler, context))
    except BaseException as error:  # noqa: BLE001  # SystemExit and the like end the job, not the thread
        return Ran(error, None)


async def _direct(handler: Handler, context: Context) -> Any:
    CURRENT.set(context)
    return await handler.call(context.delivery.body, context)


async def _with_context(context: Context, coroutine: Any) -> Any:
    CURRENT.set(context)
    return await coroutine


async def _call(handler: Handler, context: Context) -> Any:
    return await handler.call(context.delivery.body, context)


def _call_sync(handler: Handler, context: Context) -> Any:
    CURRENT.set(context)
    return handler.call(context.delivery.body, context)
