"""What a handler may know and say."""

import pytest

from headrace.bus.context import Context, Log, headers_of
from headrace.clock import ManualClock
from tests.support.bus import ID, a_delivery


def a_context(limit: float | None = None, **delivery: object) -> tuple[Context, ManualClock]:
    clock = ManualClock(100.0)
    return Context(a_delivery(**delivery), clock, clock.monotonic(), limit, "state"), clock


def test_context_tells_of_its_delivery() -> None:
    context, _ = a_context(retries=1, crashes=1, queue="mail", type="t", headers='{"a":"b"}')

    assert (context.id, context.attempt, context.queue, context.type) == (ID, 3, "mail", "t")
    assert (context.headers, context.state, context.cancelled) == ({"a": "b"}, "state", False)


def test_time_remains_until_the_limit() -> None:
    unlimited, _ = a_context()
    limited, clock = a_context(limit=10)

    clock.advance(4)

    assert (unlimited.deadline, unlimited.remaining) == (None, None)
    assert (limited.deadline, limited.remaining) == (110.0, 6.0)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (-0.1, 0.0),
        (0, 0.0),
        (0.5, 0.5),
        (1, 1.0),
        (1.5, 1.0),
        (float("inf"), 1.0),
        (float("-inf"), 0.0),
        (float("nan"), 0.0),
    ],
)
def test_progress_is_clamped(said: float, kept: float) -> None:
    context, _ = a_context()

    context.progress(said, "note")

    assert context.news() == (kept, "note")


def test_news_is_told_once_and_only_the_latest() -> None:
    context, _ = a_context()
    assert context.news() is None

    context.progress(0.1)
    context.progress(0.2, "b")
    assert context.news() == (0.2, "b")
    assert context.news() is None

    context.log("line")
    assert context.news() == (0.2, "b")
    assert context.logged() == "line"


@pytest.mark.parametrize("text", ["", "{}", "[]", "{", "null", "7", '["a"]', '{"a":1}', '{"a":null}'])
def test_unreadable_headers_are_no_headers(text: str) -> None:
    assert headers_of(a_delivery(headers=text)) == {}


# ── the log ──────────────────────────────────────────────────────────────────────────────────


def a_log(*lines: str, limit: int = 40) -> str:
    log = Log(limit)
    for line in lines:
        log.add(line)
    return log.text()


def test_short_log_is_kept_whole() -> None:
    assert a_log() == ""
    assert a_log("a", "b") == "a\nb"
    assert a_log("123456789", "123456789") == "123456789\n123456789"  # ten bytes each: the head is full


def test_long_log_keeps_head_and_tail_and_says_how_much_is_missing() -> None:
    assert a_log(*"abcdefghij", limit=8) == "a\nb\n… 6 lines dropped …\ni\nj"
    assert a_log(*"abcd", limit=8) == "a\nb\nc\nd"
    assert a_log(*"abcde", limit=8) == "a\nb\n… 1 lines dropped …\nd\ne"


def test_line_after_the_head_never_moves_back_into_it() -> None:
    assert a_log("aaaaaaa", "bb", "c", limit=20).split("\n") == ["aaaaaaa", "bb", "c"]


def test_endless_line_is_shortened_in_its_middle() -> None:
    text = a_log("x" * 1000 + "end", limit=80)

    assert len(text) < 40
    assert text.startswith("xxx")
    assert " … " in text
    assert text.endswith("xend")


@pytest.mark.parametrize("line", ["ä" * 30, "日" * 30, "🦊" * 30, "\ud800" * 30])
def test_limit_counts_bytes(line: str) -> None:
    text = a_log(*[line] * 50, limit=200)

    assert len(text.encode()) <= 200 + 40  # the line about the gap is extra


def test_log_holds_nothing_that_a_store_cannot() -> None:
    assert a_log("a\x00b", "c\ud800d") == "a\N{REPLACEMENT CHARACTER}b\nc?d"
