"""Numbered SQL files, applied once each, under a lock; created by itself only where nothing is."""

import hashlib
import re
from collections.abc import Sequence
from importlib import resources

import msgspec

from headrace.db.port import Database, Role, Statement, Steps, T, Work
from headrace.errors import SchemaMissing, SchemaNewer, SchemaOlder

MESSAGES = "headrace_messages"  # the one table whose name can be chosen (?table=)

_LOCK = {"postgres": "SELECT pg_advisory_xact_lock(7236837)", "sqlite": "SELECT 1"}
_EXISTS = {
    "postgres": "SELECT to_regclass($1) IS NOT NULL",
    "sqlite": "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = $1)",
}
_BOOK = """CREATE TABLE IF NOT EXISTS headrace_schema (
  version integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, applied_at {moment} NOT NULL)"""
_MOMENT = {"postgres": "timestamptz", "sqlite": "REAL"}


class Migration(msgspec.Struct, frozen=True):
    """One numbered file."""

    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """Tells an edited file from the one that was applied."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    def statements(self, table: str) -> list[str]:
        """Its statements, without comments, for a messages table of that name."""
        bare = re.sub(r"--[^\n]*", "", self.text.replace(MESSAGES, table))
        return [part.strip() for part in bare.split(";") if part.strip()]


def migrations(dialect: str) -> Sequence[Migration]:
    """All files of a dialect, in order."""
    folder = resources.files("headrace.db") / "migrations" / dialect
    found = [
        Migration(int(file.name[:4]), file.name.removesuffix(".sql"), file.read_text("utf-8"))
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    ]
    return sorted(found, key=lambda migration: migration.version)


def latest(dialect: str) -> int:
    """The schema version of this code."""
    return migrations(dialect)[-1].version


class Schema:
    """The tables of one store."""

    def __init__(self, database: Database, table: str = MESSAGES) -> None:
        self._database = database
        self._dialect = database.dialect.name
        self._table = table

    async def version(self) -> int:
        """The version of the tables that are there; 0 for none."""
        return await self._run(Work("schema", self._read, writes=False))

    async def plan(self) -> Sequence[Migration]:
        """What `upgrade` would apply."""
        there = await self.version()
        return [migration for migration in migrations(self._dialect) if migration.version > there]

    async def upgrade(self, to: int | None = None) -> Sequence[Migration]:
        """Apply what is missing, all or nothing; returns what was applied."""
        return await self._run(Work("upgrade", lambda: self._apply(to)))

    async def ensure(self) -> None:
        """Create the tables where there are none; refuse older and newer ones."""
        there, code = await self.version(), latest(self._dialect)
        if there == 0:
            await self.upgrade()
            there = await self.version()
        if there < code:
            raise SchemaOlder(
                f"the tables in {self._database.dsn} are of schema {there}, this code needs {code}",
                hint="run: headrace db upgrade",
            )
        if there > code:
            raise SchemaNewer(
                f"the tables in {self._database.dsn} are of schema {there}, this code knows {code}",
                hint="upgrade headrace on this host",
            )

    async def _run(self, work: Work[T]) -> T:
        """Through a connection that is not kept: this is done once in the life of a process."""
        session = self._database.session(Role.BROWSE)
        try:
            return await session.run(work)
        finally:
            await session.aclose()

    def _read(self) -> Steps[int]:
        if not (yield Statement(_EXISTS[self._dialect], ("headrace_schema",)))[0][0]:
            return 0
        rows = yield Statement("SELECT COALESCE(max(version), 0) FROM headrace_schema")
        version = int(rows[0][0])
        if version and not (yield Statement(_EXISTS[self._dialect], (self._table,)))[0][0]:
            raise SchemaMissing(
                f"{self._database.dsn} has headrace's schema {version}, but no table {self._table}",
                hint=f"check ?table={self._table}, or restore the table from a backup",
            )
        return version

    def _apply(self, to: int | None) -> Steps[Sequence[Migration]]:
        yield Statement(_LOCK[self._dialect])
        there = yield from self._read()
        wanted = [m for m in migrations(self._dialect) if there < m.version <= (to or m.version)]
        if wanted:
            yield Statement(_BOOK.format(moment=_MOMENT[self._dialect]))
        for migration in wanted:
            for text in migration.statements(self._table):
                yield Statement(text)
            yield Statement(
                f"INSERT INTO headrace_schema VALUES ($1, $2, $3, {self._database.dialect.now})",
                (migration.version, migration.name, migration.checksum),
            )
        return wanted
