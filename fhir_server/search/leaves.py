"""From one element to index values, by its FHIR type and the search parameter's type.

https://hl7.org/fhir/R4/search.html#table
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from fhir_server.model import definitions, primitives
from fhir_server.model.identifiers import DRAFT_SYSTEMS
from fhir_server.search.fold import exact, fold
from fhir_server.search.values import (
    MAX_NUMBER,
    MAX_TIME,
    MIN_NUMBER,
    MIN_TIME,
    DateValue,
    NumberValue,
    QuantityValue,
    ReferenceValue,
    StringValue,
    TokenValue,
    UriValue,
    Value,
    identifier_of,
    of_type,
)

CURRENCY: Final = "urn:iso:std:iso:4217"
"""The system of Money.currency."""


class Sink(list[Value]):
    """Where extractors put the values of a resource, and the Patients it belongs to."""

    __slots__ = ("base_url", "patients", "resource")

    def __init__(self, resource: dict[str, Any], base_url: str = "") -> None:
        super().__init__()
        self.resource = resource
        self.base_url = base_url
        self.patients: list[str] = []


Extract = Callable[[Any, Sink], None]
"""Puts the values of one element into the sink; an element of another shape has none."""

_TIMES: Final = lru_cache(maxsize=16384)(primitives.date_range)


def moments(text: object) -> tuple[int, int] | None:
    """Return the range of a date, dateTime or instant; None where it is not one."""
    if type(text) is not str:
        return None
    try:
        return _TIMES(text)
    except ValueError:
        return None


# --- token -------------------------------------------------------------------------------


def _coding(param: str) -> Extract:
    def extract(value: Any, out: Sink) -> None:
        code = value.get("code")
        display = value.get("display")
        if code is not None or display is not None:
            text = fold(display) if display else ""
            out.append(TokenValue(param, value.get("system", ""), exact(code or ""), text))

    return extract


def _concept(param: str) -> Extract:
    def extract(value: Any, out: Sink) -> None:
        text = value.get("text")
        folded = fold(text) if text else ""
        for coding in value.get("coding", ()):
            display = coding.get("display")
            shown = fold(display) if display else folded
            code = exact(coding.get("code", ""))
            out.append(TokenValue(param, coding.get("system", ""), code, shown))
            if shown == folded:
                folded = ""
        if folded:
            out.append(TokenValue(param, "", "", folded))

    return extract


def _identifier(param: str) -> Extract:
    typed = of_type(param)

    def extract(value: Any, out: Sink) -> None:
        number = value.get("value")
        system = value.get("system", "")
        system = DRAFT_SYSTEMS.get(system, system)
        kind = value.get("type")
        if kind is None:
            if number is not None or system:
                out.append(TokenValue(param, system, exact(number or "")))
            return
        text = fold(kind.get("text", ""))
        out.append(TokenValue(param, system, exact(number or ""), text))
        for coding in kind.get("coding", ()):
            code = f"{coding.get('code', '')}|{number}"
            out.append(TokenValue(typed, coding.get("system", ""), code))

    return extract


def _contact_point(param: str) -> Extract:
    def extract(value: Any, out: Sink) -> None:
        if value.get("value") is not None:
            out.append(TokenValue(param, "", exact(value["value"])))

    return extract


def _plain_token(param: str) -> Extract:
    def extract(value: Any, out: Sink) -> None:
        if type(value) is str:
            out.append(TokenValue(param, "", exact(value)))

    return extract


def _boolean(param: str) -> Extract:
    def extract(value: Any, out: Sink) -> None:
        if type(value) is bool:
            out.append(TokenValue(param, "", "true" if value else "false"))

    return extract


def _code(param: str, element: definitions.Element | None) -> Extract:
    binding = element.binding if element else None
    members: Mapping[str, frozenset[str]] = (
        definitions.value_set(binding.partition("|")[0]) or {} if binding else {}
    )
    system_of = {code: system for system, codes in members.items() for code in codes}
    if not system_of:
        return _plain_token(param)

    def extract(value: Any, out: Sink) -> None:
        if type(value) is str:
            # R4, search.html#token, the system of a code is that of its value set.
            out.append(TokenValue(param, system_of.get(value, ""), value))

    return extract


# --- string, uri -------------------------------------------------------------------------


def _string(param: str) -> Extract:
    def extract(value: Any, out: Sink) -> None:
        if type(value) is str:
            out.append(StringValue(param, fold(value), exact(value)))

    return extract


def _parts(*names: str) -> Callable[[str], Extract]:
    """Return an extractor of a datatype that is found by any of its parts."""

    def of(param: str) -> Extract:
        def extract(value: Any, out: Sink) -> None:
            for name in names:
                part = value.get(name)
                if part is None:
                    continue
                for text in part if type(part) is list else (part,):
                    if type(text) is str:
                        out.append(StringValue(param, fold(text), exact(text)))

        return extract

    return of


def _uri(param: str) -> Extract:
    def extract(value: Any, out: Sink) -> None:
        if type(value) is str:
            out.append(UriValue(param, value))

    return extract


def _canonical_uri(param: str) -> Extract:
    def extract(value: Any, out: Sink) -> None:
        if type(value) is str:
            out.append(UriValue(param, value))
            url, bar, _ = value.partition("|")
            if bar:
                out.append(UriValue(param, url))

    return extract


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
    return Decimal(value) if type(value) is int else None


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


# --- reference ---------------------------------------------------------------------------


_SHORT: Final = 200


def located(text: str, base_url: str) -> tuple[str, str, str]:
    """Return a reference as (type, id, ""), or as ("", "", url) where it is not one of ours.

    A version is left out. Contained and conditional references are ("", "", "").
    """
    return _kept_place(text, base_url) if len(text) <= _SHORT else _place(text, base_url)


def _place(text: str, base_url: str) -> tuple[str, str, str]:
    local = text
    if base_url and text.startswith(base_url + "/"):
        local = text[len(base_url) + 1 :]
    kind, _, rest = local.partition("/")
    if kind in definitions.RESOURCE_TYPES:
        resource_id, bar, _ = rest.partition("/_history/")
        if primitives.is_id(resource_id) and (bar or "/" not in rest):
            return (kind, resource_id, "")
    if text.startswith("#") or "?" in text:
        return ("", "", "")
    return ("", "", text)


_kept_place: Final = lru_cache(maxsize=65536)(_place)


def versioned(text: str, resource_type: str, resource_id: str) -> str:
    """Return a versioned reference to one of our resources as it is indexed and searched."""
    return f"{resource_type}/{resource_id}/_history/{text.rpartition('/_history/')[2]}"


def type_named(url: str) -> str:
    """Return the resource type that an absolute URL of a REST server names, or ""."""
    parts = url.partition("/_history/")[0].rsplit("/", 2)
    return parts[1] if len(parts) == 3 and parts[1] in definitions.RESOURCE_TYPES else ""  # noqa: PLR2004 - base, type, id


def _reference(param: str, only: str | None, *, in_patient: bool) -> Extract:
    logical = _identifier(identifier_of(param))

    def extract(value: Any, out: Sink) -> None:
        text = value.get("reference")
        if type(text) is str:
            kind, resource_id, url = located(text, out.base_url)
            if only is None or only == (kind or type_named(url)):
                if kind or url:
                    out.append(ReferenceValue(param, kind, resource_id, url))
                if in_patient and kind == "Patient":
                    out.patients.append(resource_id)
                if kind and "/_history/" in text:
                    out.append(ReferenceValue(param, "", "", versioned(text, kind, resource_id)))
        identifier = value.get("identifier")
        if identifier is not None and only in {None, value.get("type", only)}:
            logical(identifier, out)

    return extract


def _canonical_reference(param: str) -> Extract:
    def extract(value: Any, out: Sink) -> None:
        if type(value) is not str:
            return
        out.append(ReferenceValue(param, *located(value, out.base_url)))
        url, bar, _ = value.partition("|")
        if bar:
            out.append(ReferenceValue(param, *located(url, out.base_url)))

    return extract


def _inlined(param: str, targets: frozenset[str]) -> Extract:
    """Return an extractor of a resource that stands inside another, as in a Bundle's entry."""

    def extract(value: Any, out: Sink) -> None:
        if value.get("resourceType") in targets and value.get("id"):
            out.append(ReferenceValue(param, value["resourceType"], value["id"]))

    return extract


_SIMPLE: Final[Mapping[tuple[str, str], Callable[[str], Extract]]] = {
    ("token", "Coding"): _coding,
    ("token", "CodeableConcept"): _concept,
    ("token", "Identifier"): _identifier,
    ("token", "ContactPoint"): _contact_point,
    ("token", "boolean"): _boolean,
    ("token", "id"): _plain_token,
    ("token", "string"): _plain_token,
    ("token", "uri"): _plain_token,
    ("string", "string"): _string,
    ("string", "markdown"): _string,
    ("string", "HumanName"): _parts("text", "family", "given", "prefix", "suffix"),
    ("string", "Address"): _parts(
        "text", "line", "city", "district", "state", "country", "postalCode"
    ),
    ("uri", "uri"): _uri,
    ("uri", "url"): _uri,
    ("uri", "canonical"): _canonical_uri,
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
    ("reference", "canonical"): _canonical_reference,
    ("reference", "uri"): _canonical_reference,
}


def leaf(
    param: str,
    kind: str,
    found: str,
    *,
    element: definitions.Element | None = None,
    only: str | None = None,
    targets: frozenset[str] = frozenset(),
    in_patient: bool = False,
) -> Extract | None:
    """Return the extractor of an element for a search parameter; None where it has no values.

    Args:
        param: The parameter's code, which the values carry.
        kind: The parameter's type.
        found: The element's FHIR type.
        element: The element, whose value set gives the system of a `code`.
        only: The one resource type that a reference may name.
        targets: The resource types of a resource inlined in a Bundle.
        in_patient: The reference puts the resource into a Patient's compartment.
    """
    if (kind, found) == ("token", "code"):
        return _code(param, element)
    if (kind, found) == ("reference", "Reference"):
        return _reference(param, only, in_patient=in_patient)
    if (kind, found) == ("reference", "Resource"):
        return _inlined(param, targets)
    make = _SIMPLE.get((kind, found))
    return make(param) if make else None
