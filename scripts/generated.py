"""What the generators share: a page is written, or with --check only compared."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTE = "<!-- Written by {}; change the code, then run `make docs`. -->\n\n"


def publish(page: str, script: str, text: str) -> None:
    """Write docs/`page`; with --check, exit with 1 when it is not what it would be."""
    path = ROOT / "docs" / page
    whole = NOTE.format(Path(script).name) + text.strip() + "\n"
    if sys.argv[1:] == ["--check"]:
        if not path.exists() or path.read_text() != whole:
            sys.exit(f"docs/{page} is stale")
    else:
        path.write_text(whole)
        print(f"docs/{page}")
