"""What a client would ask to find a resource by what is indexed of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

from fhir_server.model.primitives import from_micros
from fhir_server.search.values import (
    MAX_NUMBER,
    MAX_TIME,
    MIN_NUMBER,
    MIN_TIME,
    CompositeValue,
    DateValue,
    IndexValues,
    NumberValue,
    QuantityValue,
    ReferenceValue,
    StringValue,
    TokenValue,
    UriValue,
    Value,
    version_of,
)

VERSION = version_of("")
PREFIX = 60
"""Of a string, how much is asked for: a search without a modifier is for its beginning."""


def criteria(index: IndexValues) -> list[tuple[str, str]]:
    """Return parameters and values, one for the first value of each parameter, that it matches."""
    first = {value.param: value for value in reversed(index.values)}
    return [asked for value in first.values() for asked in _asked(value)]


def _asked(value: Value) -> Iterator[tuple[str, str]]:
    match value:
        case TokenValue(param) if param.endswith(":identifier:of-type"):
            return  # FHIR has no such modifier of a reference
        case TokenValue(param, "", ""):
            yield f"{param}:text", _escaped(value.text)[:PREFIX]
        case StringValue(param, folded) if folded.strip():
            yield param, _escaped(folded[:PREFIX].strip())
        case DateValue() | NumberValue() | QuantityValue():
            yield value.param, _bound(value)
        case CompositeValue(param, parts):
            if not any(isinstance(part[0], TokenValue) and not part[0].code for part in parts):
                yield param, "$".join(_part(part[0]) for part in parts)
        case ReferenceValue(param, _, _, url) if param.endswith(VERSION):
            # Which version a canonical is one of; of one without, only a chain or include asks.
            if ":" in url and not url.endswith("|"):
                yield f"{param.removesuffix(VERSION)}:below", url.replace(",", "\\,")
        case TokenValue() | ReferenceValue() | UriValue():
            yield value.param, _part(value)


def _part(value: Value) -> str:
    match value:
        case TokenValue(param, system, code):
            # Of `identifier:of-type` the code is itself `type|value`.
            text = code if param.endswith(":of-type") else _escaped(code)
            return f"{_escaped(system)}|{text}"
        case StringValue(_, folded):
            return _escaped(folded)
        case ReferenceValue(_, resource_type, resource_id, url):
            return f"{resource_type}/{resource_id}" if resource_id else _escaped(url)
        case UriValue(_, uri):
            return _escaped(uri)
        case DateValue() | NumberValue() | QuantityValue():
            return _bound(value)
    raise AssertionError(value)


def _bound(value: DateValue | NumberValue | QuantityValue) -> str:
    """Say that it is not below its low end, or, where that is open, not above its high end."""
    if isinstance(value, DateValue):
        if value.low > MIN_TIME:
            return f"ge{_second(value.low)}"
        return f"le{_second(value.high, 1)}" if value.high < MAX_TIME else "ge1900"
    low, high = value.low, value.high
    number = f"ge{_plain(low)}" if low > MIN_NUMBER else f"le{_plain(min(high, Decimal(10**9)))}"
    number = number if high < MAX_NUMBER or low > MIN_NUMBER else "ge0"
    if isinstance(value, NumberValue):
        return number
    if value.code:
        return f"{number}|{_escaped(value.system)}|{_escaped(value.code)}"
    return f"{number}||{_escaped(value.unit)}" if value.unit else number


def _plain(number: Decimal) -> str:
    return f"{number:f}"


def _second(moment: int, later: int = 0) -> str:
    at = from_micros(moment) + timedelta(seconds=later)
    return at.isoformat(timespec="seconds")


def _escaped(text: str) -> str:
    for sign in "\\,|$":
        text = text.replace(sign, f"\\{sign}")
    return text
