"""Commands that change something: they count first, ask, and do nothing in a dry run."""

import ctypes
import os
import subprocess

import pytest

from tests.cli.conftest import SCRIPT, Shell

OVERRIDE = 1  # CAP_DAC_OVERRIDE: with it, root may write what nobody may
DROP = 24  # PR_CAPBSET_DROP


def states(shell: Shell) -> list[str]:
    return sorted(job["state"] for job in shell.run("jobs", "list", "--json").json())


@pytest.fixture
def failed(shop: Shell) -> Shell:
    """Three failed jobs and one that waits."""
    shop.run("enqueue", "charge", "customer=1", "--repeat", "3")
    shop.run("work", "--drain", "-q")
    shop.run("enqueue", "report", "pages=1")
    return shop


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("jobs", "retry", "--where", "state=failed"), "would retry 3 jobs"),
        (("jobs", "cancel", "--where", "type=report"), "would cancel 1 job"),
        (("jobs", "delete", "--where", "type=charge"), "would delete 3 jobs"),
        (("failed", "retry", "--all"), "would retry 3 dead letters: 3 shop.charge (queue default)"),
        (("failed", "remove", "--all"), "would remove 3 dead letters: 3 shop.charge (queue default)"),
        (("db", "prune", "--failed", "0s"), "would remove 3 failed jobs"),
    ],
)
def test_nothing_changes_in_a_dry_run_or_unconfirmed(failed: Shell, words: tuple[str, ...], says: str) -> None:
    before = failed.run("jobs", "list", "--json").json(), failed.run("failed", "list", "--json").json()

    assert failed.run(*words, "--dry-run").out.strip() == says
    assert failed.run(*words, "--dry-run", "--json").json()["dry_run"] is True
    assert "HR501" in failed.run(*words, code=5).err
    assert failed.run(*words, "--json", code=5).json()["error"]["code"] == "HR501"

    assert (failed.run("jobs", "list", "--json").json(), failed.run("failed", "list", "--json").json()) == before


def test_many_jobs_are_retried_cancelled_and_deleted(failed: Shell) -> None:
    assert "queued anew: 3 jobs" in failed.run("jobs", "retry", "--where", "state=failed", "--yes").err
    assert states(failed) == ["pending"] * 4

    assert failed.run("jobs", "cancel", "--where", "type=charge", "--yes", "--json").json() == {"count": 3}
    assert states(failed) == ["cancelled"] * 3 + ["pending"]

    failed.run("jobs", "delete", "--where", "state=cancelled,pending", "-y")
    assert states(failed) == []
    assert "no job to delete" in failed.run("jobs", "delete", "--where", "type=charge", "-y").err


def test_one_job_that_is_named_is_not_asked_about(failed: Shell) -> None:
    job = failed.run("jobs", "list", "state=failed", "-q").lines()[0]

    failed.run("jobs", "retry", f"{job[:8]}..{job[-8:]}")
    assert "it is pending" in failed.run("jobs", "retry", job, code=1).err
    failed.run("jobs", "cancel", job)
    assert failed.run("jobs", "show", job, "--json").json()["state"] == "cancelled"
    failed.run("jobs", "delete", job, code=5)


def test_dead_letters_are_retried_and_removed_by_group(failed: Shell) -> None:
    [group] = failed.run("failed", "list", "-q").lines()

    failed.run("failed", "retry", group[:4], "--yes")
    assert failed.run("failed", "list").out == ""
    failed.run("work", "default", "--drain", "-q")
    assert failed.run("failed", "remove", "--all", "--yes", "--json").json() == {"count": 3}
    assert "no dead letter to remove" in failed.run("failed", "remove", "--all", "--yes").err


def test_prune_removes_what_is_old_enough(failed: Shell) -> None:
    assert "nothing is that old" in failed.run("db", "prune", "--yes").err
    assert failed.run("db", "prune", "--failed", "0s", "--yes", "--json").json() == {"done": 0, "failed": 3, "dead": 0}
    assert states(failed) == ["pending"]


def test_upgrade_makes_the_tables_once(shell: Shell) -> None:
    assert "applied 0001_spine" in shell.run("db", "upgrade").out
    assert "nothing to do" in shell.run("db", "upgrade").err
    shell.run("db", "check")


def test_bench_measures_and_leaves_nothing(shell: Shell) -> None:
    found = shell.run("bench", "--jobs", "200", "--json").json()

    assert found["drain"] > 0
    assert 0 < found["latency_p50"] <= found["latency_p99"]
    assert shell.run("jobs", "list", "--json").json() == []
    assert shell.run("queues", "list", "--json").json() == []


def test_file_that_cannot_be_written_is_said_to_be_so(shell: Shell) -> None:
    shell.run("enqueue", "greet", "name=Ada")
    for file in shell.folder.glob("jobs.db*"):
        file.chmod(0o444)
    shell.folder.chmod(0o555)

    def lose_the_right() -> None:
        if os.geteuid() == 0:
            ctypes.CDLL(None).prctl(DROP, OVERRIDE, 0, 0, 0)

    command = [str(SCRIPT), "enqueue", "greet", "name=Ada"]
    done = subprocess.run(
        command,
        cwd=shell.folder,
        env=shell.environment(),
        preexec_fn=lose_the_right,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 3, done.stderr
    assert done.stderr.startswith("HR215")


def test_the_same_on_postgres(shop: Shell, database: str) -> None:
    shop.store = database
    shop.run("enqueue", "charge", "customer=1", "--repeat", "2")
    shop.run("work", "--drain", "-q")

    [group] = shop.run("failed", "list", "--json").json()
    assert group["count"] == 2
    assert "Traceback" in shop.run("failed", "show", group["fingerprint"][:4]).out
    assert "2 failures in the last hour" in shop.run("status").out
    shop.run("failed", "retry", group["fingerprint"], "--yes")
    assert states(shop) == ["pending"] * 2
    shop.run("jobs", "cancel", "--where", "args.customer=1 type=charge", "--yes")
    assert "remove 2 done jobs" in shop.run("db", "prune", "--done", "0s", "--dry-run").out
    assert shop.run("jobs", "delete", "--where", "state=cancelled", "--yes", "--json").json() == {"count": 2}
    assert shop.run("bench", "--jobs", "100", "--json").json()["drain"] > 0
    assert states(shop) == []
