"""The zygotes: the one that serves, the one that loads, and those that end."""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from headrace import chance
from headrace.clock import Clock
from headrace.supervisor import events
from headrace.supervisor.giveback import Tell
from headrace.supervisor.handle import Stage, Zygote
from headrace.supervisor.orders import Exited, Forked, Loaded, LoadingFailed, NotForked
from headrace.supervisor.settings import Backoff, Loading
from headrace.supervisor.watch import Watch

ENDING = 5.0  # seconds that a zygote without workers may take to end
STEADY = 10.0  # one that dies earlier died too soon
DEATHS = Backoff()


@dataclass(frozen=True, slots=True)
class Lost:
    """A zygote died, and its workers with it."""

    cause: str


AboutWorkers = Forked | NotForked | Exited | Lost


class Nursery:
    """Sees to it that one zygote with the newest code that loads is serving.

    serving   the one that forks; None while there is none
    hopeless  nothing serves, and nothing is tried before the next load()
    """

    def __init__(self, loading: Loading, grace: float, clock: Clock, watch: Watch, tell: Tell) -> None:
        self.serving: Zygote | None = None
        self.hopeless = False
        self._loading = loading
        self._grace = grace
        self._clock = clock
        self._watch = watch
        self._tell = tell
        self._zygotes: list[Zygote] = []
        self._generation = 0  # of the newest
        self._load_at = math.inf
        self._deaths = 0  # in a row, too soon

    @property
    def generation(self) -> int:
        """Of the code that new workers run."""
        return self.serving.generation if self.serving else 0

    @property
    def empty(self) -> bool:
        """Whether every zygote has ended."""
        return not self._zygotes

    def load(self) -> None:
        """Load the code now; whatever else is being loaded is given up."""
        self._load_at, self.hopeless = -math.inf, False

    def due(self) -> float:
        """When something has to be done next."""
        return min([self._load_at, *(zygote.deadline for zygote in self._zygotes)])

    def look(self, readable: Collection[int]) -> Iterator[tuple[Zygote, AboutWorkers]]:
        """What zygotes tell about workers; what they tell about themselves is dealt with here."""
        for zygote in list(self._zygotes):
            ended = zygote.pidfd in readable
            if zygote.stage is not Stage.CLOSED and (ended or zygote.control.fileno() in readable):
                yield from self._hear(zygote)
            if ended:
                yield from self._bury(zygote)

    def tend(self, busy: Collection[Zygote], stopping: bool) -> None:
        """Start, end and kill what is due. `busy`: those that have workers."""
        now = self._clock.monotonic()
        for zygote in self._zygotes:
            unneeded = stopping or zygote is not self.serving
            if zygote.stage is Stage.SERVING and unneeded and zygote not in busy:
                self._close(zygote)
            if zygote.stage is Stage.LOADING and stopping:
                self._close(zygote)
                zygote.kill()
            if now >= zygote.deadline:
                zygote.error = f"the application was not loaded within {self._loading.timeout:g} s"
                zygote.deadline = math.inf
                zygote.kill()
        if now >= self._load_at and not stopping:
            self._start(now)

    def destroy(self) -> None:
        """Kill and reap all that is left."""
        for zygote in self._zygotes:
            zygote.kill()
            zygote.bury()
        self._zygotes.clear()

    def _start(self, now: float) -> None:
        self._load_at = math.inf
        for zygote in self._zygotes:
            if zygote.stage is Stage.LOADING:  # older code: nobody waits for it any more
                self._close(zygote)
                zygote.kill()
        try:
            zygote = Zygote.start(self._loading, self._grace, self._generation + 1, now)
        except OSError as error:
            self._failed(f"no process can be started: {error}", again=True)
            return
        self._generation = zygote.generation
        self._zygotes.append(zygote)
        self._watch.add(zygote.pidfd)
        self._watch.add(zygote.control.fileno())

    def _hear(self, zygote: Zygote) -> Iterator[tuple[Zygote, AboutWorkers]]:
        answers, over = zygote.hear()
        if not over:
            self._watch.add(zygote.control.fileno())
        for said in answers:
            match said:
                case Loaded():
                    self._loaded(zygote)
                case LoadingFailed(text):
                    zygote.error = text
                case _:
                    yield zygote, said

    def _loaded(self, zygote: Zygote) -> None:
        kind = events.Reloaded if self.serving else events.ZygoteReady
        zygote.stage, zygote.deadline = Stage.SERVING, math.inf
        self.serving = zygote
        self._tell(kind(zygote.pid, self._clock.monotonic() - zygote.began))

    def _bury(self, zygote: Zygote) -> Iterator[tuple[Zygote, AboutWorkers]]:
        """It has ended; was that meant?"""
        self._zygotes.remove(zygote)
        stage = zygote.stage
        if stage is not Stage.CLOSED:
            self._watch.drop(zygote.control.fileno())
        self._watch.drop(zygote.pidfd)
        cause = zygote.bury()
        if stage is Stage.LOADING:
            self._failed(
                zygote.error or f"loading the application ended the process with {cause}", again=self._deaths > 0
            )
        elif stage is Stage.SERVING:
            self._tell(events.ZygoteLost(zygote.pid, cause))
            yield zygote, Lost(cause)
            if zygote is self.serving:
                self.serving = None
                soon = self._clock.monotonic() - zygote.began < STEADY
                self._again(self._deaths + 1 if soon else 1)

    def _failed(self, text: str, again: bool) -> None:
        if self.serving:
            self._tell(events.ReloadFailed(text))
            return
        self._tell(events.LoadFailed(text))
        if again:
            self._again(self._deaths + 1)
        else:
            self.hopeless = not self._loading.patient

    def _again(self, deaths: int) -> None:
        self._deaths = deaths
        self._load_at = self._clock.monotonic() + DEATHS.rest(deaths, chance.roll())

    def _close(self, zygote: Zygote) -> None:
        self._watch.drop(zygote.control.fileno())
        zygote.close(self._clock.monotonic() + ENDING)
