"""What people ask for: `state=failed type=greet age>1h args.name=Ada error~Timeout`. Pure.

Conditions are separated by spaces and all must hold; `a,b` means either; quotes keep spaces.
"""

import difflib
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum

import msgspec

from headrace.bus.durations import seconds
from headrace.db.port import Dialect
from headrace.errors import BadOption
from headrace.ledger.job import State
from headrace.ledger.words import Words


class Kind(StrEnum):
    """What the values of a field are, and so how they can be compared."""

    TEXT = "text"
    TYPE = "type"  # a wire name, or its end
    STATE = "state"
    NUMBER = "number"
    DURATION = "duration"
    ARGUMENT = "argument"


FIELDS: dict[str, Kind] = {
    "id": Kind.TEXT,
    "type": Kind.TYPE,
    "queue": Kind.TEXT,
    "state": Kind.STATE,
    "worker": Kind.TEXT,
    "error": Kind.TEXT,
    "note": Kind.TEXT,
    "priority": Kind.NUMBER,
    "retries": Kind.NUMBER,
    "crashes": Kind.NUMBER,
    "age": Kind.DURATION,  # since it was sent
    "ended": Kind.DURATION,  # since it ended
    "ran": Kind.DURATION,  # the last attempt
}
_EQUAL, _LESS = ("=", "!="), (">", ">=", "<", "<=")
OPERATORS: dict[Kind, tuple[str, ...]] = {
    Kind.TEXT: (*_EQUAL, "~"),
    Kind.TYPE: (*_EQUAL, "~"),
    Kind.STATE: _EQUAL,
    Kind.NUMBER: (*_EQUAL, *_LESS),
    Kind.DURATION: _LESS,
    Kind.ARGUMENT: (*_EQUAL, "~"),
}
_TERM = re.compile(r"([\w.-]+)(!=|>=|<=|[=:~><])(.*)", re.DOTALL)
_PATH = re.compile(r"args((?:\.[\w-]+)+)")


class Condition(msgspec.Struct, frozen=True):
    """One condition. values: several only for = and !=. path: of an argument."""

    field: str
    kind: Kind
    operator: str
    values: tuple[str | float, ...]
    path: tuple[str, ...] = ()


class JobQuery(msgspec.Struct, frozen=True):
    """Conditions that must all hold; none: every job."""

    conditions: tuple[Condition, ...] = ()


def parse(text: str) -> JobQuery:
    """The query that `text` asks for; BadOption says what is wrong and what there is."""
    try:
        terms = shlex.split(text)
    except ValueError as error:
        raise BadOption(f"query {text!r} cannot be read", why=str(error), hint="close the quotes") from error
    return JobQuery(tuple(_condition(term) for term in terms))


def where(query: JobQuery, dialect: Dialect, words: Words, place: int) -> tuple[str, list[object]]:
    """SQL over headrace_jobs j, and its arguments; the first is `$place`. TRUE for no conditions."""
    parts: list[str] = []
    arguments: list[object] = []

    def bind(value: object) -> str:
        arguments.append(value)
        return f"${place + len(arguments) - 1}"

    for condition in query.conditions:
        sql = _sql(condition, dialect, words, bind)
        parts.append(f"NOT COALESCE({sql}, false)" if condition.operator == "!=" else sql)
    return " AND ".join(parts) or "true", arguments


def _condition(term: str) -> Condition:
    form = _TERM.fullmatch(term)
    if form is None:
        raise BadOption(
            f"{term!r} is not a condition", hint="write field=value, for example state=failed, age>1h, error~Timeout"
        )
    field, operator, value = form[1], form[2].replace(":", "="), form[3]
    kind, path = FIELDS.get(field), ()
    if argument := _PATH.fullmatch(field):
        kind, path = Kind.ARGUMENT, tuple(argument[1][1:].split("."))
    if kind is None:
        known = [*FIELDS, "args.NAME"]
        close = difflib.get_close_matches(field, known, n=1)
        raise BadOption(
            f"unknown field {field!r} in {term!r}",
            why=f"known: {', '.join(known)}",
            hint=f"did you mean {close[0]!r}?" if close else "",
        )
    if operator not in OPERATORS[kind]:
        raise BadOption(
            f"{operator!r} does not fit {field!r} in {term!r}", hint=f"{field} takes {' '.join(OPERATORS[kind])}"
        )
    if not value:
        raise BadOption(f"{term!r} has no value")
    given = value.split(",") if operator in _EQUAL else [value]
    return Condition(field, kind, operator, tuple(_value(field, kind, part, term) for part in given), path)


def _value(field: str, kind: Kind, value: str, term: str) -> str | float:
    match kind:
        case Kind.NUMBER:
            if not re.fullmatch(r"\d{1,9}", value, re.ASCII):
                raise BadOption(f"{value!r} in {term!r} is not a number", hint=f"for example {field}=3")
            return int(value)
        case Kind.DURATION:
            return seconds(value, field)
        case Kind.STATE:
            if value not in list(State):
                close = difflib.get_close_matches(value, list(State), n=1)
                raise BadOption(
                    f"unknown state {value!r}",
                    why=f"known: {', '.join(State)}",
                    hint=f"did you mean {str(close[0])!r}?" if close else "",
                )
            return value
        case _:
            return value.replace("\x00", "").encode("utf-8", "replace").decode()  # no column holds NUL or surrogates


def _sql(condition: Condition, dialect: Dialect, words: Words, bind: Callable[[object], str]) -> str:
    column, values = f"j.{condition.field}", condition.values
    match condition.kind, condition.operator:
        case Kind.DURATION, operator:
            return f"{_elapsed(condition.field, dialect)} {operator} {bind(float(values[0]))}"
        case Kind.NUMBER, ("=" | "!="):
            return _any(f"{column} = CAST({bind(value)} AS integer)" for value in values)
        case Kind.NUMBER, operator:
            return f"{column} {operator} CAST({bind(values[0])} AS integer)"
        case Kind.TYPE, ("=" | "!="):
            ends = [words.ends.format(column, f"CAST({bind(f'.{value}')} AS text)") for value in values]
            return _any([words.among_text.format(column, bind(words.batch(values))), *ends])
        case Kind.ARGUMENT, operator:
            return _argument(
                words.argument.format("j.body", bind(words.path(condition.path))), operator, values, words, bind
            )
        case _, "~":
            return words.contains.format(_text(condition.field), f"CAST({bind(values[0])} AS text)")
        case _:
            return words.among_text.format(_text(condition.field), bind(words.batch(values)))


def _argument(
    value: str, operator: str, wanted: Sequence[str | float], words: Words, bind: Callable[[object], str]
) -> str:
    if operator == "~":
        return words.contains.format(value, f"CAST({bind(wanted[0])} AS text)")
    return words.among_text.format(value, bind(words.batch(wanted)))


def _elapsed(field: str, dialect: Dialect) -> str:
    since = {"age": "j.created_at", "ended": "j.finished_at"}.get(field)
    return "j.ran" if since is None else f"{dialect.epoch.format(dialect.now)} - {dialect.epoch.format(since)}"


def _text(field: str) -> str:
    return "CAST(j.id AS text)" if field == "id" else f"j.{field}"


def _any(conditions: Iterable[str]) -> str:
    return f"({' OR '.join(conditions)})"
