"""Quantities: a number with a unit of UCUM's or of the calendar's.

http://hl7.org/fhirpath/N1/#quantity
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Final

from fhir_server.model import ucum
from fhir_server.model.fhirpath import number
from fhir_server.model.fhirpath.temporal import DAY, HOUR, MINUTE, MONTH, SECOND, YEAR

CALENDAR: Final = MappingProxyType({
    "year": (YEAR, Decimal(1)),
    "month": (MONTH, Decimal(1)),
    "week": (DAY, Decimal(7)),
    "day": (DAY, Decimal(1)),
    "hour": (HOUR, Decimal(1)),
    "minute": (MINUTE, Decimal(1)),
    "second": (SECOND, Decimal(1)),
    "millisecond": (SECOND, Decimal("0.001")),
})
"""The calendar's units: the level of a moment that each is added to, and how many of it."""

PLURALS: Final = MappingProxyType({f"{word}s": word for word in CALENDAR})

# The units of UCUM's that have one length, and so are the calendar's; `a` and `mo` are not.
_DEFINITE: Final = MappingProxyType({
    "wk": "week", "d": "day", "h": "hour", "min": "minute", "s": "second", "ms": "millisecond",
})  # fmt: skip
_AS_UCUM: Final = MappingProxyType({word: code for code, word in _DEFINITE.items()})
_NOT_DEFINITE: Final = MappingProxyType({"year": "a", "month": "mo"})
_MONTHS: Final = MappingProxyType({"year": 12, "month": 1})
# FHIRPath: where there is no calendar at hand, a year has 365 days and a month 30.
_DAYS: Final = MappingProxyType({"year": 365, "month": 30})


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number of a unit: a code of UCUM, or a word of the calendar in the singular."""

    value: Decimal
    unit: str = "1"

    def __str__(self) -> str:
        """The text as FHIRPath writes it: `4 days`, `10 'mg'`."""
        text = format(self.value, "f")
        if self.is_word:
            return f"{text} {self.unit}{'' if self.value == 1 else 's'}"
        return f"{text} '{self.unit}'"

    @property
    def is_word(self) -> bool:
        """Whether its unit is a word of the calendar's."""
        return self.unit in CALENDAR

    def step(self) -> tuple[Decimal, int] | None:
        """Return the amount and level that it adds to a moment; None if it is no calendar time."""
        found = CALENDAR.get(_DEFINITE.get(self.unit, self.unit))
        return (self.value * found[1], found[0]) if found else None


def of(value: Decimal, unit: str) -> Quantity:
    """Return a quantity; a plural of the calendar's becomes its singular."""
    return Quantity(value, PLURALS.get(unit, unit))


def unit_of(quantity: Quantity, *, loosely: bool = False) -> ucum.Unit | None:
    """Return what its unit is worth; None where it is not UCUM's.

    A year or month is worth nothing, unless loosely: then it is UCUM's `a` or `mo`.
    """
    code = _AS_UCUM.get(quantity.unit, quantity.unit)
    return ucum.unit(_NOT_DEFINITE.get(code, code) if loosely else code)


Measure = tuple[Fraction, ucum.Dimensions | str]
"""How much of what: base units of UCUM, months, days, or a unit that is not known."""


def key(quantity: Quantity) -> Measure:
    """Return what equal quantities have alike, whatever their units."""
    if quantity.unit in _MONTHS:
        return Fraction(quantity.value) * _MONTHS[quantity.unit], "month"
    unit = unit_of(quantity)
    if unit is None:
        return Fraction(quantity.value), quantity.unit
    return unit.base(quantity.value), unit.dimensions


def compare(one: Quantity, other: Quantity) -> int | None:
    """Return -1, 0 or 1; None where the two measure different things, or cannot be compared."""
    for measure in (key, _in_days):
        first, second = measure(one), measure(other)
        if first is not None and second is not None and first[1] == second[1]:
            return (first[0] > second[0]) - (first[0] < second[0])
    return None


def _in_days(quantity: Quantity) -> Measure | None:
    """Return how many days a quantity of the calendar's is; None for one of UCUM's."""
    if quantity.unit not in CALENDAR:
        return None
    if quantity.unit in _DAYS:
        return Fraction(quantity.value) * _DAYS[quantity.unit], "day"
    level, many = CALENDAR[quantity.unit]
    per_day = {DAY: 1, HOUR: 24, MINUTE: 1440, SECOND: 86_400}[level]
    return Fraction(quantity.value) * Fraction(many) / per_day, "day"


def is_like(one: Quantity, other: Quantity) -> bool | None:
    """Tell whether two are equal; None where a year or month is set against a fixed length."""
    if compare(one, other) is None:
        first, second = unit_of(one, loosely=True), unit_of(other, loosely=True)
        is_time = first is not None and second is not None and first.dimensions == (("s", 1),)
        if is_time and second and second.dimensions == (("s", 1),):
            return None
        return False
    return compare(one, other) == 0


def is_equivalent(one: Quantity, other: Quantity) -> bool:
    """Tell whether two are equal at the precision of the less precise, in the larger unit."""
    if one.unit == other.unit:
        return number.is_equivalent(one.value, other.value)
    first, second = unit_of(one, loosely=True), unit_of(other, loosely=True)
    if first is None or second is None or first.dimensions != second.dimensions:
        return False
    if first.factor < second.factor:
        one, other, first, second = other, one, second, first
    moved = number.of_fraction(first.from_base(second.base(other.value)))
    return moved is not None and number.is_equivalent(one.value, moved)


def plus(one: Quantity, other: Quantity) -> Quantity | None:
    """Return the sum in the finer unit of the two; None where they measure different things."""
    if one.unit == other.unit:
        total = number.add(one.value, other.value)
        return None if total is None else Quantity(total, one.unit)
    if one.unit in _MONTHS and other.unit in _MONTHS:
        months = sum(each.value * _MONTHS[each.unit] for each in (one, other))
        return Quantity(Decimal(months), "month")
    first, second = unit_of(one), unit_of(other)
    if first is None or second is None or first.dimensions != second.dimensions:
        return None
    finer, unit = (one, first) if first.factor <= second.factor else (other, second)
    total = number.of_fraction(unit.from_base(first.base(one.value) + second.base(other.value)))
    return None if total is None else Quantity(total, finer.unit)


def times(one: Quantity, other: Quantity) -> Quantity | None:
    """Return the product, its unit made of the two; None where one is not UCUM's."""
    product = number.multiply(one.value, other.value)
    return _made(product, one, other, ".")


def over(one: Quantity, other: Quantity) -> Quantity | None:
    """Return the quotient, its unit made of the two; None for a division by zero."""
    return _made(number.divide(one.value, other.value), one, other, "/")


def _made(value: Decimal | None, one: Quantity, other: Quantity, sign: str) -> Quantity | None:
    """Return a value in the product or quotient of two units, those that measure alike in one."""
    first, second = unit_of(one), unit_of(other)
    if value is None or first is None or second is None or first.offset or second.offset:
        return None
    left, right = (_AS_UCUM.get(each.unit, each.unit) for each in (one, other))
    if right == "1":
        return Quantity(value, left)
    if sign == "/" and first.dimensions == second.dimensions:
        ratio = number.of_fraction(first.base(one.value) / second.base(other.value))
        return None if ratio is None else Quantity(ratio)
    code = f"{left}{sign}{right}" if left != "1" else right if sign == "." else f"/{right}"
    if any(each in right for each in "./"):
        code = f"{left}{sign}({right})"
    return Quantity(value, code) if ucum.unit(code) else None
