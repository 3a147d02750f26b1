"""One process of a contender: `python host.py NAME ROLE ADDRESS OPTIONS`. Answers in JSON lines on standard output.

Roles: control (obeys commands on standard input), worker (waits for a line, then works until SIGTERM),
producer (sends as fast as it can for some seconds, or at a rate), claimer (claims and settles in turn).
"""

import asyncio
import json
import os
import sys
import time
from typing import Any

from contenders import Contender, Target, load

ANSWERS = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)  # whatever a library prints goes to standard error


def answer(value: object) -> None:
    ANSWERS.write(json.dumps(value) + "\n")


def loop_factory() -> Any:
    import uvloop

    return uvloop.new_event_loop


def run(main: Any) -> None:
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main)


async def control(contender: Contender) -> None:
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        match command.pop("do"):
            case "create":
                answer(await contender.create())
            case "fill":
                answer(await contender.fill(**command))
            case "unfinished":
                answer(await contender.unfinished())


async def burst(contender: Contender, mode: str, seconds: float, width: int, bulk: int) -> None:
    """As fast as it goes: a tenth of the time to warm up, then the measured part."""
    await contender.open_producer(mode)  # type: ignore[arg-type]

    async def one_by_one(until: float) -> int:
        count = 0
        while time.monotonic() < until:
            await contender.enqueue_one(count)
            count += 1
        return count

    async def many(until: float) -> int:
        count = 0
        while time.monotonic() < until:
            await contender.enqueue_many(range(count, count + bulk))
            count += bulk
        return count

    async def wide(until: float) -> int:
        return sum(await asyncio.gather(*(one_by_one(until) for _ in range(width))))

    act = {"single": one_by_one, "wake": one_by_one, "concurrent": wide, "bulk": many}[mode]
    await act(time.monotonic() + seconds / 10)
    began = time.monotonic()
    count = await act(began + seconds)
    answer({"count": count, "seconds": time.monotonic() - began})


def burst_sync(contender: Contender, seconds: float) -> None:
    def act(until: float) -> int:
        count = 0
        while time.monotonic() < until:
            contender.enqueue_sync(count)
            count += 1
        return count

    act(time.monotonic() + seconds / 10)
    began = time.monotonic()
    count = act(began + seconds)
    answer({"count": count, "seconds": time.monotonic() - began})


async def steady(contender: Contender, rate: float, seconds: float, tick: float) -> None:
    """At a rate: each job carries the time of its own send. Below 1,000/s one at a time, above in one call per tick."""
    await contender.open_producer("steady")
    for _ in range(5):
        await contender.enqueue_one(time.monotonic_ns())
    await asyncio.sleep(0.5)
    began, sent = time.monotonic(), 0
    sends: list[asyncio.Task[None]] = []
    while (now := time.monotonic()) < began + seconds:
        due = int((now - began) * rate) - sent
        if due > 0 and rate >= 1_000:
            await contender.enqueue_many([time.monotonic_ns()] * due)
            sent += due
        elif due > 0:
            sends.append(asyncio.create_task(contender.enqueue_one(time.monotonic_ns())))
            sent += 1
        await asyncio.sleep(tick if rate >= 1_000 else max(0.0, began + (sent + 1) / rate - time.monotonic()))
    await asyncio.gather(*sends)
    answer({"count": sent, "seconds": time.monotonic() - began})


async def claimer(contender: Contender, batches: int, limit: int) -> None:
    await contender.open_claimer()
    taken = [await contender.claim_and_settle(limit) for _ in range(batches)]
    answer({"seconds": [seconds for seconds, _ in taken], "rows": [rows for _, rows in taken]})


def main() -> None:
    name, role, address, text = sys.argv[1:5]
    options: dict[str, Any] = json.loads(text)
    contender = load(name)(Target(address, options.pop("ledger", False)))
    match role:
        case "control":
            run(control(contender))
        case "worker":
            answer("here")
            sys.stdin.readline()
            contender.work(**options)
        case "producer" if "rate" in options:
            run(steady(contender, **options))
        case "producer" if options["mode"] == "sync":
            burst_sync(contender, options["seconds"])
        case "producer":
            run(burst(contender, **options))
        case "claimer":
            run(claimer(contender, **options))


if __name__ == "__main__":
    main()
