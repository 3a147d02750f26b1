"""Real workers, real signals: what a supervisor does when they start, die, hang and stop."""

import os
import signal
from dataclasses import replace

import psutil
import pytest

from headrace.supervisor import events
from headrace.supervisor.settings import Backoff, ConsumerSettings
from tests.support.seat_worker import receipts
from tests.support.supervising import LOADING, gone, supervising

pytestmark = pytest.mark.slow


def descendants() -> list[psutil.Process]:
    """Every process below this one, but for the servers of other tests."""
    return [process for process in psutil.Process().children(recursive=True) if process.name() != "postgres"]


async def test_killed_worker_is_replaced_at_once_and_exactly_what_it_ran_is_given_back() -> None:
    async with supervising(ConsumerSettings("steady", 4)) as watched:
        await watched.some(events.WorkerReady, 4)
        victim = sorted(watched.supervisor.workers, key=lambda worker: worker.worker)[1]
        number = int(victim.worker.split("-")[-2])

        watched.supervisor.signal_worker(victim.worker, signal.SIGKILL)
        (exited,) = await watched.some(events.WorkerExited)
        killed_at = watched.clock.monotonic()
        await watched.some(events.WorkerReady, 5)
        ready_again = watched.clock.monotonic() - killed_at
        await watched.until(lambda: len(watched.asked) == 2)

        first, second = watched.asked
        assert first[1:3] == second[1:3] == (victim.worker, receipts(number))
        assert first[3].cause == "signal 9 (SIGKILL)"
        assert "peak memory" in first[3].detail
        assert first[0] - killed_at < 1.0
        assert 0.9 < second[0] - first[0] < 3.0
        assert ready_again < 1.5
        assert exited.running == receipts(number)
        assert not exited.clean
        assert exited.again == 0.0
        assert [event.released[0].worker for event in watched.all(events.JobsReleased)] == [victim.worker]
        assert gone(victim.pid)
        assert len(watched.supervisor.workers) == 4
        assert {worker.busy for worker in watched.supervisor.workers} == {2}


async def test_stop_drains_every_worker_and_leaves_nobody() -> None:
    async with supervising(ConsumerSettings("steady", 3)) as watched:
        await watched.some(events.WorkerReady, 3)
        everyone = [process.pid for process in descendants()]

        watched.supervisor.stop()

        assert await watched.ended() == 0
        exits = watched.all(events.WorkerExited)
        assert [(e.evidence.cause, e.evidence.detail.split(";")[0], e.clean, e.running, e.again) for e in exits] == [
            ("exit code 0", "SIGTERM", True, [], None)
        ] * 3
        assert len(everyone) == 4
        assert all(gone(pid) for pid in everyone)
        assert watched.all(events.WorkerKilled) == []
        assert len(watched.asked) == 3, "a clean end needs no second look"


async def test_worker_that_does_not_stop_is_killed_after_its_grace_and_its_jobs_are_not_charged() -> None:
    async with supervising(ConsumerSettings("stubborn", 1, grace=0.4)) as watched:
        await watched.some(events.WorkerReady)

        watched.supervisor.stop()
        (exited,) = await watched.some(events.WorkerExited)

        told_at, exited_at = watched.times(events.Draining)[0], watched.times(events.WorkerExited)[0]
        assert 0.4 <= exited_at - told_at < 1.4
        assert exited.evidence.detail.startswith("the supervisor stops; it had no more time to finish")
        assert exited.running == receipts(1)
        await watched.ended()
        assert [list(running) for _, _, running, _ in watched.asked] == [[], []]


async def test_second_stop_kills_now() -> None:
    async with supervising(ConsumerSettings("stubborn", 2, grace=60.0)) as watched:
        await watched.some(events.WorkerReady, 2)

        watched.supervisor.stop()
        watched.supervisor.stop()
        await watched.some(events.WorkerExited, 2)

        assert await watched.ended() == 0
        assert len(watched.all(events.WorkerKilled)) == 2
        assert [event.grace for event in watched.all(events.Draining)] == [60.0, 0.0]


@pytest.mark.parametrize("awaited", [None, events.ZygoteReady, events.WorkerSpawned])
async def test_stop_during_the_start_leaves_nobody(awaited: type[events.Event] | None) -> None:
    async with supervising(ConsumerSettings("steady", 2)) as watched:
        if awaited is not None:
            await watched.some(awaited)
        watched.supervisor.stop()
        assert await watched.ended() == 0
    assert descendants() == []
    assert watched.all(events.LoadFailed) == []


async def test_crash_loop_begins_at_once_and_then_backs_off() -> None:
    backoff = Backoff(first=0.2, factor=2.0, jitter=0.0)
    async with supervising(ConsumerSettings("crashing", 1, backoff=backoff)) as watched:
        exits = (await watched.some(events.WorkerExited, 4))[:4]
        spawned = watched.times(events.WorkerSpawned)

        assert [e.again for e in exits] == pytest.approx([0.0, 0.2, 0.4, 0.8])
        assert {e.evidence.cause for e in exits} == {"exit code 3"}
        assert spawned[2] - spawned[1] >= 0.2
        assert spawned[3] - spawned[2] >= 0.4


@pytest.mark.parametrize(
    ("consumer", "cause", "detail"),
    [
        ("leaving", "exit code 0", "it said no goodbye: a handler has ended the process"),
        ("segfault", "signal 11 (SIGSEGV)", "nobody here has told it to end"),
        ("raising", "exit code 70", "nobody here has told it to end"),
    ],
)
async def test_end_without_a_goodbye_is_a_crash(consumer: str, cause: str, detail: str) -> None:
    async with supervising(ConsumerSettings(consumer, 1)) as watched:
        exited = (await watched.some(events.WorkerExited))[0]
        assert (exited.evidence.cause, exited.evidence.detail.split(";")[0]) == (cause, detail)
        assert not exited.clean
        assert exited.running == receipts(1)


async def test_clean_end_is_replaced_at_once_each_time() -> None:
    async with supervising(ConsumerSettings("finishing", 1)) as watched:
        exits = await watched.some(events.WorkerExited, 5)
        assert {(e.clean, e.again) for e in exits} == {(True, 0.0)}


async def test_supervisor_ends_when_every_finite_worker_has() -> None:
    async with supervising(ConsumerSettings("finishing", 3, finite=True)) as watched:
        assert await watched.ended() == 0
        assert len(watched.all(events.WorkerSpawned)) == 3
        assert [e.again for e in watched.all(events.WorkerExited)] == [None] * 3


async def test_worker_that_never_gets_ready_is_killed_and_replaced() -> None:
    async with supervising(ConsumerSettings("silent", 1, start_timeout=0.3)) as watched:
        await watched.some(events.WorkerSpawned, 2)
        (exited,) = watched.all(events.WorkerExited)[:1]
        assert exited.evidence.cause == "signal 9 (SIGKILL)"
        assert exited.evidence.detail.startswith("it was not ready within 0.3 s")


async def test_garbage_on_the_status_pipe_is_counted_and_nobody_is_believed_to_be_somebody_else() -> None:
    async with supervising(ConsumerSettings("noisy", 1)) as watched:
        (ready,) = await watched.some(events.WorkerReady)
        (view,) = watched.supervisor.workers
        assert ready.worker == view.worker != "somebody-else"
        assert ready.pid == view.pid != 1
        assert view.dropped == 3


async def test_workers_have_their_own_dice_and_group_and_nothing_of_the_zygote() -> None:
    async with supervising(ConsumerSettings("dicing", 3)) as watched:
        await watched.some(events.WorkerReady, 3)
        views = watched.supervisor.workers
        assert len({view.done for view in views}) == 3
        assert {(view.failed, view.busy) for view in views} == {(1, 0)}


async def test_what_a_dead_worker_left_running_is_killed_with_it() -> None:
    async with supervising(ConsumerSettings("parent", 1)) as watched:
        await watched.some(events.WorkerReady)
        (view,) = watched.supervisor.workers
        assert not gone(view.done)

        watched.supervisor.signal_worker(view.worker, signal.SIGTERM)
        await watched.some(events.WorkerExited)

        assert gone(view.done, within=3.0)


async def test_releasing_waits_for_the_store_while_supervision_goes_on() -> None:
    async with supervising(ConsumerSettings("steady", 2)) as watched:
        await watched.some(events.WorkerReady, 2)
        watched.unreachable = 3

        watched.supervisor.signal_worker(watched.supervisor.workers[0].worker, signal.SIGKILL)
        await watched.some(events.WorkerReady, 3)
        await watched.until(lambda: len(watched.asked) == 5)

        assert len(watched.all(events.ReleaseFailed)) == 1
        assert len({ask[1] for ask in watched.asked}) == 1


async def test_dead_zygote_is_replaced_and_its_workers_are_given_back() -> None:
    async with supervising(ConsumerSettings("steady", 2)) as watched:
        await watched.some(events.WorkerReady, 2)
        pids = [view.pid for view in watched.supervisor.workers]

        os.kill(watched.all(events.ZygoteReady)[0].pid, signal.SIGKILL)
        await watched.some(events.WorkerReady, 4)
        await watched.until(lambda: len(watched.asked) == 4)

        assert watched.all(events.ZygoteLost)[0].cause == "signal 9 (SIGKILL)"
        assert sorted(tuple(ask[2]) for ask in watched.asked[:2]) == [tuple(receipts(1)), tuple(receipts(2))]
        assert "its zygote died" in watched.asked[0][3].detail
        assert all(gone(pid) for pid in pids)


async def test_system_that_refuses_a_fork_is_asked_again() -> None:
    loading = replace(LOADING, argument="cannot fork")
    async with supervising(ConsumerSettings("steady", 1, backoff=Backoff(first=0.1)), loading=loading) as watched:
        await watched.some(events.WorkerReady)
        first, second = watched.all(events.SpawnFailed)
        assert "Resource temporarily unavailable" in first.why
        assert first.again == 0.0
        assert 0.09 <= second.again <= 0.11
        assert watched.asked == []


async def test_operators_term_to_one_worker_lets_it_finish_and_replaces_it() -> None:
    async with supervising(replace(ConsumerSettings("steady", 1), minimum=0.0)) as watched:
        await watched.some(events.WorkerReady)
        os.kill(watched.supervisor.workers[0].pid, signal.SIGTERM)
        await watched.some(events.WorkerReady, 2)
        (exited,) = watched.all(events.WorkerExited)
        assert (exited.clean, exited.again) == (True, 0.0)


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("threads", "importing the application started 1 thread(s): reporter"),
        ("exits", "SystemExit: not today"),
        ("dies", "loading the application ended the process with exit code 5"),
        ("hangs", "the application was not loaded within 0.5 s"),
    ],
)
async def test_application_that_cannot_be_loaded_ends_the_supervisor(argument: str, text: str) -> None:
    timeout = 0.5 if argument == "hangs" else 30.0
    async with supervising(
        ConsumerSettings("steady", 1), loading=replace(LOADING, argument=argument, timeout=timeout)
    ) as watched:
        assert await watched.ended() == 1
        (failed,) = watched.all(events.LoadFailed)
        assert text in failed.text
    assert descendants() == []
