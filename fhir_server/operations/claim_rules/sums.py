"""G19: the sums of the visit are not the sums of its lines.

QĐ 4750/QĐ-BYT, table 1; the formulas are `mappings.xml130.arithmetic`.
"""

from __future__ import annotations

from typing import Final

from fhir_server.operations.claim_rules.facts import ClaimFacts, Evidence, Finding, dong
from fhir_server.operations.claim_rules.line_arithmetic import figures
from mappings.xml130.arithmetic import Deviation, wrong_sums

LAW: Final = "QĐ 4750/QĐ-BYT, Bảng 1; TT 12/2026/TT-BTC, Điều 10 khoản 1 (10)"


def sums(claim: ClaimFacts, evidence: Evidence) -> list[Finding]:  # noqa: ARG001 - a rule's shape
    """Find sums of table 1 that differ from their lines by more than one dong."""
    lines = [figures(line) for line in claim.lines]
    cards = [card.code for card in claim.cards]
    return [_finding(claim, wrong) for wrong in wrong_sums(lines, claim.amounts, cards)]


def _finding(claim: ClaimFacts, wrong: Deviation) -> Finding:
    return Finding(
        rule="G19",
        law=LAW,
        text_vi=f"{wrong.field} ghi {dong(wrong.stated)} đồng, cộng từ các dòng là"
        f" {dong(wrong.expected)} đồng.",
        text_en=f"{wrong.field} states {dong(wrong.stated, 'en')} VND; the lines give"
        f" {dong(wrong.expected, 'en')} VND.",
        amount=abs(wrong.stated - wrong.expected),
        evidence=(claim.reference,),
        field=wrong.field,
    )
