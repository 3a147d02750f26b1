"""What a dead worker held is given back, as long as it takes."""

from collections.abc import Sequence

import pytest

from headrace.bus.envelope import Receipt
from headrace.bus.transport import Evidence, Lapsed
from headrace.clock import ManualClock
from headrace.errors import StoreUnreachable
from headrace.supervisor.child import Child, State
from headrace.supervisor.events import Event, JobsReleased, ReleaseFailed
from headrace.supervisor.evidence import evidence
from headrace.supervisor.giveback import Death, GiveBack, undisturbed
from headrace.supervisor.orders import Exited

KILLED = Evidence("signal 9 (SIGKILL)")
LAPSED = [Lapsed("1", "t", "q", "w", crashes=1, charged=True)]


class Store:
    """Answers as told: None cannot be reached. Remembers when it was asked."""

    def __init__(self, clock: ManualClock, *answers: Sequence[Lapsed] | None) -> None:
        self.clock = clock
        self.answers = list(answers)
        self.asked: list[tuple[float, str, Sequence[Receipt]]] = []

    async def release(self, worker: str, running: Sequence[Receipt], evidence: Evidence) -> Sequence[Lapsed]:
        self.asked.append((round(self.clock.now(), 3), worker, running))
        if (answer := self.answers.pop(0)) is None:
            raise StoreUnreachable("the database does not answer")
        return answer


class LeapingClock(ManualClock):
    """Whoever sleeps is woken at once, and then it is that much later."""

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)


@pytest.mark.parametrize(
    ("straggler", "answers", "asked", "told"),
    [
        (False, [LAPSED], [0.0], [JobsReleased]),
        (False, [[]], [0.0], []),
        (True, [LAPSED, []], [0.0, 1.0], [JobsReleased]),
        (True, [[], LAPSED], [0.0, 1.0], [JobsReleased]),
        (False, [None, None, None, LAPSED], [0.0, 0.2, 0.6, 1.4], [ReleaseFailed, JobsReleased]),
        (False, [*[None] * 7, []], [0.0, 0.2, 0.6, 1.4, 3.0, 6.2, 11.2, 16.2], [ReleaseFailed]),
    ],
)
async def test_release_is_asked_for_until_it_is_done(
    straggler: bool, answers: list[Sequence[Lapsed] | None], asked: list[float], told: list[type[Event]]
) -> None:
    clock, heard = LeapingClock(0.0), list[Event]()
    store = Store(clock, *answers)
    giveback = GiveBack(store.release, clock, heard.append)

    await giveback.give_back(Death("w", [(1, 2)], KILLED, straggler))

    assert [at for at, *_ in store.asked] == pytest.approx(asked)
    assert {(worker, tuple(running)) for _, worker, running in store.asked} == {("w", ((1, 2),))}
    assert [type(event) for event in heard] == told


def test_listener_with_a_broken_output_disturbs_nobody() -> None:
    def broken(_: Event) -> None:
        raise BrokenPipeError

    undisturbed(broken)(ReleaseFailed("w", "text"))


@pytest.mark.parametrize(
    ("child", "exited", "out_of_memory", "told"),
    [
        ({}, Exited("w", -9), False, "signal 9 (SIGKILL)|nobody here has told it to end"),
        ({}, Exited("w", -9), True, "signal 9 (SIGKILL)|out of memory"),
        ({"why": "stop"}, Exited("w", -9), True, "signal 9 (SIGKILL)|stop"),
        ({}, Exited("w", -11), True, "signal 11 (SIGSEGV)|nobody here has told it to end"),
        ({}, Exited("w", -34), False, "signal 34 (SIGRTMIN)|nobody here has told it to end"),
        ({}, Exited("w", -63), False, "signal 63|nobody here has told it to end"),
        ({}, Exited("w", 3, 5 << 20), False, "exit code 3|nobody here has told it to end; peak memory 5 MiB"),
        ({}, Exited("w", 0), False, "exit code 0|it said no goodbye: a handler has ended the process"),
        ({"goodbye": "limit: 1 message"}, Exited("w", 0), False, "exit code 0|limit: 1 message"),
        (
            {"state": State.STARTING},
            Exited("w", 1),
            False,
            "exit code 1|nobody here has told it to end; it never said that it was ready",
        ),
    ],
)
def test_evidence(child: dict[str, object], exited: Exited, out_of_memory: bool, told: str) -> None:
    fields = {"state": State.RUNNING, **child}
    found = evidence(Child(1, 1, **fields), exited, out_of_memory)  # type: ignore[arg-type]
    assert f"{found.cause}|{found.detail}".startswith(told)
