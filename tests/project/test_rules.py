"""Rules of the code that no linter knows; CONTRIBUTING says why."""

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "headrace"
SOURCES = sorted(PACKAGE.rglob("*.py"))
GENERATORS = sorted(path.stem for path in (ROOT / "scripts").glob("generate_*.py"))
BROAD = {"Exception", "BaseException"}
MAY_CATCH_ALL = {
    "supervisor/loop.py": 1,  # the outermost loop: a bug is told, and supervision goes on
    "worker/execute.py": 5,  # your handlers
    "compose.py": 1,  # your module, while it is imported
    "bus/events.py": 1,  # your listeners
    "bus/fingerprint.py": 1,  # your exception's __str__
}
LONG = {"errors.py": 600}  # one page of text for each code


def catches_all(node: ast.AST) -> bool:
    """Whether this is `except:`, `except Exception`, or a suppress() of it."""
    match node:
        case ast.ExceptHandler(type=None):
            return True
        case ast.ExceptHandler(type=ast.expr() as caught):
            return any(isinstance(n, ast.Name) and n.id in BROAD for n in ast.walk(caught))
        case ast.Call(func=ast.Name("suppress") | ast.Attribute(attr="suppress"), args=args):
            return any(isinstance(arg, ast.Name) and arg.id in BROAD for arg in args)
        case _:
            return False


@pytest.mark.parametrize(
    ("code", "caught"),
    [
        ("try: f()\nexcept: pass", True),
        ("try: f()\nexcept Exception: pass", True),
        ("try: f()\nexcept (OSError, BaseException) as e: pass", True),
        ("with contextlib.suppress(Exception): f()", True),
        ("try: f()\nexcept OSError: pass", False),
        ("with suppress(OSError): f()", False),
    ],
)
def test_catching_everything_is_recognised(code: str, caught: bool) -> None:
    assert any(map(catches_all, ast.walk(ast.parse(code)))) is caught


def test_everything_is_caught_only_where_your_code_runs() -> None:
    found = [
        str(source.relative_to(PACKAGE))
        for source in SOURCES
        for node in ast.walk(ast.parse(source.read_text()))
        if catches_all(node)
    ]
    assert Counter(found) == MAY_CATCH_ALL


def test_no_file_is_longer_than_400_lines() -> None:
    files = [path for path in PACKAGE.rglob("*") if path.suffix in {".py", ".sql"}]
    assert files
    lengths = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in files}
    assert {name: length for name, length in lengths.items() if length > LONG.get(Path(name).name, 400)} == {}


def script(name: str, *arguments: str) -> str:
    """What a script says, if it fails."""
    ran = subprocess.run(
        [sys.executable, "-m", f"scripts.{name}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.stdout + ran.stderr if ran.returncode else ""


@pytest.mark.parametrize("generator", GENERATORS)
def test_generated_page_is_not_stale(generator: str) -> None:
    assert script(generator, "--check") == "", "run: make docs"


def test_links_between_pages_lead_somewhere() -> None:
    assert script("check_links") == ""


def test_changelog_begins_with_unreleased() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "[Unreleased]"


def test_requirements_have_hashes_and_name_no_host() -> None:
    for pinned in (ROOT / "requirements").glob("*.txt"):
        text = pinned.read_text()
        assert "://" not in text
        for requirement in re.split(r"\n(?=\S)", text):
            assert "--hash=sha256:" in requirement or requirement.startswith("#")
