"""One AuditEvent a request: its compact record, made with the act or right after it.

The record is kept by the store outside the clinical resources, chained (`AuditRecord`);
`interactions.audit_event` renders and searches it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from fhir_server.model.outcome import Unavailable
from fhir_server.model.primitives import micros
from fhir_server.store.port import AuditRecord, Batch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fhir_server.interactions.context import Context, FhirRequest, FhirResult

AUDIT_EVENT: Final = "AuditEvent"
PATIENT: Final = "Patient"
_CHAINED: Final = re.compile(r"audit-(0|[1-9][0-9]{0,17})").fullmatch
_PATIENT: Final = re.compile(r"(?:.*/)?Patient/([A-Za-z0-9.-]{1,64})(?![^/?])").match

MOST_PATIENTS: Final = 1000
"""Patients named by one record; an answer that shows more is a page, and pages are shorter."""


class Access(msgspec.Struct, frozen=True, array_like=True):
    """The facts of one access, in the order in which they are kept; new ones go to the end.

    Attributes:
        status: The HTTP status that the request was answered with, as the interaction knew it.
        path: Path below the base; never a query, which may hold a name.
        display: The person, or the client that acts for itself.
        app: The client by which a person acts; "" where it acts for itself.
        refusals: How many entries of a batch were refused.
        denied: Ids of the Patients that refused entries of a batch named, and no other did.
    """

    interaction: str
    method: str
    path: str
    resource_type: str
    status: int
    kind: str
    client_id: str
    code: str
    fhir_user: str
    display: str
    source: str
    purpose: str
    request_id: str
    app: str = ""
    refusals: int = 0
    denied: tuple[str, ...] = ()


_ENCODE: Final = msgspec.json.Encoder().encode
_DECODE: Final = msgspec.json.Decoder(Access).decode


def access_of(body: bytes) -> Access:
    """Return the facts in a record's body."""
    return _DECODE(body)


def is_chained(resource_type: str, resource_id: str) -> bool:
    """Return whether the id is one of the server's own audit chain."""
    return resource_type == AUDIT_EVENT and _CHAINED(resource_id) is not None


def seq_of(resource_id: str) -> int | None:
    """Return the place in the chain that an id of an AuditEvent names, if it names one."""
    match = _CHAINED(resource_id)
    return int(match[1]) if match else None


def record(
    ctx: Context,
    request: FhirRequest,
    status: int,
    patients: Iterable[str],
    result: FhirResult | None = None,
) -> AuditRecord:
    """Return the record of one access.

    Args:
        ctx: Who asked.
        request: What was asked.
        status: What it was answered with.
        patients: Whom it shows or wrote, or, refused, names.
        result: What a batch came to: what of it was refused stands there.
    """
    principal = ctx.principal
    named = tuple(patients)[:MOST_PATIENTS]
    denied = sorted(result.denied.difference(named))[:MOST_PATIENTS] if result else []
    access = Access(
        interaction=request.operation or _interaction(request),
        method=request.method,
        path=request.url.partition("?")[0][:256],
        resource_type=request.resource_type or "",
        status=status,
        kind=principal.kind,
        client_id=principal.client_id,
        code=principal.code,
        fhir_user=principal.fhir_user,
        display=principal.display,
        source=ctx.source,
        purpose=request.purpose[:1000],
        request_id=ctx.trail.request_id or ctx.request_id,
        app=principal.app,
        refusals=result.refusals if result else 0,
        denied=tuple(denied),
    )
    return AuditRecord(micros(ctx.now()), _ENCODE(access), (*named, *denied))


def _interaction(request: FhirRequest) -> str:
    """The code of the interaction: a Bundle to be done says itself whether it is a batch."""
    if request.interaction == "transaction" and (request.resource or {}).get("type") == "batch":
        return "batch"
    return request.interaction


def begin(ctx: Context, request: FhirRequest) -> None:
    """Let a write take the record of this request into its own commit."""

    def draft(patients: frozenset[str]) -> AuditRecord:
        return record(ctx, request, 200, patients)

    ctx.trail.draft = draft


async def leave(
    ctx: Context,
    request: FhirRequest,
    status: int,
    patients: Iterable[str] = (),
    result: FhirResult | None = None,
) -> None:
    """Commit the record of a request, if no write took it along.

    Raises:
        Unavailable: It could not be made durable; the request must not be answered.
    """
    if ctx.trail.written:
        return
    entry = record(ctx, request, status, patients, result)
    try:
        await ctx.store.commit(Batch(audit=(entry,)))
    except Exception as failure:
        # Whatever the store says of it: nothing that the caller sent was to be stored here.
        raise Unavailable(
            "The access could not be recorded; please try again.",
            text_vi="Không ghi được nhật ký truy cập; hãy thử lại.",
        ) from failure
    ctx.trail.written = True


def named_by_path(request: FhirRequest) -> tuple[str, ...]:
    """Return the Patients that a refused request names in its path, or in those of its entries."""
    if request.resource_type == PATIENT and request.resource_id:
        return (request.resource_id,)
    if request.compartment is not None and request.compartment[0] == PATIENT:
        return (request.compartment[1],)
    if request.interaction not in {"transaction", "batch"}:
        return ()
    entries = (request.resource or {}).get("entry")
    if not isinstance(entries, list):
        return ()
    named = (one for entry in entries for one in named_by_entry(entry))
    return tuple(dict.fromkeys(named))[:MOST_PATIENTS]


def named_by_entry(entry: object) -> tuple[str, ...]:
    """Return the Patient that an entry of a Bundle, read or not yet, names in its path."""
    asked = entry.get("request") if isinstance(entry, dict) else None
    url = asked.get("url") if isinstance(asked, dict) else None
    found = _PATIENT(url) if isinstance(url, str) else None
    return (found[1],) if found else ()
