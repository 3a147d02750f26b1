"""The heart extends what is held, gives back what lapsed, and hears what is wanted of its worker."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import pytest

from headrace import failpoints
from headrace.bus.envelope import Receipt
from headrace.bus.retry import ACK
from headrace.worker.heartbeat import Heart, HeartParts
from tests.support.bus import settled
from tests.support.stores import soon
from tests.support.work import Yard, breathe, until

LEASE = 30.0


class Beating:
    """A heart in the test's own loop, with what it has told."""

    def __init__(self, yard: Yard) -> None:
        self.yard = yard
        self.held: dict[Receipt, object] = {}
        self.lost: list[Receipt] = []
        self.beats = 0
        self.wanted = "run"
        self.obeyed: list[str] = []
        self.heart = Heart(self.held, yard.clock, LEASE, self._lose, self.obeyed.append)  # type: ignore[arg-type]

    def _lose(self, receipts: Collection[Receipt], asked: float) -> None:
        self.lost += receipts
        self.beats += 1

    async def sign(self) -> str:
        return self.wanted

    async def beat_once(self) -> None:
        """Let time pass until the next beat is over."""
        before = len(self.obeyed)
        await self.pass_until_beats(before + 1)

    async def pass_until_beats(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.obeyed) < count:
                self.yard.clock.advance(0.1)
                await breathe()


@asynccontextmanager
async def a_heart(yard: Yard) -> AsyncIterator[Beating]:
    beating = Beating(yard)
    transport = await yard.transport("w1", LEASE)
    task = asyncio.get_running_loop().create_task(
        beating.heart.beat(transport, beating.sign, lambda call, *args: call(*args))
    )
    try:
        await until(lambda: len(beating.obeyed) == 1)
        yield beating
    finally:
        await beating.heart.stop()
        await soon(task)


async def put(yard: Yard) -> None:
    @yard.app.task(name="work")
    async def work() -> None: ...

    await work.aenqueue()


async def test_heart_beats_three_times_a_lease(yard: Yard) -> None:
    async with a_heart(yard) as beating:
        began = yard.clock.monotonic()
        await beating.pass_until_beats(10)
        seconds = yard.clock.monotonic() - began

    assert 9 * LEASE / 3 * 0.9 <= seconds <= 9 * LEASE / 3 * 1.1 + 1


async def test_held_loan_lives_as_long_as_the_heart_beats(yard: Yard) -> None:
    await put(yard)
    transport = await yard.transport("w1", LEASE)
    [delivery] = await transport.receive(["default"], 1, 0.0)
    async with a_heart(yard) as beating:
        beating.held[delivery.receipt] = delivery
        await beating.beat_once()
        await beating.pass_until_beats(12)

    assert beating.lost == []
    assert not await transport.settle([settled(delivery, ACK)])


async def test_lost_loan_is_told(yard: Yard) -> None:
    await put(yard)
    transport = await yard.transport("w1", LEASE)
    [delivery] = await transport.receive(["default"], 1, 0.0)
    await transport.settle([settled(delivery, ACK)])
    async with a_heart(yard) as beating:
        beating.held[delivery.receipt] = delivery
        await beating.beat_once()

    assert delivery.receipt in beating.lost


async def test_loans_of_dead_workers_are_given_back(yard: Yard) -> None:
    await put(yard)
    doomed = await yard.transport("doomed", LEASE)
    [delivery] = await doomed.receive(["default"], 1, 0.0)
    async with a_heart(yard) as beating:
        await beating.pass_until_beats(6)

    [again] = await (await yard.transport()).receive(["default"], 1, 0.0)
    assert (again.id, again.crashes) == (delivery.id, 1)


async def test_what_is_wanted_is_passed_on(yard: Yard) -> None:
    async with a_heart(yard) as beating:
        beating.wanted = "drain"
        await beating.beat_once()

    assert beating.obeyed == ["run", "drain"]


async def test_heart_goes_on_after_the_store_was_away_and_asks_more_often(yard: Yard) -> None:
    async with a_heart(yard) as beating:
        failpoints.arm("reap.before=raise")
        try:
            began, before = yard.clock.monotonic(), beating.beats
            async with asyncio.timeout(20):
                while beating.beats < before + 5:
                    yard.clock.advance(0.1)
                    await breathe()
            seconds = yard.clock.monotonic() - began
        finally:
            failpoints.arm("")
        assert len(beating.obeyed) == 1
        await beating.beat_once()

    assert seconds < LEASE  # a second apart, after the first


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_worker_whose_heart_has_stopped_for_a_bug_is_told_to_drain(yard: Yard) -> None:
    """Nothing is received while no heart beats, so it would be deaf for ever."""
    beating = Beating(yard)

    async def connect() -> HeartParts:
        raise LookupError("a bug")

    beating.heart.start(connect)

    await until(lambda: beating.obeyed == ["drain"])
    await beating.heart.stop()
