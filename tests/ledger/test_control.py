"""The list of workers."""

import msgspec

from headrace.ledger.control import WorkerRow
from tests.support.ledgers import House

ADA = WorkerRow("w-1", "host", 811, "mail", "mail,default", 4)


async def test_beat_says_who_is_there_and_hears_what_is_wanted(house: House) -> None:
    control = house.ledger.control
    assert await control.beat(ADA) == "run"
    assert await control.beat(msgspec.structs.replace(ADA, id="w-2", consumer="ingest")) == "run"
    assert await control.want(["w-1", "w-9"], "drain") == 1
    assert await control.beat(msgspec.structs.replace(ADA, busy=3, done=1 << 40)) == "drain"

    other, ada = await control.workers()

    assert (other.worker.id, other.wanted) == ("w-2", "run")
    assert ada.worker == msgspec.structs.replace(ADA, busy=3, done=1 << 40)
    assert ada.wanted == "drain"
    assert ada.started_at <= ada.seen_at
    assert abs(ada.seen_at - house.clock.now()) < 60
    assert 0 <= ada.age < 60


async def test_who_is_gone_or_was_not_seen_for_long_is_taken_off(house: House) -> None:
    control = house.ledger.control
    for number in range(4):
        await control.beat(msgspec.structs.replace(ADA, id=f"w-{number}"))
    moment = house.dialect.moment.format(f"{house.dialect.epoch.format(house.dialect.now)} - 100")
    await house.sql(f"UPDATE headrace_workers SET seen_at = {moment} WHERE id IN ('w-1', 'w-2')")

    await control.gone("w-0")
    await control.gone("nobody")

    assert await control.forget(200.0) == []
    assert sorted(await control.forget(90.0)) == ["w-1", "w-2"]
    assert [seen.worker.id for seen in await control.workers()] == ["w-3"]
    assert await control.beat(msgspec.structs.replace(ADA, id="w-1")) == "run"
