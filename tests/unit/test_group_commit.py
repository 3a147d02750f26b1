"""Whoever sends while a send is under way shares the next one."""

import asyncio
from collections.abc import Sequence

import pytest

from headrace.errors import StoreFault
from headrace.transports.sql.commit import GroupCommit


class Disk:
    """Writes when told to; remembers what came in one write."""

    def __init__(self) -> None:
        self.writes: list[list[int]] = []
        self.allowed = asyncio.Semaphore(0)
        self.error: Exception | None = None

    async def write(self, items: Sequence[int]) -> Sequence[int]:
        self.writes.append(list(items))
        await self.allowed.acquire()
        if self.error is not None:
            raise self.error
        return [item * 10 for item in items]


async def settle_down() -> None:
    """Let everything that can run do so."""
    for _ in range(20):
        await asyncio.wait([asyncio.get_running_loop().create_task(_nothing())])


async def _nothing() -> None: ...


def send_all(commit: GroupCommit[int, int], groups: Sequence[Sequence[int]]) -> list[asyncio.Task[Sequence[int]]]:
    return [asyncio.get_running_loop().create_task(commit.send(group)) for group in groups]


async def test_lone_send_is_written_at_once() -> None:
    disk = Disk()
    disk.allowed.release()

    assert await GroupCommit(disk.write, 500).send([1, 2]) == [10, 20]
    assert disk.writes == [[1, 2]]


async def test_senders_during_a_write_share_the_next_one_and_get_their_own_answers() -> None:
    disk = Disk()
    commit = GroupCommit(disk.write, 500)
    sends = send_all(commit, [[1], [2], [3, 4], [5]])
    await settle_down()
    assert disk.writes == [[1]]

    disk.allowed.release()
    disk.allowed.release()

    assert await asyncio.wait_for(sends[3], 10) == [50]
    assert [send.result() for send in sends] == [[10], [20], [30, 40], [50]]
    assert disk.writes == [[1], [2, 3, 4, 5]]


@pytest.mark.parametrize(
    ("groups", "writes"),
    [
        ([[0], [1], [2], [3]], [[0], [1, 2, 3]]),
        ([[0], [1], [2], [3], [4]], [[0], [1, 2, 3], [4]]),
        ([[0], [1, 2], [3, 4]], [[0], [1, 2], [3, 4]]),
        ([[0], [1], [2, 3], [4]], [[0], [1, 2, 3], [4]]),
        ([[0], [1, 2, 3, 4, 5], [6]], [[0], [1, 2, 3, 4, 5], [6]]),  # larger than the limit: alone
        ([[0], [1], [2, 3, 4], [5]], [[0], [1], [2, 3, 4], [5]]),
    ],
)
async def test_group_is_bounded_and_no_send_is_torn(groups: list[list[int]], writes: list[list[int]]) -> None:
    disk = Disk()
    sends = send_all(GroupCommit(disk.write, 3), groups)
    await settle_down()

    for _ in writes:
        disk.allowed.release()
    await asyncio.wait(sends)

    assert disk.writes == writes


async def test_error_reaches_every_sender_of_its_group_and_no_other() -> None:
    disk = Disk()
    commit = GroupCommit(disk.write, 500)
    first, *others = send_all(commit, [[1], [2], [3]])
    await settle_down()
    disk.allowed.release()
    await first
    disk.error = StoreFault("full")
    disk.allowed.release()
    await asyncio.wait(others)

    assert [other.exception() for other in others] == [disk.error, disk.error]

    disk.error = None
    disk.allowed.release()
    assert await commit.send([4]) == [40]


async def test_failed_first_send_does_not_hold_up_the_waiting() -> None:
    disk = Disk()
    commit = GroupCommit(disk.write, 500)
    disk.error = gone = StoreFault("gone")
    first, second = send_all(commit, [[1], [2]])
    await settle_down()
    disk.allowed.release()
    await asyncio.wait([first])
    disk.error = None
    disk.allowed.release()

    assert first.exception() is gone
    assert await second == [20]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_error_that_nobody_foresaw_leaves_no_sender_waiting() -> None:
    disk = Disk()
    commit = GroupCommit(disk.write, 1)
    first, *others = send_all(commit, [[1], [2], [3]])
    await settle_down()
    disk.allowed.release()
    await first
    disk.error = ZeroDivisionError()
    disk.allowed.release()
    await asyncio.wait(others)

    assert [other.cancelled() for other in others] == [True, True]

    disk.error = None
    disk.allowed.release()
    assert await commit.send([4]) == [40]


async def test_cancelled_sender_harms_nobody() -> None:
    disk = Disk()
    commit = GroupCommit(disk.write, 500)
    first, second, third = send_all(commit, [[1], [2], [3]])
    await settle_down()

    second.cancel()
    disk.allowed.release()
    disk.allowed.release()

    assert await third == [30]
    assert first.result() == [10]
    assert second.cancelled()


async def test_cancelled_first_sender_hands_over() -> None:
    disk = Disk()
    commit = GroupCommit(disk.write, 500)
    first, second = send_all(commit, [[1], [2]])
    await settle_down()

    first.cancel()
    disk.allowed.release()

    assert await second == [20]
    assert first.cancelled()


async def test_closing_waits_for_what_is_under_way() -> None:
    disk = Disk()
    commit = GroupCommit(disk.write, 500)
    first, second = send_all(commit, [[1], [2]])
    await settle_down()
    disk.allowed.release()
    await first
    closing = asyncio.get_running_loop().create_task(commit.aclose())
    await settle_down()
    assert not closing.done()

    disk.allowed.release()
    await closing

    assert second.result() == [20]
