"""`headrace dev`: supervised workers that reload when the code changes."""

import asyncio
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from headrace import __version__, config
from headrace.bridge import new_loop
from headrace.bus.envelope import Receipt
from headrace.bus.transport import Evidence, Lapsed
from headrace.cli.asked import NOTHING, Asked
from headrace.cli.reach import CLOCK, application, dsn
from headrace.cli.screen import counted
from headrace.compose import releaser
from headrace.errors import AppNotFound, BadOption
from headrace.supervisor import events
from headrace.supervisor.giveback import Release
from headrace.supervisor.loop import Supervisor
from headrace.supervisor.settings import ConsumerSettings, Loading
from headrace.supervisor.sources import Sources
from headrace.transports.dsn import hidden
from headrace.worker.console import Console
from headrace.worker.order import Order, Told
from headrace.worker.settings import WorkerSettings

GRACE = 10.0  # seconds for running jobs at the end; Ctrl-C again is at once
RELOAD_GRACE = 1.5  # seconds for running jobs when new code takes over


def dev(
    app: str | None = None, /, *queues: str, workers: int = 1, concurrency: int = 10, asked: Asked = NOTHING
) -> int:
    """Run workers that reload when your code changes.

    Parameters
    ----------
    app
        Your App, as module:name; else -a or HEADRACE_APP.
    queues
        In order of priority; none: all that the app's tasks use, in turn.
    workers
        Worker processes.
    concurrency
        Jobs at a time in each.
    """
    if workers < 1 or concurrency < 1:
        raise BadOption(f"--workers={workers} --concurrency={concurrency}", hint="give 1 or more")
    named = app or config.app(asked.app)
    if not named:
        raise AppNotFound("no application was named", hint="write: headrace dev module:name")
    asked = replace(asked, app=named)
    colour = sys.stdout.isatty() and not asked.no_color and config.colour()
    told: Told = "json" if asked.json else "failures" if asked.quiet else "colour" if colour else "text"
    order = Order(
        app=named,
        store=asked.store,
        settings=WorkerSettings(queues=queues, concurrency=concurrency, grace=GRACE),
        told=told,
    )
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(_Dev(order, asked, workers).run())


class _Dev:
    """One run: a supervisor, the sources, and what is said about them."""

    def __init__(self, order: Order, asked: Asked, workers: int) -> None:
        self._order = order
        self._asked = asked
        self._workers = workers
        self._console = Console(order.told, CLOCK.now)
        self._reloading: list[str] = []
        self._giving: Release | None = None

    async def run(self) -> int:
        folder = Path.cwd()
        supervisor = Supervisor(
            [ConsumerSettings("dev", self._workers, grace=GRACE, reload_grace=RELOAD_GRACE)],
            Loading(
                "headrace.compose:load_worker",
                msgspec.json.encode(self._order).decode(),
                path=(str(folder),),
                patient=True,
            ),
            self._release,
            CLOCK,
            self._tell,
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, supervisor.stop)
        self._console.say(f"headrace {__version__}  {self._order.app}  reloading on *.py below {folder.name}/")
        watching = loop.create_task(self._watch(supervisor, folder))
        try:
            return await supervisor.run()
        finally:
            watching.cancel()

    async def _watch(self, supervisor: Supervisor, folder: Path) -> None:
        sources = Sources(folder, CLOCK)
        while True:
            self._reloading = await sources.change()
            supervisor.reload()

    async def _release(self, worker: str, started: Sequence[Receipt], evidence: Evidence) -> Sequence[Lapsed]:
        if self._giving is None:
            self._giving = releaser(application(self._asked).parts)
        return await self._giving(worker, started, evidence)

    def _tell(self, event: events.Event) -> None:
        say = self._console.say
        match event:
            case events.ZygoteReady(seconds=seconds):
                store = hidden(dsn(self._asked))
                say(f"{counted(self._workers, 'worker')} on {store}, loaded in {seconds * 1000:.0f} ms")
            case events.LoadFailed(text=text):
                say(f"the application cannot be loaded; mend it, it is tried again when a file changes\n{text}")
            case events.Reloaded():
                say(f"reloaded: {', '.join(Path(path).name for path in self._reloading[:3])}")
            case events.ReloadFailed(text=text):
                say(f"the new code cannot be loaded; the old code keeps running\n{text}")
            case events.WorkerExited(clean=False, pid=pid, evidence=evidence, again=again):
                say(f"worker {pid} died: {evidence.cause}{'' if again is None else '; another one is started'}")
            case events.JobsReleased(released=released) if released:
                say(f"{counted(len(released), 'job')} given back")
            case events.ReleaseFailed(text=text) | events.SupervisorFailed(text=text):
                say(text)
            case events.Draining(workers=workers, grace=grace) if grace:
                left = f"{grace:g} s left (Ctrl-C again to stop now)"
                say(f"finishing what {counted(workers, 'worker runs', 'workers run')}, {left}")
