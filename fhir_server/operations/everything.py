"""`Patient/[id]/$everything`: all of one Patient's compartment that the caller may see.

https://hl7.org/fhir/R4/patient-operation-everything.html
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from fhir_server.interactions.answer import dumps, links, match_entry
from fhir_server.interactions.context import FhirRequest, FhirResult
from fhir_server.interactions.narrow import visible_version, where_shown
from fhir_server.model import bundle
from fhir_server.model.definitions import RESOURCE_TYPES, compartment_parameters
from fhir_server.model.outcome import InvalidValue
from fhir_server.operations.arguments import MOST_ON_A_PAGE, arguments, page_size, time_of
from fhir_server.operations.compartment import names_in, shown_by_name
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

if TYPE_CHECKING:
    from fhir_server.interactions.context import Context
    from fhir_server.store.port import Version

BESIDE: Final = frozenset({
    "Location", "Medication", "Organization", "Practitioner", "PractitionerRole",
})  # fmt: skip
"""What the page's resources refer to outside the compartment, that goes along with them."""

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


async def everything(ctx: Context, request: FhirRequest) -> FhirResult:
    """Return one page of a Patient's compartment, the Patient first.

    Raises:
        UnknownResource: There is no such Patient, or the caller may not see it.
        Gone: It was deleted.
        InvalidValue: A parameter cannot be parsed.
    """
    patient_id = request.resource_id or ""
    patient = await visible_version(ctx, "Patient", patient_id, "$everything")
    given = arguments(request)
    count = page_size(given, MOST_ON_A_PAGE)
    cursor = next((value for name, value in given if name == "_cursor"), None)
    types = _types(given)
    by_type = _asked(ctx, patient_id, types - {"Patient"}, given)
    found = await ctx.store.search(Search(tuple(by_type), count=count, cursor=cursor))
    first = [patient] if cursor is None and "Patient" in types else []
    matches = [*first, *found.versions]
    beside = await _beside(ctx, matches)
    entries = [match_entry(ctx.base_url, one, "match") for one in matches]
    entries += [match_entry(ctx.base_url, one, "include") for one in beside]
    used = [(name, value) for name, value in given if name in _USED]
    path = f"Patient/{patient_id}/$everything"
    answer = bundle.searchset(entries, links=links(ctx.base_url, path, used, found.next))
    return FhirResult(body=dumps(answer), patients=frozenset({patient_id}))


@cache
def compartment_types() -> frozenset[str]:
    """Return the types of the Patient compartment; accesses are read by `$access-history`."""
    types = {kind for kind in RESOURCE_TYPES if compartment_parameters("Patient", kind)}
    return frozenset(types | {"Patient"}) - {"AuditEvent"}


def _types(given: list[tuple[str, str]]) -> frozenset[str]:
    asked = {part for name, value in given if name == "_type" for part in value.split(",")}
    unknown = sorted(asked - RESOURCE_TYPES)
    if unknown:
        raise InvalidValue("The parameter _type names what is no resource type.")
    return compartment_types() & asked if asked else compartment_types()


def _asked(
    ctx: Context, patient_id: str, types: frozenset[str], given: list[tuple[str, str]]
) -> list[tuple[str, Expression]]:
    since, start, end = (time_of(given, name) for name in ("_since", "start", "end"))
    inside: list[Expression] = [InPatient(frozenset({patient_id}))]
    if since:
        inside.append(LastUpdated(Prefix.GE, *since))
    by_type: list[tuple[str, Expression]] = []
    for kind in sorted(types):
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


async def _beside(ctx: Context, versions: list[Version]) -> list[Version]:
    known = {(one.resource_type, one.resource_id) for one in versions}
    wanted = {
        name for name in names_in(versions, ctx.base_url) if name not in known and name[0] in BESIDE
    }
    return await shown_by_name(ctx, sorted(wanted))
