"""The application: tasks, handlers, middleware, listeners, and the store they share."""

import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar, overload

from headrace import config
from headrace.bridge import Bridge
from headrace.bus.codec import MessageCodec, ResultCodec
from headrace.bus.context import Context
from headrace.bus.dispatch import PAYLOAD_LIMIT, Dispatcher
from headrace.bus.durations import Duration, seconds
from headrace.bus.envelope import DEFAULT_PRIORITY, Duplicate, Envelope
from headrace.bus.events import Events
from headrace.bus.middleware import AroundDispatch, AroundHandler
from headrace.bus.options import NO_OPTIONS, Options, name, options, priority
from headrace.bus.registry import Registry, Rules, wire_name
from headrace.bus.retry import Policies, Retry, as_policies
from headrace.clock import Clock, SystemClock
from headrace.errors import BadOption, DuplicateJob
from headrace.job import Job
from headrace.parts import Parts
from headrace.task import Task

if TYPE_CHECKING:
    from headrace.connections import Connections, Pool

P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M")
E = TypeVar("E")
H = TypeVar("H", bound=Callable[..., Any])
A = TypeVar("A", bound=AroundDispatch)
B = TypeVar("B", bound=AroundHandler)


class _TaskDecorator:
    """What `@app.task(…)` returns; it keeps the exact signature, without the context."""

    def __init__(self, register: Callable[[Callable[..., Any]], Task[Any, Any]]) -> None:
        self._register = register

    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], Awaitable[R]]) -> Task[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], R]) -> Task[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, Awaitable[R]]) -> Task[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R]) -> Task[P, R]: ...
    def __call__(self, function: Callable[..., Any]) -> Task[Any, Any]:
        return self._register(function)


class App:
    """One application on one store. Making it opens nothing; the first send does.

    store          DSN: sqlite:///jobs.db, postgresql://user@host/database, memory://;
                   HEADRACE_STORE in the environment wins
    lifespan       async context manager around a worker's life; what it yields is `ctx.state`
    track          whether jobs keep a record, unless their task says otherwise
    retry          policy of tasks that name none
    time_limit     seconds a run may take, for tasks that name none
    payload_limit  bytes of an encoded message
    lease          seconds after which a loan that nobody renews is over
    """

    def __init__(
        self,
        store: str | None = None,
        *,
        lifespan: "Callable[[App], AbstractAsyncContextManager[Any]] | None" = None,
        queue: str = "default",
        track: bool = True,
        retry: Policies | None = None,
        time_limit: Duration | None = None,
        payload_limit: int = PAYLOAD_LIMIT,
        lease: Duration = 30.0,
        clock: Clock | None = None,
    ) -> None:
        self.registry = Registry()
        self._defaults = Rules(
            queue=name(queue, "queue"), retry=Retry() if retry is None else as_policies(retry), track=track,
            time_limit=None if time_limit is None else seconds(time_limit, "time_limit"),
        )  # fmt: skip
        self.parts = Parts(
            store=config.store(store), clock=clock or SystemClock(), registry=self.registry, events=Events(),
            around_dispatch=[], around_handler=[], payload_limit=payload_limit,
            lease=seconds(lease, "lease"), lifespan=None if lifespan is None else partial(lifespan, self),
        )  # fmt: skip
        self.dispatcher: Dispatcher = self.parts.dispatcher()
        self._pool: Pool | None = None
        self._making = threading.Lock()  # of the pool, by loops of several threads
        self.bridge = Bridge(self.aclose)

    @property
    def store(self) -> str:
        """The DSN, without its password."""
        from headrace.transports.dsn import hidden

        return hidden(self.parts.store)

    async def connections(self) -> "Connections":
        """The store as this event loop sees it, opened when first asked for."""
        from headrace.connections import Pool  # `import headrace` is light: nothing of a store before it is used

        with self._making:
            self._pool = self._pool or Pool(self.parts)
        return await self._pool.here()

    async def aclose(self) -> None:
        """Close what this event loop has opened; it also closes by itself when `asyncio.run` ends."""
        if self._pool is not None:
            await self._pool.aclose()

    def close(self) -> None:
        """Close what blocking calls have opened; it also closes by itself when the program ends."""
        self.bridge.close()

    # ── registering ──────────────────────────────────────────────────────────────────────────

    @overload
    def task(self, function: Callable[Concatenate[Context, P], Awaitable[R]], /) -> Task[P, R]: ...
    @overload
    def task(self, function: Callable[Concatenate[Context, P], R], /) -> Task[P, R]: ...
    @overload
    def task(self, function: Callable[P, Awaitable[R]], /) -> Task[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        queue: str | None = None,
        retry: Policies | None = None,
        priority: int = DEFAULT_PRIORITY,
        time_limit: Duration | None = None,
        track: bool | None = None,
    ) -> _TaskDecorator: ...
    def task(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        queue: str | None = None,
        retry: Policies | None = None,
        priority: int = DEFAULT_PRIORITY,
        time_limit: Duration | None = None,
        track: bool | None = None,
    ) -> Any:
        """Make a task of a `def` or `async def` function. BadDefinition, BadOption.

        name        wire name, else `module.function`
        retry       a Retry, or a table {ExceptionClass: Retry}
        time_limit  seconds, or "5m"
        track       whether its jobs keep a record
        """

        rules = self._rules(queue=queue, retry=retry, priority=priority, time_limit=time_limit, track=track)

        def register(function: Callable[..., Any]) -> Task[Any, Any]:
            handler, codec = self.registry.add_task(function, name or wire_name(function), rules)
            return Task(self, handler, codec)

        return _TaskDecorator(register) if function is None else register(function)

    def handler(
        self,
        message: type,
        *,
        name: str | None = None,
        type_name: str | None = None,
        queue: str | None = None,
        retry: Policies | None = None,
        priority: int = DEFAULT_PRIORITY,
        time_limit: Duration | None = None,
        track: bool | None = None,
    ) -> Callable[[H], H]:
        """Let a function handle a message class; several may, each with its own queue and retry."""
        rules = self._rules(queue=queue, retry=retry, priority=priority, time_limit=time_limit, track=track)

        def register(function: H) -> H:
            self.registry.add_handler(
                message, type_name or wire_name(message), function, name or wire_name(function), rules
            )
            return function

        return register

    def on(self, event: type[E], queue: str | None = None) -> Callable[[Callable[[E], object]], Callable[[E], object]]:
        """Listen to an event of `headrace.bus.events`, of all queues or of one."""

        def register(listener: Callable[[E], object]) -> Callable[[E], object]:
            self.parts.events.listen(event, listener, queue)
            return listener

        return register

    def around_dispatch(self, layer: A) -> A:
        """Add middleware: `async def layer(envelopes, send)`; the first added is outermost."""
        self.parts.around_dispatch.append(layer)
        return layer

    def around_handler(self, layer: B) -> B:
        """Add middleware: `async def layer(ctx, handle)`; the first added is outermost."""
        self.parts.around_handler.append(layer)
        return layer

    # ── sending ──────────────────────────────────────────────────────────────────────────────

    def dispatch(self, message: object) -> Sequence[Job[Any]]:
        """Send a message to each of its handlers; durable on return. NoHandler, WrongArguments."""
        return Dispatching(self, NO_OPTIONS).dispatch(message)

    async def adispatch(self, message: object) -> Sequence[Job[Any]]:
        """Send a message to each of its handlers; durable on return. NoHandler, WrongArguments."""
        return await Dispatching(self, NO_OPTIONS).adispatch(message)

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
    ) -> "Dispatching":
        """Dispatch with other options; they are those of `Task.using`."""
        chosen = options(
            queue=queue, delay=delay, at=at, priority_=priority, unique=unique, on_duplicate=on_duplicate,
            expires=expires, headers=headers, track=track, id_=id,
        )  # fmt: skip
        return Dispatching(self, chosen)

    def job(self, id: str) -> Job[Any]:
        """The handle of a job by its id."""
        return Job(self, id)

    async def send(
        self, envelopes: Sequence[Envelope], chosen: Options, result: ResultCodec | None = None
    ) -> Sequence[Job[Any]]:
        """Send envelopes that are ready, and answer their handles."""
        answers = await self.dispatcher.send((await self.connections()).transport, envelopes)
        jobs: list[Job[Any]] = []
        for envelope, answer in zip(envelopes, answers, strict=True):
            if isinstance(answer, Duplicate):
                if chosen.on_duplicate == "raise":
                    raise DuplicateJob(f"{envelope.type}: the key {chosen.unique!r} is held by job {answer.of}")
                jobs.append(Job(self, answer.of, tracked=envelope.tracked, duplicate=True, result=result))
            else:
                jobs.append(Job(self, answer.id, tracked=envelope.tracked, result=result))
        return jobs

    def _rules(
        self,
        *,
        queue: str | None = None,
        retry: Policies | None = None,
        priority: int = DEFAULT_PRIORITY,
        time_limit: Duration | None = None,
        track: bool | None = None,
    ) -> Rules:
        defaults = self._defaults
        return Rules(
            queue=defaults.queue if queue is None else name(queue, "queue"),
            retry=defaults.retry if retry is None else as_policies(retry),
            priority=_priority(priority),
            time_limit=defaults.time_limit if time_limit is None else seconds(time_limit, "time_limit"),
            track=defaults.track if track is None else track,
        )


class Dispatching:
    """Sends messages with the options of one `app.using(…)`."""

    __slots__ = ("_app", "_options")

    def __init__(self, app: App, chosen: Options) -> None:
        self._app = app
        self._options = chosen

    def dispatch(self, message: object) -> Sequence[Job[Any]]:
        """Send a message to each of its handlers; durable on return."""
        envelopes = self._envelopes(message)
        return self._app.bridge.call(lambda: self._app.send(envelopes, self._options), "app.adispatch(…)")

    async def adispatch(self, message: object) -> Sequence[Job[Any]]:
        """Send a message to each of its handlers; durable on return."""
        return await self._app.send(self._envelopes(message), self._options)

    def _envelopes(self, message: object) -> list[Envelope]:
        if isinstance(message, type):
            raise BadOption(
                f"{message.__name__} is a class, not a message", hint=f"dispatch an instance: {message.__name__}(…)"
            )
        kind = self._app.registry.of_class(type(message))
        assert isinstance(kind.codec, MessageCodec)
        return self._app.dispatcher.fan_out(kind, kind.codec.encode(message), self._options)


_priority = priority
