"""The queue in SQLite 3.38+: all of its SQL.

A batch is one JSON array of rows. Each operation runs whole, in the engine's thread, inside its
transaction; there is one writer at a time, so nothing needs to be locked or skipped.
"""

from collections.abc import Collection, Sequence
from functools import partial

from headrace.bus.envelope import PRIORITIES, Receipt
from headrace.bus.transport import Counts, Evidence, Lapsed
from headrace.db.migrate import MESSAGES
from headrace.db.port import Row, Statement, Steps, Work, statement
from headrace.transports.sql.rows import Batch, SentRow, as_json, merged

SEND = """
INSERT INTO headrace_messages (message_id, type, body, headers, queue_name, priority, created_at, available_at, expires_at, unique_key, tracked)
SELECT value ->> 'id', value ->> 'type', value ->> 'body', value ->> 'headers', value ->> 'queue', value ->> 'priority', $now,
       COALESCE(value ->> 'at', $now + (value ->> 'delay')), value ->> 'expires', value ->> 'key', value ->> 'tracked'
  FROM json_each($1)
 WHERE NOT (value ->> 'tracked') OR NOT EXISTS (SELECT 1 FROM headrace_jobs j WHERE j.id = value ->> 'id')
ON CONFLICT DO NOTHING
RETURNING message_id, tracked"""

SEND_JOBS = """
INSERT INTO headrace_jobs (id, type, queue, priority, state, body, headers, created_at, due_at)
SELECT m.message_id, m.type, m.queue_name, m.priority, 'pending', m.body, m.headers, m.created_at, m.available_at
  FROM json_each($1) r JOIN headrace_messages m ON m.message_id = r.value"""

HOLDERS = "SELECT unique_key, message_id FROM headrace_messages WHERE unique_key IN (SELECT value FROM json_each($1))"

# Each priority is a range of its own in the ready index, so delayed rows of one are never walked over for another.
_RANGE = """SELECT * FROM (SELECT id FROM headrace_messages WHERE queue_name = $1 AND priority = {} AND delivered_at IS NULL
  AND available_at <= $now ORDER BY available_at, id LIMIT $2)"""
_READY = " UNION ALL ".join(_RANGE.format(priority) for priority in reversed(PRIORITIES))

# As blobs: text that is not UTF-8 would make the whole claim fail.
CLAIM = f"""
UPDATE headrace_messages SET delivered_at = $now, lease_until = $now + $3, worker = $4, loan = loan + 1
 WHERE id IN (SELECT id FROM ({_READY}) LIMIT $2)
RETURNING id, loan, COALESCE(message_id, 'row-' || id), type, queue_name, CAST(body AS BLOB), CAST(headers AS BLOB), priority, retries, crashes,
  tracked, COALESCE(expires_at <= $now, 0), $now - parked_at, $now - available_at, available_at"""

_FIRST = """SELECT * FROM (SELECT available_at AS due FROM headrace_messages WHERE queue_name = $1 AND priority = {} AND delivered_at IS NULL
  ORDER BY available_at, id LIMIT 1)"""
NEXT_DUE = f"SELECT min(due) - $now FROM ({' UNION ALL '.join(_FIRST.format(priority) for priority in PRIORITIES)})"

_MINE = "m.id = r.value ->> 0 AND m.loan = r.value ->> 1 AND m.lease_until > $now"
_FREE = "delivered_at = NULL, lease_until = NULL, worker = NULL"

MINE = f"SELECT m.id, m.message_id, m.tracked, m.retries, m.crashes FROM json_each($1) r CROSS JOIN headrace_messages m WHERE {_MINE}"

REMOVE = "DELETE FROM headrace_messages WHERE id IN (SELECT value FROM json_each($1))"

# The ledger's rows are updated one by one, by their key: as a join, SQLite's planner would read the whole ledger for them.
DONE = """
UPDATE headrace_jobs
   SET state = 'completed', retries = $2, crashes = $3, worker = $4, result = $5, ran = $6, error = $7,
       started_at = $now - $6, finished_at = $now, progress = CASE WHEN progress IS NULL THEN NULL ELSE 1 END
 WHERE id = $1"""

NACK = f"""
UPDATE headrace_messages AS m SET {_FREE}, retries = m.retries + 1, available_at = $now + (r.value ->> 2)
  FROM json_each($1) r WHERE m.id = r.value ->> 0"""

NACK_JOBS = """
UPDATE headrace_jobs
   SET state = 'retrying', retries = $2 + 1, crashes = $3, worker = $4, due_at = $now + $5, error = $6, ran = $7, started_at = $now - $7
 WHERE id = $1"""

_RANDOM_ID = "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-8' || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))"

BURY = f"""
INSERT INTO headrace_dead (id, type, queue, priority, body, headers, tracked, reason, error, fingerprint, retries, crashes, created_at, died_at)
SELECT COALESCE(m.message_id, {_RANDOM_ID}), m.type, m.queue_name, m.priority, m.body, m.headers, m.tracked,
       r.value ->> 3, CASE WHEN r.value ->> 3 = 'quarantined' AND m.evidence IS NOT NULL THEN (r.value ->> 4) || ', the last: ' || m.evidence ELSE r.value ->> 4 END,
       r.value ->> 5, m.retries, m.crashes, m.created_at, $now
  FROM json_each($1) r CROSS JOIN headrace_messages m WHERE m.id = r.value ->> 0
ON CONFLICT (id) DO UPDATE SET reason = excluded.reason, error = excluded.error, fingerprint = excluded.fingerprint, retries = excluded.retries,
       crashes = excluded.crashes, died_at = excluded.died_at"""

BURY_JOBS = """
UPDATE headrace_jobs
   SET state = $5, retries = $2, crashes = $3, worker = $4, ran = $9, started_at = $now - $9, finished_at = $now,
       error = COALESCE((SELECT d.error FROM headrace_dead d WHERE d.id = $1), $7)
 WHERE id = $1"""  # after BURY, which adds the evidence; $6 reason, $8 fingerprint

RETURN = f"""
UPDATE headrace_messages AS m
   SET {_FREE}, available_at = CASE WHEN r.value ->> 2 > 0 THEN $now + (r.value ->> 2) ELSE m.available_at END,
       parked_at = CASE WHEN r.value ->> 3 THEN COALESCE(m.parked_at, $now) ELSE m.parked_at END
  FROM json_each($1) r WHERE m.id = r.value ->> 0"""

RETURN_JOBS = """
UPDATE headrace_jobs SET state = CASE WHEN $2 + $3 > 0 THEN 'retrying' ELSE 'pending' END WHERE id = $1 AND state = 'processing'"""

ATTEMPTS = """
INSERT INTO headrace_attempts (job_id, attempt, outcome, worker, started_at, finished_at, error, log)
SELECT value ->> 0, value ->> 1, value ->> 2, $2, $now - (value ->> 3), $now, value ->> 4, value ->> 5 FROM json_each($1) WHERE true
ON CONFLICT DO NOTHING"""

EXTEND = f"""
UPDATE headrace_messages AS m SET lease_until = $now + $2 FROM json_each($1) r WHERE {_MINE} RETURNING id"""

LAPSED = """SELECT id, message_id, type, queue_name, worker, crashes + 1, 1, retries, tracked FROM headrace_messages
 WHERE delivered_at IS NOT NULL AND lease_until <= $now ORDER BY lease_until LIMIT $1"""

HELD = """SELECT m.id, m.message_id, m.type, m.queue_name, m.worker, m.crashes + (r.id IS NOT NULL), r.id IS NOT NULL, m.retries, m.tracked
  FROM headrace_messages m LEFT JOIN (SELECT value ->> 0 AS id, value ->> 1 AS loan FROM json_each($2)) r ON r.id = m.id AND r.loan = m.loan
 WHERE m.delivered_at IS NOT NULL AND m.worker = $1
   AND NOT EXISTS (SELECT 1 FROM json_each($3) k WHERE k.value ->> 0 = m.id AND k.value ->> 1 = m.loan)"""

# Rows here: id, message id, crashes now, charged, tries now, worker.
GIVE_BACK = f"""
UPDATE headrace_messages AS m SET {_FREE}, crashes = r.value ->> 2, evidence = CASE WHEN r.value ->> 3 THEN $2 ELSE m.evidence END
  FROM json_each($1) r WHERE m.id = r.value ->> 0"""
GIVE_BACK_JOBS = """
UPDATE headrace_jobs
   SET state = CASE WHEN $4 > 0 THEN 'retrying' ELSE 'pending' END, crashes = $2, worker = $5, error = CASE WHEN $3 THEN $6 ELSE error END
 WHERE id = $1"""
GIVE_BACK_ATTEMPTS = """
INSERT INTO headrace_attempts (job_id, attempt, outcome, worker, finished_at, error)
SELECT value ->> 1, value ->> 4, 'crashed', value ->> 5, $now, $2 FROM json_each($1) WHERE value ->> 3
ON CONFLICT DO NOTHING"""

REPORT = """
UPDATE headrace_jobs
   SET state = 'processing', started_at = $now - $4, worker = $7, progress = COALESCE($5, progress), note = CASE WHEN $6 = '' THEN note ELSE $6 END
 WHERE id = $3 AND EXISTS (SELECT 1 FROM headrace_messages m WHERE m.id = $1 AND m.loan = $2 AND m.lease_until > $now)"""

COUNTS = """
SELECT queue_name, sum(delivered_at IS NULL AND available_at <= $now), sum(delivered_at IS NOT NULL), sum(delivered_at IS NULL AND available_at > $now), 0,
       COALESCE($now - min(CASE WHEN delivered_at IS NULL AND available_at <= $now THEN available_at END), 0)
  FROM headrace_messages GROUP BY queue_name
UNION ALL SELECT queue, 0, 0, 0, count(*), 0 FROM headrace_dead GROUP BY queue"""


class SqliteQueue:
    """Statements as work."""

    def __init__(self, table: str = MESSAGES) -> None:
        self._table = table

    def send(self, rows: Sequence[SentRow], new: bool) -> Work[Collection[str] | None]:
        def steps() -> Steps[Collection[str] | None]:
            stored = yield self._say(SEND, as_json(rows))
            tracked = [row[0] for row in stored if row[1]]
            if tracked:
                yield self._say(SEND_JOBS, as_json(tracked))
            return None if len(stored) == len(rows) else [row[0] for row in stored]

        return Work("send", steps)

    def holders(self, keys: Sequence[str]) -> Work[Sequence[Row]]:
        return statement("holders", self._named(HOLDERS), as_json(keys), writes=False)

    def claim(self, queues: Sequence[str], limit: int, lease: float, worker: str) -> Work[Sequence[Row]]:
        def steps() -> Steps[Sequence[Row]]:
            claimed: list[Row] = []
            for queue in queues:
                if len(claimed) < limit:
                    rows = yield self._say(CLAIM, queue, limit - len(claimed), lease, worker)
                    claimed += sorted(rows, key=lambda row: (-row[7], row[14], row[0]))
            return claimed

        return Work("claim", steps)

    def next_due(self, queues: Sequence[str]) -> Work[float | None]:
        def steps() -> Steps[float | None]:
            found: list[float] = []
            for queue in queues:
                due = (yield self._say(NEXT_DUE, queue))[0][0]
                found += [] if due is None else [due]
            return min(found, default=None)

        return Work("next_due", steps, writes=False)

    def settle(self, batch: Batch, worker: str) -> Work[Collection[int] | None]:
        return Work("settle", partial(self._settle, batch, worker))

    def extend(self, receipts: Sequence[Receipt], lease: float) -> Work[Collection[int]]:
        def steps() -> Steps[Collection[int]]:
            rows = yield self._say(EXTEND, as_json(receipts), lease)
            return {row[0] for row in rows}

        return Work("extend", steps)

    def reap(self, limit: int) -> Work[Sequence[Lapsed]]:
        cause = "lease lapsed: no heartbeat within the lease"
        return Work("reap", partial(self._give_back, Statement(self._named(LAPSED), (limit,)), cause))

    def release(
        self, worker: str, started: Sequence[Receipt], evidence: Evidence, kept: Sequence[Receipt] = ()
    ) -> Work[Sequence[Lapsed]]:
        held = Statement(self._named(HELD), (worker, as_json(started), as_json(kept)))
        return Work("release", partial(self._give_back, held, f"{evidence.cause}: {evidence.detail}"))

    def report(self, rows: Sequence[Row]) -> Work[None]:
        def steps() -> Steps[None]:
            yield self._each(REPORT, rows)

        return Work("report", steps)

    def counts(self) -> Work[dict[str, Counts]]:
        def steps() -> Steps[dict[str, Counts]]:
            return merged((yield self._say(COUNTS)))

        return Work("counts", steps, writes=False)

    def _settle(self, batch: Batch, worker: str) -> Steps[Collection[int] | None]:
        every = [batch.plain, batch.done, batch.nacks, batch.buries, batch.returns]
        asked = [row for rows in every for row in rows]
        mine = {row[0]: row for row in (yield self._say(MINE, as_json([row[:2] for row in asked])))}
        whole = len(mine) == len(asked)
        plain, done, nacks, buries, returns = every if whole else [[r for r in rows if r[0] in mine] for rows in every]
        for rows, text, jobs_text in (
            (nacks, NACK, NACK_JOBS),
            (buries, BURY, BURY_JOBS),
            (returns, RETURN, RETURN_JOBS),
            (done, "", DONE),
        ):
            if rows and text:
                yield self._say(text, as_json(rows))
            found = [(mine[row[0]], row) for row in rows]
            jobs = [
                (job, retries, crashes, worker, *row[2:])
                for (_, job, tracked, retries, crashes), row in found
                if tracked
            ]
            if jobs:
                yield self._each(jobs_text, jobs)
        attempts = [row[1:] for row in batch.attempts if row[0] in mine]
        if attempts:
            yield self._say(ATTEMPTS, as_json(attempts), worker)
        ended = [row[0] for rows in (plain, done, buries) for row in rows]
        if ended:
            yield self._say(REMOVE, as_json(ended))
        return None if whole else mine.keys()

    def _give_back(self, chosen: Statement, cause: str) -> Steps[Sequence[Lapsed]]:
        held = yield chosen
        if held:
            rows = [(row[0], row[1], row[5], bool(row[6]), row[7] + row[5], row[4]) for row in held]
            yield self._say(GIVE_BACK, as_json(rows), cause)
            tracked = [row for row, of in zip(rows, held, strict=True) if of[8]]
            yield self._each(GIVE_BACK_JOBS, [(*row[1:], cause) for row in tracked])
            yield self._say(GIVE_BACK_ATTEMPTS, as_json(tracked), cause)
        return [Lapsed(row[1] or "", row[2] or "", row[3], row[4] or "", row[5], bool(row[6])) for row in held]

    def _each(self, text: str, rows: Sequence[Row]) -> Statement:
        return Statement(self._named(text), each=rows)

    def _say(self, text: str, *args: object) -> Statement:
        return Statement(self._named(text), args)

    def _named(self, text: str) -> str:
        return text if self._table == MESSAGES else text.replace(MESSAGES, self._table)
