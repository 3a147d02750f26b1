"""What headrace must reach: ratios of one run (to the raw script, the best peer, itself) or absolute bounds. Pure."""

import statistics
from dataclasses import dataclass

from contenders import NAMES, load

Results = dict[str, dict[str, list[float]]]
PEERS = frozenset(load(name).label for name in NAMES if load(name).peer)
OURS, RAW, PEER, BOUND = "headrace", "raw", "best peer", ""


@dataclass(frozen=True)
class Target:
    key: str  # what headrace does
    other: str  # compared with whom: raw, best peer, headrace; "" = an absolute bound
    other_key: str  # doing what
    bound: float
    at_most: bool = False


TARGETS = (
    Target("drain.pg.1", PEER, "drain.pg.1", 2.5),
    Target("drain.pg.1", RAW, "drain.pg.1", 0.5),
    Target("drain.pg.1.ledger", PEER, "drain.pg.1", 2.0),
    Target("drain.pg.1.ledger", RAW, "drain.pg.1.ledger", 0.6),
    Target("drain.pg.1.def", RAW, "drain.pg.1", 0.3),
    Target("drain.pg.1.ledger.def", RAW, "drain.pg.1.ledger", 0.3),
    Target("drain.pg.2", RAW, "drain.pg.2", 0.6),
    Target("drain.pg.2.ledger", RAW, "drain.pg.2.ledger", 0.6),
    Target("drain.sqlite", PEER, "drain.sqlite", 6.0),
    Target("enqueue.pg.single", RAW, "enqueue.pg.single", 0.7),
    Target("enqueue.pg.single.ledger", RAW, "enqueue.pg.single.ledger", 0.6),
    Target("enqueue.pg.sync", RAW, "enqueue.pg.single", 0.5),
    Target("enqueue.pg.sync.ledger", RAW, "enqueue.pg.single.ledger", 0.5),
    Target("enqueue.pg.concurrent", OURS, "enqueue.pg.single", 8.0),
    Target("enqueue.pg.concurrent.ledger", OURS, "enqueue.pg.single.ledger", 8.0),
    Target("enqueue.pg.bulk", RAW, "enqueue.pg.bulk", 0.6),
    Target("enqueue.pg.bulk.ledger", RAW, "enqueue.pg.bulk.ledger", 0.6),
    Target("latency.pg.p50", RAW, "latency.pg.p50", 1.5, at_most=True),
    Target("latency.pg.p99", RAW, "latency.pg.p99", 2.0, at_most=True),
    Target("latency.pg.ledger.p50", RAW, "latency.pg.ledger.p50", 1.5, at_most=True),
    Target("latency.pg.ledger.p99", RAW, "latency.pg.ledger.p99", 2.0, at_most=True),
    Target("latency.pg.delayed.p50", OURS, "latency.pg.p50", 1.2, at_most=True),
    Target("latency.pg.delayed.p99", OURS, "latency.pg.p99", 1.2, at_most=True),
    Target("latency.sqlite.p50", RAW, "latency.sqlite.p50", 1.5, at_most=True),
    Target("latency.sqlite.p99", RAW, "latency.sqlite.p99", 2.0, at_most=True),
    Target("claim.1m", OURS, "claim.10k", 0.8),
    Target("claim.delayed", OURS, "claim.10k", 0.8),
    Target("xmin.p50", BOUND, "", 5.0, at_most=True),
    Target("idle.pg.cpu", BOUND, "", 0.5, at_most=True),
    Target("idle.pg.transactions", BOUND, "", 1.0, at_most=True),
    Target("idle.pg.rss", BOUND, "", 45.0, at_most=True),
    Target("idle.sqlite.cpu", BOUND, "", 0.5, at_most=True),
    Target("growth.pg", BOUND, "", 5.0, at_most=True),
    Target("growth.sqlite", BOUND, "", 5.0, at_most=True),
)


@dataclass(frozen=True)
class Judgement:
    target: Target
    against: str  # who was compared with, as found in the results
    value: float
    passed: bool


def median(results: Results, key: str, who: str) -> float | None:
    values = results.get(key, {}).get(who)
    return statistics.median(values) if values else None


def best_peer(results: Results, key: str) -> str | None:
    """The peer with the best median (all keys that compare with peers are rates)."""
    there = [who for who in results.get(key, {}) if who in PEERS]
    return max(there, key=lambda who: statistics.median(results[key][who]), default=None)


def judge(target: Target, results: Results, ours: str = OURS) -> Judgement | None:
    """None when one side was not measured."""
    mine = median(results, target.key, ours)
    against = {PEER: best_peer(results, target.other_key), OURS: ours}.get(target.other, target.other)
    other = 1.0 if target.other == BOUND else median(results, target.other_key, against) if against else None
    if mine is None or not other or against is None:
        return None
    value = mine / other
    return Judgement(target, against, value, value <= target.bound if target.at_most else value >= target.bound)
