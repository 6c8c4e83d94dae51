"""The work of a job: as its caller, asked anew at every step, and each step kept as it is done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace as changed

from fhir_server.interactions.context import FhirRequest, Superseded
from fhir_server.interactions.jobs.begin import kept_record
from fhir_server.interactions.jobs.fence import Fence, put_job
from fhir_server.interactions.jobs.kept import body_of, released
from fhir_server.interactions.jobs.output import Output
from fhir_server.interactions.jobs.record import (
    KEPT,
    MOST_BYTES,
    MOST_FILES,
    Job,
    Jobs,
    encode,
    put,
)
from fhir_server.model import codec
from fhir_server.model.outcome import FhirError, Issue, TooCostly, operation_outcome
from fhir_server.model.patch.refusal import Allowance
from fhir_server.model.primitives import micros
from fhir_server.store.port import Batch, Put, RecordChanged, Store

if TYPE_CHECKING:
    from fhir_server.interactions.context import Context

OUTCOME: Final = "OperationOutcome"
COMMITTED: Final = Issue(
    "incomplete",
    "What was asked for was committed; what it answers can no longer be shown.",
    severity="warning",
    text_vi="Yêu cầu đã được ghi; kết quả trả lời không còn được phép hiển thị.",
)


@dataclass(slots=True)
class Work:
    """One process's turn at a job.

    Attributes:
        raw: The job's record as it is kept, which every commit expects.
        job: What it says.
        is_over: Whether others are to have their turn.
    """

    jobs: Jobs
    store: Store
    now: Callable[[], datetime]
    job_id: str
    raw: bytes
    job: Job
    is_over: Callable[[], bool]

    async def context(self) -> Context:
        """Return the caller's Context as it is at this moment.

        Raises:
            LoginRequired: What the job rests on was taken back.
        """
        ctx = await self.jobs.again(self.job.basis, self.job.source)
        ctx.trail.request_id = self.job.request_id
        return replace(ctx, patching=Allowance(self.job.patching))

    async def asked(self) -> FhirRequest:
        """Return what was asked for, with its body."""
        body = await body_of(self.store, self.job_id, self.job)
        if not body:
            return self.job.asked
        resource, comments = (
            (codec.loads(body), None) if body[:1] == b"{" else codec.from_commented_xml(body)
        )
        return replace(self.job.asked, resource=resource, comments=comments, raw=body)

    def fence(self, job: Job, puts: Sequence[Put] = ()) -> Fence:
        """Return what stands around a commit after which the job is this one; then `made`."""
        return Fence(self.job_id, self.raw, job, puts)

    def made(self, fence: Fence) -> None:
        """Go on from a commit that a fence stood around."""
        self.raw, self.job = fence.raw, fence.job

    async def save(self, job: Job, puts: Sequence[Put] = ()) -> None:
        """Make a step durable.

        Raises:
            Superseded: The job is not as it was: it was cancelled, or another has gone on with it.
        """
        raw = encode(job)
        try:
            await self.store.commit(Batch(puts=(put_job(self.job_id, raw, job, self.raw), *puts)))
        except RecordChanged as refusal:
            raise Superseded from refusal
        self.raw, self.job = raw, job

    async def begin(self) -> None:
        """Note that the work has begun."""
        if not self.job.started:
            await self.save(changed(self.job, started=micros(self.now())))

    async def keep(self, output: Output, **changes: Any) -> None:
        """Make durable what was gathered, and how far that is.

        Raises:
            TooCostly: It is more than one job may give; what was kept before stays.
        """
        job, puts = await self._kept(output)
        await self.save(changed(job, **changes), puts)

    async def finish(self, output: Output, **changes: Any) -> None:
        """Keep the last of the output, and end."""
        job, puts = await self._kept(output)
        await self._end(changed(job, **changes), puts)

    async def refuse(self, refusal: FhirError) -> None:
        """End with what the work was refused with, beside what it has given before."""
        output = Output()
        issues = (COMMITTED, *refusal.issues) if self.job.written else refusal.issues
        output.add(OUTCOME, codec.dumps(operation_outcome(issues)), error=True)
        job, puts = await output.kept(self.job_id, self.job)
        await self._end(job, puts)

    async def fail(self) -> None:
        """End it, for it cannot be done."""
        await self._end(self.job, (), state="failed")

    async def _kept(self, output: Output) -> tuple[Job, list[Put]]:
        job, puts = await output.kept(self.job_id, self.job)
        if job.size > MOST_BYTES or job.files > MOST_FILES:
            raise TooCostly(
                f"There is more than the {MOST_BYTES // 1_000_000} MB that one request may give; "
                "ask for something narrower.",
                text_vi=f"Kết quả vượt quá {MOST_BYTES // 1_000_000} MB cho một yêu cầu; "
                "hãy hỏi phạm vi hẹp hơn.",
            )
        return job, puts

    async def _end(self, job: Job, puts: Sequence[Put], *, state: str = "done") -> None:
        size = put(KEPT, f"{job.owner}/{self.job_id}", kept_record(job.size, job.ends), job)
        ended = changed(job, state=state, written=False, body=0, next="")
        await self.save(ended, [*puts, *released(self.job_id, self.job), size])


Kind = Callable[[Work], Awaitable[None]]
"""What does a job of a kind: until it is finished, or its turn is over and all is kept."""
