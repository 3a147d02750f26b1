"""Commands that only look: they print what is there, as text and as JSON, and change nothing."""

import subprocess

import pytest

from tests.cli.conftest import SCRIPT, Shell

ASKED = [
    ("status",),
    ("jobs", "list"),
    ("jobs", "list", "state=failed", "type=charge", "age<1h", "args.customer=1"),
    ("jobs", "list", "--where", "state=completed type=report"),
    ("failed", "list"),
    ("queues", "list"),
    ("queues", "show", "mail"),
    ("workers", "list"),
    ("types", "list"),
    ("types", "show", "charge"),
    ("db", "plan"),
    ("db", "check"),
    ("explain",),
    ("explain", "hr101"),
]


@pytest.mark.parametrize("words", ASKED, ids=" ".join)
def test_each_prints_text_and_one_json_document(worked: Shell, words: tuple[str, ...]) -> None:
    text = worked.run(*words)

    assert text.out or text.err
    worked.run(*words, "--json").json()


def test_status_says_what_needs_attention(worked: Shell) -> None:
    screen = worked.run("status").out

    assert "needs attention" in screen
    assert "2 failures in the last hour" in screen
    assert "headrace failed list" in screen
    assert worked.run("status", "--json").json()["queues"]["mail"]["delayed"] == 1


def test_commands_that_need_no_code_work_without_an_app(worked: Shell) -> None:
    alone = Shell(worked.folder, store="sqlite:///jobs.db")

    assert alone.run("status").out == worked.run("status").out
    alone.run("types", "list", code=3)


@pytest.mark.parametrize("form", ["{0}", "..{1}", "{2}..{1}"])
def test_id_may_be_short_as_long_as_it_fits_one_job(worked: Shell, form: str) -> None:
    job = worked.run("jobs", "list", "type=report", "state=completed", "-q").out.strip()
    short = form.format(job, job[-8:], job[:8])

    assert worked.run("jobs", "show", short, "--json").json()["id"] == job
    assert worked.run("jobs", "logs", short).lines() == ["page 0", "page 1", "page 2"]
    assert worked.run("jobs", "logs", short, "--follow").lines() == ["page 0", "page 1", "page 2"]
    assert worked.run("jobs", "wait", short).out == "3\n"


def test_beginning_that_several_ids_share_is_refused(worked: Shell) -> None:
    job = worked.run("jobs", "list", "-q").lines()[0]

    assert "several ids fit" in worked.run("jobs", "show", job[:4], code=2).err


def test_waiting_for_a_failed_job_fails_with_its_cause(worked: Shell) -> None:
    job = worked.run("jobs", "list", "state=failed", "-q").lines()[0]

    assert "no card for 1" in worked.run("jobs", "wait", job, code=1).err


def test_failures_of_one_cause_are_one_group(worked: Shell) -> None:
    [group] = worked.run("failed", "list", "--json").json()

    assert group["count"] == 2
    assert "ValueError: no card for 1" in worked.run("failed", "list").out
    shown = worked.run("failed", "show", group["fingerprint"][:4], "--json").json()
    assert [letter["type"] for letter in shown] == ["shop.charge"] * 2
    short = f"{shown[0]['id'][:8]}..{shown[0]['id'][-8:]}"
    assert "Traceback" in worked.run("failed", "show", short).out


def test_looking_makes_no_file(shell: Shell) -> None:
    for words in (("status",), ("jobs", "list"), ("db", "check")):
        shell.run(*words, code=3)
    assert "would apply 0001_spine" in shell.run("db", "plan").out
    assert shell.run("db", "upgrade", "--sql").out.startswith("-- 0001_spine")

    assert not (shell.folder / "jobs.db").exists()


def test_output_that_nobody_reads_is_no_error(worked: Shell) -> None:
    whole = f"{SCRIPT} explain | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", whole], cwd=worked.folder, env=worked.environment(), capture_output=True, text=True, check=False
    )

    assert done.returncode in (0, 141)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("jobs", "show", "..ffffff"), 1, "HR110"),
        (("jobs", "show", "no such"), 1, "HR110"),
        (("failed", "show", "ffff"), 1, "HR110"),
        (("jobs", "list", "sate=failed"), 2, "did you mean 'state'?"),
        (("jobs", "list", "state=filed"), 2, "did you mean 'failed'?"),
        (("jobs", "list", "--limit", "many"), 2, "--limit"),
        (("jobs", "retry"), 2, "which ones?"),
        (("jobs", "lst"), 2, 'Did you mean "list"?'),
        (("types", "show", "chrge"), 2, "Closest: shop.charge"),
        (("explain", "HR999"), 2, "HR109"),
        (("status", "--jsn"), 2, "Did you mean --json?"),
        (("stats",), 2, "did you mean 'status'?"),
        (("status", "-a", "shop:nope"), 3, "try shop:app"),
        (("status", "--store", "postgress://x"), 3, "did you mean postgres"),
        (("status", "--store", "sqlite:///jobs.db?tabel=x"), 3, "did you mean 'table'?"),
        (("status", "--store", "sqlite:///none.db"), 3, "HR211"),
        (("status", "--store", "sqlite:///shop.py"), 3, "HR216"),
        (("status", "--store", "sqlite:///jobs.db?table=other"), 3, "HR211"),
        (("status", "--store", "postgresql://postgres:secret@127.0.0.1:1/x"), 4, "HR210"),
    ],
)
def test_mistake_has_its_exit_code_and_a_remedy(worked: Shell, words: tuple[str, ...], code: int, says: str) -> None:
    text = worked.run(*words, code=code)
    error = worked.run(*words, "--json", code=code).json()["error"]

    assert says in text.err
    assert text.out == ""
    assert "secret" not in text.err
    assert error["what"]
    assert error["hint"] or error["why"]


def test_no_store_was_named(shell: Shell) -> None:
    shell.app = ""

    assert "HR207" in shell.run("status", code=3).err
