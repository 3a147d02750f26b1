"""What must be done to bring a consumer's children to its aim. Pure."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

from headrace.supervisor.child import WANTED, Child, State
from headrace.supervisor.settings import ConsumerSettings


@dataclass(frozen=True, slots=True)
class Aim:
    """Where a consumer should be.

    workers     how many children
    generation  of the code they run
    grace       seconds a child that is not wanted may take to finish; 0: SIGKILL at once
    """

    workers: int
    generation: int
    grace: float


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start a worker in this place."""

    number: int


@dataclass(frozen=True, slots=True)
class Drain:
    """Tell it to finish; its place is not wanted."""

    number: int
    grace: float


@dataclass(frozen=True, slots=True)
class Kill:
    """It is out of time, or has none; its place is not wanted."""

    number: int


@dataclass(frozen=True, slots=True)
class Replace:
    """It is stuck: kill it and fill its place again."""

    number: int


Action = Spawn | Drain | Kill | Replace

IDLE_PLACES = frozenset({State.WAITING, State.FINISHED, State.HUNG})  # nothing is lost when they go


def plan(children: Sequence[Child], aim: Aim, now: float) -> list[Action]:
    """The actions that bring `children` to `aim`; empty when there is nothing to do."""
    wanted = [child for child in children if child.state in WANTED]
    current = [child for child in wanted if child.generation == aim.generation]
    excess = max(0, len(current) - aim.workers)
    surplus = sorted(current, key=loss)[:excess]
    keep = [child for child in current if child not in surplus]
    leaving = [child for child in wanted if child.generation != aim.generation] + surplus
    draining = [child for child in children if child.state is State.DRAINING]
    overdue = [child for child in draining if now >= child.deadline or not aim.grace]
    leaving += [child for child in draining if child not in overdue and child.deadline > now + aim.grace]
    return [
        *(Kill(child.number) for child in overdue),
        *(Replace(child.number) for child in keep if child.state is State.STARTING and now >= child.deadline),
        *(Spawn(child.number) for child in keep if child.state is State.WAITING and now >= child.deadline),
        *(Spawn(number) for number in islice(free(children), max(0, aim.workers - len(current)))),
        *(Drain(child.number, aim.grace) if aim.grace else Kill(child.number) for child in leaving),
    ]


def loss(child: Child) -> tuple[bool, int, float, int]:
    """How much is lost when it goes: first empty places, then the idle, then the youngest."""
    return (child.state not in IDLE_PLACES, child.beat.busy, -child.since, -child.number)


def free(children: Sequence[Child]) -> Iterator[int]:
    """Numbers of places that nobody holds, from 1."""
    held = {child.number for child in children}
    return (number for number in count(1) if number not in held)


def soonest(children: Sequence[Child], may_spawn: bool) -> float:
    """When the next deadline is; inf when there is none. While nothing can be spawned, WAITING has none."""
    timed = {State.STARTING, State.DRAINING, State.WAITING} if may_spawn else {State.STARTING, State.DRAINING}
    return min((child.deadline for child in children if child.state in timed), default=math.inf)


def complete(children: Sequence[Child], settings: ConsumerSettings) -> bool:
    """Whether a finite consumer has nothing left to do."""
    finished = [child for child in children if child.state is State.FINISHED]
    return settings.finite and len(finished) == len(children) >= settings.workers
