"""The checker sees: a history without fault passes, and every planted fault is found, by its invariant."""

from dataclasses import replace

import pytest

from tests.support.chaos.checker import Facts, check
from tests.support.chaos.diary import Run, Sends
from tests.support.chaos.records import Attempted, Buried, Death, Snapshot, Stored, Waiting

DONE = Stored("completed", 0, 0, "[1,2]", "w2", None)
FIRST = Run("a", 1, (1, 1), 100, 10.0)
SECOND = Run("a", 2, (1, 2), 200, 12.0, 13.0, "done")
DEATH = Death(100, 11.0, "w1", "signal 9")
SENDS = Sends({"a": 1.0}, {"a": 1.1}, {}, {}, {})
STORE = Snapshot({"a": DONE}, {}, {}, [], (0, 0, 0))
HISTORY = Facts(SENDS, [FIRST, SECOND], [DEATH], STORE)
WAITING = Waiting(leased=False, loan=2, retries=0, crashes=1)
LAPSE = Attempted("a", 1, "crashed", "w1", "lease lapsed: no heartbeat within the lease")


def with_job(**changes: object) -> Facts:
    return replace(HISTORY, store=replace(STORE, jobs={"a": replace(DONE, **changes)}))  # type: ignore[arg-type]


def with_runs(*runs: Run) -> Facts:
    return replace(HISTORY, runs=runs)


ENDED = replace(FIRST, ended=10.5, how="done")
FINE = {
    "a crash": (HISTORY, "crash"),
    "killed between its end and its settling": (with_runs(ENDED, replace(SECOND, attempt=1)), "death after the end"),
    "a retry": (with_runs(replace(FIRST, ended=10.5, how="failed"), SECOND), "retry"),
    "returned by a drain": (with_runs(replace(FIRST, ended=10.5, how="stopped"), replace(SECOND, attempt=1)), "stop"),
    "a lapse": (replace(HISTORY, deaths=[], store=replace(STORE, attempts=[LAPSE])), "lapse"),
    "a store that forgot a claim": (
        replace(with_runs(ENDED, replace(SECOND, attempt=1)), deaths=[], store_crashes=[11.0]), "store crash"),
    "killed by its impatient supervisor": (
        replace(with_runs(FIRST, replace(SECOND, attempt=1)), deaths=[replace(DEATH, charged=False)]),
        "killed while draining"),
}  # fmt: skip
PLANTED = {
    "I1 lost": replace(HISTORY, store=replace(STORE, jobs={})),
    "I2 nobody sent": replace(HISTORY, sends=Sends({}, {}, {}, {}, {})),
    "I2 refused, and stored": replace(HISTORY, sends=Sends({"a": 1.0}, {}, {}, {"a": 1.0}, {})),
    "I3 a was started again without a reason": replace(HISTORY, deaths=[]),
    "I3 a was started again without": replace(HISTORY, deaths=[replace(DEATH, at=12.5)]),
    "I3 a was started again": replace(HISTORY, deaths=[replace(DEATH, pid=101)]),
    "I4 a ran twice at a time": with_runs(replace(FIRST, ended=12.5, how="failed"), SECOND),
    "I4 a: one loan was handed out twice": with_runs(FIRST, replace(SECOND, receipt=(1, 1))),
    "I4 a is completed, and no run": with_runs(FIRST),
    "I4 a has the result of loan": with_job(result="[1,1]"),
    "I5 a: attempt 1 follows 1 after a crash": with_runs(FIRST, replace(SECOND, attempt=1)),
    "I5 a: attempts [3, 2]": with_runs(replace(FIRST, attempt=3), SECOND),
    "I5 a: 9 attempts, at most 8": with_runs(FIRST, replace(SECOND, attempt=9)),
    "I6 a is cancelled, and ran to its end": with_job(state="cancelled", result=None),
    "I8 a is completed; message, dead letter: (True, False)": replace(
        HISTORY, store=replace(STORE, messages={"a": WAITING}, counts=(1, 0, 0))),
    "I8 a is completed; message, dead letter: (False, True)": replace(
        HISTORY, store=replace(STORE, dead={"a": Buried("failed", 0, "")}, counts=(0, 0, 1))),
    "I8 a is failed; message, dead letter: (False, False)": with_job(state="failed", result=None),
    "I8 b has a message or a dead letter, and no job": replace(
        HISTORY, sends=Sends({"a": 1.0, "b": 1.0}, {"a": 1.1}, {}, {}, {}),
        store=replace(STORE, messages={"b": WAITING}, counts=(1, 0, 0))),
    "I9 waiting, leased, dead are (0, 0, 0)": replace(HISTORY, store=replace(STORE, counts=(1, 0, 0))),
}  # fmt: skip


@pytest.mark.parametrize("name", FINE)
def test_explained_duplicate_passes_and_is_counted_by_its_reason(name: str) -> None:
    facts, why = FINE[name]
    verdict = check(facts)
    assert verdict.problems == []
    assert verdict.duplicates == {why: 1}


@pytest.mark.parametrize("said", PLANTED)
def test_planted_fault_is_found(said: str) -> None:
    assert any(problem.startswith(said) for problem in check(PLANTED[said]).problems), check(PLANTED[said]).problems


def test_message_of_unknown_outcome_may_be_there_or_not() -> None:
    unknown = Sends({"a": 1.0, "b": 1.0}, {"a": 1.1}, {"b": 1.1}, {}, {})
    assert check(replace(HISTORY, sends=unknown)).problems == []
