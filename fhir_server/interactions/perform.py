"""The one way in: policy, run, and an AuditEvent that is durable before the answer.

Whoever asks, over HTTP, from a page or from a dossier, comes through here.
"""

from __future__ import annotations

import math
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from fhir_server.interactions import audit
from fhir_server.interactions.answer import made
from fhir_server.interactions.comments import commented
from fhir_server.interactions.context import Superseded
from fhir_server.interactions.elsewhere import without_elsewhere
from fhir_server.interactions.entry import only_reads
from fhir_server.interactions.functions import FUNCTIONS
from fhir_server.interactions.jobs.begin import becomes_job, begin
from fhir_server.interactions.jobs.status import job_cancel, job_output, job_status
from fhir_server.interactions.narrow import require_granted
from fhir_server.interactions.operation import operation_of
from fhir_server.interactions.redact import redacted
from fhir_server.interactions.refusals import costs_too_much, wrong_cursor
from fhir_server.interactions.transaction import transaction
from fhir_server.model.outcome import (
    Conflict,
    FhirError,
    Unavailable,
)
from fhir_server.store.port import BadCursor, CommitRefused, WorkBudgetExceeded
from fhir_server.store.work import APART, GivenUp, Work, working

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fhir_server.interactions.context import Context, FhirRequest, FhirResult, Interaction

ALL: Final[Mapping[str, Interaction]] = MappingProxyType({
    **FUNCTIONS,
    "transaction": transaction,
    "batch": transaction,
    "job-status": job_status,
    "job-output": job_output,
    "job-cancel": job_cancel,
})
_FAILED: Final = 500
_LEFT: Final = 499
"""What the record of a request says whose client left: no status of HTTP, for none was sent."""
_JOBS: Final = frozenset({"job-status", "job-output", "job-cancel"})
_WRITES: Final = frozenset({"create", "update", "patch", "delete", "transaction", "batch"})


async def perform(ctx: Context, request: FhirRequest) -> FhirResult:
    """Run an interaction for a caller, as far as the policy allows, and leave an AuditEvent.

    Raises:
        FhirError: The interaction is refused; the AuditEvent says so.
    """
    run = begin if becomes_job(ctx, request) else ALL[request.interaction]
    return await perform_with(ctx, request, run)


async def perform_with(ctx: Context, request: FhirRequest, run: Interaction) -> FhirResult:
    """Run a function that an edge or operation brings, in the same way.

    Raises:
        FhirError: The interaction is refused; the AuditEvent says so.
    """
    with working():
        result = await _shown(ctx, request, run)
    await audit.leave(ctx, request, result.status, result.patients, result)
    return result


async def prepare(ctx: Context, request: FhirRequest, run: Interaction) -> FhirResult:
    """Run a function for a job, whose result nobody is shown yet.

    What it would show is left to the AuditEvent of who fetches it; what it wrote, or was refused,
    leaves its own here.

    Raises:
        FhirError: It is refused; the AuditEvent says so.
        Superseded: The job is no longer as it was read.
    """
    with working(Work(APART, longest=math.inf)):
        result = await _shown(ctx, request, run)
    if not _only_reads(ctx, request):
        await audit.leave(ctx, request, result.status, result.patients, result)
    return result


def is_left(ctx: Context, request: FhirRequest) -> bool:
    """Return whether a request may be left where it is once nobody waits for its answer.

    What writes is finished, or rolled back, whole: a batch too if any of its entries writes.
    """
    if becomes_job(ctx, request):
        return False
    if request.interaction in {"transaction", "batch"}:
        return only_reads(request)
    return request.interaction not in _JOBS and _only_reads(ctx, request)


def _only_reads(ctx: Context, request: FhirRequest) -> bool:
    if request.interaction == "operation":
        return not operation_of(ctx, request).affects_state
    return request.interaction not in _WRITES


async def _shown(ctx: Context, request: FhirRequest, run: Interaction) -> FhirResult:
    """Return what the caller is shown of the result; a refusal leaves its AuditEvent."""
    audit.begin(ctx, request)
    try:
        result = await _run(ctx, request, run)
        if result.media:
            return result
        if ctx.policy.masks:
            result = await redacted(ctx, request, result)
        if ctx.policy.facility:
            result = await made(
                len(result.body or b""), partial(without_elsewhere, result, ctx.policy.facility)
            )
        if request.as_xml:
            result = await commented(ctx, result)
    except FhirError as refusal:
        await refused(ctx, request, refusal)
        raise
    except Superseded:
        raise
    except GivenUp:
        await audit.leave(ctx, request, _LEFT, audit.named_by_path(request))
        raise
    except Exception:
        await audit.leave(ctx, request, _FAILED, audit.named_by_path(request))
        raise
    return result


async def _run(ctx: Context, request: FhirRequest, run: Interaction) -> FhirResult:
    if request.interaction == "operation":
        operation_of(ctx, request)
    require_granted(ctx, request)
    try:
        return await run(ctx, request)
    except WorkBudgetExceeded as failure:
        raise costs_too_much() from failure
    except BadCursor as failure:
        raise wrong_cursor() from failure
    except CommitRefused as failure:
        raise Conflict(
            "Another changed the same at the same time; please try again.",
            text_vi="Người khác vừa thay đổi cùng dữ liệu này; hãy thử lại.",
        ) from failure


async def refused(ctx: Context, request: FhirRequest, refusal: FhirError) -> None:
    """Leave the AuditEvent of a request that was refused, also before it could be performed.

    Raises:
        Unavailable: It could not be made durable, and the refusal does not say as much already: of
            a write that may be stored the caller must be told so.
    """
    try:
        await audit.leave(ctx, request, refusal.status, audit.named_by_path(request))
    except Unavailable:
        if not isinstance(refusal, Unavailable):
            raise
