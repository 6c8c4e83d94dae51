"""What the rules look at: a Claim, its cards, its visit and the visits beside it, as values.

The names of amounts are the decree's (T_BHTT, THANH_TIEN_BV): QĐ 4750/QĐ-BYT, tables 1 to 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal

from mappings.xml130.arithmetic import ZERO
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
    """

    reference: str
    visit: Visit
    cards: tuple[Card, ...] = ()
    lines: tuple[Line, ...] = ()
    amounts: Mapping[str, Decimal] = field(default_factory=dict)
    insured: bool = True

    @property
    def asked(self) -> Decimal:
        """The money asked from the fund: T_BHTT, else the lines' T_BHTT."""
        stated = self.amounts.get("T_BHTT")
        return stated if stated is not None else sum((n.number("T_BHTT") for n in self.lines), ZERO)


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
    whole = amount.quantize(Decimal(1)) if amount == amount.to_integral_value() else None
    return whole if whole is not None else amount.normalize()


def dong(amount: Decimal, language: str = "vi") -> str:
    """Return an amount as people write it: `1.250,5` in Vietnamese, `1,250.5` in English."""
    text = f"{plain(amount):,f}"
    return text.translate(str.maketrans(",.", ".,")) if language == "vi" else text
