"""What a caller may choose for one dispatch, checked where it is written. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import msgspec

from headrace.bus.durations import Duration, seconds
from headrace.bus.envelope import HANDLER_HEADER, PRIORITIES
from headrace.errors import BadOption, NaiveDatetime, Unencodable

END_OF_TIME = 253_402_300_800.0  # the year 10000, which no datetime can hold
NAME_LIMIT = 190  # characters of a queue name or key (Symfony's column)


class Options(msgspec.Struct, frozen=True):
    """The choices of one `using(…)`; None means: as the task says.

    delay    seconds until it may run
    at       unix seconds before which it may not run
    expires  unix seconds after which it must not start, or a delay in `expires_in`
    """

    queue: str | None = None
    delay: float = 0.0
    at: float | None = None
    priority: int | None = None
    unique: str | None = None
    on_duplicate: Literal["return", "raise"] = "return"
    expires: float | None = None
    expires_in: float | None = None
    headers: Mapping[str, str] = {}
    track: bool | None = None
    id: str | None = None


NO_OPTIONS = Options()


def name(value: str, what: str) -> str:
    """A queue name or key: text of 1 to 190 characters that every store can hold."""
    if not isinstance(value, str) or not 0 < len(value) <= NAME_LIMIT:
        raise BadOption(f"{what}={value!r} is not a name", hint=f"give text of 1 to {NAME_LIMIT} characters")
    return text(value, what)


def text(value: str, what: str) -> str:
    """Text that every store can hold: no NUL, no lone surrogate."""
    if "\x00" in value:
        raise Unencodable(f"{what}={value!r} has a NUL character", hint="PostgreSQL cannot hold it; remove it")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise Unencodable(
            f"{what}={value!r} has a lone surrogate", hint="it is not valid Unicode; clean or escape it first"
        ) from error
    return value


def moment(value: datetime, what: str) -> float:
    """Unix seconds of an aware datetime."""
    if not isinstance(value, datetime):
        raise BadOption(
            f"{what}={value!r} is not a datetime",
            hint="give an aware datetime, such as datetime.now(UTC) + timedelta(hours=1)",
        )
    if value.tzinfo is None or value.utcoffset() is None:
        raise NaiveDatetime(
            f"{what}={value.isoformat()} has no time zone",
            hint='write datetime.now(UTC), or .replace(tzinfo=ZoneInfo("Europe/Berlin"))',
        )
    seconds_utc = value.timestamp()
    if not 0 <= seconds_utc < END_OF_TIME:
        raise BadOption(f"{what}={value.isoformat()} is out of range", hint="allowed: 1970 to 9999, in UTC")
    return seconds_utc


def priority(value: int) -> int:
    """0 to 9, larger first."""
    if isinstance(value, bool) or not isinstance(value, int) or value not in PRIORITIES:
        raise BadOption(f"priority={value!r} is out of range", hint="allowed: 0 to 9, larger first; 4 is the default")
    return value


def options(
    *,
    queue: str | None = None,
    delay: Duration | None = None,
    at: datetime | None = None,
    priority_: int | None = None,
    unique: str | None = None,
    on_duplicate: Literal["return", "raise"] = "return",
    expires: Duration | datetime | None = None,
    headers: Mapping[str, str] | None = None,
    track: bool | None = None,
    id_: str | None = None,
) -> Options:
    """Checked options; each error names the option, the value and what is allowed."""
    if delay is not None and at is not None:
        raise BadOption(f"delay={delay!r} and at={at!r} contradict each other", hint="give one of them")
    if on_duplicate not in ("return", "raise"):
        raise BadOption(f"on_duplicate={on_duplicate!r}", hint='allowed: "return", "raise"')
    if track not in (None, True, False):
        raise BadOption(f"track={track!r}", hint="allowed: True, False")
    late = expires if isinstance(expires, datetime) else None
    within = None if isinstance(expires, datetime) else expires
    return Options(
        queue=None if queue is None else name(queue, "queue"),
        delay=0.0 if delay is None else seconds(delay, "delay"),
        at=None if at is None else moment(at, "at"),
        priority=None if priority_ is None else priority(priority_),
        unique=None if unique is None else name(unique, "unique"),
        on_duplicate=on_duplicate,
        expires=None if late is None else moment(late, "expires"),
        expires_in=None if within is None else seconds(within, "expires"),
        headers={} if headers is None else _headers(headers),
        track=track,
        id=None if id_ is None else _id(id_),
    )


def _headers(headers: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(headers, Mapping):
        raise BadOption(f"headers={headers!r} is not a mapping", hint='write headers={"tenant": "blue"}')
    for key, value in headers.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise BadOption(f"header {key!r}={value!r} is not text", hint="headers map text to text")
        if key == HANDLER_HEADER or key.startswith("X-Message-Stamp-"):
            raise BadOption(f"header {key!r} is reserved", hint="choose another name")
        text(key, "header")
        text(value, f"header {key}")
    return dict(headers)


def _id(value: str) -> str:
    compact = value.replace("-", "").lower() if isinstance(value, str) else ""
    if len(compact) != 32 or any(char not in "0123456789abcdef" for char in compact):
        raise BadOption(f"id={value!r} is not a UUID", hint="give the id of an earlier Job, or a new uuid4 as text")
    return f"{compact[:8]}-{compact[8:12]}-{compact[12:16]}-{compact[16:20]}-{compact[20:]}"
