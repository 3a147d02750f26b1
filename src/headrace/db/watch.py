"""Learns at once that a file was written, by any process: Linux inotify, through libc.

Elsewhere nothing is heard and callers fall back on their poll. Format: inotify(7).
"""

import asyncio
import contextlib
import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path

_MODIFY, _CREATE, _MOVED_TO = 0x2, 0x100, 0x80
_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000


class FileWatch:
    """Calls `changed` in the loop after writes to `path`; a burst of writes is one call.

    The folder is watched for the file's creation, the file itself for its modification: SQLite
    makes a -wal file anew when the last connection had closed it.
    """

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop, changed: Callable[[], None]) -> None:
        self._path = path
        self._loop = loop
        self._changed = changed
        self._fd = -1
        if sys.platform == "linux":
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._fd = self._libc.inotify_init1(_NONBLOCK_CLOEXEC)
        if self._fd >= 0:
            self._add(path.parent, _CREATE | _MOVED_TO)
            self._add(path, _MODIFY)
            loop.add_reader(self._fd, self._read)

    def close(self) -> None:
        """Stop watching."""
        if self._fd >= 0:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _add(self, path: Path, events: int) -> None:
        self._libc.inotify_add_watch(self._fd, os.fsencode(path), events)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            if self._path.name.encode() in os.read(self._fd, 65536):
                self._add(self._path, _MODIFY)
        self._changed()
