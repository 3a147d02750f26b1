"""Workers for tests of the supervisor: each consumer is named after what its workers do."""

import contextlib
import errno
import os
import random
import resource
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from headrace.supervisor.orders import Seat
from headrace.worker.recorder import Recorder
from headrace.worker.status import Beat, Bye, Frame, Hello, encode

Run = Callable[[Seat], int]
BUSY = Beat(busy=2, done=0)


def say(seat: Seat, frame: Frame) -> None:
    os.write(seat.status_fd, encode(frame))


def receipts(number: int) -> list[tuple[int, int]]:
    """What a worker in this place has running: two of its three lanes."""
    return [(number * 10, 1), (number * 10 + 2, 7)]


def begin(seat: Seat, beat: Beat = BUSY) -> Recorder:
    recorder = Recorder(seat.recorder, 3)
    first, last = receipts(seat.number)
    recorder.start(0, first)
    recorder.start(1, (99, 99))
    recorder.start(2, last)
    recorder.stop(1)
    say(seat, beat)
    say(seat, Hello(seat.worker, os.getpid()))
    return recorder


def end(seat: Seat, recorder: Recorder, reason: str) -> int:
    recorder.stop(0)
    recorder.stop(2)
    say(seat, Bye(reason))
    return 0


def wait_for_term() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.sigwait({signal.SIGTERM})


def steady(seat: Seat) -> int:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    recorder = begin(seat)
    wait_for_term()
    return end(seat, recorder, "SIGTERM")


def stubborn(seat: Seat) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _recorder = begin(seat)
    while True:
        signal.pause()


def crashing(seat: Seat) -> int:
    begin(seat)
    return 3


def raising(seat: Seat) -> int:
    begin(seat)
    raise LookupError("no such thing")


def leaving(seat: Seat) -> int:
    """A handler calls os._exit(0)."""
    begin(seat)
    os._exit(0)


def segfault(seat: Seat) -> int:
    begin(seat)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.kill(os.getpid(), signal.SIGSEGV)
    return 0


def finishing(seat: Seat) -> int:
    recorder = begin(seat)
    say(seat, Beat(done=5))
    return end(seat, recorder, "drained")


def silent(_: Seat) -> int:
    """Never says hello."""
    while True:
        signal.pause()


def noisy(seat: Seat) -> int:
    """Writes garbage, and a name that is not its own."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    os.set_blocking(seat.status_fd, True)  # for the test: every byte of the garbage arrives
    os.write(seat.status_fd, b"\0\xff{}\n" + b"x" * 300_000 + b"\n" + encode(Hello("somebody-else", 1))[:-5])
    os.write(seat.status_fd, b"\n")
    recorder = begin(seat)
    wait_for_term()
    return end(seat, recorder, "SIGTERM")


def dicing(seat: Seat) -> int:
    """Says a random number, and what process group and descriptors it has."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    sockets = [link for link in links() if link.startswith("socket:")]
    dice = Beat(busy=len(sockets), done=random.getrandbits(60), failed=int(os.getpgrp() == os.getpid()))
    recorder = begin(seat, dice)
    wait_for_term()
    return end(seat, recorder, "SIGTERM")


def links() -> list[str]:
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(descriptor.readlink()))
    return found


def parent(seat: Seat) -> int:
    """Has a child of its own, whose number is in `done`."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            signal.pause()
    begin(seat, Beat(done=child))
    while True:
        signal.pause()


DOES: dict[str, Run] = {
    run.__name__: run
    for run in (
        steady,
        stubborn,
        crashing,
        raising,
        leaving,
        segfault,
        finishing,
        silent,
        noisy,
        dicing,
        parent,
    )
}


def refusing(fork: Callable[[], int], times: int) -> Callable[[], int]:
    """A system that is out of processes, for a while."""
    left = [times]

    def fork_or_refuse() -> int:
        left[0] -= 1
        if left[0] >= 0:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return fork()

    return fork_or_refuse


def load(argument: str) -> Run:
    """The loader; `argument` may be the name of a fault."""
    match argument:
        case "threads":
            threading.Thread(target=threading.Event().wait, name="reporter", daemon=True).start()
        case "exits":
            sys.exit("not today")
        case "dies":
            os._exit(5)
        case "hangs":
            signal.pause()
        case "cannot fork":
            os.fork = refusing(os.fork, times=2)
        case _:
            pass
    return lambda seat: DOES[seat.consumer](seat)
