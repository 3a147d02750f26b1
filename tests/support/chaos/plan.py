"""What the processes of one fault test are told."""

from pathlib import Path

import msgspec

from headrace.worker.order import Order
from headrace.worker.settings import WorkerSettings
from tests.support.chaos.app import Chaos


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the processes of one test do.

    folder      of their diary
    failpoints  armed in each process that takes one of the tokens
    ids         what producers send
    count       or how many messages each of them sends
    """

    store: str
    folder: str
    lease: float
    settings: WorkerSettings = WorkerSettings()
    failpoints: str = ""
    ids: tuple[str, ...] = ()
    count: int = 0

    def environment(self) -> dict[str, str]:
        """For a process that should work by this plan."""
        return {"CHAOS_PLAN": msgspec.json.encode(self).decode(), "HEADRACE_TESTING": "1"}

    def armed(self) -> str:
        """Takes a token; what to arm, or nothing when none is left."""
        for token in sorted(Path(self.folder, "tokens").glob("*")):
            try:
                token.unlink()
            except FileNotFoundError:  # another process was quicker
                continue
            return self.failpoints
        return ""

    @property
    def order(self) -> str:
        """For a worker process."""
        order = Order(app="tests.support.chaos.loaded:app", settings=self.settings, told="nothing")
        return msgspec.json.encode(order).decode()

    def chaos(self) -> Chaos:
        """Its application."""
        return Chaos(self.store, Path(self.folder), self.lease)
