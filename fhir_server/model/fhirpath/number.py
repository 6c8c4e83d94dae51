"""Numbers: FHIRPath's Decimal is exact, and what it cannot hold is no result.

http://hl7.org/fhirpath/N1/#decimal
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import (
    ROUND_CEILING,
    ROUND_FLOOR,
    ROUND_HALF_UP,
    Context,
    Decimal,
    DivisionByZero,
    InvalidOperation,
    Overflow,
)
from fractions import Fraction
from typing import Final

MAX_INTEGER: Final = 2**31 - 1
MIN_INTEGER: Final = -(2**31)
_LIMIT: Final = Decimal(10) ** 28
"""FHIRPath: a Decimal reaches from -10^28 to 10^28."""

_PLACE: Final = Decimal(1)

MAX_PLACES: Final = 31
"""Places behind the point that `round`, `lowBoundary` and `highBoundary` give."""

_DIGITS: Final = 60
"""Of a result: the 28 before the point, and more behind it than anything has."""

_QUOTIENT_DIGITS: Final = 28

CONTEXT: Final = Context(
    prec=_DIGITS, rounding=ROUND_HALF_UP, Emax=9999, Emin=-9999,
    traps=[InvalidOperation, DivisionByZero, Overflow],
)  # fmt: skip
QUOTIENT: Final = Context(
    prec=_QUOTIENT_DIGITS, rounding=ROUND_HALF_UP, Emax=9999, Emin=-9999,
    traps=[InvalidOperation, DivisionByZero, Overflow],
)  # fmt: skip


def is_integer(value: int) -> bool:
    """Tell whether a number is within FHIRPath's Integer."""
    return MIN_INTEGER <= value <= MAX_INTEGER


def checked(value: Decimal) -> Decimal | None:
    """Return a decimal at the digits that are kept; None where it is too large."""
    return CONTEXT.plus(value) if abs(value) < _LIMIT else None


def guarded(work: Callable[[], Decimal]) -> Decimal | None:
    """Return what a calculation gives; None where it has no result, or one too large."""
    try:
        return checked(work())
    except ArithmeticError:
        return None


def add(one: Decimal, other: Decimal) -> Decimal | None:
    """Return a sum; None where it is too large."""
    return guarded(lambda: CONTEXT.add(one, other))


def multiply(one: Decimal, other: Decimal) -> Decimal | None:
    """Return a product; None where it is too large."""
    return guarded(lambda: CONTEXT.multiply(one, other))


def divide(one: Decimal, other: Decimal) -> Decimal | None:
    """Return a quotient to 28 digits; None for a division by zero."""
    return guarded(lambda: QUOTIENT.divide(one, other))


def of_fraction(value: Fraction) -> Decimal | None:
    """Return a fraction as a decimal to 28 digits."""
    return divide(Decimal(value.numerator), Decimal(value.denominator))


def places(value: Decimal) -> int:
    """Return how many digits stand behind the point."""
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def rounded(value: Decimal, digits: int, rounding: str = ROUND_HALF_UP) -> Decimal | None:
    """Return a decimal with this many digits behind the point."""
    return guarded(lambda: value.quantize(_PLACE.scaleb(-digits, CONTEXT), rounding, CONTEXT))


def is_equivalent(one: Decimal, other: Decimal) -> bool:
    """Tell whether two are equal at the precision of the less precise, trailing zeros apart."""
    if one == other:
        return True
    digits = min(places(CONTEXT.normalize(one)), places(CONTEXT.normalize(other)))
    first, second = rounded(one, digits), rounded(other, digits)
    return first is not None and first == second


def boundary(value: Decimal, digits: int | None, *, high: bool) -> Decimal | None:
    """Return the least or greatest number that a decimal may be rounded from.

    `1.587` is from 1.5865 to 1.5875; to fewer digits the first is rounded down, the second up.
    None where the digits are not from 0 to 31.
    """
    digits = 8 if digits is None else digits
    if not 0 <= digits <= MAX_PLACES:
        return None
    half = Decimal(5).scaleb(-places(value) - 1, CONTEXT)
    if high:
        return rounded(CONTEXT.add(value, half), digits, ROUND_CEILING)
    return rounded(CONTEXT.subtract(value, half), digits, ROUND_FLOOR)
