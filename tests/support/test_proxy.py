"""The fault proxy does what its modes say, in front of a real server."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import TypeAlias
from urllib.parse import urlsplit

import asyncpg
import pytest
from anyio import to_thread

from tests.support.proxy import BlackHole, Cut, Delay, Messages, Pass, Proxy, Reset

GONE = (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError)
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest.fixture
def proxy(database: str) -> Iterator[Proxy]:
    with Proxy(urlsplit(database).port or 5432) as proxy:
        yield proxy


@pytest.fixture
def behind(proxy: Proxy, database: str) -> str:
    """The database's DSN through the proxy."""
    parts = urlsplit(database)
    return parts._replace(netloc=f"postgres@127.0.0.1:{proxy.port}").geturl()


@pytest.fixture
async def connection(behind: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(behind)
    yield connection
    connection.terminate()


async def test_everything_passes_at_first(proxy: Proxy, connection: Connection) -> None:
    assert await connection.fetchval("SELECT repeat('x', 1000000)") == "x" * 1_000_000
    assert proxy.links == 1


async def test_delay_holds_back_both_directions(proxy: Proxy, connection: Connection) -> None:
    clock = asyncio.get_running_loop()
    proxy.set(Delay(0.1))
    begun = clock.time()
    await connection.execute("SELECT 1")
    assert clock.time() - begun >= 0.2


async def test_black_hole_hangs_and_delivers_once_lifted(proxy: Proxy, connection: Connection) -> None:
    proxy.set(BlackHole())
    asked = asyncio.create_task(connection.fetchval("SELECT 7"))
    done, _ = await asyncio.wait([asked], timeout=0.2)
    assert not done
    proxy.set(Pass())
    assert await asked == 7


async def test_reset_breaks_what_is_open_and_what_comes(proxy: Proxy, connection: Connection, behind: str) -> None:
    proxy.set(Reset())
    with pytest.raises(GONE):
        await connection.fetchval("SELECT 1")
    with pytest.raises(GONE):
        await asyncpg.connect(behind)
    proxy.set(Pass())
    await (await asyncpg.connect(behind)).close()


async def test_a_mode_can_be_for_one_kind_of_connection(proxy: Proxy, connection: Connection, behind: str) -> None:
    listener: Connection = await asyncpg.connect(behind)
    await listener.execute("LISTEN news")
    proxy.set(Reset(), where=b"LISTEN news")
    with pytest.raises(GONE):
        await listener.execute("SELECT 1")
    assert await connection.fetchval("SELECT 1") == 1


async def test_a_mode_can_be_for_the_connections_that_are_open(
    proxy: Proxy, connection: Connection, behind: str
) -> None:
    proxy.set(BlackHole(), present=True)
    later: Connection = await asyncpg.connect(behind)
    assert await later.fetchval("SELECT 1") == 1
    asked = asyncio.create_task(connection.fetchval("SELECT 7"))
    done, _ = await asyncio.wait([asked], timeout=0.2)
    assert not done
    await later.close()
    proxy.set(Pass())
    assert await asked == 7


async def test_cut_before_a_request_means_it_never_happened(
    proxy: Proxy, connection: Connection, database: str
) -> None:
    await connection.execute("CREATE TABLE t (n int)")
    proxy.set(Cut(request=b"INSERT"))
    with pytest.raises(GONE):
        await connection.execute("INSERT INTO t VALUES (1)")
    assert await rows(database) == 0


async def test_cut_of_the_reply_means_it_happened_and_nobody_knows(
    proxy: Proxy, connection: Connection, database: str
) -> None:
    await connection.execute("CREATE TABLE t (n int)")
    proxy.set(Cut(reply_to=b"COMMIT"))
    with pytest.raises(GONE):
        async with connection.transaction():
            await connection.execute("INSERT INTO t VALUES (1)")
    assert await to_thread.run_sync(proxy.fired.wait, 5)
    assert await rows(database) == 1


@pytest.mark.parametrize("cut", [Cut(messages=2), Cut(size=20)])
async def test_cut_counts_what_the_server_says_then_behaves(
    proxy: Proxy, connection: Connection, behind: str, cut: Cut
) -> None:
    proxy.set(cut)
    answered = 0
    with pytest.raises(GONE):
        while answered < 10:
            answered += bool(await connection.execute("SELECT 1"))
    assert answered == 0
    assert await to_thread.run_sync(proxy.fired.wait, 5)
    await (await asyncpg.connect(behind)).close()


def test_message_ends_are_found_whatever_the_chunks() -> None:
    stream = b"N" + b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05I"
    for size in range(1, len(stream) + 1):
        messages, ends = Messages(), []
        for at in range(0, len(stream), size):
            ends += [at + end for end in messages.feed(stream[at : at + size])]
        assert ends == [1, 10, 16]


async def rows(database: str) -> int:
    """Counted past the proxy."""
    connection = await asyncpg.connect(database)
    try:
        count: int = await connection.fetchval("SELECT count(*) FROM t")
        return count
    finally:
        await connection.close()
