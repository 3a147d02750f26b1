"""How a worker ended, for the record of the jobs that were running in it."""

import contextlib
import signal
from pathlib import Path

from headrace.bus.transport import Evidence
from headrace.supervisor.child import Child, State
from headrace.supervisor.handle import cause
from headrace.supervisor.orders import Exited

CGROUPS = Path("/sys/fs/cgroup")
MEBIBYTE = 1 << 20


def evidence(child: Child, exited: Exited, out_of_memory: bool) -> Evidence:
    """In words. `out_of_memory`: the kernel has killed for want of memory since the last look."""
    killed = exited.code == -signal.SIGKILL
    if exited.code == 0:
        parts = [child.goodbye or "it said no goodbye: a handler has ended the process"]
    elif killed and out_of_memory and not child.why:
        parts = ["out of memory: the kernel has just killed for want of it"]
    else:
        parts = [child.why or "nobody here has told it to end"]
    if child.state is State.STARTING:
        parts.append("it never said that it was ready")
    if exited.memory:
        parts.append(f"peak memory {exited.memory // MEBIBYTE} MiB")
    return Evidence(cause(exited.code), "; ".join(parts))


def oom_kills() -> int:
    """Processes of our control group that the kernel has killed for want of memory, ever; 0 when it does not tell."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            number, kinds, group = line.split(":", 2)
            if number == "0":
                counters = CGROUPS / group.lstrip("/") / "memory.events"
            elif "memory" in kinds.split(","):
                counters = CGROUPS / "memory" / group.lstrip("/") / "memory.oom_control"
            else:
                continue
            if counters.exists():
                return _counter(counters.read_text(), "oom_kill")
    return 0


def _counter(text: str, name: str) -> int:
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0
