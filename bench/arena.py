"""Where one measurement happens: an empty database or file, and the processes of one contender."""

import asyncio
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from contenders import Contender, load
from probe import Probe

BENCH = Path(__file__).resolve().parent
CACHE = BENCH.parent / ".cache"
SHARED = Path("/dev/shm")
DEFAULT_SERVER = "postgresql://postgres@127.0.0.1:5432/postgres"
STALLED = 30.0  # seconds without a job
LONGEST = 180.0  # seconds of one run: what is slower is broken


class Failed(Exception):
    """A contender did not do what it was asked; the end of its log says why."""


class Server:
    """The PostgreSQL server: makes and drops databases named headrace_bench_*, and answers questions about them."""

    def __init__(self) -> None:
        self.address = os.environ.get("HEADRACE_TEST_POSTGRES") or DEFAULT_SERVER
        self._runner = asyncio.Runner()
        self._admin = self.connect(self.address)
        self._made = 0

    def connect(self, address: str) -> Any:
        return self._runner.run(asyncpg.connect(address))

    def ask(self, text: str, *args: object, connection: Any = None) -> Any:
        return self._runner.run((connection or self._admin).fetchval(text, *args))

    def execute(self, text: str, connection: Any = None) -> None:
        self._runner.run((connection or self._admin).execute(text))

    def close(self, connection: Any) -> None:
        self._runner.run(connection.close())

    def create(self) -> str:
        self._made += 1
        name = f"headrace_bench_{os.getpid()}_{self._made}"
        self.execute(f"CREATE DATABASE {name}")
        return urlunsplit(urlsplit(self.address)._replace(path=f"/{name}"))

    def drop(self, address: str) -> None:
        self.execute(f"DROP DATABASE IF EXISTS {urlsplit(address).path[1:]} WITH (FORCE)")

    def tidy(self, address: str) -> None:
        """The same start for everyone: statistics fresh, nothing left to write back."""
        connection = self.connect(address)
        self.execute("VACUUM (ANALYZE)", connection)
        self.close(connection)
        self.execute("CHECKPOINT")

    def transactions(self, address: str) -> int:
        return int(
            self.ask(
                "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = $1",
                urlsplit(address).path[1:],
            )
        )


class Host:
    """One process of a contender (bench/host.py), obeying by lines of JSON."""

    def __init__(
        self, name: str, role: str, address: str, options: dict[str, Any], environment: dict[str, str] | None = None
    ) -> None:
        python = CACHE / load(name).environment / "bin" / "python"
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self._who = f"{name} {role}"
        variables = {**os.environ, **(environment or {})}
        self.process = subprocess.Popen(
            [python, "host.py", name, role, address, json.dumps(options)],
            cwd=BENCH, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env=variables,
        )  # fmt: skip

    def send(self, **command: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        self.process.stdin.flush()

    def answer(self, timeout: float = 600) -> Any:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], timeout)
        line = self.process.stdout.readline() if ready else b""
        if not line:
            raise Failed(f"{self._who} gave no answer:\n{self.log()}")
        return json.loads(line)

    def ask(self, **command: Any) -> Any:
        self.send(**command)
        return self.answer()

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-2_000:]

    def alive(self) -> bool:
        return self.process.poll() is None

    def processor(self) -> float:
        """Seconds of a core used so far by all threads."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def resident(self) -> int:
        """Resident bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024

    def stop(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()  # type: ignore[union-attr]
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        self.process.stdout.close()  # type: ignore[union-attr]
        self._log.close()


class Arena:
    """One contender over one empty store."""

    def __init__(self, server: Server, name: str, ledger: bool = False) -> None:
        self.server, self.name, self.ledger = server, name, ledger
        self.contender: type[Contender] = load(name)
        self._hosts: list[Host] = []
        self._shared = Path(tempfile.mkdtemp(prefix="bench-headrace-", dir=SHARED if SHARED.is_dir() else None))
        if self.contender.store == "postgresql":
            self.address = server.create()
        else:
            (CACHE / "bench").mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(prefix="sqlite-", dir=CACHE / "bench"))  # a real disk, not /tmp
            self.address = str(self._folder / "bench.db")
        try:
            self.control = self._host("control", {})
            self.control.ask(do="create")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Arena":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End its processes, drop its database."""
        for host in reversed(self._hosts):
            host.stop()
        shutil.rmtree(self._shared, ignore_errors=True)
        if self.contender.store == "postgresql":
            self.server.drop(self.address)
        else:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _host(self, role: str, options: dict[str, Any], environment: dict[str, str] | None = None) -> Host:
        host = Host(self.name, role, self.address, {**options, "ledger": self.ledger}, environment)
        self._hosts.append(host)
        return host

    def fill(self, count: int, delay: float = 0, tidy: bool = True) -> None:
        self.control.ask(do="fill", count=count, delay=delay)
        if tidy and self.contender.store == "postgresql":
            self.server.tidy(self.address)
        elif tidy:
            os.sync()

    def worker(self, kind: str = "async", mode: str = "count") -> tuple[Host, Probe]:
        """A worker process that has imported everything and waits for `start`."""
        path = self._shared / f"probe-{len(self._hosts)}"
        probe = Probe(str(path), create=True)
        host = self._host("worker", {"kind": kind}, {"HEADRACE_BENCH_PROBE": str(path), "HEADRACE_BENCH_MODE": mode})
        host.answer(30)
        return host, probe

    def producer(self, **options: Any) -> Host:
        return self._host("producer", options)

    def claimer(self, **options: Any) -> Host:
        return self._host("claimer", options)

    def wait(
        self, workers: list[tuple[Host, Probe]], total: int, each: int = 0, pause: float = 0.001
    ) -> tuple[float, int]:
        """Until the workers have started `total` jobs together and `each` of them alone; (the time, how many)."""
        moved, last = time.monotonic(), -1
        deadline = moved + LONGEST
        while True:
            hits = [probe.hits() for _, probe in workers]
            now = time.monotonic()
            if sum(hits) >= total and min(hits) >= each:
                return now, sum(hits)
            if sum(hits) != last:
                moved, last = now, sum(hits)
            dead = [host for host, _ in workers if not host.alive()]
            if dead or now > moved + STALLED or now > deadline:
                why = "it died" if dead else "nothing moved" if now > moved + STALLED else "no more time"
                log = (dead or [workers[0][0]])[0].log()
                raise Failed(f"{self.name}: {last} of {total} jobs, then {why}:\n{log}")
            time.sleep(pause)

    def wait_settled(self) -> float:
        deadline = time.monotonic() + STALLED
        while self.control.ask(do="unfinished"):
            if time.monotonic() > deadline:
                raise Failed(f"{self.name}: jobs ran but were not settled")
            time.sleep(0.001)
        return time.monotonic()


@contextlib.contextmanager
def started(
    arena: Arena, processes: int = 1, kind: str = "async", mode: str = "count"
) -> Iterator[list[tuple[Host, Probe]]]:
    workers = [arena.worker(kind, mode) for _ in range(processes)]
    for host, _ in workers:
        host.send(do="start")
    yield workers
    for host, _ in workers:
        if not host.alive():
            raise Failed(f"{arena.name}: a worker died:\n{host.log()}")
