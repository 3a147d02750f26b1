"""Durations as people write them."""

import math
from datetime import timedelta
from typing import Any

import pytest

from headrace.bus.durations import Duration, seconds, spoken
from headrace.errors import BadOption


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (0, 0.0),
        (0.0, 0.0),
        (1, 1.0),
        (2.5, 2.5),
        ("250ms", 0.25),
        ("1s", 1.0),
        ("1.5s", 1.5),
        (" 10 s ", 10.0),
        ("5m", 300.0),
        ("2h", 7200.0),
        ("7d", 604_800.0),
        ("1w", 604_800.0),
        ("0s", 0.0),
        (timedelta(0), 0.0),
        (timedelta(minutes=1, milliseconds=5), 60.005),
        ("36500d", 36_500 * 86_400.0),
    ],
)
def test_duration_is_read(written: Duration, meant: float) -> None:
    assert seconds(written) == pytest.approx(meant)


@pytest.mark.parametrize(
    "wrong",
    [
        *["", "s", "10", "10 sec", "-1s", "1.s", ".5s", "1e3s", "1 s 2", "10S", "1m30s", "\u0661s", "1\x00s"],
        *[-0.001, math.nan, math.inf, -math.inf, True, False, None, b"1s", [1], 1j],
        *[timedelta(microseconds=-1), timedelta.max, "36501d", 36_500 * 86_400 + 1, 1e300, "9" * 400 + "s", 10**400],
    ],
)
def test_nonsense_is_refused_by_name(wrong: Any) -> None:
    with pytest.raises(BadOption, match="pause="):
        seconds(wrong, "pause")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "<0.1 ms"),
        (0.000_049, "<0.1 ms"),
        (0.000_05, "0.1 ms"),
        (0.001_26, "1.3 ms"),
        (0.009_94, "9.9 ms"),
        (0.009_95, "10 ms"),
        (0.123_4, "123 ms"),
        (0.999_4, "999 ms"),
        (0.999_5, "1.0 s"),
        (12.34, "12.3 s"),
        (59.94, "59.9 s"),
        (59.95, "1m 00s"),
        (61, "1m 01s"),
        (3599.4, "59m 59s"),
        (3599.6, "1h 00m"),
        (3661, "1h 01m"),
        (172_799, "47h 59m"),
        (172_800, "2d 0h"),
        (180_000, "2d 2h"),
    ],
)
def test_duration_is_said(value: float, said: str) -> None:
    assert spoken(value) == said


def test_refusal_does_not_repeat_endless_values() -> None:
    for endless in ("x" * 10_000, 10**10_000, 10**300):
        with pytest.raises(BadOption) as caught:
            seconds(endless, "pause")
        assert len(caught.value.what) < 130
