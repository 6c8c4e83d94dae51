"""Ask after an asynchronous request, fetch what it gave, cancel it.

https://hl7.org/fhir/R4/async.html#3.2.6
"""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final

from auth.scopes import is_covered
from fhir_server.interactions import audit
from fhir_server.interactions.context import FhirResult
from fhir_server.interactions.jobs.begin import PATH
from fhir_server.interactions.jobs.kept import file_of, files_of, job_of, remove, unknown_job
from fhir_server.interactions.jobs.record import Job, owner_of
from fhir_server.interactions.jobs.still import still_shown
from fhir_server.interactions.narrow import require_granted
from fhir_server.model import codec
from fhir_server.model.outcome import (
    Forbidden,
    Issue,
    LoginRequired,
    Unavailable,
    operation_outcome,
)
from fhir_server.model.primitives import format_instant, from_micros, micros
from fhir_server.store.port import Batch

if TYPE_CHECKING:
    from fhir_server.interactions.context import Context, FhirRequest
    from fhir_server.interactions.jobs.record import File

NDJSON: Final = "application/fhir+ndjson"
JSON: Final = "application/json"
_SOON: Final = 60
"""Seconds within which a job is young: it is asked after again soon."""
_TRIES: Final = 50
_FAILED: Final = Issue(
    "exception",
    "The server failed to do it, again and again.",
    severity="fatal",
    text_vi="Máy chủ đã nhiều lần không thực hiện được yêu cầu.",
)


async def job_status(ctx: Context, request: FhirRequest) -> FhirResult:
    """Return how far it has come: 202 while it is worked on, then what it gave.

    Raises:
        UnknownResource: There is none, it has ended, or it is another's: the same words.
    """
    job_id = request.resource_id or ""
    _, job = await _own(ctx, job_id)
    if job.state == "open":
        young = micros(ctx.now()) - job.begun < _SOON * 1_000_000
        return FhirResult(
            202, headers=(("X-Progress", _progress(job)), ("Retry-After", "1" if young else "10"))
        )
    if job.state == "failed":
        return FhirResult(500, resource=operation_outcome([_FAILED]))
    files = await files_of(ctx.store, job_id)
    answer: dict[str, Any] = {
        "transactionTime": format_instant(from_micros(job.started)),
        "request": f"{ctx.base_url}/{job.asked.url}" if job.asked.url else ctx.base_url,
        "requiresAccessToken": True,
        "output": [_item(ctx, job_id, n, file) for n, file in files if not file.error],
        "error": [_item(ctx, job_id, n, file) for n, file in files if file.error],
    }
    return FhirResult(
        body=codec.dumps(answer), media=JSON, headers=(("Expires", _http_date(job.ends)),)
    )


async def job_output(ctx: Context, request: FhirRequest) -> FhirResult:
    """Return one file of what it gave, as NDJSON; the AuditEvent names the Patients in it.

    Raises:
        UnknownResource: There is none, it is not done, it has ended, it is another's, or it
            holds an answer with something that is not shown any more.
    """
    job_id = request.resource_id or ""
    _, job = await _own(ctx, job_id)
    number = request.version_id or ""
    if job.state != "done" or not (number.isascii() and number.isdecimal() and len(number) < 7):  # noqa: PLR2004 - as many digits as files have
        raise unknown_job()
    file, data, patients = await file_of(ctx.store, job_id, int(number))
    if not file.error:
        data, patients = await still_shown(ctx, job, data, patients)
    first, rest = patients[: audit.MOST_PATIENTS], patients[audit.MOST_PATIENTS :]
    while rest:
        # One AuditEvent names no more Patients than this.
        await _leave(ctx, request, rest[: audit.MOST_PATIENTS])
        rest = rest[audit.MOST_PATIENTS :]
    return FhirResult(
        body=data,
        media=NDJSON,
        patients=frozenset(first),
        headers=(("Expires", _http_date(job.ends)),),
    )


async def job_cancel(ctx: Context, request: FhirRequest) -> FhirResult:
    """Cancel it, or remove what it gave; what was committed by then stays.

    Raises:
        UnknownResource: There is none, it has ended, or it is another's.
    """
    job_id = request.resource_id or ""
    for _ in range(_TRIES):
        raw, job = await _own(ctx, job_id)
        if await remove(ctx.store, job_id, raw, job):
            return FhirResult(202)
    raise Unavailable(
        "The request goes on too fast to be cancelled; please try again.",
        text_vi="Yêu cầu đang được thực hiện, chưa hủy được; hãy thử lại.",
    )


async def _own(ctx: Context, job_id: str) -> tuple[bytes, Job]:
    """Return a job of the caller's that may still be seen.

    Raises:
        UnknownResource: There is none, or it is another's.
    """
    raw, job = await job_of(ctx.store, job_id, micros(ctx.now()))
    if job.owner != owner_of(ctx.principal) or ctx.jobs is None:
        raise unknown_job()
    if not is_covered(job.scopes, ctx.principal.scopes):
        raise unknown_job()
    try:
        require_granted(ctx, job.asked)
    except Forbidden:
        raise unknown_job() from None
    try:
        await ctx.jobs.again(job.basis, job.source)
    except LoginRequired:
        # What it was begun with was taken back: nothing is left of it.
        await remove(ctx.store, job_id, raw, job)
        raise unknown_job() from None
    return raw, job


async def _leave(ctx: Context, request: FhirRequest, patients: tuple[str, ...]) -> None:
    entry = audit.record(ctx, request, 200, patients)
    await ctx.store.commit(Batch(audit=(entry,)))


def _progress(job: Job) -> str:
    """Return how far it has come, in fewer than 100 characters."""
    if not job.started:
        return "waiting"
    if job.kind == "batch":
        return f"{job.done} of {job.units} entries"
    if job.kind == "transaction":
        return "at work"
    return f"{job.done} pages, {job.found} resources"


def _item(ctx: Context, job_id: str, number: int, file: File) -> dict[str, Any]:
    url = f"{ctx.base_url}/{PATH}/{job_id}/{number}"
    return {"type": file.type, "url": url, "count": file.count}


def _http_date(at: int) -> str:
    return formatdate(at // 1_000_000, usegmt=True)
