"""Programs as users write them, run by a Python of their own; and an application drained in this one."""

import os
import subprocess
import sys
from pathlib import Path

from headrace import App
from headrace.compose import work_here
from headrace.worker.settings import WorkerSettings
from tests.support.stores import soon

LIMIT = 60.0


def run(program: Path, *arguments: str, strict: bool = True, **environment: str) -> str:
    """What a program prints. It must succeed, and leave no warning and no message."""
    ran = subprocess.run(
        [sys.executable, *(("-W", "error") if strict else ()), str(program), *arguments],
        cwd=program.parent,
        env={**{name: value for name, value in os.environ.items() if name != "HEADRACE_STORE"}, **environment},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr
    return ran.stdout


async def drained(app: App, *queues: str, concurrency: int = 2) -> str:
    """Work for the application in this loop until there is nothing to do now."""
    settings = WorkerSettings(queues=queues or ("default",), concurrency=concurrency, drain=True, name="w1")
    return await soon(work_here(app.parts, settings, await app.connections()))
