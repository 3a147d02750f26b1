"""A host of its own for a supervisor: all of its processes can lose their power at once, or share a little memory."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil

from tests.support.chaos.plan import Plan
from tests.support.chaos.records import Death
from tests.support.supervising import ROOT, gone

CGROUPS = Path("/sys/fs/cgroup")


class Host:
    """One supervisor process and everything below it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def processes(self) -> list[psutil.Process]:
        """The supervisor, its zygote and its workers."""
        supervisor = psutil.Process(self.process.pid)
        return [supervisor, *supervisor.children(recursive=True)]

    def power_cut(self) -> list[Death]:
        """Everything ends at once."""
        everything = self.processes()
        for process in everything:
            process.send_signal(signal.SIGSTOP)  # so that nobody sees another one go
        everything = self.processes()
        at = time.monotonic()
        for process in everything:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        assert all(gone(process.pid, within=10.0) for process in everything)
        self.process.wait(10.0)
        return [Death(process.pid, at, cause="power cut") for process in everything]

    def stop(self) -> int:
        """Drain, and end; the exit code."""
        self.process.terminate()
        return self.process.wait(30.0)


@contextmanager
def a_host(plan: Plan, workers: int, before: Callable[[int], None] | None = None) -> Iterator[Host]:
    """Running until the block ends; `before` gets the pid of the supervisor before it begins."""
    command = [sys.executable, "-m", "tests.support.chaos.alone", msgspec.json.encode(plan).decode(), str(workers)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        host = Host(process)
        try:
            if before is not None:
                before(process.pid)
            assert process.stdin is not None
            process.stdin.write("begin\n")
            process.stdin.flush()
            yield host
        finally:
            if process.poll() is None:
                host.power_cut()


@contextmanager
def little_memory(size: int) -> Iterator[Callable[[int], None] | None]:
    """Puts a process, and what it starts, into a control group of this many bytes; None where we may not make one."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, kinds, path = line.split(":", 2)
        if number != "0" and "memory" not in kinds.split(","):
            continue
        parent = CGROUPS / ("memory" if number != "0" else "") / path.lstrip("/")
        limit = "memory.limit_in_bytes" if number != "0" else "memory.max"
        group = parent / f"headrace-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / limit).write_text(str(size))
        except OSError:  # it is not memory that this hierarchy limits
            group.rmdir()
            continue
        try:
            yield Group(group).enter
            return
        finally:
            group.rmdir()
    yield None


class Group:
    """A control group."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def enter(self, pid: int) -> None:
        """Move a process into it."""
        (self._folder / "cgroup.procs").write_text(str(pid))
