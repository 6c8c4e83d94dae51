"""G07: the patient is in two places at once."""

from __future__ import annotations

from typing import Final

from fhir_server.operations.claim_rules.facts import ClaimFacts, Evidence, Finding, references
from mappings.xml130.stays import are_two_places

LAW: Final = "TT 12/2026/TT-BTC, Điều 10 khoản 1 (8), (9)"


def two_places(claim: ClaimFacts, evidence: Evidence) -> list[Finding]:
    """Find stays at another facility that overlap this one, and visits inside such a stay."""
    visit = claim.visit
    others = [other for other in evidence.visits if are_two_places(visit, other)]
    if not others:
        return []
    places = ", ".join(sorted({other.facility for other in others if other.is_shown}))
    return [
        Finding(
            rule="G07",
            law=LAW,
            text_vi="Cùng một thời gian người bệnh có đợt khám chữa bệnh ở cơ sở khác"
            f"{f' (mã cơ sở {places})' if places else ''}.",
            text_en="At the same time the patient has a visit at another facility"
            f"{f' (facility code {places})' if places else ''}.",
            amount=claim.asked,
            evidence=(visit.reference, *references(others)),
        )
    ]
