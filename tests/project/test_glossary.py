"""The glossary explains every word once, and code and pages keep to it."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text()
SOURCES = sorted((ROOT / "src").rglob("*.py"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
OUTSIDE = {"glossary.md"}  # the page that must name what it refuses

WORDS = """
message, envelope, delivery, loan, lease, settle, ack, nack, bury, return, park, dead letter,
quarantine, task, handler, job, ledger, store, broker, transport, queue, worker, consumer,
supervisor, executor, wire name, outbox, limits, recycle,
pending, processing, retrying, completed, failed, cancelled, quarantined, expired,
ready, leased, delayed, dead
"""
REFUSED_NAMES = {
    "manager", "helper", "helpers", "util", "utils", "common", "misc", "impl",
    "canceled", "acknowledge", "requeue", "tombstone", "dlq", "subscriber", "reservation",
}  # fmt: skip
REFUSED_WHOLE = {"data", "info", "obj", "tmp", "foo", "process"}
REFUSED_BEGINNINGS = ("Base", "Abstract", "do_")


def defined() -> list[tuple[str, str]]:
    return re.findall(r"^- \*\*(.+?)\*\*: (.+)$", GLOSSARY, re.MULTILINE)


def refused_words() -> dict[str, str]:
    """Each refused word of the table and what to say instead."""
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", GLOSSARY.partition("## Refused words")[2], re.MULTILINE)
    return {word: say for words, say in rows[2:] for word in words.split(", ")}


def test_every_word_is_explained_once_in_one_sentence() -> None:
    counted = Counter(word for word, _ in defined())
    assert counted == Counter(word.strip() for word in WORDS.split(","))
    for word, sentence in defined():
        assert sentence.endswith("."), word
        assert ". " not in sentence, f"{word}: one sentence"


def test_what_to_say_instead_is_in_the_glossary() -> None:
    words = {word for word, _ in defined()} | {"retry", "dead letters"}
    assert {say for says in refused_words().values() for say in says.split(", ")} <= words


def prose(page: Path) -> str:
    """The page without what is quoted from code."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`]*`", "", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_uses_no_refused_word(page: Path) -> None:
    if page.name in OUTSIDE:
        return
    text = prose(page)
    found = [
        f"{word!r}: say {say!r}"
        for word, say in refused_words().items()
        if re.search(rf"\b{re.escape(word)}s?\b", text, re.IGNORECASE)
    ]
    assert found == []


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """What a module gives a name to, and where."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case _:
                pass


def refused(name: str) -> bool:
    parts = {part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}
    return (
        bool(parts & REFUSED_NAMES) or name.lower().strip("_") in REFUSED_WHOLE or name.startswith(REFUSED_BEGINNINGS)
    )


@pytest.mark.parametrize(
    ("name", "is_refused"),
    [
        ("JobManager", True),
        ("queue_utils", True),
        ("BaseTransport", True),
        ("do_work", True),
        ("data", True),
        ("_obj", True),
        ("database", False),
        ("data_folder", False),
        ("based_on", False),
        ("DSN", False),
        ("process_id", False),
    ],
)
def test_refused_names_are_recognised(name: str, is_refused: bool) -> None:
    assert refused(name) is is_refused


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_source_uses_no_refused_name(source: Path) -> None:
    assert [f"line {at}: {n}" for at, n in names(ast.parse(source.read_text())) if refused(n)] == []
    assert not refused(source.stem)
