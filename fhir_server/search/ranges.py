"""Leaves of dates, numbers and quantities: values that are ranges.

https://hl7.org/fhir/R4/search.html#date
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from fhir_server.model import primitives
from fhir_server.model.primitives import Lexeme
from fhir_server.search.sink import Extract, Sink
from fhir_server.search.values import (
    MAX_NUMBER,
    MAX_TIME,
    MIN_NUMBER,
    MIN_TIME,
    DateValue,
    NumberValue,
    QuantityValue,
)

CURRENCY: Final = "urn:iso:std:iso:4217"
"""The system of Money.currency."""

_TIMES: Final = lru_cache(maxsize=16384)(primitives.date_range)


def moments(text: object) -> tuple[int, int] | None:
    """Return the range of a date, dateTime or instant; None where it is not one."""
    if type(text) is not str:
        return None
    try:
        return _TIMES(text)
    except ValueError:
        return None


# --- date --------------------------------------------------------------------------------


def _date(param: str) -> Extract:
    def extract(value: Any, out: Sink) -> None:
        found = moments(value)
        if found:
            out.append(DateValue(param, *found))

    return extract


def _bounds(period: Any) -> tuple[int, int] | None:
    start, end = moments(period.get("start")), moments(period.get("end"))
    if start is None and end is None:
        return None
    low, high = start[0] if start else MIN_TIME, end[1] if end else MAX_TIME
    # Invariant per-1 forbids the other order; every DateValue has low <= high all the same.
    return min(low, high), max(low, high)


def _period(param: str) -> Extract:
    def extract(value: Any, out: Sink) -> None:
        found = _bounds(value)
        if found:
            out.append(DateValue(param, *found))

    return extract


def _timing(param: str) -> Extract:
    def extract(value: Any, out: Sink) -> None:
        # R4, search.html#date, of a Timing only the outer limits count.
        found = [item for item in map(moments, value.get("event", ())) if item]
        bounds = _bounds(value.get("repeat", {}).get("boundsPeriod", {}))
        if bounds:
            found.append(bounds)
        if found:
            low, high = min(low for low, _ in found), max(high for _, high in found)
            out.append(DateValue(param, low, high))

    return extract


# --- number, quantity --------------------------------------------------------------------


def _decimal(value: Any) -> Decimal | None:
    if type(value) is Decimal:
        return value
    # One that is written in another way (`1e3`, `0.0000001`) is indexed by what it says.
    return Decimal(value) if type(value) is int or type(value) is Lexeme else None


def _number(param: str) -> Extract:
    def extract(value: Any, out: Sink) -> None:
        number = _decimal(value)
        if number is not None:
            out.append(NumberValue(param, number, number))

    return extract


def _ends(value: Any) -> tuple[Decimal, Decimal, Any] | None:
    low, high = value.get("low", {}), value.get("high", {})
    least, most = _decimal(low.get("value")), _decimal(high.get("value"))
    if least is None and most is None:
        return None
    return (
        MIN_NUMBER if least is None else least,
        MAX_NUMBER if most is None else most,
        high if least is None else low,
    )


def _number_range(param: str) -> Extract:
    def extract(value: Any, out: Sink) -> None:
        found = _ends(value)
        if found:
            out.append(NumberValue(param, found[0], found[1]))

    return extract


def _quantity(param: str) -> Extract:
    def extract(value: Any, out: Sink) -> None:
        number = _decimal(value.get("value"))
        if number is None:
            return
        comparator = value.get("comparator", "")
        low = MIN_NUMBER if comparator[:1] == "<" else number
        high = MAX_NUMBER if comparator[:1] == ">" else number
        system, code = value.get("system", ""), value.get("code", "")
        out.append(QuantityValue(param, low, high, system, code, value.get("unit", "")))

    return extract


def _quantity_range(param: str) -> Extract:
    def extract(value: Any, out: Sink) -> None:
        found = _ends(value)
        if found:
            low, high, unit = found
            system, code = unit.get("system", ""), unit.get("code", "")
            out.append(QuantityValue(param, low, high, system, code, unit.get("unit", "")))

    return extract


def _money(param: str) -> Extract:
    def extract(value: Any, out: Sink) -> None:
        number = _decimal(value.get("value"))
        if number is not None:
            code = value.get("currency", "")
            out.append(QuantityValue(param, number, number, CURRENCY if code else "", code, code))

    return extract


LEAVES: Final[Mapping[tuple[str, str], Callable[[str], Extract]]] = {
    ("date", "date"): _date,
    ("date", "dateTime"): _date,
    ("date", "instant"): _date,
    ("date", "Period"): _period,
    ("date", "Timing"): _timing,
    ("number", "decimal"): _number,
    ("number", "integer"): _number,
    ("number", "Range"): _number_range,
    ("quantity", "Quantity"): _quantity,
    ("quantity", "SimpleQuantity"): _quantity,
    ("quantity", "Age"): _quantity,
    ("quantity", "Duration"): _quantity,
    ("quantity", "Money"): _money,
    ("quantity", "Range"): _quantity_range,
}
"""By the parameter's type and the element's. R4's list names some that have no range of their own
(an Age as a date, SampledData as a quantity): these have no values."""
