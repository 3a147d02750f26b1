"""What people ask for: how it is read, and what is refused. What it finds: tests/ledger/test_jobs.py."""

import pytest

from headrace.db.sqlite import DIALECT
from headrace.errors import BadOption
from headrace.ledger.query import FIELDS, OPERATORS, Condition, Kind, parse, where
from headrace.ledger.words import WORDS

READ = [
    ("", ()),
    ("  ", ()),
    ("state=failed", (Condition("state", Kind.STATE, "=", ("failed",)),)),
    ("state:failed", (Condition("state", Kind.STATE, "=", ("failed",)),)),
    ("state!=failed,expired", (Condition("state", Kind.STATE, "!=", ("failed", "expired")),)),
    ("age>1h", (Condition("age", Kind.DURATION, ">", (3600.0,)),)),
    ("ended<=250ms", (Condition("ended", Kind.DURATION, "<=", (0.25,)),)),
    ("retries>=2", (Condition("retries", Kind.NUMBER, ">=", (2,)),)),
    ("priority=1,9", (Condition("priority", Kind.NUMBER, "=", (1, 9)),)),
    ("error~Time,out", (Condition("error", Kind.TEXT, "~", ("Time,out",)),)),
    ("error~a=b>c", (Condition("error", Kind.TEXT, "~", ("a=b>c",)),)),
    ("type=shop.pay", (Condition("type", Kind.TYPE, "=", ("shop.pay",)),)),
    ("args.name=Ada", (Condition("args.name", Kind.ARGUMENT, "=", ("Ada",), ("name",)),)),
    ("args.a.b-c='Ada L'", (Condition("args.a.b-c", Kind.ARGUMENT, "=", ("Ada L",), ("a", "b-c")),)),
    ("args.größe=7", (Condition("args.größe", Kind.ARGUMENT, "=", ("7",), ("größe",)),)),
    ('note="a\x00b\ud800"', (Condition("note", Kind.TEXT, "=", ("ab?",)),)),
    ("queue=a worker~b", (Condition("queue", Kind.TEXT, "=", ("a",)), Condition("worker", Kind.TEXT, "~", ("b",)))),
]  # fmt: skip
REFUSED = [
    ("stat=failed", "unknown field 'stat'", "did you mean 'state'?"),
    ("zzz=1", "unknown field 'zzz'", ""),
    ("arg.name=1", "unknown field 'arg.name'", ""),
    ("args=1", "unknown field 'args'", ""),
    ("args.=1", "unknown field 'args.'", "did you mean 'args.NAME'?"),
    ("state=faild", "unknown state 'faild'", "did you mean 'failed'?"),
    ("state=failed,xx", "unknown state 'xx'", ""),
    ("state~failed", "'~' does not fit 'state'", "state takes = !="),
    ("age=1h", "'=' does not fit 'age'", "age takes > >= < <="),
    ("age>soon", "age='soon' is not a duration", ""),
    ("retries>two", "'two' in 'retries>two' is not a number", ""),
    ("retries>-1", "'-1' in 'retries>-1' is not a number", ""),
    ("priority=1000000000", "'1000000000' in 'priority=1000000000' is not a number", ""),
    ("args.n>1", "'>' does not fit 'args.n'", "args.n takes = != ~"),
    ("queue=", "'queue=' has no value", ""),
    ("failed", "'failed' is not a condition", ""),
    ("=x", "'=x' is not a condition", ""),
    ("a b=c", "'a' is not a condition", ""),
    ("error~'x", 'query "error~\'x" cannot be read', "close the quotes"),
]


@pytest.mark.parametrize(("text", "conditions"), READ)
def test_query_is_read(text: str, conditions: tuple[Condition, ...]) -> None:
    assert parse(text).conditions == conditions


@pytest.mark.parametrize(("text", "what", "hint"), REFUSED)
def test_query_is_refused_with_what_there_is(text: str, what: str, hint: str) -> None:
    with pytest.raises(BadOption) as refused:
        parse(text)
    assert what in refused.value.what
    assert hint in refused.value.hint


def test_every_field_has_operators() -> None:
    assert {*FIELDS.values(), Kind.ARGUMENT} == set(OPERATORS)


@pytest.mark.parametrize("name", ["sqlite", "postgres"])
def test_values_are_never_part_of_the_text(name: str) -> None:
    secret = "x'; DROP TABLE headrace_jobs --"
    fields = [field for field, kind in FIELDS.items() if kind in (Kind.TEXT, Kind.TYPE)]
    terms = [f'"{field}{operator}{secret}"' for field in (*fields, "args.a") for operator in ("=", "!=", "~")]
    query = parse(" ".join(terms))

    text, arguments = where(query, DIALECT, WORDS[name], 5)

    assert "DROP" not in text
    assert all(f"${5 + place}" in text for place in range(len(arguments)))
    assert f"${5 + len(arguments)}" not in text


def test_no_conditions_are_true() -> None:
    assert where(parse(""), DIALECT, WORDS["sqlite"], 1) == ("true", [])
