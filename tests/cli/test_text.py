"""Small deciders of what is printed and read."""

from typing import Any

import pytest

from headrace.bus.codec import from_text
from headrace.bus.durations import spoken
from headrace.cli.asked import size
from headrace.cli.screen import clean, counted, spark
from headrace.cli.views import distinct
from headrace.errors import BadOption


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "<0.1 ms"),
        (0.00005, "0.1 ms"),
        (0.0099, "9.9 ms"),
        (0.00996, "10 ms"),
        (0.9994, "999 ms"),
        (0.9995, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1m 00s"),
        (252, "4m 12s"),
        (3599.6, "1h 00m"),
        (172_799, "47h 59m"),
        (172_800, "2d 0h"),
    ],
)
def test_seconds_are_spoken(seconds: float, text: str) -> None:
    assert spoken(seconds) == text


@pytest.mark.parametrize(
    ("text", "number"), [("512M", 512 << 20), ("1.5G", 3 << 29), ("1k", 1024), ("10MiB", 10 << 20), ("7", 7)]
)
def test_sizes(text: str, number: int) -> None:
    assert size(text, "--memory-limit") == number


@pytest.mark.parametrize("text", ["", "M", "3X", "-1M", "0", "1 2"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(BadOption, match="--memory-limit"):
        size(text, "--memory-limit")


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("2", int, 2),
        ("2", str, "2"),
        ("2", float, 2.0),
        ("true", bool, True),
        ("null", int | None, None),
        ("[1, 2]", list[int], [1, 2]),
        ("[1]", str, "[1]"),
        ('{"a": 1}', dict[str, int], {"a": 1}),
        ("a", Any, "a"),
        ("[1]", Any, [1]),
    ],
)
def test_text_is_read_as_a_type(text: str, kind: object, value: object) -> None:
    assert from_text(text, kind) == value


@pytest.mark.parametrize(("text", "kind"), [("x", int), ("1,2", list[int]), ('["x"]', list[int]), ("maybe", bool)])
def test_text_that_does_not_fit(text: str, kind: object) -> None:
    with pytest.raises(ValueError, match=r"xpected|nvalid"):
        from_text(text, kind)


def test_names_are_cut_to_what_tells_them_apart() -> None:
    assert distinct(["f3a1aaaa", "f3a1bbbb", "9c070000"]) == ["f3a1a", "f3a1b", "9c070"]
    assert distinct(["f3a1aaaa"]) == ["f3a1"]
    assert distinct([]) == []


def test_text_gives_a_terminal_no_orders() -> None:
    assert clean("a\x1b[2Jb\nc") == "a·[2Jb·c"


def test_spark_and_counts() -> None:
    assert spark([0, 1, 4, 8]) == "▁▂▅█"
    assert spark([0, 0]) == "▁▁"
    assert counted(1, "job") == "1 job"
    assert counted(1200, "job") == "1,200 jobs"
