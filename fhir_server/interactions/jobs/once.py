"""One interaction of a job done once: an operation, or an entry of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fhir_server.interactions.context import FhirResult
from fhir_server.interactions.functions import FUNCTIONS
from fhir_server.interactions.jobs.fence import written_of
from fhir_server.interactions.perform import prepare

if TYPE_CHECKING:
    from fhir_server.interactions.context import Context, FhirRequest
    from fhir_server.interactions.jobs.record import Job
    from fhir_server.interactions.jobs.work import Work
    from fhir_server.store.port import Put


async def do_once(
    work: Work, ctx: Context, asked: FhirRequest, after: Job, puts: Sequence[Put] = ()
) -> FhirResult:
    """Do what may write: if it does, the job is as `after` with that commit, and `puts` are kept.

    Raises:
        FhirError: It is refused.
        Superseded: The job is no longer as it was read; nothing was done.
    """
    fence = work.fence(after, puts)
    try:
        return await prepare(replace(ctx, fence=fence), asked, FUNCTIONS[asked.interaction])
    finally:
        if fence.is_made:
            work.made(fence)


async def answer_written(work: Work, ctx: Context, asked: FhirRequest) -> FhirResult:
    """Return what that answers which was committed, and whose answer was lost."""
    made, patients = await written_of(work.store, work.job_id)
    ctx.trail.written = True  # its AuditEvent was committed with it

    async def answered(_within: Context, request: FhirRequest) -> FhirResult:  # noqa: RUF029 - an Interaction
        if request.interaction == "operation":
            # One that writes answers what it has written last.
            return FhirResult(version=made[-1].version, patients=patients)
        return replace(made[0], patients=patients)

    return await prepare(ctx, asked, answered)
