"""Which of many pipes and sockets have something to read."""

import asyncio


class Watch:
    """Wakes one loop. A descriptor is told once, and then not again until it is added again.

    stirred  set when there is something to look at
    """

    def __init__(self) -> None:
        self.stirred = asyncio.Event()
        self._readable: set[int] = set()

    def add(self, fd: int) -> None:
        """Tell when `fd` can be read or has ended."""
        asyncio.get_running_loop().add_reader(fd, self._wake, fd)

    def drop(self, fd: int) -> None:
        """Forget `fd`; before it is closed."""
        asyncio.get_running_loop().remove_reader(fd)
        self._readable.discard(fd)

    def take(self) -> set[int]:
        """What can be read now, once each."""
        readable, self._readable = self._readable, set()
        self.stirred.clear()
        return readable

    def _wake(self, fd: int) -> None:
        asyncio.get_running_loop().remove_reader(fd)  # else a talkative worker keeps it busy between two looks
        self._readable.add(fd)
        self.stirred.set()
