"""FHIR elements read leniently: what is not of the expected shape is as if it were absent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache
from typing import Any

from fhir_server.model.identifiers import MA_CSKCB, extension, identified
from fhir_server.model.primitives import date_range, from_micros
from fhir_server.operations.book.values import Coded

Resource = dict[str, Any]


def objects(value: Any) -> Sequence[Resource]:
    """Return the objects of an array, whatever else is in it."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else ()


def as_object(value: Any) -> Resource:
    """Return an object, or an empty one where the value is none."""
    return value if isinstance(value, dict) else {}


@lru_cache(maxsize=8192)
def moment(text: object, *, last: bool = False, whole: bool = False) -> datetime | None:
    """Return a FHIR time as an instant at +07:00; None where it is none.

    Args:
        text: A date or dateTime.
        last: Take a date's last instant; a time of day is the instant that it names.
        whole: Take the last instant of a time of day as well.
    """
    if not isinstance(text, str):
        return None
    try:
        low, high = date_range(text)
        return from_micros(high if last and (whole or "T" not in text) else low)
    except (ValueError, OverflowError):
        return None


def period_days(period: Resource | None) -> tuple[date | None, date | None]:
    """Return the first and last day of a Period."""
    given = as_object(period)
    start, end = moment(given.get("start")), moment(given.get("end"), last=True, whole=True)
    return (start.date() if start else None), (end.date() if end else None)


def coded(concept: Any) -> Coded:
    """Return a CodeableConcept's first code and its text."""
    if not concept:
        return Coded("", "")
    codings = objects(concept.get("coding"))
    code = str(codings[0].get("code", "")) if codings else ""
    text = concept.get("text")
    if not text:
        text = next((one["display"] for one in codings if one.get("display")), code)
    return Coded(code, str(text))


def name_of(person: Resource) -> str:
    """Return a person's name as one line."""
    names = list(objects(person.get("name")))
    usual = next((one for one in names if one.get("use") == "official"), names[0] if names else {})
    parts = [str(usual.get("family", "")), *(str(part) for part in usual.get("given") or ())]
    return str(usual.get("text") or " ".join(part for part in parts if part))


def identifier_of(resource: Resource, system: str) -> str:
    """Return the value of a resource's identifier in a system, or ""; old ones do not count."""
    for one in objects(resource.get("identifier")):
        named, value = identified(one)
        if named == system and one.get("use") != "old":
            return value
    return ""


def extension_of(resource: Resource, name: str) -> Resource:
    """Return one of the project's own extensions of an element, or an empty object."""
    url = extension(name)
    return next((one for one in objects(resource.get("extension")) if one.get("url") == url), {})


def facility_name(element: Any, index: Mapping[str, Resource]) -> str:
    """Return what an Organization or Location is called, else its code."""
    element = element or {}
    identifier = (element.get("identifier") or {}).get("value")
    by_code = index.get(f"{MA_CSKCB}|{identifier}")
    found = index.get(str(element.get("reference", ""))) or by_code or {}
    code = next(
        (
            one.get("value")
            for one in objects(found.get("identifier"))
            if one.get("system") == MA_CSKCB
        ),
        identifier,
    )
    return str(found.get("name") or element.get("display") or code or "")


def facility_code(element: Any, index: Mapping[str, Resource]) -> str:
    """Return the code of a facility that a Reference names, or ""."""
    element = element or {}
    found = index.get(str(element.get("reference", ""))) or element
    code = identifier_of(found, MA_CSKCB)
    return code or str((element.get("identifier") or {}).get("value", ""))
