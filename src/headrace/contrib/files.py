"""The demonstration's application: look into files."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from headrace import App, Context

PIECE = 1 << 20

app = App("sqlite:///headrace-demo.db")


@dataclass(frozen=True)
class Examined:
    """What was found in one file."""

    sha256: str
    size: int
    lines: int


@app.task(name="files.examine", queue="files", time_limit="5m")
def examine(ctx: Context, path: str) -> Examined:
    """SHA-256, size and lines of a file."""
    digest, size, lines = hashlib.sha256(), 0, 0
    with Path(path).open("rb") as file:
        total = max(1, Path(path).stat().st_size)
        while piece := file.read(PIECE):
            digest.update(piece)
            size += len(piece)
            lines += piece.count(b"\n")
            ctx.progress(size / total)
    return Examined(digest.hexdigest(), size, lines)
