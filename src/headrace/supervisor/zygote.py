"""The process that imports the application once and forks workers; run as `python -m headrace.supervisor.zygote FD`.

It has no event loop, no thread and no connection, so a fork copies nothing that could be half done. It is its workers'
parent: only it signals them, and it reaps them only when their end has been seen, so no signal can hit a stranger. Its
supervisor's end is the end of the socket: the workers are then drained, and killed after the grace.
"""

import contextlib
import ctypes
import faulthandler
import gc
import importlib
import os
import selectors
import signal
import socket
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NoReturn

import msgspec

from headrace.clock import SystemClock
from headrace.errors import HeadraceError
from headrace.supervisor.orders import (
    PACKET,
    TEXT_LIMIT,
    Answer,
    Exited,
    Fork,
    Forked,
    Load,
    Loaded,
    LoadingFailed,
    NotForked,
    Seat,
    Send,
    encode,
    order,
)

Run = Callable[[Seat], int]

PR_SET_PDEATHSIG = 1
CRASHED = 70  # exit code of a worker whose `run` raised
HIDDEN = (f"{Path(__file__).parents[1]}{os.sep}", "<frozen importlib", importlib.__file__)
HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # the zygote outlives them; its workers do not


@dataclass(frozen=True, slots=True)
class _Worker:
    seat: Seat
    pid: int
    pidfd: int


class _Reporting:
    """An error inside is reported to the supervisor, and the process ends."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is not None:
            _answer(self._control, LoadingFailed(_explained(error)))
            raise SystemExit(1) from None


class _Zygote:
    """Takes orders until the supervisor is gone and every worker has ended."""

    def __init__(self, control: socket.socket, run: Run, grace: float) -> None:
        self._control = control
        self._run = run
        self._grace = grace
        self._clock = SystemClock()
        self._workers: dict[str, _Worker] = {}
        self._selector = selectors.PollSelector()
        self._selector.register(control, selectors.EVENT_READ)

    def serve(self) -> None:
        """Work for the supervisor, and clean up after it."""
        while self._control.fileno() >= 0:
            for key, _ in self._selector.select():
                if key.fileobj is self._control:
                    self._take_order()
                else:
                    self._reap(key.data)
        orphans = list(self._workers.values())
        self._end_all(signal.SIGTERM, self._clock.monotonic() + self._grace)
        self._end_all(signal.SIGKILL, float("inf"))
        for orphan in orphans:  # nobody else will
            with contextlib.suppress(OSError):
                Path(orphan.seat.recorder).unlink()
                Path(orphan.seat.recorder).parent.rmdir()

    def _take_order(self) -> None:
        try:
            packet, fds, _, _ = socket.recv_fds(self._control, PACKET, 1, socket.MSG_CMSG_CLOEXEC)
        except ConnectionError:
            packet, fds = b"", []
        if not packet:
            self._selector.unregister(self._control)
            self._control.close()
            return
        match order(packet):
            case Fork(seat) if not fds:
                self._answer(NotForked(seat.worker, "too many open files"))
            case Fork(seat):
                self._fork(msgspec.structs.replace(seat, status_fd=fds[0]))
                os.close(fds[0])
            case Send(worker, number):
                self._signal(worker, number)
            case Load():
                pass

    def _fork(self, seat: Seat) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)  # until the child has its own handlers
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._answer(NotForked(seat.worker, str(error)))
            return
        else:
            if pid == 0:
                self._forget()
                _work(seat, self._run, parent)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        with contextlib.suppress(OSError):  # whichever of the two comes first
            os.setpgid(pid, pid)
        try:
            worker = _Worker(seat, pid, os.pidfd_open(pid))
        except OSError as error:  # too many open files
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            self._answer(NotForked(seat.worker, str(error)))
            return
        self._workers[seat.worker] = worker
        self._selector.register(worker.pidfd, selectors.EVENT_READ, worker)
        self._answer(Forked(seat.worker, pid))

    def _forget(self) -> None:
        """In the child: let go of what is the zygote's."""
        self._selector.close()
        self._control.close()
        for worker in self._workers.values():
            os.close(worker.pidfd)

    def _reap(self, worker: _Worker) -> None:
        self._selector.unregister(worker.pidfd)
        os.close(worker.pidfd)
        with contextlib.suppress(OSError):  # what it left behind; its number is its own until it is reaped
            os.killpg(worker.pid, signal.SIGKILL)
        _, status, usage = os.wait4(worker.pid, 0)
        del self._workers[worker.seat.worker]
        memory = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        self._answer(Exited(worker.seat.worker, os.waitstatus_to_exitcode(status), memory))

    def _signal(self, name: str, number: int) -> None:
        if worker := self._workers.get(name):
            with contextlib.suppress(OSError):
                (os.killpg if number == signal.SIGKILL else os.kill)(worker.pid, number)

    def _end_all(self, number: int, until: float) -> None:
        """Signal every worker and reap those that end before `until`."""
        for name in self._workers:
            self._signal(name, number)
        while self._workers and (left := until - self._clock.monotonic()) > 0:
            for key, _ in self._selector.select(None if left == float("inf") else left):
                self._reap(key.data)

    def _answer(self, said: Answer) -> None:
        if self._control.fileno() >= 0:
            _answer(self._control, said)


def _answer(control: socket.socket, said: Answer) -> None:
    with contextlib.suppress(ConnectionError):  # the end of the socket is read soon
        control.send(encode(said))


def _work(seat: Seat, run: Run, parent: int) -> NoReturn:
    """Be a worker. Nothing of the zygote's stack is returned to."""
    code = CRASHED
    try:
        _die_with_parent(parent)
        os.setpgid(0, 0)
        for number in HANDLED:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        gc.enable()
        code = run(seat)
    finally:
        if (error := sys.exception()) is not None:
            sys.stderr.write(f"{_explained(error)}\n")
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


def _die_with_parent(parent: int) -> None:
    """SIGKILL for us when the parent dies: nobody would be left to drain, signal or reap us."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(CRASHED)


def _explained(error: BaseException) -> str:
    """The error for a person: ours say it all themselves, others come with their own part of the traceback."""
    if isinstance(error, HeadraceError):
        return _clean(str(error))
    at = error.__traceback__
    while at is not None and at.tb_frame.f_code.co_filename.startswith(HIDDEN):
        at = at.tb_next
    if at is None and not isinstance(error, ImportError | SyntaxError):
        at = error.__traceback__  # a bug of ours is shown whole
    return _clean("".join(traceback.format_exception(type(error), error, at)).rstrip())


def _clean(text: str) -> str:
    """Short enough for a packet, and UTF-8 can hold it."""
    return text[-TEXT_LIMIT:].encode(errors="replace").decode()


def _load(load: Load) -> Run:
    """What each worker runs; importing the application is a part of it."""
    sys.path[:0] = load.path
    module, _, name = load.entry.partition(":")
    run: Run = getattr(importlib.import_module(module), name)(load.argument)
    if others := [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]:
        raise ThreadsStarted(others)
    return run


class ThreadsStarted(RuntimeError):
    """Importing the application started threads."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(
            f"importing the application started {len(names)} thread(s): {', '.join(names)}.\n"
            "Workers are forked from the process that has imported it, and threads do not survive a fork.\n"
            "Start them in the app's lifespan, which each worker runs for itself."
        )


def main() -> None:
    """Load, say so, serve."""
    supervisor = os.getppid()
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    for number in HANDLED:
        signal.signal(number, lambda *_: None)
    faulthandler.enable()
    with _Reporting(control):
        _die_with_parent(supervisor)  # as long as the application is being imported; see below
        match order(control.recv(PACKET)):
            case Load() as load:
                run = _load(load)
            case other:
                raise TypeError(f"the first order is {other}")
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, 0)  # from now on the end of the socket tells
    warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)  # threads were looked for above
    gc.collect()
    gc.disable()
    gc.freeze()  # what is shared stays shared: no collection in a worker touches it
    _answer(control, Loaded())
    _Zygote(control, run, load.grace).serve()


if __name__ == "__main__":
    main()
