"""The command line: parse, call, print. Nothing heavy is imported before the command is known."""

import difflib
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple


class Command(NamedTuple):
    """A command and where it is. target: imported only when it is the one that was asked for."""

    name: str
    target: str
    help: str
    group: str


_RUN, _LOOK, _MANAGE = "Run", "Look and act", "Manage"
COMMANDS = (
    Command("dev", "headrace.cli.dev:dev", "Run workers that reload when your code changes.", _RUN),
    Command("demo", "headrace.cli.demo:app", "Play with made-up work; no code needed.", _RUN),
    Command("work", "headrace.cli.work:work", "Run one worker process.", _RUN),
    Command("enqueue", "headrace.cli.enqueue:enqueue", "Queue one call of a task, or one message.", _RUN),
    Command("status", "headrace.cli.status:status", "Show store, queues, workers and failures on one screen.", _LOOK),
    Command("jobs", "headrace.cli.jobs:app", "List, show, wait for, retry, cancel and delete jobs.", _LOOK),
    Command("failed", "headrace.cli.failed:app", "List, show, retry and remove dead letters by their cause.", _LOOK),
    Command("queues", "headrace.cli.queues:app", "List and show queues.", _LOOK),
    Command("workers", "headrace.cli.workers:app", "List workers.", _LOOK),
    Command("types", "headrace.cli.messages:app", "List and show the tasks and messages of an app.", _LOOK),
    Command("db", "headrace.cli.db:app", "Plan, upgrade, check and prune the tables of a store.", _MANAGE),
    Command("explain", "headrace.cli.explain:explain", "Explain an error code.", _MANAGE),
    Command("bench", "headrace.cli.bench:bench", "Measure how fast your own store is.", _MANAGE),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    try:
        code = _main(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    return code


def _main(tokens: list[str]) -> int:
    if tokens[:1] == ["help"]:
        tokens = [*tokens[1:], "--help"]
    if not tokens or tokens[0] in ("-h", "--help"):
        print(page())
        return 0
    if tokens[0] in ("-V", "--version"):
        from headrace import __version__

        print(__version__)
        return 0
    place = next((place for place, token in enumerate(tokens) if token in _NAMES), -1)
    if place < 0 or (place > 0 and not tokens[0].startswith("-")):
        return _unknown(tokens)
    from headrace.cli.parser import run

    return run([*tokens[place:], *tokens[:place]])  # options before the command mean the same after it


def page() -> str:
    """What `headrace --help` prints."""
    lines = ["Usage: headrace COMMAND [OPTIONS]", "", "Background work for Python."]
    width = max(len(name) for name in _NAMES) + 2
    for group in dict.fromkeys(command.group for command in COMMANDS):
        lines += ["", f"{group}:"]
        lines += [f"  {command.name:{width}}{command.help}" for command in COMMANDS if command.group == group]
    lines += ["", "Options of every command:"]
    lines += [f"  {names:{width + 14}}{text}" for names, text in _OPTIONS]
    lines += ["", "headrace COMMAND --help says more.", _CODES]
    return "\n".join(lines)


def _unknown(tokens: list[str]) -> int:
    word = next((token for token in tokens if not token.startswith("-")), tokens[0])
    close = difflib.get_close_matches(word, _NAMES, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(_NAMES)}"
    from headrace.cli.parser import misused

    return misused(f"no command {word!r}", hint, as_json="--json" in tokens)


_NAMES = tuple(command.name for command in COMMANDS)
_OPTIONS = (
    ("-a, --app MODULE:NAME", "your App; else HEADRACE_APP"),
    ("--store DSN", "a store, without an app; else HEADRACE_STORE"),
    ("--json", "one JSON document instead of text"),
    ("-q, --quiet", "ids and data only"),
    ("--no-color", "no colour; NO_COLOR does the same"),
    ("-y, --yes", "do it without asking"),
)
_CODES = "Exit codes: 0 fine, 1 failed, 2 wrong usage, 3 configuration, 4 store unreachable, 5 refused."
