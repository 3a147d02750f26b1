"""The supervisor: observe, decide, apply. Read this first."""

import asyncio
import os
import signal
import socket
import traceback
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from headrace import chance
from headrace.clock import Clock
from headrace.supervisor import child as life
from headrace.supervisor import events
from headrace.supervisor.child import Child, Input, State
from headrace.supervisor.consumer import Action, Aim, Drain, Kill, Replace, Spawn, complete, plan, soonest
from headrace.supervisor.evidence import evidence, oom_kills
from headrace.supervisor.fleet import Fleet, Link, WorkerView
from headrace.supervisor.folder import recorders
from headrace.supervisor.giveback import Death, GiveBack, Release, Tell, undisturbed
from headrace.supervisor.handle import StatusPipe
from headrace.supervisor.nursery import Lost, Nursery
from headrace.supervisor.orders import Exited, Forked, NotForked, Seat
from headrace.supervisor.settings import ConsumerSettings, Loading
from headrace.supervisor.watch import Watch
from headrace.worker import recorder

BREATH = 0.01  # seconds between two looks: bounds what a talkative worker costs
LONGEST = 60.0  # seconds between two looks when nothing happens
LAST_RELEASES = 5.0  # seconds for giving back after the last worker has ended; then leases lapse


class Phase(StrEnum):
    """Where the supervisor is in its life."""

    RUNNING = "running"  # keeps every consumer at its workers
    STOPPING = "stopping"  # all were told to finish
    HURRYING = "hurrying"  # all were killed


class Supervisor:
    """Keeps the workers of its consumers alive, and gives back at once what a dead one held.

    loading  how their code is loaded
    release  gives back what a worker held; it may raise TransportError, and is then asked again
    tell     hears every event; must not block
    """

    def __init__(
        self, consumers: Sequence[ConsumerSettings], loading: Loading, release: Release, clock: Clock, tell: Tell
    ) -> None:
        self._fleet = Fleet(consumers)
        self._clock = clock
        self._tell = tell = undisturbed(tell)
        self._watch = Watch()
        self._longest_grace = max((settings.grace for settings in consumers), default=0.0)
        self._nursery = Nursery(loading, self._longest_grace, clock, self._watch, tell)
        self._giveback = GiveBack(release, clock, tell)
        self._giving: list[asyncio.Task[None]] = []
        self._phase = Phase.RUNNING
        self._code = 0
        self._oom_kills = oom_kills()
        self._host = socket.gethostname()
        self._folder = Path()  # of the flight recorders

    # ── from outside ──────────────────────────────────────────────────────────────────────────

    @property
    def workers(self) -> list[WorkerView]:
        """Every worker process."""
        return list(self._fleet.views(self._clock.now() - self._clock.monotonic()))

    def stop(self) -> None:
        """Let all finish within their grace; a second time: kill them now."""
        self._phase = Phase.STOPPING if self._phase is Phase.RUNNING else Phase.HURRYING
        grace = self._longest_grace if self._phase is Phase.STOPPING else 0.0
        self._tell(events.Draining(len(self._fleet.links), grace))
        self._watch.stirred.set()

    def reload(self) -> None:
        """Load the code anew, and replace every worker once that has succeeded."""
        self._nursery.load()
        self._watch.stirred.set()

    def signal_worker(self, worker: str, number: int) -> None:
        """Send a signal to a worker; ignored when it is gone."""
        if found := self._fleet.of(worker):
            found[0].zygote.signal(worker, number)

    # ── the loop ──────────────────────────────────────────────────────────────────────────────

    async def run(self) -> int:
        """Supervise until told to stop, or until every finite consumer is complete; returns the exit code."""
        self._nursery.load()
        try:
            with recorders() as self._folder:
                async with asyncio.TaskGroup() as tasks:
                    while not self._over():
                        await self._survive(self._look(tasks))
                    await self._give_back_the_last()
        finally:
            self._nursery.destroy()
        return self._code

    def _over(self) -> bool:
        return self._phase is not Phase.RUNNING and not self._fleet.everyone() and self._nursery.empty

    async def _survive(self, work: Awaitable[None]) -> None:
        """A bug is told, and supervision goes on."""
        try:
            await work
        except Exception:  # noqa: BLE001  # the one place
            self._tell(events.SupervisorFailed(traceback.format_exc()))
            await self._clock.sleep(1.0)

    async def _look(self, tasks: asyncio.TaskGroup) -> None:
        """Observe, decide, apply; then wait until there is something new."""
        self._giving = [task for task in self._giving if not task.done()]
        for death in self._observe():
            self._giving.append(tasks.create_task(self._survive(self._giveback.give_back(death))))
        if self._phase is Phase.RUNNING and self._at_end():
            self._phase, self._code = Phase.STOPPING, int(self._nursery.hopeless)
        for settings in self._fleet.consumers:
            for action in plan(self._fleet.children(settings), self._aim(settings), self._clock.monotonic()):
                self._apply(settings, action)
        busy = {link.zygote for link in self._fleet.links.values()}
        self._nursery.tend(busy, stopping=self._phase is not Phase.RUNNING)
        if self._over():
            return
        await self._clock.sleep(BREATH)
        await self._clock.wait(self._watch.stirred, self._due() - self._clock.monotonic())

    async def _give_back_the_last(self) -> None:
        if self._giving:
            await asyncio.wait(self._giving, timeout=LAST_RELEASES)
        for late in self._giving:
            late.cancel()

    # ── observe ───────────────────────────────────────────────────────────────────────────────

    def _observe(self) -> Iterator[Death]:
        """Take in what workers and zygotes say; gives the deaths among it."""
        readable = self._watch.take()
        for zygote, said in self._nursery.look(readable):
            match said:
                case Forked(worker, pid):
                    self._forked(worker, pid)
                case NotForked(worker, why):
                    self._not_forked(worker, why)
                case Exited():
                    yield from self._ended(said)
                case Lost(cause):
                    for worker in self._fleet.workers_of(zygote):
                        yield from self._ended(Exited(worker, -signal.SIGKILL), f"its zygote died: {cause}")

        for worker in [worker for worker, link in self._fleet.links.items() if link.pipe.fd in readable]:
            if self._listen(worker):
                self._watch.add(self._fleet.links[worker].pipe.fd)

    def _at_end(self) -> bool:
        """Whether there is nothing left to run for."""
        consumers = self._fleet.consumers
        return self._nursery.hopeless or all(
            complete(self._fleet.children(settings), settings) for settings in consumers
        )

    def _listen(self, worker: str) -> bool:
        """Take in what a worker says; whether it may say more."""
        if (found := self._fleet.of(worker)) is None:
            return False
        link, child = found
        if not child.pid:  # its parent has not introduced it yet
            return True
        frames, over = link.pipe.read()
        for frame in frames:
            before, child = child.state, life.heard(child, frame)
            if before is State.STARTING and child.state is State.RUNNING:
                seconds = self._clock.monotonic() - child.since
                self._tell(events.WorkerReady(worker, link.settings.name, child.pid, seconds))
        self._fleet.put(link.settings, child)
        return not over

    def _forked(self, worker: str, pid: int) -> None:
        if found := self._fleet.of(worker):
            link, child = found
            self._fleet.put(link.settings, replace(child, pid=pid))
            self._tell(events.WorkerSpawned(worker, link.settings.name, pid))

    def _not_forked(self, worker: str, why: str) -> None:
        if found := self._fleet.of(worker):
            link, child = found
            self._let_go(worker)
            self._not_spawned(link.settings, child, why)

    def _ended(self, exited: Exited, why: str = "") -> Iterator[Death]:
        """A worker is gone: what becomes of its place, and what it held."""
        self._listen(exited.worker)  # its last words
        if (found := self._fleet.of(exited.worker)) is None:
            return
        link, child = found
        child = replace(child, why=child.why or why)
        now, kills = self._clock.monotonic(), oom_kills()
        proof = evidence(child, exited, kills > self._oom_kills)
        self._oom_kills = kills
        given = life.judge(child, exited.code == 0, now, link.settings)
        after = life.ended(child, given, now, link.settings, chance.roll())
        running = recorder.read(link.recorder)
        self._let_go(exited.worker)
        self._fleet.put(link.settings, after)
        deaf = child.state is State.DRAINING and exited.code == -signal.SIGTERM  # told before it could listen
        clean = deaf or given is not Input.CRASH
        again = after.deadline - now if after.state is State.WAITING else None
        whose = (exited.worker, link.settings.name, child.pid)
        self._tell(events.WorkerExited(*whose, proof, clean, running, again, now - child.since))
        charged = [] if child.state is State.KILLED else running  # no job is to blame for our impatience
        yield Death(exited.worker, charged, proof, straggler=not clean)

    def _let_go(self, worker: str) -> None:
        self._watch.drop(self._fleet.links[worker].pipe.fd)
        self._fleet.let_go(worker)

    # ── decide ────────────────────────────────────────────────────────────────────────────────

    def _aim(self, settings: ConsumerSettings) -> Aim:
        """Where a consumer should be. Crash, reload and shutdown differ in this only."""
        generation = self._nursery.generation
        match self._phase:
            case Phase.RUNNING:
                return Aim(settings.workers, generation, settings.reload_grace)
            case Phase.STOPPING:
                return Aim(0, generation, settings.grace)
            case Phase.HURRYING:
                return Aim(0, generation, 0.0)

    def _due(self) -> float:
        """When something has to be done though nothing is heard."""
        children = soonest(self._fleet.everyone(), may_spawn=self._nursery.serving is not None)
        return min(children, self._nursery.due(), self._clock.monotonic() + LONGEST)

    # ── apply ─────────────────────────────────────────────────────────────────────────────────

    def _apply(self, settings: ConsumerSettings, action: Action) -> None:
        child = self._fleet.child(settings, action.number, self._nursery.generation)
        match action:
            case Spawn():
                self._spawn(settings, child)
            case Drain(grace=grace):
                self._signal(child, signal.SIGTERM)
                why = "new code replaces it" if self._phase is Phase.RUNNING else "the supervisor stops"
                self._fleet.put(settings, life.drained(child, self._clock.monotonic(), grace, why))
            case Kill():
                why = f"{child.why or 'the supervisor stops'}; it had no more time to finish"
                self._kill(settings, child, Input.KILL, why)
            case Replace():
                self._kill(settings, child, Input.HANG, f"it was not ready within {settings.start_timeout:g} s")

    def _spawn(self, settings: ConsumerSettings, child: Child) -> None:
        """Ask for a worker. While nothing serves, the place stays empty: `plan` asks again."""
        if (zygote := self._nursery.serving) is None:
            return
        now = self._clock.monotonic()
        worker = f"{self._host}-{settings.name}-{child.number}-{chance.bits(32):08x}"
        child = life.spawned(child, worker, now, settings.start_timeout)
        try:
            pipe, writing = StatusPipe.open()
        except OSError as error:
            self._not_spawned(settings, child, str(error))
            return
        path = self._folder / worker
        zygote.fork(Seat(worker, settings.name, child.number, str(path)), writing)
        os.close(writing)
        self._watch.add(pipe.fd)
        self._fleet.links[worker] = Link(settings, child.number, zygote, pipe, path)
        self._fleet.put(settings, child)

    def _not_spawned(self, settings: ConsumerSettings, child: Child, why: str) -> None:
        now = self._clock.monotonic()
        after = life.ended(child, Input.CRASH, now, settings, chance.roll())
        self._fleet.put(settings, after)
        self._tell(events.SpawnFailed(child.worker, settings.name, why, after.deadline - now))

    def _signal(self, child: Child, number: int) -> None:
        """Once: a second SIGTERM means now to a worker."""
        if child.state in (State.STARTING, State.RUNNING) or number == signal.SIGKILL:
            self.signal_worker(child.worker, number)

    def _kill(self, settings: ConsumerSettings, child: Child, given: Input, why: str) -> None:
        if child.state in life.ALIVE:
            self.signal_worker(child.worker, signal.SIGKILL)
            self._tell(events.WorkerKilled(child.worker, settings.name, child.pid, why))
        self._fleet.put(settings, life.killed(child, given, why))
