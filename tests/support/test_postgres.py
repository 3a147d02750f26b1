"""The servers that tests take are what they claim to be."""

import asyncio
from urllib.parse import urlsplit

import asyncpg
import pytest
from anyio import to_thread

from tests.support.postgres import Postgres, fresh_database, reach


async def ask(dsn: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def test_database_is_new_and_gone_afterwards(postgres_dsn: str) -> None:
    exists = "SELECT count(*) FROM pg_database WHERE datname = '{}'"
    with fresh_database(postgres_dsn) as dsn:
        name = urlsplit(dsn).path[1:]
        assert asyncio.run(ask(dsn, "SELECT current_database()")) == name
        assert asyncio.run(ask(postgres_dsn, exists.format(name))) == 1
    assert asyncio.run(ask(postgres_dsn, exists.format(name))) == 0


@pytest.mark.slow
async def test_private_server_keeps_what_was_committed_before_a_crash(
    private_postgres: Postgres,
) -> None:
    server = private_postgres
    await ask(server.dsn, "CREATE TABLE t AS SELECT 1 AS n")
    assert await ask(server.dsn, "SHOW fsync") == "on"
    await to_thread.run_sync(server.crash)
    with pytest.raises(ConnectionRefusedError):
        await ask(server.dsn, "SELECT 1")
    await to_thread.run_sync(server.start)
    assert await ask(server.dsn, "SELECT count(*) FROM t") == 1
    assert "was not properly shut down" in server.log()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["smart", "fast", "immediate"])
async def test_private_server_restarts_on_its_address(private_postgres: Postgres, mode: str) -> None:
    before = private_postgres.dsn
    await to_thread.run_sync(private_postgres.restart, mode)
    assert private_postgres.dsn == before
    assert await ask(before, "SELECT 1") == 1


@pytest.mark.slow
async def test_paused_server_hangs_and_goes_on(private_postgres: Postgres) -> None:
    connection = await asyncpg.connect(private_postgres.dsn)
    private_postgres.pause()
    asked = asyncio.create_task(connection.fetchval("SELECT 1"))
    done, _ = await asyncio.wait([asked], timeout=0.2)
    assert not done
    private_postgres.resume()
    assert await asked == 1
    await connection.close()


def test_an_unreachable_server_says_why() -> None:
    assert "ConnectionRefusedError" in (reach("postgresql://postgres@127.0.0.1:1/postgres") or "")
