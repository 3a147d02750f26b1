"""All SQL of the ledger, once for both databases. Pure.

A state is changed by statements that are guarded by the old state; the guards are made of the arrows
in job.py. A message is taken away only while nobody holds it: the DELETE comes first and its row lock
decides every race with a claim. ORDER BY names the table's column: a bare `id` would be the text beside it.
"""

from collections.abc import Iterable

from headrace.db.port import Dialect
from headrace.ledger.job import TERMINAL, Input, State, sources
from headrace.ledger.words import WORDS

DONE_CHANNEL = "headrace_done"  # payload: the id of a job that ended and that somebody waits for
LOWEST, HIGHEST = "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"


class Sql:
    """The statements for one database and one name of the messages table."""

    def __init__(self, dialect: Dialect, messages: str) -> None:
        self.dialect = dialect
        self.words = words = WORDS[dialect.name]
        self.messages = messages
        epoch, now, utc = dialect.epoch.format, dialect.now, words.utc
        first, ids = dialect.uuid.format("$1"), words.among.format

        # ── jobs ─────────────────────────────────────────────────────────────────────────────
        self.job_columns = f"""CAST(j.id AS text), j.type, j.queue, j.priority, j.state, j.body, j.headers, {epoch("j.created_at")}, {epoch("j.due_at")},
          {epoch("j.started_at")}, {epoch("j.finished_at")}, j.retries, j.crashes, j.ran, j.worker, j.progress, j.note, j.result, j.error"""
        self.job = f"SELECT {self.job_columns} FROM headrace_jobs j WHERE j.id = {first}"
        self.state = f"SELECT state FROM headrace_jobs WHERE id = {first}"
        self.untracked = f"""SELECT EXISTS (SELECT 1 FROM {messages} WHERE message_id = {first}) OR EXISTS (SELECT 1 FROM headrace_dead WHERE id = {first})"""
        self.attempts = f"""SELECT attempt, outcome, worker, {epoch("started_at")}, {epoch("finished_at")}, error, log
          FROM headrace_attempts WHERE job_id = {first} ORDER BY finished_at, attempt"""
        self.await_end = (
            f"UPDATE headrace_jobs SET awaited = true WHERE id = {first} AND state NOT IN {_listed(TERMINAL)}"
        )
        self.newer_edge = (
            f"SELECT CAST(j.id AS text) FROM headrace_jobs j WHERE j.id > {first} ORDER BY j.id LIMIT 1 OFFSET $2"
        )
        self.older_edge = (
            f"SELECT CAST(j.id AS text) FROM headrace_jobs j WHERE j.id < {first} ORDER BY j.id DESC LIMIT 1 OFFSET $2"
        )

        # ── cancel, delete ───────────────────────────────────────────────────────────────────
        self.withdraw = (
            f"DELETE FROM {messages} WHERE {ids('message_id', '$1')} AND delivered_at IS NULL RETURNING tracked"
        )
        self.cancel_job = f"""UPDATE headrace_jobs SET state = 'cancelled', finished_at = {now}
          WHERE id = {first} AND state IN {_listed(sources(Input.CANCEL) - TERMINAL)} RETURNING awaited"""
        self.messages_of = (
            f"SELECT CAST(message_id AS text), delivered_at IS NOT NULL FROM {messages} WHERE {ids('message_id', '$1')}"
        )
        self.delete_jobs = f"DELETE FROM headrace_jobs WHERE {ids('id', '$1')} RETURNING CAST(id AS text), awaited"
        self.delete_attempts = f"DELETE FROM headrace_attempts WHERE {ids('job_id', '$1')}"
        self.delete_dead = f"DELETE FROM headrace_dead WHERE {ids('id', '$1')} RETURNING CAST(id AS text)"

        # ── retry ────────────────────────────────────────────────────────────────────────────
        self.lock_dead = (
            f"SELECT CAST(d.id AS text) FROM headrace_dead d WHERE {ids('d.id', '$1')} ORDER BY d.id {words.lock}"
        )
        self.lock_jobs = f"SELECT CAST(j.id AS text), j.state FROM headrace_jobs j WHERE {ids('j.id', '$1')} ORDER BY j.id {words.lock}"
        self.send_again = f"""INSERT INTO {messages} (message_id, type, body, headers, queue_name, priority, created_at, available_at, tracked)
          SELECT d.id, d.type, d.body, d.headers, d.queue, d.priority, {utc}, {utc}, d.tracked FROM headrace_dead d WHERE {ids("d.id", "$1")}
          UNION ALL
          SELECT j.id, j.type, j.body, j.headers, j.queue, j.priority, {utc}, {utc}, true FROM headrace_jobs j
           WHERE {ids("j.id", "$1")} AND NOT EXISTS (SELECT 1 FROM headrace_dead d WHERE d.id = j.id)
          ON CONFLICT DO NOTHING RETURNING CAST(message_id AS text), queue_name"""
        self.revive_jobs = f"""INSERT INTO headrace_jobs (id, type, queue, priority, state, body, headers, created_at, due_at)
          SELECT id, COALESCE(type, ''), queue, priority, 'pending', body, headers, created_at, {now} FROM headrace_dead
           WHERE {ids("id", "$1")} AND tracked ON CONFLICT (id) DO NOTHING"""
        self.retry_jobs = f"""UPDATE headrace_jobs
          SET state = 'pending', retries = 0, crashes = 0, due_at = {now}, finished_at = NULL, progress = NULL, note = NULL
          WHERE {ids("id", "$1")} AND state IN {_listed(sources(Input.RETRY))}"""

        # ── dead letters ─────────────────────────────────────────────────────────────────────
        self.dead_columns = f"""CAST(d.id AS text), d.type, d.queue, d.priority, d.body, d.headers, d.tracked, d.reason, d.error, d.fingerprint,
          d.retries, d.crashes, {epoch("d.created_at")}, {epoch("d.died_at")}"""
        self.dead_span = f"SELECT {epoch('min(died_at)')}, {epoch(now)} FROM headrace_dead"
        slices = ", ".join(f"sum(CASE WHEN {epoch('died_at')} < ${number} THEN 1 ELSE 0 END)" for number in range(1, 5))
        self.groups = f"""SELECT fingerprint, type, queue, reason, {epoch("min(died_at)")}, {epoch("max(died_at)")}, count(*), {slices}
          FROM headrace_dead GROUP BY fingerprint, type, queue, reason"""
        self.causes = """SELECT g.fingerprint, (SELECT substr(d.error, 1, 500) FROM headrace_dead d WHERE d.fingerprint = g.fingerprint ORDER BY d.died_at DESC LIMIT 1)
          FROM (SELECT DISTINCT fingerprint FROM headrace_dead) AS g"""
        self.fingerprints = """SELECT DISTINCT fingerprint FROM headrace_dead
          WHERE substr(fingerprint, 1, length(CAST($1 AS text))) = CAST($1 AS text) ORDER BY fingerprint LIMIT 10"""
        self.dead_between = f"""SELECT CAST(d.id AS text) FROM headrace_dead d
          WHERE d.id >= {first} AND d.id <= {dialect.uuid.format("$2")} ORDER BY d.id LIMIT 2"""
        self.dead_page = f"SELECT CAST(d.id AS text) FROM headrace_dead d WHERE d.id > {first} AND d.died_at <= {dialect.moment.format('$2')}"

        # Written so that the index on died_at serves it.
        old = f"died_at < {dialect.moment.format(f'{epoch(now)} - $1')}"
        self.count_old_dead = f"SELECT count(*) FROM headrace_dead WHERE {old}"
        self.delete_old_dead = f"""DELETE FROM headrace_dead
          WHERE id IN (SELECT id FROM headrace_dead WHERE {old} ORDER BY died_at LIMIT $2) RETURNING CAST(id AS text)"""

        # ── names ────────────────────────────────────────────────────────────────────────────
        named = [("id", "headrace_jobs"), ("id", "headrace_dead"), ("message_id", messages)]
        last, ends = dialect.uuid.format("$2"), words.ends.format("CAST({0} AS text)", "CAST($3 AS text)").format
        found = [
            f"""SELECT CAST({column} AS text) FROM {table}
          WHERE {column} >= {first} AND {column} <= {last} AND (CAST($3 AS text) = '' OR {ends(column)})"""
            for column, table in named
        ]
        self.names = f"{' UNION '.join(found)} LIMIT 5"

    def jobs(self, condition: str) -> str:
        """Jobs with ids in [$2, $1), newest first, at most $3."""
        uuid = self.dialect.uuid.format
        return f"""SELECT {self.job_columns} FROM headrace_jobs j WHERE j.id < {uuid("$1")} AND j.id >= {uuid("$2")} AND {condition} ORDER BY j.id DESC LIMIT $3"""

    def dead(self, condition: str, limit: str) -> str:
        """Dead letters, newest first."""
        return f"SELECT {self.dead_columns} FROM headrace_dead d WHERE {condition} ORDER BY d.died_at DESC, d.id DESC LIMIT {limit}"

    def tally(self, condition: str) -> str:
        """type, queue, how many."""
        return f"SELECT COALESCE(d.type, ''), d.queue, count(*) FROM headrace_dead d WHERE {condition} GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2"

    def old_jobs(self, states: Iterable[State]) -> str:
        """Ids in [$1, $2) of jobs that ended in one of these states more than $3 seconds ago."""
        uuid = self.dialect.uuid.format
        return f"SELECT CAST(j.id AS text) FROM headrace_jobs j WHERE j.id >= {uuid('$1')} AND j.id < {uuid('$2')} AND {self._ended(states, '$3')} ORDER BY j.id"

    def delete_old_jobs(self, states: Iterable[State]) -> str:
        """Those of the batch $1 that ended in one of these states more than $2 seconds ago."""
        return f"DELETE FROM headrace_jobs WHERE {self.words.among.format('id', '$1')} AND {self._ended(states, '$2')} RETURNING CAST(id AS text)"

    def _ended(self, states: Iterable[State], seconds: str) -> str:
        now, then = self.dialect.epoch.format(self.dialect.now), self.dialect.epoch.format("finished_at")
        return f"state IN {_listed(states)} AND {now} - {then} > {seconds}"


class WorkersSql:
    """The statements about workers."""

    def __init__(self, dialect: Dialect) -> None:
        epoch, now = dialect.epoch.format, dialect.now
        self.words = words = WORDS[dialect.name]
        self.beat = f"""INSERT INTO headrace_workers (id, host, pid, consumer, queues, concurrency, started_at, seen_at, busy, done)
          VALUES ($1, $2, $3, $4, $5, $6, {now}, {now}, $7, $8)
          ON CONFLICT (id) DO UPDATE SET seen_at = EXCLUDED.seen_at, busy = EXCLUDED.busy, done = EXCLUDED.done, concurrency = EXCLUDED.concurrency,
            queues = EXCLUDED.queues RETURNING wanted"""
        self.workers = f"""SELECT id, host, pid, consumer, queues, concurrency, busy, done, wanted, {epoch("started_at")}, {epoch("seen_at")},
          {epoch(now)} - {epoch("seen_at")} FROM headrace_workers ORDER BY consumer, started_at, id"""
        self.gone = "DELETE FROM headrace_workers WHERE id = $1"
        self.forget = f"DELETE FROM headrace_workers WHERE {epoch(now)} - {epoch('seen_at')} > $1 RETURNING id"
        self.want = f"UPDATE headrace_workers SET wanted = $1 WHERE {words.among_text.format('id', '$2')} RETURNING id"


def _listed(states: Iterable[State]) -> str:
    return "(" + ", ".join(f"'{state}'" for state in sorted(states)) + ")"
