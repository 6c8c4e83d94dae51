"""Conversions between FHIRPath's own types.

http://hl7.org/fhirpath/N1/#conversion
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from fhir_server.model.fhirpath import number, quantity, temporal
from fhir_server.model.fhirpath.invocation import Function, Invocation
from fhir_server.model.fhirpath.item import Item, Node, TypeInfo
from fhir_server.model.fhirpath.quantity import Quantity
from fhir_server.model.fhirpath.temporal import Moment
from fhir_server.model.fhirpath.tree import Value

_TRUE: Final = frozenset({"true", "t", "yes", "y", "1", "1.0"})
_FALSE: Final = frozenset({"false", "f", "no", "n", "0", "0.0"})
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,100}").fullmatch
_DECIMAL: Final = re.compile(r"[+-]?[0-9]{1,100}(?:\.[0-9]{1,100})?").fullmatch
_QUANTITY: Final = re.compile(
    r"([+-]?[0-9]{1,100}(?:\.[0-9]{1,100})?)\s*(?:'([^']{1,200})'|([a-zA-Z]{1,20}))?"
).fullmatch

Any_ = Value | Node | TypeInfo | None


def to_boolean(value: Any_) -> bool | None:
    """Return a value as a Boolean; None where it is none."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        text = value.lower()
        return True if text in _TRUE else False if text in _FALSE else None
    if isinstance(value, (int, Decimal)):
        return True if value == 1 else False if value == 0 else None
    return None


def to_integer(value: Any_) -> int | None:
    """Return a value as an Integer; None where it is none."""
    if isinstance(value, str) and _INTEGER(value):
        value = int(value)
    if isinstance(value, int):  # a Boolean is 0 or 1
        return int(value) if number.is_integer(value) else None
    return None


def to_decimal(value: Any_) -> Decimal | None:
    """Return a value as a Decimal; None where it is none."""
    if isinstance(value, bool):
        return Decimal("1.0") if value else Decimal("0.0")
    if isinstance(value, str) and _DECIMAL(value):
        return number.checked(Decimal(value))
    if isinstance(value, int):
        return Decimal(value)
    return value if isinstance(value, Decimal) else None


def to_quantity(value: Any_) -> Quantity | None:
    """Return a value as a Quantity; None where it is none."""
    if isinstance(value, Quantity):
        return value
    if isinstance(value, str):
        match = _QUANTITY(value)
        if match is None:
            return None
        amount, code, word = number.checked(Decimal(match[1])), match[2], match[3]
        if amount is None or (word and word not in quantity.CALENDAR | quantity.PLURALS):
            return None
        return quantity.of(amount, code or word or "1")
    decimal = to_decimal(value)
    return None if decimal is None else Quantity(decimal)


def to_string(value: Any_) -> str | None:
    """Return a value as a String; None for an element that has elements."""
    match value:
        case bool():
            return "true" if value else "false"
        case Decimal():
            return format(value, "f")
        case str() | int() | Moment() | Quantity():
            return str(value)
        case _:
            return None


def to_date(value: Any_) -> Moment | None:
    """Return a value as a Date; None where it is none."""
    if isinstance(value, str):
        return temporal.parse(value, "Date")
    is_day = isinstance(value, Moment) and value.kind != "Time"
    return value.as_kind("Date") if is_day and isinstance(value, Moment) else None


def to_date_time(value: Any_) -> Moment | None:
    """Return a value as a DateTime; None where it is none."""
    if isinstance(value, str):
        return temporal.parse(value, "DateTime")
    is_day = isinstance(value, Moment) and value.kind != "Time"
    return value.as_kind("DateTime") if is_day and isinstance(value, Moment) else None


def to_time(value: Any_) -> Moment | None:
    """Return a value as a Time; None where it is none."""
    if isinstance(value, str):
        return temporal.parse(value, "Time")
    return value if isinstance(value, Moment) and value.kind == "Time" else None


def _to(convert: Callable[[Any_], Value | None]) -> Function:
    def run(call: Invocation) -> list[Item]:
        found = convert(call.value())
        return [] if found is None else [found]

    return run


def _converts(convert: Callable[[Any_], Value | None]) -> Function:
    def run(call: Invocation) -> list[Item]:
        value = call.value()
        return [] if value is None else [convert(value) is not None]

    return run


def _in_unit(call: Invocation) -> Quantity | None:
    """Return the focus as a Quantity, in the unit that the argument names."""
    found = to_quantity(call.value())
    if found is None or not call.arguments:
        return found
    unit = call.text_argument()
    if unit is None:
        return None
    wanted = quantity.of(Decimal(1), unit)
    if wanted.unit == found.unit:
        return found
    one, other = quantity.unit_of(found), quantity.unit_of(wanted)
    if one is None or other is None or one.dimensions != other.dimensions:
        return None
    amount = number.of_fraction(other.from_base(one.base(found.value)))
    return None if amount is None else Quantity(amount, wanted.unit)


def in_unit(call: Invocation) -> list[Item]:
    """`toQuantity([unit]) : Quantity`."""
    found = _in_unit(call)
    return [] if found is None else [found]


def converts_to_unit(call: Invocation) -> list[Item]:
    """`convertsToQuantity([unit]) : Boolean`."""
    return [] if call.value() is None else [_in_unit(call) is not None]


def comparable(call: Invocation) -> list[Item]:
    """`comparable(quantity) : Boolean`: whether the units measure the same."""
    one, other = call.value(), to_quantity(_one(call))
    if one is None or other is None:
        return []
    left = to_quantity(one)
    first = quantity.unit_of(left, loosely=True) if left else None
    second = quantity.unit_of(other, loosely=True)
    return [first is not None and second is not None and first.dimensions == second.dimensions]


def _one(call: Invocation) -> Any_:
    found = call.argument()
    return Invocation(call.evaluation, call.name, found, (), call.scope).value()


_CONVERSIONS: Final[dict[str, Callable[[Any_], Value | None]]] = {
    "Boolean": to_boolean,
    "Integer": to_integer,
    "Decimal": to_decimal,
    "String": to_string,
    "Date": to_date,
    "DateTime": to_date_time,
    "Time": to_time,
}

FUNCTIONS: Final[dict[str, tuple[int, int, Function]]] = {
    **{f"to{name}": (0, 0, _to(convert)) for name, convert in _CONVERSIONS.items()},
    **{f"convertsTo{name}": (0, 0, _converts(convert)) for name, convert in _CONVERSIONS.items()},
    "toQuantity": (0, 1, in_unit),
    "convertsToQuantity": (0, 1, converts_to_unit),
    "comparable": (1, 1, comparable),
}
"""The fewest and the most arguments, and the function."""
