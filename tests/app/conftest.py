"""Each test with a store of its own, on SQLite and on PostgreSQL."""

from collections.abc import Callable

import pytest

STORES: dict[str, Callable[[pytest.FixtureRequest], str]] = {
    "sqlite": lambda request: f"sqlite:///{request.getfixturevalue('sqlite_path')}",
    "postgres": lambda request: request.getfixturevalue("database"),
}


@pytest.fixture(autouse=True)
def no_store_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADRACE_STORE", raising=False)


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    """The DSN of an empty store."""
    return STORES[request.param](request)
