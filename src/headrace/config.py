"""What the environment says. The only file that reads it; it wins over what the program says."""

import os

DEFAULT_STORE = "sqlite:///headrace.db"


def store(given: str | None) -> str:
    """The DSN of the store: HEADRACE_STORE, else what was given, else a file in this folder."""
    return os.environ.get("HEADRACE_STORE") or given or DEFAULT_STORE


def app(given: str | None) -> str | None:
    """The application's import string: what was given, else HEADRACE_APP."""
    return given or os.environ.get("HEADRACE_APP")


def failpoints() -> str:
    """Where a test makes this process break; nothing without HEADRACE_TESTING."""
    return os.environ.get("HEADRACE_FAILPOINTS", "") if os.environ.get("HEADRACE_TESTING") else ""


def colour() -> bool:
    """Whether colour is welcome (https://no-color.org)."""
    return not os.environ.get("NO_COLOR")
