"""The dead letters: groups, looking, retrying, removing."""

import pytest

from headrace.bus.retry import Bury, Reason
from headrace.errors import BadOption, JobNotFound
from headrace.ledger import dead
from headrace.ledger.job import State
from headrace.ledger.records import Tally
from tests.support.ledgers import House


async def test_letters_are_grouped_by_cause_the_most_recent_first(house: House) -> None:
    old = await house.failed("Timeout at billing.py:88\ntrace", "aaaa0001", type="shop.charge", queue="billing")
    new = await house.failed(
        "Timeout at billing.py:88\nother", "aaaa0001", type="shop.refund", queue="billing", tracked=False
    )
    other = await house.failed("ValueError: empty name at hello.py:9\ntrace", "bbbb0002")
    for job, seconds in ((old, 3000), (new, 20), (other, 2000)):
        await house.ago("headrace_dead", "died_at", job, seconds)

    one, two = await house.ledger.dead.groups()

    assert (one.fingerprint, one.count, one.types, one.queues) == (
        "aaaa0001",
        2,
        ("shop.charge", "shop.refund"),
        ("billing",),
    )
    assert (one.reason, one.cause, one.trend) == ("failed", "Timeout at billing.py:88", (1, 0, 0, 0, 1))
    assert 2900 < one.last - one.first < 3000
    assert (two.fingerprint, two.count, two.cause, two.trend) == (
        "bbbb0002", 1, "ValueError: empty name at hello.py:9", (0, 0, 1, 0, 0),
    )  # fmt: skip
    assert two.first == two.last


async def test_no_letters_are_no_groups(house: House) -> None:
    assert await house.ledger.dead.groups() == []
    assert await house.ledger.dead.letters() == []
    assert await house.ledger.dead.tally() == []
    assert await house.ledger.dead.retry() == 0
    assert await house.ledger.dead.remove() == 0


async def test_letter_has_all_that_is_needed_to_understand_it(house: House) -> None:
    job = await house.send(type="shop.pay", queue="mail", priority=2, tracked=False, headers={"a": "b"}, body="[1]")
    await house.settle(await house.claim("mail"), Bury(Reason.REJECTED, "no such card"))

    letter = await house.ledger.dead.letter(job[:30])

    assert (letter.id, letter.type, letter.queue, letter.priority, letter.body) == (job, "shop.pay", "mail", 2, "[1]")
    assert (letter.headers, letter.tracked, letter.reason, letter.error) == (
        '{"a":"b"}',
        False,
        "rejected",
        "no such card",
    )
    assert (letter.fingerprint, letter.retries, letter.crashes) == ("rejected", 0, 0)
    assert letter.created_at <= letter.died_at


async def some(house: House) -> dict[str, str]:
    return {
        "a1": await house.failed("A", "aaaa0001", id="01890000-0000-7000-8000-0000000000a1"),
        "a2": await house.failed("A", "aaaa0001", id="01890000-0000-7000-8000-0000000000a2", queue="mail"),
        "b": await house.failed("B", "aaaa0002", id="02890000-0000-7000-8000-0000000000b1"),
        "q": await house.quarantined(id="03890000-0000-7000-8000-0000000000c1"),
    }


WHICH = [
    (None, "a1 a2 b q"),
    ("aaaa0001", "a1 a2"),
    ("aaaa0002", "b"),
    ("quarantined", "q"),
    ("quar", "q"),
    ("01890000-0000-7000-8000-0000000000a1", "a1"),
    ("01890000-0000-7000-8000-0000000000A2", "a2"),
    ("01890000000070008000000000 0000a2".replace(" ", ""), "a2"),
    ("0289", "b"),
    ("03890000-", "q"),
]
REFUSED = [
    ("aaaa", BadOption, "aaaa0001, aaaa0002"),
    ("0189", BadOption, "several ids"),
    ("0", BadOption, "several ids"),
    ("", JobNotFound, "no dead letter"),
    ("ffff", JobNotFound, "ffff"),
    ("%", JobNotFound, "%"),
    ("aaaa0001-", JobNotFound, "no group"),
    ("\ud800\x00", JobNotFound, "no group"),
]


@pytest.mark.parametrize(("which", "wanted"), WHICH)
async def test_letters_are_named_by_group_or_id(house: House, which: str | None, wanted: str) -> None:
    letters = await some(house)
    names = wanted.split()

    assert {letter.id for letter in await house.ledger.dead.letters(which)} == {letters[name] for name in names}
    assert sum(tally.count for tally in await house.ledger.dead.tally(which)) == len(names)
    assert await house.ledger.dead.remove(which) == len(names)

    assert {letter.id for letter in await house.ledger.dead.letters()} == {
        letters[name] for name in letters if name not in names
    }
    assert await house.count("headrace_jobs") == 4, "the jobs stay"


@pytest.mark.parametrize(("which", "error", "text"), REFUSED)
async def test_what_names_several_or_nothing_is_refused(
    house: House, which: str, error: type[Exception], text: str
) -> None:
    await some(house)
    for ask in (house.ledger.dead.letters, house.ledger.dead.tally, house.ledger.dead.retry, house.ledger.dead.remove):
        with pytest.raises(error, match=text):
            await ask(which)
    assert await house.count("headrace_dead") == 4


async def test_newest_letters_come_first_and_are_limited(house: House) -> None:
    jobs = [await house.failed() for _ in range(4)]
    for number, job in enumerate(reversed(jobs)):
        await house.ago("headrace_dead", "died_at", job, 10.0 * number)
    assert [letter.id for letter in await house.ledger.dead.letters(limit=3)] == jobs[:0:-1]


async def test_tally_tells_what_would_be_retried(house: House) -> None:
    await some(house)
    assert await house.ledger.dead.tally() == [Tally("hello.greet", "default", 3), Tally("hello.greet", "mail", 1)]


@pytest.mark.parametrize("batch", [1, 2, 500])
async def test_group_is_retried_batch_by_batch(house: House, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead, "BATCH", batch)
    jobs = [await house.failed("A", "aaaa0001") for _ in range(4)]
    untracked = await house.failed("A", "aaaa0001", tracked=False)
    other = await house.failed("B", "bbbb0001")

    assert await house.ledger.dead.retry("aaaa0001") == 5

    assert [await house.ledger.state(job) for job in jobs] == [State.PENDING] * 4
    assert [letter.id for letter in await house.ledger.dead.letters()] == [other]
    lent = await house.transport.receive(["default"], 10, 0)
    assert {delivery.id for delivery in lent} == {*jobs, untracked}


async def test_letter_whose_message_is_there_again_is_left_alone(house: House) -> None:
    job = await house.failed(tracked=False)
    await house.send(id=job, tracked=False)
    assert await house.ledger.dead.retry() == 0
    assert [letter.id for letter in await house.ledger.dead.letters()] == [job]


async def test_letter_of_a_message_that_had_no_id_has_one_and_can_be_retried(house: House) -> None:
    now = "now() AT TIME ZONE 'UTC'" if house.dialect.name == "postgres" else "$now"
    columns = "body, headers, queue_name, created_at, available_at"
    await house.sql(f"INSERT INTO headrace_messages ({columns}) VALUES ('{{', '{{}}', 'default', {now}, {now})")
    await house.settle(await house.claim(), Bury(Reason.UNDECODABLE, "no JSON"))

    letter = await house.ledger.dead.letter("undecodable")

    assert (letter.type, letter.body, letter.tracked) == (None, "{", False)
    assert await house.ledger.dead.retry(letter.id[:13]) == 1
    assert (await house.claim()).id == letter.id
