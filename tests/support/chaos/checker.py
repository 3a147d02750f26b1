"""Joins what producers and handlers wrote down with what the store holds, and with the deaths that are known. Pure.

The invariants are those of reliability.md: no loss (I1), no invention (I2), every duplicate explained one by one (I3),
one live lease and one outcome, that of the last loan (I4), attempts (I5), terminal is final (I6), a message in one
place (I8), counts that add up (I9).
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from headrace.ledger.job import TERMINAL, State
from tests.support.chaos.diary import Run, Sends
from tests.support.chaos.records import Death, Snapshot

BURIED = {State.FAILED, State.QUARANTINED, State.EXPIRED}
CRASH, AFTERWARDS, IMPATIENCE = "crash", "death after the end", "killed while draining"
RETRY, LAPSE, STOP, STORE = "retry", "lapse", "stop", "store crash"
CHARGED = {CRASH, RETRY, LAPSE}


@dataclass(frozen=True, slots=True)
class Facts:
    """store_crashes: when the store may have forgotten claims (they commit asynchronously)."""

    sends: Sends
    runs: Sequence[Run]
    deaths: Sequence[Death]
    store: Snapshot
    store_crashes: Sequence[float] = ()
    most_attempts: int = 8


@dataclass(slots=True)
class Verdict:
    """What came of it. duplicates: starts beyond the first of each message, by what explains them."""

    accepted: int = 0
    unknown: int = 0
    lost: int = 0
    starts: int = 0
    duplicates: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, object]:
        """For the record."""
        more = dict(sorted(self.duplicates.items()))
        return {"accepted": self.accepted, "unknown": self.unknown, "lost": self.lost, "starts": self.starts, **more}


def check(facts: Facts) -> Verdict:
    """Every problem there is; none in a correct run."""
    verdict = Verdict(len(facts.sends.accepted), len(facts.sends.unknown), starts=len(facts.runs))
    lost = sorted(set(facts.sends.accepted) - set(facts.store.jobs))
    verdict.lost = len(lost)
    verdict.problems += [f"I1 lost: {id}" for id in lost]
    verdict.problems += _invented(facts)
    verdict.problems += _places(facts.store)
    verdict.problems += _accounting(facts.store)
    by_id: dict[str, list[Run]] = defaultdict(list)
    for run in facts.runs:
        by_id[run.id].append(run)
    for runs in by_id.values():
        verdict.problems += _run_again(facts, runs, verdict.duplicates)
        verdict.problems += _attempts(runs, facts.most_attempts)
    for id, job in facts.store.jobs.items():
        verdict.problems += _outcome(id, job.state, job.result, by_id.get(id, []))
    return verdict


def _invented(facts: Facts) -> Iterator[str]:
    known = set(facts.sends.attempted)
    for where, ids in (
        ("a job", set(facts.store.jobs)),
        ("a message", set(facts.store.messages)),
        ("a dead letter", set(facts.store.dead)),
        ("handled", {run.id for run in facts.runs}),
    ):
        yield from (f"I2 nobody sent {id}: {where}" for id in sorted(ids - known))
    stored = set(facts.store.jobs) | set(facts.store.messages)
    yield from (f"I2 refused, and stored: {id}" for id in sorted(set(facts.sends.refused) & stored))


def _places(store: Snapshot) -> Iterator[str]:
    """A message is in one place, the one that its job's state says."""
    for id in {*store.messages, *store.dead} - set(store.jobs):
        yield f"I8 {id} has a message or a dead letter, and no job"
    for id, job in store.jobs.items():
        expected = (job.state not in TERMINAL, job.state in BURIED)
        if (found := (id in store.messages, id in store.dead)) != expected:
            yield f"I8 {id} is {job.state}; message, dead letter: {found}"


def _accounting(store: Snapshot) -> Iterator[str]:
    leased = sum(message.leased for message in store.messages.values())
    counted = (len(store.messages) - leased, leased, len(store.dead))
    if counted != store.counts:
        yield f"I9 waiting, leased, dead are {counted}, the API says {store.counts}"


def _run_again(facts: Facts, runs: list[Run], duplicates: Counter[str]) -> Iterator[str]:
    """Why each start was not the last one of its message."""
    for run, following in pairwise(sorted(runs, key=lambda run: (run.receipt[1], run.began))):
        why = _why(facts, run, following)
        if why is None:
            yield f"I3 {run.id} was started again without a reason: {run}, then {following}"
            continue
        duplicates[why] += 1
        if why in CHARGED and following.attempt <= run.attempt:
            yield f"I5 {run.id}: attempt {following.attempt} follows {run.attempt} after a {why}"
        if why in (RETRY, STOP) and run.ended is not None and following.began < run.ended:
            yield f"I4 {run.id} ran twice at a time: {run}, {following}"
        if run.receipt == following.receipt and why != STORE:
            yield f"I4 {run.id}: one loan was handed out twice: {run.receipt}"


def _why(facts: Facts, run: Run, following: Run) -> str | None:
    if any((lapse.id, lapse.attempt) == (run.id, run.attempt) for lapse in facts.store.attempts if lapse.lapsed):
        return LAPSE
    if run.how == "failed" and following.attempt > run.attempt:
        return RETRY
    if run.how == "stopped":
        return STOP
    for death in facts.deaths:
        if death.pid == run.pid and death.at <= following.began:
            return AFTERWARDS if run.ended is not None else CRASH if death.charged else IMPATIENCE
    if any(at <= following.began for at in facts.store_crashes):
        return STORE
    return None


def _attempts(runs: list[Run], most: int) -> Iterator[str]:
    ordered = [run.attempt for run in sorted(runs, key=lambda run: (run.receipt[1], run.began))]
    if ordered != sorted(ordered):
        yield f"I5 {runs[0].id}: attempts {ordered}"
    if ordered[-1] > most:
        yield f"I5 {runs[0].id}: {ordered[-1]} attempts, at most {most} are allowed"


def _outcome(id: str, state: str, result: str | None, runs: list[Run]) -> Iterator[str]:
    """The outcome is that of the last loan."""
    done = [run for run in runs if run.how == "done"]
    if state == State.CANCELLED and done:
        yield f"I6 {id} is cancelled, and ran to its end: {done}"
    if state != State.COMPLETED:
        return
    if not done:
        yield f"I4 {id} is completed, and no run of it ended well: {runs}"
    elif _is_receipt(result) and json.loads(result or "") != list(max(run.receipt for run in runs)):
        yield f"I4 {id} has the result of loan {result}; its runs: {runs}"


def _is_receipt(result: str | None) -> bool:
    """Whether the handler has answered the loan under which it ran."""
    return re.fullmatch(r"\[\d+,\d+\]", result or "") is not None
