-- headrace schema 1 for SQLite 3.38 and later. Applied by `headrace db upgrade`, or at first use of an empty file. Times are unix seconds (UTC).
-- headrace_messages: what waits and what is on loan. AUTOINCREMENT: an id that came back would let an old receipt match a new message.
CREATE TABLE headrace_messages (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  body         TEXT NOT NULL,
  headers      TEXT NOT NULL,
  queue_name   TEXT NOT NULL,
  created_at   REAL NOT NULL,
  available_at REAL NOT NULL,
  delivered_at REAL,                                  -- set while on loan
  lease_until  REAL,                                  -- the loan ends here, extended or not
  message_id   TEXT UNIQUE,
  type         TEXT,
  priority     INTEGER NOT NULL DEFAULT 4 CHECK (priority BETWEEN 0 AND 9),  -- larger first
  loan         INTEGER NOT NULL DEFAULT 0,            -- raised by every claim; with id, the receipt
  retries      INTEGER NOT NULL DEFAULT 0,            -- verdicts that gave it back
  crashes      INTEGER NOT NULL DEFAULT 0,            -- loans that ended without a verdict
  tracked      INTEGER NOT NULL DEFAULT 0,            -- headrace_jobs has a row about it
  worker       TEXT,
  unique_key   TEXT,
  expires_at   REAL,
  parked_at    REAL,                                  -- when a worker first did not know its type
  evidence     TEXT                                   -- how the last worker died that was running it
);
CREATE INDEX headrace_messages_ready ON headrace_messages (queue_name, priority, available_at, id) WHERE delivered_at IS NULL;
CREATE INDEX headrace_messages_lease ON headrace_messages (lease_until) WHERE delivered_at IS NOT NULL;
CREATE UNIQUE INDEX headrace_messages_unique ON headrace_messages (unique_key) WHERE unique_key IS NOT NULL;

-- headrace_jobs: the ledger, one row per tracked message, kept after it is done.
CREATE TABLE headrace_jobs (
  id          TEXT PRIMARY KEY,                       -- UUIDv7: in order of creation
  type        TEXT NOT NULL,
  queue       TEXT NOT NULL,
  priority    INTEGER NOT NULL,
  state       TEXT NOT NULL,
  body        TEXT NOT NULL,
  headers     TEXT NOT NULL,
  created_at  REAL NOT NULL,
  due_at      REAL NOT NULL,                          -- not before this
  started_at  REAL,                                   -- the last attempt
  finished_at REAL,
  retries     INTEGER NOT NULL DEFAULT 0,
  crashes     INTEGER NOT NULL DEFAULT 0,
  ran         REAL,                                   -- seconds of the last attempt
  worker      TEXT,
  progress    REAL,
  note        TEXT,
  result      TEXT,
  error       TEXT,
  awaited     INTEGER NOT NULL DEFAULT 0              -- somebody waits for the result: notify
) WITHOUT ROWID;

-- headrace_attempts: only attempts that failed, crashed or logged.
CREATE TABLE headrace_attempts (
  job_id      TEXT NOT NULL,
  attempt     INTEGER NOT NULL,
  outcome     TEXT NOT NULL,                          -- completed, failed, crashed
  worker      TEXT,
  started_at  REAL,
  finished_at REAL NOT NULL,
  error       TEXT,
  log         TEXT,
  PRIMARY KEY (job_id, finished_at, attempt)
) WITHOUT ROWID;

-- headrace_dead: dead letters, tracked or not.
CREATE TABLE headrace_dead (
  id          TEXT PRIMARY KEY,
  type        TEXT,
  queue       TEXT NOT NULL,
  priority    INTEGER NOT NULL,
  body        TEXT NOT NULL,
  headers     TEXT NOT NULL,
  tracked     INTEGER NOT NULL,
  reason      TEXT NOT NULL,
  error       TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  retries     INTEGER NOT NULL,
  crashes     INTEGER NOT NULL,
  created_at  REAL NOT NULL,
  died_at     REAL NOT NULL
);
CREATE INDEX headrace_dead_cause ON headrace_dead (fingerprint, died_at);
CREATE INDEX headrace_dead_time ON headrace_dead (died_at);

-- headrace_workers: who is there, and what it is asked to do.
CREATE TABLE headrace_workers (
  id          TEXT PRIMARY KEY,
  host        TEXT NOT NULL,
  pid         INTEGER NOT NULL,
  consumer    TEXT NOT NULL,
  queues      TEXT NOT NULL,
  concurrency INTEGER NOT NULL,
  started_at  REAL NOT NULL,
  seen_at     REAL NOT NULL,
  busy        INTEGER NOT NULL DEFAULT 0,
  done        INTEGER NOT NULL DEFAULT 0,
  wanted      TEXT NOT NULL DEFAULT 'run'             -- run, drain
);
