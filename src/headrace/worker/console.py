"""What a worker process says to the person or the log collector that watches it."""

import json
import logging
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, TextIO

from headrace.bus import events
from headrace.bus.context import CURRENT
from headrace.bus.durations import spoken
from headrace.bus.events import Events
from headrace.bus.retry import Ack, Bury, Nack, Return, Verdict
from headrace.ledger.names import shortened
from headrace.worker.order import Told

WIDTH = 120  # characters of a result or an error
_COLOURS = {"done": "32", "started": "90", "retry": "33", "returned": "90", "parked": "33"}


class Console:
    """Tells of each job on `out`, one line for its start and one for its end; of the worker on `err`."""

    def __init__(
        self, told: Told, now: Callable[[], float], out: TextIO | None = None, err: TextIO | None = None
    ) -> None:
        self._told = told
        self._now = now
        self._out: TextIO | None = out or sys.stdout
        self._err = err or sys.stderr
        self._width = 0

    def listen(self, to: Events, types: Iterable[str] = ()) -> None:
        """Hear the events of an application; `types` are the names that lines are aligned for."""
        self._width = min(20, max((len(_last(name)) for name in types), default=0))
        if self._told in ("text", "colour", "json"):
            to.listen(events.Started, self._started)
        if self._told != "nothing":
            to.listen(events.Settled, self._settled)
        to.listen(
            events.LeaseWasLost,
            lambda event: self.say(f"{event.delivery.id}: its lease was lost; this run was not recorded"),
        )
        to.listen(events.ConnectionLost, lambda event: self.say(event.error))
        to.listen(events.Reconnected, lambda event: self.say(f"the store answers again, after {spoken(event.away)}"))

    def say(self, text: str) -> None:
        """A remark about the worker itself."""
        print(f"{_time(self._now())}  {text}", file=self._err, flush=True)

    def _started(self, event: events.Started) -> None:
        delivery = event.delivery
        facts = {"attempt": delivery.attempt, "waited": round(delivery.waited, 6)}
        self._tell("started", event, f"waited {spoken(delivery.waited)}", facts)

    def _settled(self, event: events.Settled) -> None:
        if self._told == "failures" and isinstance(event.verdict, Ack | Return):
            return
        word, text = _fate(event.verdict)
        cause = event.error.partition("\n")[0]
        outcome = _result(event.result) if isinstance(event.verdict, Ack) else cause
        facts = {
            "attempt": event.delivery.attempt,
            "ran": round(event.ran, 6),
            "result": json.loads(event.result or b"null"),
            "error": event.error or None,
        }
        self._tell(word, event, "  ".join(part for part in (text, f"{spoken(event.ran):<7}", outcome) if part), facts)

    def _tell(self, word: str, event: events.Started | events.Settled, text: str, facts: dict[str, Any]) -> None:
        if self._out is None:
            return
        delivery = event.delivery
        if self._told == "json":
            at = datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            line = json.dumps(
                {"at": at, "event": word, "id": delivery.id, "type": delivery.type, "queue": event.queue, **facts}
            )
        else:
            painted = f"\x1b[{_COLOURS.get(word, '31')}m{word:<8}\x1b[0m" if self._told == "colour" else f"{word:<8}"
            name = f"{_last(delivery.type):{self._width}}"
            line = f"{_time(self._now())}  {name}  {shortened(delivery.id)}  {painted}  {text}".rstrip()
        try:
            self._out.write(line + "\n")
            self._out.flush()
        except OSError:  # nobody reads any more; the work goes on
            self._out = None


def _fate(verdict: Verdict) -> tuple[str, str]:
    """One word, and what follows it."""
    match verdict:
        case Ack():
            return "done", ""
        case Nack(delay):
            return "retry", f"in {spoken(delay)}"
        case Bury(reason, _):
            return "failed" if reason in ("failed", "rejected") else str(reason), ""
        case Return(_, park):
            return "parked" if park else "returned", ""


def _result(result: bytes | None) -> str:
    """As Python would show it, cut."""
    if result in (None, b"null"):
        return ""
    text = repr(json.loads(result))
    return text if len(text) <= WIDTH else f"{text[:WIDTH]}…"


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _time(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).astimezone().strftime("%H:%M:%S")


# ── logging ──────────────────────────────────────────────────────────────────────────────────


def mark_records() -> None:
    """Give every log record of this process a `job`: the id of the job it was made in, or ""."""
    make = logging.getLogRecordFactory()

    def marked(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        context = CURRENT.get()
        record.job = "" if context is None else context.id
        return record

    logging.setLogRecordFactory(marked)


def show_records(*, as_json: bool) -> None:
    """Show log records from INFO on stderr, unless the application has arranged for them itself."""
    root = logging.getLogger()
    if root.handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(
        _JsonFormatter() if as_json else _TextFormatter("%(asctime)s  %(levelname)s  %(name)s  %(message)s", "%H:%M:%S")
    )
    root.addHandler(handler)
    root.setLevel(logging.INFO)


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        job = getattr(record, "job", "")
        return f"{text}  [{shortened(job)}]" if job else text


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        facts = {
            "at": at,
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "job": getattr(record, "job", "") or None,
        }
        if record.exc_info:
            facts["error"] = self.formatException(record.exc_info)
        return json.dumps(facts)
