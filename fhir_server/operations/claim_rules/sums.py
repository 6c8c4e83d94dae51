"""G19: the sums of the visit are not the sums of its lines.

QĐ 4750/QĐ-BYT, table 1; the project's domain file, section 2.5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Final

from fhir_server.operations.claim_rules.facts import (
    ZERO,
    ClaimFacts,
    Evidence,
    Finding,
    Line,
    dong,
)

LAW: Final = "QĐ 4750/QĐ-BYT, Bảng 1; TT 12/2026/TT-BTC, Điều 10 khoản 1 (10)"

TOLERANCE: Final = Decimal(1)

SUPPLIES: Final = frozenset({"10", "11"})

# QLBV: these cards have no T_BHTT_GDV (army, police, cipher service).
NO_SERVICE_FEE: Final = ("QN", "CA", "CY")


def sums(claim: ClaimFacts, evidence: Evidence) -> list[Finding]:  # noqa: ARG001 - a rule's shape
    """Find sums of table 1 that differ from their lines by more than one dong."""
    findings = []
    for name, reckon in _SUMS.items():
        stated = claim.amounts.get(name)
        expected = reckon(claim)
        if stated is None or expected is None:
            continue
        nearest = _nearest(stated, expected)
        if abs(stated - nearest) > TOLERANCE:
            findings.append(_finding(claim, name, stated, nearest))
    return findings


def _nearest(stated: Decimal, allowed: tuple[Decimal, ...]) -> Decimal:
    return min(allowed, key=lambda value: abs(stated - value))


def _total(lines: Iterable[Line], name: str) -> Decimal:
    return sum((line.number(name) for line in lines), ZERO)


def _of_lines(name: str, keep: Callable[[Line], bool] = lambda _: True) -> _Reckon:
    return lambda claim: (_total((line for line in claim.lines if keep(line)), name),)


def _fund(claim: ClaimFacts) -> tuple[Decimal, ...]:
    """T_BHTT = T_TONGCHI_BH - T_BNCCT; where aid paid co-payments, the lines' own sum as well."""
    formula = _total(claim.lines, "THANH_TIEN_BH") - _total(claim.lines, "T_BNCCT")
    aided = _total(claim.lines, "T_NGUONKHAC") > ZERO
    return (formula, _total(claim.lines, "T_BHTT")) if aided else (formula,)


def _by_fee(claim: ClaimFacts) -> tuple[Decimal, ...] | None:
    """T_BHTT_GDV: the part paid by fee for service, MA_PTTT 1."""
    if any(item.code.startswith(NO_SERVICE_FEE) for item in claim.cards):
        return None
    if any("MA_PTTT" not in line.codes for line in claim.lines):
        return None
    return (_total((n for n in claim.lines if n.codes["MA_PTTT"] == "1"), "T_BHTT"),)


def _is_drug(line: Line) -> bool:
    return line.table == "XML2"


def _is_supply(line: Line) -> bool:
    return line.table == "XML3" and line.codes.get("MA_NHOM", "").lstrip("0") in SUPPLIES


_Reckon = Callable[[ClaimFacts], tuple[Decimal, ...] | None]

_SUMS: Final[dict[str, _Reckon]] = {
    "T_THUOC": _of_lines("THANH_TIEN_BV", _is_drug),
    "T_VTYT": _of_lines("THANH_TIEN_BV", _is_supply),
    "T_TONGCHI_BV": _of_lines("THANH_TIEN_BV"),
    "T_TONGCHI_BH": _of_lines("THANH_TIEN_BH"),
    "T_BNTT": _of_lines("T_BNTT"),
    "T_BNCCT": _of_lines("T_BNCCT"),
    "T_NGUONKHAC": _of_lines("T_NGUONKHAC"),
    "T_BHTT": _fund,
    "T_BHTT_GDV": _by_fee,
}


def _finding(claim: ClaimFacts, name: str, stated: Decimal, expected: Decimal) -> Finding:
    return Finding(
        rule="G19",
        law=LAW,
        text_vi=f"{name} ghi {dong(stated)} đồng, cộng từ các dòng là {dong(expected)} đồng.",
        text_en=f"{name} states {dong(stated, 'en')} VND; the lines give"
        f" {dong(expected, 'en')} VND.",
        amount=abs(stated - expected),
        evidence=(claim.reference,),
        field=name,
    )
