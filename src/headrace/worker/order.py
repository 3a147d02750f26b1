"""What a worker process is told, as one argument."""

from typing import Literal

import msgspec

from headrace.bus.registry import Registry
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

    def settings_for(self, registry: Registry) -> WorkerSettings:
        """With the queues of the application's handlers, where none were named."""
        if self.settings.queues:
            return self.settings
        used = {handler.rules.queue for kind in registry.types for handler in kind.handlers.values()}
        return msgspec.structs.replace(self.settings, queues=sorted(used) or ["default"], fair=True)
