"""What is kept of an exception: its cause in one line, its traceback, and a fingerprint of the cause. Pure.

Nothing here raises, whatever the exception does, and what it says is capped and cleaned: every store can
hold it. Source lines come from linecache, as in any traceback.
"""

import hashlib
import re
import sysconfig
import traceback
from collections.abc import Iterator
from types import TracebackType

ERROR_LIMIT = 64 * 1024  # characters of a stored error
MESSAGE_LIMIT = 8 * 1024  # characters of one exception's message in it
CAUSE_LIMIT = 200
FRAMES = 60  # shown of one exception: half from the outermost, half from the innermost
NOTE = 50  # characters for the note about what was left out
_OURS = ("headrace.bus.", "headrace.worker.")
LINKS = 8  # exceptions shown of a chain, or of a group

_OWN = __file__.rpartition("bus")[0]  # the package headrace
_LIBRARY = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
_INSTALLED = re.compile(r"[/\\](?:site|dist)-packages[/\\]|^<frozen ")
_MASKS = (
    (re.compile(r"(?<!\w)(['\"`]).*?\1(?!\w)", re.DOTALL), "?"),
    (re.compile(r"\b0x[0-9a-f]+\b|\b(?=[a-f-]*\d)[0-9a-f-]{8,}\b", re.IGNORECASE), "#"),
    (re.compile(r"\d+(?:[.,:]\d+)*"), "#"),
)


def fingerprint(error: BaseException) -> str:
    """Eight hex digits, equal for errors of one cause: class, place, and message without its values."""
    message = _said(error)[:1000]
    for form, instead in _MASKS:
        message = form.sub(instead, message)
    file, line = _place(error)
    name = "/".join(_parts(file)[-2:])
    text = f"{_name(error)}\n{name}:{line}\n{message}"
    return hashlib.blake2s(text.encode("utf-8", "replace"), digest_size=4).hexdigest()


def cause(error: BaseException) -> str:
    """One line: `ValueError: empty name at hello.py:9`."""
    words = " ".join(_said(error)[:1000].split())
    short = words if len(words) <= CAUSE_LIMIT else f"{words[: CAUSE_LIMIT - 1]}…"
    file, line = _place(error)
    where = f" at {_parts(file)[-1]}:{line}" if file else ""
    return _clean(f"{_name(error)}{': ' if short else ''}{short}{where}")


def traceback_text(error: BaseException, limit: int = ERROR_LIMIT) -> str:
    """The cause on a line of its own, then the traceback with what led to it, at most `limit` characters."""
    return capped("\n".join([cause(error), *_chain(error)]), limit)


def capped(text: str, limit: int = ERROR_LIMIT) -> str:
    """Text that every store can hold: no NUL, no lone surrogate, shortened in its middle."""
    if len(text) > limit:
        half = max(0, limit - NOTE) // 2
        note = f"\n… {len(text) - 2 * half:,} characters left out …\n"
        text = f"{text[:half]}{note}{text[len(text) - half :]}"[:limit]
    return _clean(text)


def _chain(error: BaseException) -> Iterator[str]:
    """The exception and what it came from, the oldest first, each once."""
    links: list[tuple[str, BaseException]] = []
    seen: set[int] = set()
    link: BaseException | None = error
    joint = ""
    while link is not None and id(link) not in seen and len(links) < LINKS:
        links.append((joint, link))
        seen.add(id(link))
        joint, link = _before(link)
    for joint, one in reversed(links):
        yield from _one(one)
        if joint:
            yield f"\n{joint}\n"


def _before(error: BaseException) -> tuple[str, BaseException | None]:
    # The slots of BaseException itself: a subclass may hide them behind anything.
    given: BaseException | None = BaseException.__dict__["__cause__"].__get__(error)
    if given is not None:
        return "The above exception was the direct cause of the following exception:", given
    if BaseException.__dict__["__suppress_context__"].__get__(error):
        return "", None
    return "During handling of the above exception, another exception occurred:", BaseException.__dict__[
        "__context__"
    ].__get__(error)


def _one(error: BaseException) -> Iterator[str]:
    frames = _frames(error)
    if frames:
        yield "Traceback (most recent call last):"
        half = FRAMES // 2
        if len(frames) > FRAMES:
            yield from _shown(frames[:half])
            yield f"  … {len(frames) - FRAMES:,} calls left out …"
            yield from _shown(frames[-half:])
        else:
            yield from _shown(frames)
    message = capped(_said(error), MESSAGE_LIMIT)
    yield f"{_name(error)}: {message}" if message else _name(error)
    if issubclass(type(error), BaseExceptionGroup):  # isinstance would ask the error for its class
        inner = BaseExceptionGroup.__dict__["exceptions"].__get__(error)
        for number, one in enumerate(inner[:LINKS], 1):
            yield f"  {number} of {len(inner)}: {cause(one)}"


def _shown(frames: list[traceback.FrameSummary]) -> Iterator[str]:
    return (entry.rstrip("\n") for entry in traceback.format_list(frames))


def _frames(error: BaseException) -> traceback.StackSummary:
    """Its calls, without ours on the way to the handler."""
    whole: TracebackType | None = BaseException.__dict__["__traceback__"].__get__(error)
    found = whole
    while found is not None and str(found.tb_frame.f_globals.get("__name__", "")).startswith(_OURS):
        found = found.tb_next
    return traceback.extract_tb(found or whole)


def _place(error: BaseException) -> tuple[str, int]:
    """File and line of the last frame of the user's code; of the last frame, if there is none."""
    last = ("", 0)
    theirs = ("", 0)
    found: TracebackType | None = BaseException.__dict__["__traceback__"].__get__(error)
    while found is not None:
        last = (found.tb_frame.f_code.co_filename, found.tb_lineno)
        if not _foreign(last[0]):
            theirs = last
        found = found.tb_next
    return theirs if theirs[0] else last


def _foreign(file: str) -> bool:
    return file.startswith((_OWN, *_LIBRARY)) or _INSTALLED.search(file) is not None


def _parts(file: str) -> list[str]:
    return file.replace("\\", "/").split("/")


def _name(error: BaseException) -> str:
    name: str = type.__dict__["__name__"].__get__(type(error))
    return name


def _said(error: BaseException) -> str:
    """What it says of itself: the only place where its own code runs."""
    try:
        return str.__str__(str(error))
    except Exception:  # noqa: BLE001  # its __str__ may raise anything
        return "(its __str__ failed)"


def _clean(text: str) -> str:
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
