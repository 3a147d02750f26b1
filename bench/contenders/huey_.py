"""huey on SQLite: its WAL storage with fsync on, as a send must survive a power loss. Its tasks are `def`."""

from typing import Any

import probe

from . import Contender, Kind, Mode

THREADS = 1  # best of 1, 2, 4 on the reference machine: SQLite has one writer


class Huey(Contender):
    store = "sqlite"
    label = "huey"
    peer = True
    distributions = ("huey",)
    kinds = ("def",)
    modes = ("single", "sync")
    rate = 2_100

    _huey: Any = None

    def _open(self) -> Any:
        if self._huey is None:
            from huey import SqliteHuey

            self._huey = SqliteHuey("bench", filename=self.target.address, fsync=True, timeout=10, results=False)
            self._noop = self._huey.task(name="noop")(probe.noop_def)
        return self._huey

    async def create(self) -> None:
        self._open()

    async def fill(self, count: int, delay: float = 0) -> None:
        """By its own serializer, in one transaction: it has no bulk send."""
        huey = self._open()
        with huey.storage.db(commit=True) as cursor:
            for n in range(count):
                task = self._noop.s(n)
                if delay:
                    raise NotImplementedError("huey is measured without delayed jobs")
                cursor.execute(
                    "INSERT INTO task (queue, data, priority) VALUES (?, ?, 0)",
                    (huey.storage.name, huey.serialize_task(task)),
                )

    async def unfinished(self) -> bool:
        return bool(self._open().pending_count())

    def work(self, kind: Kind) -> None:
        self._open().create_consumer(workers=THREADS, worker_type="thread", periodic=False).run()

    async def open_producer(self, mode: Mode) -> None:
        self._open()

    async def enqueue_one(self, n: int) -> None:
        self._noop(n)

    def enqueue_sync(self, n: int) -> None:
        self._open()
        self._noop(n)
