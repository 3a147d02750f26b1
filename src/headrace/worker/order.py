"""What `python -m headrace.worker` is told, as one argument."""

from typing import Literal

import msgspec

from headrace.worker.settings import WorkerSettings

Told = Literal["text", "colour", "json", "failures", "nothing"]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Which application to work for, and how.

    app       its import string
    store     a DSN instead of the application's
    settings  no queues: all that the application's handlers use, in turn
    told      how each job is told on stdout
    """

    app: str | None
    store: str | None = None
    settings: WorkerSettings = WorkerSettings(queues=())
    told: Told = "text"
