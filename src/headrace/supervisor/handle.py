"""What a supervisor holds on to: its zygotes, and the status pipe of each worker."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from enum import StrEnum

from headrace.supervisor.orders import PACKET, Answer, Fork, Load, Order, Seat, Send, answer, encode
from headrace.supervisor.settings import Loading
from headrace.worker.status import Frame, Parser

CHUNK = 65_536  # most bytes that one look takes from one worker


class Stage(StrEnum):
    """Where a zygote is in its life."""

    LOADING = "loading"  # imports the application
    SERVING = "serving"  # forks
    CLOSED = "closed"  # nothing more is said to it; it ends, or has ended


@dataclass(eq=False)
class Zygote:
    """One zygote: a process, a socket, and the generation of its code. Times are monotonic."""

    generation: int
    popen: subprocess.Popen[bytes]
    control: socket.socket
    pidfd: int
    began: float
    deadline: float  # killed when it is not done by then
    stage: Stage = Stage.LOADING
    error: str = ""  # why it could not load

    @classmethod
    def start(cls, loading: Loading, grace: float, generation: int, now: float) -> "Zygote":
        """Begin to load; OSError when the system refuses."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                popen = subprocess.Popen(
                    [sys.executable, "-P", "-m", "headrace.supervisor.zygote", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # Ctrl-C is for the supervisor
                )
        except OSError:
            ours.close()
            raise
        ours.settimeout(0)
        try:
            pidfd = os.pidfd_open(popen.pid)
        except OSError:
            ours.close()
            popen.kill()
            popen.wait()
            raise
        zygote = cls(generation, popen, ours, pidfd, now, now + loading.timeout)
        zygote.tell(Load(loading.entry, loading.argument, loading.path, grace))
        return zygote

    @property
    def pid(self) -> int:
        """Of its process."""
        return self.popen.pid

    def fork(self, seat: Seat, status_fd: int) -> None:
        """Ask for a worker."""
        with contextlib.suppress(ConnectionError):  # its end is read soon, and means the end of all its workers
            socket.send_fds(self.control, [encode(Fork(seat))], [status_fd])

    def signal(self, worker: str, number: int) -> None:
        """Ask for a signal."""
        self.tell(Send(worker, number))

    def tell(self, order: Order) -> None:
        """One packet; a zygote that has stopped reading is killed."""
        try:
            self.control.send(encode(order))
        except BlockingIOError:
            self.kill()
        except ConnectionError:
            pass

    def hear(self) -> tuple[list[Answer], bool]:
        """What it has said since, and whether the socket has ended."""
        answers: list[Answer] = []
        try:
            while packet := self.control.recv(PACKET):
                answers.append(answer(packet))
        except BlockingIOError:
            return answers, False
        except ConnectionError:
            pass
        return answers, True

    def close(self, deadline: float) -> None:
        """Let it end: nothing is left for it to do."""
        self.stage, self.deadline = Stage.CLOSED, deadline
        self.control.close()

    def kill(self) -> None:
        """End it now, and with it its workers."""
        self.popen.kill()

    def bury(self) -> str:
        """Reap it, wait for that if need be, and let go of it; how it ended."""
        code = self.popen.wait()
        self.control.close()
        os.close(self.pidfd)
        return cause(code)


@dataclass(eq=False)
class StatusPipe:
    """The reading end of one worker's status pipe."""

    fd: int
    parser: Parser = field(default_factory=Parser)

    @classmethod
    def open(cls) -> tuple["StatusPipe", int]:
        """A new pipe and its writing end; neither end blocks."""
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        return cls(reading), writing

    def read(self) -> tuple[list[Frame], bool]:
        """What it has said since, a bounded amount, and whether the pipe has ended."""
        try:
            chunk = os.read(self.fd, CHUNK)
        except BlockingIOError:
            return [], False
        return self.parser.feed(chunk), not chunk

    def close(self) -> None:
        """No more is read."""
        os.close(self.fd)


def cause(code: int) -> str:
    """An exit code as in subprocess, for a person."""
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"signal {-code} ({signal.Signals(-code).name})"
    return f"signal {-code}"
