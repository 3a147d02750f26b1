"""A task: a function whose call is a message."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar

from headrace.bus.codec import ResultCodec, TaskCodec
from headrace.bus.durations import Duration
from headrace.bus.envelope import Envelope
from headrace.bus.options import NO_OPTIONS, Options, options
from headrace.bus.registry import Handler
from headrace.errors import UsageError, WrongArguments
from headrace.job import Job

if TYPE_CHECKING:
    from headrace.app import App

P = ParamSpec("P")
R = TypeVar("R")


class Call(Generic[P, R]):
    """One call for `enqueue_many`, with exactly the function's signature."""

    __slots__ = ("args", "kwargs")

    def __init__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        self.args: tuple[Any, ...] = args
        self.kwargs: dict[str, Any] = kwargs


Calls = Iterable[Call[P, R] | tuple[Any, ...]]


class Sender(Generic[P, R]):
    """Queues calls of one task, with the options of one `using(…)`."""

    __slots__ = ("_app", "_codec", "_handler", "_options", "_result")

    def __init__(
        self, app: "App", handler: Handler, codec: TaskCodec, result: ResultCodec, chosen: Options = NO_OPTIONS
    ) -> None:
        self._app = app
        self._handler = handler
        self._codec = codec
        self._result = result
        self._options = chosen

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Queue one call; it is durable on return. WrongArguments, Unencodable, PayloadTooLarge."""
        envelope = self._envelope(args, kwargs)
        return self._app.bridge.call(lambda: self._send_one(envelope), f"{self._handler.name}.aenqueue(…)")

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Queue one call; it is durable on return. WrongArguments, Unencodable, PayloadTooLarge."""
        return await self._send_one(self._envelope(args, kwargs))

    def enqueue_many(self, calls: Calls[P, R]) -> Sequence[Job[R]]:
        """Queue many calls in one commit, all or none: tuples of arguments, or `task.call(…)`."""
        envelopes = self._envelopes(calls)
        return self._app.bridge.call(lambda: self._send(envelopes), f"{self._handler.name}.aenqueue_many(…)")

    async def aenqueue_many(self, calls: Calls[P, R]) -> Sequence[Job[R]]:
        """Queue many calls in one commit, all or none: tuples of arguments, or `task.call(…)`."""
        return await self._send(self._envelopes(calls))

    def call(self, *args: P.args, **kwargs: P.kwargs) -> Call[P, R]:
        """A call for `enqueue_many`, checked by type checkers."""
        return Call(*args, **kwargs)

    def _envelope(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Envelope:
        return self._app.dispatcher.envelope(self._handler, self._codec.encode(args, kwargs), self._options)

    def _envelopes(self, calls: Calls[P, R]) -> list[Envelope]:
        made: list[Envelope] = []
        for place, call in enumerate(calls):
            args, kwargs = (call.args, call.kwargs) if isinstance(call, Call) else (call, {})
            if not isinstance(args, tuple):
                raise WrongArguments(
                    f"call {place} is {args!r}, not a tuple of arguments",
                    hint='write [("Ada",), ("Bob", 3)]; nothing was queued',
                )
            try:
                made.append(self._envelope(args, kwargs))
            except UsageError as error:
                error.where = f"call {place} of enqueue_many; nothing was queued"
                raise
        return made

    async def _send_one(self, envelope: Envelope) -> Job[R]:
        return (await self._send([envelope]))[0]

    async def _send(self, envelopes: Sequence[Envelope]) -> Sequence[Job[R]]:
        return await self._app.send(envelopes, self._options, self._result)


class Task(Sender[P, R]):
    """A registered function. Call it as before; `enqueue` queues the call instead."""

    __slots__ = ("__wrapped__", "function")

    def __init__(self, app: "App", handler: Handler, codec: TaskCodec) -> None:
        super().__init__(app, handler, codec, ResultCodec.of(handler.function))
        self.function: Callable[..., Any] = handler.function
        self.__wrapped__ = handler.function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function here and now, as if it were not a task."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<task {self.name}>"

    @property
    def name(self) -> str:
        """Its wire name."""
        return self._handler.name

    def using(
        self,
        *,
        queue: str | None = None,
        delay: Duration | None = None,
        at: datetime | None = None,
        priority: int | None = None,
        unique: str | None = None,
        on_duplicate: Literal["return", "raise"] = "return",
        expires: Duration | datetime | None = None,
        headers: Mapping[str, str] | None = None,
        track: bool | None = None,
        id: str | None = None,  # the word of the record
    ) -> Sender[P, R]:
        """The same task with other options. BadOption, NaiveDatetime.

        delay     seconds, a timedelta or "10m"; `at` is an aware datetime instead
        priority  0 to 9, larger first
        unique    a key that one waiting or running call of this task may hold
        expires   a moment, or a delay, after which it must not start
        id        the id of an earlier try whose outcome is unknown: it is stored once
        """
        chosen = options(
            queue=queue, delay=delay, at=at, priority_=priority, unique=unique, on_duplicate=on_duplicate,
            expires=expires, headers=headers, track=track, id_=id,
        )  # fmt: skip
        return Sender(self._app, self._handler, self._codec, self._result, chosen)
