"""`headrace demo`: the main job on real input, with a worker killed on the way."""

import asyncio
import os
import shutil
import sys
import sysconfig
from pathlib import Path

from cyclopts import App as Commands

from headrace.bridge import new_loop
from headrace.bus.durations import spoken
from headrace.cli.asked import NOTHING, Asked
from headrace.cli.screen import Screen, counted
from headrace.errors import BadOption
from headrace.supervisor import events

STORE = "sqlite:///headrace-demo.db"
BAR = 28

app = Commands(name="demo", help="Play with real work; no code needed.", help_format="plaintext", version_flags=[])


@app.command
def files(path: Path | None = None, /, *, workers: int = 4, kill: bool = True, asked: Asked = NOTHING) -> int:
    """Look into every file below a folder: SHA-256, size, lines, duplicates.

    Parameters
    ----------
    path
        The folder; else the standard library of this Python.
    workers
        Worker processes.
    kill
        Kill one of them on the way, and show that nothing is lost.
    """
    folder = (path or Path(sysconfig.get_paths()["stdlib"])).absolute()
    if not folder.is_dir():
        raise BadOption(f"{folder} is not a folder", hint="write: headrace demo files PATH")
    if workers < 1:
        raise BadOption(f"--workers={workers} is out of range", hint="give 1 or more")
    store = asked.store or STORE
    if store == STORE:
        for end in ("", "-wal", "-shm"):
            Path(f"headrace-demo.db{end}").unlink(missing_ok=True)
    os.environ["HEADRACE_STORE"] = store  # noqa: TID251  # for the workers as well
    from headrace.contrib.demo import FileDemo

    shown = _Shown(Screen(asked), folder, workers, store)
    shown.begin()
    with asyncio.Runner(loop_factory=new_loop) as runner:
        report = runner.run(FileDemo(folder, workers, kill, shown.tell).run())
    return 1 if report.lost else 0


class _Shown:
    """The run on a terminal, or line by line where there is none."""

    def __init__(self, screen: Screen, folder: Path, workers: int, store: str) -> None:
        self._screen = screen
        self._folder = folder
        self._workers = workers
        self._store = store
        self._live = sys.stderr.isatty() and not screen.json and not screen.quiet
        self._tenths = -1

    def begin(self) -> None:
        """What is about to happen."""
        screen = self._screen
        screen.talk(screen.paint(f"{self._workers} workers look into every file below {self._folder}", "bold"))
        screen.talk(f"store {self._store}")

    def tell(self, news: object) -> None:
        """One piece of news."""
        from headrace.contrib.demo import GivenBack, Killed, Progress, Report

        match news:
            case Progress():
                self._progress(news)
            case Killed(worker=worker, pid=pid):
                self._say(self._screen.paint(f"kill -9 {pid}  ({worker})", "red"))
            case events.WorkerExited(clean=False, pid=pid, evidence=evidence):
                self._say(f"worker {pid} is gone: {evidence.cause}")
            case events.WorkerReady(pid=pid, seconds=seconds) if self._tenths > 0:
                self._say(f"worker {pid} takes its place, ready in {spoken(seconds)}")
            case GivenBack(files=0):
                self._say("the dead worker held nothing")
            case GivenBack(files=count, running=running, seconds=seconds):
                part = f", {running} of them running" if running else ""
                text = f"{counted(count, 'file')} it held{part}: all running again {spoken(seconds)} after the kill"
                self._say(self._screen.paint(text, "green"))
            case events.LoadFailed(text=text) | events.SupervisorFailed(text=text) | events.ReleaseFailed(text=text):
                self._say(text)
            case Report():
                self._report(news)

    def _progress(self, news: object) -> None:
        from headrace.contrib.demo import Progress

        assert isinstance(news, Progress)
        share = news.done / news.total
        eta = "" if news.eta is None or news.done == news.total else f"  eta {spoken(news.eta)}"
        text = (
            f"{'█' * int(share * BAR):░<{BAR}} {share:4.0%}  {news.done:,}/{news.total:,} files  {news.rate:,.0f}/s"
            f"  queue {news.waiting:,}  on loan {news.running:,}  workers {news.workers}{eta}"
        )
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[2K{text[:width]}", end="", file=sys.stderr, flush=True)
        elif int(share * 10) > self._tenths:
            self._screen.talk(text)
        self._tenths = max(self._tenths, int(share * 10))

    def _say(self, text: str) -> None:
        if self._live:
            print("\r\x1b[2K", end="", file=sys.stderr)
        self._screen.talk(text)

    def _report(self, report: object) -> None:
        from headrace.contrib.demo import Report

        assert isinstance(report, Report)
        if self._live:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
        if self._screen.json:
            self._screen.document(report)
            return
        self._screen.fields(
            [
                ("files", f"{report.files:,}"),
                ("bytes", f"{report.bytes:,}"),
                ("lines", f"{report.lines:,}"),
                ("duplicate files", f"{report.duplicates:,}"),
                ("time", f"{spoken(report.seconds)}, {report.rate:,.0f} jobs/s"),
                ("retries", f"{report.retries}"),
                ("crashes", f"{report.crashes}"),
                ("failed", f"{report.failed}"),
                ("", f"{report.lost} lost"),
            ]
        )
        self._screen.talk(f"explore it: headrace status --store {self._store}")
        self._screen.talk(f"            headrace jobs list --store {self._store}")
