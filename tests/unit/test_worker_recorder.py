"""The flight recorder can be read when its writer is gone."""

import os
import signal
from pathlib import Path

import pytest

from headrace.worker.recorder import Recorder, read


def test_what_was_started_and_not_stopped_is_read(tmp_path: Path) -> None:
    path = tmp_path / "recorder"
    recorder = Recorder(path, 4)
    assert read(path) == []

    recorder.start(0, (11, 1))
    recorder.start(3, (2**62, 2**40))
    recorder.start(1, (12, 1))
    recorder.stop(1)
    recorder.start(0, (13, 2))

    assert read(path) == [(13, 2), (2**62, 2**40)]
    recorder.close()
    assert read(path) == [(13, 2), (2**62, 2**40)]


@pytest.mark.parametrize(
    ("content", "receipts"), [(b"", []), (b"\1" * 15, []), (b"\1" + bytes(7) + b"\2" + bytes(9), [(1, 2)])]
)
def test_file_that_is_cut_short_has_what_is_whole(tmp_path: Path, content: bytes, receipts: list[object]) -> None:
    path = tmp_path / "recorder"
    path.write_bytes(content)
    assert read(path) == receipts


def test_worker_that_died_before_it_had_a_recorder_was_running_nothing(tmp_path: Path) -> None:
    assert read(tmp_path / "recorder") == []


def test_recorder_outlives_a_kill_of_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "recorder"
    pid = os.fork()
    if pid == 0:
        Recorder(path, 2).start(1, (5, 6))
        os.kill(os.getpid(), signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    assert read(path) == [(5, 6)]


def test_recorder_is_for_its_owner_only(tmp_path: Path) -> None:
    Recorder(tmp_path / "recorder", 1).close()
    assert (tmp_path / "recorder").stat().st_mode & 0o777 == 0o600
