"""A store that has been named: how to reach it, and how to talk to its queue."""

from collections.abc import Callable

import msgspec

from headrace.db.port import Database
from headrace.transports.sql.rows import QueueSql


class Store(msgspec.Struct, frozen=True):
    """What a DSN stands for. Nothing is opened.

    queue_sql  makes the statements of one worker (they may remember low-water marks)
    table      of the messages
    """

    database: Database
    queue_sql: Callable[[], QueueSql]
    table: str

    def apart(self) -> "Store":
        """The same store, sharing no connection."""
        return msgspec.structs.replace(self, database=self.database.apart())
