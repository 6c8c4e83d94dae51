"""Required bindings: whether a code is one of those that an element must have.

https://hl7.org/fhir/R4/terminologies.html#required
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Final

from fhir_server.model import definitions

# Value sets that are no list in HL7's definitions, but have a form: ISO 4217.
_SHAPES: Final = {
    "http://hl7.org/fhir/ValueSet/currencies": re.compile(r"[A-Z]{3}").fullmatch,
}
CODED: Final = frozenset({"code", "Coding", "CodeableConcept"})


@cache
def codes(url: str) -> frozenset[str] | None:
    """Return the codes of a value set whatever their system, None where it is no list."""
    members = definitions.value_set(url)
    return None if members is None else frozenset().union(*members.values())


def has_code(url: str, code: str) -> bool:
    """Tell whether an element of type code may have this one; True where that is not known."""
    shape = _SHAPES.get(url)
    if shape is not None:
        return shape(code) is not None
    allowed = codes(url)
    return allowed is None or code in allowed


def has_coding(url: str, coding: Any) -> bool:
    """Tell whether a Coding is a member of a value set; True where that is not known."""
    members = definitions.value_set(url)
    if members is None:
        return True
    if not isinstance(coding, dict):
        return False
    system, code = coding.get("system"), coding.get("code")
    if not isinstance(system, str) or not isinstance(code, str):
        return False
    return code in members.get(system, ())


def has_concept(url: str, concept: Any) -> bool:
    """Tell whether one coding of a CodeableConcept is a member, as a required binding asks.

    A concept without codings, but with an extension, says why it has none.
    """
    if not isinstance(concept, dict):
        return True  # its shape is refused elsewhere
    codings = concept.get("coding")
    if not isinstance(codings, list):
        return "extension" in concept or definitions.value_set(url) is None
    for coding in codings:  # noqa: SIM110 - a loop is faster than any() of a generator
        if has_coding(url, coding):
            return True
    return False


def is_bound(url: str, type_: str, value: Any) -> bool:
    """Tell whether a value of a type obeys a required binding."""
    if type_ == "code":
        return not isinstance(value, str) or has_code(url, value)
    if type_ == "Coding":
        return has_coding(url, value)
    if type_ == "CodeableConcept":
        return has_concept(url, value)
    return True
