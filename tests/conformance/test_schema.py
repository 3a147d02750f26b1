"""Tables are made where there are none, and never altered without being asked."""

import asyncio

import pytest

from headrace.clock import SystemClock
from headrace.db.migrate import Schema, latest
from headrace.errors import SchemaMissing, SchemaNewer, SchemaOlder
from headrace.transports.dsn import open_store
from tests.support.stores import Bench, opened, soon


@pytest.fixture
def fresh(dsn: str, request: pytest.FixtureRequest) -> str:
    """A store without any table."""
    return str(request.getfixturevalue("database")) if dsn.startswith("postgres") else dsn


async def test_ten_workers_that_start_at_once_make_one_set_of_tables(fresh: str) -> None:
    stores = [open_store(fresh, SystemClock()) for _ in range(10)]

    async with asyncio.TaskGroup() as tasks:
        for store in stores:
            tasks.create_task(soon(Schema(store.database, store.table).ensure()))

    versions = [await Schema(store.database, store.table).version() for store in stores]
    assert versions == [latest(stores[0].database.dialect.name)] * 10
    for store in stores:
        await store.database.aclose()


async def test_upgrade_is_planned_taken_once_and_then_done(fresh: str) -> None:
    store = open_store(fresh, SystemClock())
    schema = Schema(store.database, store.table)

    planned = await schema.plan()
    assert await schema.version() == 0
    assert await schema.upgrade() == planned
    assert await schema.upgrade() == []
    assert await schema.plan() == []
    assert await schema.version() == planned[-1].version
    await store.database.aclose()


async def test_table_may_have_another_name(fresh: str) -> None:
    separator = "&" if "?" in fresh else "?"
    async with opened(f"{fresh}{separator}table=orders", SystemClock()) as bench:
        sent = await bench.send(unique="k")

        delivery = await bench.one()

        assert delivery.id == sent
        assert await bench.value("SELECT count(*) FROM orders") == 1


@pytest.mark.parametrize(("change", "error"), [(+1, SchemaNewer), (-1, SchemaOlder)])
async def test_tables_of_another_release_are_refused(bench: Bench, change: int, error: type[Exception]) -> None:
    there = latest(bench.store.database.dialect.name)
    schema = Schema(bench.store.database)
    try:
        await bench.run("UPDATE headrace_schema SET version = $1", there + change)
        if there + change == 0:
            await bench.run(
                "INSERT INTO headrace_schema SELECT version - 1, name, checksum, applied_at FROM headrace_schema"
            )
            await bench.run("DELETE FROM headrace_schema WHERE version = 0")

        with pytest.raises(error, match="of schema"):
            await soon(schema.ensure())
    finally:
        await bench.run("UPDATE headrace_schema SET version = $1", there)


async def test_missing_table_is_told(bench: Bench) -> None:
    with pytest.raises(SchemaMissing, match="no table elsewhere"):
        await soon(Schema(bench.store.database, "elsewhere").ensure())


async def test_table_that_went_away_is_told(bench: Bench) -> None:
    await bench.run("ALTER TABLE headrace_dead RENAME TO headrace_dead_away")
    try:
        with pytest.raises(SchemaMissing, match="headrace_dead"):
            await soon(bench.transport().counts())
    finally:
        await bench.run("ALTER TABLE headrace_dead_away RENAME TO headrace_dead")
