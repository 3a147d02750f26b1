"""From tokens to one command: cyclopts parses; every error becomes text and an exit code here."""

import sys

import msgspec
from cyclopts import App, CycloptsError, UnknownCommandError

from headrace.cli import COMMANDS
from headrace.errors import HeadraceError


def run(tokens: list[str]) -> int:
    """Run the command of `tokens`; its exit code."""
    app = App(
        name="headrace",
        help_format="plaintext",
        help_formatter="plain",
        help_flags=["--help", "-h"],
        version_flags=[],
        print_error=False,
        exit_on_error=False,
        suppress_keyboard_interrupt=False,
        result_action="return_value",
    )
    for command in COMMANDS:
        app.command(command.target, name=command.name)
    as_json = "--json" in tokens
    try:
        code = app(_rewritten(tokens))
    except CycloptsError as error:
        hint = " ".join(["see: headrace", *(error.command_chain or ()), "--help"])
        return misused(_sentence(error), hint, as_json=as_json)
    except HeadraceError as error:
        parts = {"code": error.code, "what": error.what, "where": error.where, "why": error.why, "hint": error.hint}
        _report(parts, str(error), as_json=as_json)
        return error.exit_code
    return code if isinstance(code, int) else 0


def misused(what: str, hint: str, *, as_json: bool) -> int:
    """Say that the command line makes no sense; the exit code."""
    _report({"code": "usage", "what": what, "where": "", "why": "", "hint": hint}, f"{what}\n{hint}", as_json=as_json)
    return 2


def _rewritten(tokens: list[str]) -> list[str]:
    """`--wait=5s` is `--wait --timeout=5s`: cyclopts has no options with an optional value."""
    made: list[str] = []
    for word in tokens:
        made += ["--wait", f"--timeout={word[7:]}"] if word.startswith("--wait=") else [word]
    return made


def _sentence(error: CycloptsError) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, UnknownCommandError):
        text = text.replace(" Available commands: ", " There are: ")
    return text


def _report(parts: dict[str, str], text: str, *, as_json: bool) -> None:
    sys.stdout.flush()
    if as_json:
        print(msgspec.json.encode({"error": parts}).decode())
    else:
        print(text, file=sys.stderr)
