"""PostgreSQL through asyncpg. The only file that imports it."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import asyncpg

from headrace import chance
from headrace.clock import Clock
from headrace.db.port import Conflict, Dialect, Role, Statement, Work
from headrace.errors import BadDsn, OutcomeUnknown, SchemaMissing, StoreFault, StoreReadOnly, StoreUnreachable
from headrace.failpoints import armed, failpoint

T = TypeVar("T")

DIALECT = Dialect(
    name="postgres",
    now="now()",
    epoch="date_part('epoch', {0})",
    moment="to_timestamp({0})",
    uuid="({0})::uuid",
)
CONNECT_TIMEOUT = 5.0
COMMAND_TIMEOUT = 5.0  # with the poll it bounds how long a half-open connection goes unnoticed
TRIES = 8  # of work that the server asks to run again

# Plans must not depend on the statistics of a table that is empty now and has a million rows in a
# minute: every hot statement has one index order that is right at any size.
_HOT = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_sort": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_material": "off",
    "jit": "off",
}
SETTINGS: dict[Role, dict[str, str]] = {
    Role.FETCH: {**_HOT, "synchronous_commit": "off"},
    Role.SETTLE: {**_HOT, "synchronous_commit": "on"},
    Role.HEART: {**_HOT, "synchronous_commit": "off"},
    Role.BROWSE: {"synchronous_commit": "on", "jit": "off"},
}

_LOST = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)
_AGAIN = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError, asyncpg.LockNotAvailableError)


class PostgresDatabase:
    """A PostgreSQL database, and how to log in."""

    dialect = DIALECT

    def __init__(self, url: str, shown: str, clock: Clock, schema: str | None = None) -> None:
        self.dsn = shown
        self._url = url
        self._clock = clock
        self._schema = schema
        self._sessions: list[PostgresSession] = []

    def session(self, role: Role) -> "PostgresSession":
        session = PostgresSession(self._url, self.dsn, role, self._clock, self._schema)
        self._sessions.append(session)
        return session

    def apart(self) -> "PostgresDatabase":
        return PostgresDatabase(self._url, self.dsn, self._clock, self._schema)

    async def aclose(self) -> None:
        for session in self._sessions:
            await session.aclose()


class PostgresSession:
    """One connection; at most one statement under way."""

    def __init__(self, url: str, shown: str, role: Role, clock: Clock, schema: str | None) -> None:
        self._url = url
        self._shown = shown
        self._role = role
        self._clock = clock
        self._schema = schema
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._lock = asyncio.Lock()
        self._heard: dict[str, Callable[[str], None]] = {}

    async def run(self, work: Work[T]) -> T:
        async with self._lock:
            for attempt in range(TRIES):
                connection = await self._connected()
                try:
                    return await self._once(connection, work)
                except _AGAIN as error:
                    if attempt == TRIES - 1:
                        raise StoreFault(
                            f"{work.name}: the server asked {TRIES} times to try again", why=str(error)
                        ) from error
                    await self._clock.sleep(chance.roll() * 0.01 * 2**attempt)
                except asyncio.CancelledError:
                    self._drop()
                    raise
                except (*_LOST, asyncpg.PostgresError) as error:
                    raise self._translated(error, work.name) from error
            raise AssertionError("unreachable")

    async def ready(self) -> None:
        if self._connection is None or self._connection.is_closed():
            async with self._lock:
                await self._connected()

    async def rest(self) -> None:
        if not self._lock.locked():
            await self.aclose()

    async def listen(self, channel: str, heard: Callable[[str], None]) -> None:
        async with self._lock:
            self._heard[channel] = heard
            if self._connection is None or self._connection.is_closed():
                await self._connected()
                return
            try:
                await self._listen_on(self._connection, channel)
            except (*_LOST, asyncpg.PostgresError) as error:
                raise self._translated(error, "listen") from error

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            try:
                await connection.close(timeout=2)
            except _LOST:
                connection.terminate()

    async def _once(self, connection: "asyncpg.Connection[asyncpg.Record]", work: Work[T]) -> T:
        if work.alone and not armed():
            return await _drive(connection, work)
        failpoint(f"{work.name}.before")
        async with connection.transaction():
            result = await _drive(connection, work)
            failpoint(f"{work.name}.before_commit")
        failpoint(f"{work.name}.after_commit")
        return result

    async def _connected(self) -> "asyncpg.Connection[asyncpg.Record]":
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        settings = {"application_name": f"headrace {self._role.value}", **SETTINGS[self._role]}
        if self._schema:
            settings["search_path"] = self._schema
        try:
            self._connection = await asyncpg.connect(
                self._url, timeout=CONNECT_TIMEOUT, command_timeout=COMMAND_TIMEOUT, server_settings=settings
            )
            for channel in self._heard:
                await self._listen_on(self._connection, channel)
        except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
            raise StoreUnreachable(
                f"{self._shown} refuses the login",
                why=str(error),
                hint="check user, password and database name of the DSN",
            ) from error
        except (ValueError, asyncpg.ClientConfigurationError) as error:
            raise BadDsn(f"{self._shown} is not a PostgreSQL DSN", why=str(error)) from error
        except (*_LOST, asyncpg.PostgresError) as error:
            self._drop()
            raise StoreUnreachable(
                f"{self._shown} cannot be reached",
                why=_text(error),
                hint="is the server running, and the address right?",
            ) from error
        for heard in self._heard.values():
            heard("")
        return self._connection

    async def _listen_on(self, connection: "asyncpg.Connection[asyncpg.Record]", channel: str) -> None:
        heard = self._heard[channel]
        await connection.add_listener(channel, lambda _connection, _pid, _channel, payload: heard(str(payload)))

    def _translated(self, error: Exception, name: str) -> Exception:
        """What the caller should know; the connection is given up where it cannot be trusted any more."""
        match error:
            case asyncpg.UniqueViolationError():
                return Conflict(str(error))
            case asyncpg.UndefinedTableError():
                return SchemaMissing(f"{error.args[0]} in {self._shown}", hint="run: headrace db upgrade")
            case asyncpg.InterfaceError() if isinstance(error, ValueError):
                return StoreFault(
                    f"{name}: a value does not fit", why=_text(error)
                )  # asyncpg's own check: nothing was sent
        if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
            self._drop()
            return StoreReadOnly(f"{self._shown} is read-only", why=str(error), hint="connect to the primary")
        if isinstance(error, _LOST):
            self._drop()
            return OutcomeUnknown(f"{name}: the connection to {self._shown} broke", why=_text(error))
        return StoreFault(f"{name} failed on {self._shown}", why=_text(error))

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


async def _drive(connection: "asyncpg.Connection[asyncpg.Record]", work: Work[T]) -> T:
    steps = work.steps()
    rows: Any = None
    count = 0
    try:
        while True:
            asked: Statement = steps.send(rows)
            if count:
                failpoint(f"{work.name}.mid")
            count += 1
            rows = await connection.fetch(asked.text, *asked.args)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        steps.close()


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
