"""What a caller may choose for one dispatch, checked where it is written."""

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

import pytest

from headrace.bus.options import NO_OPTIONS, options
from headrace.errors import BadOption, HeadraceError, NaiveDatetime, Unencodable

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
ID = "0190a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b"


class Vague(tzinfo):
    """A time zone that does not know its offset."""

    def utcoffset(self, _: datetime | None) -> timedelta | None:
        return None

    dst = utcoffset

    def tzname(self, _: datetime | None) -> str | None:
        return None


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({"queue": "m"}, "queue", "m"),
        ({"queue": "q" * 190}, "queue", "q" * 190),
        ({"queue": "größe/日本"}, "queue", "größe/日本"),
        ({"delay": "10m"}, "delay", 600.0),
        ({"delay": 0}, "delay", 0.0),
        ({"at": NOON}, "at", NOON.timestamp()),
        ({"at": NOON.astimezone(timezone(timedelta(hours=-7)))}, "at", NOON.timestamp()),
        ({"at": datetime(1970, 1, 1, tzinfo=UTC)}, "at", 0.0),
        ({"at": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)}, "at", 253_402_300_799.0),
        ({"priority_": 0}, "priority", 0),
        ({"priority_": 9}, "priority", 9),
        ({"unique": "a"}, "unique", "a"),
        ({"on_duplicate": "raise"}, "on_duplicate", "raise"),
        ({"expires": "1h"}, "expires_in", 3600.0),
        ({"expires": 5}, "expires_in", 5.0),
        ({"expires": timedelta(seconds=5)}, "expires_in", 5.0),
        ({"expires": NOON}, "expires", NOON.timestamp()),
        ({"headers": {"tenant": "blue"}}, "headers", {"tenant": "blue"}),
        ({"headers": {}}, "headers", {}),
        ({"track": False}, "track", False),
        ({"id_": ID}, "id", ID),
        ({"id_": ID.upper()}, "id", ID),
        ({"id_": ID.replace("-", "")}, "id", ID),
    ],
)
def test_option_is_accepted(given: dict[str, Any], field: str, value: object) -> None:
    assert getattr(options(**given), field) == value


def test_nothing_chosen_is_nothing_chosen() -> None:
    assert options() == NO_OPTIONS


@pytest.mark.parametrize(
    ("wrong", "error", "named"),
    [
        ({"queue": ""}, BadOption, "queue"),
        ({"queue": "q" * 191}, BadOption, "queue"),
        ({"queue": 7}, BadOption, "queue"),
        ({"queue": "a\x00b"}, Unencodable, "queue"),
        ({"queue": "a\ud800"}, Unencodable, "queue"),
        ({"delay": -1}, BadOption, "delay"),
        ({"delay": "soon"}, BadOption, "delay"),
        ({"delay": NOON}, BadOption, "delay"),
        ({"delay": timedelta.max}, BadOption, "delay"),
        ({"delay": 1, "at": NOON}, BadOption, "delay"),
        ({"at": datetime(2026, 1, 2)}, NaiveDatetime, "at"),  # noqa: DTZ001  # on purpose
        ({"at": datetime(2026, 1, 2, tzinfo=Vague())}, NaiveDatetime, "at"),
        ({"at": 1_700_000_000}, BadOption, "at"),
        ({"at": "2026-01-02T00:00:00Z"}, BadOption, "at"),
        ({"priority_": -1}, BadOption, "priority"),
        ({"priority_": 10}, BadOption, "priority"),
        ({"priority_": True}, BadOption, "priority"),
        ({"priority_": 4.0}, BadOption, "priority"),
        ({"priority_": "4"}, BadOption, "priority"),
        ({"unique": ""}, BadOption, "unique"),
        ({"unique": 7}, BadOption, "unique"),
        ({"unique": "u" * 191}, BadOption, "unique"),
        ({"unique": "\x00"}, Unencodable, "unique"),
        ({"on_duplicate": "ignore"}, BadOption, "on_duplicate"),
        ({"expires": datetime(2026, 1, 2)}, NaiveDatetime, "expires"),  # noqa: DTZ001  # on purpose
        ({"expires": -1}, BadOption, "expires"),
        ({"expires": True}, BadOption, "expires"),
        ({"expires": [1]}, BadOption, "expires"),
        ({"headers": {"a": 1}}, BadOption, "header"),
        ({"headers": {1: "a"}}, BadOption, "header"),
        ({"headers": {"handler": "x"}}, BadOption, "header"),
        ({"headers": {"X-Message-Stamp-Mine": "x"}}, BadOption, "header"),
        ({"headers": {"a": "\x00"}}, Unencodable, "header"),
        ({"headers": {"\x00": "a"}}, Unencodable, "header"),
        ({"headers": {"a": "\udcff"}}, Unencodable, "header"),
        ({"headers": [("a", "b")]}, BadOption, "headers"),
        ({"track": "no"}, BadOption, "track"),
        ({"id_": "7"}, BadOption, "id"),
        ({"id_": 7}, BadOption, "id"),
        ({"id_": "g" * 32}, BadOption, "id"),
        ({"id_": ID + "0"}, BadOption, "id"),
    ],
)
def test_option_is_refused_with_its_name(wrong: dict[str, Any], error: type[HeadraceError], named: str) -> None:
    with pytest.raises(error) as caught:
        options(**wrong)

    assert named in caught.value.what
