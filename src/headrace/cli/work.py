"""`headrace work`: parses, then becomes `python -m headrace.worker`, which holds no command line."""

import os
import sys
from typing import Annotated, NoReturn

import msgspec
from cyclopts import Parameter

from headrace import config
from headrace.cli.asked import NOTHING, Asked, Flag, duration, size
from headrace.errors import BadOption
from headrace.worker.limits import Limits
from headrace.worker.order import Order, Told
from headrace.worker.settings import WorkerSettings


def work(  # noqa: PLR0913  # each is an option
    *queues: str,
    concurrency: Annotated[int, Parameter(name=("--concurrency", "-c"))] = 1,
    limit: int | None = None,
    failure_limit: int | None = None,
    memory_limit: str | None = None,
    time_limit: str | None = None,
    drain: Flag = False,
    once: Flag = False,
    fair: Flag = False,
    grace: str = "30s",
    asked: Asked = NOTHING,
) -> NoReturn:
    """Run one worker process until it is told to stop.

    SIGTERM or Ctrl-C: finish what is running; a second one: now. Each job is told on stdout;
    --quiet tells only what went wrong, --json tells it as JSON lines.

    Parameters
    ----------
    queues
        In order of priority; none: all that the app's tasks use, in turn.
    concurrency
        Jobs at a time.
    limit
        End after so many messages.
    failure_limit
        End after so many failed attempts.
    memory_limit
        End when the process has grown so large: 512M.
    time_limit
        End after so long: 1h.
    drain
        End when the queues are empty.
    once
        Take at most one message; end if there is none.
    fair
        Take the queues in turn instead of in order of priority.
    grace
        What running jobs get to finish when the worker is told to stop.
    """
    for option, value in (("--concurrency", concurrency), ("--limit", limit), ("--failure-limit", failure_limit)):
        if value is not None and value < 1:
            raise BadOption(f"{option}={value} is out of range", hint="give 1 or more")
    limits = Limits(
        messages=1 if once else limit,
        failures=failure_limit,
        memory=None if memory_limit is None else size(memory_limit, "--memory-limit"),
        seconds=None if time_limit is None else duration(time_limit, "--time-limit"),
    )
    settings = WorkerSettings(
        queues=queues,
        concurrency=concurrency,
        fair=fair,
        grace=duration(grace, "--grace"),
        drain=drain or once,
        limits=limits,
    )
    colour = sys.stdout.isatty() and not asked.no_color and config.colour()
    told: Told = "json" if asked.json else "failures" if asked.quiet else "colour" if colour else "text"
    order = Order(app=config.app(asked.app), store=asked.store, settings=settings, told=told)
    sys.stdout.flush()
    argument = msgspec.json.encode(order).decode()
    os.execv(sys.executable, [sys.executable, "-P", "-m", "headrace.worker", argument])  # noqa: S606
