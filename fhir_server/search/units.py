"""Quantities in other units of UCUM than the one that is asked: 1 kg is 1000 g.

https://hl7.org/fhir/R4/search.html#quantity: a search may be based on canonical units.
"""

from __future__ import annotations

from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Final

from fhir_server.model import ucum
from fhir_server.search.expression import QuantityIs
from fhir_server.search.values import QuantityValue

BASE: Final = ":ucum:"
"""Between a parameter's code and what is measured, where its quantities stand in base units."""
UNIT: Final = ":unit:"
"""Between a parameter's code and a unit, as it is coded or printed, of quantities in that unit."""

_DIGITS: Final = Context(prec=60)
"""More than any measurement has: only what no decimal can say exactly is rounded."""
_FEW: Final = 30
"""Digits of each of two numbers whose product has no more than are kept."""
_MOST_EXPONENT: Final = 400
_FARTHEST: Final = 30_000
"""Of an exponent of ten, where numbers are only multiplied and compared."""


def _decimal(number: Fraction) -> Decimal:
    return _DIGITS.divide(Decimal(number.numerator), Decimal(number.denominator))


@lru_cache(maxsize=4096)
def _exact(code: str) -> Decimal | None:
    """Return what a unit is multiplied with, where a decimal of few digits says it exactly.

    Nearly all are: nothing else is in the way of a quantity that is indexed.
    """
    unit = ucum.unit(code)
    if unit is None or unit.offset:
        return None
    factor = _decimal(unit.factor)
    is_same = Fraction(factor) == unit.factor
    return factor if is_same and len(factor.as_tuple().digits) <= _FEW else None


def _is_plain(*numbers: Decimal, most: int = _MOST_EXPONENT) -> bool:
    """Whether numbers are finite and of a size that is soon reckoned with."""
    return all(one.is_finite() and abs(one.adjusted()) <= most for one in numbers)


@lru_cache(maxsize=4096)
def base_of(param: str, code: str) -> str:
    """Return under which name a parameter's quantities of a unit of UCUM stand in base units.

    All that can be compared with one another stand under the same.
    """
    unit = ucum.unit(code)
    dimensions = () if unit is None else unit.dimensions
    return f"{param}{BASE}{'.'.join(f'{name}{power}' for name, power in dimensions)}"


def in_unit(leaf: QuantityIs, code: str) -> QuantityIs | None:
    """Return the same question about quantities of another unit of UCUM.

    None: it names no unit of UCUM, or one that measures something else.
    """
    if leaf.system != ucum.SYSTEM or leaf.code is None:
        return None
    if code == leaf.code:
        return leaf
    ours, theirs = ucum.unit(leaf.code), ucum.unit(code)
    if ours is None or theirs is None or ours.dimensions != theirs.dimensions:
        return None
    if not _is_plain(leaf.value, leaf.low, leaf.high):
        return None
    value, low, high = (
        _decimal(theirs.from_base(ours.base(one))) for one in (leaf.value, leaf.low, leaf.high)
    )
    return QuantityIs(leaf.param, leaf.prefix, value, low, high, ucum.SYSTEM, code)


@lru_cache(maxsize=4096)
def in_base(leaf: QuantityIs) -> QuantityIs | None:
    """Return the same question about quantities in UCUM's base units, under a code of their own.

    None: it names no unit of UCUM.
    """
    unit = ucum.unit(leaf.code) if leaf.system == ucum.SYSTEM and leaf.code else None
    if unit is None or not _is_plain(leaf.value, leaf.low, leaf.high):
        return None
    value, low, high = (_decimal(unit.base(one)) for one in (leaf.value, leaf.low, leaf.high))
    name = base_of(leaf.param, leaf.code or "")
    return QuantityIs(name, leaf.prefix, value, low, high, None, None)


def ends_in_base(value: QuantityValue) -> tuple[Decimal, Decimal] | None:
    """Return the ends of a quantity in UCUM's base units; None where its unit is none of UCUM."""
    if value.system != ucum.SYSTEM:
        return None
    low, high = value.low, value.high
    exact = _exact(value.code)
    if exact is not None and _is_plain(low, high, most=_FARTHEST):
        return _DIGITS.multiply(low, exact), _DIGITS.multiply(high, exact)
    unit = ucum.unit(value.code)
    if unit is None or not _is_plain(*(one for one in (low, high) if one.is_finite())):
        return None
    low, high = (_decimal(unit.base(one)) if one.is_finite() else one for one in (low, high))
    return low, high
