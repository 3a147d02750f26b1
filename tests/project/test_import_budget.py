"""`import headrace` is light, and leaves nothing open or running: workers are forked from it."""

import json
import subprocess
import sys
from dataclasses import dataclass

import msgspec
import pytest

PROBE = """
import json, os, sys, threading
events = []
watched = {"socket.__new__", "subprocess.Popen", "os.fork", "_thread.start_new_thread"}
def watch(event, args):
    if event in watched:
        events.append(event)
    elif event == "open" and (args[2] & (os.O_WRONLY | os.O_RDWR)):
        events.append(f"open {args[0]}")
descriptors = lambda: sorted(os.listdir("/proc/self/fd"))
before, modules = descriptors(), set(sys.modules)
sys.dont_write_bytecode = True
sys.addaudithook(watch)
import headrace
print(json.dumps({
    "events": events,
    "left_open": [fd for fd in descriptors() if fd not in before],
    "threads": [thread.name for thread in threading.enumerate()],
    "modules": sorted(set(sys.modules) - modules),
}))
"""
HEAVY = {
    "asyncpg", "attrs", "cyclopts", "psutil", "pydantic", "rich", "sqlite3", "uvloop", "unittest",
}  # fmt: skip


@dataclass(frozen=True)
class Import:
    events: list[str]
    left_open: list[str]
    threads: list[str]
    modules: list[str]


@pytest.fixture(scope="module")
def imported() -> Import:
    """What one `import headrace` does in a fresh interpreter."""
    probe = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=False)
    assert probe.returncode == 0, probe.stderr
    return msgspec.convert(json.loads(probe.stdout), Import)


def test_import_starts_no_thread_and_no_process(imported: Import) -> None:
    assert imported.threads == ["MainThread"]
    assert imported.events == []


def test_import_leaves_no_file_open(imported: Import) -> None:
    assert imported.left_open == []


@pytest.mark.parametrize(
    ("prefix", "budget"),
    [
        ("", 200),  # with the standard library
        ("headrace", 30),
    ],
)
def test_import_stays_within_its_budget(imported: Import, prefix: str, budget: int) -> None:
    counted = [name for name in imported.modules if name.startswith(prefix)]
    assert len(counted) <= budget, f"{len(counted)} modules: {' '.join(counted)}"


def test_import_brings_no_driver_and_no_command_line(imported: Import) -> None:
    assert {name.split(".")[0] for name in imported.modules} & HEAVY == set()
