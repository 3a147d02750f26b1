"""D7, F1 to F3: moments and messages that are wrong."""

import asyncio
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from headrace.errors import BadOption, DecodeError, NaiveDatetime, UsageError
from headrace.ledger.job import State
from tests.faults.conftest import Figure, Judge, Record
from tests.support.chaos.fleet import a_fleet
from tests.support.chaos.world import World

pytestmark = pytest.mark.slow

DAY = 86_400.0
MOMENTS = [
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(1970, 1, 1, 5, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    datetime(2000, 2, 29, 23, 59, 59, 999_999, tzinfo=ZoneInfo("Asia/Kathmandu")),
    datetime(2040, 3, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin")),  # the hour that does not exist
    datetime(2040, 10, 28, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),  # and the one that comes twice
    datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    datetime(9999, 12, 31, 11, 59, 59, tzinfo=timezone(timedelta(hours=-12))),
]


async def test_d7_any_moment_with_a_zone_is_kept_exactly_in_utc(world: World) -> None:
    """What lies in the past is due at once, in its order; what lies in the future is not."""
    for moment in MOMENTS:
        job = await world.chaos.work.using(at=moment).aenqueue(0.0)
        record = await job.arecord()
        assert record.due_at == pytest.approx(moment.timestamp(), abs=1e-6), moment
    counts = await world.counts()
    now = datetime.now(UTC)
    past = sum(moment < now for moment in MOMENTS)
    assert (counts.ready, counts.delayed) == (past, len(MOMENTS) - past)
    async with a_fleet(world, world.plan(), 1):
        await world.ran(20.0, how="done", count=past)
    assert (await world.counts()).delayed == len(MOMENTS) - past


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("at", datetime(2040, 1, 1), NaiveDatetime),  # noqa: DTZ001 - the fault
        ("at", "2040-01-01T00:00:00Z", BadOption),
        ("at", 2_208_988_800, BadOption),
        ("at", datetime.min.replace(tzinfo=UTC), BadOption),
        ("at", datetime.max.replace(tzinfo=timezone(timedelta(hours=-14))), BadOption),
        ("delay", float("nan"), BadOption),
        ("delay", float("inf"), BadOption),
        ("delay", -1, BadOption),
        ("delay", "soon", BadOption),
        ("delay", 10**30, BadOption),
        ("delay", timedelta.max, BadOption),
        ("expires", float("nan"), BadOption),
        ("expires", datetime(2040, 1, 1), NaiveDatetime),  # noqa: DTZ001 - the fault
    ],
)
async def test_d7_what_is_no_moment_is_refused_and_nothing_is_queued(
    world: World, option: str, value: object, error: type[UsageError]
) -> None:
    with pytest.raises(error):
        await world.chaos.work.using(**{option: value}).aenqueue(0.0)  # type: ignore[arg-type]
    assert await world.left() == 0


BODIES = {
    "malformed": '{"seconds": 0.0',
    "truncated": '{"seconds": ',
    "not JSON": "O:8:stdClass",
    "empty": "",
    "a list": "[0.0]",
    "a number": "7",
    "null": "null",
    "wrong type": '{"seconds": "soon"}',
    "missing field": "{}",
    "extra field": '{"seconds": 0.0, "sudo": true}',
    "deep": "[" * 100_000,
    "huge number": '{"seconds": 1' + "0" * 5000 + "}",
    "NaN": '{"seconds": NaN}',
    "twice": '{"seconds": "a", "seconds": "b"}',
    "five megabytes": '{"seconds": "' + "x" * 5_000_000 + '"}',
    "right to left": '{"\u202esdnoces": 0.0}',
}


async def test_f1_f3_body_that_does_not_fit_is_buried_at_once_with_its_bytes(world: World, judge: Judge) -> None:
    """Put into the table by somebody else: one attempt, no retry, no handler, and the worker goes on."""
    await world.left()
    ids = {name: await world.put("chaos.work", body) for name, body in BODIES.items()}
    async with a_fleet(world, world.plan(), 1) as fleet:
        await world.drained(20.0)
        await world.ended(await world.send(world.chaos.work, 0.0), 10.0)
        assert fleet.deaths == []
        await fleet.stopped()

    await judge(fleet.deaths)
    snapshot = await world.snapshot()
    kept = {row[0]: row[1] for row in await world.sql("SELECT CAST(id AS text), body FROM headrace_dead")}
    done = {name for name, id in ids.items() if snapshot.jobs[id].state == State.COMPLETED}
    assert done <= {"extra field"}
    for name, id in ids.items():
        if name in done:
            continue
        job = snapshot.jobs[id]
        assert (job.state, job.retries, job.crashes) == (State.FAILED, 0, 0), (name, job)
        assert snapshot.dead[id].reason == "undecodable", name
        assert kept[id] == BODIES[name], f"{name}: the bytes are kept"
        assert len(snapshot.dead[id].error) < 70_000
    assert "$.seconds" in (snapshot.jobs[ids["wrong type"]].error or ""), "named by its path"
    assert {run.id for run in world.runs()} & set(ids.values()) == {ids[name] for name in done}


async def test_f2_unknown_type_waits_for_a_worker_that_knows_it_and_is_buried_after_a_day(
    world: World, judge: Judge
) -> None:
    """Returned with a growing delay, uncharged; the day is moved into the past."""
    await world.left()
    unknown = await world.put("chaos.from_the_future", '{"wings": 2}')
    old = await world.put("chaos.forgotten", "{}")
    parked = "$now - $1" if world.sqlite else "now() AT TIME ZONE 'UTC' - $1 * interval '1 second'"
    await world.sql(f"UPDATE headrace_messages SET parked_at = {parked} WHERE type = 'chaos.forgotten'", DAY + 1.0)
    async with a_fleet(world, world.plan(), 1) as fleet:
        await world.ended(old, 10.0)
        await world.ended(await world.send(world.chaos.work, 0.0), 10.0)
        await parked_again(world, unknown, 3)
        assert fleet.deaths == []
        await fleet.stopped()

    await judge(fleet.deaths)
    snapshot = await world.snapshot()
    assert snapshot.jobs[unknown].state == State.PENDING
    assert (snapshot.messages[unknown].retries, snapshot.messages[unknown].crashes) == (0, 0)
    assert snapshot.dead.keys() == {old}
    assert snapshot.dead[old].reason == "unknown"


async def parked_again(world: World, id: str, loans: int) -> None:
    """Wait until the message has been lent so often; each pause is as long as it has been known to be unknown."""
    async with asyncio.timeout(20.0):
        while (await world.snapshot()).messages[id].loan < loans:
            await world.clock.wait(asyncio.Event(), 0.1)


JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=20),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def test_f3_fuzzed_bodies_are_decoded_or_refused_and_nothing_else_happens(
    tmp_path_factory: pytest.TempPathFactory, many: Figure, record: Record
) -> None:
    """Against the schema of a task with several kinds of arguments."""
    world = World("memory://", tmp_path_factory.mktemp("fuzz"))

    @world.app.task(name="chaos.shapes")
    def shapes(
        name: str, size: int, share: float = 0.5, tags: list[str] | None = None, more: dict[str, int] | None = None
    ) -> None:
        pass

    handler = world.app.registry.find("chaos.shapes", None)
    assert handler is not None
    decode: Any = handler.call
    seen = {"decoded": 0, "refused": 0}
    examples = many(300, 100_000)
    right = some.fixed_dictionaries(
        {"name": some.text(), "size": some.integers(-(2**53), 2**53)},
        optional={
            "share": some.floats(allow_nan=False, allow_infinity=False),
            "tags": some.lists(some.text()) | some.none(),
        },
    )
    wrong = some.fixed_dictionaries({}, optional=dict.fromkeys(("name", "size", "share", "tags", "more", "sudo"), JSON))

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(right | wrong | JSON, some.integers(0, 3).map(lambda one: one == 3))
    def fuzz(value: object, cut: bool) -> None:
        body = json.dumps(value).encode()
        try:
            decode(body[: len(body) // 2] if cut else body, None)
        except DecodeError as error:
            seen["refused"] += error.code == "HR311" and len(error.what) < 10_000
        else:
            seen["decoded"] += 1

    fuzz()
    record(examples=examples, **seen)
    assert min(seen.values()) > examples / 20
    assert sum(seen.values()) >= examples
