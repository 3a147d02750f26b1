"""Which type goes to which handlers."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from headrace.bus.context import Context
from headrace.bus.registry import Handler, Registry, Rules, wire_name
from headrace.clock import ManualClock
from headrace.errors import BadDefinition, NoHandler, UnknownType
from tests.support.bus import a_delivery

RULES = Rules()


@dataclass
class Paid:
    order: int


class Shop:
    @staticmethod
    def close(name: str) -> str:
        return name


def greet(name: str) -> str:
    return f"Hello, {name}!"


def receipt(message: Paid) -> str:
    return f"receipt {message.order}"


def parcel(message: Paid) -> str:
    return f"parcel {message.order}"


def a_context() -> Context:
    return Context(a_delivery(), ManualClock(), 0.0, None, None)


def a_registry() -> Registry:
    registry = Registry()
    registry.add_task(greet, "shop.greet", RULES)
    registry.add_handler(Paid, "shop.Paid", receipt, "shop.receipt", RULES)
    return registry


# ── names ────────────────────────────────────────────────────────────────────────────────────


def test_wire_name_is_module_and_function() -> None:
    def inner() -> None: ...

    assert wire_name(greet) == f"{__name__}.greet"
    assert wire_name(Paid) == f"{__name__}.Paid"
    assert wire_name(Shop.close) == f"{__name__}.Shop.close"
    assert wire_name(inner) == f"{__name__}.test_wire_name_is_module_and_function.inner"


@pytest.mark.parametrize(
    ("file", "spec", "name"),
    [
        ("/srv/hello.py", None, "hello.greet"),
        ("hello.py", None, "hello.greet"),
        ("/srv/shop/__main__.py", "shop.__main__", "shop.__main__.greet"),
        ("/srv/shop/jobs.py", "shop.jobs", "shop.jobs.greet"),
        (None, None, "__main__.greet"),
    ],
)
def test_script_and_import_agree_on_names(
    file: str | None, spec: str | None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = ModuleType("__main__")
    main.__file__ = file
    main.__spec__ = None if spec is None else type(sys.__spec__)(spec, None)
    monkeypatch.setitem(sys.modules, "__main__", main)

    def greet() -> None: ...

    greet.__module__, greet.__qualname__ = "__main__", "greet"

    assert wire_name(greet) == name


def test_two_tasks_cannot_share_a_name() -> None:
    registry = a_registry()

    with pytest.raises(BadDefinition, match=r"shop\.greet"):
        registry.add_task(receipt, "shop.greet", RULES)
    with pytest.raises(BadDefinition, match=r"shop\.greet"):
        registry.add_handler(dataclass(type("Other", (), {})), "shop.greet", greet, "x", RULES)
    with pytest.raises(BadDefinition, match=r"shop\.Paid"):
        registry.add_task(greet, "shop.Paid", RULES)


def test_two_handlers_of_a_message_cannot_share_a_name() -> None:
    registry = a_registry()

    with pytest.raises(BadDefinition, match=r"shop\.receipt"):
        registry.add_handler(Paid, "shop.Paid", parcel, "shop.receipt", RULES)


def test_types_are_listed_by_name() -> None:
    assert [kind.name for kind in a_registry().types] == ["shop.Paid", "shop.greet"]


# ── finding ──────────────────────────────────────────────────────────────────────────────────


def test_delivery_finds_its_handler() -> None:
    registry = a_registry()

    assert registry.find("shop.greet", None).function is greet  # type: ignore[union-attr]
    assert registry.find("shop.Paid", None).function is receipt  # type: ignore[union-attr]  # the only one
    assert registry.find("shop.Paid", "shop.receipt").function is receipt  # type: ignore[union-attr]


def test_unaddressed_message_for_several_handlers_must_be_split() -> None:
    registry = a_registry()
    registry.add_handler(Paid, "ignored", parcel, "shop.parcel", RULES)

    assert registry.find("shop.Paid", None) is None
    assert registry.find("shop.Paid", "shop.parcel").function is parcel  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("type_name", "address", "said"),
    [
        ("shop.gret", None, "Closest: shop.greet"),
        ("zzz", None, "Known: shop.Paid, shop.greet"),
        ("", None, "no handler for message type ''"),
        ("shop.Paid", "shop.parcel", "no handler called 'shop.parcel'"),
    ],
)
def test_unknown_type_is_told_with_the_closest_name(type_name: str, address: str | None, said: str) -> None:
    with pytest.raises(UnknownType) as caught:
        a_registry().find(type_name, address)

    assert said in str(caught.value)


def test_unknown_name_and_class_are_told() -> None:
    registry = a_registry()

    with pytest.raises(NoHandler, match=r"Closest: shop\.greet"):
        registry.named("shop.greeet")
    with pytest.raises(NoHandler, match="Known: none"):
        Registry().named("x")
    with pytest.raises(NoHandler, match=r"@app\.handler\(int\)"):
        registry.of_class(int)
    assert registry.named("shop.Paid") is registry.of_class(Paid)


# ── calling ──────────────────────────────────────────────────────────────────────────────────


def first(ctx: Context, a: int, b: int = 2) -> tuple[Any, ...]:
    return ctx, a, b


def between(a: int, ctx: Context, b: int = 2) -> tuple[Any, ...]:
    return ctx, a, b


def by_keyword(a: int, *, b: int = 2, ctx: Context) -> tuple[Any, ...]:
    return ctx, a, b


def keyword_in_front(a: int, *, ctx: Context, b: int = 2) -> tuple[Any, ...]:
    return ctx, a, b


def as_text(ctx: "Context", a: int, b: int = 2) -> tuple[Any, ...]:
    return ctx, a, b


@pytest.mark.parametrize("function", [first, between, by_keyword, keyword_in_front, as_text])
def test_context_is_handed_over_wherever_it_stands(function: Callable[..., Any]) -> None:
    handler, codec = Handler.of_task("t", function, RULES)
    context = a_context()

    assert handler.call(codec.encode((1,), {}), context) == (context, 1, 2)
    assert handler.call(codec.encode((1,), {"b": 3}), context) == (context, 1, 3)
    assert "ctx" not in handler.signature


def test_message_handler_gets_message_and_context() -> None:
    def one(message: Paid, ctx: Context) -> tuple[Any, ...]:
        return message, ctx

    def other(ctx: Context, message: Paid) -> tuple[Any, ...]:
        return message, ctx

    registry = Registry()
    handlers = [registry.add_handler(Paid, "Paid", function, function.__name__, RULES) for function in (one, other)]
    context = a_context()

    assert [handler.call(b'{"order":7}', context) for handler in handlers] == [(Paid(7), context)] * 2


def test_handler_knows_whether_it_is_async() -> None:
    async def wait() -> None: ...

    assert Handler.of_task("t", wait, RULES)[0].is_async
    assert not Handler.of_task("t", greet, RULES)[0].is_async


def test_this_file_is_where_the_names_say() -> None:
    assert Path(__file__).stem in wire_name(greet)
