"""The real console script, in a folder with two small applications."""

import os
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import pytest

import headrace.cli.parser  # once here, not in each fork
import headrace.compose  # noqa: F401
from headrace.cli import main

SCRIPT = Path(sys.executable).with_name("headrace")
DEADLINE = 30.0  # of one command

HELLO = """
from headrace import App

app = App("sqlite:///jobs.db")

@app.task
async def greet(name: str, times: int = 1) -> str:
    return " ".join([f"Hello, {name}!"] * times)

if __name__ == "__main__":
    print(greet.enqueue("Ada", times=2).id)
"""
SHOP = '''
import logging
from dataclasses import dataclass
from decimal import Decimal
from headrace import App, Context, Retry

app = App("sqlite:///jobs.db")

@app.task(retry=Retry(max=0))
def charge(customer: int, amount: Decimal = Decimal(1), tags: list[str] | None = None) -> str:
    """Takes the money."""
    if customer % 2:
        raise ValueError(f"no card for {customer}")
    return f"{amount} paid"

@app.task(queue="mail")
async def report(ctx: Context, pages: int) -> int:
    for page in range(pages):
        ctx.log(f"page {page}")
    logging.getLogger("shop").info("made %s pages", pages)
    return pages

@dataclass(frozen=True)
class Paid:
    order: int
    note: str = ""

@app.handler(Paid)
async def receipt(message: Paid) -> None: ...

@app.handler(Paid, queue="mail")
async def statistics(message: Paid) -> None: ...
'''


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The one document on stdout."""
        return msgspec.json.decode(self.out)

    def lines(self) -> list[str]:
        return self.out.splitlines()


@dataclass
class Shell:
    """A folder, and commands that are run in it. app and store are what the environment says."""

    folder: Path
    app: str = ""
    store: str = ""
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
        return kept | {"HEADRACE_APP": self.app, "HEADRACE_STORE": self.store, "PYTHONDONTWRITEBYTECODE": "1"}

    def run(self, *words: str, given: str = "", code: int = 0, script: bool = False) -> Ran:
        """Run to the end; it must end with this code, and never with a traceback of ours.

        script  whether to start the console script; else a fork of this process does what it does, which is quicker
        """
        ran = (self._script if script else self._fork)(words, given)
        assert ran.code == code, f"{words} ended with {ran.code}:\n{ran.out}\n{ran.err}"
        assert "Traceback (most recent call last)" not in ran.err, ran.err
        return ran

    def _script(self, words: Sequence[str], given: str) -> Ran:
        done = subprocess.run(
            [SCRIPT, *words],
            cwd=self.folder,
            env=self.environment(),
            input=given,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def _fork(self, words: Sequence[str], given: str) -> Ran:
        with tempfile.TemporaryFile() as into, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            into.write(given.encode())
            into.seek(0)
            with warnings.catch_warnings(action="ignore"):  # of Python 3.12 about threads: ours hold no locks
                child = os.fork()
            if not child:
                self._be_the_command(words, [into.fileno(), out.fileno(), err.fileno()])
            _, status = os.waitpid(child, 0)
            out.seek(0)
            err.seek(0)
            return Ran(os.waitstatus_to_exitcode(status), out.read().decode(), err.read().decode())

    def _be_the_command(self, words: Sequence[str], files: Sequence[int]) -> NoReturn:
        code = 70
        try:
            signal.alarm(int(DEADLINE))
            for number, file in enumerate(files):
                os.dup2(file, number)
            sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
            os.chdir(self.folder)
            os.environ.clear()
            os.environ.update(self.environment())
            code = main(words)
        except BaseException:  # noqa: BLE001  # whatever it is, the test shall read it
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start a command whose output is read while it runs."""
        process = subprocess.Popen(
            [SCRIPT, *words],
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process


def shell_in(folder: Path, app: str) -> Shell:
    (folder / "hello.py").write_text(HELLO)
    (folder / "shop.py").write_text(SHOP)
    return Shell(folder, app)


def ended(shell: Shell) -> None:
    for process in shell.started:
        process.kill()
        process.communicate()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """An empty store and the app hello:app."""
    made = shell_in(tmp_path, "hello:app")
    yield made
    ended(made)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shell]:
    """An empty store and the app shop:app."""
    made = shell_in(tmp_path, "shop:app")
    yield made
    ended(made)


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A store in which jobs were done, have failed and wait; for tests that only look."""
    made = shell_in(tmp_path_factory.mktemp("worked"), "shop:app")
    made.run("enqueue", "charge", "customer=2", 'tags=["a"]')
    made.run("enqueue", "charge", "customer=1", "--repeat", "2")
    made.run("enqueue", "report", "pages=3")
    made.run("work", "--drain")
    made.run("enqueue", "report", "pages=9", "--delay", "1h")
    return made
