"""G18: a line's amounts do not follow from its quantity, price, ratios and level.

QĐ 4750/QĐ-BYT, tables 2 and 3; the project's domain file, section 2.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from typing import Final

from fhir_server.operations.claim_rules.facts import (
    CENT,
    HUNDRED,
    ZERO,
    ClaimFacts,
    Evidence,
    Finding,
    Line,
    dong,
    rounded,
)

LAW: Final = "QĐ 4750/QĐ-BYT, Bảng 2 và Bảng 3; TT 12/2026/TT-BTC, Điều 10 khoản 1 (10)"

TOLERANCE: Final = CENT

SUPPLIES: Final = frozenset({"10", "11"})

SOURCES: Final = ("T_NGUONKHAC_NSNN", "T_NGUONKHAC_VTNN", "T_NGUONKHAC_VTTN", "T_NGUONKHAC_CL")


@dataclass(frozen=True, slots=True)
class Split:
    """How a line's cost is shared out."""

    patient: Decimal
    copayment: Decimal
    fund: Decimal

    def deviations(self, line: Line) -> dict[str, tuple[Decimal, Decimal]]:
        """Return the fields that differ from this split: stated and expected."""
        pairs = {"T_BNTT": self.patient, "T_BNCCT": self.copayment, "T_BHTT": self.fund}
        return {
            name: (stated, expected)
            for name, expected in pairs.items()
            if (stated := line.amount(name)) is not None and abs(stated - expected) > TOLERANCE
        }


def line_arithmetic(claim: ClaimFacts, evidence: Evidence) -> list[Finding]:  # noqa: ARG001
    """Find lines whose amounts are not what the decree's formulas give."""
    return [
        _finding(claim, line, name, stated, expected)
        for line in claim.lines
        for name, (stated, expected) in check(line).items()
    ]


def check(line: Line) -> dict[str, tuple[Decimal, Decimal]]:
    """Return a line's wrong fields: name, and what is stated and expected."""
    wrong: dict[str, tuple[Decimal, Decimal]] = {}
    total = _total(line)
    scopes = _scopes(line)
    _compare(wrong, line, "THANH_TIEN_BV", () if total is None else (total,))
    _compare(wrong, line, "THANH_TIEN_BH", scopes)
    if any(name in line.amounts for name in SOURCES):
        _compare(wrong, line, "T_NGUONKHAC", (sum((line.number(n) for n in SOURCES), ZERO),))
    wrong.update(_wrong_split(line, total, scopes))
    return wrong


def _total(line: Line) -> Decimal | None:
    quantity, price = line.amount("SO_LUONG"), line.amount(_price(line))
    return None if quantity is None or price is None else rounded(quantity * price)


def _price(line: Line) -> str:
    return "DON_GIA_BV" if line.table == "XML3" else "DON_GIA"


def _scopes(line: Line) -> tuple[Decimal, ...]:
    """The amounts in the fund's scope that the formulas allow: case a, and case b with aid."""
    quantity, ratio = line.amount("SO_LUONG"), line.amount("TYLE_TT_BH")
    price = line.amount("DON_GIA_BH" if line.table == "XML3" else "DON_GIA")
    if quantity is None or price is None or ratio is None:
        return ()
    share = ratio / HUNDRED * _special(line) / HUNDRED
    cost = quantity * price
    aid = line.number("T_NGUONKHAC")
    scopes = [rounded(cost * share)]
    if aid > ZERO:
        # case b: what was given to the facility is taken from the cost first
        scopes.append(rounded(max(ZERO, cost - aid) * share))
    return tuple(scopes)


def _special(line: Line) -> Decimal:
    """TYLE_TT_DV; supplies have none, and some systems write 0 for that."""
    ratio = line.amount("TYLE_TT_DV")
    if ratio is None or line.table != "XML3":
        return HUNDRED
    supply = line.codes.get("MA_NHOM", "").lstrip("0") in SUPPLIES
    return HUNDRED if supply and ratio == ZERO else ratio


def _compare(
    wrong: dict[str, tuple[Decimal, Decimal]], line: Line, name: str, allowed: tuple[Decimal, ...]
) -> None:
    stated = line.amount(name)
    if stated is None or not allowed:
        return
    nearest = min(allowed, key=lambda expected: abs(stated - expected))
    if abs(stated - nearest) > TOLERANCE:
        wrong[name] = (stated, nearest)


def _wrong_split(
    line: Line, total: Decimal | None, scopes: tuple[Decimal, ...]
) -> dict[str, tuple[Decimal, Decimal]]:
    """What differs from the nearest lawful split of the stated or the reckoned amounts.

    Both are tried, so that one wrong amount is one finding and not a train of them.
    """
    level = line.amount("MUC_HUONG")
    totals = [n for n in (line.amount("THANH_TIEN_BV"), total) if n is not None]
    in_scope = [n for n in (line.amount("THANH_TIEN_BH"), *scopes) if n is not None]
    if level is None or not totals or not in_scope:
        return {}
    aid = line.number("T_NGUONKHAC")
    candidates = [
        split.deviations(line)
        for bv, bh in product(dict.fromkeys(totals), dict.fromkeys(in_scope))
        for split in splits(bv, bh, level, aid)
    ]
    return min(
        candidates, key=lambda found: (len(found), sum(abs(a - b) for a, b in found.values()))
    )


def splits(bv: Decimal, bh: Decimal, level: Decimal, aid: Decimal) -> list[Split]:
    """Return the lawful ways to share a cost: without aid one; with aid to the patient, or before.

    Args:
        bv: THANH_TIEN_BV.
        bh: THANH_TIEN_BH; in case b, what is left in scope after the aid.
        level: MUC_HUONG in per cent.
        aid: T_NGUONKHAC.
    """
    fund = bh * level / HUNDRED
    copayment, patient = bh - fund, bv - bh
    after_patient = max(ZERO, aid - patient)
    to_patient = Split(
        max(ZERO, patient - aid),
        max(ZERO, copayment - after_patient),
        fund - max(ZERO, after_patient - copayment),
    )
    if aid == ZERO:
        return [to_patient]
    return [to_patient, Split(max(ZERO, patient - aid), copayment, fund)]


def _finding(
    claim: ClaimFacts, line: Line, name: str, stated: Decimal, expected: Decimal
) -> Finding:
    return Finding(
        rule="G18",
        law=LAW,
        text_vi=f"Dòng {line.sequence}: {name} ghi {dong(stated)} đồng, tính đúng là"
        f" {dong(rounded(expected))} đồng.",
        text_en=f"Line {line.sequence}: {name} states {dong(stated, 'en')} VND; the formula gives"
        f" {dong(rounded(expected), 'en')} VND.",
        amount=abs(stated - rounded(expected)),
        evidence=(claim.reference,),
        line=line.sequence,
        field=name,
    )
