"""Renews leases from a thread with connections of its own, so that no handler can hold it up."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Collection, Mapping

from headrace import chance
from headrace.bus.envelope import Delivery, Receipt
from headrace.bus.transport import Leasing
from headrace.clock import Clock
from headrace.errors import HeadraceError

SHARE = 3  # beats per lease

HeartParts = tuple[Leasing, Callable[[], Awaitable[str]], Callable[[], Awaitable[None]]]  # transport, sign, close


class Heart:
    """Beats three times per lease: extends what is held, gives back what lapsed, signs the book.

    held   receipts and deliveries; read from this thread, changed by the worker's
    lost   called in the worker's loop with leases that are gone
    sign   tells the store that this worker lives; what is wanted of it ("run", "drain")
    """

    def __init__(
        self,
        held: Mapping[Receipt, Delivery],
        clock: Clock,
        lease: float,
        lost: Callable[[Collection[Receipt], float], None],
        wanted: Callable[[str], None],
    ) -> None:
        self._held = held
        self._clock = clock
        self._pause = lease / SHARE
        self._lost = lost
        self._wanted = wanted
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopped = False

    def start(self, connect: Callable[[], Awaitable[HeartParts]]) -> None:
        """Beat in a thread of its own; `connect` runs there and answers (transport, sign, close)."""
        worker_loop = asyncio.get_running_loop()

        async def main() -> None:
            try:
                leasing, sign, close = await connect()
                try:
                    await self.beat(leasing, sign, worker_loop.call_soon_threadsafe)
                finally:
                    await close()
            finally:
                if not self._stopped:  # a bug of ours: a worker without a heart is deaf, and another one should come
                    worker_loop.call_soon_threadsafe(self._wanted, "drain")

        self._thread = threading.Thread(target=asyncio.run, args=(main(),), name="headrace-heartbeat", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Beat no more; waits for a beat that is under way."""
        self._stopped = True
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join, 10.0)

    async def beat(self, leasing: Leasing, sign: Callable[[], Awaitable[str]], tell: Callable[..., object]) -> None:
        """Until stopped; the store's silence is answered by trying again every second."""
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        while not self._stopped:
            pause = self._pause
            try:
                began = self._clock.monotonic()
                lost = await leasing.extend(list(self._held))  # also when nothing is held: it proves that we could
                tell(self._lost, lost, began)
                await leasing.reap()
                tell(self._wanted, await sign())
            except HeadraceError:
                pause = min(1.0, pause)
            await self._clock.wait(self._stop, pause * (0.9 + 0.2 * chance.roll()))
