"""`headrace work`: it becomes a worker, tells of each job, and ends when it is told."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from tests.cli.conftest import Shell


def test_script_and_worker_agree_on_names(shell: Shell) -> None:
    queued = subprocess.run([sys.executable, "hello.py"], cwd=shell.folder, capture_output=True, text=True, check=True)

    told = shell.run("work", "-a", "hello:app", "--drain").out

    job = queued.stdout.strip()
    assert f"greet  {job[:8]}..{job[-8:]}  started" in told
    assert "done" in told
    assert "'Hello, Ada! Hello, Ada!'" in told
    assert shell.run("jobs", "show", job, "--json").json()["type"] == "hello.greet"


def test_worker_ends_within_a_second_of_sigterm(shell: Shell) -> None:
    shell.run("enqueue", "greet", "name=Ada")
    worker = shell.start("work")
    assert worker.stdout is not None
    while "done" not in worker.stdout.readline():
        pass

    began = time.monotonic()
    worker.send_signal(signal.SIGTERM)

    assert worker.wait(10) == 0
    assert time.monotonic() - began < 1.0
    assert worker.stderr is not None
    assert "stopped: SIGTERM" in worker.stderr.read()


def test_once_takes_one_message_and_none_where_there_is_none(shell: Shell) -> None:
    shell.run("enqueue", "greet", "name=Ada", "--repeat", "3")

    shell.run("work", "--once")
    assert len(shell.run("jobs", "list", "state=completed", "-q").lines()) == 1

    shell.run("work", "--drain")
    assert shell.run("work", "--once").out == ""


def test_script_itself_becomes_the_worker(shell: Shell) -> None:
    shell.run("enqueue", "greet", "name=Ada", script=True)

    assert "'Hello, Ada!'" in shell.run("work", "--drain", script=True).out
    assert "HR206" in shell.run("work", "-a", "nope:app", code=3, script=True).err


def test_jobs_are_told_as_json_lines(shop: Shell) -> None:
    shop.run("enqueue", "charge", "customer=1")

    ran = shop.run("work", "--drain", "--json")

    started, failed = [msgspec.json.decode(line) for line in ran.lines()]
    assert (started["event"], failed["event"]) == ("started", "failed")
    assert started["id"] == failed["id"]
    assert "ValueError: no card for 1" in failed["error"]


def test_quiet_worker_tells_only_what_went_wrong(shop: Shell) -> None:
    shop.run("enqueue", "charge", "customer=1")
    shop.run("enqueue", "charge", "customer=2")

    ran = shop.run("work", "--drain", "-q")

    assert len(ran.lines()) == 1
    assert "failed" in ran.out
    assert ran.err == ""


def test_every_log_record_of_a_job_has_its_id(shop: Shell) -> None:
    job = shop.run("enqueue", "report", "pages=1").out.strip()

    assert f"made 1 pages  [{job[:8]}..{job[-8:]}]" in shop.run("work", "mail", "--drain").err
    shop.run("enqueue", "report", "pages=1")
    logged = msgspec.json.decode(shop.run("work", "mail", "--drain", "--json").err)
    assert logged["message"] == "made 1 pages"
    assert logged["job"]


def test_worker_takes_all_queues_of_the_app_unless_some_are_named(shop: Shell) -> None:
    shop.run("enqueue", "charge", "customer=2")
    shop.run("enqueue", "report", "pages=1")

    assert "report" not in shop.run("work", "default", "--drain").out
    assert "report" in shop.run("work", "--drain").out


def test_worker_goes_on_when_nobody_reads_what_it_tells(shell: Shell) -> None:
    shell.run("enqueue", "greet", "name=Ada", "--repeat", "20")
    worker = shell.start("work", "--drain")
    assert worker.stdout is not None
    worker.stdout.close()

    assert worker.wait(20) == 0
    assert len(shell.run("jobs", "list", "state=completed", "-q").lines()) == 20


def test_worker_on_postgres(shell: Shell, database: str) -> None:
    shell.store = database
    shell.run("enqueue", "greet", "name=Ada")

    assert "'Hello, Ada!'" in shell.run("work", "--drain").out
    assert shell.run("status", "--json").json()["store"].startswith("postgresql://")
    job = shell.run("jobs", "list", "-q").out.strip()
    assert shell.run("jobs", "wait", f"..{job[-6:]}").out == "Hello, Ada!\n"
    assert shell.run("db", "check").out.endswith("fits this code\n")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("-a", "nope:app"), 3, "HR206  cannot import 'nope'"),
        (("-a", "hello"), 3, "HR206  'hello' is not an import string"),
        (("-a", "hello:greet"), 3, "hello has app"),
        (("-a", "broken:app"), 3, "ZeroDivisionError"),
        (("--store", "postgress://x"), 3, "HR201"),
        (("--limit", "0"), 2, "HR109"),
        (("--memory-limit", "3X"), 2, "HR109"),
        (("--time-limit", "soon"), 2, "HR109"),
        (("--limt", "3"), 2, "Did you mean --limit?"),
    ],
)
def test_worker_that_cannot_start_says_why(shell: Shell, words: tuple[str, ...], code: int, says: str) -> None:
    Path(shell.folder, "broken.py").write_text("1 / 0")

    assert says in shell.run("work", *words, code=code).err
    error = shell.run("work", *words, "--json", code=code).json()["error"]
    assert error["what"]
