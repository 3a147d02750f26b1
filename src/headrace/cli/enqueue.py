"""`headrace enqueue`: from words typed in a shell to messages in a queue."""

import sys
import typing
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from headrace.bus.codec import TaskCodec, encode, from_text
from headrace.bus.options import options
from headrace.bus.registry import MessageType
from headrace.cli import reach
from headrace.cli.asked import NOTHING, Asked, Flag, duration
from headrace.cli.messages import named
from headrace.cli.screen import Screen
from headrace.errors import BadOption, DecodeError, WrongArguments
from headrace.job import Job


def enqueue(  # noqa: PLR0913  # each is an option
    type_: Annotated[str, Parameter(name="type")],
    /,
    *arguments: Annotated[str, Parameter(show=True)],
    file: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    delay: str | None = None,
    at: str | None = None,
    queue: str | None = None,
    priority: int | None = None,
    unique: str | None = None,
    expires: str | None = None,
    wait: Flag = False,
    timeout: str | None = None,
    repeat: int = 1,
    asked: Asked = NOTHING,
) -> int:
    """Queue one call of a task, or one message; prints its id.

    Values are read as the types that the task or message has:
    times=2, when=2026-01-31T08:00Z, tags='["a", "b"]'.

    Parameters
    ----------
    type_
        Wire name of a task or message; its end is enough if no other has it.
    arguments
        key=value for each argument.
    file
        JSON with an object of arguments, or a list of them, one job each; - is stdin.
    delay
        Not before so long: 10m.
    at
        Not before this moment: 2026-01-31T08:00+01:00.
    queue
        Another queue than the task's.
    priority
        0 to 9, larger first.
    unique
        A key that one waiting or running job of this type may hold.
    expires
        Not to be started after so long: 1h.
    wait
        Wait for the end and print the result; --wait=30s at most so long.
    timeout
        How long to wait; the same as --wait=TIME.
    repeat
        Queue it so many times.
    """
    app = reach.application(asked)
    kind = named(app, type_)
    bodies = [_body(kind, given) for given in _given(arguments, file)]
    moment = None if at is None else _moment(at)
    chosen = options(delay=delay, at=moment, queue=queue, priority_=priority, unique=unique, expires=expires)
    if repeat < 1:
        raise BadOption(f"--repeat={repeat} is out of range", hint="give 1 or more")
    envelopes = [made for body in bodies * repeat for made in app.dispatcher.fan_out(kind, body, chosen)]
    patience = None if timeout is None else duration(timeout, "--timeout")

    async def send() -> list[tuple[Job[Any], Any]]:
        jobs = await app.send(envelopes, chosen)
        return [(job, await job.aresult(patience) if wait else None) for job in jobs]

    _tell(Screen(asked), reach.with_app(app, send), waited=wait)
    return 0


def _tell(screen: Screen, sent: Sequence[tuple[Job[Any], Any]], *, waited: bool) -> None:
    if screen.json:
        made = [{"id": job.id, "duplicate": job.duplicate, "result": value} for job, value in sent]
        for one in made if not waited else ():
            del one["result"]
        screen.document(made[0] if len(made) == 1 else made)
        return
    for job, value in sent:
        if not waited:
            screen.line(job.id)
            if job.duplicate:
                screen.talk(f"{job.id} was queued before: it holds the unique key")
        elif value is not None:
            screen.line(value if isinstance(value, str) else encode(value).decode())


def _given(arguments: Sequence[str], file: str | None) -> list[dict[str, str]]:
    """The arguments of each job, as text; the shell wins over the file."""
    typed: dict[str, str] = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals or not name.isidentifier():
            raise BadOption(f"{argument!r} is not key=value", hint="for example: enqueue greet name=Ada times=2")
        typed[name] = value
    if file is None:
        return [typed]
    found = _read(file)
    several = found if isinstance(found, list) else [found]
    if not all(isinstance(one, dict) for one in several):
        raise BadOption(f"--file={file} is no object and no list of objects", hint='for example {"name": "Ada"}')
    return [{**{key: _text(value) for key, value in one.items()}, **typed} for one in several]


def _read(file: str) -> Any:
    try:
        return msgspec.json.decode(sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes())
    except OSError as error:
        raise BadOption(f"--file={file} cannot be read", why=str(error)) from error
    except (msgspec.DecodeError, UnicodeError) as error:
        raise BadOption(f"--file={file} is not JSON", why=str(error)) from error


def _body(kind: MessageType, given: Mapping[str, str]) -> bytes:
    """The encoded message. WrongArguments names what does not fit."""
    source: Any = kind.python or next(iter(kind.handlers.values())).function
    kinds = typing.get_type_hints(source, include_extras=True)
    values = {name: _value(kind.name, name, value, kinds.get(name, Any)) for name, value in given.items()}
    if isinstance(kind.codec, TaskCodec):
        return kind.codec.encode((), values)
    try:
        return kind.codec.encode(kind.codec.decode(encode(values)))
    except DecodeError as error:
        hint = "The message was not queued."
        raise WrongArguments(f"{kind.name}: wrong fields", why=error.what, hint=hint) from error


def _value(type_name: str, name: str, text: str, kind: Any) -> Any:
    try:
        return from_text(text, kind)
    except ValueError as error:
        why = f"{name}: {error}; it was {text!r:.80}"
        raise WrongArguments(f"{type_name}: wrong arguments", why=why, hint="The job was not queued.") from error


def _text(value: object) -> str:
    """As it would be typed in a shell: text as it is, the rest as JSON."""
    return value if isinstance(value, str) else encode(value).decode()


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        hint = "for example 2026-01-31T08:00+01:00 or 2026-01-31T08:00Z"
        raise BadOption(f"--at={text} is not a moment", hint=hint) from error
