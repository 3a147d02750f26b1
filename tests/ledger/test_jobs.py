"""Jobs as they are shown: one, and lists of those that fit."""

import pytest

from headrace.bus.retry import ACK, Nack
from headrace.db.migrate import Schema
from headrace.errors import JobNotFound, NotTracked
from headrace.ledger import store
from headrace.ledger.job import State
from headrace.ledger.query import parse
from tests.support.ledgers import House, a_house


async def test_record_tells_the_whole_story(house: House) -> None:
    job = await house.send(queue="mail", priority=7, headers={"trace": "7"})
    first = await house.ledger.job(job)
    delivery = await house.claim("mail")
    await house.report(delivery, 0.3, "rendering")
    running = await house.ledger.job(job)
    await house.settle(delivery, ACK, result=b"[1,2]", ran=0.5)
    last = await house.ledger.job(job)

    assert (first.id, first.type, first.queue, first.priority) == (job, "hello.greet", "mail", 7)
    assert (first.state, first.body, first.headers) == (State.PENDING, '{"name":"Ada"}', '{"trace":"7"}')
    assert (first.started_at, first.finished_at, first.ran, first.worker, first.result) == (
        None,
        None,
        None,
        None,
        None,
    )
    assert abs(first.created_at - house.clock.now()) < 60
    assert first.due_at == first.created_at
    assert (running.state, running.progress, running.note, running.worker) == (State.PROCESSING, 0.3, "rendering", "w1")
    assert (last.state, last.progress, last.result, last.ran, last.error) == (State.COMPLETED, 1.0, "[1,2]", 0.5, None)
    assert last.started_at is not None
    assert last.finished_at is not None
    assert 0.4 < last.finished_at - last.started_at < 0.6


@pytest.mark.parametrize("job", ["01890000-0000-7000-8000-000000000000", "nonsense", "", "row-7", "\x00", "\ud800"])
async def test_unknown_id_is_job_not_found(house: House, job: str) -> None:
    for ask in (house.ledger.job, house.ledger.state, house.ledger.attempts, house.ledger.wait, house.ledger.cancel):
        with pytest.raises(JobNotFound):
            await ask(job)
    for act in (house.ledger.retry, house.ledger.delete):
        with pytest.raises(JobNotFound):
            await act([job])


async def test_untracked_job_has_no_record_while_its_message_is_there(house: House) -> None:
    waiting = await house.send(tracked=False)
    with pytest.raises(NotTracked):
        await house.ledger.job(waiting)
    with pytest.raises(NotTracked):
        await house.ledger.wait(waiting, 0)

    dead = await house.failed(tracked=False, queue="other")
    with pytest.raises(NotTracked):
        await house.ledger.job(dead)

    await house.settle(await house.claim())
    with pytest.raises(JobNotFound):
        await house.ledger.job(waiting)


async def test_attempts_and_log_keep_what_failed_crashed_or_logged(house: House) -> None:
    job = await house.send()
    await house.settle(await house.claim(), Nack(0.0), error="ValueError: no", log="one\n", ran=0.25)
    await house.crash(await house.claim())
    await house.settle(await house.claim(), ACK, log="two\nthree")

    attempts = await house.ledger.attempts(job)

    assert [(a.attempt, a.outcome, a.worker) for a in attempts] == [
        (1, "failed", "w1"),
        (2, "crashed", "w1"),
        (3, "completed", "w1"),
    ]
    assert [a.error for a in attempts] == ["ValueError: no", "signal 9: SIGKILL", None]
    assert attempts[0].started_at is not None
    assert 0.2 < attempts[0].finished_at - attempts[0].started_at < 0.3
    assert await house.ledger.log(job) == "one\ntwo\nthree"
    assert await house.ledger.attempts(await house.completed()) == []


async def test_list_is_newest_first_and_pages_by_id(house: House) -> None:
    jobs = [await house.send() for _ in range(5)]

    first = await house.ledger.jobs(limit=2)
    second = await house.ledger.jobs(limit=2, before=first[-1].id)
    third = await house.ledger.jobs(limit=2, before=second[-1].id)

    assert [record.id for record in (*first, *second, *third)] == jobs[::-1]
    assert first[0] == await house.ledger.job(jobs[-1])


async def a_mixture(house: House) -> dict[str, str]:
    """A few jobs, by name."""
    jobs = {
        "mail": await house.completed(
            queue="mail", priority=9, body='{"name":"Ada Lovelace","user":{"ids":[5,7]},"n":2}'
        ),
        "bad": await house.failed(
            "KeyError: 'x' at shop.py:3\nand more of 100%", type="shop.pay", body='{"name":"Ada","yes":true}'
        ),
        "nul": await house.completed(type="shop.repay", body='{"name":"\\u0000","z":1.5}'),
        "late": await house.expired(body="[]"),
        "back": await house.retrying(body='{"name":"Zoë"}'),
        "new": await house.send(type="pay", body='{"name":null}', delay=3600.0),
    }
    await house.ago("headrace_jobs", "created_at", jobs["mail"], 7200)
    await house.ago("headrace_jobs", "finished_at", jobs["bad"], 7200)
    return jobs


@pytest.mark.parametrize("window", [2, 20_000])
async def test_query_finds_exactly_what_fits(house: House, window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "WINDOW", window)
    jobs = await a_mixture(house)
    everything = "mail bad nul late back new"
    table = {
        "": everything,
        "state=failed": "bad",
        "state:failed,expired": "bad late",
        "state!=failed,expired": "mail nul back new",
        "type=pay": "bad new",
        "type=shop.pay": "bad",
        "type=shop": "",
        "type~SHOP": "bad nul",
        "type!=pay": "mail nul late back",
        "queue=mail": "mail",
        "queue!=mail": "bad nul late back new",
        "priority=9": "mail",
        "priority>4": "mail",
        "priority>=4": everything,
        "priority<4": "",
        "priority<=999999999": everything,
        "retries=1": "back",
        "retries!=1": "mail bad nul late new",
        "crashes>0": "",
        "age>1h": "mail",
        "age<1h": "bad nul late back new",
        "ended>1h": "bad",
        "ended<=1h": "mail nul late",
        "ran>=50ms": "mail bad nul back",
        "ran<50ms": "late",
        "worker=w1": "mail bad nul late back",
        "worker!=w1": "new",
        "error~keyerror": "bad",
        "error~'x'": "bad",
        "error~\"'x' at\"": "bad",
        "error~100%": "bad",
        "error~_": "",
        "args.name=Ada": "bad",
        "args.name~ada": "mail bad",
        'args.name="Ada Lovelace"': "mail",
        "args.name=Ada,Zoë": "bad back",
        "args.name!=Ada": "mail nul late back new",
        "args.n=2": "mail",
        "args.yes=true": "bad",
        "args.z=1.5": "nul",
        "args.user.ids.1=7": "mail",
        "args.nothing=1": "",
        "state=failed queue=default args.name=Ada": "bad",
        "state=failed queue=mail": "",
        f"id={jobs['bad']}": "bad",
    }
    for text, wanted in table.items():
        found = [record.id for record in await house.ledger.jobs(parse(text))]
        assert found == [jobs[name] for name in reversed(wanted.split())], text


async def test_query_fills_its_limit_across_windows(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "WINDOW", 3)
    jobs = [await house.send(type=f"t.{number % 2}") for number in range(12)]

    found = await house.ledger.jobs(parse("type=t.0"), limit=4)
    rest = await house.ledger.jobs(parse("type=t.0"), limit=4, before=found[-1].id)

    assert [record.id for record in found] == jobs[10::-2][:4]
    assert [record.id for record in rest] == jobs[2::-2]


async def test_arguments_that_look_like_sql_are_only_text(house: House) -> None:
    job = await house.send(queue="o'); DROP TABLE headrace_jobs --", body='{"q\'--":"1"}')
    assert [r.id for r in await house.ledger.jobs(parse("""queue="o'); DROP TABLE headrace_jobs --" """))] == [job]
    assert await house.ledger.jobs(parse('type~"\' OR 1=1"')) == []


async def test_another_table_name_is_used_throughout(dsn: str) -> None:
    async with a_house(f"{dsn}{'&' if '?' in dsn else '?'}table=jobs_queue") as house:
        assert await Schema(house.store.database, "jobs_queue").version() > 0
        job = await house.failed()
        assert await house.ledger.retry([job]) == 1
        assert await house.ledger.cancel(job) is State.CANCELLED
        assert await house.ledger.delete([job]) == 1
