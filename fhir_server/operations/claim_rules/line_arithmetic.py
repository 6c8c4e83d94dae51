"""G18: a line's amounts do not follow from its quantity, price, ratios and level.

QĐ 4750/QĐ-BYT, tables 2 and 3; the formulas are `mappings.xml130.arithmetic`.
"""

from __future__ import annotations

from typing import Final

from fhir_server.operations.claim_rules.facts import ClaimFacts, Evidence, Finding, Line, dong
from mappings.xml130 import arithmetic
from mappings.xml130.arithmetic import Deviation, rounded

LAW: Final = "QĐ 4750/QĐ-BYT, Bảng 2 và Bảng 3; TT 12/2026/TT-BTC, Điều 10 khoản 1 (10)"

_SOURCES: Final = ("T_NGUONKHAC_NSNN", "T_NGUONKHAC_VTNN", "T_NGUONKHAC_VTTN", "T_NGUONKHAC_CL")


def line_arithmetic(claim: ClaimFacts, evidence: Evidence) -> list[Finding]:  # noqa: ARG001
    """Find lines whose amounts are not what the decree's formulas give."""
    return [
        _finding(claim, line, wrong)
        for line in claim.lines
        for wrong in arithmetic.wrong_in_line(figures(line))
    ]


def figures(line: Line) -> arithmetic.Line:
    """Return a Claim.item's figures by the names that the formulas use."""
    services = line.table == "XML3"
    return arithmetic.Line(
        table=line.table,
        group=line.codes.get("MA_NHOM", "").lstrip("0"),
        payment_method=line.codes.get("MA_PTTT", "").lstrip("0"),
        quantity=line.amount("SO_LUONG"),
        price=line.amount("DON_GIA_BV" if services else "DON_GIA"),
        insured_price=line.amount("DON_GIA_BH" if services else "DON_GIA"),
        ratio=line.amount("TYLE_TT_BH"),
        service_ratio=line.amount("TYLE_TT_DV") if services else None,
        level=line.amount("MUC_HUONG"),
        thanh_tien_bv=line.amount("THANH_TIEN_BV"),
        thanh_tien_bh=line.amount("THANH_TIEN_BH"),
        sources=tuple(line.amount(name) for name in _SOURCES),
        t_nguonkhac=line.amount("T_NGUONKHAC"),
        t_bntt=line.amount("T_BNTT"),
        t_bncct=line.amount("T_BNCCT"),
        t_bhtt=line.amount("T_BHTT"),
    )


def _finding(claim: ClaimFacts, line: Line, wrong: Deviation) -> Finding:
    stated, expected = wrong.stated, rounded(wrong.expected)
    return Finding(
        rule="G18",
        law=LAW,
        text_vi=f"Dòng {line.sequence}: {wrong.field} ghi {dong(stated)} đồng, tính đúng là"
        f" {dong(expected)} đồng.",
        text_en=f"Line {line.sequence}: {wrong.field} states {dong(stated, 'en')} VND; the formula"
        f" gives {dong(expected, 'en')} VND.",
        amount=abs(stated - expected),
        evidence=(claim.reference,),
        line=line.sequence,
        field=wrong.field,
    )
