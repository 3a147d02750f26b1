"""What an application is made of, before anything is opened."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec

from headrace import chance
from headrace.bus.dispatch import Dispatcher
from headrace.bus.events import Events
from headrace.bus.ids import Ids
from headrace.bus.middleware import AroundDispatch, AroundHandler
from headrace.bus.registry import Registry
from headrace.clock import Clock

LEASE = 30.0  # seconds after which a loan that nobody renews is over

Lifespan = Callable[[], AbstractAsyncContextManager[Any]]


class Parts(msgspec.Struct):
    """What an application is made of, before anything is opened."""

    store: str
    clock: Clock
    registry: Registry
    events: Events
    around_dispatch: list[AroundDispatch]
    around_handler: list[AroundHandler]
    payload_limit: int
    lease: float = LEASE
    lifespan: Lifespan | None = None

    def dispatcher(self) -> Dispatcher:
        """Makes and sends envelopes for this application."""
        ids = Ids(self.clock.now, chance.bits)
        return Dispatcher(ids, self.clock, self.events, self.around_dispatch, self.payload_limit)
