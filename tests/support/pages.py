"""Runs the code of a documentation page as a reader would; the convention is in CONTRIBUTING."""

import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

LIMIT = 120.0  # seconds for one command
LANGUAGES = {"python", "toml", "console"}
FENCE = re.compile(
    r"(?:<!-- not run: (?P<excuse>.+?) -->\n+)?^```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
FILE_NAME = re.compile(r"# (?P<name>[\w./-]+\.\w+)$")
ERROR_CODE = re.compile(r"^HR\d{3}", re.MULTILINE)
MASKS = [
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"\b[0-9a-f]{8}[0-9a-f-]*…"), "ID"),
    (re.compile(r"\b\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?)?(Z|[+-]\d\d:\d\d)?"), "TIME"),
    (re.compile(r"\b\d\d:\d\d:\d\d(\.\d+)?\b"), "TIME"),
    (
        re.compile(r"\b\d[\d.,]* ?(µs|ms|s|min|h|B|KiB|MiB|GiB|KB|MB|GB|jobs/s|files/s|/s)(?!\w)"),
        "AMOUNT",
    ),
    (re.compile(r"\bpid \d+"), "pid N"),
    (re.compile(r"\bheadrace \d+\.\d+[\w.]*"), "headrace VERSION"),
    (re.compile(r"[ \t]+"), " "),  # columns are as wide as what they hold
]


@dataclass(frozen=True)
class Block:
    """One fenced block: a file when its first line is a comment with the name, else code to run."""

    line: int
    language: str
    text: str
    excuse: str | None

    @property
    def file_name(self) -> str | None:
        named = FILE_NAME.match(self.text.partition("\n")[0])
        return named["name"] if named and self.language != "console" else None


@dataclass
class Command:
    """`$ command` and what it shows; after `^C` comes what it shows when interrupted."""

    line: int
    text: str
    shows: list[str] = field(default_factory=list)
    interrupted: list[str] | None = None

    @property
    def fails(self) -> bool:
        return ERROR_CODE.search("\n".join(self.shows)) is not None


def blocks(page: str) -> Iterator[Block]:
    """The blocks of a page in the languages that are run."""
    for found in FENCE.finditer(page):
        if found["language"] in LANGUAGES:
            line = page.count("\n", 0, found.start("language")) + 1
            yield Block(line, found["language"], found["text"], found["excuse"])


def commands(block: Block) -> list[Command]:
    session: list[Command] = []
    for line, text in enumerate(block.text.splitlines(), block.line + 1):
        if text.startswith("$ "):
            session.append(Command(line, text[2:]))
        elif not session:
            raise ValueError(f"line {line}: output before the first `$ command`")
        elif session[-1].text.endswith("\\"):
            session[-1].text = f"{session[-1].text[:-1]}{text.strip()}"
        elif text == "^C":
            session[-1].interrupted = []
        elif (after := session[-1].interrupted) is not None:
            after.append(text)
        else:
            session[-1].shows.append(text)
    return session


def mask(text: str) -> str:
    """The text without what differs from run to run."""
    for pattern, name in MASKS:
        text = pattern.sub(name, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def agrees(shown: list[str], output: str) -> bool:
    """Whether the output is what the page shows; a line `...` stands for any lines."""
    pattern = "".join(
        r"(?:.*\n)*" if line.strip() == "..." else re.escape(line) + r"\n"
        for line in mask("\n".join(shown)).splitlines()
    )
    return re.fullmatch(pattern, mask(output) + "\n" if output.strip() else "") is not None


@dataclass(frozen=True)
class Reader:
    """Someone at a terminal in an empty folder.

    replace  what the page says → what it stands for here (the wheel, the test's database)
    """

    folder: Path
    environment: Mapping[str, str]
    replace: Mapping[str, str]

    def follow(self, page: Path) -> None:
        """Do what the page says, from top to bottom; AssertionError where it is not true."""
        for block in blocks(page.read_text()):
            where = f"{page.name}:{block.line}"
            if block.excuse:
                continue
            if block.file_name:
                (self.folder / block.file_name).write_text(self._here(block.text))
            elif block.language == "python":
                (self.folder / "_block.py").write_text(self._here(block.text))
                status, output, _ = self._run(Command(block.line, "python _block.py"))
                assert status == 0, f"{where} failed:\n{output}"
            elif block.language == "console":
                for command in commands(block):
                    self._check(f"{page.name}:{command.line}", command)

    def _check(self, where: str, command: Command) -> None:
        status, output, after = self._run(command)
        shows = "\n".join(command.shows)
        story = f"{where}: $ {command.text}\n--- shown\n{shows}\n--- printed\n{output}"
        assert agrees(command.shows, output) or self._is_install(command), story
        if command.interrupted is not None:
            assert agrees(command.interrupted, after), f"{story}\n--- after ^C\n{after}"
        else:
            assert (status != 0) == command.fails, f"exit status {status}\n{story}"

    def _run(self, command: Command) -> tuple[int, str, str]:
        """Exit status, output, output after ^C; standard error is on the same terminal."""
        output = rest = ""
        with subprocess.Popen(
            ["bash", "-c", self._here(command.text)],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            assert process.stdout
            watchdog = threading.Timer(LIMIT, os.killpg, (process.pid, signal.SIGKILL))
            watchdog.start()
            for line in process.stdout if command.interrupted is not None else ():
                output += line
                if agrees(command.shows, self._there(output)):
                    os.killpg(process.pid, signal.SIGINT)
                    break
            rest = process.stdout.read()
            watchdog.cancel()
        if command.interrupted is None:
            output, rest = rest, ""
        return process.returncode, self._there(output), self._there(rest)

    def _is_install(self, command: Command) -> bool:
        return command.text.startswith("pip install ") and not command.shows

    def _here(self, text: str) -> str:
        for said, meant in self.replace.items():
            text = text.replace(said, meant)
        return text

    def _there(self, text: str) -> str:
        for said, meant in self.replace.items():
            text = text.replace(meant, said)
        return text
