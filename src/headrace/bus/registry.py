"""Which type goes to which handlers; tasks are functions whose call is a message."""

import difflib
import inspect
import sys
import typing
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from headrace.bus.codec import MessageCodec, TaskCodec
from headrace.bus.context import Context
from headrace.bus.envelope import DEFAULT_PRIORITY
from headrace.bus.retry import Policies, Retry
from headrace.errors import BadDefinition, NoHandler, UnknownType


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How the messages of one handler are queued, retried, limited and recorded.

    time_limit  seconds a run may take; None for no limit
    """

    queue: str = "default"
    retry: Policies = Retry()
    priority: int = DEFAULT_PRIORITY
    time_limit: float | None = None
    track: bool = True


class Handler:
    """One function that takes one type of message."""

    __slots__ = (
        "_context_at",
        "_context_name",
        "_decode",
        "function",
        "is_async",
        "name",
        "rules",
        "signature",
        "type",
    )

    def __init__(self, name: str, type_name: str, function: Callable[..., Any], rules: Rules) -> None:
        self.name = name
        self.type = type_name
        self.function = function
        self.rules = rules
        self.is_async = inspect.iscoroutinefunction(function)
        self.signature = str(inspect.signature(function))
        self._context_name, self._context_at = _context_parameter(function)
        self._decode: Callable[[bytes], tuple[tuple[Any, ...], dict[str, Any]]]

    @classmethod
    def of_task(cls, name: str, function: Callable[..., Any], rules: Rules) -> "tuple[Handler, TaskCodec]":
        """A handler whose message is the call of `function`."""
        handler = cls(name, name, function, rules)
        codec = TaskCodec(name, function, handler._context_name)
        handler.signature = codec.signature
        handler._decode = codec.decode
        return handler, codec

    @classmethod
    def of_message(
        cls, name: str, type_name: str, codec: MessageCodec, function: Callable[..., Any], rules: Rules
    ) -> "Handler":
        """A handler of a message class."""
        handler = cls(name, type_name, function, rules)
        handler._decode = lambda body: ((codec.decode(body),), {})
        return handler

    def call(self, body: bytes, context: Context) -> Any | Awaitable[Any]:
        """Decode and call; the coroutine of an async handler is returned, not awaited."""
        args, kwargs = self._decode(body)
        if self._context_name is not None:
            if self._context_at < 0:
                kwargs = {**kwargs, self._context_name: context}
            else:
                args = (*args[: self._context_at], context, *args[self._context_at :])
        return self.function(*args, **kwargs)


class MessageType:
    """One wire name: how to encode it, and who handles it."""

    __slots__ = ("codec", "handlers", "name", "python")

    def __init__(self, name: str, python: type | None, codec: MessageCodec | TaskCodec) -> None:
        self.name = name
        self.python = python
        self.codec = codec
        self.handlers: dict[str, Handler] = {}

    @property
    def only(self) -> Handler | None:
        """Its handler, when there is one and not several."""
        return next(iter(self.handlers.values())) if len(self.handlers) == 1 else None


class Registry:
    """The types of one application. Filled by its decorators, read by its workers."""

    def __init__(self) -> None:
        self._types: dict[str, MessageType] = {}
        self._by_class: dict[type, MessageType] = {}

    @property
    def types(self) -> Sequence[MessageType]:
        """All types, by name."""
        return [self._types[name] for name in sorted(self._types)]

    def add_task(self, function: Callable[..., Any], name: str, rules: Rules) -> tuple[Handler, TaskCodec]:
        """Register a function under a wire name of its own."""
        self._free(name)
        handler, codec = Handler.of_task(name, function, rules)
        kind = MessageType(name, None, codec)
        kind.handlers[name] = handler
        self._types[name] = kind
        return handler, codec

    def add_handler(
        self, message: type, type_name: str, function: Callable[..., Any], name: str, rules: Rules
    ) -> Handler:
        """Register one more handler of a message class."""
        kind = self._by_class.get(message)
        if kind is None:
            self._free(type_name)
            kind = MessageType(type_name, message, MessageCodec(message))
            self._types[type_name] = self._by_class[message] = kind
        if name in kind.handlers:
            raise BadDefinition(f"two handlers of {kind.name} are called {name}", hint="give one of them name=…")
        assert isinstance(kind.codec, MessageCodec)
        handler = Handler.of_message(name, kind.name, kind.codec, function, rules)
        kind.handlers[name] = handler
        return handler

    def of_class(self, message: type) -> MessageType:
        """The type of a message class; NoHandler when none was registered."""
        try:
            return self._by_class[message]
        except KeyError:
            raise NoHandler(
                f"no handler for {message.__module__}.{message.__qualname__}",
                hint=f"register one with @app.handler({message.__name__}), or import the module that does",
            ) from None

    def named(self, name: str) -> MessageType:
        """The type of a wire name; NoHandler with the closest name when it is unknown."""
        try:
            return self._types[name]
        except KeyError:
            raise NoHandler(f"no task or message is called {name!r}", why=self._closest(name)) from None

    def find(self, type_name: str, handler: str | None) -> Handler | None:
        """The handler a delivery goes to; None when it must be split; UnknownType."""
        kind = self._types.get(type_name)
        if kind is None:
            raise UnknownType(
                f"no handler for message type {type_name!r} on this worker",
                why=f"This worker knows {len(self._types)} types. {self._closest(type_name)}",
                hint="The message is parked, not lost, and runs when a worker that knows the type connects.",
            )
        if handler is None:
            return kind.only
        try:
            return kind.handlers[handler]
        except KeyError:
            raise UnknownType(f"{type_name!r} has no handler called {handler!r} on this worker") from None

    def _closest(self, name: str) -> str:
        close = difflib.get_close_matches(name, self._types, n=1, cutoff=0.5)
        return f"Closest: {close[0]}" if close else f"Known: {', '.join(sorted(self._types)[:8]) or 'none'}"

    def _free(self, name: str) -> None:
        if name in self._types:
            raise BadDefinition(f"two types are called {name!r}", hint="give one of them another name=…")


def wire_name(thing: type | Callable[..., Any]) -> str:
    """`<module>.<name>`, where `__main__` is the file's stem: a script and an import agree."""
    module = thing.__module__
    if module == "__main__":
        main = sys.modules["__main__"]
        spec = getattr(main, "__spec__", None)
        file = str(getattr(main, "__file__", None) or module)
        module = spec.name if spec is not None else file.replace("\\", "/").rpartition("/")[2].removesuffix(".py")
    return f"{module}.{thing.__qualname__.replace('<locals>.', '')}"


def _context_parameter(function: Callable[..., Any]) -> tuple[str | None, int]:
    """Name of the parameter annotated with Context, and its place (-1: by keyword)."""
    try:
        hints = typing.get_type_hints(function)
    except NameError:
        hints = getattr(function, "__annotations__", {})
    for place, parameter in enumerate(inspect.signature(function).parameters.values()):
        hint = hints.get(parameter.name)
        if hint is Context or hint == "Context":
            return parameter.name, -1 if parameter.kind is parameter.KEYWORD_ONLY else place
    return None, -1
