"""Message ↔ bytes: strict both ways, and nothing that JSON cannot carry faithfully."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Literal
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as some

from headrace.bus.codec import MessageCodec, ResultCodec, TaskCodec, encode
from headrace.bus.context import Context
from headrace.errors import BadDefinition, DecodeError, HeadraceError, Unencodable, WrongArguments

NAN, INFINITY, SURROGATE = math.nan, math.inf, "\ud800"


@dataclass(frozen=True)
class Data:
    number: int
    share: float = 0.5


class Plain(msgspec.Struct):
    number: int
    share: float = 0.5


@attrs.frozen
class Attrs:
    number: int
    share: float = 0.5


class Model(pydantic.BaseModel):
    number: int
    share: float = 0.5


class Colour(Enum):
    RED = "red"


KINDS: list[Any] = [Data, Plain, Attrs, Model]


def task(function: Callable[..., object], skip: str | None = None) -> TaskCodec:
    return TaskCodec(f"shop.{function.__name__}", function, skip)


def greet(name: str, times: int = 1) -> str:
    return f"{times} times {name}"


def anything(value: Any) -> None:
    return None


# ── the arguments of a task ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("args", "kwargs", "body"),
    [
        (("Ada",), {}, b'{"name":"Ada","times":1}'),
        (("Ada", 2), {}, b'{"name":"Ada","times":2}'),
        (("Ada",), {"times": 2}, b'{"name":"Ada","times":2}'),
        ((), {"times": 2, "name": "Ada"}, b'{"name":"Ada","times":2}'),
        (("ä\x00日",), {}, '{"name":"ä\\u0000日","times":1}'.encode()),
        (("",), {"times": 10**20}, b'{"name":"","times":100000000000000000000}'),
    ],
)
def test_call_becomes_json_and_a_call_again(args: tuple[Any, ...], kwargs: dict[str, Any], body: bytes) -> None:
    codec = task(greet)

    assert codec.encode(args, kwargs) == body
    positional, named = codec.decode(body)
    assert greet(*positional, **named) == greet(*args, **kwargs)


@pytest.mark.parametrize(
    ("args", "kwargs", "why"),
    [
        ((), {}, "Missing required argument 'name'"),
        (("Ada", 1, 2), {}, "takes 2 positional arguments, got 3"),
        (("Ada",), {"name": "Bob"}, "'name'"),
        (("Ada",), {"tiems": 2}, "tiems"),
        ((7,), {}, "Expected `str`, got `int` - at `name`"),
        ((None,), {}, "Expected `str`, got `null` - at `name`"),
        ((b"Ada",), {}, "Expected `str`, got `bytes` - at `name`"),
        (("Ada", "2"), {}, "Expected `int`, got `str` - at `times`"),
        (("Ada", 2.0), {}, "Expected `int`, got `float` - at `times`"),
        (("Ada", True), {}, "Expected `int`, got `bool` - at `times`"),
    ],
)
def test_call_that_does_not_fit_is_refused(args: tuple[Any, ...], kwargs: dict[str, Any], why: str) -> None:
    with pytest.raises(WrongArguments) as caught:
        task(greet).encode(args, kwargs)

    assert caught.value.what == "shop.greet: wrong arguments"
    assert why in caught.value.why
    assert "greet(name: str, times: int = 1)" in caught.value.hint


@pytest.mark.parametrize(
    "body",
    [
        *[
            b"",
            b"{",
            b"nonsense",
            b"null",
            b"[]",
            b"7",
            b'{"name":"Ada","times":"2"}',
            b'{"times":1}',
            b'{"name":null}',
        ],
        *[b'{"name":"Ada","surprise":1}', b'{"name":"Ada"', b'{"name":"Ada"}}', b"\xff\xfe", b'{"name":"\xff"}'],
        *[b'{"name":"\\ud800"}', b"[" * 5000],
    ],
)
def test_body_that_does_not_fit_is_a_decode_error(body: bytes) -> None:
    with pytest.raises(DecodeError, match="greet"):
        task(greet).decode(body)


@given(some.binary(max_size=40) | some.text(max_size=40).map(str.encode) | some.from_regex(rb'\{"name":.*\}'))
def test_no_body_does_anything_but_fit_or_raise(body: bytes) -> None:
    try:
        positional, named = task(greet).decode(body)
    except DecodeError:
        return
    assert isinstance(greet(*positional, **named), str)


def test_missing_argument_with_a_default_may_be_left_out_by_an_older_sender() -> None:
    assert task(greet).decode(b'{"name":"Ada"}') == (("Ada", 1), {})


def test_keyword_only_parameters_come_by_name() -> None:
    def send(to: str, *, copies: int = 1, urgent: bool) -> None: ...

    codec = task(send)

    assert codec.decode(codec.encode(("a",), {"urgent": True})) == (("a",), {"copies": 1, "urgent": True})
    with pytest.raises(WrongArguments, match="takes 1 positional arguments, got 2"):
        codec.encode(("a", 2), {"urgent": True})
    with pytest.raises(WrongArguments, match="urgent"):
        codec.encode(("a",), {"copies": 1})
    with pytest.raises(WrongArguments, match="'to' given by name and position"):
        codec.encode(("a",), {"to": "b", "urgent": True})


def test_required_keyword_may_follow_a_default() -> None:
    def send(to: str = "all", *, urgent: bool) -> None: ...

    codec = task(send)

    assert codec.decode(codec.encode((), {"urgent": True})) == (("all",), {"urgent": True})
    assert codec.decode(codec.encode(("a",), {"urgent": False})) == (("a",), {"urgent": False})


def test_mutable_default_is_not_shared() -> None:
    def collect(into: list[int] = [], **_: int) -> None: ...  # noqa: B006  # on purpose

    def gather(into: list[int] = []) -> None: ...  # noqa: B006  # on purpose

    first, _ = task(gather).decode(b"{}")
    first[0].append(1)

    assert task(gather).decode(b"{}") == (([],), {})
    with pytest.raises(BadDefinition):
        task(collect)


def test_context_is_no_argument() -> None:
    def send(ctx: Context, to: str) -> None: ...

    codec = task(send, skip="ctx")

    assert codec.signature == "send(to: str) -> None"
    assert codec.encode(("a",), {}) == b'{"to":"a"}'
    with pytest.raises(WrongArguments):
        codec.encode(("a",), {"ctx": None})


def test_parameter_called_like_a_method_is_an_argument() -> None:
    def odd(self: int, cls: int, msg: int, _args: int) -> None: ...

    codec = task(odd)

    assert codec.decode(codec.encode((1, 2, 3, 4), {})) == ((1, 2, 3, 4), {})


def starred(*names: str) -> None: ...
def double_starred(**names: str) -> None: ...
def positional(name: str, /) -> None: ...
def unresolved(name: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821  # on purpose
def mangled(__name: str) -> None: ...
def ambiguous(value: Data | Plain) -> None: ...


@pytest.mark.parametrize("function", [starred, double_starred, positional, unresolved, mangled, ambiguous])
def test_function_that_cannot_be_a_task_is_refused_when_registered(function: Callable[..., object]) -> None:
    with pytest.raises(BadDefinition, match=function.__name__):
        task(function)


def everything(
    when: datetime, id_: UUID, price: Decimal, raw: bytes, span: timedelta, colour: Colour, word: Literal["a", "b"]
) -> None: ...


def test_rich_types_come_back_as_they_were() -> None:
    args = (
        datetime(2026, 1, 2, tzinfo=UTC),
        UUID(int=7),
        Decimal("1.10"),
        b"\x00\xff",
        timedelta(hours=1),
        Colour.RED,
        "a",
    )
    codec = task(everything)

    assert codec.decode(codec.encode(args, {})) == (args, {})


def test_containers_come_back_with_their_types() -> None:
    def f(a: tuple[int, ...], b: frozenset[str], c: dict[int, list[float]], d: int | str | None = None) -> None: ...

    codec = task(f)
    args = ((1, 2), frozenset({"x"}), {3: [1.5]}, "y")

    assert codec.decode(codec.encode(args, {})) == (args, {})


# ── objects as arguments and as messages ─────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", KINDS)
def test_object_is_an_argument(kind: Any) -> None:
    def f(value: Any) -> None: ...

    f.__annotations__["value"] = list[kind]
    codec = task(f)

    (values,), _ = codec.decode(codec.encode(([kind(number=7)],), {}))

    assert values == [kind(number=7)]
    assert type(values[0]) is kind


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_field_of_an_argument_is_refused_when_enqueued(kind: Any) -> None:
    def f(value: Any, rest: int = 0) -> None: ...

    f.__annotations__["value"] = kind
    wrong = Model.model_construct(number="seven") if kind is Model else kind(number="seven")

    with pytest.raises(WrongArguments, match="number"):
        task(f).encode((wrong,), {})


@pytest.mark.parametrize("kind", KINDS)
def test_message_becomes_json_and_a_message_again(kind: Any) -> None:
    codec = MessageCodec(kind)

    body = codec.encode(kind(number=7))

    assert body == b'{"number":7,"share":0.5}'
    assert codec.decode(body) == kind(number=7)
    assert codec.decode(b'{"number":8}') == kind(number=8)


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_field_of_a_message_is_refused_when_dispatched(kind: Any) -> None:
    wrong = Model.model_construct(number="seven") if kind is Model else kind(number="seven")

    with pytest.raises(WrongArguments, match="a field of the wrong type"):
        MessageCodec(kind).encode(wrong)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [NAN, INFINITY, -INFINITY], ids=repr)
def test_message_with_nan_is_refused(kind: Any, value: float) -> None:
    with pytest.raises(Unencodable, match="share"):
        MessageCodec(kind).encode(kind(number=7, share=value))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"number":"x"}', b'{"number":1.5}', b"\xff", b"[" * 5000])
def test_body_that_does_not_fit_the_message_is_a_decode_error(kind: Any, body: bytes) -> None:
    with pytest.raises(DecodeError, match=kind.__name__):
        MessageCodec(kind).decode(body)


class Rejecting:
    pass


@pytest.mark.parametrize("kind", [int, str, dict, list, object, Rejecting, Colour])
def test_class_without_fields_cannot_be_a_message(kind: type) -> None:
    with pytest.raises(BadDefinition, match="cannot be a message"):
        MessageCodec(kind)


# ── what JSON cannot carry ───────────────────────────────────────────────────────────────────

endless: list[object] = []
endless.append(endless)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (NAN, "shop.anything.value is nan"),
        (-INFINITY, "shop.anything.value is -inf"),
        ([1, [2, INFINITY]], "shop.anything.value[1][1] is inf"),
        ({"a": {"b": (NAN,)}}, "shop.anything.value.a.b[0] is nan"),
        ({1.0, NAN}, "is nan"),
        (Data(1, NAN), "shop.anything.value.share is nan"),
        (Model(number=1, share=NAN), "shop.anything.value.share is nan"),
        (SURROGATE, "surrogate"),
        ({SURROGATE: 1}, "surrogate"),
        ([{"a": [SURROGATE]}], "surrogate"),
        (object(), "cannot be encoded"),
        ([print], "cannot be encoded"),
        (endless, "cannot be encoded"),
    ],
    ids=range(13),
)
def test_value_without_a_faithful_form_is_refused(value: object, path: str) -> None:
    with pytest.raises(Unencodable) as caught:
        task(anything).encode((value,), {})

    assert path in caught.value.what


def test_nan_is_found_where_the_annotation_says_float() -> None:
    def f(share: float | None, many: list[float]) -> None: ...

    with pytest.raises(Unencodable, match="share"):
        task(f).encode((NAN, []), {})
    with pytest.raises(Unencodable, match=r"many\[1\]"):
        task(f).encode((None, [1.0, NAN]), {})
    assert task(f).encode((None, [1]), {}) == b'{"share":null,"many":[1.0]}'


json_like = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False, allow_infinity=False) | some.text(),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_like)
def test_what_json_can_say_comes_back_unchanged(value: object) -> None:
    codec = task(anything)

    assert codec.decode(codec.encode((value,), {})) == ((value,), {})


@given(some.text(some.characters(codec=None), max_size=8))
def test_text_is_carried_or_refused(text: str) -> None:
    try:
        body = task(anything).encode((text,), {})
    except Unencodable:
        assert any("\ud800" <= char <= "\udfff" for char in text)
    else:
        assert task(anything).decode(body) == ((text,), {})
        assert b"\x00" not in body


# ── results ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kind", "stored", "value"),
    [
        (int, "7", 7),
        (Any, '{"a":[1]}', {"a": [1]}),
        (Data, '{"number":7}', Data(7)),
        (Model, '{"number":7}', Model(number=7)),
        (tuple[int, ...], "[1,2]", (1, 2)),
        (datetime, '"2026-01-02T00:00:00Z"', datetime(2026, 1, 2, tzinfo=UTC)),
        (int, None, None),
        (int, '"seven"', "seven"),  # not what was promised: plain data is better than nothing
        (Data, '{"number":"x"}', {"number": "x"}),
        (Callable[[], int], "7", 7),
    ],
    ids=range(10),
)
def test_result_comes_as_what_the_handler_promised(kind: Any, stored: str | None, value: object) -> None:
    assert ResultCodec(kind).decode(stored) == value


def test_result_type_is_the_return_annotation() -> None:
    def f() -> Data:
        return Data(1)

    assert ResultCodec.of(f).decode('{"number":3}') == Data(3)


@pytest.mark.parametrize("result", [None, 7, "x", [1], Data(1), Model(number=1), Attrs(1), Plain(1)], ids=repr)
def test_result_is_encoded(result: object) -> None:
    assert msgspec.json.decode(encode(result)) is not ...


@pytest.mark.parametrize("result", [object(), SURROGATE, {1: object()}, endless], ids=range(4))
def test_result_without_a_form_is_refused(result: object) -> None:
    with pytest.raises(HeadraceError):
        encode(result)
