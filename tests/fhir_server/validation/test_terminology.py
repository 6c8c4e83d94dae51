"""Required bindings."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.validation.terminology import codes, has_code, is_bound

GENDER = "http://hl7.org/fhir/ValueSet/administrative-gender"
CLINICAL = "http://hl7.org/fhir/ValueSet/condition-clinical"
CURRENCY = "http://hl7.org/fhir/ValueSet/currencies"
MIME = "http://hl7.org/fhir/ValueSet/mimetypes"
SYSTEM = "http://terminology.hl7.org/CodeSystem/condition-clinical"
ACTIVE = {"system": SYSTEM, "code": "active"}


def test_codes_of_a_list() -> None:
    """A list has codes; an open set has none to compare with."""
    assert codes(GENDER) == {"male", "female", "other", "unknown"}
    assert codes(MIME) is None


@pytest.mark.parametrize(
    ("url", "type_", "value", "expected"),
    [
        (GENDER, "code", "male", True),
        (GENDER, "code", "Male", False),
        (GENDER, "code", 1, True),
        (MIME, "code", "x/y", True),
        (CURRENCY, "code", "VND", True),
        (CURRENCY, "code", "VNDX", False),
        (CLINICAL, "Coding", ACTIVE, True),
        (CLINICAL, "Coding", {"code": "active"}, False),
        (CLINICAL, "Coding", "active", False),
        (CLINICAL, "CodeableConcept", {"coding": [{"system": "x", "code": "y"}, ACTIVE]}, True),
        (CLINICAL, "CodeableConcept", {"coding": [{"system": SYSTEM, "code": "y"}]}, False),
        (CLINICAL, "CodeableConcept", {"text": "active"}, False),
        (CLINICAL, "CodeableConcept", {"extension": [{}]}, True),
        (CLINICAL, "CodeableConcept", "active", True),
        (MIME, "CodeableConcept", {"text": "x"}, True),
        (MIME, "Coding", {"code": "x"}, True),
        (CLINICAL, "Quantity", {}, True),
    ],
)
def test_a_binding_is_kept_or_not(url: str, type_: str, value: Any, expected: bool) -> None:  # noqa: FBT001
    """A code must be in the list; of a concept, one coding; other shapes are refused elsewhere."""
    assert is_bound(url, type_, value) is expected


def test_an_unknown_value_set_refuses_nothing() -> None:
    """What we do not know, we do not refuse."""
    assert has_code("http://example.org/x", "anything")
