"""Other visits of the same person at the same time: G01 and G07, as warnings at intake.

Domain file, section 8.3: the same patient, facility and NGAY_VAO under another MA_LK (G01); in two
places at once (G07). The claim check says the same with its evidence; here the sender hears of it.
"""

from __future__ import annotations

from typing import Any, Final

from fhir_server.interactions.context import Context
from fhir_server.model import codec
from fhir_server.model.identifiers import MA_LK
from fhir_server.model.primitives import date_range
from fhir_server.search.expression import And, DateIs, InPatient, Prefix
from fhir_server.search.expression import Search as Find
from mappings.xml130.record import RecordIssue

Resource = dict[str, Any]

_MOST: Final = 20
_STAYS: Final = frozenset({"IMP", "ACUTE", "NONAC", "SS"})
"""Encounter.class of the visit types 03, 04 and 09."""


async def overlaps(
    ctx: Context, patient_id: str, encounter: Resource, encounter_id: str, facility: str
) -> tuple[RecordIssue, ...]:
    """Return warnings about other visits of this Patient in the time of this one.

    At most twenty visits that touch its time are looked at.
    """
    span = _span(encounter)
    if span is None:
        return ()
    low, high = span
    where = And((
        InPatient(frozenset({patient_id})),
        DateIs("date", Prefix.GE, low, low),
        DateIs("date", Prefix.LE, high, high),
    ))
    page = await ctx.store.search(Find((("Encounter", where),), count=_MOST))
    issues: dict[str, RecordIssue] = {}
    for version in page.versions:
        if version.resource_id == encounter_id:
            continue
        other: Resource = codec.loads(version.body)
        if other.get("status") in {"entered-in-error", "cancelled"}:
            continue
        if _facility(other) == facility:
            if (there := _span(other)) and there[0] == low:
                issues["G01"] = _G01
        elif _two_places(encounter, other):
            issues["G07"] = _G07
    return tuple(issues.values())


def _span(encounter: Resource) -> tuple[int, int] | None:
    period = encounter.get("period") or {}
    if "start" not in period:
        return None
    low = date_range(period["start"])[0]
    high = date_range(period["end"])[1] if "end" in period else low
    return low, max(low, high)


def _facility(encounter: Resource) -> str:
    for identifier in encounter.get("identifier", ()):
        if identifier.get("system") == MA_LK:
            return str(identifier.get("value", "")).partition("|")[0]
    provider = encounter.get("serviceProvider", {}).get("identifier", {})
    return str(provider.get("value", ""))


def _is_stay(encounter: Resource) -> bool:
    return encounter.get("class", {}).get("code") in _STAYS


def _two_places(one: Resource, other: Resource) -> bool:
    """Return whether two visits that touch are both stays, or one lies inside the other's stay."""
    here, there = _span(one), _span(other)
    if here is None or there is None or here[0] >= there[1] or there[0] >= here[1]:
        return False
    if _is_stay(one) and _is_stay(other):
        return True
    inside = there[0] <= here[0] and here[1] <= there[1]
    around = here[0] <= there[0] and there[1] <= here[1]
    return (_is_stay(other) and inside) or (_is_stay(one) and around)


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
