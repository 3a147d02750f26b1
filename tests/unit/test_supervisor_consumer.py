"""What is done to bring a consumer to its aim."""

import math
from dataclasses import replace

import pytest

from headrace.supervisor.child import Child, State
from headrace.supervisor.consumer import (
    Action,
    Aim,
    Drain,
    Kill,
    Replace,
    Spawn,
    complete,
    plan,
    soonest,
)
from headrace.supervisor.settings import ConsumerSettings
from headrace.worker.status import Beat

NOW = 100.0
GRACE = 30.0


def child(number: int, state: State, *, deadline: float = math.inf, busy: int = 0, **other: float) -> Child:
    fields = {"since": 0.0, "generation": 1, **other}
    return replace(Child(number, 1), state=state, deadline=deadline, beat=Beat(busy=busy), **fields)  # type: ignore[arg-type]


def running(number: int, busy: int = 0, **other: float) -> Child:
    return child(number, State.RUNNING, busy=busy, **other)


TO_TWO = Aim(2, 1, GRACE)
TO_ONE = Aim(1, 1, GRACE)
STOP = Aim(0, 1, GRACE)
NOW_STOP = Aim(0, 1, 0.0)


@pytest.mark.parametrize(
    ("children", "aim", "actions"),
    [
        # growing: the lowest free places
        ([], TO_TWO, [Spawn(1), Spawn(2)]),
        ([running(1)], TO_TWO, [Spawn(2)]),
        ([running(2)], TO_TWO, [Spawn(1)]),
        ([running(1), running(2)], TO_TWO, []),
        ([running(1), child(2, State.STARTING, deadline=NOW + 1)], TO_TWO, []),
        ([running(1), child(2, State.FINISHED)], TO_TWO, []),
        ([running(1), child(2, State.HUNG)], TO_TWO, []),
        ([running(1), child(2, State.DRAINING, deadline=NOW + 1)], TO_TWO, [Spawn(3)]),
        ([running(1), child(2, State.KILLED)], TO_TWO, [Spawn(3)]),
        # backing off
        ([running(1), child(2, State.WAITING, deadline=NOW + 0.001)], TO_TWO, []),
        ([running(1), child(2, State.WAITING, deadline=NOW)], TO_TWO, [Spawn(2)]),
        # not ready in time
        ([child(1, State.STARTING, deadline=NOW + 0.001)], TO_ONE, []),
        ([child(1, State.STARTING, deadline=NOW)], TO_ONE, [Replace(1)]),
        # shrinking: empty places, then the idle, then the youngest
        ([running(1, busy=1), running(2)], TO_ONE, [Drain(2, GRACE)]),
        ([running(1), running(2, busy=1)], TO_ONE, [Drain(1, GRACE)]),
        ([running(1, busy=2), running(2, busy=1)], TO_ONE, [Drain(2, GRACE)]),
        ([running(1, since=5.0), running(2, since=4.0)], TO_ONE, [Drain(1, GRACE)]),
        ([running(1, since=4.0), running(2, since=5.0)], TO_ONE, [Drain(2, GRACE)]),
        ([running(1), running(2)], TO_ONE, [Drain(2, GRACE)]),
        ([running(1), child(2, State.WAITING, deadline=NOW)], TO_ONE, [Drain(2, GRACE)]),
        ([child(1, State.FINISHED, busy=9), running(2)], TO_ONE, [Drain(1, GRACE)]),
        # draining
        ([child(1, State.DRAINING, deadline=NOW + 0.001)], STOP, []),
        ([child(1, State.DRAINING, deadline=NOW)], STOP, [Kill(1)]),
        ([child(1, State.DRAINING, deadline=NOW + GRACE)], STOP, []),
        ([child(1, State.DRAINING, deadline=NOW + GRACE + 0.001)], STOP, [Drain(1, GRACE)]),  # the new grace is shorter
        ([child(1, State.KILLED)], STOP, []),
        # stopping
        ([running(1, busy=1), child(2, State.STARTING, deadline=NOW)], STOP, [Drain(2, GRACE), Drain(1, GRACE)]),
        ([child(1, State.HUNG)], STOP, [Drain(1, GRACE)]),
        ([running(1)], NOW_STOP, [Kill(1)]),
        ([child(1, State.WAITING)], NOW_STOP, [Kill(1)]),
        ([child(1, State.DRAINING, deadline=NOW + 9)], NOW_STOP, [Kill(1)]),
        # new code: the new ones first
        ([running(1), running(2)], Aim(2, 2, 2.0), [Spawn(3), Spawn(4), Drain(1, 2.0), Drain(2, 2.0)]),
        ([running(1), running(2, generation=2)], Aim(1, 2, 2.0), [Drain(1, 2.0)]),
        ([child(1, State.WAITING, deadline=NOW)], Aim(1, 2, 2.0), [Spawn(2), Drain(1, 2.0)]),
        ([child(1, State.STARTING, deadline=NOW)], Aim(1, 2, 2.0), [Spawn(2), Drain(1, 2.0)]),
    ],
)
def test_plan(children: list[Child], aim: Aim, actions: list[Action]) -> None:
    assert plan(children, aim, NOW) == actions


@pytest.mark.parametrize(
    ("children", "may_spawn", "due"),
    [
        ([], True, math.inf),
        ([running(1, deadline=1.0)], True, math.inf),
        ([child(1, State.STARTING, deadline=3.0), child(2, State.DRAINING, deadline=2.0)], True, 2.0),
        ([child(1, State.STARTING, deadline=3.0), child(2, State.WAITING, deadline=2.0)], True, 2.0),
        ([child(1, State.STARTING, deadline=3.0), child(2, State.WAITING, deadline=2.0)], False, 3.0),
    ],
)
def test_soonest(children: list[Child], may_spawn: bool, due: float) -> None:
    assert soonest(children, may_spawn) == due


@pytest.mark.parametrize(
    ("states", "finite", "is_complete"),
    [
        ([State.FINISHED, State.FINISHED], True, True),
        ([State.FINISHED, State.FINISHED], False, False),
        ([State.FINISHED], True, False),
        ([State.FINISHED, State.RUNNING], True, False),
        ([State.FINISHED, State.FINISHED, State.DRAINING], True, False),
    ],
)
def test_complete(states: list[State], finite: bool, is_complete: bool) -> None:
    children = [child(number, state) for number, state in enumerate(states)]
    assert complete(children, ConsumerSettings("c", 2, finite=finite)) is is_complete
