"""The servers that the tests need: `python -m scripts.services ensure postgres | stop`.

`ensure postgres` prints the DSN of a usable PostgreSQL: the one of HEADRACE_TEST_POSTGRES, or the
one on 127.0.0.1:5432, or one of our own, installed by apt where there is none, kept for the next
run until `stop`. HEADRACE_OWN_SERVERS=1 leaves what already runs alone.
"""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.postgres import Postgres, binary, reach

ROOT = Path(__file__).resolve().parent.parent
OURS = ROOT / ".cache" / "postgres"  # names the folder of our own cluster
USUAL = "postgresql://postgres@127.0.0.1:5432/postgres"


def postgres() -> str:
    """The DSN of a server that answers."""
    if given := os.environ.get("HEADRACE_TEST_POSTGRES"):
        if why := reach(given):
            sys.exit(f"HEADRACE_TEST_POSTGRES={given} cannot be used: {why}")
        return given
    if not os.environ.get("HEADRACE_OWN_SERVERS") and reach(USUAL) is None:
        return USUAL
    try:
        binary("postgres")
    except FileNotFoundError:
        subprocess.run([ROOT / "scripts" / "apt.sh", "postgresql"], check=True)
    server = known() or create()
    if not server.ready():
        server.start()
    return server.dsn


def known() -> Postgres | None:
    """The cluster of an earlier run, if it is still there."""
    folder = Path(OURS.read_text()) if OURS.exists() else None
    return Postgres(folder) if folder and folder.exists() else None


def create() -> Postgres:
    server = Postgres.create()
    OURS.parent.mkdir(exist_ok=True)
    OURS.write_text(str(server.folder))
    return server


def stop() -> None:
    """End our own cluster and remove it; what others started stays."""
    if server := known():
        server.destroy()
    OURS.unlink(missing_ok=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["ensure", "postgres"]:
            print(postgres())
        case ["stop"]:
            stop()
        case _:
            sys.exit(__doc__)
