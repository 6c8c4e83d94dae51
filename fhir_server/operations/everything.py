"""`Patient/[id]/$everything`: all of one Patient's compartment that the caller may see.

https://hl7.org/fhir/R4/patient-operation-everything.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Final

from fhir_server.interactions.answer import dumps, links, match_entry
from fhir_server.interactions.context import FhirRequest, FhirResult
from fhir_server.interactions.narrow import visible_version, where_shown
from fhir_server.model import bundle
from fhir_server.model.definitions import RESOURCE_TYPES, compartment_parameters
from fhir_server.model.outcome import InvalidValue
from fhir_server.operations.arguments import MOST_ON_A_PAGE, arguments, page_size, time_of
from fhir_server.operations.compartment import every_page, names_in, shown_by_name
from fhir_server.operations.everything_place import Beside, InRecord, place_of
from fhir_server.search.expression import (
    And,
    DateIs,
    Expression,
    InPatient,
    LastUpdated,
    Missing,
    Or,
    Prefix,
    Search,
)
from fhir_server.search.paging import Around

if TYPE_CHECKING:
    from fhir_server.interactions.context import Context
    from fhir_server.store.port import Page, Version

BESIDE: Final = frozenset({
    "Location", "Medication", "Organization", "Practitioner", "PractitionerRole",
})  # fmt: skip
"""What a record's resources refer to outside the compartment, that goes along with them."""

CARE_DATE: Final = {
    "Appointment": "date",
    "Condition": "recorded-date",
    "DiagnosticReport": "date",
    "Encounter": "date",
    "Immunization": "date",
    "MedicationRequest": "authoredon",
    "Observation": "date",
    "Procedure": "date",
}
"""The search parameter that `start` and `end` ask; of other types, all are given."""

_USED: Final = frozenset({"_count", "_type", "_since", "start", "end"})
_NARROWING: Final = _USED - {"_count"}


@dataclass(slots=True)
class _Page:
    """One page in the making: the record's own resources, and what goes along with them.

    Attributes:
        here: The cursor of the page itself.
        first: The cursor of the first page as it was defined.
    """

    count: int
    types: frozenset[str]
    matches: list[Version] = field(default_factory=list)
    beside: list[Version] = field(default_factory=list)
    here: str = ""
    first: str = ""
    next: str | None = None
    previous: str | None = None
    total: int | None = None

    @property
    def room(self) -> int:
        return self.count - len(self.matches)


async def everything(ctx: Context, request: FhirRequest) -> FhirResult:
    """Return one page of a Patient's record: the Patient, its compartment, what they refer to.

    A page has at most `_count` resources, and each comes on one page: what lies outside the
    compartment comes after all that lies in it. `_type` is meant strictly.

    Raises:
        UnknownResource: There is no such Patient, or the caller may not see it.
        Gone: It was deleted.
        InvalidValue: A parameter cannot be parsed.
    """
    patient_id = request.resource_id or ""
    patient = await visible_version(ctx, "Patient", patient_id, "$everything")
    given = arguments(request)
    cursor = next((value for name, value in given if name == "_cursor"), None)
    page = await _page(ctx, patient, given, cursor)
    around = Around(page.next, page.previous, page.first if cursor else None)
    entries = [match_entry(ctx.base_url, one, "match") for one in page.matches]
    entries += [match_entry(ctx.base_url, one, "include") for one in page.beside]
    used = [(name, value) for name, value in given if name in _USED]
    path = f"Patient/{patient_id}/$everything"
    answer = bundle.searchset(
        entries,
        links=links(ctx.base_url, path, used, around, cursor),
        total=page.total,
    )
    return FhirResult(body=dumps(answer), patients=frozenset({patient_id}))


async def _page(
    ctx: Context, patient: Version, given: list[tuple[str, str]], cursor: str | None
) -> _Page:
    types = _types(given)
    begin = place_of(cursor, patient="Patient" in types)
    page = _Page(page_size(given, MOST_ON_A_PAGE), types)
    if page.count == 0:
        found = await _search(ctx, patient, types, given, count=0)
        page.total = (found.total or 0) + ("Patient" in types)
        return page
    wanted = BESIDE & types
    if isinstance(begin, Beside):
        await _turn(ctx, await _whole(ctx, patient, given), wanted, page, begin)
        return page
    if await _record(ctx, patient, given, page, begin) and wanted:
        whole = cursor is None and wanted == BESIDE and types >= compartment_types()
        record = page.matches if whole else await _whole(ctx, patient, given)
        await _begin_beside(ctx, record, wanted, page)
    return page


async def _record(
    ctx: Context,
    patient: Version,
    given: list[tuple[str, str]],
    page: _Page,
    begin: InRecord,
) -> bool:
    """Fill the page with the record's own; return whether that was the last of it."""
    page.matches = [patient] if begin.patient else []
    found = await _search(
        ctx, patient, page.types, given, count=page.room or 1, cursor=begin.cursor
    )
    start = found.first or found.defined or ""
    has_patient = "Patient" in page.types
    page.first = InRecord(start, patient=has_patient).text
    page.here = begin.text if begin.cursor else page.first
    if begin.alone:
        page.next = start
        return False
    if page.room == 0:
        # Only looked whether there is more.
        page.next = start if found.versions else None
        page.total = None if found.versions or begin.cursor else 1
        return not found.versions
    page.matches += found.versions
    page.next, page.previous = found.next, found.previous
    if begin.cursor is None and found.next is None:
        page.total = len(page.matches)
    if has_patient and not begin.patient and found.previous is None:
        # The Patient stands before the record: on this page, if that is read from its end.
        if found.backwards and page.room:
            page.matches = [patient, *page.matches]
        else:
            page.previous = InRecord(start, patient=True, alone=True).text
    return found.next is None


async def _search(
    ctx: Context,
    patient: Version,
    types: frozenset[str],
    given: list[tuple[str, str]],
    *,
    count: int,
    cursor: str | None = None,
) -> Page:
    narrowing = [f"{name}={value}" for name, value in given if name in _NARROWING]
    return await ctx.store.search(
        Search(
            tuple(_asked(ctx, patient.resource_id, types, given)),
            count=count,
            total="none" if count else "accurate",
            cursor=cursor,
            defines=True,
            asked="&".join(sorted(narrowing)).encode(),
        )
    )


async def _whole(ctx: Context, patient: Version, given: list[tuple[str, str]]) -> list[Version]:
    """Return all of the record that the dates asked for leave, whatever its types."""
    by_type = _asked(ctx, patient.resource_id, compartment_types(), given)
    return [patient, *await every_page(ctx, by_type)]


async def _begin_beside(
    ctx: Context, record: list[Version], wanted: frozenset[str], page: _Page
) -> None:
    """Fill the room that is left with the first of what the record refers to."""
    shown = await _beside(ctx, record, wanted)
    page.beside = shown[: page.room]
    if len(shown) > len(page.beside):
        last = _name(page.beside[-1]) if page.beside else None
        page.next = Beside(page.first, page.here, last, last).text


async def _turn(
    ctx: Context, record: list[Version], wanted: frozenset[str], page: _Page, begin: Beside
) -> None:
    """Fill a page with what the record refers to alone, from a place on or up to it."""
    page.first = begin.first
    shown = await _beside(ctx, record, wanted)
    if begin.backwards:
        left = [
            one
            for one in shown
            if (begin.begun is None or _name(one) > begin.begun)
            and (begin.after is not None and _name(one) <= begin.after)
        ]
        page.beside = left[-page.count :]
        before = left[: -page.count]
        page.previous = begin.at(_name(before[-1])).previous if before else begin.record
        page.next = begin.next
        return
    left = [one for one in shown if begin.after is None or _name(one) > begin.after]
    page.beside = left[: page.count]
    page.previous = begin.previous
    if len(left) > len(page.beside):
        page.next = begin.at(_name(page.beside[-1])).next


async def _beside(ctx: Context, record: list[Version], wanted: frozenset[str]) -> list[Version]:
    """Return what the record refers to and is shown, in the order of names."""
    names = {name for name in names_in(record, ctx.base_url) if name[0] in wanted}
    return sorted(await shown_by_name(ctx, sorted(names)), key=_name)


def _name(one: Version) -> tuple[str, str]:
    return (one.resource_type, one.resource_id)


@cache
def compartment_types() -> frozenset[str]:
    """Return the types of the Patient compartment; accesses are read by `$access-history`."""
    types = {kind for kind in RESOURCE_TYPES if compartment_parameters("Patient", kind)}
    return frozenset(types | {"Patient"}) - {"AuditEvent"}


def _types(given: list[tuple[str, str]]) -> frozenset[str]:
    """Return the types that are given: those asked for, else all of the record and beside it."""
    asked = {part for name, value in given if name == "_type" for part in value.split(",")}
    if asked - RESOURCE_TYPES:
        raise InvalidValue("The parameter _type names what is no resource type.")
    known = compartment_types() | BESIDE
    return known & asked if asked else known


def _asked(
    ctx: Context, patient_id: str, types: frozenset[str], given: list[tuple[str, str]]
) -> list[tuple[str, Expression]]:
    since, start, end = (time_of(given, name) for name in ("_since", "start", "end"))
    inside: list[Expression] = [InPatient(frozenset({patient_id}))]
    if since:
        inside.append(LastUpdated(Prefix.GE, *since))
    by_type: list[tuple[str, Expression]] = []
    for kind in sorted(types & compartment_types() - {"Patient"}):
        shown = where_shown(ctx, "search-type", kind)
        if shown is None:
            continue
        where = list(inside)
        for prefix, bound in ((Prefix.GE, start), (Prefix.LE, end)):
            if bound and kind in CARE_DATE:
                where.append(_cared_for(CARE_DATE[kind], prefix, bound))
        if shown not in where:
            where.append(shown)
        by_type.append((kind, where[0] if len(where) == 1 else And(tuple(where))))
    return by_type


def _cared_for(param: str, prefix: Prefix, bound: tuple[int, int]) -> Expression:
    # What bears no date may be of the time asked for: it is not left out.
    return Or((DateIs(param, prefix, *bound), Missing(param, missing=True)))
