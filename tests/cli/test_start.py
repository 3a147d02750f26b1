"""How fast the command line comes up, and what it says about itself."""

import subprocess
import sys

import pytest

from headrace import __version__
from headrace.cli import COMMANDS
from tests.cli.conftest import Shell


def test_help_lists_every_command(shell: Shell) -> None:
    page = shell.run("--help", script=True).out

    assert shell.run().out == page
    assert all(command.name in page for command in COMMANDS)
    assert shell.run("--version").out.strip() == __version__


def test_help_about_a_command_does_not_run_it(shell: Shell) -> None:
    assert shell.run("help", "work").out == shell.run("work", "--help").out
    assert "no command 'run'" in shell.run("run", "work", code=2).err


@pytest.mark.parametrize("name", [command.name for command in COMMANDS])
def test_each_command_has_help(shell: Shell, name: str) -> None:
    assert shell.run(name, "--help").out.startswith(f"Usage: headrace {name}")


def test_options_before_the_command_mean_the_same(shell: Shell) -> None:
    shell.app = ""
    shell.run("-a", "hello:app", "enqueue", "greet", "name=Ada")

    assert shell.run("--store", "sqlite:///jobs.db", "--json", "jobs", "list").json()[0]["type"] == "hello.greet"


@pytest.mark.parametrize(
    ("words", "heavy"), [("--help", {"cyclopts", "rich"}), ("status", {"rich", "asyncpg", "uvloop"})]
)
def test_commands_import_only_what_they_need(shell: Shell, words: str, heavy: set[str]) -> None:
    shell.run("db", "upgrade")
    probe = f"import sys; from headrace.cli import main; main(['{words}']); print('modules', *sys.modules)"
    command = [sys.executable, "-c", probe]
    ran = subprocess.run(command, cwd=shell.folder, env=shell.environment(), capture_output=True, text=True, check=True)

    assert not heavy & {name.partition(".")[0] for name in ran.stdout.split("modules ")[-1].split()}
