"""What a zygote loads for the fault tests: workers as in production, or producers."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from headrace import chance, compose, failpoints
from headrace.bus.ids import Ids
from headrace.clock import SystemClock
from headrace.supervisor.orders import Seat
from headrace.worker.status import Bye, Hello, encode
from tests.support.chaos.app import Chaos
from tests.support.chaos.diary import Reader
from tests.support.chaos.plan import Plan

Run = Callable[[Seat], int]


def load_worker(argument: str) -> Run:
    """A real worker; failpoints are armed in as many of them as there are tokens."""
    plan = msgspec.json.decode(argument, type=Plan)
    os.environ.update(plan.environment())
    work = compose.load_worker(plan.order)

    def run(seat: Seat) -> int:
        os.environ["HEADRACE_FAILPOINTS"] = plan.armed()
        return work(seat)

    return run


def load_producer(argument: str) -> Run:
    """Sends the ids of the plan that nobody has had an answer for, or so many of its own, one by one, and ends."""
    plan = msgspec.json.decode(argument, type=Plan)

    def run(seat: Seat) -> int:
        os.write(seat.status_fd, encode(Hello(seat.worker, os.getpid())))
        failpoints.arm(plan.armed())
        answered = Reader(Path(plan.folder)).sends().accepted
        own = Ids(SystemClock().now, chance.bits)
        ids = [id for id in plan.ids if id not in answered] + [own.new() for _ in range(plan.count)]
        asyncio.run(_send(plan.chaos(), ids))
        os.write(seat.status_fd, encode(Bye("all are sent")))
        return 0

    return run


async def _send(chaos: Chaos, ids: list[str]) -> None:
    for id in ids:
        await chaos.send(id, chaos.work, 0.0)
