"""Rows that others put into the table by hand are delivered, whatever is in them (F1 to F3)."""

import pytest

from headrace.bus.envelope import Outcome
from headrace.bus.retry import ACK, Bury, Nack, Reason, Return
from tests.support.bus import settled
from tests.support.stores import Bench, take


async def test_row_without_our_columns_is_delivered(bench: Bench) -> None:
    await bench.raw('{"name":"Ada"}', '{"type":"shop.greet","X-Other":"1"}')

    delivery = await bench.one()

    assert (delivery.type, delivery.body, delivery.queue) == ("shop.greet", b'{"name":"Ada"}', "default")
    assert (delivery.priority, delivery.attempt, delivery.tracked, delivery.expired) == (4, 1, False, False)
    assert delivery.id.startswith("row-")


@pytest.mark.parametrize("headers", ["", "[]", "{}", "not json", '{"type":7}', '["type"]', "null", '{"type":null}'])
async def test_row_with_unreadable_headers_is_delivered_without_a_type(bench: Bench, headers: str) -> None:
    await bench.raw("x", headers)

    delivery = await bench.one()

    assert (delivery.type, delivery.body) == ("", b"x")


@pytest.mark.parametrize("body", ["", "{", "null", '{"a":', "ä", 'a:1:{i:0;O:8:"stdClass":0:{}}'])
async def test_row_with_any_body_is_delivered(bench: Bench, body: str) -> None:
    await bench.raw(body)

    assert (await bench.one()).body == body.encode()


async def test_foreign_row_goes_through_every_verdict(bench: Bench) -> None:
    transport = bench.transport()
    await bench.raw("x", '{"type":"t"}')

    for verdict in (Return(), Nack(0.0)):
        assert not await transport.settle([settled(await bench.one(transport), verdict, Outcome(None, "e", "f"))])
        await bench.pass_time(1)
    delivery = await bench.one(transport)
    assert (delivery.retries, delivery.attempt) == (1, 2)
    assert not await transport.settle([settled(delivery, ACK, Outcome(b"7", log="line"))])

    assert await bench.size("headrace_messages") == 0
    assert await bench.size("headrace_jobs") == await bench.size("headrace_attempts") == 0


async def test_buried_foreign_rows_keep_what_they_had_and_get_ids(bench: Bench) -> None:
    transport = bench.transport()
    await bench.raw("{broken", "not json")
    await bench.raw("{broken", "not json")
    deliveries = await take(transport)

    assert not await transport.settle([settled(d, Bury(Reason.UNDECODABLE, "why")) for d in deliveries])

    letters = await bench.run("SELECT CAST(id AS text), body, headers, reason FROM headrace_dead")
    assert [tuple(letter)[1:] for letter in letters] == [("{broken", "not json", "undecodable")] * 2
    assert len({letter[0] for letter in letters}) == 2
    assert {len(letter[0]) for letter in letters} == {36}


async def test_crashing_foreign_row_is_counted(bench: Bench) -> None:
    transport = bench.transport()
    await bench.raw("x", '{"type":"t"}')
    await bench.one(transport)
    await bench.pass_time(31)

    [lapsed] = await transport.reap()

    assert (lapsed.crashes, lapsed.charged) == (1, True)
    assert (await bench.one(transport)).crashes == 1


async def test_foreign_and_own_rows_share_a_line(bench: Bench) -> None:
    await bench.raw("1")
    await bench.pass_time(0.01)
    own = await bench.send()
    await bench.pass_time(0.01)
    await bench.raw("3")

    assert [delivery.body for delivery in await take(bench.transport())][::2] == [b"1", b"3"]
    assert await bench.state(own) == "pending"


async def test_bytes_that_are_no_text_do_not_stop_the_queue(bench: Bench) -> None:
    if bench.store.database.dialect.name == "postgres":
        return  # its text is always valid UTF-8
    await bench.raw("x")
    await bench.run("UPDATE headrace_messages SET body = CAST(x'ff00fe' AS TEXT), headers = CAST(x'ff' AS TEXT)")
    await bench.pass_time(0.01)
    await bench.send()
    transport = bench.transport()

    broken, _ = await take(transport)
    assert broken.body == b"\xff\x00\xfe"
    assert not await transport.settle([settled(broken, Bury(Reason.UNDECODABLE))])

    assert bytes(await bench.value("SELECT CAST(body AS BLOB) FROM headrace_dead")) == b"\xff\x00\xfe"
