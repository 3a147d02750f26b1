"""The flight recorder: which deliveries a worker was running, readable after its death."""

import mmap
import os
from pathlib import Path

from headrace.bus.envelope import Receipt

CELL = 8  # bytes of a row or a loan
LANE = 2 * CELL


class Recorder:
    """A file in shared memory with a row and a loan for each lane; owned by one worker.

    The kernel keeps what was stored even when the process is killed between two instructions. Each
    store is one aligned word, and the row is written last and cleared first: whoever reads sees a
    whole receipt or none. Row 0 means idle; no transport gives it.
    """

    __slots__ = ("_cells", "_map")

    def __init__(self, path: str | Path, lanes: int) -> None:
        size = lanes * LANE
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(file, 0, size)  # a full disk is an error now, not a SIGBUS later
            self._map = mmap.mmap(file, size)
        finally:
            os.close(file)
        self._cells = memoryview(self._map).cast("q")

    def start(self, lane: int, receipt: Receipt) -> None:
        """The handler of this delivery is about to run."""
        cell = lane + lane
        self._cells[cell + 1] = receipt[1]
        self._cells[cell] = receipt[0]

    def stop(self, lane: int) -> None:
        """Nothing runs in this lane."""
        self._cells[lane + lane] = 0

    def close(self) -> None:
        """Let go of the memory; the file stays for whoever reads it."""
        self._cells.release()
        self._map.close()


def read(path: str | Path) -> list[Receipt]:
    """The receipts of what was running; none when the worker died before it had a recorder."""
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        return []
    cells = memoryview(content[: len(content) // LANE * LANE]).cast("q")
    return [(cells[at], cells[at + 1]) for at in range(0, len(cells), 2) if cells[at]]
