"""What type checkers say of an application: wrong calls are errors, right ones are not."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CALLS = ROOT / "tests" / "typing" / "calls.py"


def wrong_lines() -> set[int]:
    return {number for number, line in enumerate(CALLS.read_text().splitlines(), 1) if line.endswith("# wrong")}


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ["mypy", "--strict", "--no-error-summary", "--cache-dir", ".cache/mypy-calls"],
        ["basedpyright", "--level", "error"],
    ],
    ids=["mypy", "basedpyright"],
)
def test_exactly_the_wrong_calls_are_errors(command: list[str]) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", *command, str(CALLS)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    found = {int(line) for line in re.findall(r"calls\.py:(\d+)", ran.stdout)}
    assert found == wrong_lines(), ran.stdout + ran.stderr
