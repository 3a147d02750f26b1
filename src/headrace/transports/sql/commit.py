"""Group commit: whoever sends while a send is under way shares the next one."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from headrace.errors import HeadraceError

A = TypeVar("A")
B = TypeVar("B")


class GroupCommit(Generic[A, B]):
    """Concurrent calls become one `write` of all their items; each caller gets its own answers.

    The first call writes at once, alone: nobody lingers. `write` answers one item each, in order; if
    it raises, every caller of that group gets the error.
    """

    def __init__(self, write: Callable[[Sequence[A]], Awaitable[Sequence[B]]], limit: int) -> None:
        self._write = write
        self._limit = limit
        self._waiting: deque[tuple[Sequence[A], asyncio.Future[Sequence[B]]]] = deque()
        self._busy = False
        self._task: asyncio.Task[None] | None = None

    async def send(self, items: Sequence[A]) -> Sequence[B]:
        """Write these items, together with whatever else waits."""
        if self._busy:
            future: asyncio.Future[Sequence[B]] = asyncio.get_running_loop().create_future()
            self._waiting.append((items, future))
            return await future
        self._busy = True
        try:
            return await self._write(items)
        finally:
            if self._waiting:
                self._task = asyncio.get_running_loop().create_task(self._flush())
            else:
                self._busy = False

    async def aclose(self) -> None:
        """Wait for what is under way."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def _flush(self) -> None:
        try:
            while self._waiting:
                await self._write_group(self._next_group())
        finally:
            self._busy = False
            while self._waiting:  # an error that nobody foresaw, or the end of the loop
                self._waiting.popleft()[1].cancel()

    async def _write_group(self, group: Sequence[tuple[Sequence[A], "asyncio.Future[Sequence[B]]"]]) -> None:
        try:
            answers = await self._write([item for items, _ in group for item in items])
        except HeadraceError as error:  # every caller of the group must hear of it
            for future in _waiting(group):
                future.set_exception(error)
        else:
            start = 0
            for items, future in group:
                if not future.done():
                    future.set_result(answers[start : start + len(items)])
                start += len(items)
        finally:
            for future in _waiting(group):
                future.cancel()

    def _next_group(self) -> list[tuple[Sequence[A], "asyncio.Future[Sequence[B]]"]]:
        group, size = [self._waiting.popleft()], 0
        size = len(group[0][0])
        while self._waiting and size + len(self._waiting[0][0]) <= self._limit:
            group.append(self._waiting.popleft())
            size += len(group[-1][0])
        return group


def _waiting(group: Sequence[tuple[Any, asyncio.Future[Any]]]) -> list[asyncio.Future[Any]]:
    return [future for _, future in group if not future.done()]
