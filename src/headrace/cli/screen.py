"""What is printed: data on stdout, talk on stderr, colour only where it is welcome."""

import shutil
import sys
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from headrace import config
from headrace.cli.asked import Asked
from headrace.errors import Refused

_COLOURS = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "grey": "90", "bold": "1"}
_STATES = {
    "pending": "",
    "processing": "cyan",
    "retrying": "yellow",
    "completed": "green",
    "failed": "red",
    "cancelled": "grey",
    "quarantined": "red",
    "expired": "yellow",
}
_BARS = "▁▂▃▄▅▆▇█"
GAP = "  "


class Screen:
    """One command's output."""

    def __init__(self, asked: Asked) -> None:
        self.json = asked.json
        self.quiet = asked.quiet
        self._yes = asked.yes
        self._tty = sys.stdout.isatty()
        self._coloured = self._tty and not asked.no_color and config.colour()
        self._width = shutil.get_terminal_size().columns if self._tty else None

    def line(self, text: str = "") -> None:
        """One line of data."""
        print(text)

    def talk(self, text: str) -> None:
        """A remark: not data, and not wanted by whoever asked for quiet or JSON."""
        if not self.quiet and not self.json:
            sys.stdout.flush()
            print(text, file=sys.stderr)

    def document(self, value: Any) -> None:
        """One JSON document on a line of its own."""
        print(msgspec.json.encode(value).decode(), flush=True)

    def clear(self) -> None:
        """Begin at the top of an empty terminal."""
        if self._tty and not self.json:
            print("\x1b[2J\x1b[H", end="")

    def paint(self, text: str, colour: str) -> str:
        """The text in a colour, where colour is welcome."""
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if self._coloured and colour and text.strip() else text

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()) -> None:
        """Aligned columns, without the empty ones; a terminal's width cuts the last one."""
        if not rows:
            return
        shown = [place for place in range(len(heads)) if any(row[place] for row in rows)]
        heads = [heads[place] for place in shown]
        cells = [[clean(row[place]) for place in shown] for row in rows]
        widths = [max(len(row[place]) for row in [heads, *cells]) for place in range(len(heads))]
        print(self.paint(self._aligned(heads, heads, widths, right), "grey"))
        for row in cells:
            print(self._states(heads, row, self._aligned(heads, row, widths, right)))

    def fields(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Names and values, those that have one; a value of several lines is indented."""
        shown = [(name, text) for name, text in pairs if text]
        width = max((len(name) for name, _ in shown), default=0) + 2
        for name, text in shown:
            first, *others = text.splitlines()
            painted = self.paint(clean(first), _STATES.get(first, ""))
            print(f"{self.paint(f'{name:{width}}', 'grey')}{painted}")
            for line in others:
                print(" " * width + clean(line))

    def confirm(self, what: str, *, dry_run: bool = False, document: Any = None) -> bool:
        """Whether to go on. A dry run says what would be done; without --yes a terminal is asked, else Refused."""
        if dry_run:
            if self.json:
                self.document({"dry_run": True, **(document or {})})
            else:
                self.line(f"would {what}")
            return False
        if self._yes:
            return True
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise Refused(f"not confirmed: {what}", hint="add --yes to do it, or --dry-run to look first")
        print(f"{what}? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise Refused(f"not confirmed: {what}")
        return True

    def _aligned(self, heads: Sequence[str], row: Sequence[str], widths: Sequence[int], right: Collection[str]) -> str:
        columns = zip(heads, row, widths, strict=True)
        line = GAP.join(f"{cell:>{width}}" if head in right else f"{cell:{width}}" for head, cell, width in columns)
        line = line.rstrip()
        return line if self._width is None or len(line) <= self._width else line[: self._width - 1] + "…"

    def _states(self, heads: Sequence[str], row: Sequence[str], line: str) -> str:
        if "STATE" not in heads:
            return line
        state = row[heads.index("STATE")]
        return line.replace(f"{GAP}{state}", GAP + self.paint(state, _STATES.get(state, "")), 1)


def clean(text: str) -> str:
    """One line that no terminal takes for a command."""
    return "".join(char if char.isprintable() else "·" for char in text)


def clock_time(moment: float | None, now: float) -> str:
    """Local time of day; the date too when it is not of the last 20 hours."""
    if moment is None:
        return ""
    local = datetime.fromtimestamp(moment, UTC).astimezone()
    return local.strftime("%H:%M:%S" if abs(now - moment) < 72_000 else "%Y-%m-%d %H:%M")


def stamp(moment: float | None) -> str | None:
    """ISO 8601 in UTC, for JSON."""
    if moment is None:
        return None
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def spark(values: Sequence[int]) -> str:
    """A small bar for each value, relative to the largest."""
    top = max(values, default=0) or 1
    return "".join(_BARS[0 if not value else max(1, round(value / top * (len(_BARS) - 1)))] for value in values)


def counted(number: int, thing: str, things: str = "") -> str:
    """`1 job`, `2 jobs`."""
    return f"{number:,} {thing if number == 1 else things or f'{thing}s'}"
