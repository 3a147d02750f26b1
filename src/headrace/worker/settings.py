"""How one worker works."""

from collections.abc import Sequence

import msgspec

from headrace.bus.events import Events
from headrace.bus.middleware import AroundHandler
from headrace.bus.registry import Registry
from headrace.clock import Clock
from headrace.worker.limits import Limits


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How one worker works.

    queues    in order of priority, or in turn when `fair`
    grace     seconds that running jobs get when the worker is told to stop
    drain     end when the queues are empty
    prefetch  deliveries held beyond the running ones; None: as the run times suggest
    name      under which its loans are held
    lease     seconds; what has not been renewed for that long is no longer ours
    beating   a heart renews the leases: nothing is asked for before it beats, or while it does not
    """

    queues: Sequence[str] = ("default",)
    concurrency: int = 1
    fair: bool = False
    grace: float = 30.0
    drain: bool = False
    limits: Limits = Limits()
    prefetch: int | None = None
    name: str = ""
    lease: float = 30.0
    beating: bool = False


class Application(msgspec.Struct, frozen=True):
    """What a worker works for."""

    registry: Registry
    clock: Clock
    events: Events
    around: Sequence[AroundHandler] = ()
