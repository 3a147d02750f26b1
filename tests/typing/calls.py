"""Right and wrong calls, for type checkers only: just the lines that end in `# wrong` must be errors."""

from typing import assert_type

from headrace import App, Context, Job

app = App("memory://")


@app.task
def greet(name: str, times: int = 1) -> str:
    return " ".join([f"Hello, {name}!"] * times)


@app.task(queue="mail", time_limit="5m")
async def send(ctx: Context, address: str, *, urgent: bool = False) -> int:
    ctx.progress(0.5)
    return len(address) if urgent else 0


def blocking() -> None:
    assert_type(greet.enqueue("Ada"), Job[str])
    assert_type(greet.enqueue("Ada", times=2).result(timeout=5), str)
    assert_type(greet.using(delay="10m", priority=5).enqueue("Ada", 3), Job[str])
    assert_type(send.enqueue("ada@example.org", urgent=True), Job[int])
    greet.enqueue_many([("Ada",), ("Bob", 3)])
    greet.enqueue_many([greet.call("Ada"), greet.call("Bob", times=3)])
    greet.enqueue()  # wrong
    greet.enqueue(1)  # wrong
    greet.enqueue("Ada", times="two")  # wrong
    greet.enqueue("Ada", tiems=2)  # wrong
    greet.using(dealy="10m")  # wrong
    greet.using(priority="high")  # wrong
    greet.call("Ada", times="two")  # wrong
    send.enqueue(Context, "ada@example.org")  # wrong
    send.enqueue("ada@example.org", True)  # wrong


async def awaiting() -> None:
    assert_type(await greet.aenqueue("Ada"), Job[str])
    assert_type(await (await send.aenqueue("ada@example.org")).aresult(), int)
    await greet.aenqueue("Ada", times=None)  # wrong
    await send.using(unique="ada").aenqueue()  # wrong
