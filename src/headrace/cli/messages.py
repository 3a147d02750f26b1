"""`headrace types`: the tasks and messages of an application."""

import inspect
from typing import Annotated, Any

import msgspec
from cyclopts import App, Parameter

from headrace.bus.codec import TaskCodec
from headrace.bus.durations import spoken
from headrace.bus.registry import Handler, MessageType
from headrace.bus.retry import Policies, Retry
from headrace.cli import reach
from headrace.cli.asked import NOTHING, Asked
from headrace.cli.screen import Screen
from headrace.errors import NoHandler

app = App(name="types", help="List and show the tasks and messages of an app (-a, or HEADRACE_APP).")
HEADS = ("TYPE", "QUEUE", "RETRIES", "TIME LIMIT", "SIGNATURE")


@app.command(name="list")
def list_(asked: Asked = NOTHING) -> None:
    """List every type that the app's workers take."""
    screen = Screen(asked)
    types = reach.application(asked).registry.types
    if screen.json:
        screen.document([_document(kind) for kind in types])
    elif screen.quiet:
        for kind in types:
            screen.line(kind.name)
    else:
        rows = [_row(kind, handler) for kind in types for handler in kind.handlers.values()]
        screen.table(HEADS, rows, {"RETRIES", "TIME LIMIT"})
        if not types:
            screen.talk("the app has no tasks and no handlers")


@app.command
def show(type_: Annotated[str, Parameter(name="type")], /, *, asked: Asked = NOTHING) -> None:
    """Show one type: its handlers, rules and documentation."""
    screen = Screen(asked)
    kind = named(reach.application(asked), type_)
    if screen.json:
        screen.document(_document(kind))
        return
    for handler in kind.handlers.values():
        screen.fields(_fields(kind, handler))


def named(app_: Any, name: str) -> MessageType:
    """The type of this wire name, or the only one that ends so. NoHandler."""
    names = [kind.name for kind in app_.registry.types]
    ends = [known for known in names if known.endswith(f".{name}")]
    if name not in names and len(ends) > 1:
        raise NoHandler(f"{name!r} is the end of several names", why=", ".join(ends), hint="give the whole name")
    found: MessageType = app_.registry.named(ends[0] if name not in names and ends else name)
    return found


def _row(kind: MessageType, handler: Handler) -> tuple[str, ...]:
    rules = handler.rules
    limit = "" if rules.time_limit is None else spoken(rules.time_limit)
    name = kind.name if handler.name == kind.name else f"{kind.name} → {handler.name}"
    return name, rules.queue, _retries(rules.retry), limit, _signature(kind, handler)


def _fields(kind: MessageType, handler: Handler) -> list[tuple[str, str]]:
    rules = handler.rules
    return [
        ("type", kind.name),
        ("handler", handler.name if handler.name != kind.name else ""),
        ("signature", _signature(kind, handler)),
        ("runs", "on the event loop" if handler.is_async else "in a thread"),
        ("queue", f"{rules.queue}   priority {rules.priority}"),
        ("retry", "\n".join(f"{name}{': ' if name else ''}{_policy(one)}" for name, one in _policies(rules.retry))),
        ("time limit", "" if rules.time_limit is None else spoken(rules.time_limit)),
        ("tracked", "yes" if rules.track else "no: no status, progress or result"),
        ("defined", _place(handler)),
        ("says", inspect.getdoc(handler.function) or ""),
    ]


def _document(kind: MessageType) -> dict[str, Any]:
    return {
        "type": kind.name,
        "kind": "task" if isinstance(kind.codec, TaskCodec) else "message",
        "handlers": [
            {
                "name": handler.name,
                "signature": _signature(kind, handler),
                "queue": handler.rules.queue,
                "priority": handler.rules.priority,
                "retry": {name or "*": msgspec.to_builtins(policy) for name, policy in _policies(handler.rules.retry)},
                "time_limit": handler.rules.time_limit,
                "track": handler.rules.track,
                "async": handler.is_async,
            }
            for handler in kind.handlers.values()
        ],
    }


def _signature(kind: MessageType, handler: Handler) -> str:
    if isinstance(kind.codec, TaskCodec):
        return kind.codec.signature
    return f"{handler.name.rpartition('.')[2]}{handler.signature}"


def _place(handler: Handler) -> str:
    code = getattr(inspect.unwrap(handler.function), "__code__", None)
    return "" if code is None else f"{code.co_filename}:{code.co_firstlineno}"


def _policies(retry: Policies) -> list[tuple[str, Retry]]:
    if isinstance(retry, Retry):
        return [("", retry)]
    return [(kind.__name__, policy) for kind, policy in retry.items()]


def _retries(retry: Policies) -> str:
    return "/".join(str(policy.max) for _, policy in _policies(retry))


def _policy(policy: Retry) -> str:
    cap = "" if policy.cap in (0, 0.0) else f", at most {policy.cap}"
    if not policy.max:
        return "never"
    first = policy.first if isinstance(policy.first, str) else spoken(policy.first)
    return f"{policy.max} times, first after {first}, each wait {policy.factor:g} times longer{cap}"
