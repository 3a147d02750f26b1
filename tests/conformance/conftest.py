"""Every test here runs against every transport; a new transport is one line in CASES."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import asyncpg
import pytest

from headrace import failpoints
from headrace.clock import SystemClock
from tests.support.clock import StillClock
from tests.support.postgres import fresh_database
from tests.support.stores import Bench, opened

CASES: dict[str, Callable[[pytest.FixtureRequest], str]] = {
    "memory": lambda _: "memory://",
    "sqlite": lambda request: f"sqlite:///{request.getfixturevalue('sqlite_path')}",
    "postgres": lambda request: request.getfixturevalue("emptied"),
}


@pytest.fixture(scope="module")
def shared(postgres_dsn: str) -> Iterator[str]:
    """One database for a whole file: making one takes longer than most of these tests."""
    with fresh_database(postgres_dsn) as dsn:
        yield dsn


@pytest.fixture
def emptied(shared: str) -> str:
    """The shared database without anything in it."""
    asyncio.run(_empty(shared))
    return shared


async def _empty(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        tables = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'headrace_schema'"
        )
        if tables:
            await connection.execute(f"TRUNCATE {', '.join(row[0] for row in tables)} RESTART IDENTITY")
    finally:
        await connection.close()


@pytest.fixture(params=CASES)
def dsn(request: pytest.FixtureRequest) -> str:
    """An empty store of this test's own."""
    return CASES[request.param](request)


@pytest.fixture
async def bench(dsn: str) -> AsyncIterator[Bench]:
    """A store whose time stands still until the test says otherwise."""
    async with opened(dsn, StillClock()) as bench:
        yield bench


@pytest.fixture
async def live(dsn: str) -> AsyncIterator[Bench]:
    """A store in real time, for many hands at once."""
    async with opened(dsn, SystemClock()) as bench:
        yield bench


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm("")
