"""Short ids for people: `019a3f2c..9d2f0c3a`, any unique beginning, `..` and any unique end, or both.

The beginning of a UUIDv7 is the time it was made, so ids of one minute share it; the end is chance.
"""

import re

from headrace.db.port import Session, statement
from headrace.errors import BadOption, JobNotFound
from headrace.ledger.dead import id_range
from headrace.ledger.statements import HIGHEST, LOWEST, Sql

END = 8  # characters
_FORM = re.compile(r"([0-9a-f-]*)(?:(?:\.\.+|…)([0-9a-f-]*))?", re.IGNORECASE)


def shortened(job: str) -> str:
    """How an id is shown in a list."""
    return f"{job[:8]}..{job[-END:]}"


class Names:
    """Finds the whole id: of a job, a dead letter or a message that waits."""

    def __init__(self, session: Session, sql: Sql) -> None:
        self._session = session
        self._sql = sql

    async def whole(self, text: str) -> str:
        """The id that this text stands for. BadOption when there are several, JobNotFound when there is none."""
        form = _FORM.fullmatch(text.strip())
        beginning, end = (form[1], (form[2] or "").lower()) if form else ("", "")
        between = id_range(beginning) if beginning else (LOWEST, HIGHEST)
        if not (beginning or end) or between is None:
            raise JobNotFound(
                f"no job {text!r:.100}", why="it is not an id", hint="ids are listed by: headrace jobs list"
            )
        if between[0] == between[1]:
            return between[0]
        rows = await self._session.run(statement("name", self._sql.names, *between, end, writes=False))
        if len(rows) > 1:
            raise BadOption(f"several ids fit {text!r}", why="\n".join(row[0] for row in rows), hint="give more of it")
        if not rows:
            raise JobNotFound(f"no job {text!r:.100}", hint="ids are listed by: headrace jobs list")
        found: str = rows[0][0]
        return found
