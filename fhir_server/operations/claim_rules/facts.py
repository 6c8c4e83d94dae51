"""What the rules look at: a Claim, its cards, its visit and the visits beside it, as values.

The names of amounts are the decree's (T_BHTT, THANH_TIEN_BV): QĐ 4750/QĐ-BYT, tables 1 to 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal, localcontext
from typing import Literal

from mappings.xml130.arithmetic import EXACT, ZERO
from mappings.xml130.stays import Stay


@dataclass(frozen=True, slots=True)
class Visit(Stay):
    """An Encounter, as far as a rule may know it: where, when and in which form.

    Attributes:
        reference: `Encounter/…`; "" of a visit of which no more than the fact may be told.
        claim: `Claim/…` that asks money for it; "" where there is none.
    """

    reference: str = ""
    claim: str = ""

    @property
    def is_shown(self) -> bool:
        """Whether a finding may say more of this visit than that there is one."""
        return bool(self.reference)


@dataclass(frozen=True, slots=True)
class Card:
    """A Coverage: the card's code, and the days from and to which it is valid."""

    reference: str
    code: str = ""
    start: date | None = None
    end: date | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A Claim.item: a row of XML2 (drugs) or XML3 (services, supplies).

    Attributes:
        table: `XML2`, `XML3`, or "" of a claim that came as plain FHIR.
        amounts: The decree's field name and its number.
        codes: The decree's field name and its code (MA_NHOM, MA_PTTT).
    """

    sequence: int
    table: str
    amounts: Mapping[str, Decimal] = field(default_factory=dict)
    codes: Mapping[str, str] = field(default_factory=dict)

    def amount(self, name: str) -> Decimal | None:
        """Return one of the row's numbers, or None where the row does not give it."""
        return self.amounts.get(name)

    def number(self, name: str) -> Decimal:
        """Return one of the row's numbers, 0 where the row does not give it."""
        return self.amounts.get(name, ZERO)


@dataclass(frozen=True, slots=True)
class ClaimFacts:
    """A Claim with what it names.

    Attributes:
        amounts: XML1's sums, by field name.
        insured: Whether a card is claimed on, rather than the patient's own money.
        total: `Claim.total`.
        made: `Claim.created`, the day that the card is asked for where no time of a visit is known.
    """

    reference: str
    visit: Visit
    cards: tuple[Card, ...] = ()
    lines: tuple[Line, ...] = ()
    amounts: Mapping[str, Decimal] = field(default_factory=dict)
    insured: bool = True
    total: Decimal | None = None
    made: datetime | None = None

    @property
    def asked(self) -> Decimal:
        """The money asked from the fund: T_BHTT, else the lines' T_BHTT.

        A claim of plain FHIR states neither: its total is asked, else the sum of its lines' net.
        """
        stated = self.amounts.get("T_BHTT")
        if stated is not None:
            return stated
        if any(line.amount("T_BHTT") is not None for line in self.lines):
            return sum((line.number("T_BHTT") for line in self.lines), ZERO)
        if self.total is not None:
            return self.total
        return sum((line.number("THANH_TIEN_BV") for line in self.lines), ZERO)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is beside the claim: the same patient's other visits that touch its time."""

    visits: tuple[Visit, ...] = ()


def references(visits: Iterable[Visit]) -> tuple[str, ...]:
    """Return the references of the visits that may be shown, and of the claims for them."""
    return tuple(
        name for one in visits if one.is_shown for name in (one.claim, one.reference) if name
    )


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong or doubtful in a claim.

    Attributes:
        rule: The family, such as `G04`.
        law: The text that the rule rests on.
        amount: The money in doubt, in dong.
        evidence: References to the resources that show it.
        line: The item's sequence; None for the whole claim.
        field: The decree's field, where it is about one.
    """

    rule: str
    law: str
    text_vi: str
    text_en: str
    amount: Decimal
    evidence: tuple[str, ...]
    line: int | None = None
    field: str = ""
    severity: Literal["error", "warning"] = "error"


def plain(amount: Decimal) -> Decimal:
    """Return the same amount without exponent and without zeros at the end of its decimals."""
    with localcontext(EXACT):
        is_whole = amount == amount.to_integral_value()
        return amount.quantize(Decimal(1)) if is_whole else amount.normalize()


def dong(amount: Decimal, language: str = "vi") -> str:
    """Return an amount as people write it: `1.250,5` in Vietnamese, `1,250.5` in English."""
    text = f"{plain(amount):,f}"
    return text.translate(str.maketrans(",.", ".,")) if language == "vi" else text
