"""The queue in PostgreSQL 13+: all of its SQL.

Measured designs and their reasons: docs/design/claiming.md. Common to all statements: UTC is written
explicitly, a batch is a set of arrays, a loan is fenced by (id, loan, lease_until), and what changes a
message and its job is one statement, so that it is one round trip and one commit.
"""

from collections.abc import Collection, Sequence
from functools import partial

import msgspec

from headrace.bus.envelope import PRIORITIES, Receipt
from headrace.bus.transport import Counts, Evidence, Lapsed
from headrace.clock import Clock
from headrace.db.migrate import MESSAGES
from headrace.db.port import Row, Statement, Steps, Work, statement
from headrace.transports.sql.rows import Batch, SentRow, as_json, columns, merged

CHANNEL = "headrace_messages"  # payload: the queue's name
DONE_CHANNEL = "headrace_done"  # payload: the job's id
UTC = "(now() AT TIME ZONE 'UTC')"

_COLUMNS = (
    "message_id, type, body, headers, queue_name, priority, created_at, available_at, expires_at, unique_key, tracked"
)
_AVAILABLE = f"CASE WHEN {{at}} IS NULL THEN {UTC} + {{delay}} * interval '1 second' ELSE timestamp 'epoch' + {{at}} * interval '1 second' END"
_SENT = f"""
  INSERT INTO headrace_messages ({_COLUMNS})
  SELECT t.id, t.type, t.body, t.headers, t.queue, t.priority, {UTC}, {_AVAILABLE.format(at="t.at", delay="t.delay")},
         timestamp 'epoch' + t.expires * interval '1 second', t.key, t.tracked
    FROM json_to_recordset($1::json) AS t(id uuid, type text, body text, headers text, queue text, priority smallint,
                                          delay float8, at float8, expires float8, key text, tracked boolean)"""
_RETURNED = "RETURNING message_id, type, queue_name, priority, body, headers, available_at, tracked"
_SENT_JOBS = """
  INSERT INTO headrace_jobs (id, type, queue, priority, state, body, headers, created_at, due_at)
  SELECT message_id, type, queue_name, priority, 'pending', body, headers, now(), available_at AT TIME ZONE 'UTC' FROM new WHERE tracked"""
_SENT_TAIL = f"""
  {_RETURNED}
), job AS ({_SENT_JOBS}
), told AS (
  SELECT count(pg_notify('{CHANNEL}', queue_name)) FROM (SELECT DISTINCT queue_name FROM new) AS q
)
SELECT CASE WHEN count(*) = $2::bigint THEN NULL ELSE COALESCE(array_agg(message_id::text), '{{}}') END, (SELECT * FROM told) FROM new"""

# Most sends are new: the unique indexes refuse the whole statement if one is not, and then it is said again with care.
SEND_NEW = f"WITH new AS ({_SENT}{_SENT_TAIL}"
SEND = f"""WITH new AS ({_SENT}
   WHERE NOT t.tracked OR NOT EXISTS (SELECT 1 FROM headrace_jobs j WHERE j.id = t.id)
  ON CONFLICT DO NOTHING{_SENT_TAIL}"""

# A single message, the most common send, without the machinery for many.
_ONE = f"""WITH new AS (
  INSERT INTO headrace_messages ({_COLUMNS})
  VALUES ($1::uuid, $2, $3, $4, $5, $6, {UTC}, {_AVAILABLE.format(at="$8::float8", delay="$7::float8")},
          timestamp 'epoch' + $9::float8 * interval '1 second', $10, $11::boolean)
  {_RETURNED}"""
_ONE_TAIL = f") SELECT pg_notify('{CHANNEL}', queue_name) FROM new"
SEND_ONE = _ONE + _ONE_TAIL
SEND_ONE_TRACKED = f"{_ONE}\n), job AS ({_SENT_JOBS}\n{_ONE_TAIL}"

HOLDERS = "SELECT unique_key, message_id::text FROM headrace_messages WHERE unique_key = ANY ($1::text[])"

CLAIMED = f"""m.id, m.loan, COALESCE(m.message_id::text, 'row-' || m.id), m.type, m.queue_name, m.body, m.headers, m.priority, m.retries, m.crashes,
  m.tracked, m.expires_at <= {UTC}, date_part('epoch', {UTC} - m.parked_at), date_part('epoch', {UTC} - m.available_at), date_part('epoch', m.available_at)"""

# By ctid: the rows are locked by the same statement, so they cannot move under it, and no join is left for the planner to get
# wrong. Each (queue, priority) is a range of its own in the ready index, so delayed rows of one are never walked over for another.
# The low-water marks ($3, one per range) skip index entries that an old transaction keeps VACUUM from removing.
CLAIM = f"""
UPDATE headrace_messages m
   SET delivered_at = {UTC}, lease_until = {UTC} + $4 * interval '1 second', worker = $5, loan = m.loan + 1
 WHERE m.ctid = ANY (ARRAY(
   SELECT s.ctid
     FROM unnest($1::text[], $2::smallint[], $3::float8[]) AS r(queue, priority, low)
     CROSS JOIN LATERAL (
       SELECT c.ctid FROM headrace_messages c
        WHERE c.queue_name = r.queue AND c.priority = r.priority AND c.delivered_at IS NULL
          AND c.available_at <= {UTC} AND c.available_at >= timestamp 'epoch' + r.low * interval '1 second'
        ORDER BY c.available_at, c.id LIMIT $6 FOR UPDATE SKIP LOCKED) AS s
    LIMIT $6))
RETURNING {CLAIMED}"""

NEXT_DUE = f"""
SELECT date_part('epoch', min(s.available_at) - {UTC})
  FROM unnest($1::text[], $2::smallint[], $3::float8[]) AS r(queue, priority, low)
  CROSS JOIN LATERAL (
    SELECT c.available_at FROM headrace_messages c
     WHERE c.queue_name = r.queue AND c.priority = r.priority AND c.delivered_at IS NULL
       AND c.available_at >= timestamp 'epoch' + r.low * interval '1 second'
     ORDER BY c.available_at, c.id LIMIT 1) AS s"""

_MINE = f"m.id = r.id AND m.loan = r.loan AND m.lease_until > {UTC}"
_FREE = "delivered_at = NULL, lease_until = NULL, worker = NULL"

PLAIN = f"""
WITH gone AS (
  DELETE FROM headrace_messages m USING unnest($1::bigint[], $2::integer[]) AS r(id, loan) WHERE {_MINE} RETURNING m.id
)
SELECT CASE WHEN count(*) = cardinality($1) THEN NULL ELSE COALESCE(array_agg(id), '{{}}') END FROM gone"""

# The outcome travels through the DELETE's own RETURNING, so the ledger's rows are found by their key and nothing is joined twice.
DONE = f"""
WITH gone AS (
  DELETE FROM headrace_messages m USING unnest($1::bigint[], $2::integer[], $3::text[], $4::float8[], $5::text[]) AS r(id, loan, result, ran, error)
   WHERE {_MINE} RETURNING m.id, m.message_id, m.retries, m.crashes, r.result, r.ran, r.error
), done AS (
  UPDATE headrace_jobs j
     SET state = 'completed', result = g.result, error = g.error, ran = g.ran, retries = g.retries, crashes = g.crashes, worker = $6,
         started_at = now() - g.ran * interval '1 second', finished_at = now(), progress = CASE WHEN j.progress IS NULL THEN NULL ELSE 1 END
    FROM gone g WHERE j.id = g.message_id RETURNING j.id, j.awaited
), told AS (
  SELECT count(pg_notify('{DONE_CHANNEL}', id::text)) FROM done WHERE awaited
)
SELECT CASE WHEN count(*) = cardinality($1) THEN NULL ELSE COALESCE(array_agg(id), '{{}}') END, (SELECT * FROM told) FROM gone"""

NACK = f"""
WITH back AS (
  UPDATE headrace_messages m SET {_FREE}, retries = m.retries + 1, available_at = {UTC} + r.delay * interval '1 second'
    FROM unnest($1::bigint[], $2::integer[], $3::float8[], $4::text[], $5::float8[]) AS r(id, loan, delay, error, ran)
   WHERE {_MINE} RETURNING m.id, m.message_id, m.retries, m.crashes, m.available_at, m.tracked, r.error, r.ran
), job AS (
  UPDATE headrace_jobs j
     SET state = 'retrying', error = b.error, ran = b.ran, retries = b.retries, crashes = b.crashes, worker = $6,
         started_at = now() - b.ran * interval '1 second', due_at = b.available_at AT TIME ZONE 'UTC'
    FROM back b WHERE b.tracked AND j.id = b.message_id
)
SELECT array_agg(id) FROM back"""

BURY = f"""
WITH gone AS (
  DELETE FROM headrace_messages m
   USING unnest($1::bigint[], $2::integer[], $3::text[], $4::text[], $5::text[], $6::text[], $7::float8[]) AS r(id, loan, state, reason, error, fingerprint, ran)
   WHERE {_MINE} RETURNING m.*, r.state, r.reason, r.fingerprint, r.ran,
             CASE WHEN r.reason = 'quarantined' THEN concat_ws(', the last: ', r.error, m.evidence) ELSE r.error END AS error
), dead AS (
  INSERT INTO headrace_dead (id, type, queue, priority, body, headers, tracked, reason, error, fingerprint, retries, crashes, created_at, died_at)
  SELECT COALESCE(message_id, gen_random_uuid()), type, queue_name, priority, body, headers, tracked, reason, error, fingerprint, retries, crashes,
         created_at AT TIME ZONE 'UTC', now() FROM gone
  ON CONFLICT (id) DO UPDATE SET reason = EXCLUDED.reason, error = EXCLUDED.error, fingerprint = EXCLUDED.fingerprint, retries = EXCLUDED.retries,
         crashes = EXCLUDED.crashes, died_at = EXCLUDED.died_at
), done AS (
  UPDATE headrace_jobs j
     SET state = g.state, error = g.error, ran = g.ran, retries = g.retries, crashes = g.crashes, worker = $8,
         started_at = now() - g.ran * interval '1 second', finished_at = now()
    FROM gone g WHERE g.tracked AND j.id = g.message_id RETURNING j.id, j.awaited
), told AS (
  SELECT count(pg_notify('{DONE_CHANNEL}', id::text)) FROM done WHERE awaited
)
SELECT array_agg(id), (SELECT * FROM told) FROM gone"""

RETURN = f"""
WITH back AS (
  UPDATE headrace_messages m
     SET {_FREE}, available_at = CASE WHEN r.delay > 0 THEN {UTC} + r.delay * interval '1 second' ELSE m.available_at END,
         parked_at = CASE WHEN r.park THEN COALESCE(m.parked_at, {UTC}) ELSE m.parked_at END
    FROM unnest($1::bigint[], $2::integer[], $3::float8[], $4::boolean[]) AS r(id, loan, delay, park)
   WHERE {_MINE} RETURNING m.id, m.message_id, m.retries + m.crashes AS tried, m.tracked, m.queue_name, r.delay
), job AS (
  UPDATE headrace_jobs j SET state = CASE WHEN b.tried > 0 THEN 'retrying' ELSE 'pending' END
    FROM back b WHERE b.tracked AND j.id = b.message_id AND j.state = 'processing'
), told AS (
  SELECT count(pg_notify('{CHANNEL}', queue_name)) FROM (SELECT DISTINCT queue_name FROM back WHERE delay = 0) AS q
)
SELECT array_agg(id), (SELECT * FROM told) FROM back"""

ATTEMPTS = """
INSERT INTO headrace_attempts (job_id, attempt, outcome, worker, started_at, finished_at, error, log)
SELECT t.job, t.attempt, t.outcome, $7, now() - t.ran * interval '1 second', now(), t.error, t.log
  FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::float8[], $5::text[], $6::text[]) AS t(job, attempt, outcome, ran, error, log)
ON CONFLICT DO NOTHING"""

EXTEND = f"""
UPDATE headrace_messages m SET lease_until = {UTC} + $3 * interval '1 second'
  FROM unnest($1::bigint[], $2::integer[]) AS r(id, loan) WHERE {_MINE} RETURNING m.id"""


def _give_back(chosen: str) -> str:
    """Loans that ended without a verdict. `chosen` selects id, worker, charged of locked rows; $1 is the cause, $2 its detail."""
    return f"""
WITH ended AS MATERIALIZED ({chosen}
), back AS (
  UPDATE headrace_messages m
     SET {_FREE}, crashes = m.crashes + e.charged::integer, evidence = CASE WHEN e.charged THEN $1::text || ': ' || $2::text ELSE m.evidence END
    FROM ended e WHERE m.id = e.id
  RETURNING m.message_id, m.type, m.queue_name, m.retries, m.crashes, m.tracked, e.worker, e.charged
), job AS (
  UPDATE headrace_jobs j
     SET state = CASE WHEN b.retries + b.crashes > 0 THEN 'retrying' ELSE 'pending' END, crashes = b.crashes, worker = b.worker,
         error = CASE WHEN b.charged THEN $1::text || ': ' || $2::text ELSE j.error END
    FROM back b WHERE b.tracked AND j.id = b.message_id
), attempt AS (
  INSERT INTO headrace_attempts (job_id, attempt, outcome, worker, finished_at, error)
  SELECT message_id, retries + crashes, 'crashed', worker, now(), $1::text || ': ' || $2::text FROM back WHERE tracked AND charged
  ON CONFLICT DO NOTHING
), told AS (
  SELECT count(pg_notify('{CHANNEL}', queue_name)) FROM (SELECT DISTINCT queue_name FROM back) AS q
)
SELECT message_id::text, type, queue_name, worker, crashes, charged, (SELECT * FROM told) FROM back"""


REAP = _give_back(f"""
  SELECT id, worker, true AS charged FROM headrace_messages
   WHERE delivered_at IS NOT NULL AND lease_until <= {UTC} ORDER BY lease_until LIMIT $3 FOR UPDATE SKIP LOCKED""")

RELEASE = _give_back("""
  SELECT m.id, m.worker, EXISTS (SELECT 1 FROM unnest($4::bigint[], $5::integer[]) AS r(id, loan) WHERE r.id = m.id AND r.loan = m.loan) AS charged
    FROM headrace_messages m
   WHERE m.delivered_at IS NOT NULL AND m.worker = $3
     AND NOT EXISTS (SELECT 1 FROM unnest($6::bigint[], $7::integer[]) AS k(id, loan) WHERE k.id = m.id AND k.loan = m.loan) FOR UPDATE OF m""")

REPORT = f"""
UPDATE headrace_jobs j
   SET state = 'processing', started_at = now() - r.ran * interval '1 second', worker = $7,
       progress = COALESCE(r.progress, j.progress), note = CASE WHEN r.note = '' THEN j.note ELSE r.note END
  FROM unnest($1::bigint[], $2::integer[], $3::uuid[], $4::float8[], $5::float8[], $6::text[]) AS r(id, loan, job, ran, progress, note), headrace_messages m
 WHERE {_MINE} AND j.id = r.job"""

COUNTS = f"""
SELECT queue_name, count(*) FILTER (WHERE delivered_at IS NULL AND available_at <= {UTC}), count(*) FILTER (WHERE delivered_at IS NOT NULL),
       count(*) FILTER (WHERE delivered_at IS NULL AND available_at > {UTC}), 0,
       COALESCE(date_part('epoch', {UTC} - min(available_at) FILTER (WHERE delivered_at IS NULL AND available_at <= {UTC})), 0)
  FROM headrace_messages GROUP BY queue_name
UNION ALL SELECT queue, 0, 0, 0, count(*), 0 FROM headrace_dead GROUP BY queue"""

MARGIN = 2.0  # seconds below the newest claimed row: other senders' commits and clocks
SWEEP = 1.0  # seconds between claims from the very start
LOWEST = -1e10  # unix seconds before any message


class PostgresQueue:
    """Statements as work, and the low-water marks of one worker."""

    def __init__(self, clock: Clock, table: str = MESSAGES) -> None:
        self._clock = clock
        self._table = table
        self._marks: dict[tuple[str, int], float] = {}
        self._swept = float("-inf")

    def send(self, rows: Sequence[SentRow], new: bool) -> Work[Collection[str] | None]:
        def one() -> Steps[Collection[str] | None]:
            yield self._say(SEND_ONE_TRACKED if rows[0].tracked else SEND_ONE, *msgspec.structs.astuple(rows[0]))
            return None

        def steps() -> Steps[Collection[str] | None]:
            text = SEND_NEW if new else SEND
            return (yield self._say(text, as_json(rows), len(rows)))[0][0]  # type: ignore[no-any-return]

        if new and len(rows) == 1:
            return Work("send", one, alone=True)

        return Work("send", steps, alone=True)

    def holders(self, keys: Sequence[str]) -> Work[Sequence[Row]]:
        return statement("holders", self._named(HOLDERS), list(keys), writes=False)

    def claim(self, queues: Sequence[str], limit: int, lease: float, worker: str) -> Work[Sequence[Row]]:
        order = {queue: place for place, queue in enumerate(queues)}
        ranges = _ranges(queues)
        now = self._clock.monotonic()
        if now - self._swept >= SWEEP:
            self._swept = now
            low = [LOWEST] * len(ranges[0])
        else:
            low = self._low(ranges)

        def steps() -> Steps[Sequence[Row]]:
            rows = yield self._say(CLAIM, *ranges, low, lease, worker, limit)
            for row in rows:
                place, due = (row[4], row[7]), row[14] - MARGIN
                if due > self._marks.get(place, LOWEST):
                    self._marks[place] = due
            return sorted(rows, key=lambda row: (order[row[4]], -row[7], row[14], row[0]))

        return Work("claim", steps, alone=True)

    def next_due(self, queues: Sequence[str]) -> Work[float | None]:
        def steps() -> Steps[float | None]:
            ranges = _ranges(queues)
            return (yield self._say(NEXT_DUE, *ranges, self._low(ranges)))[0][0]  # type: ignore[no-any-return]

        return Work("next_due", steps, alone=True, writes=False)

    def settle(self, batch: Batch, worker: str) -> Work[Collection[int] | None]:
        only_acks = not (batch.nacks or batch.buries or batch.returns or batch.attempts)
        if only_acks and not (batch.plain and batch.done):
            return Work("settle", partial(self._acks, batch, worker), alone=True)
        return Work("settle", partial(self._all, batch, worker))

    def extend(self, receipts: Sequence[Receipt], lease: float) -> Work[Collection[int]]:
        def steps() -> Steps[Collection[int]]:
            rows = yield self._say(EXTEND, *columns(receipts, 2), lease)
            return {row[0] for row in rows}

        return Work("extend", steps, alone=True)

    def reap(self, limit: int) -> Work[Sequence[Lapsed]]:
        return self._given_back("reap", REAP, "lease lapsed", "no heartbeat within the lease", limit)

    def release(
        self, worker: str, started: Sequence[Receipt], evidence: Evidence, kept: Sequence[Receipt] = ()
    ) -> Work[Sequence[Lapsed]]:
        args = (evidence.cause, evidence.detail, worker, *columns(started, 2), *columns(kept, 2))
        return self._given_back("release", RELEASE, *args)

    def report(self, rows: Sequence[Row]) -> Work[None]:
        def steps() -> Steps[None]:
            yield self._say(REPORT, *columns([row[:6] for row in rows], 6), rows[0][6])

        return Work("report", steps, alone=True)

    def counts(self) -> Work[dict[str, Counts]]:
        def steps() -> Steps[dict[str, Counts]]:
            return merged((yield self._say(COUNTS)))

        return Work("counts", steps, alone=True, writes=False)

    def _acks(self, batch: Batch, worker: str) -> Steps[Collection[int] | None]:
        """Acks of one kind: a single statement."""
        if batch.plain:
            return (yield self._say(PLAIN, *columns(batch.plain, 2)))[0][0]  # type: ignore[no-any-return]
        return (yield self._say(DONE, *columns(batch.done, 5), worker))[0][0]  # type: ignore[no-any-return]

    def _all(self, batch: Batch, worker: str) -> Steps[Collection[int] | None]:
        """Any mixture, in one transaction."""
        accepted: set[int] = set()
        for rows, text, more in (
            (batch.plain, PLAIN, ()),
            (batch.done, DONE, (worker,)),
            (batch.nacks, NACK, (worker,)),
            (batch.buries, BURY, (worker,)),
            (batch.returns, RETURN, ()),
        ):
            if rows:
                found = (yield self._say(text, *columns(rows, 0), *more))[0][0]
                every = found is None and text in (PLAIN, DONE)
                accepted.update((row[0] for row in rows) if every else found or ())
        attempts = [row[1:] for row in batch.attempts if row[0] in accepted]
        if attempts:
            yield self._say(ATTEMPTS, *columns(attempts, 6), worker)
        if batch.returns:
            self._swept = float("-inf")  # a returned row is older than the marks
        return accepted

    def _given_back(self, name: str, text: str, *args: object) -> Work[Sequence[Lapsed]]:
        def steps() -> Steps[Sequence[Lapsed]]:
            rows = yield self._say(text, *args)
            return [Lapsed(row[0] or "", row[1] or "", row[2], row[3] or "", row[4], row[5]) for row in rows]

        return Work(name, steps, alone=True)

    def _low(self, ranges: tuple[list[str], list[int]]) -> list[float]:
        return [self._marks.get(place, LOWEST) for place in zip(*ranges, strict=True)]

    def _say(self, text: str, *args: object) -> Statement:
        return Statement(self._named(text), args)

    def _named(self, text: str) -> str:
        return text if self._table == MESSAGES else text.replace(MESSAGES, self._table)


def _ranges(queues: Sequence[str]) -> tuple[list[str], list[int]]:
    """Every (queue, priority), in the order in which they are claimed."""
    names = [queue for queue in queues for _ in PRIORITIES]
    return names, [priority for _ in queues for priority in reversed(PRIORITIES)]
