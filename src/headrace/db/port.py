"""The thin port over the databases: work in, rows out.

An operation is a generator that yields statements and is sent their rows. It does no I/O itself, so
the same shape runs in an SQLite thread in one go, over an asyncpg connection statement by statement,
and in a test against a list. The runner may run it again from the start when the database asks for
that (deadlock, serialisation failure, busy).
"""

from collections.abc import Callable, Generator, Sequence
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar

import msgspec

T = TypeVar("T")
Row = Sequence[Any]


class Statement(msgspec.Struct, frozen=True, gc=False):
    """SQL with $1, $2 … and its arguments. Batches are columns (PostgreSQL arrays, SQLite JSON).

    each  SQLite only: run once for the arguments of each row; answers nothing
    """

    text: str
    args: tuple[Any, ...] = ()
    each: Sequence[Row] | None = None


Steps = Generator[Statement, Sequence[Row], T]


class Work(Generic[T]):
    """One operation on the store.

    name    for failpoints and errors
    steps   makes the generator; called again for a second try
    alone   a single statement, which is its own transaction
    writes  whether it changes anything
    """

    __slots__ = ("alone", "name", "steps", "writes")

    def __init__(self, name: str, steps: Callable[[], Steps[T]], *, alone: bool = False, writes: bool = True) -> None:
        self.name = name
        self.steps = steps
        self.alone = alone
        self.writes = writes


class Conflict(Exception):
    """A row with this unique value exists; nothing was done. For callers that were optimistic."""


class Role(Enum):
    """What a session is for; it decides durability and planner settings."""

    FETCH = "fetch"  # claims; a commit that is lost only repeats work
    SETTLE = "settle"  # sends and outcomes; durable
    HEART = "heartbeat"  # extensions, reaping; as FETCH, and never behind another statement
    BROWSE = "browse"  # people's questions and actions; durable, the planner's own choices


class Session(Protocol):
    """One connection, rebuilt from scratch after any loss. Calls are run one after the other."""

    async def run(self, work: Work[T]) -> T:
        """Run in one transaction. StoreUnreachable: nothing was done. OutcomeUnknown: perhaps."""
        ...

    async def ready(self) -> None:
        """Connect, if that is still to be done. StoreUnreachable."""
        ...

    async def rest(self) -> None:
        """Let others have the connection, unless something is under way; `run` makes a new one."""
        ...

    async def listen(self, channel: str, heard: Callable[[str], None]) -> None:
        """Call `heard` for each notification, and after a loss of the connection."""
        ...

    async def aclose(self) -> None: ...


class Database(Protocol):
    """A store that has been named, not yet reached."""

    dialect: "Dialect"
    dsn: str  # without its password

    def session(self, role: Role) -> Session:
        """A session of this role; it connects when first used."""
        ...

    def apart(self) -> "Database":
        """The same store through connections that share nothing with this one's."""
        ...

    async def aclose(self) -> None: ...


class Dialect(msgspec.Struct, frozen=True):
    """The words in which two databases differ, for statements that are otherwise the same.

    now     SQL for this moment
    epoch   SQL that turns the moment {0} into unix seconds
    moment  SQL that turns the unix seconds {0} into a moment
    uuid    SQL that turns the text {0} into an id
    """

    name: str
    now: str
    epoch: str
    moment: str
    uuid: str


def statement(name: str, text: str, *args: Any, writes: bool = True) -> Work[Sequence[Row]]:
    """Work of one statement that answers with its rows."""

    def steps() -> Steps[Sequence[Row]]:
        return (yield Statement(text, args))

    return Work(name, steps, alone=True, writes=writes)
