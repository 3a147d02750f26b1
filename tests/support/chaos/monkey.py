"""Kills workers by a plan that its seed makes; what it did is written down."""

import random
import signal
import time
from dataclasses import dataclass

from tests.support.chaos.diary import Run
from tests.support.chaos.fleet import Fleet
from tests.support.chaos.waiting import eventually


@dataclass(frozen=True, slots=True)
class Hit:
    """A worker was killed. held: what it was running, seen after its death."""

    at: float
    worker: str
    pid: int
    held: list[Run]


class Monkey:
    """hits: kills of a worker that was running something; missed: the others."""

    def __init__(self, fleet: Fleet, seed: int) -> None:
        self.hits: list[Hit] = []
        self.missed = 0
        self._fleet = fleet
        self._dice = random.Random(seed)

    async def strike(self, within: float = 20.0) -> Hit | None:
        """Kill a worker that is running something, at a random instant of it."""
        held: list[str] = []

        def busy() -> bool:
            pids = self._fleet.pids
            held[:] = sorted(worker for worker in pids if self._fleet.world.running(pids[worker]))
            return bool(held)

        await eventually(busy, within, "a worker is busy")
        victim = self._dice.choice(held)
        pid = self._fleet.pids[victim]
        at = time.monotonic()
        self._fleet.supervisor.signal_worker(victim, signal.SIGKILL)
        await eventually(lambda: pid in {death.pid for death in self._fleet.deaths}, within, f"{victim} is dead")
        running = self._fleet.world.running(pid)
        if not running:
            self.missed += 1
            return None
        self.hits.append(Hit(at, victim, pid, running))
        return self.hits[-1]
