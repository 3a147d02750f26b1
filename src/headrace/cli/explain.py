"""`headrace explain`: the long text of an error code."""

import difflib
import inspect
from typing import Annotated

from cyclopts import Parameter

from headrace.cli.asked import NOTHING, Asked
from headrace.cli.screen import Screen
from headrace.errors import BadOption, catalogue


def explain(code: Annotated[str | None, Parameter(name="code")] = None, /, *, asked: Asked = NOTHING) -> None:
    """Explain an error code; without one, list them all.

    Parameters
    ----------
    code
        HR101, hr101 or 101.
    """
    screen, known = Screen(asked), catalogue()
    if code is None:
        rows = [(name, error.__name__, _text(error)[0]) for name, error in known.items()]
        if screen.json:
            screen.document([{"code": name, "name": kind, "text": text} for name, kind, text in rows])
        else:
            screen.table(("CODE", "NAME", "MEANS"), rows)
        return
    wanted = code.upper() if code.upper().startswith("HR") else f"HR{code.upper()}"
    if wanted not in known:
        close = difflib.get_close_matches(wanted, known, n=3)
        hint = f"near it: {', '.join(close)}" if close else "list them: headrace explain"
        raise BadOption(f"no error has the code {code!r}", hint=hint)
    lines = _text(known[wanted])
    if screen.json:
        screen.document({"code": wanted, "name": known[wanted].__name__, "text": "\n".join(lines)})
    else:
        screen.line("\n".join([f"{wanted}  {known[wanted].__name__}", "", *lines]))


def _text(error: type[Exception]) -> list[str]:
    return (inspect.getdoc(error) or "").splitlines()
