"""One place in a consumer and the worker in it: its states, and what becomes of it. Pure."""

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from headrace.supervisor.settings import ConsumerSettings
from headrace.worker.status import Beat, Bye, Frame, Hello


class State(StrEnum):
    """Where a child is in its life."""

    WAITING = "waiting"  # no process; one may be spawned from the deadline on
    STARTING = "starting"  # forked; has to say hello before the deadline
    RUNNING = "running"  # said hello
    HUNG = "hung"  # sent SIGKILL; its place is wanted
    FINISHED = "finished"  # ended cleanly in a finite consumer; keeps its place
    DRAINING = "draining"  # sent SIGTERM; killed at the deadline; its place is not wanted
    KILLED = "killed"  # sent SIGKILL; its place is not wanted
    STOPPED = "stopped"  # gone; forgotten at the next look


class Input(StrEnum):
    """What moves a child."""

    SPAWN = "spawn"  # a process is asked for
    HELLO = "hello"  # it is ready
    HANG = "hang"  # it is out of time: kill and replace it
    DRAIN = "drain"  # it should finish and go
    KILL = "kill"  # it should go now
    EXIT = "exit"  # it ended as it should
    FINISH = "finish"  # it ended as it should, and nothing is left to do
    CRASH = "crash"  # it ended as it should not


ARROWS: dict[tuple[State, Input], State] = {
    (State.WAITING, Input.SPAWN): State.STARTING,
    (State.WAITING, Input.DRAIN): State.STOPPED,
    (State.WAITING, Input.KILL): State.STOPPED,
    (State.STARTING, Input.HELLO): State.RUNNING,
    (State.STARTING, Input.HANG): State.HUNG,
    (State.STARTING, Input.DRAIN): State.DRAINING,
    (State.STARTING, Input.KILL): State.KILLED,
    (State.STARTING, Input.EXIT): State.WAITING,
    (State.STARTING, Input.FINISH): State.FINISHED,
    (State.STARTING, Input.CRASH): State.WAITING,
    (State.RUNNING, Input.HELLO): State.RUNNING,
    (State.RUNNING, Input.HANG): State.HUNG,
    (State.RUNNING, Input.DRAIN): State.DRAINING,
    (State.RUNNING, Input.KILL): State.KILLED,
    (State.RUNNING, Input.EXIT): State.WAITING,
    (State.RUNNING, Input.FINISH): State.FINISHED,
    (State.RUNNING, Input.CRASH): State.WAITING,
    (State.HUNG, Input.HELLO): State.HUNG,
    (State.HUNG, Input.DRAIN): State.KILLED,
    (State.HUNG, Input.KILL): State.KILLED,
    (State.HUNG, Input.EXIT): State.WAITING,
    (State.HUNG, Input.FINISH): State.FINISHED,
    (State.HUNG, Input.CRASH): State.WAITING,
    (State.FINISHED, Input.DRAIN): State.STOPPED,
    (State.FINISHED, Input.KILL): State.STOPPED,
    (State.DRAINING, Input.HELLO): State.DRAINING,
    (State.DRAINING, Input.DRAIN): State.DRAINING,
    (State.DRAINING, Input.KILL): State.KILLED,
    (State.DRAINING, Input.EXIT): State.STOPPED,
    (State.DRAINING, Input.FINISH): State.STOPPED,
    (State.DRAINING, Input.CRASH): State.STOPPED,
    (State.KILLED, Input.HELLO): State.KILLED,
    (State.KILLED, Input.EXIT): State.STOPPED,
    (State.KILLED, Input.FINISH): State.STOPPED,
    (State.KILLED, Input.CRASH): State.STOPPED,
}

SILENT = Beat()
WANTED = frozenset({State.WAITING, State.STARTING, State.RUNNING, State.HUNG, State.FINISHED})
ALIVE = frozenset({State.STARTING, State.RUNNING, State.HUNG, State.DRAINING, State.KILLED})


class UnknownArrow(ValueError):
    """An input without an arrow: a bug of the supervisor's."""


def step(state: State, given: Input) -> State:
    """The next state; an input without an arrow is a bug, and says so."""
    try:
        return ARROWS[state, given]
    except KeyError:
        raise UnknownArrow(f"{given} while {state}") from None


@dataclass(frozen=True, slots=True)
class Child:
    """A place in a consumer and its present or last worker. Times are monotonic.

    number      of the place; given to another child once this one is STOPPED
    generation  of the code that its worker runs
    deadline    meaning: see the states; inf when there is none
    since       when the worker was spawned
    worker      its name, unique for ever; "" while there was none
    pid         0 until it is known
    beat        the last it said of itself
    goodbye     why it ends, in its own words; None while it goes on
    soon        workers in a row that ended too soon
    why         why we told it to end; "" when we did not
    """

    number: int
    generation: int
    state: State = State.WAITING
    deadline: float = 0.0
    since: float = 0.0
    worker: str = ""
    pid: int = 0
    beat: Beat = SILENT
    goodbye: str | None = None
    soon: int = 0
    why: str = ""

    def move(self, given: Input) -> State:
        """The state after `given`."""
        return step(self.state, given)


def spawned(child: Child, worker: str, now: float, within: float) -> Child:
    """A process called `worker` was asked for; it has `within` seconds to say hello."""
    fresh = Child(child.number, child.generation, worker=worker, soon=child.soon)
    return replace(fresh, state=child.move(Input.SPAWN), since=now, deadline=now + within)


def heard(child: Child, frame: Frame) -> Child:
    """It said something. Who speaks is known by the pipe; names in frames are not believed."""
    match frame:
        case Hello() if child.state is State.STARTING:
            return replace(child, state=child.move(Input.HELLO), deadline=math.inf)
        case Hello():
            return replace(child, state=child.move(Input.HELLO))
        case Beat():
            return replace(child, beat=frame)
        case Bye(reason):
            return replace(child, goodbye=reason)


def drained(child: Child, now: float, grace: float, why: str) -> Child:
    """It was told to finish within `grace` seconds."""
    return replace(child, state=child.move(Input.DRAIN), deadline=now + grace, why=child.why or why)


def killed(child: Child, given: Input, why: str) -> Child:
    """SIGKILL was sent; `given` is KILL or HANG."""
    return replace(child, state=child.move(given), deadline=math.inf, why=why)


def judge(child: Child, clean: bool, now: float, settings: ConsumerSettings) -> Input:
    """What the end of its process means; `clean`: exit code 0. Without a bye, somebody's handler has called exit."""
    if not clean or child.goodbye is None:
        return Input.CRASH
    if settings.finite:
        return Input.FINISH
    useless = child.beat.done == 0 and now - child.since < settings.minimum
    return Input.CRASH if useless and child.state in WANTED else Input.EXIT


def ended(child: Child, given: Input, now: float, settings: ConsumerSettings, roll: float) -> Child:
    """Its process is gone. After crashes that came too soon, its place stays empty for a while."""
    state, soon = child.move(given), 0
    if given is Input.CRASH:
        early = child.beat.done == 0 and now - child.since < settings.stable
        soon = child.soon + 1 if early else 1
    deadline = now + settings.backoff.rest(soon, roll) if state is State.WAITING else math.inf
    return replace(child, state=state, deadline=deadline, soon=soon, pid=0, beat=SILENT)
