"""Writes docs/reference/states.md from the arrows of headrace.ledger.job."""

import inspect
import re

from headrace.ledger.job import ARROWS, TERMINAL, Input, State
from scripts.generated import publish

INTRODUCTION = """
# States of a job

Every job is in one of these states, and moves only along these arrows; anything else is refused with
[HR114](errors.md#hr114-illegaltransition). A new job is pending. `processing` is written only for what still
runs after 200 ms, so a short job goes from `pending` to `completed` directly.
"""


def comments(kind: type[State] | type[Input]) -> dict[str, str]:
    """What the trailing comment of each member says."""
    lines = inspect.getsource(kind)
    return dict(re.findall(r'^    \w+ = "([^"]+)"  # (.+)$', lines, re.MULTILINE))


def diagram() -> str:
    """Arrows in Mermaid; those between the same two states share a line."""
    labels: dict[tuple[State, State], list[str]] = {}
    for (state, given), to in ARROWS.items():
        labels.setdefault((state, to), []).append(given)
    arrows = [f"    {state} --> {to}: {', '.join(given)}" for (state, to), given in labels.items()]
    ends = [f"    {state} --> [*]" for state in State if state in TERMINAL]
    return "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> pending: send", *arrows, *ends, "```"])


def table(head: str, kind: type[State] | type[Input]) -> str:
    said = comments(kind)
    return "\n".join([f"| {head} | |", "| --- | --- |", *(f"| `{member}` | {said[member]} |" for member in kind)])


if __name__ == "__main__":
    parts = [
        INTRODUCTION.strip(),
        diagram(),
        "## What is true in each",
        table("state", State),
        "## What moves it",
        table("input", Input),
    ]
    publish("reference/states.md", __file__, "\n\n".join(parts))
