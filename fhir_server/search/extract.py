"""Index values of a resource, by the expressions of its type's search parameters.

https://hl7.org/fhir/R4/searchparameter.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from fhir_server.model.identifiers import CCCD, CCHN, MA_CSKCB, MA_LK, identified
from fhir_server.search.compile import compiled
from fhir_server.search.parameters import R4, Known
from fhir_server.search.place import located
from fhir_server.search.sink import Sink
from fhir_server.search.values import ELSEWHERE, IndexValues, ReferenceValue
from fhir_server.search.words import spoken

_ENTRIES: Final = "entry"
"""A Bundle's resources are its own copies: they refer to one another, not to what is here."""


def index_values(
    resource: dict[str, Any], *, base_url: str = "", known: Known = R4, words: bool = True
) -> IndexValues:
    """Return all that is indexed of a (valid) resource.

    Args:
        resource: The resource, as `model.codec` parses it.
        base_url: The FHIR base; absolute references below it are our own resources.
        known: The search parameters that it is indexed by.
        words: Whether the words of its texts are asked for, too.
    """
    resource_type = resource["resourceType"]
    out = Sink(resource, base_url)
    compiled(resource_type, known)(resource, out)
    _refer_elsewhere(resource, out)
    if words:
        out += spoken(resource)
    patients = tuple(dict.fromkeys(out.patients)) if out.patients else ()
    if resource_type == "Patient" and "id" in resource:
        patients = (resource["id"],)
    unique = _UNIQUE.get(resource_type)
    return IndexValues(tuple(out), patients, unique(resource) if unique else ())


def _refer_elsewhere(resource: dict[str, Any], out: Sink) -> None:
    """Index the literal references that no search parameter of the type has found."""
    said: list[str] = []
    closed = _ENTRIES if resource["resourceType"] == "Bundle" else ""
    for name, value in resource.items():
        if type(value) is dict:
            _said(value, said)
        elif type(value) is list and name != closed:
            for item in value:
                if type(item) is dict:
                    _said(item, said)
    if not said:
        return
    known = {
        (value.resource_type, value.resource_id) for value in out if type(value) is ReferenceValue
    }
    for text in said:
        kind, resource_id, _ = located(text, out.base_url)
        if kind and (kind, resource_id) not in known:
            known.add((kind, resource_id))
            out.append(ReferenceValue(ELSEWHERE, kind, resource_id))


def _said(element: dict[str, Any], said: list[str]) -> None:
    """Add what every Reference in an element says, at any depth (of which there are 100)."""
    text = element.get("reference")
    if type(text) is str:
        said.append(text)
    for value in element.values():
        if type(value) is dict:
            _said(value, said)
        elif type(value) is list:
            for item in value:
                if type(item) is dict:
                    _said(item, said)


def unique_keys(resource: dict[str, Any]) -> tuple[str, ...]:
    """Return the keys `system|value` that only this resource may hold while it is current."""
    unique = _UNIQUE.get(resource["resourceType"])
    return unique(resource) if unique else ()


def _numbers(resource: dict[str, Any], wanted: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for identifier in resource.get("identifier", ()):
        system, value = identified(identifier)
        if system == wanted and value:
            yield value, identifier


def _held(system: str) -> Callable[[dict[str, Any]], tuple[str, ...]]:
    def keys(resource: dict[str, Any]) -> tuple[str, ...]:
        found = (f"{system}|{value}" for value, _ in _numbers(resource, system))
        return tuple(dict.fromkeys(found))

    return keys


def _of_patient(resource: dict[str, Any]) -> tuple[str, ...]:
    # Contract, section 6: at most one active Patient holds a citizen's number.
    if resource.get("active") is False:
        return ()
    numbers = (value for value, item in _numbers(resource, CCCD) if item.get("use") != "old")
    return tuple(dict.fromkeys(f"{CCCD}|{number}" for number in numbers))


_UNIQUE: Final[dict[str, Callable[[dict[str, Any]], tuple[str, ...]]]] = {
    "Patient": _of_patient,
    "Encounter": _held(MA_LK),
    "Organization": _held(MA_CSKCB),
    "Practitioner": _held(CCHN),
}
