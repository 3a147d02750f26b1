"""README and the first tutorial are followed as a reader would, in an empty environment."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.support.pages import Block, Reader, agrees, blocks, commands

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "docs/start.md"]
POSTGRES = "postgresql://localhost/jobs"  # in a page: the reader's own server


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it would be published."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
        str(ROOT),
    ]
    subprocess.run([sys.executable, "-m", *build], check=True)
    return next(folder.glob("*.whl"))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_page_does_what_it_says(page: str, wheel: Path, database: str, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    folder = tmp_path / "reader"
    folder.mkdir()
    ours = ("HEADRACE", "PYTHON", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment = {
        **kept,
        "PATH": f"{tmp_path / 'venv' / 'bin'}:{os.environ['PATH']}",
        "COLUMNS": "120",
        "NO_COLOR": "1",
        "TERM": "dumb",
    }
    said = {
        "pip install headrace": f"pip install --quiet {wheel}",
        'pip install "headrace[': f'pip install --quiet "{wheel}[',
        POSTGRES: database,
    }
    Reader(folder, environment, said).follow(ROOT / page)


@pytest.mark.parametrize(
    ("shown", "output", "same"),
    [
        (["done"], "done\n", True),
        (["done"], "done\nmore\n", False),
        ([], "", True),
        ([], "noise\n", False),
        (["a", "...", "z"], "a\nb\nc\nz\n", True),
        (["a", "...", "z"], "a\nz\n", True),
        (["a", "...", "z"], "a\nb\n", False),
        (["12:00:01  greet  done  3 ms"], "23:59:59 greet done  1.25 s\n", True),
        (["12:00:01  greet  done  3 ms"], "23:59:59 greet failed  1.25 s\n", False),
        (["01890a5d-ac96-774b-bcce-b302099a8057"], "01999999-ac96-774b-bcce-b302099a8057\n", True),
        (["3 completed"], "4 completed\n", False),
    ],
)
def test_only_ids_times_and_amounts_may_differ(shown: list[str], output: str, same: bool) -> None:
    assert agrees(shown, output) is same


def test_page_is_taken_apart_into_files_sessions_and_excuses() -> None:
    page = "\n".join(
        [
            *("```python", "# hello.py", "x = 1", "```"),
            *("<!-- not run: needs a browser -->", "```console", "$ firefox", "```"),
            *(
                "```console",
                "$ headrace dev \\",
                "  hello:app",
                "ready",
                "^C",
                "bye",
                "$ true",
                "```",
            ),
            *("```text", "not code", "```"),
        ]
    )
    named, excused, session = blocks(page)
    assert (named.file_name, named.line) == ("hello.py", 1)
    assert excused.excuse == "needs a browser"
    dev, true = commands(session)
    assert (dev.text, dev.shows, dev.interrupted) == ("headrace dev hello:app", ["ready"], ["bye"])
    assert (true.text, true.shows, true.interrupted) == ("true", [], None)


def test_reader_finds_what_is_not_true(tmp_path: Path) -> None:
    reader = Reader(tmp_path, os.environ, {"planet": "world"})

    def follow(*lines: str) -> None:
        (tmp_path / "page.md").write_text("\n".join(["```console", *lines, "```"]))
        reader.follow(tmp_path / "page.md")

    follow("$ echo hello planet", "hello planet")
    follow("$ echo HR101 no such task; exit 2", "HR101 no such task")
    follow(
        "$ trap 'echo bye; exit' INT; echo ready; while :; do read -t 1 <> <(:); done",
        "ready",
        "^C",
        "bye",
    )
    for lie in (
        ["$ echo hello", "goodbye"],
        ["$ echo hello; exit 1", "hello"],
        ["$ echo HR101", "HR101"],
    ):
        with pytest.raises(AssertionError, match=r"page\.md:2|exit status"):
            follow(*lie)


def test_file_name_is_a_comment_on_the_first_line() -> None:
    assert Block(1, "toml", "# headrace.toml\n", None).file_name == "headrace.toml"
    assert Block(1, "python", "# a remark\n", None).file_name is None
    assert Block(1, "console", "# headrace.toml\n", None).file_name is None
