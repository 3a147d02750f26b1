"""The tables. Pure."""

import statistics
from typing import Any

from targets import OURS, RAW, TARGETS, Judgement, Results, best_peer, judge, median
from titles import TITLES

ORDER = (RAW, "raw, with wake-up", OURS, "pgqueuer", "oban", "procrastinate", "huey")


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(values: list[float]) -> str:
    middle = number(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({number(min(values))} to {number(max(values))})"


def heading(facts: dict[str, Any]) -> str:
    quick = " (QUICK: not for publication)" if facts["quick"] else ""
    after = f", {facts['fsync_us_after']:.0f} us after" if "fsync_us_after" in facts else ""
    settings = ", ".join(f"{name} {value}" for name, value in facts["settings"].items())
    lines = [
        f"- {facts['when']}, `{facts['command']}`, {facts['runs']} interleaved rounds{quick}",
        f"- {facts['machine']}",
        f"- PostgreSQL {facts['server']}, {settings}",
        f"- 8 kB write + fdatasync: {facts['fsync_us_before']:.0f} us before{after}",
        *(f"- {label}: {text}" for label, text in facts["versions"].items()),
    ]
    return "\n".join(lines)


def markdown(facts: dict[str, Any], results: Results) -> str:
    shown = [key for key in TITLES if key in results]
    people = [who for who in ORDER if any(who in results[key] for key in shown)]
    heads = ["what", "unit", *people, "headrace / raw", "headrace / best peer"]
    lines = [heading(facts), "", "Median (lowest to highest) of the rounds.", "", _row(heads)]
    lines.append(_row(["---", "---", *["---:"] * (len(heads) - 2)]))
    for key in shown:
        cells = [spread(results[key][who]) if who in results[key] else "" for who in people]
        ratios = [_ratio(results, key, RAW), _ratio(results, key, best_peer(results, key))]
        lines.append(_row([*TITLES[key], *cells, *ratios]))
    if judged := [found for target in TARGETS if (found := judge(target, results))]:
        lines += ["", _row(["target", "found", "wanted", ""]), _row(["---", "---:", "---:", ":-:"])]
        lines += [_verdict(one) for one in judged]
    return "\n".join(lines)


def missed(results: Results) -> bool:
    return any(not found.passed for target in TARGETS if (found := judge(target, results)))


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _verdict(one: Judgement) -> str:
    target = one.target
    title = TITLES[target.key][0]
    if one.against:
        title += f" / {one.against}"
    if target.other_key not in ("", target.key):
        title += f" ({TITLES[target.other_key][0]})"
    wanted = f"{'≤' if target.at_most else '≥'} {target.bound:g}"
    return _row([title, f"{one.value:.2f}", wanted, "pass" if one.passed else "**MISS**"])


def _ratio(results: Results, key: str, who: str | None) -> str:
    mine, other = median(results, key, OURS), median(results, key, who) if who else None
    return f"{mine / other:.2f}" if mine is not None and other else ""
