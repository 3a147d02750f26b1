"""The options of every command."""

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Group, Parameter

from headrace.bus.durations import seconds
from headrace.errors import BadOption

_GROUP = Group("Options of every command", sort_key=100)
_FLAG = Parameter(negative="", show_default=False)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@Parameter(name="*", group=_GROUP)
@dataclass(frozen=True)
class Asked:
    """What every command may be asked.

    Parameters
    ----------
    app
        Your App, as module:name; else HEADRACE_APP.
    store
        DSN of a store; wins over the app's. Else HEADRACE_STORE.
    json
        Print one JSON document instead of text; errors too.
    quiet
        Print ids and data only.
    no_color
        No colour; NO_COLOR does the same.
    yes
        Do it without asking.
    """

    app: Annotated[str | None, Parameter(name=("--app", "-a"))] = None
    store: str | None = None
    json: Annotated[bool, _FLAG] = False
    quiet: Annotated[bool, Parameter(name=("--quiet", "-q"), negative="", show_default=False)] = False
    no_color: Annotated[bool, Parameter(name=("--no-color", "--no-colour"), negative="", show_default=False)] = False
    yes: Annotated[bool, Parameter(name=("--yes", "-y"), negative="", show_default=False)] = False


NOTHING = Asked()
Flag = Annotated[bool, _FLAG]
Id = Annotated[str, Parameter(name="id")]


def duration(value: str, option: str) -> float:
    """Seconds of `90`, `90s`, `5m`; BadOption names the option."""
    return seconds(float(value) if value.replace(".", "", 1).isdigit() else value, option)


def size(value: str, option: str) -> int:
    """Bytes of `512M`, `1.5G`, `100000`; BadOption names the option."""
    text = value.strip().upper().removesuffix("IB").removesuffix("B")
    number, unit = (text[:-1], text[-1]) if text[-1:] in "KMGT" and text else (text, "")
    try:
        found = int(float(number) * _UNITS[unit])
    except (ValueError, OverflowError):
        found = 0
    if found <= 0:
        raise BadOption(f"{option}={value!r} is not a size", hint="for example 512M, 1.5G or 100000 (bytes)")
    return found
