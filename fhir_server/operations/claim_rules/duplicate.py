"""G01: the same visit is claimed twice under two keys."""

from __future__ import annotations

from typing import Final

from fhir_server.operations.claim_rules.facts import ClaimFacts, Evidence, Finding, references
from mappings.xml130.stays import is_twin

LAW: Final = "TT 12/2026/TT-BTC, Điều 10 khoản 1 (10)"


def duplicate(claim: ClaimFacts, evidence: Evidence) -> list[Finding]:
    """Find other dossiers of this patient, at this facility, with this time of arrival."""
    twins = [other for other in evidence.visits if is_twin(claim.visit, other)]
    if not twins:
        return []
    return [
        Finding(
            rule="G01",
            law=LAW,
            text_vi="Trùng hồ sơ: cùng người bệnh, cùng cơ sở, cùng giờ vào đã có trong hồ sơ khác"
            " có mã liên kết khác.",
            text_en="Duplicate: another dossier, with another key, has the same patient, facility"
            " and time of arrival.",
            amount=claim.asked,
            evidence=(claim.visit.reference, *references(twins)),
        )
    ]
