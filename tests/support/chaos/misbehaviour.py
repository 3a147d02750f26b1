"""Errors that do not want to be looked at, and results that do not want to be kept."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import pydantic


class OwnKind(BaseException):
    """Nothing that `except Exception` sees."""


class Unspeakable(Exception):
    """Everything that a reporter may ask of it raises."""

    def __str__(self) -> str:
        raise RuntimeError("no str")

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __reduce__(self) -> NoReturn:
        raise RuntimeError("no reduce")


class Lying(Exception):
    """Its text is not text, and its class is not its class."""

    def __str__(self) -> str:
        return 7  # type: ignore[return-value]  # noqa: PLE0307 - the fault

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise SystemExit(3)


def throw(error: BaseException) -> Callable[[], NoReturn]:
    def raises() -> NoReturn:
        raise error

    return raises


def cyclic() -> NoReturn:
    """Two causes of each other."""
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    raise one


def deep() -> NoReturn:
    """As deep as the stack goes, and every error has one below it."""

    def fall(depth: int) -> NoReturn:
        try:
            fall(depth + 1)
        except RecursionError:
            raise
        except ValueError as error:
            raise ValueError(depth) from error

    fall(0)


ENDS: dict[str, Callable[[], NoReturn]] = {
    "SystemExit": throw(SystemExit(0)),
    "KeyboardInterrupt": throw(KeyboardInterrupt()),
    "GeneratorExit": throw(GeneratorExit()),
    "CancelledError": throw(asyncio.CancelledError()),
    "StopIteration": throw(StopIteration(1)),
    "OwnKind": throw(OwnKind("mine")),
    "ExceptionGroup": throw(ExceptionGroup("several", [ValueError(1), KeyError("two")])),
    "BaseExceptionGroup": throw(BaseExceptionGroup("several", [KeyboardInterrupt(), OwnKind()])),
}
TEXTS: dict[str, Callable[[], NoReturn]] = {
    "Unspeakable": throw(Unspeakable()),
    "Lying": throw(Lying()),
    "ten megabytes": throw(ValueError("x" * 10_000_000)),
    "surrogates": throw(ValueError("a \ud800 lone one, and \x00, and \u202e")),
    "cyclic": cyclic,
    "deep": deep,
    "notes": throw(ValueError("with a note that is no text")),
    "group of unspeakables": throw(ExceptionGroup("g", [Unspeakable(), Unspeakable()])),
}
ERRORS = {**ENDS, **TEXTS}


class Awkward(pydantic.BaseModel):
    """A model that is asked for its fields does this."""

    does: str

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def said(self) -> str:
        match self.does:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "exit":
                sys.exit(1)
            case "interrupt":
                raise KeyboardInterrupt
            case "memory":
                raise MemoryError
            case _:
                raise LookupError(self.does)
        return ""


def itself() -> Any:
    """A list that holds itself."""
    own: list[Any] = []
    own.append(own)
    return own


def nested() -> Any:
    """Deeper than any encoder goes."""
    outer: Any = []
    for _ in range(200_000):
        outer = [outer]
    return outer


RESULTS: dict[str, Callable[[], Any]] = {
    "object": object,
    "generator": lambda: (_ for _ in ()),
    "surrogate": lambda: "\ud800",
    "nan": lambda: float("nan"),
    "itself": itself,
    "nested": nested,
    "too large": lambda: "x" * 20_000_000,
    "bytes": lambda: b"\xff\x00",
    "huge number": lambda: 10**5000,
    "raises": lambda: Awkward(does="raise"),
    "exits": lambda: Awkward(does="exit"),
    "interrupts": lambda: Awkward(does="interrupt"),
    "memory": lambda: Awkward(does="memory"),
    "kills": lambda: Awkward(does="kill"),
}
