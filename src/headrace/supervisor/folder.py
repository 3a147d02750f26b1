"""The folder of the flight recorders: one for each supervisor, in memory where there is such a place."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108  # on a disk, every page would be written back again and again
PREFIX = ".headrace-recorders-"


@contextlib.contextmanager
def recorders(base: Path = MEMORY) -> Iterator[Path]:
    """An empty folder, locked until the end; folders that nobody has locked any more are swept away."""
    base = base if os.access(base, os.W_OK) else Path(tempfile.gettempdir())
    sweep(base)
    folder, lock = _locked(base)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def sweep(base: Path) -> None:
    """Remove what supervisors that were killed have left."""
    for folder in base.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # locked by one that lives, not ours, or gone
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(lock).st_uid == os.geteuid():
                    shutil.rmtree(folder)
            finally:
                os.close(lock)


def _locked(base: Path) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock).st_nlink:
            return folder, lock
        os.close(lock)  # somebody swept between the two lines
