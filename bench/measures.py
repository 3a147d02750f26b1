"""What is measured, one function each.

A measure is a list of cases (who, function); the runner interleaves them: A B C, A B C … What its cases share is put on
the stack, which the runner closes after the last round.

A value's title and unit are in titles.py.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from arena import Arena, Failed, Server, started
from contenders import NAMES, load

Values = dict[str, float]  # what is measured in one run: key -> value


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    quick: bool = False

    @property
    def drain(self) -> float:  # seconds' worth of preloaded jobs
        return 0.9 if self.quick else 4.4

    @property
    def burst(self) -> float:
        return 0.8 if self.quick else 3.0

    @property
    def latency(self) -> float:
        return 4.0 if self.quick else 20.0

    @property
    def delayed(self) -> int:
        return 10_000 if self.quick else 100_000

    @property
    def backlog(self) -> int:
        return 100_000 if self.quick else 1_000_000

    @property
    def held(self) -> float:
        return 10.0 if self.quick else 45.0

    @property
    def idle(self) -> float:
        return 6.0 if self.quick else 30.0

    @property
    def growth(self) -> int:
        return 60_000 if self.quick else 200_000


@dataclass(frozen=True)
class Case:
    who: str  # contender's label
    run: Callable[[], Values]


def contenders(store: str, only: set[str]) -> Iterator[str]:
    for name in NAMES:
        contender = load(name)
        if contender.store == store and contender.written and (not only or contender.label in only):
            yield name


# --- drain --------------------------------------------------------------------------------------------------------


def drain(
    server: Server, name: str, scale: Scale, key: str, processes: int = 1, kind: str = "async", ledger: bool = False
) -> Values:
    """Preload, start, and time from when all processes are warm until the last job is settled in the store."""
    contender = load(name)
    share = (1.4 if processes > 1 else 1) * (0.6 if ledger else 1) * (0.4 if kind != contender.kinds[0] else 1)
    count = max(300, int(contender.rate * scale.drain * share))
    warm = max(20, min(count // 10, 5_000))
    with Arena(server, name, ledger) as arena:
        arena.fill(count + warm * processes)
        with started(arena, processes, kind) as workers:
            began, before = arena.wait(workers, warm * processes, each=warm // processes)
            arena.wait(workers, count + warm * processes)
            ended = arena.wait_settled()
    return {key: (count + warm * processes - before) / (ended - began)}


def drain_cases(server: Server, scale: Scale, only: set[str], processes: int) -> Iterator[Case]:
    for name in contenders("postgresql", only):
        contender = load(name)
        for ledger in contender.ledgers:
            for kind in contender.kinds if processes == 1 else contender.kinds[:1]:
                key = f"drain.pg.{processes}" + (".ledger" if ledger else "") + (".def" if kind == "def" else "")
                yield Case(
                    contender.label, lambda n=name, k=key, d=kind, g=ledger: drain(server, n, scale, k, processes, d, g)
                )


def drain1(server: Server, scale: Scale, only: set[str], stack: ExitStack) -> Iterator[Case]:
    return drain_cases(server, scale, only, 1)


def drain2(server: Server, scale: Scale, only: set[str], stack: ExitStack) -> Iterator[Case]:
    return drain_cases(server, scale, only, 2)


def sqlite(server: Server, scale: Scale, only: set[str], stack: ExitStack) -> Iterator[Case]:
    for name in contenders("sqlite", only):
        contender = load(name)
        for ledger in contender.ledgers:
            for kind in contender.kinds:
                suffix = ".def" if kind == "def" and contender.kinds[0] != "def" else ""
                key = "drain.sqlite" + (".ledger" if ledger else "") + suffix
                yield Case(contender.label, lambda n=name, k=key, d=kind, g=ledger: drain(server, n, scale, k, 1, d, g))


# --- enqueue ------------------------------------------------------------------------------------------------------


def burst(server: Server, name: str, scale: Scale, key: str, mode: str, ledger: bool) -> Values:
    with Arena(server, name, ledger) as arena:
        if arena.contender.store == "postgresql":
            server.execute("CHECKPOINT")
        got = arena.producer(mode=mode, seconds=scale.burst, width=100, bulk=1_000).answer()
    return {key: got["count"] / got["seconds"]}


def enqueue_cases(server: Server, scale: Scale, only: set[str], store: str) -> Iterator[Case]:
    for mode in ("single", "wake", "sync", "concurrent", "bulk"):
        for name in contenders(store, only):
            contender = load(name)
            if mode not in contender.modes:
                continue
            for ledger in contender.ledgers:
                base = f"enqueue.{'pg' if store == 'postgresql' else 'sqlite'}.{'single' if mode == 'wake' else mode}"
                label = f"{contender.label}, with wake-up" if mode == "wake" else contender.label
                yield Case(
                    label,
                    lambda n=name, k=base + (".ledger" if ledger else ""), m=mode, g=ledger: burst(
                        server, n, scale, k, m, g
                    ),
                )


def enqueue(server: Server, scale: Scale, only: set[str], stack: ExitStack) -> Iterator[Case]:
    return enqueue_cases(server, scale, only, "postgresql")


def enqueue_sqlite(server: Server, scale: Scale, only: set[str], stack: ExitStack) -> Iterator[Case]:
    return enqueue_cases(server, scale, only, "sqlite")


# --- latency ------------------------------------------------------------------------------------------------------


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def latency_of(server: Server, name: str, scale: Scale, key: str, delayed: int, ledger: bool) -> Values:
    """50 jobs/s from one process to another, from the call that sends to the first line of the handler."""
    with Arena(server, name, ledger) as arena:
        if delayed:
            arena.fill(delayed, delay=36_000)
        with started(arena, kind=arena.contender.kinds[0], mode="latency") as workers:
            time.sleep(1.5)
            producer = arena.producer(rate=50, seconds=scale.latency, tick=0.0)
            sent = producer.answer()["count"]
            arena.wait(workers, sent + 5, pause=0.05)
            times = [ns / 1e6 for ns in workers[0][1].latencies()[5:]]
    return {f"{key}.p50": percentile(times, 0.5), f"{key}.p99": percentile(times, 0.99)}


def latency(server: Server, scale: Scale, only: set[str], stack: ExitStack) -> Iterator[Case]:
    for store, short in (("postgresql", "pg"), ("sqlite", "sqlite")):
        for name in contenders(store, only):
            contender = load(name)
            if "single" in contender.modes:
                for ledger in contender.ledgers:
                    tail = ".ledger" if ledger else ""
                    yield Case(
                        contender.label,
                        lambda n=name, k=f"latency.{short}{tail}", g=ledger: latency_of(server, n, scale, k, 0, g),
                    )
                if store == "postgresql":
                    yield Case(
                        contender.label,
                        lambda n=name, k=f"latency.{short}.delayed": latency_of(
                            server, n, scale, k, scale.delayed, False
                        ),
                    )


# --- claim --------------------------------------------------------------------------------------------------------

BATCHES, LIMIT = 100, 100


def claim(server: Server, scale: Scale, only: set[str], stack: ExitStack) -> Iterator[Case]:
    """Claims of 100, each settled: small backlog, large one, beside many delayed jobs. One database for all runs."""
    scenes = {
        "claim.10k": (10_000, 0),
        "claim.1m": (scale.backlog, 0),
        "claim.delayed": (scale.backlog // 5, scale.backlog),
    }
    for key, (ready, later) in scenes.items():
        for name in contenders("postgresql", only):
            if load(name).claims:
                arena = stack.enter_context(Arena(server, name))
                arena.fill(ready, tidy=False)
                if later:
                    arena.fill(later, delay=36_000, tidy=False)
                server.tidy(arena.address)
                yield Case(arena.contender.label, lambda a=arena, k=key: claim_rate(a, k))


def claim_rate(arena: Arena, key: str) -> Values:
    if key == "claim.10k" and not arena.control.ask(do="unfinished"):
        arena.fill(10_000)
    got = arena.claimer(batches=BATCHES, limit=LIMIT).answer()
    if sum(got["rows"]) < BATCHES * LIMIT:
        raise Failed(f"{arena.name}: {key} claimed {sum(got['rows'])} of {BATCHES * LIMIT}")
    return {key: sum(got["rows"]) / sum(got["seconds"]), f"{key}.p50": statistics.median(got["seconds"]) * 1e3}


# --- old transaction ----------------------------------------------------------------------------------------------


def xmin(server: Server, scale: Scale, only: set[str], stack: ExitStack) -> Iterator[Case]:
    for name in contenders("postgresql", only):
        contender = load(name)
        if contender.claims:
            yield Case(contender.label, lambda n=name: held(server, n, scale))


def held(server: Server, name: str, scale: Scale) -> Values:
    """5,000 jobs/s through two workers while an older transaction stays open; the worst 5 s window's median claim."""
    with Arena(server, name) as arena:
        server.execute("CHECKPOINT")
        old = server.connect(arena.address)
        server.execute("BEGIN ISOLATION LEVEL REPEATABLE READ", old)
        server.ask("SELECT txid_current()", connection=old)
        with started(arena, 2) as workers:
            time.sleep(1)
            began = time.monotonic_ns()
            sent = arena.producer(rate=5_000, seconds=scale.held, tick=0.002).answer()
            reached = sum(probe.hits() for _, probe in workers)
            arena.wait(workers, sent["count"] + 5)
            taken = [claim for _, probe in workers for claim in probe.claims()]
        server.execute("ROLLBACK", old)
        server.close(old)
    windows: dict[int, list[float]] = {}
    for ended, took, rows in taken:
        if rows and began <= ended < began + int(scale.held * 1e9):
            windows.setdefault((ended - began) // 5_000_000_000, []).append(took / 1e6)
    medians = [statistics.median(windows[index]) for index in sorted(windows)]
    if not medians:
        raise Failed(f"{name}: no claim was recorded; does its work() call probe.claimed or probe.watch_asyncpg?")
    print("    claim p50 of each 5 s:", ", ".join(f"{value:.1f}" for value in medians), "ms")
    return {"xmin.p50": max(medians), "xmin.rate": reached / sent["seconds"]}


# --- idle and memory ----------------------------------------------------------------------------------------------


def idle(server: Server, scale: Scale, only: set[str], stack: ExitStack) -> Iterator[Case]:
    for store, short in (("postgresql", "pg"), ("sqlite", "sqlite")):
        for name in contenders(store, only):
            contender = load(name)
            yield Case(
                contender.label,
                lambda n=name, k=f"idle.{short}", g=contender.ledgers[-1]: idle_of(server, n, scale, k, g),
            )


# An idle server process reports what it counted 10 s late: the making of the tables must not fall into the window.
SETTLED_STATISTICS = 13.0


def idle_of(server: Server, name: str, scale: Scale, key: str, ledger: bool) -> Values:
    with Arena(server, name, ledger) as arena, started(arena, kind=load(name).kinds[0]) as workers:
        pg = arena.contender.store == "postgresql"
        time.sleep(SETTLED_STATISTICS if pg else 4)
        host = workers[0][0]
        used, began = host.processor(), time.monotonic()
        asked = server.transactions(arena.address) if pg else 0
        time.sleep(scale.idle)
        seconds = time.monotonic() - began
        values = {f"{key}.cpu": (host.processor() - used) / seconds * 100, f"{key}.rss": host.resident() / 2**20}
        if pg:
            values[f"{key}.transactions"] = (server.transactions(arena.address) - asked) / seconds
    return values


def growth(server: Server, scale: Scale, only: set[str], stack: ExitStack) -> Iterator[Case]:
    for store, short in (("postgresql", "pg"), ("sqlite", "sqlite")):
        for name in contenders(store, only):
            contender = load(name)
            if not contender.peer:
                yield Case(
                    contender.label,
                    lambda n=name, k=f"growth.{short}", g=contender.ledgers[-1]: growth_of(server, n, scale, k, g),
                )


def growth_of(server: Server, name: str, scale: Scale, key: str, ledger: bool) -> Values:
    """Resident size after so many jobs, which fill bounded caches, and after as many again; both times idle."""
    with Arena(server, name, ledger) as arena:
        arena.fill(scale.growth)
        with started(arena) as workers:
            host = workers[0][0]
            arena.wait(workers, scale.growth)
            arena.wait_settled()
            time.sleep(1)
            before = host.resident()
            arena.fill(scale.growth, tidy=False)
            arena.wait(workers, 2 * scale.growth)
            arena.wait_settled()
            time.sleep(1)
            return {key: (host.resident() - before) / scale.growth, f"{key}.rss": host.resident() / 2**20}


MEASURES: dict[
    str, tuple[Callable[[Server, Scale, set[str], ExitStack], Iterator[Case]], int]
] = {  # name: (cases, runs at most)
    "drain": (drain1, 99),
    "drain2": (drain2, 99),
    "sqlite": (sqlite, 99),
    "enqueue": (enqueue, 99),
    "enqueue-sqlite": (enqueue_sqlite, 99),
    "latency": (latency, 3),
    "claim": (claim, 99),
    "xmin": (xmin, 1),
    "idle": (idle, 1),
    "growth": (growth, 2),
}

Results = dict[str, dict[str, list[float]]]  # key -> contender's label -> one value a run
