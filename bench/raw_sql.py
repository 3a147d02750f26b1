"""The SQL of the raw scripts: the product's own tables, claims, settles and session settings, without the product.

Only the inserts are written here: the raw limit of sending is the plainest insert into the same tables, not the
product's statement, which also looks for duplicates.
"""

from headrace.db import postgres as driver
from headrace.db.migrate import MESSAGES, migrations
from headrace.db.port import Role
from headrace.transports.sql import postgres, sqlite

SETTINGS = driver.SETTINGS
FETCH_SETTINGS, SETTLE_SETTINGS = SETTINGS[Role.FETCH], SETTINGS[Role.SETTLE]
SEND_SETTINGS = SETTINGS[Role.SETTLE]


def schema(dialect: str) -> list[str]:
    """The statements that make the product's tables."""
    return [text for migration in migrations(dialect) for text in migration.statements(MESSAGES)]


# --- PostgreSQL ---------------------------------------------------------------------------------------------------

CHANNEL = postgres.CHANNEL
# $1 queues, $2 priorities, $3 low-water marks (one row per range), $4 lease in s, $5 worker, $6 how many
CLAIM = postgres.CLAIM
CLAIMED = dict(zip(("id", "loan", "message", "type", "queue", "body", "headers", "priority"), range(8), strict=True))
CLAIMED["due"] = 14
PLAIN = postgres.PLAIN  # $1 ids, $2 loans
DONE = postgres.DONE  # $1 ids, $2 loans, $3 results, $4 seconds that each ran, $5 errors, $6 worker
UNFINISHED = "SELECT EXISTS (SELECT FROM headrace_messages WHERE available_at <= now() AT TIME ZONE 'UTC')"

_UTC = "now() AT TIME ZONE 'UTC'"
_MESSAGE = (
    "headrace_messages (message_id, type, body, headers, queue_name, priority, created_at, available_at, tracked)"
)
_JOB = "headrace_jobs (id, type, body, headers, queue, priority, created_at, due_at, state)"

# $1 id, $2 type, $3 body, $4 headers, $5 queue, $6 priority
_ROW = "$1::uuid, $2::text, $3::text, $4::text, $5::text, $6::smallint"
INSERT = f"INSERT INTO {_MESSAGE} VALUES ({_ROW}, {_UTC}, {_UTC}, false)"
_JOB_TOO = f"job AS (INSERT INTO {_JOB} VALUES ({_ROW}, now(), now(), 'pending'))"
INSERT_LEDGER = f"WITH {_JOB_TOO} INSERT INTO {_MESSAGE} VALUES ({_ROW}, {_UTC}, {_UTC}, true)"
_TOLD = f"SELECT pg_notify('{CHANNEL}', $5::text)"
INSERT_AND_WAKE = f"WITH message AS ({INSERT}) {_TOLD}"
INSERT_AND_WAKE_LEDGER = (
    f"WITH {_JOB_TOO}, message AS (INSERT INTO {_MESSAGE} VALUES ({_ROW}, {_UTC}, {_UTC}, true)) {_TOLD}"
)

# the same as arrays, and $7 delay in s; one queue
_ROWS = """unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::smallint[]) AS
  t(id, type, body, headers, queue, priority)"""
_DELAY = "$7::float8 * interval '1 second'"
_MESSAGES = f"INSERT INTO {_MESSAGE} SELECT t.*, {_UTC}, {_UTC} + {_DELAY}, {{tracked}} FROM {_ROWS}"
_JOBS = f"INSERT INTO {_JOB} SELECT t.*, now(), now() + {_DELAY}, 'pending' FROM {_ROWS}"
_TOLD_ONCE = f"SELECT pg_notify('{CHANNEL}', ($5::text[])[1])"
INSERT_MANY = f"WITH message AS ({_MESSAGES.format(tracked=False)}) {_TOLD_ONCE}"
INSERT_MANY_LEDGER = f"WITH message AS ({_MESSAGES.format(tracked=True)}), job AS ({_JOBS}) {_TOLD_ONCE}"

# --- SQLite -------------------------------------------------------------------------------------------------------

SQLITE_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA cache_size = -8192",
    "PRAGMA busy_timeout = 0",
)
# $1 JSON rows: id, type, body, headers, queue, priority, delay, at, expiry, unique key, tracked; $now
SQLITE_SEND = sqlite.SEND
SQLITE_CLAIM = sqlite.CLAIM  # $1 queue, $2 how many, $3 lease in s, $4 worker, $now
SQLITE_MINE = sqlite.MINE  # $1 JSON rows of id, loan; $now
SQLITE_REMOVE = sqlite.REMOVE  # $1 JSON array of ids
SQLITE_UNFINISHED = "SELECT EXISTS (SELECT 1 FROM headrace_messages WHERE available_at <= ?)"
