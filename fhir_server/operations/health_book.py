"""`Patient/[id]/$health-book`: the e-health book (Sổ sức khỏe điện tử) as a document Bundle.

https://hl7.org/fhir/R4/documents.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fhir_server.interactions.context import FhirRequest, FhirResult
from fhir_server.interactions.narrow import visible_version
from fhir_server.model import codec
from fhir_server.model.identifiers import NS, code_system
from fhir_server.model.primitives import VIETNAM, format_instant
from fhir_server.operations.book.read import book_of
from fhir_server.operations.book.sections import sections
from fhir_server.operations.book.values import Book
from fhir_server.operations.claim_facts import is_self_pay
from fhir_server.operations.compartment import in_compartment, local_name, names_in, shown_by_name
from fhir_server.operations.translation import bilingual

if TYPE_CHECKING:
    from fhir_server.interactions.context import Context
    from fhir_server.store.port import Name, Version

Resource = dict[str, Any]

RECORD: Final = (
    "Coverage",
    "RelatedPerson",
    "Encounter",
    "Condition",
    "MedicationRequest",
    "Procedure",
    "Observation",
    "Immunization",
    "AllergyIntolerance",
    "Appointment",
)
"""The types of the compartment that the book is made of."""

NOT_FOLLOWED: Final = frozenset({"Patient", "Claim", "ClaimResponse", "Consent", "Provenance"})
"""What a reference in the book does not bring into it: money, trace, and other people."""

_ABOUT: Final = ("subject", "patient", "beneficiary")
"""Elements that say whose a resource is."""

ROUNDS: Final = 3
_WITHDRAWN: Final = "entered-in-error"
_DOCUMENT: Final = code_system("document")


@dataclass(frozen=True, slots=True)
class Record:
    """One Patient's record as a caller may see it: what a book is made of.

    Attributes:
        patient: The Patient, parsed.
        own: Resources of the compartment.
        beside: What they refer to outside it: facilities, practitioners, drugs.
        versions: All of them as stored, the Patient first.
    """

    patient: Resource
    own: tuple[Resource, ...]
    beside: tuple[Resource, ...]
    versions: tuple[Version, ...]

    @property
    def book(self) -> Book:
        """The record as people read it."""
        return book_of(self.patient, (*self.own, *self.beside))


async def health_book(ctx: Context, request: FhirRequest) -> FhirResult:
    """Return one Patient's book: a document Bundle of all that the caller may see of it.

    Raises:
        UnknownResource: There is no such Patient, or the caller may not see it.
        Gone: It was deleted.
    """
    record = await read_record(ctx, request.resource_id or "")
    body = _document(ctx, _composition(ctx, record), record.versions)
    return FhirResult(body=body, patients=frozenset({record.patient["id"]}))


async def read_record(ctx: Context, patient_id: str) -> Record:
    """Read one Patient's record, as far as the caller may see it.

    Raises:
        UnknownResource: There is no such Patient, or the caller may not see it.
        Gone: It was deleted.
    """
    patient = await visible_version(ctx, "Patient", patient_id, "$health-book")
    found = _live(await in_compartment(ctx, patient_id, RECORD))
    own = [(one, body) for one, body in found if not _is_anothers(ctx, body, patient_id)]
    beside = await _beside(ctx, patient, [version for version, _ in own])
    return Record(
        patient=codec.loads_stored(patient.body),
        own=tuple(one for _, one in own),
        beside=tuple(one for _, one in beside),
        versions=(patient, *(version for version, _ in (*own, *beside))),
    )


def _live(versions: list[Version]) -> list[tuple[Version, Resource]]:
    """Leave out what was withdrawn, with all that belongs to a withdrawn visit, and self-pay."""
    parsed: list[tuple[Version, Resource]] = [
        (one, codec.loads_stored(one.body)) for one in versions
    ]
    withdrawn = {
        f"Encounter/{one['id']}"
        for _, one in parsed
        if one["resourceType"] == "Encounter" and one.get("status") == _WITHDRAWN
    }
    return [
        (version, one)
        for version, one in parsed
        if not _is_error(one)
        and (one.get("encounter") or {}).get("reference") not in withdrawn
        and not (one["resourceType"] == "Coverage" and is_self_pay(one))
    ]


def _is_error(resource: Resource) -> bool:
    if resource.get("status") == _WITHDRAWN:
        return True
    if resource["resourceType"] == "RelatedPerson" and resource.get("active") is False:
        return True
    verification = (resource.get("verificationStatus") or {}).get("coding") or ()
    return any(one.get("code") == _WITHDRAWN for one in verification)


def _is_anothers(ctx: Context, resource: Resource, patient_id: str) -> bool:
    """Return whether it is about another Patient, though this one's record names it."""
    named = (local_name(resource.get(element), ctx.base_url) for element in _ABOUT)
    return any(name and name[0] == "Patient" and name[1] != patient_id for name in named)


async def _beside(
    ctx: Context, patient: Version, own: list[Version]
) -> list[tuple[Version, Resource]]:
    """Find what the record refers to outside the compartment: facilities, practitioners, drugs."""
    versions = [patient, *own]
    known: set[Name] = {(one.resource_type, one.resource_id) for one in versions}
    waiting = versions
    found: list[tuple[Version, Resource]] = []
    for _ in range(ROUNDS):
        wanted = {
            name
            for name in names_in(waiting, ctx.base_url)
            if name not in known and name[0] not in NOT_FOLLOWED
        }
        if not wanted:
            break
        known |= wanted
        shown = await shown_by_name(ctx, sorted(wanted))
        read = [(version, codec.loads_stored(version.body)) for version in shown]
        fresh = [pair for pair in read if not _is_anothers(ctx, pair[1], patient.resource_id)]
        waiting = [version for version, _ in fresh]
        found += [(version, one) for version, one in fresh if not _is_error(one)]
    return found


def _composition(ctx: Context, record: Record) -> Resource:
    now = ctx.now().astimezone(VIETNAM)
    return {
        "resourceType": "Composition",
        "id": ctx.new_id(),
        "language": "vi",
        "status": "final",
        "type": {
            "coding": [{"system": _DOCUMENT, "code": "health-book"}],
            "text": "Sổ sức khỏe điện tử",
        },
        "subject": {"reference": f"Patient/{record.patient['id']}"},
        "date": format_instant(now),
        "author": [{"display": "Máy chủ hồ sơ sức khỏe"}],
        **bilingual("title", "Sổ sức khỏe điện tử", "Electronic health book"),
        "confidentiality": "R",
        "section": sections(record.book, record.own, now.date()),
    }


def _document(ctx: Context, composition: Resource, versions: Sequence[Version]) -> bytes:
    """Write the Bundle; stored resources go in as the bytes they are kept in, unparsed again."""
    head = codec.dumps({
        "resourceType": "Bundle",
        "id": ctx.new_id(),
        "identifier": {"system": f"{NS}/sid/document", "value": composition["id"]},
        "type": "document",
        "timestamp": composition["date"],
    })
    entries = [_entry(ctx, "Composition", composition["id"], codec.dumps(composition))]
    entries += [_entry(ctx, one.resource_type, one.resource_id, one.body) for one in versions]
    return b'%s,"entry":[%s]}' % (head[:-1], b",".join(entries))


def _entry(ctx: Context, resource_type: str, resource_id: str, body: bytes) -> bytes:
    full_url = codec.dumps(f"{ctx.base_url}/{resource_type}/{resource_id}")
    return b'{"fullUrl":%s,"resource":%s}' % (full_url, body)
