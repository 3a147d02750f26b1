"""Every test of the ledger runs on each store."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.ledgers import House, a_house


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def dsn(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    match request.param:
        case "memory":
            return "memory://"
        case "sqlite":
            return f"sqlite:///{tmp_path / 'jobs.db'}"
        case _:
            return str(request.getfixturevalue("database"))


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with a_house(dsn) as house:
        yield house
