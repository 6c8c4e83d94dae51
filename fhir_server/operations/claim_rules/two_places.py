"""G07: the patient is in two places at once."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from fhir_server.operations.claim_rules.facts import ClaimFacts, Evidence, Finding, Visit

LAW: Final = "TT 12/2026/TT-BTC, Điều 10 khoản 1 (8), (9)"

IN_PATIENT: Final = frozenset({"03", "04", "09"})

# PL4750, NGAY_RA: of these forms the end is the last day of the drugs, not the end of a stay.
ENDS_WITH_DRUGS: Final = frozenset({"02", "05", "07"})


def two_places(claim: ClaimFacts, evidence: Evidence) -> list[Finding]:
    """Find stays at another facility that overlap this one, and visits inside such a stay."""
    visit = claim.visit
    others = [
        other
        for other in evidence.visits
        if other.facility and visit.facility and other.facility != visit.facility
        if _clash(visit, other)
    ]
    if not others:
        return []
    places = ", ".join(sorted({other.facility for other in others}))
    return [
        Finding(
            rule="G07",
            law=LAW,
            text_vi="Cùng một thời gian người bệnh có đợt khám chữa bệnh ở cơ sở khác"
            f" (mã cơ sở {places}).",
            text_en="At the same time the patient has a visit at another facility"
            f" (facility code {places}).",
            amount=claim.asked,
            evidence=(
                visit.reference,
                *(
                    reference
                    for other in others
                    for reference in (other.claim, other.reference)
                    if reference
                ),
            ),
        )
    ]


def _clash(one: Visit, other: Visit) -> bool:
    in_one, in_other = one.kind in IN_PATIENT, other.kind in IN_PATIENT
    if in_one and in_other:
        return _overlap(one, other)
    if in_one:
        return _inside(other, one)
    return in_other and _inside(one, other)


def _overlap(one: Visit, other: Visit) -> bool:
    if one.start is None or other.start is None:
        return False
    return one.start < _end(other) and other.start < _end(one)


def _inside(visit: Visit, stay: Visit) -> bool:
    """Whether an out-patient's attendance lies inside a stay; ends that touch are a transfer."""
    if visit.start is None or stay.start is None:
        return False
    no_end = visit.end is None or visit.kind in ENDS_WITH_DRUGS
    left = visit.start if no_end or visit.end is None else visit.end
    return stay.start <= visit.start < _end(stay) and left <= _end(stay)


def _end(visit: Visit) -> datetime:
    if visit.end is not None:
        return visit.end
    # A stay that lasts has no end yet; `start` gives the zone.
    return datetime.max.replace(tzinfo=visit.start.tzinfo if visit.start else None)
