"""The program of the architecture, word for word, by itself and from outside."""

import asyncio
from pathlib import Path

import pytest

from tests.support.programs import run

HELLO = """\
from dataclasses import dataclass
from headrace import App, Context, Retry

app = App("{store}")

@app.task(queue="mail", retry=Retry(max=3, first="1s", factor=2, cap="60s", jitter=0.1))
def greet(name: str, times: int = 1) -> str:
    return " ".join([f"Hello, {{name}}!"] * times)

@dataclass(frozen=True)
class OrderPaid:
    order_id: int

@app.handler(OrderPaid)
async def send_receipt(message: OrderPaid, ctx: Context) -> None:
    ctx.progress(0.3, "rendering")
    ctx.log("page 3")
"""
SEND = """
if __name__ == "__main__":
    job = greet.enqueue("Ada", times=2)
    later = greet.using(delay="10m", priority=5, unique="ada").enqueue("Ada")
    [receipt] = app.dispatch(OrderPaid(42))
    print(job.status(), later.status(), receipt.status(), later.cancel())
    print(job.id, receipt.id)
"""
WORK = """
import asyncio, sys
from hello import app
from headrace.compose import work_here
from headrace.worker.settings import WorkerSettings

async def main():
    settings = WorkerSettings(queues=("mail", "default"), drain=True)
    print(await work_here(app.parts, settings, await app.connections()))

asyncio.run(main())
"""
ASK = """
import sys
from hello import app

first, second = map(app.job, sys.argv[1:])
print(first.result(timeout=5))
print(second.status(), second.result(timeout=5))
"""


async def test_program_works_as_printed(store: str, tmp_path: Path) -> None:
    hello, work, ask = (tmp_path / f"{name}.py" for name in ("hello", "work", "ask"))
    hello.write_text(HELLO.format(store=store) + SEND)
    work.write_text(WORK)
    ask.write_text(ASK)

    states, ids = (await asyncio.to_thread(run, hello)).splitlines()
    assert states == "pending pending pending cancelled"
    assert await asyncio.to_thread(run, work) == "drained\n"
    answers = (await asyncio.to_thread(run, ask, *ids.split())).splitlines()

    assert answers == ["Hello, Ada! Hello, Ada!", "completed None"]


# ── closing: nothing is left open, nobody has to say so ──────────────────────────────────────

ASYNC = """
import asyncio

async def main():
    job = await greet.aenqueue("Ada")
    await job.astatus()

asyncio.run(main())
asyncio.run(main())
print("done")
"""
EXPLICIT = """
import asyncio

async def main():
    await greet.aenqueue("Ada")
    await app.aclose()
    await greet.aenqueue("Bob")
    await app.aclose()

asyncio.run(main())
greet.enqueue("Cleo")
app.close()
greet.enqueue("Dora")
app.close()
app.close()
print("done")
"""
BOTH = """
import asyncio

job = greet.enqueue("Ada")

async def main():
    print(await job.astatus())
    await greet.aenqueue("Bob")

asyncio.run(main())
print(job.status())
"""
WAITING = """
import contextlib, threading

job = greet.enqueue("Ada")

def wait():
    with contextlib.suppress(BaseException):
        job.result()

threading.Thread(target=wait, daemon=True).start()
print(job.status())
"""


@pytest.mark.parametrize(
    ("program", "printed"),
    [(ASYNC, "done\n"), (EXPLICIT, "done\n"), (BOTH, "pending\npending\n"), (WAITING, "pending\n")],
    ids=["asyncio.run", "explicit", "both", "while a thread waits"],
)
def test_program_leaves_nothing_open(store: str, tmp_path: Path, program: str, printed: str) -> None:
    script = tmp_path / "hello.py"
    script.write_text(HELLO.format(store=store) + program)

    assert run(script) == printed


FORK = """
import os

first = greet.enqueue("Ada")
read, write = os.pipe()
if os.fork() == 0:
    job = greet.enqueue("child")
    os.write(write, f"{job.id} {job.status()} {first.status()}".encode())
    os._exit(0)
os.wait()
told = os.read(read, 200).decode().split()
second = greet.enqueue("parent")
print(told[1:], app.job(told[0]).status(), first.status(), second.status())
app.close()
"""


def test_forked_child_gets_connections_of_its_own(store: str, tmp_path: Path) -> None:
    script = tmp_path / "hello.py"
    script.write_text(HELLO.format(store=store) + FORK)

    assert run(script, strict=False) == "['pending', 'pending'] pending pending pending\n"


def test_environment_wins_over_the_program(store: str, tmp_path: Path) -> None:
    script = tmp_path / "hello.py"
    script.write_text(HELLO.format(store="sqlite:///nowhere/at/all.db") + "\nprint(greet.enqueue('Ada').status())\n")

    assert run(script, HEADRACE_STORE=store) == "pending\n"


def test_script_and_import_agree_on_names(tmp_path: Path) -> None:
    script = tmp_path / "hello.py"
    script.write_text(HELLO.format(store="memory://") + "\nprint(greet.name)\n")
    other = tmp_path / "other.py"
    other.write_text("import hello\n")

    assert run(script) == run(other) == "hello.greet\n"
