"""The money arithmetic of the decree, in exact decimals.

PL4750 (annex of QĐ 4750/QĐ-BYT), text of tables 1, 2 and 3; domain section 2.5. Pure, so that the
receipt's warnings (G18, G19) and the claim's findings rest on one reading.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

CENT: Final = Decimal("0.01")
LINE_TOLERANCE: Final = Decimal("0.01")
SUM_TOLERANCE: Final = Decimal(1)
HUNDRED: Final = Decimal(100)
ZERO: Final = Decimal(0)
SUPPLY_GROUPS: Final = frozenset({"10", "11"})
FEE_FOR_SERVICE: Final = "1"


@dataclass(frozen=True, slots=True)
class Line:
    """The figures of one line of XML2 or XML3; None where the field is empty.

    Attributes:
        price: DON_GIA of XML2, DON_GIA_BV of XML3.
        insured_price: DON_GIA of XML2, DON_GIA_BH of XML3.
        service_ratio: TYLE_TT_DV of XML3, None in XML2.
        sources: The four parts of T_NGUONKHAC: NSNN, VTNN, VTTN, CL.
    """

    table: str
    group: str
    payment_method: str
    quantity: Decimal | None
    price: Decimal | None
    insured_price: Decimal | None
    ratio: Decimal | None
    service_ratio: Decimal | None
    level: Decimal | None
    thanh_tien_bv: Decimal | None
    thanh_tien_bh: Decimal | None
    sources: tuple[Decimal | None, ...]
    t_nguonkhac: Decimal | None
    t_bntt: Decimal | None
    t_bncct: Decimal | None
    t_bhtt: Decimal | None


def _round(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, ROUND_HALF_UP)


def _close(one: Decimal, other: Decimal, tolerance: Decimal = LINE_TOLERANCE) -> bool:
    return abs(one - other) <= tolerance


def expected_bv(line: Line) -> Decimal | None:
    """Return THANH_TIEN_BV as quantity and price give it, None where one is missing."""
    if line.quantity is None or line.price is None:
        return None
    return _round(line.quantity * line.price)


def expected_bh(line: Line) -> tuple[Decimal, ...]:
    """Return every THANH_TIEN_BH that the decree's formulas allow, the plain one first.

    Beside the plain one: with TYLE_TT_DV (shared bed, second examination), and with the other
    source subtracted from the cost first (case b, a source given to the facility).
    """
    if line.quantity is None or line.insured_price is None or line.ratio is None:
        return ()
    cost = line.quantity * line.insured_price
    share = line.ratio / HUNDRED
    amounts = [cost * share]
    if line.service_ratio is not None:
        amounts.append(cost * line.service_ratio / HUNDRED * share)
    if line.t_nguonkhac:
        amounts.append((cost - line.t_nguonkhac) * share)
    return tuple(_round(amount) for amount in amounts)


def expected_shares(line: Line) -> tuple[tuple[Decimal, Decimal, Decimal], ...]:
    """Return every (T_BHTT, T_BNCCT, T_BNTT) that the line's totals and level allow."""
    bv, bh, level = line.thanh_tien_bv, line.thanh_tien_bh, line.level
    if bv is None or bh is None or level is None:
        return ()
    other = line.t_nguonkhac or ZERO
    insurer = _round(bh * level / HUNDRED)
    copay, own = bh - insurer, bv - bh
    if not other:
        return ((insurer, copay, own),)
    # Case a: given to one patient, deducted in the order BNTT, BNCCT, BHTT.
    left = max(ZERO, other - own)
    case_a = (insurer - max(ZERO, left - copay), max(ZERO, copay - left), max(ZERO, own - other))
    # Case b: given to the facility, subtracted from the cost first.
    return (case_a, (insurer, copay, own - other))


def wrong_in_line(line: Line) -> tuple[str, ...]:
    """Return the fields of the line that its other figures do not give (G18)."""
    wrong: list[str] = []
    bv = expected_bv(line)
    if bv is not None and line.thanh_tien_bv is not None and not _close(bv, line.thanh_tien_bv):
        wrong.append("THANH_TIEN_BV")
    allowed = expected_bh(line)
    if allowed and line.thanh_tien_bh is not None:
        given = line.thanh_tien_bh
        if not any(_close(amount, given) for amount in allowed):
            wrong.append("THANH_TIEN_BH")
    parts = [part for part in line.sources if part is not None]
    if parts and line.t_nguonkhac is not None and not _close(total(parts), line.t_nguonkhac):
        wrong.append("T_NGUONKHAC")
    wrong.extend(_wrong_shares(line))
    return tuple(wrong)


def _wrong_shares(line: Line) -> tuple[str, ...]:
    given = (line.t_bhtt, line.t_bncct, line.t_bntt)
    names = ("T_BHTT", "T_BNCCT", "T_BNTT")
    allowed = expected_shares(line)
    if not allowed or None in given:
        return ()
    misses = [
        tuple(
            name
            for name, one, other in zip(names, given, shares, strict=True)
            if one is not None and not _close(one, other)
        )
        for shares in allowed
    ]
    return min(misses, key=len)


def total(amounts: Iterable[Decimal | None]) -> Decimal:
    """Return the sum; an empty amount counts as nothing."""
    return sum((amount for amount in amounts if amount is not None), ZERO)


def expected_sums(lines: Iterable[Line]) -> dict[str, Decimal]:
    """Return the totals of XML1 that its lines give (G19)."""
    every = tuple(lines)
    drugs = [line for line in every if line.table == "XML2"]
    supplies = [line for line in every if line.table == "XML3" and line.group in SUPPLY_GROUPS]
    bh, copay = total(line.thanh_tien_bh for line in every), total(line.t_bncct for line in every)
    return {
        "T_THUOC": total(line.thanh_tien_bv for line in drugs),
        "T_VTYT": total(line.thanh_tien_bv for line in supplies),
        "T_TONGCHI_BV": total(line.thanh_tien_bv for line in every),
        "T_TONGCHI_BH": bh,
        "T_BNTT": total(line.t_bntt for line in every),
        "T_BNCCT": copay,
        "T_BHTT": bh - copay,
        "T_NGUONKHAC": total(line.t_nguonkhac for line in every),
        "T_BHTT_GDV": total(
            line.t_bhtt for line in every if line.payment_method == FEE_FOR_SERVICE
        ),
    }
