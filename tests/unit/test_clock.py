"""The only door to the time."""

import asyncio

from headrace.clock import Clock, ManualClock, SystemClock


async def settle_down() -> None:
    for _ in range(10):
        await asyncio.wait([asyncio.get_running_loop().create_task(_nothing())])


async def _nothing() -> None: ...


async def test_manual_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(100.0)
    sleeper = asyncio.get_running_loop().create_task(clock.sleep(10))
    await settle_down()

    clock.advance(9.999)
    await settle_down()
    assert not sleeper.done()

    clock.advance(0.001)
    await asyncio.wait_for(sleeper, 10)
    assert clock.now() == clock.monotonic() == 110.0


async def test_manual_clock_does_not_wait_for_nothing() -> None:
    clock = ManualClock()
    unset, is_set = asyncio.Event(), asyncio.Event()
    is_set.set()

    await asyncio.wait_for(clock.sleep(0), 10)
    assert not await asyncio.wait_for(clock.wait(unset, 0), 10)
    assert not await asyncio.wait_for(clock.wait(unset, -1), 10)
    assert await asyncio.wait_for(clock.wait(is_set, 0), 10)
    assert await asyncio.wait_for(clock.wait(is_set, 10), 10)


async def test_manual_wait_ends_by_time_or_by_event() -> None:
    clock, event = ManualClock(), asyncio.Event()
    first = asyncio.get_running_loop().create_task(clock.wait(event, 10))
    await settle_down()
    clock.advance(10)

    assert not await asyncio.wait_for(first, 10)

    second = asyncio.get_running_loop().create_task(clock.wait(event, 10))
    await settle_down()
    event.set()

    assert await asyncio.wait_for(second, 10)


async def test_sleepers_wake_in_their_own_time() -> None:
    clock = ManualClock()
    woken: list[int] = []

    async def sleep(seconds: int) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    sleepers = [asyncio.get_running_loop().create_task(sleep(seconds)) for seconds in (3, 1, 2)]
    await settle_down()
    for _ in range(3):
        clock.advance(1)
        await settle_down()
    await asyncio.wait_for(asyncio.wait(sleepers), 10)

    assert woken == [1, 2, 3]


async def test_system_wait_answers_whether_the_event_was_set() -> None:
    clock: Clock = SystemClock()
    event = asyncio.Event()

    assert not await clock.wait(event, 0)
    assert not await clock.wait(event, 0.001)
    asyncio.get_running_loop().call_soon(event.set)
    assert await clock.wait(event, 60)
    assert await clock.wait(event, 0)


def test_system_clock_is_the_machines() -> None:
    clock = SystemClock()

    assert clock.monotonic() <= clock.monotonic()
    assert clock.now() > 1_700_000_000
