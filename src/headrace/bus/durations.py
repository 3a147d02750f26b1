"""Durations as people write them: seconds, timedelta, "250ms", "10s", "5m", "2h", "7d". Pure."""

import re
from datetime import timedelta

from headrace.errors import BadOption

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_FORM = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)\s*", re.ASCII)

Duration = float | str | timedelta

LONGEST = 36_500 * 86_400.0  # a hundred years: what every store can add to now


def seconds(value: Duration, name: str = "duration") -> float:
    """The duration in seconds, 0 to a hundred years; BadOption names `name` and the value."""
    plain: object = value
    if isinstance(value, timedelta):
        plain = value.total_seconds()
    if isinstance(value, str):
        form = _FORM.fullmatch(value)
        if form is None:
            raise BadOption(
                f"{name}={_short(value)} is not a duration",
                hint='write a number and a unit: "250ms", "10s", "5m", "2h", "7d"',
            )
        plain = float(form[1]) * _UNITS[form[2]]
    if isinstance(plain, bool) or not isinstance(plain, int | float) or not 0 <= plain <= LONGEST:
        raise BadOption(
            f"{name}={_short(value)} is not a duration",
            hint="give seconds, 0 to a hundred years, a timedelta, or text such as '10s'",
        )
    return float(plain)


def _short(value: object) -> str:
    return f"an int of {value.bit_length()} bits" if isinstance(value, int) and value > LONGEST else repr(value)[:80]


def spoken(value: float) -> str:
    """Seconds as a person reads them: 0.4 ms, 25 ms, 1.3 s, 4m 12s, 3h 05m, 2d 4h."""
    if value < 0.000_05:
        return "<0.1 ms"
    if value < 0.009_95:
        return f"{value * 1000:.1f} ms"
    if value < 0.9995:
        return f"{value * 1000:.0f} ms"
    if value < 59.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes}m {rest:02}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02}m" if hours < 48 else f"{hours // 24}d {hours % 24}h"
