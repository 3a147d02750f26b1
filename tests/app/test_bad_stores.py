"""A store that cannot be used is told with a code and a remedy, and nothing is harmed."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace import App
from headrace.errors import BadDsn, NotADatabase, SchemaMissing, StoreReadOnly, StoreUnreachable
from tests.support.postgres import free_port


def send(store: str) -> None:
    app = App(store)

    @app.task(name="add")
    async def add(a: int) -> None: ...

    try:
        add.enqueue(1)
    finally:
        app.close()


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ("mysqll://localhost/x", "unknown scheme 'mysqll'"),
        ("sqlit:///x.db", "sqlite://"),
        ("jobs.db", "unknown scheme ''"),
        (":", "unknown scheme ''"),
        ("sqlite://jobs.db", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///x.db?tabel=a", "did you mean 'table'"),
        ("sqlite:///x.db?table=DROP", "not a table name"),
        ("postgresql://localhost/x?schema=a-b", "not a schema name"),
        ("postgresql://localhost/x?colour=red", "unknown option 'colour'"),
        ("postgresql://localhost:port/x", "postgresql"),
    ],
)
def test_wrong_dsn_is_refused(store: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadDsn) as caught:
        send(store)

    assert said in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_password_is_never_told() -> None:
    store = f"postgresql://ada:s3cret@127.0.0.1:{free_port()}/jobs"

    with pytest.raises(StoreUnreachable) as caught:
        send(store)

    assert "s3cret" not in str(caught.value)
    assert "ada:***@127.0.0.1" in str(caught.value)
    assert "s3cret" not in App(store).store


def test_login_that_is_refused_is_told(postgres_dsn: str) -> None:
    with pytest.raises(StoreUnreachable, match="does not exist"):
        send(f"{postgres_dsn.rpartition('/')[0]}/no_such_database")


def test_file_that_is_no_database_is_told_and_left_alone(sqlite_path: Path) -> None:
    sqlite_path.write_bytes(b"a letter to Ada, " * 100)

    with pytest.raises(NotADatabase, match=sqlite_path.name):
        send(f"sqlite:///{sqlite_path}")

    assert sqlite_path.read_bytes() == b"a letter to Ada, " * 100


def test_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreUnreachable, match="no folder"):
        send(f"sqlite:///{tmp_path}/nowhere/jobs.db")


@pytest.fixture
def readable_folder() -> Iterator[Path]:
    """A folder that everybody may read and only its owner may write, and we are not its owner any more."""
    folder = Path(tempfile.mkdtemp(prefix="headrace-"))
    me = os.geteuid()
    try:
        yield folder
    finally:
        if os.getuid() == 0:
            os.seteuid(me)
        folder.chmod(0o700)
        shutil.rmtree(folder)


def test_read_only_file_is_told(readable_folder: Path) -> None:
    path = readable_folder / "jobs.db"
    send(f"sqlite:///{path}")
    path.chmod(0o444)
    readable_folder.chmod(0o555)
    if os.getuid() == 0:
        os.seteuid(65534)  # root may write everywhere

    with pytest.raises(StoreReadOnly, match=r"jobs\.db"):
        send(f"sqlite:///{path}")


def test_foreign_database_gets_our_tables_beside_its_own(sqlite_path: Path) -> None:
    connection = sqlite3.connect(sqlite_path)
    connection.execute("CREATE TABLE theirs (a)")
    connection.close()

    send(f"sqlite:///{sqlite_path}")

    connection = sqlite3.connect(sqlite_path)
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    assert {"theirs", "headrace_messages", "headrace_jobs"} <= tables


def test_renamed_table_is_told(sqlite_path: Path) -> None:
    send(f"sqlite:///{sqlite_path}")

    with pytest.raises(SchemaMissing, match="no table other"):
        send(f"sqlite:///{sqlite_path}?table=other")
