"""Looks at running jobs a few times a second: time limits, news for the ledger, jobs that wait behind long ones."""

import asyncio
from collections.abc import Callable, Sequence

from headrace.bus.context import Context
from headrace.bus.envelope import Report
from headrace.bus.transport import Reporting
from headrace.clock import Clock
from headrace.errors import HeadraceError
from headrace.worker.lane import Lane

TICK = 0.05
PROCESSING_AFTER = 0.2  # seconds of running before the ledger says so; also between two reports of a job
STUCK_AFTER = 0.5  # seconds without a finished job before what waits is given back


class Watch:
    """One pair of eyes for all lanes of a worker.

    overdue  called for a lane whose job is past its time limit
    stuck    called when every lane is busy and nothing has finished for a while
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        clock: Clock,
        reporting: Reporting | None,
        overdue: Callable[[Lane, Context], None],
        stuck: Callable[[float], None],
    ) -> None:
        self._lanes = lanes
        self._clock = clock
        self._reporting = reporting
        self._overdue = overdue
        self._stuck = stuck
        self._busy = asyncio.Event()
        self._reported: dict[Context, float] = {}

    def wake(self) -> None:
        """Something is held: it runs, or will soon."""
        self._busy.set()

    def rest(self) -> None:
        """Nothing is held any more."""
        self._busy.clear()

    async def run(self) -> None:
        """For ever; sleeps while nothing is held."""
        while True:
            await self._busy.wait()
            await self._clock.sleep(TICK)
            running = [(lane, lane.context) for lane in self._lanes if lane.context is not None]
            if not running:
                self._reported.clear()
                continue
            now = self._clock.monotonic()
            for lane, context in running:
                if context.deadline is not None and now >= context.deadline and not lane.reason:
                    self._overdue(lane, context)
            if len(running) == len(self._lanes):
                youngest = max(context.started for _, context in running)
                if now - youngest > STUCK_AFTER:
                    self._stuck(now - youngest)
            await self._report([context for _, context in running], now)

    async def _report(self, running: Sequence[Context], now: float) -> None:
        """Tell the ledger what still runs after 200 ms, and its progress at most five times a second."""
        reports: list[Report] = []
        for context in running:
            last = self._reported.get(context)
            if (
                not context.delivery.tracked
                or context.lost
                or now - (context.started if last is None else last) < PROCESSING_AFTER
            ):
                continue
            news = context.news()
            if last is None or news is not None:
                progress, note = news or (None, "")
                reports.append(Report(context.delivery.receipt, context.id, now - context.started, progress, note))
                self._reported[context] = now
        if reports and self._reporting is not None:
            try:
                await self._reporting.report(reports)
            except HeadraceError:
                return  # news, not outcomes: the next tick has newer ones
        running_now = set(running)
        self._reported = {context: at for context, at in self._reported.items() if context in running_now}
