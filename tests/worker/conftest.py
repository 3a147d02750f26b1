"""A yard for each test: an application on memory://, its time standing still."""

from collections.abc import AsyncIterator

import pytest

from tests.support.work import Yard


@pytest.fixture(autouse=True)
def no_store_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADRACE_STORE", raising=False)


@pytest.fixture
async def yard() -> AsyncIterator[Yard]:
    yard = Yard()
    yield yard
    await yard.app.aclose()
