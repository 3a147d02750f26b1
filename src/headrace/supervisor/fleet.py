"""Who is there: the children of every consumer, and what connects each worker with its supervisor."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from headrace.supervisor.child import Child, State
from headrace.supervisor.handle import StatusPipe, Zygote
from headrace.supervisor.settings import ConsumerSettings


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """A worker's place, its parent, its pipe and its flight recorder."""

    settings: ConsumerSettings
    number: int
    zygote: Zygote
    pipe: StatusPipe
    recorder: Path


class WorkerView(msgspec.Struct, frozen=True):
    """One worker for people. `since`: wall time of its spawn; `dropped`: lines on its pipe that were no frames."""

    worker: str
    consumer: str
    pid: int
    state: str
    busy: int
    done: int
    failed: int
    lag: float
    since: float
    dropped: int


class Fleet:
    """Children by consumer and place, links by worker."""

    def __init__(self, consumers: Sequence[ConsumerSettings]) -> None:
        self.consumers = tuple(consumers)
        self.links: dict[str, Link] = {}
        self._children: dict[str, dict[int, Child]] = {settings.name: {} for settings in consumers}

    def children(self, settings: ConsumerSettings) -> list[Child]:
        """Those of one consumer."""
        return list(self._children[settings.name].values())

    def everyone(self) -> list[Child]:
        """Those of all consumers."""
        return [child for settings in self.consumers for child in self.children(settings)]

    def child(self, settings: ConsumerSettings, number: int, generation: int) -> Child:
        """Who holds this place; a new child when nobody does."""
        return self._children[settings.name].get(number) or Child(number, generation)

    def put(self, settings: ConsumerSettings, child: Child) -> None:
        """This is how it is now; who has stopped is forgotten."""
        if child.state is State.STOPPED:
            self._children[settings.name].pop(child.number, None)
        else:
            self._children[settings.name][child.number] = child

    def of(self, worker: str) -> tuple[Link, Child] | None:
        """A worker's link and child; None when it is gone."""
        if (link := self.links.get(worker)) is None:
            return None
        return link, self._children[link.settings.name][link.number]

    def let_go(self, worker: str) -> None:
        """Its process is gone, and what it recorded has been read."""
        link = self.links.pop(worker)
        link.pipe.close()
        with contextlib.suppress(OSError):
            link.recorder.unlink()

    def workers_of(self, zygote: Zygote) -> list[str]:
        """Whose parent it is."""
        return [worker for worker, link in self.links.items() if link.zygote is zygote]

    def views(self, shift: float) -> Iterator[WorkerView]:
        """Everyone with a process; `shift` turns monotonic time into wall time."""
        for worker, link in self.links.items():
            child = self._children[link.settings.name][link.number]
            beat = child.beat
            numbers = (beat.busy, beat.done, beat.failed, beat.lag, child.since + shift, link.pipe.parser.dropped)
            yield WorkerView(worker, link.settings.name, child.pid, child.state, *numbers)
