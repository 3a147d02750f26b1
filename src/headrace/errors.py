"""Every error that headrace raises: one tree, one code each, the remedy in the error.

The docstring of a class with a code is its long text: `headrace explain CODE` prints it and
`docs/reference/errors.md` is generated from it.
"""

from collections.abc import Iterator, Sequence


class HeadraceError(Exception):
    """What happened, where, why, and what to do; `str()` is the whole text for a person.

    what   one sentence that names the thing and the value
    where  file:line, job id or setting
    why    what is known of the cause
    hint   what to do now
    """

    code = "HR000"
    exit_code = 1  # of a command that ends with it

    def __init__(self, what: str, *, where: str = "", why: str = "", hint: str = "") -> None:
        super().__init__(what, where, why, hint)
        self.what = what
        self.where = where
        self.why = why
        self.hint = hint

    def __str__(self) -> str:
        rest = [part for part in (self.where, self.why, self.hint) if part]
        return "\n".join(
            [f"{self.code}  {self.what}", *(f"       {line}" for part in rest for line in part.splitlines())]
        )


# ── your code (HR1xx): nothing was queued ────────────────────────────────────────────────────


class UsageError(HeadraceError):
    """The call is wrong; nothing was queued; retrying cannot help."""

    exit_code = 2


class WrongArguments(UsageError):
    """The arguments of a task do not fit its signature.

    headrace checks arguments when they are enqueued, not when they are run, so the mistake shows
    where it was made. Types are strict: a str is not an int, and a UUID is not a str. Nothing was
    queued. Fix the call, or the annotation of the task.
    """

    code = "HR101"


class NoHandler(UsageError):
    """Nobody handles this type of message in the application that was asked to send it.

    A task must be registered with `@app.task`, a message class with `@app.handler(Type)`, before
    it is sent. If it lives in a module that is never imported, import it from the module that
    defines the app. For a message that another program handles, register the type with `queue=`.
    """

    code = "HR102"


class NaiveDatetime(UsageError):
    """A datetime without a time zone names no moment.

    `at=` and `expires=` take aware datetimes only. Write `datetime.now(UTC)`, or give your
    datetime a zone with `.replace(tzinfo=ZoneInfo("Europe/Berlin"))`.
    """

    code = "HR103"


class PayloadTooLarge(UsageError):
    """The encoded message is larger than the limit (1 MiB unless configured otherwise).

    Queues carry references, not files: store the content where it belongs and send its path,
    key or id. The limit is `App(payload_limit=…)`, in bytes.
    """

    code = "HR104"


class Unencodable(UsageError):
    """A value has no faithful form in JSON or in the store.

    NaN and infinities have no JSON form; lone surrogates (often from `os.fsdecode`) are not
    UTF-8; NUL characters are refused in queue names, keys and headers because PostgreSQL cannot
    hold them. Nothing was queued.
    """

    code = "HR105"


class BadDefinition(UsageError):
    """A task or handler cannot be registered as it is written.

    Parameters need annotations that JSON can carry; `*args`, `**kwargs` and positional-only
    parameters have no names on the wire; two tasks cannot share one wire name.
    """

    code = "HR106"


class DuplicateJob(UsageError):
    """A unique job with this key is already waiting or running.

    By default the holder's Job is returned with `.duplicate` set. This error is raised because
    `using(unique=…, on_duplicate="raise")` asked for it.
    """

    code = "HR107"
    exit_code = 1


class NotTracked(UsageError):
    """This job has no record: it was sent with `track=False`.

    Untracked jobs have no status, progress or result. They can be cancelled while they wait, and
    their failures are kept as dead letters. Set `track=True` on the task to keep records.
    """

    code = "HR108"
    exit_code = 1


class BadOption(UsageError):
    """An option has a value that headrace does not accept.

    The message names the option, the value and the range.
    """

    code = "HR109"


class JobNotFound(UsageError):
    """No job with this id is in the store.

    Finished jobs are removed after their retention (`headrace db prune`), untracked ones as soon
    as they are done. `headrace jobs list` shows what is there.
    """

    code = "HR110"
    exit_code = 1


class BlockingCall(UsageError):
    """A blocking method was called on a running event loop.

    `enqueue`, `dispatch`, `status`, `result`, `cancel` wait for the store; inside `async def` use
    their twins `aenqueue`, `adispatch`, `astatus`, `aresult`, `acancel` with `await`.
    """

    code = "HR113"


class IllegalTransition(UsageError):
    """The job is not in a state from which this action is possible.

    For example a completed job cannot be cancelled, and a running one cannot be deleted. The
    message names the state and the action. `docs/reference/states.md` lists every arrow.
    """

    code = "HR114"
    exit_code = 1


# ── configuration and store (HR2xx) ──────────────────────────────────────────────────────────


class ConfigError(HeadraceError):
    """The settings are wrong; fix them and start again. `.problems` has all of them."""

    exit_code = 3

    @property
    def problems(self) -> Sequence[str]:
        return [self.what]


class BadDsn(ConfigError):
    """The DSN of a store has a scheme, part or option that headrace does not know.

    Known: `sqlite:///relative.db`, `sqlite:////absolute.db`, `memory://`,
    `postgresql://user:password@host:5432/database`. Options follow `?`, for example
    `?table=jobs_queue`.
    """

    code = "HR201"


class MissingExtra(ConfigError):
    """The driver for this store is not installed.

    headrace's base install speaks SQLite only. The message has the line to run.
    """

    code = "HR205"


class AppNotFound(ConfigError):
    """The application could not be loaded from its import string.

    It has the form `module:name`, for example `shop.jobs:app`; the module must be importable from
    the current folder or be installed, and the name must be a `headrace.App`. Give it with
    `-a/--app`, or set `HEADRACE_APP`.
    """

    code = "HR206"


class StoreNotNamed(ConfigError):
    """The command does not know which store it is about.

    Name it with `--store DSN` or HEADRACE_STORE, or name an application that has one with `-a` or
    HEADRACE_APP.
    """

    code = "HR207"


class SchemaMissing(ConfigError):
    """The tables of headrace are not in this database.

    headrace creates them by itself in a schema that has none of them; it does not repair a set
    that is there in part. `headrace db plan` shows what is missing, `headrace db upgrade` creates it.
    """

    code = "HR211"


class SchemaOlder(ConfigError):
    """The tables are of an older release than this code.

    headrace never alters tables by itself. Run `headrace db plan` to read the steps and
    `headrace db upgrade` to take them.
    """

    code = "HR213"


class SchemaNewer(ConfigError):
    """The tables are of a newer release than this code.

    Another host has been upgraded. Upgrade headrace here too.
    """

    code = "HR214"


class StoreReadOnly(ConfigError):
    """The store cannot be written.

    For SQLite: the file, or the folder in which its -wal file must be made, is not writable for
    this user. For PostgreSQL: the server is a standby or `default_transaction_read_only` is on.
    """

    code = "HR215"


class NotADatabase(ConfigError):
    """The file of the store is not an SQLite database, or is damaged.

    headrace did not touch it. Name another file, or restore this one from a backup.
    """

    code = "HR216"


# ── store and broker at run time (HR21x, HR4xx): retrying may help ───────────────────────────


class TransportError(HeadraceError):
    """The store or broker is unreachable or refuses; retrying may help."""

    code = "HR210"
    exit_code = 4


class StoreUnreachable(TransportError):
    """The store cannot be reached.

    The server is down, the address or the credentials are wrong, or a firewall is between.
    Workers keep trying for ever and go on by themselves; a caller of `enqueue` gets this error
    and knows that nothing was queued.
    """

    code = "HR210"


class OutcomeUnknown(TransportError):
    """The connection broke while the message was being stored: it may be queued, or not.

    `.ids` holds the ids. Send again with the same id (`using(id=…)`): headrace stores an id once,
    so this never makes a second job.
    """

    code = "HR401"
    ids: Sequence[str] = ()


class StoreFault(TransportError):
    """The store answered with an error that headrace did not expect.

    The message is the server's own. The operation was rolled back.
    """

    code = "HR217"


# ── results (HR11x) ──────────────────────────────────────────────────────────────────────────


class JobFailed(HeadraceError):
    """The job whose result was asked for ended without one.

    It failed for good, was cancelled, expired, or was quarantined after killing its worker. The
    message has the recorded error; `headrace jobs show ID` has the whole story.
    """

    code = "HR111"


class ResultTimeout(HeadraceError, TimeoutError):
    """The job had not ended when the timeout was over.

    It goes on. Ask again, with a longer `timeout`, or look at `status()`.
    """

    code = "HR112"


# ── messages (HR3xx) and deliveries (HR4xx) ──────────────────────────────────────────────────


class UnknownType(HeadraceError):
    """This worker has no handler for the type of a message it received.

    The message is parked, not lost: it comes back with a growing delay, uncharged, for a day, and
    is then moved to the dead letters. It runs as soon as a worker that knows the type takes it.
    Usual causes: a deployment in progress, a renamed task, a module that is not imported.
    """

    code = "HR310"


class DecodeError(HeadraceError):
    """The bytes of a message do not fit the type that its handler takes.

    Retrying cannot help, so the message goes to the dead letters at once, with its raw bytes.
    After the handler has been mended, `headrace failed retry` runs it again.
    """

    code = "HR311"


class WorkerDied(HeadraceError):
    """A worker process died while it was running this job.

    The job was handed back (a crash, counted apart from retries). After three crashes it is put
    into quarantine with this evidence. Signal 9 is most often the kernel's out-of-memory killer;
    11 a fault in native code; an exit code means that the handler ended the process.
    """

    code = "HR402"


class LeaseLost(HeadraceError):
    """The lease of a running job lapsed, so its outcome was not recorded.

    The process was stopped or its clock thread could not run for longer than the lease (30 s), or
    the store was unreachable for that long. The job runs again elsewhere; what this run did may
    happen twice.
    """

    code = "HR403"


class TimeLimitExceeded(HeadraceError):
    """The job ran longer than its time limit.

    `async def` handlers are cancelled at their next `await`. A `def` handler runs in a thread,
    which Python cannot interrupt: the job is recorded as failed and its late outcome is ignored,
    but the thread goes on until it returns. Raise `time_limit=`, or split the work.
    """

    code = "HR404"


class ResultNotStored(HeadraceError):
    """The job was done, but what it returned cannot be kept.

    The value has no JSON form, or is larger than the limit (1 MiB). The job counts as completed;
    its record says why there is no result. Return a reference instead.
    """

    code = "HR405"


class Refused(HeadraceError):
    """The command destroys or repeats work, and nobody confirmed it.

    On a terminal it asks; elsewhere it needs `--yes`. `--dry-run` shows what it would touch.
    """

    code = "HR501"
    exit_code = 5


# ── said by handlers ─────────────────────────────────────────────────────────────────────────


class HandlerSignal(Exception):
    """Raised by a handler to say what should happen to its message."""


class Reject(HandlerSignal):
    """Move the message to the dead letters now: retrying cannot help."""


class RetryLater(HandlerSignal):
    """Give the message back for `delay` seconds; counts as a retry but is never the last one."""

    def __init__(self, delay: float | str | None = None, reason: str = "") -> None:
        super().__init__(reason)
        self.delay = delay


def catalogue() -> dict[str, type[HeadraceError]]:
    """Every code and its class, in order."""

    def below(parent: type[HeadraceError]) -> Iterator[type[HeadraceError]]:
        for child in parent.__subclasses__():
            yield child
            yield from below(child)

    coded = [child for child in below(HeadraceError) if "code" in vars(child) and child is not TransportError]
    return {child.code: child for child in sorted(coded, key=lambda child: child.code)}
