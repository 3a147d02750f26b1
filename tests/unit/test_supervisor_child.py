"""The states of a child, and what they follow from."""

import math
from dataclasses import replace

import pytest

from headrace.supervisor.child import (
    ALIVE,
    ARROWS,
    WANTED,
    Child,
    Input,
    State,
    UnknownArrow,
    drained,
    ended,
    heard,
    judge,
    killed,
    spawned,
    step,
)
from headrace.supervisor.settings import Backoff, ConsumerSettings
from headrace.worker.status import Beat, Bye, Frame, Hello

NOW = 1000.0
STEADY = ConsumerSettings("steady", 1, stable=2.0, minimum=1.0)
FINITE = replace(STEADY, finite=True)


def given_child(state: State, lived: float = 0.0, **fields: object) -> Child:
    return replace(Child(1, 1), state=state, worker="w", since=NOW - lived, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(("arrow", "after"), ARROWS.items(), ids=str)
def test_every_arrow_leads_where_it_says(arrow: tuple[State, Input], after: State) -> None:
    assert step(*arrow) is after


def test_input_without_an_arrow_is_a_bug_and_says_so() -> None:
    missing = [(state, given) for state in State for given in Input if (state, given) not in ARROWS]
    assert (State.STOPPED, Input.SPAWN) in missing
    for state, given in missing:
        with pytest.raises(UnknownArrow, match=f"{given} while {state}"):
            step(state, given)


@pytest.mark.parametrize("state", list(State))
def test_what_is_alive_can_end_and_can_be_killed_and_nothing_else_can_end(state: State) -> None:
    ends = {given for given in (Input.EXIT, Input.FINISH, Input.CRASH) if (state, given) in ARROWS}
    assert bool(ends) is (state in ALIVE)
    assert ((state, Input.KILL) in ARROWS) is (state not in {State.KILLED, State.STOPPED})
    assert ((state, Input.DRAIN) in ARROWS) is (state in WANTED | {State.DRAINING})


@pytest.mark.parametrize("arrow", [arrow for arrow in ARROWS if arrow[0] not in WANTED], ids=str)
def test_place_that_is_not_wanted_is_never_wanted_again(arrow: tuple[State, Input]) -> None:
    assert ARROWS[arrow] not in WANTED


@pytest.mark.parametrize(
    ("state", "frame", "after"),
    [
        (State.STARTING, Hello("w", 1), State.RUNNING),
        (State.STARTING, Beat(), State.STARTING),
        (State.RUNNING, Hello("w", 1), State.RUNNING),
        (State.HUNG, Hello("w", 1), State.HUNG),
        (State.DRAINING, Hello("w", 1), State.DRAINING),
        (State.KILLED, Hello("w", 1), State.KILLED),
        (State.RUNNING, Bye("enough"), State.RUNNING),
    ],
)
def test_frames_move_a_child_only_by_its_first_hello(state: State, frame: Frame, after: State) -> None:
    child = heard(given_child(state, deadline=NOW + 5), frame)
    assert child.state is after
    assert child.deadline == (math.inf if (state, after) == (State.STARTING, State.RUNNING) else NOW + 5)


def test_frames_are_remembered() -> None:
    child = heard(heard(given_child(State.RUNNING), Beat(busy=3)), Bye("enough"))
    assert (child.beat, child.goodbye) == (Beat(busy=3), "enough")


def test_spawn_forgets_the_last_worker_and_keeps_the_count_of_early_ends() -> None:
    before = Child(3, 2, worker="old", pid=7, beat=Beat(done=1), goodbye="x", soon=4, why="y")
    assert spawned(before, "new", NOW, 60.0) == Child(3, 2, State.STARTING, NOW + 60.0, NOW, "new", soon=4)


def test_first_reason_to_drain_is_kept_and_the_last_to_kill() -> None:
    child = drained(drained(given_child(State.RUNNING), NOW, 2.0, "new code"), NOW, 1.0, "stop")
    assert (child.state, child.deadline, child.why) == (State.DRAINING, NOW + 1.0, "new code")
    child = killed(child, Input.KILL, "too late")
    assert (child.state, child.deadline, child.why) == (State.KILLED, math.inf, "too late")


@pytest.mark.parametrize(
    ("state", "clean", "goodbye", "done", "lived", "settings", "given"),
    [
        (State.RUNNING, True, "limit", 0, 1.0, STEADY, Input.EXIT),
        (State.RUNNING, True, "limit", 0, 0.999, STEADY, Input.CRASH),  # too soon, and for nothing
        (State.RUNNING, True, "limit", 1, 0.0, STEADY, Input.EXIT),
        (State.RUNNING, True, None, 9, 9.0, STEADY, Input.CRASH),  # os._exit(0) in a handler
        (State.RUNNING, False, "limit", 9, 9.0, STEADY, Input.CRASH),
        (State.DRAINING, True, "SIGTERM", 0, 0.0, STEADY, Input.EXIT),
        (State.DRAINING, False, None, 0, 0.0, STEADY, Input.CRASH),
        (State.RUNNING, True, "drained", 0, 0.0, FINITE, Input.FINISH),
        (State.RUNNING, True, None, 0, 9.0, FINITE, Input.CRASH),
        (State.RUNNING, False, "drained", 0, 9.0, FINITE, Input.CRASH),
    ],
)
def test_end_is_judged(
    state: State, clean: bool, goodbye: str | None, done: int, lived: float, settings: ConsumerSettings, given: Input
) -> None:
    child = given_child(state, lived, goodbye=goodbye, beat=Beat(done=done))
    assert judge(child, clean, NOW, settings) is given


@pytest.mark.parametrize(
    ("state", "given", "lived", "soon", "after", "soon_after", "pause"),
    [
        (State.RUNNING, Input.CRASH, 0.0, 0, State.WAITING, 1, 0.0),  # the first is replaced at once
        (State.RUNNING, Input.CRASH, 1.999, 1, State.WAITING, 2, 0.5),
        (State.RUNNING, Input.CRASH, 2.0, 5, State.WAITING, 1, 0.0),  # it had been well
        (State.STARTING, Input.CRASH, 0.0, 2, State.WAITING, 3, 1.0),
        (State.RUNNING, Input.EXIT, 0.0, 5, State.WAITING, 0, 0.0),
        (State.RUNNING, Input.FINISH, 0.0, 0, State.FINISHED, 0, math.inf),
        (State.HUNG, Input.CRASH, 60.0, 0, State.WAITING, 1, 0.0),
        (State.DRAINING, Input.CRASH, 0.0, 3, State.STOPPED, 4, math.inf),
        (State.KILLED, Input.CRASH, 9.0, 0, State.STOPPED, 1, math.inf),
    ],
)
def test_end_moves_a_child(
    state: State, given: Input, lived: float, soon: int, after: State, soon_after: int, pause: float
) -> None:
    before = given_child(state, lived, soon=soon, pid=5, beat=Beat(busy=2))
    child = ended(before, given, NOW, STEADY, roll=0.5)
    assert (child.state, child.soon, child.deadline) == (after, soon_after, NOW + pause)
    assert (child.pid, child.beat) == (0, Beat())


def test_worker_that_has_done_something_has_not_crashed_too_soon() -> None:
    before = given_child(State.RUNNING, lived=0.1, soon=5, beat=Beat(done=1))
    after = ended(before, Input.CRASH, NOW, STEADY, roll=0.5)
    assert (after.soon, after.deadline) == (1, NOW)


@pytest.mark.parametrize(
    ("soon", "roll", "wait"),
    [
        (0, 0.5, 0.0),
        (1, 0.5, 0.0),
        (2, 0.5, 0.5),
        (3, 0.5, 1.0),
        (4, 0.5, 2.0),
        (4, 0.0, 1.8),
        (4, 1.0, 2.2),
        (8, 0.5, 30.0),  # 32 without the cap
        (7, 0.5, 16.0),
        (10_000, 0.5, 30.0),
    ],
)
def test_rest_grows_up_to_its_cap(soon: int, roll: float, wait: float) -> None:
    assert Backoff(first=0.5, factor=2.0, cap=30.0, jitter=0.1).rest(soon, roll) == pytest.approx(wait)
