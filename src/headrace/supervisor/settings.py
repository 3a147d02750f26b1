"""What a supervisor is told once: its consumers, and how their code is loaded."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a place stays empty after workers in it ended too soon, several times in a row.

    first   seconds after the second one; the first is replaced at once
    factor  each wait is this much longer than the one before
    cap     longest wait, before jitter
    jitter  share of the wait by which it is spread, 0 to 1
    """

    first: float = 0.5
    factor: float = 2.0
    cap: float = 30.0
    jitter: float = 0.1

    def rest(self, soon: int, roll: float) -> float:
        """Seconds until the next try after `soon` failures in a row; `roll` is uniform in [0, 1)."""
        if soon < 2:
            return 0.0
        steps = min(soon - 2, 64)  # far beyond any cap, and no overflow
        wait: float = min(self.first * self.factor**steps, self.cap)
        return wait * (1 + self.jitter * (2 * roll - 1))


@dataclass(frozen=True, slots=True)
class ConsumerSettings:
    """A named group of identical workers.

    workers        how many
    grace          seconds from SIGTERM to SIGKILL when it is stopped
    reload_grace   the same, when new code replaces it
    start_timeout  seconds until a worker must have said hello
    finite         a worker that ends cleanly is not replaced; when all have, the supervisor ends
    stable         a crash after fewer seconds than this, with nothing done, came too soon
    minimum        a clean end after fewer, with nothing done, counts as a crash
    """

    name: str
    workers: int
    grace: float = 30.0
    reload_grace: float = 30.0
    start_timeout: float = 60.0
    finite: bool = False
    stable: float = 2.0
    minimum: float = 1.0
    backoff: Backoff = Backoff()


@dataclass(frozen=True, slots=True)
class Loading:
    """How a zygote gets the application.

    entry     "module:function"; it takes `argument` and returns what each worker runs: Seat -> exit code
    argument  opaque to the supervisor; not shown to other users of the machine
    path      folders put in front of sys.path before `entry` is imported
    timeout   seconds it may take
    patient   whether the supervisor waits for a reload() when the first loading fails
    """

    entry: str
    argument: str = ""
    path: tuple[str, ...] = ()
    timeout: float = 60.0
    patient: bool = False
