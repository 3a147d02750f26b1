"""A1 to A4: a producer dies, or hears nothing, at each point of a send."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from headrace import failpoints
from headrace.errors import OutcomeUnknown, StoreFault
from tests.faults.conftest import Figure, Judge
from tests.support.chaos.app import Chaos
from tests.support.chaos.fleet import a_fleet
from tests.support.chaos.world import World
from tests.support.proxy import Cut, Pass, Proxy

pytestmark = pytest.mark.slow

ROUNDS = (5, 200)


@pytest.mark.parametrize(("point", "stored"), [("before", 0), ("before_commit", 0), ("after_commit", 1)])
async def test_a1_a2_killed_in_a_send_it_is_stored_wholly_or_not_at_all(
    world: World, many: Figure, judge: Judge, point: str, stored: int
) -> None:
    """Producers die at their second send; their successors send the same id again, and hear whether it was there."""
    rounds = many(*ROUNDS)
    ids = [world.id() for _ in range(2 * rounds + 3)]
    plan = world.plan(f"send.{point}=kill@2", rounds, ids)
    async with a_fleet(world, plan, 1, role="producer") as fleet:
        await fleet.over(60.0 + rounds)

    assert sum("signal 9" in death.cause for death in fleet.deaths) == rounds
    verdict = await judge(fleet.deaths, kills=rounds, duplicates=len(world.sends().duplicate))
    assert verdict.accepted == len(ids)
    assert (await world.snapshot()).messages.keys() == set(ids), "one row for each id"
    assert len(world.sends().duplicate) == stored * rounds, "what a dead producer had stored"


@pytest.fixture
async def silent(world: World) -> AsyncIterator["Silent"]:
    """A producer whose store can be made not to answer."""
    if world.sqlite:
        yield Silent(world, None)
        return
    with Proxy(urlsplit(world.store).port or 0) as proxy:
        parts = urlsplit(world.store)
        behind = parts._replace(netloc=f"postgres@127.0.0.1:{proxy.port}").geturl()
        producer = Silent(world, proxy, behind)
        yield producer
        await producer.chaos.app.aclose()


class Silent:
    """Sends under an id, and loses the answer if told to: in the network, or on SQLite right after the commit."""

    def __init__(self, world: World, proxy: Proxy | None, behind: str = "") -> None:
        self.chaos = Chaos(behind, world.folder, world.lease) if proxy else world.chaos
        self._proxy = proxy

    async def send(self, id: str, name: str, *, answered: bool) -> None:
        if not answered and self._proxy:
            self._proxy.set(Cut(reply_to=name.encode()))
        elif not answered:
            failpoints.arm("send.after_commit=raise@1")
        await self.chaos.send(id, self.chaos.gate, name)
        if self._proxy:
            assert answered or self._proxy.fired.is_set()
            self._proxy.set(Pass())
        failpoints.arm("")


async def test_a3_what_was_done_and_not_answered_is_unknown_and_sending_it_again_stores_nothing(
    world: World, silent: Silent, many: Figure, judge: Judge
) -> None:
    """A tenth of the sends is done and not answered."""
    count = many(60, 1000)
    ids = [world.id() for _ in range(count)]
    for number, id in enumerate(ids):
        await silent.send(id, f"message {number}.", answered=number % 10 != 9)

    unanswered = set(ids[9::10])
    assert world.sends().unknown.keys() == unanswered
    assert (await world.snapshot()).messages.keys() == set(ids)
    for id in unanswered:
        await silent.send(id, "again", answered=True)
    assert world.sends().duplicate.keys() == unanswered
    verdict = await judge(unanswered=len(unanswered))
    assert verdict.accepted == count


async def test_a4_calls_of_one_commit_exist_together_or_not_at_all(world: World) -> None:
    """`within=` a caller's transaction comes with a later issue; this is the part of A4 that is there."""
    stored = await world.left()
    points = ["before", "mid", "before_commit", "after_commit"]
    for point in points if world.sqlite else points[:1] + points[2:]:  # elsewhere it is one statement
        failpoints.arm(f"send.{point}=raise@1")
        with pytest.raises(OutcomeUnknown if point == "after_commit" else (StoreFault, OutcomeUnknown)):
            await world.chaos.work.aenqueue_many([(0.0,)] * 40)
        stored += 40 * (point == "after_commit")
        snapshot = await world.snapshot()
        assert len(snapshot.messages) == len(snapshot.jobs) == stored, point
