"""PostgreSQL for tests: a server of one's own, and databases on any server."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import psutil

LIMIT = 60.0  # seconds for a start or a stop
ROOT = os.geteuid() == 0
OWNER = "postgres" if ROOT else None  # PostgreSQL refuses to run as root
GROUPS = () if ROOT else None
STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}


def binary(name: str) -> Path:
    """The newest installed PostgreSQL's program of this name; FileNotFoundError without one."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / name).exists():
            return folder / name
    if found := shutil.which(name):
        return Path(found)
    raise FileNotFoundError(f"no PostgreSQL program {name!r}: install the package postgresql")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Postgres:
    """One private cluster on loopback, fsync on; every method blocks until it is true.

    folder  holds data, log and socket; belongs to the user the server runs as
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._data = folder / "data"
        self._server: subprocess.Popen[bytes] | None = None

    @classmethod
    def create(cls, **settings: object) -> "Postgres":
        """Initialise a cluster in a new folder, with these settings; it is not started yet."""
        folder = Path(tempfile.mkdtemp(prefix="headrace-postgres-"))
        if OWNER:
            shutil.chown(folder, OWNER)
        cluster = cls(folder)
        command = ["initdb", "-D", str(cluster._data), "-A", "trust", "-U", "postgres", "-N"]
        command += ["--encoding=UTF8", "--locale=C.UTF-8"]  # whatever the machine speaks
        subprocess.run(
            command,
            executable=binary("initdb"),
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
            user=OWNER,
            group=OWNER,
            extra_groups=GROUPS,
        )
        with (cluster._data / "postgresql.conf").open("a") as conf:
            conf.write(f"listen_addresses = '127.0.0.1'\nport = {free_port()}\n")
            conf.write(f"unix_socket_directories = '{folder}'\n")
            conf.writelines(f"{name} = {value}\n" for name, value in settings.items())
        return cluster

    @property
    def port(self) -> int:
        lines = (self._data / "postgresql.conf").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("port = ")).split()[-1])

    @property
    def dsn(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def pid(self) -> int:
        return int((self._data / "postmaster.pid").read_text().splitlines()[0])

    def ready(self) -> bool:
        ask = [str(binary("pg_isready")), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ask, check=False).returncode == 0

    def start(self) -> None:
        """Return once it accepts connections."""
        with (self.folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [binary("postgres"), "-D", self._data],
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the tests
                cwd=self.folder,
                user=OWNER,
                group=OWNER,
                extra_groups=GROUPS,
            )
        deadline = time.monotonic() + LIMIT
        while not self.ready():
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{self.log()[-2000:]}")

    def stop(self, mode: str = "fast") -> None:
        """Stop it: smart waits for clients, fast disconnects them, immediate is a crash."""
        os.kill(self.pid, STOP_SIGNALS[mode])
        self._wait()

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()

    def crash(self) -> None:
        """Kill the postmaster and every backend with SIGKILL, as a power cut would."""
        postmaster = psutil.Process(self.pid)
        for process in [postmaster, *postmaster.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._wait()

    def pause(self) -> None:
        """Freeze the server and its backends: clients hang and nothing reports an error."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal_all(signal.SIGCONT)

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def destroy(self) -> None:
        """Stop it if it runs, and remove its folder."""
        if (self._data / "postmaster.pid").exists() and psutil.pid_exists(self.pid):
            self.resume()
            self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _signal_all(self, number: signal.Signals) -> None:
        postmaster = psutil.Process(self.pid)
        for process in [postmaster, *postmaster.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):  # a backend whose client has just gone
                process.send_signal(number)

    def _wait(self) -> None:
        if self._server is not None:
            self._server.wait(LIMIT)
            self._server = None
        else:  # started by another process
            psutil.Process(self.pid).wait(LIMIT)


def reach(dsn: str) -> str | None:
    """Why this server cannot be used; None if it can."""

    async def ask() -> None:
        connection = await asyncpg.connect(dsn, timeout=5)
        await connection.close()

    try:
        asyncio.run(ask())
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        return f"{type(error).__name__}: {error}"
    return None


@contextmanager
def fresh_database(server: str) -> Iterator[str]:
    """The DSN of a new database on `server`, dropped afterwards whoever is still connected."""
    name = f"headrace_test_{uuid4().hex[:12]}"
    asyncio.run(_execute(server, f"CREATE DATABASE {name}"))
    try:
        yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    finally:
        asyncio.run(_execute(server, f"DROP DATABASE {name} WITH (FORCE)"))


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
