"""What is kept of an exception, whatever it is."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import pytest

from headrace.bus import fingerprint as subject
from headrace.bus.fingerprint import capped, cause, fingerprint, traceback_text
from headrace.errors import DecodeError

HELLO = """
import json
import msgspec

def greet(name):
    raise ValueError(f"empty name {name}")

def parse(text):
    return json.loads(text)          # line 9

def decode(text):
    return msgspec.json.decode(text)

def chain():
    try:
        greet("Ada")
    except ValueError as error:
        raise KeyError("late") from error

def deep(n):
    return deep(n - 1) if n else greet(n)
"""


@pytest.fixture
def hello(tmp_path: Path) -> ModuleType:
    """A module of the user's, in a file of its own."""
    path = tmp_path / "shop" / "hello.py"
    path.parent.mkdir()
    path.write_text(HELLO)
    module = ModuleType("hello")
    exec(compile(HELLO, str(path), "exec"), vars(module))
    return module


def caught(function: Callable[..., Any], *args: Any) -> BaseException:
    with pytest.raises(BaseException) as info:  # noqa: PT011  # whatever it is
        function(*args)
    return info.value


def raised(error: BaseException) -> BaseException:
    def throw() -> NoReturn:
        raise error

    return caught(throw)


def test_cause_is_class_message_and_place_in_one_line(hello: ModuleType) -> None:
    assert cause(caught(hello.greet, "Ada")) == "ValueError: empty name Ada at hello.py:6"
    assert cause(raised(TimeoutError())) == f"TimeoutError at {Path(__file__).name}:58"
    assert cause(ValueError("never\n raised")) == "ValueError: never raised"
    assert cause(ValueError("x" * 500)) == f"ValueError: {'x' * 199}…"


def test_place_is_the_last_line_of_the_users_code(hello: ModuleType) -> None:
    assert cause(caught(hello.parse, "{")).endswith(" at hello.py:9")
    assert cause(caught(hello.decode, "{")).endswith(" at hello.py:12")


def test_place_is_the_last_line_of_all_where_no_code_is_the_users() -> None:
    from headrace.bus.durations import seconds

    error = caught(seconds, "soon")
    assert error.__traceback__ is not None
    assert "durations.py" in cause(error.with_traceback(error.__traceback__.tb_next))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("user 7 not found", "user 12345 not found", True),
        ("took 1.5 s", "took 20.25 s", True),
        ("at 12:30:01", "at 01:02:03", True),
        ("no key 'a b'", "no key 'zz'", True),
        ('no key "a"', 'no key "b"', True),
        ("at 0x7f3a", "at 0x11", True),
        ("job 01a2024c-e5d9-7482-8035-e9a4eb8956bb", "job 0190aaaa-e5d9-7482-8035-111111111111", True),
        ("deadbeef00", "abcdef0123", True),
        ("no such user", "no such card", False),
        ("can't open", "won't open", False),
        ("", "x", False),
    ],
)
def test_fingerprint_does_not_see_values(one: str, other: str, same: bool) -> None:
    assert (fingerprint(ValueError(one)) == fingerprint(ValueError(other))) is same


def test_fingerprint_sees_class_and_place(hello: ModuleType) -> None:
    error = caught(hello.greet, "Ada")
    prints = {
        fingerprint(error),
        fingerprint(ValueError("empty name Ada")),
        fingerprint(caught(hello.chain)),
        fingerprint(KeyError("empty name Ada")),
    }
    assert len(prints) == 4
    assert all(len(found) == 8 and set(found) <= set("0123456789abcdef") for found in prints)
    assert fingerprint(error) == fingerprint(caught(hello.greet, "Ada"))


def test_traceback_begins_with_the_cause_and_shows_what_led_to_it(hello: ModuleType) -> None:
    text = traceback_text(caught(hello.chain))
    lines = text.splitlines()
    assert lines[:2] == ["KeyError: 'late' at hello.py:18", "Traceback (most recent call last):"]
    assert text.index("ValueError: empty name Ada\n") < text.index("direct cause") < text.index("KeyError: 'late'", 5)
    assert f'File "{hello.greet.__code__.co_filename}", line 6, in greet' in text
    assert '    raise ValueError(f"empty name {name}")' in lines


def test_traceback_leaves_out_the_middle_of_a_deep_stack(hello: ModuleType) -> None:
    text = traceback_text(caught(hello.deep, 200))
    assert "calls left out …" in text
    assert text.count(", in deep") < 100
    assert text.endswith("ValueError: empty name 0")


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Odd(Exception):
    def __str__(self) -> str:
        return 7  # type: ignore[return-value]  # noqa: PLE0307  # what it is for


class Hidden(Exception):
    """Every attribute that a curious reader might ask for raises."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class Lazy(str):
    """A text that is not to be trusted with its own methods."""

    __slots__ = ()

    def __str__(self) -> str:
        return self

    def __getitem__(self, key: object) -> NoReturn:
        raise RuntimeError("no")


class Sly(Exception):
    def __str__(self) -> str:
        return Lazy("sly words")


class Meta(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("nameless")


class Nameless(Exception, metaclass=Meta):
    pass


def cyclic() -> BaseException:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    return one


def chained(length: int) -> BaseException:
    error: BaseException = ValueError("first")
    for _ in range(length):
        later = ValueError("later")
        later.__context__ = error
        error = later
    return error


def nested(depth: int) -> BaseException:
    error: Exception = ValueError("inner")
    for _ in range(depth):
        error = ExceptionGroup("outer", [error])
    return error


AWFUL = [
    (Mute(), "Mute: (its __str__ failed)"),
    (Odd(), "Odd: (its __str__ failed)"),
    (Hidden("x"), "Hidden: x"),
    (Sly(), "Sly: sly words"),
    (Nameless("x"), "Nameless: x"),
    (ValueError("x" * 10_000_000), "ValueError: xxx"),
    (ValueError("\ud800 and \x00"), "ValueError: ? and \N{REPLACEMENT CHARACTER}"),
    (ValueError("'" * 100_000), "ValueError: '"),
    (ValueError("a-1" * 100_000), "ValueError: a-1"),
    (cyclic(), "ValueError: one"),
    (chained(100_000), "ValueError: later"),
    (nested(5_000), "ExceptionGroup: outer (1 sub-exception)"),
    (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "UnicodeDecodeError: 'utf-8' codec"),
    (SyntaxError("bad", ("f", "x", "y", "z")), "SyntaxError: bad"),  # type: ignore[arg-type]
    (DecodeError("body does not fit"), "DecodeError: HR311 body does not fit"),
    (KeyboardInterrupt(), "KeyboardInterrupt"),
]


@pytest.mark.parametrize(("error", "begins"), AWFUL, ids=[begins[:20] for _, begins in AWFUL])
def test_awful_exceptions_are_told_all_the_same(error: BaseException, begins: str) -> None:
    error = raised(error)

    line, text, short = cause(error), traceback_text(error), traceback_text(error, 1000)

    assert line.startswith(begins)
    assert "\n" not in line
    assert len(line) < 500
    assert text.startswith(line)
    assert len(text) <= subject.ERROR_LIMIT
    assert len(short) <= 1000
    for told in (line, text, short):
        assert "\x00" not in told
        told.encode()
    assert len(fingerprint(error)) == 8


def test_group_names_what_is_in_it() -> None:
    text = traceback_text(raised(ExceptionGroup("two", [ValueError("a"), KeyError("b")])))
    assert text.endswith("ExceptionGroup: two (2 sub-exceptions)\n  1 of 2: ValueError: a\n  2 of 2: KeyError: 'b'")


@pytest.mark.parametrize(
    ("text", "limit", "wanted"),
    [
        ("abc", 3, "abc"),
        ("a\x00b\ud800", 9, "a\N{REPLACEMENT CHARACTER}b?"),
        ("x" * 100, 100, "x" * 100),
        ("a" * 100 + "b" * 100, 100, f"{'a' * 25}\n… 150 characters left out …\n{'b' * 25}"),
        ("a" * 200, 10, "\n… 200 cha"),
    ],
)
def test_capped_shortens_in_the_middle(text: str, limit: int, wanted: str) -> None:
    assert capped(text, limit) == wanted


def test_source_that_is_gone_is_no_obstacle(hello: ModuleType) -> None:
    Path(hello.greet.__code__.co_filename).unlink()
    assert "line 6, in greet" in traceback_text(caught(hello.greet, "Ada"))
    assert "hello" not in sys.modules
