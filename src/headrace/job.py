"""The handle of a job: ask, wait, cancel."""

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from headrace.bus.codec import ResultCodec
from headrace.bus.durations import Duration, seconds
from headrace.errors import JobFailed, NotTracked, ResultTimeout
from headrace.ledger.job import TERMINAL, State
from headrace.ledger.records import JobRecord

if TYPE_CHECKING:
    from headrace.app import App

R = TypeVar("R")


class Job(Generic[R]):
    """A job by its id. The `a…` methods are for async code, their twins block.

    id         the id of the message, and of its record
    duplicate  whether another message already held the unique key or the id: this is its handle
    """

    __slots__ = ("_app", "_result", "_tracked", "duplicate", "id")

    def __init__(
        self, app: "App", id: str, *, tracked: bool = True, duplicate: bool = False, result: ResultCodec | None = None
    ) -> None:
        self.id = id
        self.duplicate = duplicate
        self._app = app
        self._tracked = tracked
        self._result = result or ResultCodec(Any)

    def __repr__(self) -> str:
        return f"Job({self.id!r})"

    def status(self) -> State:
        """Its state now; NotTracked, JobNotFound."""
        return self._app.bridge.call(self.astatus, "job.astatus()")

    async def astatus(self) -> State:
        """Its state now; NotTracked, JobNotFound."""
        return (await self.arecord()).state

    def record(self) -> JobRecord:
        """All that the ledger knows of it; NotTracked, JobNotFound."""
        return self._app.bridge.call(self.arecord, "job.arecord()")

    async def arecord(self) -> JobRecord:
        """All that the ledger knows of it; NotTracked, JobNotFound."""
        self._must_be_tracked("status")
        return await (await self._app.connections()).ledger.job(self.id)

    def result(self, timeout: Duration | None = None) -> R:
        """What its handler returned, as soon as it is there. JobFailed, ResultTimeout, NotTracked."""
        return self._app.bridge.call(lambda: self.aresult(timeout), "job.aresult()")

    async def aresult(self, timeout: Duration | None = None) -> R:
        """What its handler returned, as soon as it is there. JobFailed, ResultTimeout, NotTracked."""
        self._must_be_tracked("result")
        patience = None if timeout is None else seconds(timeout, "timeout")
        record = await (await self._app.connections()).ledger.wait(self.id, patience)
        if record.state not in TERMINAL:
            what = f"job {self.id} is {record.state} after {patience:g} s"
            raise ResultTimeout(what, hint="it goes on; ask again, or look at status()")
        if record.state is not State.COMPLETED:
            raise JobFailed(
                f"job {self.id} is {record.state}", why=record.error or "", hint=f"headrace jobs show {self.id}"
            )
        value: R = self._result.decode(record.result)
        return value

    def cancel(self) -> State:
        """Remove it while it waits; its state afterwards. IllegalTransition once it runs or is done."""
        return self._app.bridge.call(self.acancel, "job.acancel()")

    async def acancel(self) -> State:
        """Remove it while it waits; its state afterwards. IllegalTransition once it runs or is done."""
        return await (await self._app.connections()).ledger.cancel(self.id)

    def retry(self) -> None:
        """Queue it again, as if it were new; IllegalTransition while it is not ended."""
        self._app.bridge.call(self.aretry, "job.aretry()")

    async def aretry(self) -> None:
        """Queue it again, as if it were new; IllegalTransition while it is not ended."""
        await (await self._app.connections()).ledger.retry([self.id])

    def delete(self) -> None:
        """Remove its record, and its message if it waits; IllegalTransition while it runs."""
        self._app.bridge.call(self.adelete, "job.adelete()")

    async def adelete(self) -> None:
        """Remove its record, and its message if it waits; IllegalTransition while it runs."""
        await (await self._app.connections()).ledger.delete([self.id])

    def _must_be_tracked(self, what: str) -> None:
        if not self._tracked:
            raise NotTracked(
                f"job {self.id} was sent with track=False, so it has no {what}",
                hint="set track=True on the task, or in using()",
            )
