"""A20: a job is cancelled at the very moment at which it is lent, run or settled."""

import asyncio

import pytest

from headrace.errors import IllegalTransition
from headrace.ledger.job import State
from tests.faults.conftest import Figure, Judge
from tests.support.chaos.fleet import a_fleet
from tests.support.chaos.world import World

pytestmark = pytest.mark.slow

GROUP = 20


async def test_a20_of_a_cancel_and_a_claim_one_wins_and_the_state_says_which(
    world: World, many: Figure, judge: Judge
) -> None:
    """Two idle workers wait for each message; it is cancelled as soon as it has been sent, alone and in groups."""
    rounds = many(400, 5_000)
    answers: dict[str, State | None] = {}

    async def cancel(id: str) -> None:
        try:
            answers[id] = await world.app.job(id).acancel()
        except IllegalTransition:
            answers[id] = None

    async with a_fleet(world, world.plan(), 2) as fleet:
        await fleet.ready(2)
        for number in range(0, rounds, GROUP):
            ids = await world.send_many(world.chaos.work, [(0.001 * (number % 3),)] * GROUP)
            async with asyncio.TaskGroup() as tasks:
                for id in ids[:: 1 if number % 2 else -1]:
                    tasks.create_task(cancel(id))
        for _ in range(rounds // 10):
            await cancel(await world.send(world.chaos.work, 0.0))
        await world.drained(30.0)
        await fleet.stopped()

    cancelled = {id for id, answer in answers.items() if answer is State.CANCELLED}
    await judge(fleet.deaths, cancelled=len(cancelled), ran=len(answers) - len(cancelled))
    jobs = (await world.snapshot()).jobs
    assert {id for id, job in jobs.items() if job.state == State.CANCELLED} == cancelled
    assert {id for id, job in jobs.items() if job.state == State.COMPLETED} == answers.keys() - cancelled
    assert {run.id for run in world.runs()} == answers.keys() - cancelled
    assert 0.02 < len(cancelled) / len(answers) < 0.98, "both have won now and then"
