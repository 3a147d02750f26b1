"""Each contract of pyproject.toml holds, and is broken once on purpose to see it fail."""

import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
NAMES = {contract["id"]: contract["name"] for contract in CONTRACTS}

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Breach:
    """One line added to one module, and the contract that it breaks."""

    contract: str
    module: str
    line: str


BREACHES = [
    Breach("layers", "ledger/store.py", "import headrace.worker.limits"),  # upwards
    Breach("layers", "bus/events.py", "import headrace.db.port"),  # a sibling
    Breach("layers", "worker/limits.py", "import headrace.app"),
    Breach("pure", "bus/retry.py", "import random"),
    Breach("pure", "supervisor/child.py", "import headrace.clock"),  # time, by a detour
    Breach("pure", "ledger/job.py", "import os"),
    Breach("transports", "transports/sql/store.py", "import headrace.transports.dsn"),
    Breach("lean-worker", "worker/execute.py", "import cyclopts"),
    Breach("zygote", "supervisor/zygote.py", "import headrace.worker.loop"),
    Breach("asyncpg-door", "transports/sql/__init__.py", "import asyncpg"),
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def broken(project: Path) -> set[str]:
    """The ids of the contracts that do not hold in this copy."""
    checked = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command as c; c()",
            "--no-cache",
        ],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Contracts:" in checked.stdout, checked.stdout + checked.stderr
    return {contract for contract, name in NAMES.items() if f"{name} BROKEN" in checked.stdout}


def test_contracts_hold(copy: Path) -> None:
    assert broken(copy) == set()


@pytest.mark.parametrize("breach", BREACHES, ids=lambda b: f"{b.contract}: {b.module}: {b.line}")
def test_a_breach_is_told(copy: Path, breach: Breach) -> None:
    module = copy / "src" / "headrace" / breach.module
    module.write_text(f"{module.read_text()}\n{breach.line}\n")
    assert breach.contract in broken(copy)


def test_every_contract_is_broken_once() -> None:
    assert {breach.contract for breach in BREACHES} == set(NAMES)
