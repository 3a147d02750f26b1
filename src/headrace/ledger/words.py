"""The words of each database that the ledger needs beyond its Dialect. Pure."""

from collections.abc import Callable, Sequence

import msgspec


class Words(msgspec.Struct, frozen=True):
    """Texts with {0}, {1} for the expressions they are about.

    utc         now, as headrace_messages keeps its times
    among       whether the id {0} is in the batch {1}
    among_text  whether the text {0} is in the batch {1}
    lock        at the end of a SELECT whose rows nobody may change meanwhile
    contains    whether {0} has {1} in it, whatever the case
    ends        whether {0} ends with {1}
    argument    the value at the path {1} of the JSON text {0}, as text; NULL for none
    tell        wakes the listeners of channel $1 for each text of the batch $2; "" where writes are heard anyway
    batch       a batch as one argument
    path        a path as one argument
    """

    utc: str
    among: str
    among_text: str
    lock: str
    contains: str
    ends: str
    argument: str
    tell: str
    batch: Callable[[Sequence[object]], object]
    path: Callable[[Sequence[str]], object]


def _json_path(path: Sequence[str]) -> str:
    return "$" + "".join(f"[{part}]" if part.isdecimal() else f'."{part}"' for part in path)


def _json(values: Sequence[object]) -> str:
    return msgspec.json.encode(values).decode()


# jsonb refuses \u0000, which JSON allows: it is looked at as another character.
_POSTGRES = Words(
    utc="(now() AT TIME ZONE 'UTC')",
    among="{0} = ANY ({1}::uuid[])",
    among_text="{0} = ANY ({1}::text[])",
    lock="FOR UPDATE",
    contains="strpos(lower({0}), lower({1})) > 0",
    ends="right({0}, length({1})) = {1}",
    argument=r"(replace({0}, '\u0000', '\ufffd')::jsonb #>> {1}::text[])",
    tell="SELECT count(pg_notify($1, payload)) FROM unnest($2::text[]) AS payload",
    batch=list,
    path=list,
)

_SQLITE = Words(
    utc="$now",
    among="{0} IN (SELECT value FROM json_each({1}))",
    among_text="{0} IN (SELECT value FROM json_each({1}))",
    lock="",
    contains="instr(lower({0}), lower({1})) > 0",
    ends="substr({0}, -length({1})) = {1}",
    argument="CASE json_type({0}, {1}) WHEN 'true' THEN 'true' WHEN 'false' THEN 'false'"
    " ELSE CAST(json_extract({0}, {1}) AS text) END",
    tell="",
    batch=_json,
    path=_json_path,
)

WORDS = {"postgres": _POSTGRES, "sqlite": _SQLITE}
