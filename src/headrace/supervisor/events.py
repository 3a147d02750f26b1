"""What happens in a supervisor: facts for whoever prints, counts or logs them."""

from collections.abc import Sequence

import msgspec

from headrace.bus.envelope import Receipt
from headrace.bus.transport import Evidence, Lapsed


class ZygoteReady(msgspec.Struct, frozen=True):
    """The application is loaded, `seconds` after it was begun."""

    pid: int
    seconds: float


class LoadFailed(msgspec.Struct, frozen=True):
    """The application cannot be loaded, and no worker runs. `text`: the error for a person."""

    text: str


class Reloaded(msgspec.Struct, frozen=True):
    """New code is loaded; the workers are being replaced."""

    pid: int
    seconds: float


class ReloadFailed(msgspec.Struct, frozen=True):
    """New code cannot be loaded; the old workers go on."""

    text: str


class ZygoteLost(msgspec.Struct, frozen=True):
    """The zygote died, and its workers with it; another one is started."""

    pid: int
    cause: str


class WorkerSpawned(msgspec.Struct, frozen=True):
    """The worker exists."""

    worker: str
    consumer: str
    pid: int


class SpawnFailed(msgspec.Struct, frozen=True):
    """The system refused a process or a pipe; it is tried again in `again` seconds."""

    worker: str
    consumer: str
    why: str
    again: float


class WorkerReady(msgspec.Struct, frozen=True):
    """The worker receives, `seconds` after it was spawned."""

    worker: str
    consumer: str
    pid: int
    seconds: float


class WorkerKilled(msgspec.Struct, frozen=True):
    """The worker was sent SIGKILL by us."""

    worker: str
    consumer: str
    pid: int
    why: str


class WorkerExited(msgspec.Struct, frozen=True):
    """The worker is gone, `seconds` after it was spawned.

    clean    it ended as it should
    running  what was running in it
    again    seconds until it is replaced; None when it is not
    """

    worker: str
    consumer: str
    pid: int
    evidence: Evidence
    clean: bool
    running: Sequence[Receipt]
    again: float | None
    seconds: float


class JobsReleased(msgspec.Struct, frozen=True):
    """What a dead worker held was given back."""

    worker: str
    evidence: Evidence
    released: Sequence[Lapsed]


class ReleaseFailed(msgspec.Struct, frozen=True):
    """The store cannot be reached; giving back is tried again until it can, or the leases lapse."""

    worker: str
    text: str


class Draining(msgspec.Struct, frozen=True):
    """All workers were told to finish within `grace` seconds; 0: they are killed."""

    workers: int
    grace: float


class SupervisorFailed(msgspec.Struct, frozen=True):
    """A bug of the supervisor's; it goes on. `text`: the traceback."""

    text: str


Event = (
    ZygoteReady
    | LoadFailed
    | Reloaded
    | ReloadFailed
    | ZygoteLost
    | WorkerSpawned
    | SpawnFailed
    | WorkerReady
    | WorkerKilled
    | WorkerExited
    | JobsReleased
    | ReleaseFailed
    | Draining
    | SupervisorFailed
)
