"""`python -m headrace.worker ORDER`: one worker process. `headrace work` becomes it."""

import importlib
import json
import sys
from typing import Any

import msgspec

from headrace.errors import HeadraceError
from headrace.worker.console import Console, mark_records, show_records
from headrace.worker.order import Order
from headrace.worker.settings import WorkerSettings


def main(argument: str) -> int:
    """Work; the exit code."""
    order = msgspec.json.decode(argument, type=Order)
    try:
        return _work(order)
    except HeadraceError as error:
        if order.told == "json":
            parts = {"code": error.code, "what": error.what, "where": error.where, "why": error.why, "hint": error.hint}
            print(json.dumps({"error": parts}), flush=True)  # noqa: T201  # what was asked for
        else:
            print(error, file=sys.stderr)  # noqa: T201
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _work(order: Order) -> int:
    compose: Any = importlib.import_module("headrace.compose")  # above us: it joins the parts
    mark_records()
    app = compose.load_app(order.app)
    show_records(as_json=order.told == "json")
    if order.store:
        app.parts.store = order.store
    settings = order.settings_for(app.registry)
    console = Console(order.told, app.parts.clock.now)
    console.listen(app.parts.events, [kind.name for kind in app.registry.types])
    quiet = order.told in ("json", "failures", "nothing")
    if not quiet:
        console.say(f"{order.app} on {app.store}, {_queues(settings)}, {settings.concurrency} at a time")
    reason = compose.run_worker(app.parts, settings, compose.alone(), console.say)
    if not quiet:
        console.say(f"stopped: {reason}")
    return 0


def _queues(settings: WorkerSettings) -> str:
    return f"queue{'s' if len(settings.queues) > 1 else ''} {', '.join(settings.queues)}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
