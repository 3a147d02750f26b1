"""The contenders, one file each, behind one small interface.

A contender lives in processes that `bench/host.py` starts, never in the harness. Modules import what they measure
inside their methods, so that the harness can read the facts on the class without having the library installed.

    control process    create(), fill(n), unfinished()
    worker process     work(kind): a real worker; ends by SIGTERM
    producer process   open_producer(), then enqueue_one / enqueue_many (coroutines) or enqueue_sync
    claimer process    claim_and_settle(limit) after open_claimer(): only who can claim apart from running

A worker runs `probe.noop(n)` (kind "async") or `probe.noop_def(n)` (kind "def") for a job whose one argument is n.
Durable settings are not negotiable: an accepted job and a recorded outcome must survive a crash of the server.

To add a contender: write the module, name it in `NAMES`, and if it needs an environment of its own, set `environment`.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

Kind = Literal["async", "def"]
Store = Literal["postgresql", "sqlite"]
Mode = Literal["single", "wake", "sync", "concurrent", "bulk", "steady"]

NAMES = {
    "raw": "contenders.raw:Raw",
    "raw-sqlite": "contenders.raw_sqlite:RawSqlite",
    "headrace": "contenders.headrace_:Headrace",
    "headrace-sqlite": "contenders.headrace_:HeadraceSqlite",
    "pgqueuer": "contenders.pgqueuer_:PgQueuer",
    "procrastinate": "contenders.procrastinate_:Procrastinate",
    "oban": "contenders.oban_:Oban",
    "huey": "contenders.huey_:Huey",
}


@dataclass(frozen=True)
class Target:
    """Where a run happens: an empty database (a DSN) or a file that does not exist yet (a path)."""

    address: str
    ledger: bool = False


class Contender:
    """What a contender must offer. Everything is called in a process that does nothing else."""

    store: ClassVar[Store]
    label: ClassVar[str]
    ours: ClassVar[bool] = False  # headrace itself
    peer: ClassVar[bool] = False  # somebody else's product
    written: ClassVar[bool] = True  # False: the slot is kept, the measure is skipped and says so
    environment: ClassVar[str] = "bench-venv"
    distributions: ClassVar[tuple[str, ...]] = ()  # whose versions are printed
    kinds: ClassVar[tuple[Kind, ...]] = ("async",)
    ledgers: ClassVar[tuple[bool, ...]] = (False,)  # with a row per job that outlives it?
    modes: ClassVar[tuple[Mode, ...]] = ()
    claims: ClassVar[bool] = False
    rate: ClassVar[int] = 1_000  # a guess of jobs/s, from which the number of preloaded jobs follows

    def __init__(self, target: Target) -> None:
        self.target = target

    async def create(self) -> None:
        """Install the tables in an empty database."""
        raise NotImplementedError

    async def fill(self, count: int, delay: float = 0) -> None:
        """Put `count` jobs, due after `delay` seconds, by the fastest way there is. Not timed."""
        raise NotImplementedError

    async def unfinished(self) -> bool:
        """Is any job that is due neither settled nor deleted? Asked every few ms at the end of a drain, so cheap."""
        raise NotImplementedError

    def work(self, kind: Kind) -> None:
        """Run a worker until SIGTERM, with the settings its documentation recommends for throughput."""
        raise NotImplementedError

    async def open_producer(self, mode: Mode) -> None:
        """Connect whatever `enqueue_one` and `enqueue_many` need.

        `concurrent`: 100 coroutines will call `enqueue_one` at once; `steady`: the sender of the latency measure;
        `wake` is for raw only, whose `single` is a bare insert that wakes nobody.
        """

    async def enqueue_one(self, n: int) -> None:
        """One job, durable when this returns."""
        raise NotImplementedError

    async def enqueue_many(self, arguments: Sequence[int]) -> None:
        """All of them in one call, durable when this returns."""
        raise NotImplementedError

    def enqueue_sync(self, n: int) -> None:
        """One job from code that has no event loop."""
        raise NotImplementedError

    async def open_claimer(self) -> None:
        """Connect whatever `claim_and_settle` needs."""

    async def claim_and_settle(self, limit: int) -> tuple[float, int]:
        """Claim up to `limit` jobs and settle them; (seconds that the claim alone took, jobs claimed)."""
        raise NotImplementedError


def load(name: str) -> type[Contender]:
    module, _, attribute = NAMES[name].partition(":")
    contender: type[Contender] = getattr(importlib.import_module(module), attribute)
    return contender
