"""G04: the card is not valid on the date of the visit."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

from fhir_server.operations.claim_rules.facts import Card, ClaimFacts, Evidence, Finding

LAW: Final = "TT 12/2026/TT-BTC, Điều 10 khoản 1 (1); NĐ 188/2025/NĐ-CP"

# NĐ 188/2025/NĐ-CP: a card that ends during the treatment is paid for at most 15 days more.
GRACE: Final = timedelta(days=15)


def card(claim: ClaimFacts, evidence: Evidence) -> list[Finding]:  # noqa: ARG001 - a rule's shape
    """Find that no card of the claim covers the arrival, and the discharge within 15 days."""
    start, end = claim.visit.start, claim.visit.end
    if not claim.insured or not claim.cards or start is None:
        return []
    arrival = start.date()
    discharge = end.date() if end is not None else arrival
    if _covered(claim.cards, arrival, discharge):
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
        )
    ]


def _covered(cards: tuple[Card, ...], arrival: date, discharge: date) -> bool:
    """Whether cards valid one after another lead from the arrival to the discharge."""
    covered_to: date | None = None
    for item in sorted(cards, key=lambda one: one.start or date.min):
        begins = arrival if covered_to is None else covered_to + timedelta(days=1)
        if (item.start or date.min) > begins:
            continue
        if item.end is None or item.end >= discharge:
            return item.end is None or item.end >= begins
        if item.end >= begins:
            covered_to = item.end
    return covered_to is not None and discharge <= _later(covered_to)


def _later(day: date) -> date:
    # 9999-12-31 stands for "no end" in some systems, and has no day after it.
    return day + GRACE if day < date.max - GRACE else date.max


def _vi(day: date) -> str:
    return f"{day:%d/%m/%Y}"


def _span_vi(item: Card) -> str:
    since = f"từ {_vi(item.start)}" if item.start else "không rõ ngày bắt đầu"
    return f"giá trị thẻ {since} đến {_vi(item.end) if item.end else 'không thời hạn'}"


def _span_en(item: Card) -> str:
    return f"card valid from {item.start or 'an unknown day'} to {item.end or 'no end'}"
