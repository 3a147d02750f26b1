"""Numbered SQL files."""

import hashlib
import re

import pytest

from headrace.db.migrate import MESSAGES, Migration, latest, migrations

DIALECTS = ["sqlite", "postgres"]


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("", []),
        ("-- only words; here\n", []),
        ("CREATE TABLE a (b); -- why\n\nCREATE INDEX c ON a (b)", ["CREATE TABLE a (b)", "CREATE INDEX c ON a (b)"]),
        ("  A ;; B  ;\n", ["A", "B"]),
        ("A -- x; y\n, B;", ["A \n, B"]),
        (f"INSERT INTO {MESSAGES}; SELECT {MESSAGES}_ready", ["INSERT INTO jobs", "SELECT jobs_ready"]),
    ],
)
def test_file_is_cut_into_statements(text: str, statements: list[str]) -> None:
    assert Migration(1, "0001_x", text).statements("jobs") == statements


def test_checksum_tells_an_edited_file() -> None:
    one, other = Migration(1, "x", "SELECT 1"), Migration(1, "x", "SELECT 1 ")

    assert one.checksum == hashlib.sha256(b"SELECT 1").hexdigest()[:16]
    assert one.checksum != other.checksum


@pytest.mark.parametrize("dialect", DIALECTS)
def test_files_are_numbered_without_gaps(dialect: str) -> None:
    found = migrations(dialect)

    assert [migration.version for migration in found] == list(range(1, len(found) + 1))
    assert latest(dialect) == len(found)
    assert all(re.fullmatch(r"\d{4}_\w+", migration.name) for migration in found)


def test_dialects_have_the_same_files_tables_and_columns() -> None:
    def shape(dialect: str) -> dict[str, list[str]]:
        text = re.sub(r"--[^\n]*", "", "".join(migration.text for migration in migrations(dialect)))
        tables = re.findall(r"CREATE TABLE (\w+) \((.*?)\n\)", text, re.DOTALL)
        return {name: re.findall(r"^  ([a-z_]+) ", body, re.MULTILINE) for name, body in tables}

    assert [m.name for m in migrations("sqlite")] == [m.name for m in migrations("postgres")]
    assert shape("sqlite") == shape("postgres")
    assert len(shape("sqlite")) == 5
