"""What may wrap a dispatch or a handler, in a list that is visible in one place."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from headrace.bus.context import Context
from headrace.bus.envelope import Duplicate, Envelope, Sent

Send = Callable[[Sequence[Envelope]], Awaitable[Sequence[Sent | Duplicate]]]
AroundDispatch = Callable[[Sequence[Envelope], Send], Awaitable[Sequence[Sent | Duplicate]]]
Handle = Callable[[], Awaitable[Any]]
AroundHandler = Callable[[Context, Handle], Awaitable[Any]]


def wrap_dispatch(around: Sequence[AroundDispatch], send: Send) -> Send:
    """`send` inside all of `around`, the first outermost."""
    for layer in reversed(around):
        send = partial(_through, layer, send)
    return send


def wrap_handler(around: Sequence[AroundHandler], context: Context, handle: Handle) -> Handle:
    """`handle` inside all of `around`, the first outermost."""
    for layer in reversed(around):
        handle = partial(layer, context, handle)
    return handle


async def _through(layer: AroundDispatch, send: Send, envelopes: Sequence[Envelope]) -> Sequence[Sent | Duplicate]:
    return await layer(envelopes, send)
