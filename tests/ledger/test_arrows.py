"""What the transport's SQL does to jobs are arrows of the table, and the ledger's SQL keeps to it."""

from collections.abc import Awaitable, Callable

import pytest

from headrace.bus.retry import ACK, Bury, Nack, Reason, Return, Verdict
from headrace.errors import IllegalTransition
from headrace.ledger.job import ARROWS, Input, State, step
from tests.support.ledgers import House

# From each state that a loan can begin in, what may become of it. Each entry: input, verdict (None: see `act`).
ENDS: list[tuple[Input, Verdict | None]] = [
    (Input.ACK, ACK),
    (Input.NACK, Nack(0.0)),
    (Input.CRASH, None),
    (Input.RETURN_NEW, Return(0.0)),
    (Input.RETURN_TRIED, Return(0.0)),
    (Input.FAIL, Bury(Reason.FAILED)),
    (Input.FAIL, Bury(Reason.REJECTED)),
    (Input.FAIL, Bury(Reason.UNDECODABLE)),
    (Input.FAIL, Bury(Reason.UNKNOWN)),
    (Input.QUARANTINE, Bury(Reason.QUARANTINED)),
    (Input.EXPIRE, Bury(Reason.EXPIRED)),
]
WALKS = [
    (begun, reported, given, verdict)
    for begun in (State.PENDING, State.RETRYING)
    for reported in (False, True)
    for given, verdict in ENDS
    if (State.PROCESSING if reported else begun, given) in ARROWS
    and given is not {State.PENDING: Input.RETURN_TRIED, State.RETRYING: Input.RETURN_NEW}[begun]
]


async def lent(house: House, begun: State) -> str:
    """A job of this state whose message is ready."""
    job = await house.send()
    if begun is State.RETRYING:
        await house.settle(await house.claim(), Nack(0.0), error="ValueError: no")
    assert await house.ledger.state(job) is begun
    return job


@pytest.mark.parametrize(("begun", "reported", "given", "verdict"), WALKS)
async def test_every_settlement_is_an_arrow(
    house: House, begun: State, reported: bool, given: Input, verdict: Verdict | None
) -> None:
    state = begun
    job = await lent(house, begun)
    delivery = await house.claim()
    assert await house.ledger.state(job) is state, "a claim writes nothing"
    if reported:
        await house.report(delivery)
        state = step(state, Input.REPORT)
        assert await house.ledger.state(job) is state

    if verdict is None:
        await house.crash(delivery)
    else:
        await house.settle(delivery, verdict, error="" if given is Input.ACK else "ValueError: no")

    assert await house.ledger.state(job) is step(state, given)


@pytest.mark.parametrize("begun", [State.PENDING, State.RETRYING])
@pytest.mark.parametrize("reported", [False, True])
async def test_uncharged_release_of_a_dead_worker_is_a_return(house: House, begun: State, reported: bool) -> None:
    job = await lent(house, begun)
    delivery = await house.claim()
    if reported:
        await house.report(delivery)

    await house.crash(delivery, charged=False)

    given = Input.RETURN_NEW if begun is State.PENDING else Input.RETURN_TRIED
    assert await house.ledger.state(job) is step(State.PROCESSING if reported else begun, given)


MAKERS: dict[State, Callable[[House], Awaitable[str]]] = {
    State.PENDING: House.send,
    State.PROCESSING: House.processing,
    State.RETRYING: House.retrying,
    State.COMPLETED: House.completed,
    State.FAILED: House.failed,
    State.CANCELLED: House.cancelled,
    State.QUARANTINED: House.quarantined,
    State.EXPIRED: House.expired,
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("given", [Input.CANCEL, Input.RETRY])
async def test_people_can_do_what_the_table_says_and_nothing_else(house: House, state: State, given: Input) -> None:
    job = await MAKERS[state](house)
    assert await house.ledger.state(job) is state
    before = await house.ledger.job(job)

    async def act() -> None:
        await (house.ledger.cancel(job) if given is Input.CANCEL else house.ledger.retry([job]))

    if (state, given) in ARROWS:
        await act()
        assert await house.ledger.state(job) is step(state, given)
    else:
        with pytest.raises(IllegalTransition, match=job):
            await act()
        assert await house.ledger.job(job) == before
