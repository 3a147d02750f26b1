"""The settle list: outcomes pile up, and are written whenever the settling connection is free."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence

import msgspec

from headrace import chance
from headrace.bus import events
from headrace.bus.envelope import NO_OUTCOME, Receipt, Settlement
from headrace.bus.events import Events
from headrace.bus.retry import Return
from headrace.bus.transport import Transport
from headrace.clock import Clock
from headrace.errors import HeadraceError, OutcomeUnknown, TransportError

BATCH = 500


class Settler:
    """Writes settlements in batches; `settled` hears each batch when it is over.

    lease  seconds; an outcome that could not be written for as long is given up, its loan is over
    """

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        events_: Events,
        lease: float,
        settled: Callable[[Sequence[Settlement]], None],
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._events = events_
        self._lease = lease
        self._settled = settled
        self._list: deque[Settlement] = deque()
        self._loop = asyncio.get_running_loop()
        self._filled = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._poked = False
        self._closing = False

    def __len__(self) -> int:
        return len(self._list)

    def add(self, settlement: Settlement) -> None:
        """From the loop's own thread."""
        self._list.append(settlement)
        if not self._filled.is_set():
            self._filled.set()

    def add_from_thread(self, settlement: Settlement) -> None:
        """From any thread; one wake-up of the loop serves all that is added before it."""
        self._list.append(settlement)
        if not self._poked:
            self._poked = True
            try:
                self._loop.call_soon_threadsafe(self._poke)
            except RuntimeError:
                return  # the loop is closed: the loan will lapse

    async def run(self) -> None:
        """Until closed and empty."""
        while True:
            await self._filled.wait()
            self._filled.clear()
            while self._list:
                self._empty.clear()
                batch = [self._list.popleft() for _ in range(min(BATCH, len(self._list)))]
                refused = await self._write(batch)
                self._tell(batch, refused)
                self._settled(batch)
            self._empty.set()
            if self._closing:
                return

    def close(self) -> None:
        """End once the list is empty."""
        self._closing = True
        self._filled.set()

    def _poke(self) -> None:
        self._poked = False
        self._filled.set()

    async def _write(self, batch: Sequence[Settlement]) -> Collection[Receipt]:
        """Settle; on a lost connection again and again, until the leases have lapsed."""
        began, unknown = self._clock.monotonic(), False
        while True:
            try:
                refused = await self._transport.settle(batch)
            except OutcomeUnknown:
                unknown = True
            except TransportError as error:
                if error.code == "HR217":  # the store answered: this batch is what it does not like
                    return await self._apart(batch, error)
            else:
                # A second try of an unknown outcome refuses what the first had recorded.
                return () if unknown else refused
            if self._clock.monotonic() - began > self._lease:
                return [settlement.delivery.receipt for settlement in batch]
            await self._clock.sleep(0.05 + chance.roll() * 0.5)

    async def _apart(self, batch: Sequence[Settlement], error: HeadraceError) -> Collection[Receipt]:
        """One by one; what the store refuses even alone is settled without its result and log."""
        if len(batch) > 1:
            refused: list[Receipt] = []
            for settlement in batch:
                refused += await self._write([settlement])
            return refused
        bare = msgspec.structs.replace(NO_OUTCOME, error=f"the outcome could not be stored: {error.why}")
        if batch[0].outcome == bare:
            return [batch[0].delivery.receipt]
        return await self._write([msgspec.structs.replace(batch[0], outcome=bare)])

    def _tell(self, batch: Sequence[Settlement], refused: Collection[Receipt]) -> None:
        if not self._events.wanted(events.Settled) and not refused:
            return
        for settlement in batch:
            delivery, verdict, outcome = settlement.delivery, settlement.verdict, settlement.outcome
            if delivery.receipt in refused:
                if not isinstance(verdict, Return):
                    self._events.tell(events.LeaseWasLost(delivery.queue, delivery))
            else:
                self._events.tell(
                    events.Settled(delivery.queue, delivery, verdict, outcome.ran, outcome.error, outcome.result)
                )
