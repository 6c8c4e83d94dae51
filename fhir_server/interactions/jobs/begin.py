"""Begin an asynchronous request: it is kept, and answered 202 with where to ask after it.

https://hl7.org/fhir/R4/async.html#3.2.4
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec

from auth.scopes import parse
from fhir_server.interactions.audit import named_by_path
from fhir_server.interactions.context import FhirResult
from fhir_server.interactions.entry import entries_of
from fhir_server.interactions.history import check_history
from fhir_server.interactions.jobs.fence import put_job
from fhir_server.interactions.jobs.kept import chunks_of, packed
from fhir_server.interactions.jobs.record import (
    BEGUN,
    BODY,
    KEPT,
    KIND_OF,
    MOST_KEPT,
    MOST_KEPT_BYTES,
    MOST_OPEN,
    PENDING,
    SLOT,
    Job,
    encode,
    numbered,
    owner_of,
    parts_of,
    put,
)
from fhir_server.interactions.search import check_search
from fhir_server.model import codec
from fhir_server.model.outcome import Throttled, Unavailable
from fhir_server.model.primitives import micros
from fhir_server.store.port import Batch, Put, RecordChanged

if TYPE_CHECKING:
    from auth.tokens import AccessToken
    from fhir_server.interactions.context import Context, FhirRequest

PATH: Final = "$async-status"
_FREE: Final = b"{}"
"""A lease that nobody holds."""
_TRIES: Final = 20


def becomes_job(ctx: Context, request: FhirRequest) -> bool:
    """Return whether a request is answered 202, and done afterwards."""
    return (
        request.asynchronous
        and request.method != "HEAD"
        and request.interaction in KIND_OF
        and ctx.jobs is not None
        and ctx.basis is not None
    )


async def begin(ctx: Context, request: FhirRequest) -> FhirResult:
    """Keep what is asked for, durably, and say where to ask after it.

    What is wrong with the request itself is refused at once, as far as it is soon seen.

    Raises:
        Throttled: The caller has begun too many, or too much of what they gave is kept.
        FhirError: It is refused as it would be at once.
    """
    jobs, basis = ctx.jobs, ctx.basis
    if jobs is None or basis is None:
        raise RuntimeError("There is nothing here that could do it later.")
    kind = _checked(ctx, request)
    owner = owner_of(ctx.principal)
    await jobs.limits.count(BEGUN, owner)
    await _require_room(ctx, owner)
    job_id = await _keep(ctx, request, kind, owner, basis)
    jobs.wake()
    patients = frozenset[str]()
    if request.interaction != "transaction":
        patients = frozenset(named_by_path(request))
    place = f"{ctx.base_url}/{PATH}/{job_id}"
    return FhirResult(
        202,
        patients=patients,
        headers=(("Content-Location", place), ("Preference-Applied", "respond-async")),
    )


def _checked(ctx: Context, request: FhirRequest) -> str:
    """Return the kind of job it is."""
    kind = KIND_OF[request.interaction]
    if kind == "search":
        check_search(ctx, request)
    elif kind == "history":
        check_history(ctx, request)
    elif kind == "transaction":
        entries_of(request.resource or {})
        return str((request.resource or {})["type"])
    return kind


async def _require_room(ctx: Context, owner: str) -> None:
    rows = await parts_of(ctx.store, KEPT, owner, limit=MOST_KEPT)
    now = micros(ctx.now())
    kept = [size for _, raw in rows for size, ends in [_kept(raw)] if ends > now]
    if len(kept) >= MOST_KEPT or sum(kept) >= MOST_KEPT_BYTES:
        raise Throttled(
            "The results of too many asynchronous requests are kept: fetch and delete some first.",
            text_vi="Đang giữ kết quả của quá nhiều yêu cầu bất đồng bộ: hãy lấy và xóa bớt.",
            headers={"Retry-After": "60"},
        )


def kept_record(size: int, ends: int) -> bytes:
    """Return the record that says how much is kept, and until when."""
    return msgspec.json.encode((size, ends))


def _kept(raw: bytes) -> tuple[int, int]:
    return msgspec.json.decode(raw, type=tuple[int, int])


async def _keep(
    ctx: Context, request: FhirRequest, kind: str, owner: str, basis: AccessToken
) -> str:
    body = b"" if request.resource is None else codec.dumps(request.resource)
    if request.comments is not None:
        body = request.raw  # XML says more than its JSON
    parts = chunks_of(await packed(body)) if body else []
    now = micros(ctx.now())
    job_id = ctx.new_id()
    for _ in range(_TRIES):
        slot, before = await _free_slot(ctx, owner, now)
        job = Job(
            kind=kind,
            owner=owner,
            slot=slot,
            basis=basis,
            asked=replace(
                request, resource=None, raw=b"", asynchronous=False, comments=None, as_xml=False
            ),
            begun=now,
            scopes=tuple(scope for scope in ctx.principal.scopes if parse(scope)),
            source=ctx.source,
            request_id=ctx.trail.request_id or ctx.request_id,
            body=len(parts),
            length=len(body),
        )
        taken = msgspec.json.encode((job_id, job.ends))
        puts = [
            put_job(job_id, encode(job), job, None),
            Put(PENDING, job_id, _FREE, expires=job.ends),
            Put(SLOT, numbered(owner, slot), taken, expected=before, expires=job.ends),
            *(put(BODY, numbered(job_id, n), part, job) for n, part in enumerate(parts)),
        ]
        try:
            await ctx.store.commit(Batch(puts=puts))
        except RecordChanged:
            continue  # another of the same owner has taken that slot
        return job_id
    raise Unavailable("Others begin as many at the same time; please try again.")


async def _free_slot(ctx: Context, owner: str, now: int) -> tuple[int, bytes | None]:
    """Return a slot that is free, and its record where one is left of a job that has ended."""
    rows = await parts_of(ctx.store, SLOT, owner, limit=MOST_OPEN)
    held = dict(rows)
    for number in range(MOST_OPEN):
        raw = held.get(numbered(owner, number))
        if raw is None or msgspec.json.decode(raw, type=tuple[str, int])[1] <= now:
            return number, raw
    raise Throttled(
        f"{MOST_OPEN} asynchronous requests of this client are open: wait until one has ended.",
        text_vi=f"Ứng dụng này đang có {MOST_OPEN} yêu cầu bất đồng bộ: hãy đợi một yêu cầu xong.",
        headers={"Retry-After": "10"},
    )
