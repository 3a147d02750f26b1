"""What a worker has been lent: the loans it holds, the line of those that wait, and when to ask for more."""

from collections import deque
from collections.abc import Collection, Iterable, Sequence

from headrace.bus.envelope import Delivery, Receipt, Settlement
from headrace.bus.retry import ACK, Return
from headrace.clock import Clock
from headrace.worker.limits import UNSETTLED_LIMIT, Tally, allowance, appetite, smoothed
from headrace.worker.settings import WorkerSettings

TRUSTED = 2 / 3  # of a lease, since the last beat of the heart


class Intake:
    """Loans between being received and being settled.

    held   every loan of this worker, by receipt; also read by the heart's thread
    mean   seconds a job takes, as far as is known
    alone  messages that killed a worker are about: one at a time, with nothing else held
    stuck  all lanes are busy with long jobs: nothing is lent ahead until one ends
    """

    def __init__(self, settings: WorkerSettings, clock: Clock) -> None:
        self.held: dict[Receipt, Delivery] = {}
        self.tally = Tally()
        self.mean: float | None = None
        self.alone = False
        self.stuck = False
        self._settings = settings
        self._clock = clock
        self._line: deque[tuple[Delivery, float]] = deque()
        self._renewed = float("-inf")
        self._turn = 0

    def __len__(self) -> int:
        return len(self._line)

    def renewable(self) -> bool:
        """Whether the heart has renewed leases lately, so that it may be trusted with more."""
        return self._clock.monotonic() - self._renewed < self._settings.lease * TRUSTED

    def queues(self) -> Sequence[str]:
        """In which order to ask: as configured, or rotated by one each time."""
        queues = self._settings.queues
        if not self._settings.fair:
            return queues
        self._turn = (self._turn + 1) % len(queues)
        return [*queues[self._turn :], *queues[: self._turn]]

    def room(self, unsettled: int) -> int:
        """How many to ask for; 0 for none now."""
        if unsettled >= UNSETTLED_LIMIT:
            return 0
        if self.alone:
            return 0 if self.held else 1
        ahead = 0 if self.stuck else self._settings.prefetch
        wanted = appetite(self._settings.concurrency, self.mean, ahead)
        held = max(0, len(self.held) - unsettled)
        return allowance(self._settings.limits, self.tally, wanted, held, self._settings.concurrency)

    def take(self, batch: Sequence[Delivery]) -> list[Delivery]:
        """Put a batch in the line; what is answered should be returned uncharged instead.

        Whatever killed a worker may do so again, and only what runs alone can be blamed alone: a
        message with a crash behind it waits until nothing else is held (docs/decisions/0005).
        """
        now = self._clock.monotonic()
        for delivery in batch:
            self.held[delivery.receipt] = delivery
        suspects = [delivery for delivery in batch if delivery.crashes]
        together = bool(suspects) and len(self.held) > 1
        self.alone = bool(suspects)
        accepted = [delivery for delivery in batch if not (together and delivery.crashes)]
        self.tally.received += len(accepted)
        self._line.extend((delivery, now) for delivery in accepted)
        return suspects if together else []

    def next(self) -> Delivery | None:
        """The first in the line whose loan is surely alive."""
        while self._line:
            delivery, since = self._line.popleft()
            if delivery.receipt not in self.held:
                continue
            if self._clock.monotonic() - max(since, self._renewed) > self._settings.lease * 0.9:
                self.held.pop(delivery.receipt, None)  # we slept: by now the loan may be another's
                continue
            return delivery
        return None

    def put_back(self, deliveries: Iterable[Delivery]) -> None:
        """To the head of the line, in this order."""
        now = self._clock.monotonic()
        self._line.extendleft((delivery, now) for delivery in reversed(list(deliveries)))

    def empty(self) -> list[Delivery]:
        """All that waits; it has not been started, so it does not count as received."""
        waiting = [delivery for delivery, _ in self._line if delivery.receipt in self.held]
        self._line.clear()
        self.tally.received -= len(waiting)
        return waiting

    def renewed(self, asked: float, lost: Collection[Receipt]) -> None:
        """The heart asked at `asked`: these loans are over, all others go on."""
        self._renewed = asked
        for receipt in lost:
            self.held.pop(receipt, None)

    def settled(self, batch: Sequence[Settlement]) -> None:
        """These loans are over, one way or another."""
        total, count = 0.0, 0
        pop = self.held.pop
        for settlement in batch:
            pop(settlement.delivery.receipt, None)
            if settlement.verdict is ACK:
                count += 1
                total += settlement.outcome.ran
            elif not isinstance(settlement.verdict, Return):
                count += 1
                total += settlement.outcome.ran
                self.tally.failed += settlement.failed
        self.tally.done += count
        if count:
            self.stuck = False
            self.mean = smoothed(self.mean, total / count, min(1.0, count / 20))
