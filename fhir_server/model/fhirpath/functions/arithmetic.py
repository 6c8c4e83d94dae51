"""Functions on numbers, and on the precision of numbers and times.

http://hl7.org/fhirpath/N1/#math; `lowBoundary`, `highBoundary` and `precision` came after N1.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal
from typing import Final

from fhir_server.model.fhirpath import number, operators, temporal
from fhir_server.model.fhirpath.errors import FhirPathError
from fhir_server.model.fhirpath.invocation import Function, Invocation
from fhir_server.model.fhirpath.item import Item
from fhir_server.model.fhirpath.quantity import Quantity
from fhir_server.model.fhirpath.temporal import Moment
from fhir_server.model.fhirpath.tree import Value

CONTEXT: Final = number.CONTEXT

_SERIES: Final = 30
"""Steps that a logarithm or a power costs, which is reckoned to 60 digits."""


def _decimal(value: object, name: str) -> Decimal | None:
    return None if value is None else _number(value, name)


def _number(value: object, name: str) -> Decimal:
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return Decimal(value)
    raise FhirPathError(f"“{name}” takes a number.", kind="semantic")


def _as_items(value: Value | None) -> list[Item]:
    return [] if value is None else [value]


def absolute(call: Invocation) -> list[Item]:
    """`abs() : Integer | Decimal | Quantity`."""
    value = call.value()
    if isinstance(value, Quantity):
        return [Quantity(value.value.copy_abs(), value.unit)]
    if isinstance(value, int) and not isinstance(value, bool):
        return [abs(value)] if number.is_integer(abs(value)) else []
    found = _decimal(value, call.name)
    return [] if found is None else [found.copy_abs()]


def _whole(rounding: str) -> Function:
    def run(call: Invocation) -> list[Item]:
        value = _decimal(call.value(), call.name)
        return _as_items(None if value is None else operators.whole(value, rounding))

    return run


def _real(work: Callable[[Decimal], Decimal]) -> Function:
    """Return the function of a number that may have no result."""

    def run(call: Invocation) -> list[Item]:
        value = _decimal(call.value(), call.name)
        call.evaluation.work.spend(_SERIES)
        return _as_items(None if value is None else number.guarded(lambda: work(value)))

    return run


def _exact(value: Decimal) -> Decimal:
    """Return a result of 60 digits at 28: what differs behind them is how it was reckoned."""
    return number.QUOTIENT.plus(value)


def _logarithm(value: Decimal, base: Decimal) -> Decimal:
    return _exact(CONTEXT.divide(CONTEXT.ln(value), CONTEXT.ln(base)))


def log(call: Invocation) -> list[Item]:
    """`log(base) : Decimal`."""
    value = _decimal(call.value(), call.name)
    base = _decimal(operators.single(call.argument()), call.name)
    call.evaluation.work.spend(_SERIES)
    if value is None or base is None:
        return []
    return _as_items(number.guarded(lambda: _logarithm(value, base)))


def power(call: Invocation) -> list[Item]:
    """`power(exponent) : Integer | Decimal`: nothing where the result is no real number."""
    value, exponent = call.value(), operators.single(call.argument())
    base, to = _decimal(value, call.name), _decimal(exponent, call.name)
    call.evaluation.work.spend(_SERIES)
    if base is None or to is None:
        return []
    found = number.guarded(lambda: _exact(CONTEXT.power(base, to)))
    if found is not None and isinstance(value, int) and isinstance(exponent, int) and exponent >= 0:
        return _as_items(operators.whole(found))
    return _as_items(found)


def round_(call: Invocation) -> list[Item]:
    """`round([precision]) : Decimal`: a half goes away from zero."""
    value, digits = _decimal(call.value(), call.name), call.integer_argument()
    if digits is not None and not 0 <= digits <= number.MAX_PLACES:
        raise FhirPathError("“round” takes a number of digits from 0 to 31.")
    return _as_items(None if value is None else number.rounded(value, digits or 0))


def _boundary(*, high: bool) -> Function:
    def run(call: Invocation) -> list[Item]:
        value, digits = call.value(), call.integer_argument()
        match value:
            case None:
                return []
            case Moment():
                return _as_items(temporal.boundary(value, digits, high=high))
            case Quantity(amount, unit):
                found = number.boundary(amount, digits, high=high)
                return _as_items(None if found is None else Quantity(found, unit))
            case _:
                return _as_items(number.boundary(_number(value, call.name), digits, high=high))

    return run


def precision(call: Invocation) -> list[Item]:
    """`precision() : Integer`: digits behind the point, or of a date or time."""
    value = call.value()
    if isinstance(value, Moment):
        return [value.digits()]
    decimal = _decimal(value, call.name)
    return [] if decimal is None else [number.places(decimal)]


FUNCTIONS: Final[dict[str, tuple[int, int, Function]]] = {
    "abs": (0, 0, absolute),
    "ceiling": (0, 0, _whole(ROUND_CEILING)),
    "floor": (0, 0, _whole(ROUND_FLOOR)),
    "truncate": (0, 0, _whole(ROUND_DOWN)),
    "exp": (0, 0, _real(lambda value: _exact(CONTEXT.exp(value)))),
    "ln": (0, 0, _real(lambda value: _exact(CONTEXT.ln(value)))),
    "sqrt": (0, 0, _real(lambda value: _exact(CONTEXT.sqrt(value)))),
    "log": (1, 1, log),
    "power": (1, 1, power),
    "round": (0, 1, round_),
    "lowBoundary": (0, 1, _boundary(high=False)),
    "highBoundary": (0, 1, _boundary(high=True)),
    "precision": (0, 0, precision),
}
"""The fewest and the most arguments, and the function."""
