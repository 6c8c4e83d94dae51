"""From one element to index values, by its FHIR type and the search parameter's type.

https://hl7.org/fhir/R4/search.html#table
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from fhir_server.model import definitions
from fhir_server.model.identifiers import identified
from fhir_server.model.primitives import Lexeme
from fhir_server.search import ranges
from fhir_server.search.canonical import beginnings, named_by
from fhir_server.search.fold import exact, fold
from fhir_server.search.place import located, type_named, versioned
from fhir_server.search.sink import Extract, Sink
from fhir_server.search.values import (
    PositionValue,
    ReferenceValue,
    StringValue,
    TokenValue,
    UriValue,
    identifier_of,
    of_type,
    version_of,
)

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
        system, number = identified(value)
        kind = value.get("type")
        if kind is None:
            if number or system:
                out.append(TokenValue(param, system, exact(number)))
            return
        text = fold(kind.get("text", ""))
        out.append(TokenValue(param, system, exact(number), text))
        for coding in kind.get("coding", ()):
            code = f"{coding.get('code', '')}|{number}"
            out.append(TokenValue(typed, coding.get("system", ""), code))

    return extract


def _contact_point(param: str) -> Extract:
    def extract(value: Any, out: Sink) -> None:
        if value.get("value") is not None:
            out.append(TokenValue(param, "", exact(value["value"])))
            if type(system := value.get("system")) is str:
                # So that `telecom=phone|0912345678` finds it as `telecom=0912345678` does.
                out.append(TokenValue(param, system, exact(value["value"])))

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


# --- reference ---------------------------------------------------------------------------


def _reference(param: str, only: str | None, *, in_patient: bool) -> Extract:
    logical = _identifier(identifier_of(param))

    def extract(value: Any, out: Sink) -> None:
        text = value.get("reference")
        named = value.get("type", only)
        if type(text) is str:
            kind, resource_id, url = located(text, out.base_url)
            named = kind or type_named(url) or named
            if only is None or only == (kind or type_named(url)):
                if kind or url:
                    out.append(ReferenceValue(param, kind, resource_id, url))
                if in_patient and kind == "Patient":
                    out.patients.append(resource_id)
                if kind and "/_history/" in text:
                    out.append(ReferenceValue(param, "", "", versioned(text, kind, resource_id)))
        identifier = value.get("identifier")
        if identifier is not None and only in {None, named}:
            logical(identifier, out)

    return extract


def _canonical_reference(param: str) -> Extract:
    versions = version_of(param)

    def extract(value: Any, out: Sink) -> None:
        if type(value) is not str:
            return
        url, version = named_by(value)
        if not url:
            return
        for text in (f"{url}|{version}", url) if version else (url,):
            kind, resource_id, _ = located(text, out.base_url)
            out.append(ReferenceValue(param, kind, resource_id, "" if kind else text))
        for one in beginnings(version):
            out.append(ReferenceValue(versions, "", "", f"{url}|{one}"))

    return extract


def _inlined(param: str, targets: frozenset[str]) -> Extract:
    """Return an extractor of a resource that stands inside another, as in a Bundle's entry."""

    def extract(value: Any, out: Sink) -> None:
        if value.get("resourceType") in targets and value.get("id"):
            out.append(ReferenceValue(param, value["resourceType"], value["id"]))

    return extract


def _position(param: str) -> Extract:
    """Return an extractor of a place; numbers that are none on the earth are none."""

    def extract(value: Any, out: Sink) -> None:
        north, east = value.get("latitude"), value.get("longitude")
        if type(north) in _NUMBERS and type(east) in _NUMBERS:
            latitude, longitude = float(north), float(east)
            if abs(latitude) <= 90 and abs(longitude) <= 180:  # noqa: PLR2004 - degrees
                out.append(PositionValue(param, latitude, longitude))

    return extract


_NUMBERS: Final = frozenset({int, Decimal, Lexeme})

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
    **ranges.LEAVES,
    ("special", "Location.position"): _position,
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
