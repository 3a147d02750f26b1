"""Which source files of a folder have changed; looked at, not listened to, so that it works on any file system."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from headrace.clock import Clock

EVERY = 0.3  # seconds between two looks
FILES = 20_000  # a larger tree is not a project
_LEFT_OUT = {"__pycache__", "node_modules", "build", "dist", "site-packages"}

Seen = Mapping[str, tuple[int, int]]  # path: modification time in nanoseconds, size


def changed(before: Seen, now: Seen) -> list[str]:
    """Files that are new, gone or different; in order."""
    return sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))


def seen(folder: Path) -> Seen:
    """Every *.py below a folder, hidden and generated folders left out."""
    found: dict[str, tuple[int, int]] = {}
    for entry in _sources(str(folder)):
        try:
            stat = entry.stat()
        except FileNotFoundError:
            continue
        found[entry.path] = stat.st_mtime_ns, stat.st_size
        if len(found) == FILES:
            break
    return found


class Sources:
    """The sources of one folder, as they were when they were last looked at."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._seen = seen(folder)

    async def change(self) -> list[str]:
        """Wait until something has changed and nothing changes any more; what it was."""
        while not (found := changed(self._seen, now := seen(self._folder))):
            await self._clock.sleep(EVERY)
        while True:  # an editor or a checkout writes several files
            await self._clock.sleep(EVERY / 3)
            before, now = now, seen(self._folder)
            if before == now:
                found = changed(self._seen, now)
                self._seen = now
                return found


def _sources(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name in _LEFT_OUT:
            continue
        if entry.is_dir(follow_symlinks=False):
            if not os.path.exists(os.path.join(entry.path, "pyvenv.cfg")):  # noqa: PTH110, PTH118  # hot
                yield from _sources(entry.path)
        elif entry.name.endswith(".py"):
            yield entry
