"""Nothing outlives a supervisor that dies, whatever its workers do."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil
import pytest

from headrace.supervisor.folder import recorders
from tests.support.supervising import ROOT, gone

pytestmark = pytest.mark.slow


@contextmanager
def supervised(consumer: str, workers: int, grace: float) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A supervisor in a process of its own, and the pids of its zygote and its workers."""
    command = [sys.executable, "-m", "tests.support.supervised", consumer, str(workers), str(grace)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            pids, ready = [], 0
            while ready < workers:
                kind, _, event = process.stdout.readline().partition(" ")
                ready += kind == "WorkerReady"
                if kind in {"ZygoteReady", "WorkerSpawned"}:
                    pids.append(msgspec.json.decode(event)["pid"])
            yield process, pids
        finally:
            process.kill()


def folder_of(pid: int) -> Path:
    """The folder of the flight recorders of a worker's fleet."""
    maps = [mapped.path for mapped in psutil.Process(pid).memory_maps() if "headrace-recorders-" in mapped.path]
    return Path(maps[0]).parent


def test_workers_drain_when_their_supervisor_is_killed() -> None:
    with supervised("steady", 3, grace=60.0) as (supervisor, pids):
        folder = folder_of(pids[1])
        assert len(pids) == 4
        assert len(list(folder.iterdir())) == 3

        supervisor.kill()

        assert all(gone(pid, within=3.0) for pid in pids), "long before the grace is over"
        assert not folder.exists()


def test_stuck_workers_outlive_a_killed_supervisor_by_the_grace_only() -> None:
    with supervised("stubborn", 2, grace=1.0) as (supervisor, pids):
        supervisor.kill()
        assert not gone(pids[1], within=0.5)
        assert all(gone(pid, within=1.5) for pid in pids)


@pytest.mark.parametrize("consumer", ["steady", "stubborn"])
def test_nobody_survives_when_supervisor_and_zygote_are_killed_together(consumer: str) -> None:
    with supervised(consumer, 2, grace=60.0) as (supervisor, pids):
        folder = folder_of(pids[1])
        supervisor.kill()
        os.kill(pids[0], signal.SIGKILL)
        assert all(gone(pid, within=2.0) for pid in pids)
        supervisor.wait(5.0)
        with recorders():  # the next one sweeps
            assert not folder.exists()


def test_zygote_and_workers_ignore_what_is_meant_for_the_supervisor() -> None:
    with supervised("steady", 1, grace=60.0) as (_, (zygote, worker)):
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            os.kill(zygote, number)
        assert not gone(zygote, within=0.3)
        assert os.getpgid(worker) == worker != os.getpgid(zygote) != os.getpgid(0)
        assert os.getsid(worker) != os.getsid(0)
