"""Receive, execute, decide, settle: read this first.

One coroutine fetches, one lane per running job executes and decides, one coroutine settles; a watch
looks after time limits and a heart, in a thread of its own, after leases. They meet in the intake
(what is held and what waits) and in the settle list, and nowhere else.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from headrace import chance
from headrace.bus import events
from headrace.bus.context import Context
from headrace.bus.envelope import NO_OUTCOME, Delivery, Receipt, Settlement
from headrace.bus.registry import Handler
from headrace.bus.retry import Return
from headrace.bus.transport import Interruptible, Reporting, Transport
from headrace.errors import HeadraceError
from headrace.worker.intake import Intake
from headrace.worker.lane import Lane
from headrace.worker.limits import Tally, chunk, reached, smoothed
from headrace.worker.recorder import Recorder
from headrace.worker.runner import Runner
from headrace.worker.settings import Application, WorkerSettings
from headrace.worker.settler import Settler
from headrace.worker.watch import Watch

WAIT = 60.0  # seconds of one receive; it ends early when something comes
LOOK_ROUND = 1.0  # seconds between looks at the limits while all lanes are busy
BREATH = 0.001  # seconds that a lane may run without letting the loop look round
LAST_GRACE = 1.0  # seconds that cancelled jobs get to end
ABANDONED_LIMIT = 8  # threads past their time limit before the worker asks to be replaced


class Worker:
    """One process's worth of work on one transport.

    memory  bytes that the process has resident
    """

    def __init__(
        self,
        transport: Transport,
        application: Application,
        settings: WorkerSettings,
        *,
        recorder: Recorder | None = None,
        memory: Callable[[], int] = lambda: 0,
    ) -> None:
        clock = application.clock
        self._transport = transport
        self._settings = settings
        self._clock = clock
        self._events = application.events
        self._around = bool(application.around)
        self._memory = memory
        self._intake = Intake(settings, clock)
        self._lanes = [Lane(number) for number in range(settings.concurrency)]
        self._runner = Runner(application, transport, recorder)
        self._settler = Settler(transport, clock, application.events, settings.lease, self._on_settled)
        reporting = transport if isinstance(transport, Reporting) else None
        self._watch = Watch(self._lanes, clock, reporting, self._on_overdue, self._on_stuck)
        self._stopping = ""
        self._stopped = asyncio.Event()  # no more is received
        self._abort = False  # the grace is over
        self._change = asyncio.Event()  # something was settled, or must be looked at
        self._work = asyncio.Event()  # something waits for a lane

    @property
    def held(self) -> dict[Receipt, Delivery]:
        """Every loan of this worker."""
        return self._intake.held

    @property
    def tally(self) -> Tally:
        """What it has done so far."""
        return self._intake.tally

    @property
    def busy(self) -> int:
        """Jobs that are running."""
        return sum(lane.context is not None for lane in self._lanes)

    @property
    def ending(self) -> str:
        """Why it ends; "" while it does not."""
        return self._stopping

    async def run(self, state: Any = None) -> str:
        """Work until told to stop or a limit is reached; returns why. `state` becomes `ctx.state`."""
        self._runner.state = state
        queues = ",".join(self._settings.queues)
        self._tell(events.WorkerStarted(queues, self._settings.name))
        async with asyncio.TaskGroup() as tasks:
            settling = tasks.create_task(self._settler.run())
            others = [tasks.create_task(self._watch.run()), tasks.create_task(self._fetch())]
            for lane in self._lanes:
                lane.task = tasks.create_task(self._run_lane(lane))
                others.append(lane.task)
            for task in (settling, *others):
                task.add_done_callback(self._on_task_done)
            try:
                await self._stopped.wait()
                await others[1]  # a claim that is under way brings its messages, to be returned
                await self._finish()
            finally:
                self._runner.ending = True
            for task in others:
                task.cancel()
            self._settler.close()
            await settling
        for lane in self._lanes:
            lane.close()
        self._tell(events.WorkerStopped(queues, self._settings.name, self._stopping))
        return self._stopping

    def _on_task_done(self, task: "asyncio.Task[None]") -> None:
        """One of us has died, so the group is about to cancel the others."""
        self._runner.ending = self._runner.ending or (not task.cancelled() and task.exception() is not None)

    def stop(self, reason: str) -> None:
        """Receive nothing more, finish what runs within the grace; asked again: now."""
        self._abort = bool(self._stopping)
        self._stopping = self._stopping or reason
        self._stopped.set()
        self._change.set()
        if isinstance(self._transport, Interruptible):
            self._transport.interrupt()

    def lost(self, receipts: Collection[Receipt], asked: float) -> None:
        """From the heart: these loans are over; the others were renewed at `asked`."""
        self._intake.renewed(asked, receipts)
        self._change.set()
        for lane in self._lanes:
            if lane.context is not None and lane.context.delivery.receipt in receipts:
                self._cancel(lane, lane.context, "lost")

    # ── receive ──────────────────────────────────────────────────────────────────────────────

    async def _fetch(self) -> None:
        started = self._clock.monotonic()
        away: float | None = None
        while not self._stopping:
            self.tally.seconds = self._clock.monotonic() - started
            if self._settings.limits.memory is not None:
                self.tally.memory = self._memory()
            if limit := reached(self._settings.limits, self.tally, len(self.held)):
                self.stop(limit)
                return
            self._change.clear()
            room = self._intake.room(len(self._settler))
            if not room or (self._settings.beating and not self._intake.renewable()):
                await self._clock.wait(self._change, LOOK_ROUND)
                continue
            try:
                batch = await self._transport.receive(self._intake.queues(), room, self._patience())
            except HeadraceError as error:
                away = await self._wait_for_store(error, away)
                continue
            if away is not None:
                self._tell(events.Reconnected(",".join(self._settings.queues), self._clock.monotonic() - away))
                away = None
            if self._stopping:
                self._return(batch)
                return
            self._take(batch)
            if self._settings.drain and not batch:
                await self._drained()

    async def _drained(self) -> None:
        """Nothing is ready: end, or wait for what runs, which may send more."""
        if not self.held:
            self.stop("drained")
        else:
            await self._clock.wait(self._change, LOOK_ROUND)

    def _patience(self) -> float:
        """How long to wait for a message."""
        if self._settings.drain:
            return 0.0
        bound = self._settings.limits.seconds
        return WAIT if bound is None else max(0.0, min(WAIT, bound - self.tally.seconds))

    async def _wait_for_store(self, error: HeadraceError, away: float | None) -> float:
        """A pause before the next try, up to a second; since when it has been away."""
        now = self._clock.monotonic()
        if away is None:
            self._tell(events.ConnectionLost(",".join(self._settings.queues), str(error)))
            away = now
        pause = min(1.0, 0.05 + (now - away) / 2)
        await self._clock.wait(self._stopped, pause * (0.5 + chance.roll() / 2))
        return away

    def _take(self, batch: Sequence[Delivery]) -> None:
        if not batch:
            self._intake.alone = False
            return
        if self._events.wanted(events.Received):
            for queue in dict.fromkeys(delivery.queue for delivery in batch):
                self._tell(events.Received(queue, [delivery for delivery in batch if delivery.queue == queue]))
        self._return(self._intake.take(batch))
        self._work.set()
        self._watch.wake()

    # ── execute and decide ───────────────────────────────────────────────────────────────────

    async def _run_lane(self, lane: Lane) -> None:
        breath = self._clock.monotonic()
        while True:
            delivery = self._intake.next()
            if delivery is None:
                self._work.clear()
                await self._work.wait()
                breath = self._clock.monotonic()
                continue
            handler = self._runner.handler(delivery, self._settler.add)
            if handler is None:
                continue
            if handler.is_async or self._around:
                await self._runner.run_here(lane, handler, delivery, self._settler.add)
            else:
                await self._run_in_thread(lane, handler, delivery)
            if self._clock.monotonic() - breath > BREATH:
                await self._clock.sleep(0)
                breath = self._clock.monotonic()

    async def _run_in_thread(self, lane: Lane, handler: Handler, delivery: Delivery) -> None:
        """This delivery, and those behind it while they are short `def` jobs too."""
        lane.chunk = deque([delivery])
        handlers = [handler]
        most = chunk(self._intake.mean, len(self._intake), len(self._lanes))
        while len(handlers) < most and (following := self._intake.next()) is not None:
            found = self._runner.handler(following, self._settler.add)
            if found is not None and found.is_async:
                self._intake.put_back([following])
                break
            if found is not None:
                lane.chunk.append(following)
                handlers.append(found)
        await lane.in_thread(partial(self._runner.run_chunk, lane, handlers, self._settler.add_from_thread))

    # ── settle ───────────────────────────────────────────────────────────────────────────────

    def _on_settled(self, batch: Sequence[Settlement]) -> None:
        self._intake.settled(batch)
        if not self.held:
            self._watch.rest()
        self._change.set()

    def _return(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            self._settler.add(Settlement(delivery, Return(), NO_OUTCOME))

    # ── what the watch sees ──────────────────────────────────────────────────────────────────

    def _on_overdue(self, lane: Lane, context: Context) -> None:
        if not lane.threaded:
            self._cancel(lane, context, "limit")
            return
        self._intake.put_back(lane.take_back())
        self._work.set()
        self._runner.give_up(lane, context, self._settler.add)
        if sum(lane.abandoned for lane in self._lanes) >= ABANDONED_LIMIT:
            self.stop("too many threads past their time limit")

    def _on_stuck(self, since: float) -> None:
        """All lanes are busy with long jobs: what waits behind them may run elsewhere."""
        self._intake.mean = smoothed(self._intake.mean, since, 1.0)
        self._intake.stuck = True
        for lane in self._lanes:
            self._intake.put_back(lane.take_back())
        self._return(self._intake.empty())

    def _cancel(self, lane: Lane, context: Context, reason: str) -> None:
        context.cancelled = True
        context.lost = reason == "lost"
        lane.reason = reason
        if not lane.threaded and lane.task is not None:
            lane.task.cancel()

    # ── the end ──────────────────────────────────────────────────────────────────────────────

    async def _finish(self) -> None:
        """Return what has not started, wait for what runs, return what does not end in time."""
        for lane in self._lanes:
            self._intake.put_back(lane.take_back())
        self._return(self._intake.empty())
        deadline = self._clock.monotonic() + self._settings.grace
        await self._until_idle(deadline, hurry=True)
        for lane in self._lanes:
            if (context := lane.context) is None:
                continue
            self._cancel(lane, context, "stop")
            if lane.threaded:
                self._runner.let_go(lane, context)
                self._return([context.delivery])
        await self._until_idle(self._clock.monotonic() + LAST_GRACE, hurry=False)
        for lane in self._lanes:
            if (context := lane.context) is not None:  # it does not listen to its cancellation
                self._runner.let_go(lane, context)
                self._return([context.delivery])

    async def _until_idle(self, deadline: float, hurry: bool) -> None:
        """Until nothing runs or the deadline; `hurry`: or a second call of stop()."""
        while self.busy and not (hurry and self._abort) and (left := deadline - self._clock.monotonic()) > 0:
            self._change.clear()
            await self._clock.wait(self._change, left)

    def _tell(self, event: Any) -> None:
        if self._events.wanted(type(event)):
            self._events.tell(event)
