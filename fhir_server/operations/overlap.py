"""Other visits of the same person at the same time: G01 and G07.

Domain file, section 8.3. Here the visits are read; what they mean together is
`mappings.xml130.stays`, for the sender's receipt as for the claim's check.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from fhir_server.interactions.context import Context
from fhir_server.model import codec
from fhir_server.model.identifiers import MA_CSKCB
from fhir_server.model.primitives import micros
from fhir_server.operations.claim_facts import unknown_facilities, visit_of
from fhir_server.operations.claim_rules.facts import Visit
from fhir_server.operations.compartment import local_name
from fhir_server.operations.elements import identifier_of
from fhir_server.search.expression import And, DateIs, Ids, InPatient, Not, Prefix
from fhir_server.search.expression import Search as Find
from fhir_server.search.values import MAX_TIME
from mappings.xml130.record import RecordIssue
from mappings.xml130.stays import are_two_places, is_twin

Resource = dict[str, Any]

MOST_VISITS: Final = 200
"""Visits of one patient that touch one visit's time; more than a life can hold."""

_NEVER_WAS: Final = frozenset({"planned", "cancelled", "entered-in-error"})


async def overlaps(
    ctx: Context, patient_id: str, encounter: Resource, encounter_id: str
) -> tuple[RecordIssue, ...]:
    """Return warnings about other visits of this Patient in the time of this one."""
    own = visit_of({**encounter, "id": encounter_id})
    others = await visits_beside(ctx, patient_id, own)
    issues: list[RecordIssue] = []
    if any(is_twin(own, other) for other in others):
        issues.append(_G01)
    if any(are_two_places(own, other) for other in others):
        issues.append(_G07)
    return tuple(issues)


async def visits_beside(ctx: Context, patient_id: str, visit: Visit) -> list[Visit]:
    """Return the Patient's other visits that touch the time of a visit, whoever was asked to pay.

    Withdrawn, cancelled and planned ones are none.
    """
    if visit.start is None:
        return []
    start = micros(visit.start)
    end = micros(visit.end) if visit.end else MAX_TIME
    where = And((
        InPatient(frozenset({patient_id})),
        DateIs("date", Prefix.GE, start, start),
        DateIs("date", Prefix.LE, max(start, end), max(start, end)),
        Not(Ids(frozenset({visit.reference.rpartition("/")[2]}))),
    ))
    page = await ctx.store.search(Find((("Encounter", where),), count=MOST_VISITS))
    found: list[Resource] = [codec.loads_stored(version.body) for version in page.versions]
    found = [one for one in found if one.get("status") not in _NEVER_WAS]
    facilities = await facility_codes(ctx, unknown_facilities(found))
    return [visit_of(one, facilities) for one in found]


async def facility_codes(ctx: Context, references: Iterable[Resource]) -> dict[str, str]:
    """Return the codes of the facilities that these References name, by the text as written."""
    names = {
        str(one["reference"]): name
        for one in references
        if (name := local_name(one, ctx.base_url)) is not None and name[0] == "Organization"
    }
    if not names:
        return {}
    versions = await ctx.store.read_many(list(names.values()))
    return {
        text: code
        for text, version in zip(names, versions, strict=True)
        if version is not None and not version.deleted
        if (code := identifier_of(codec.loads_stored(version.body), MA_CSKCB))
    }


_G01: Final = RecordIssue(
    "warning",
    "G01",
    "XML1.NGAY_VAO",
    "This facility has sent another visit of the same patient with the same arrival time under"
    " another MA_LK.",
    "Cơ sở đã gửi một đợt khám khác của cùng người bệnh, cùng giờ vào, với MA_LK khác.",
)
_G07: Final = RecordIssue(
    "warning",
    "G07",
    "XML1.NGAY_VAO",
    "At this time the same patient has a visit at another facility, one of the two an in-patient"
    " stay.",
    "Cùng thời gian này người bệnh có đợt khám ở cơ sở khác, trong đó có một đợt điều trị nội trú.",
)
