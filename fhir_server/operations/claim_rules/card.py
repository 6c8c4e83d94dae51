"""G04: the card is not valid on the date of the visit."""

from __future__ import annotations

from datetime import date
from typing import Final

from fhir_server.operations.claim_rules.facts import Card, ClaimFacts, Evidence, Finding
from mappings.xml130.card_period import wrong_periods

LAW: Final = "TT 12/2026/TT-BTC, Điều 10 khoản 1 (1); NĐ 188/2025/NĐ-CP"


def card(claim: ClaimFacts, evidence: Evidence) -> list[Finding]:  # noqa: ARG001 - a rule's shape
    """Find that no card is valid from the arrival to 15 days before the discharge."""
    start, end = claim.visit.start or claim.made, claim.visit.end
    if not claim.insured or not claim.cards or start is None:
        return []
    arrival = start.date()
    discharge = end.date() if end is not None else arrival
    wrong = wrong_periods([(one.start, one.end) for one in claim.cards], arrival, discharge)
    if not wrong:
        return []
    return [
        Finding(
            rule="G04",
            law=LAW,
            text_vi=f"Thẻ BHYT không có giá trị trong thời gian khám chữa bệnh từ {_vi(arrival)}"
            f" đến {_vi(discharge)}: {'; '.join(_span_vi(item) for item in claim.cards)}.",
            text_en=f"The card is not valid for the visit from {arrival} to {discharge}:"
            f" {'; '.join(_span_en(item) for item in claim.cards)}.",
            amount=claim.asked,
            evidence=(*(item.reference for item in claim.cards), claim.visit.reference),
            field=wrong[0],
        )
    ]


def _vi(day: date) -> str:
    return f"{day:%d/%m/%Y}"


def _span_vi(item: Card) -> str:
    since = f"từ {_vi(item.start)}" if item.start else "không rõ ngày bắt đầu"
    return f"giá trị thẻ {since} đến {_vi(item.end) if item.end else 'không thời hạn'}"


def _span_en(item: Card) -> str:
    return f"card valid from {item.start or 'an unknown day'} to {item.end or 'no end'}"
