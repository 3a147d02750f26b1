"""Resources for every test; a server that cannot be reached fails the test, it is never skipped."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import Postgres, fresh_database, reach

DEFAULT_POSTGRES = "postgresql://postgres@127.0.0.1:5432/postgres"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_dsn() -> str:
    """A running PostgreSQL; take `database` unless the server itself is meant."""
    dsn = os.environ.get("HEADRACE_TEST_POSTGRES") or DEFAULT_POSTGRES
    if why := reach(dsn):
        remedy = "`make test` starts one, or set HEADRACE_TEST_POSTGRES"
        pytest.fail(f"PostgreSQL at {dsn} cannot be used ({why}); {remedy}", pytrace=False)
    return dsn


@pytest.fixture
def database(postgres_dsn: str) -> Iterator[str]:
    """The DSN of an empty database of this test's own."""
    with fresh_database(postgres_dsn) as dsn:
        yield dsn


@pytest.fixture
def private_postgres() -> Iterator[Postgres]:
    """A running PostgreSQL of this test's own, to be stopped, paused and crashed."""
    server = Postgres.create()
    try:
        server.start()
        yield server
    finally:
        server.destroy()


@pytest.fixture
def sqlite_path(tmp_path: Path) -> Path:
    """Where a SQLite file may be made."""
    return tmp_path / "jobs.db"
