"""New code: it is loaded beside the old, and takes over only if it can be loaded."""

from pathlib import Path

import pytest

from headrace.supervisor import events
from headrace.supervisor.settings import ConsumerSettings, Loading
from tests.support.supervising import ROOT, gone, supervising

pytestmark = pytest.mark.slow

GOOD = "from tests.support.seat_worker import load\n"


def given_code(folder: Path, code: str) -> Loading:
    """An application in a folder; called again it is changed."""
    app = folder / "app_of_test.py"
    app.write_text(code)
    for stale in folder.rglob("*.pyc"):  # written within the same second, of the same size
        stale.unlink()
    return Loading("app_of_test:load", path=(str(folder), ROOT), patient=True)


async def test_new_code_replaces_every_worker(tmp_path: Path) -> None:
    settings = ConsumerSettings("steady", 2)
    async with supervising(settings, loading=given_code(tmp_path, GOOD)) as watched:
        await watched.some(events.WorkerReady, 2)
        (zygote,) = watched.all(events.ZygoteReady)
        before = {view.pid for view in watched.supervisor.workers}

        given_code(tmp_path, f"# changed\n{GOOD}")
        watched.supervisor.reload()
        await watched.some(events.WorkerReady, 4)
        exits = await watched.some(events.WorkerExited, 2)

        after = {view.pid for view in watched.supervisor.workers}
        assert len(after) == 2
        assert not after & before
        assert all(gone(pid, within=3.0) for pid in [*before, zygote.pid])
        assert {(e.clean, e.again) for e in exits} == {(True, None)}
        assert len(watched.all(events.Reloaded)) == 1


async def test_stuck_worker_of_the_old_code_is_killed_after_the_grace_for_reloads(tmp_path: Path) -> None:
    settings = ConsumerSettings("stubborn", 1, grace=60.0, reload_grace=0.3)
    async with supervising(settings, loading=given_code(tmp_path, GOOD)) as watched:
        await watched.some(events.WorkerReady)
        watched.supervisor.reload()
        (exited,) = await watched.some(events.WorkerExited)
        waited = watched.times(events.WorkerExited)[0] - watched.times(events.Reloaded)[0]
        assert 0.3 <= waited < 1.3
        assert exited.evidence.detail.startswith("new code replaces it; it had no more time to finish")
        assert len(watched.supervisor.workers) == 1


@pytest.mark.parametrize(
    ("code", "last_line"),
    [
        ("def load(:\n", "SyntaxError: invalid syntax"),
        ("import missing_module\n", "ModuleNotFoundError: No module named 'missing_module'"),
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
    ],
)
async def test_broken_code_keeps_the_old_workers_and_is_explained(tmp_path: Path, code: str, last_line: str) -> None:
    async with supervising(ConsumerSettings("steady", 1), loading=given_code(tmp_path, GOOD)) as watched:
        await watched.some(events.WorkerReady)
        before = [view.pid for view in watched.supervisor.workers]

        given_code(tmp_path, code)
        watched.supervisor.reload()
        (failed,) = await watched.some(events.ReloadFailed)

        assert failed.text.splitlines()[-1] == last_line
        assert f'{tmp_path}/app_of_test.py", line 1' in failed.text
        assert "headrace/supervisor" not in failed.text
        assert [view.pid for view in watched.supervisor.workers] == before

        given_code(tmp_path, GOOD)
        watched.supervisor.reload()
        await watched.some(events.Reloaded)


async def test_supervisor_waits_for_better_code_when_told_to(tmp_path: Path) -> None:
    async with supervising(ConsumerSettings("steady", 1), loading=given_code(tmp_path, "1 / 0\n")) as watched:
        await watched.some(events.LoadFailed)
        given_code(tmp_path, GOOD)
        watched.supervisor.reload()
        await watched.some(events.WorkerReady)
        assert watched.code is None


async def test_only_the_last_of_two_quick_reloads_counts(tmp_path: Path) -> None:
    async with supervising(ConsumerSettings("steady", 1), loading=given_code(tmp_path, GOOD)) as watched:
        await watched.some(events.WorkerReady)
        watched.supervisor.reload()
        watched.supervisor.reload()
        await watched.some(events.WorkerReady, 2)
        watched.supervisor.stop()
        assert await watched.ended() == 0
        assert len(watched.all(events.Reloaded)) == 1
        assert watched.all(events.ReloadFailed) == []
