"""What the fault tests share: stores, a server, the size of a run, and the record of what came of it."""

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from headrace import failpoints
from tests.support.chaos.checker import Facts, Verdict, check
from tests.support.chaos.records import Death
from tests.support.chaos.world import LEASE, World
from tests.support.postgres import Postgres, fresh_database
from tests.support.supervising import ROOT

Figure = Callable[[int, int], int]
Judge = Callable[..., Awaitable[Verdict]]
Judged = Callable[..., Awaitable[Verdict]]
Record = Callable[..., None]
RECORD = Path(ROOT, ".cache", "faults.jsonl")


@pytest.fixture(params=[pytest.param(False, id="small"), pytest.param(True, id="soak", marks=pytest.mark.soak)])
def soak(request: pytest.FixtureRequest) -> bool:
    """Whether the figures are those of the catalogue. A test that takes this, or `many`, comes in both sizes."""
    return bool(request.param)


@pytest.fixture
def many(soak: bool) -> Figure:
    """many(a few, the catalogue's figure)."""
    return lambda few, full: full if soak else few


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    """A PostgreSQL of the fault tests' own, with room for many connections; not to be crashed."""
    server = Postgres.create(max_connections=400)
    try:
        server.start()
        yield server
    finally:
        server.destroy()


@pytest.fixture
def postgres_store(server: Postgres) -> Iterator[str]:
    """An empty database."""
    with fresh_database(server.dsn) as dsn:
        yield dsn


@pytest.fixture(params=["sqlite", "postgres"])
def kind(request: pytest.FixtureRequest) -> str:
    """Both kinds of store."""
    return str(request.param)


@pytest.fixture
def store(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store."""
    if kind == "sqlite":
        return f"sqlite:///{tmp_path}/jobs.db"
    dsn: str = request.getfixturevalue("postgres_store")
    return dsn


@pytest.fixture
def lease() -> float:
    """Seconds; a test may ask for another one."""
    return LEASE


@pytest.fixture
async def world(store: str, tmp_path: Path, lease: float) -> AsyncIterator[World]:
    """A store under test."""
    world = World(store, tmp_path, lease)
    yield world
    await world.aclose()


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    """Failpoints that a test arms in its own process end with it."""
    yield
    failpoints.arm("")


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """Writes figures of this test to .cache/faults.jsonl."""

    def write(**figures: object) -> None:
        RECORD.parent.mkdir(exist_ok=True)
        line = {"test": request.node.name, "file": request.node.path.name, **figures}
        print(line)
        with RECORD.open("a") as file:
            file.write(f"{json.dumps(line)}\n")

    return write


@pytest.fixture
def judged(record: Record) -> Judged:
    """Asks the checker about everything that has happened in a world; it must find nothing."""

    async def verdict(
        world: World,
        deaths: Sequence[Death] = (),
        store_crashes: Sequence[float] = (),
        most_attempts: int = 8,
        **figures: object,
    ) -> Verdict:
        facts = Facts(world.sends(), world.runs(), deaths, await world.snapshot(), store_crashes, most_attempts)
        found = check(facts)
        record(**found.figures(), **figures)
        assert found.problems == [], "\n".join([os.linesep, *found.problems[:20]])
        return found

    return verdict


@pytest.fixture
def judge(world: World, judged: Judged) -> Judge:
    """About the world of this test."""
    return partial(judged, world)
