"""The money arithmetic of the decree, in exact decimals: G18 and G19 of domain section 8.3.

PL4750 (annex of QĐ 4750/QĐ-BYT), text of tables 1, 2 and 3; domain section 2.5. Pure, and the one
place of it: the receipt's warnings and the claim's findings are these deviations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from itertools import product
from typing import Final, NamedTuple

CENT: Final = Decimal("0.01")
LINE_TOLERANCE: Final = Decimal("0.01")
SUM_TOLERANCE: Final = Decimal(1)
HUNDRED: Final = Decimal(100)
ZERO: Final = Decimal(0)
SUPPLY_GROUPS: Final = frozenset({"10", "11"})
FEE_FOR_SERVICE: Final = "1"

NO_SERVICE_FEE: Final = ("QN", "CA", "CY")
"""Cards without T_BHTT_GDV: army, police, cipher service (domain 2.5, QLBV)."""

EXACT: Final = Context(prec=100)
"""Digits enough for any product of two amounts and three ratios: nothing is rounded unasked."""


class Deviation(NamedTuple):
    """A field whose amount is not what the other figures give, with the nearest lawful one."""

    field: str
    stated: Decimal
    expected: Decimal


@dataclass(frozen=True, slots=True)
class Line:
    """The figures of one line of XML2 or XML3; None where the field is empty.

    Attributes:
        group: MA_NHOM, without leading zeros.
        payment_method: MA_PTTT, without leading zeros; "" where it is not stated.
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


class Split(NamedTuple):
    """How a line's cost is shared out: T_BNTT, T_BNCCT and T_BHTT."""

    patient: Decimal
    copayment: Decimal
    fund: Decimal


def rounded(amount: Decimal) -> Decimal:
    """Return an amount to two decimals, halves up: as the decree's tables round."""
    return amount.quantize(CENT, ROUND_HALF_UP)


def total(amounts: Iterable[Decimal | None]) -> Decimal:
    """Return the sum; an empty amount counts as nothing."""
    return sum((amount for amount in amounts if amount is not None), ZERO)


# G18, a line


def wrong_in_line(line: Line) -> tuple[Deviation, ...]:
    """Return the fields of the line that its other figures do not give (G18)."""
    with localcontext(EXACT):
        cost = _cost(line)
        scopes = _scopes(line)
        wrong = [
            *_held("THANH_TIEN_BV", line.thanh_tien_bv, () if cost is None else (cost,)),
            *_held("THANH_TIEN_BH", line.thanh_tien_bh, scopes),
        ]
        if any(part is not None for part in line.sources):
            wrong += _held("T_NGUONKHAC", line.t_nguonkhac, (total(line.sources),))
        return (*wrong, *_wrong_split(line, cost, scopes))


def splits(bv: Decimal, bh: Decimal, level: Decimal, aid: Decimal) -> tuple[Split, ...]:
    """Return the lawful ways to share a cost: without aid one, with aid two (cases a and b).

    Args:
        bv: THANH_TIEN_BV.
        bh: THANH_TIEN_BH; in case b, what is left in scope after the aid.
        level: MUC_HUONG in per cent.
        aid: T_NGUONKHAC.
    """
    fund = bh * level / HUNDRED
    copayment, patient = bh - fund, bv - bh
    if aid == ZERO:
        return (Split(patient, copayment, fund),)
    # Case a: given to one patient, deducted in the order BNTT, BNCCT, BHTT.
    left = max(ZERO, aid - patient)
    to_patient = Split(
        max(ZERO, patient - aid),
        max(ZERO, copayment - left),
        fund - max(ZERO, left - copayment),
    )
    # Case b: given to the facility, subtracted from the cost first.
    return (to_patient, Split(max(ZERO, patient - aid), copayment, fund))


def _cost(line: Line) -> Decimal | None:
    if line.quantity is None or line.price is None:
        return None
    return rounded(line.quantity * line.price)


def _scopes(line: Line) -> tuple[Decimal, ...]:
    """The amounts in the fund's scope that the formulas allow: without aid, after it (case b)."""
    if line.quantity is None or line.insured_price is None or line.ratio is None:
        return ()
    share = line.ratio / HUNDRED * _service_ratio(line) / HUNDRED
    cost = line.quantity * line.insured_price
    aid = _aid(line)
    if aid == ZERO:
        return (rounded(cost * share),)
    return (rounded(cost * share), rounded(max(ZERO, cost - aid) * share))


def _service_ratio(line: Line) -> Decimal:
    """TYLE_TT_DV; supplies have none, and some systems write 0 for that."""
    ratio = line.service_ratio
    if ratio is None or (ratio == ZERO and line.group in SUPPLY_GROUPS):
        return HUNDRED
    return ratio


def _aid(line: Line) -> Decimal:
    return total(line.sources) if line.t_nguonkhac is None else line.t_nguonkhac


def _held(
    field: str,
    stated: Decimal | None,
    allowed: Sequence[Decimal],
    tolerance: Decimal = LINE_TOLERANCE,
) -> tuple[Deviation, ...]:
    """Hold a stated amount against the nearest of those that are allowed."""
    if stated is None or not allowed:
        return ()
    nearest = min(allowed, key=lambda amount: abs(stated - amount))
    return (Deviation(field, stated, nearest),) if abs(stated - nearest) > tolerance else ()


def _wrong_split(
    line: Line, cost: Decimal | None, scopes: tuple[Decimal, ...]
) -> tuple[Deviation, ...]:
    """What differs from the nearest lawful split of the stated or the reckoned amounts.

    Both are tried, so that one wrong amount is one finding and not a train of them.
    """
    totals = _distinct(line.thanh_tien_bv, cost)
    in_scope = _distinct(line.thanh_tien_bh, *scopes)
    if line.level is None or not totals or not in_scope:
        return ()
    best: tuple[Deviation, ...] | None = None
    for bv, bh in product(totals, in_scope):
        for split in splits(bv, bh, line.level, _aid(line)):
            found = _deviations(line, split)
            if not found:
                return ()
            if best is None or _distance(found) < _distance(best):
                best = found
    return best or ()


def _distinct(*amounts: Decimal | None) -> tuple[Decimal, ...]:
    return tuple(dict.fromkeys(amount for amount in amounts if amount is not None))


def _deviations(line: Line, split: Split) -> tuple[Deviation, ...]:
    return (
        *_held("T_BNTT", line.t_bntt, (split.patient,)),
        *_held("T_BNCCT", line.t_bncct, (split.copayment,)),
        *_held("T_BHTT", line.t_bhtt, (split.fund,)),
    )


def _distance(found: tuple[Deviation, ...]) -> tuple[int, Decimal]:
    return len(found), sum((abs(one.stated - one.expected) for one in found), ZERO)


# G19, the sums of table 1


def wrong_sums(
    lines: Sequence[Line], stated: Mapping[str, Decimal], cards: Iterable[str] = ()
) -> tuple[Deviation, ...]:
    """Return the totals of XML1 that the lines do not give, with 1 dong of tolerance (G19).

    Args:
        lines: All lines of XML2 and XML3.
        stated: XML1's totals by their names; what is not stated is not asked for.
        cards: The codes of the cards that pay.
    """
    # An uninsured visit may come as its summary alone (letter 4395/BYT-KCB, 13/07/2023).
    if not lines and not stated.get("T_BHTT"):
        return ()
    with localcontext(EXACT):
        wrong: list[Deviation] = []
        for field, reckon in _SUMS.items():
            if field in stated:
                wrong += _held(field, stated[field], reckon(lines), SUM_TOLERANCE)
        if "T_BHTT_GDV" in stated and not any(code.startswith(NO_SERVICE_FEE) for code in cards):
            wrong += _held("T_BHTT_GDV", stated["T_BHTT_GDV"], _by_fee(lines), SUM_TOLERANCE)
        return tuple(wrong)


_Reckon = Callable[[Sequence[Line]], tuple[Decimal, ...]]


def _fund(lines: Sequence[Line]) -> tuple[Decimal, ...]:
    """T_BHTT = T_TONGCHI_BH - T_BNCCT; where aid paid co-payments, the lines' own sum as well."""
    formula = total(n.thanh_tien_bh for n in lines) - total(n.t_bncct for n in lines)
    aided = any(_aid(line) for line in lines)
    return (formula, total(n.t_bhtt for n in lines)) if aided else (formula,)


def _by_fee(lines: Sequence[Line]) -> tuple[Decimal, ...]:
    """T_BHTT_GDV: the part paid by fee for service; nothing where a line does not say how."""
    if any(not line.payment_method for line in lines):
        return ()
    return (total(n.t_bhtt for n in lines if n.payment_method == FEE_FOR_SERVICE),)


_SUMS: Final[Mapping[str, _Reckon]] = {
    "T_THUOC": lambda lines: (total(n.thanh_tien_bv for n in lines if n.table == "XML2"),),
    "T_VTYT": lambda lines: (
        total(n.thanh_tien_bv for n in lines if n.table == "XML3" and n.group in SUPPLY_GROUPS),
    ),
    "T_TONGCHI_BV": lambda lines: (total(n.thanh_tien_bv for n in lines),),
    "T_TONGCHI_BH": lambda lines: (total(n.thanh_tien_bh for n in lines),),
    "T_BNTT": lambda lines: (total(n.t_bntt for n in lines),),
    "T_BNCCT": lambda lines: (total(n.t_bncct for n in lines),),
    "T_BHTT": _fund,
    "T_NGUONKHAC": lambda lines: (total(n.t_nguonkhac for n in lines),),
}
