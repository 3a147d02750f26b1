"""From a DSN to a database; unknown schemes and options are refused with what is known."""

import difflib
import importlib.util
import re
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit, urlunsplit

from headrace.clock import Clock
from headrace.db.migrate import MESSAGES
from headrace.db.sqlite import SqliteDatabase
from headrace.errors import BadDsn, MissingExtra
from headrace.transports.sql.sqlite import SqliteQueue
from headrace.transports.sql.store import Store

SCHEMES = ("sqlite", "memory", "postgresql", "postgres")
_OPTIONS = {"sqlite": ("table",), "memory": ("table",), "postgresql": ("table", "schema")}
_PASSED_ON = (
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "passfile",
    "target_session_attrs",
    "host",
    "port",
    "user",
    "password",
    "service",
    "servicefile",
)


def open_store(dsn: str, clock: Clock) -> Store:
    """The store of a DSN, not yet reached. BadDsn, MissingExtra."""
    parts = urlsplit(dsn)
    scheme = "postgresql" if parts.scheme == "postgres" else parts.scheme
    if scheme not in SCHEMES:
        raise BadDsn(
            f"unknown scheme {parts.scheme!r} in the store's DSN {hidden(dsn)!r}",
            why=f"known: {', '.join(SCHEMES)}",
            hint=_scheme_hint(parts.scheme),
        )
    options = _options(scheme, parts, dsn)
    table = options.get("table", MESSAGES)
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,39}", table):
        raise BadDsn(f"table={table!r} is not a table name", hint="lower-case letters, digits and _, at most 40")
    match scheme:
        case "memory":
            return Store(SqliteDatabase(None, "memory://", clock), lambda: SqliteQueue(table), table)
        case "sqlite":
            return Store(SqliteDatabase(_path(parts, dsn), hidden(dsn), clock), lambda: SqliteQueue(table), table)
        case _:
            return _postgres(parts, dsn, clock, table, options.get("schema"))


def file_of(dsn: str) -> Path | None:
    """The file that an SQLite DSN names; None for other stores."""
    parts = urlsplit(dsn)
    return _path(parts, dsn) if parts.scheme == "sqlite" else None


def hidden(dsn: str) -> str:
    """The DSN without its password."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", dsn)


def _postgres(parts: SplitResult, dsn: str, clock: Clock, table: str, schema: str | None) -> Store:
    if importlib.util.find_spec("asyncpg") is None:
        raise MissingExtra(
            "the extra for PostgreSQL is not installed",
            where=f"store = {hidden(dsn)!r}",
            hint='run:  pip install "headrace[postgres]"',
        )
    from headrace.db.postgres import PostgresDatabase  # an extra: only when it is used
    from headrace.transports.sql.postgres import PostgresQueue

    if schema is not None and not re.fullmatch(r"[a-z_][a-z0-9_]{0,39}", schema):
        raise BadDsn(f"schema={schema!r} is not a schema name", hint="lower-case letters, digits and _, at most 40")
    query = "&".join(pair for pair in parts.query.split("&") if pair and pair.partition("=")[0] in _PASSED_ON)
    url = urlunsplit(("postgresql", parts.netloc, parts.path, query, ""))
    return Store(PostgresDatabase(url, hidden(dsn), clock, schema), lambda: PostgresQueue(clock, table), table)


def _options(scheme: str, parts: SplitResult, dsn: str) -> dict[str, str]:
    known = (*_OPTIONS[scheme], *(_PASSED_ON if scheme == "postgresql" else ()))
    found = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in found:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise BadDsn(
                f"unknown option {name!r} in the store's DSN {hidden(dsn)!r}",
                why=f"known: {', '.join(known)}",
                hint=f"did you mean {close[0]!r}?" if close else "",
            )
    return {name: value for name, value in found.items() if name in _OPTIONS[scheme]}


def _path(parts: SplitResult, dsn: str) -> Path:
    if parts.netloc or not parts.path.startswith("/") or len(parts.path) < 2:
        raise BadDsn(
            f"{hidden(dsn)!r} names no file",
            hint="sqlite:///jobs.db is relative, sqlite:////var/lib/jobs.db absolute, memory:// in memory",
        )
    return Path(unquote(parts.path[1:])).absolute()


def _scheme_hint(scheme: str) -> str:
    close = difflib.get_close_matches(scheme, SCHEMES, n=1)
    return (
        f"did you mean {close[0]}://?" if close else "for example sqlite:///jobs.db or postgresql://user@host/database"
    )
