"""`headrace bench`: how fast your own store is."""

import msgspec

from headrace.app import App
from headrace.bus.durations import spoken
from headrace.cli import reach
from headrace.cli.asked import NOTHING, Asked
from headrace.cli.screen import Screen
from headrace.contrib.bench import measure
from headrace.errors import BadOption


def bench(*, jobs: int = 10_000, concurrency: int = 10, asked: Asked = NOTHING) -> None:
    """Measure how fast your own store is: enqueue, drain, latency.

    Jobs that do nothing, in a queue of their own, in this one process;
    they are removed afterwards.

    Parameters
    ----------
    jobs
        How many.
    concurrency
        How many the worker runs at a time.
    """
    if jobs < 1 or concurrency < 1:
        raise BadOption("--jobs and --concurrency are 1 or more")
    screen = Screen(asked)
    app = App()
    app.parts.store = reach.dsn(asked)
    report = reach.with_app(app, lambda: measure(app, jobs, concurrency, screen.talk))
    if screen.json:
        screen.document(msgspec.structs.asdict(report))
        return
    screen.fields(
        [
            ("store", report.store),
            ("enqueue_many", f"{report.enqueue_many:>10,.0f} jobs/s   1,000 in a call"),
            ("aenqueue", f"{report.enqueue_one:>10,.0f} jobs/s   one after the other"),
            ("aenqueue", f"{report.enqueue_concurrent:>10,.0f} jobs/s   1,000 coroutines at once"),
            ("drain", f"{report.drain:>10,.0f} jobs/s   one process, {concurrency} at a time"),
            ("latency", f"{spoken(report.latency_p50):>10} p50   enqueue to start, at 50 jobs/s"),
            ("", f"{spoken(report.latency_p99):>10} p99"),
        ]
    )
