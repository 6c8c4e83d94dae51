"""A patient to ask, and how the tests ask."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final

from fhir_server.model.fhirpath import expression as fhirpath
from fhir_server.model.fhirpath.environment import Environment

NOW: Final = datetime(2024, 1, 1, 7, 30, 15, 125_999, tzinfo=timezone(timedelta(hours=7)))
CLOCK: Final = Environment(now=NOW)

PATIENT: Final[dict[str, Any]] = {
    "resourceType": "Patient",
    "id": "example",
    "contained": [{"resourceType": "Organization", "id": "o1", "name": "Clinic"}],
    "extension": [
        {"url": "http://example.org/age", "valueAge": {"value": 7, "code": "a"}},
        {"url": "http://example.org/note", "valueString": "first"},
    ],
    "active": True,
    "name": [
        {"use": "official", "family": "An", "given": ["Bình", "Cúc"]},
        {"use": "usual", "given": [None, "Dung"], "_given": [{"id": "g1"}, None]},
    ],
    "birthDate": "1974-12-25",
    "_birthDate": {
        "extension": [{"url": "http://example.org/time", "valueDateTime": "1974-12-25T14:35:45Z"}]
    },
    "multipleBirthInteger": 2,
    "managingOrganization": {"reference": "#o1"},
}

OBSERVATION: Final[dict[str, Any]] = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}], "text": "Weight"},
    "valueQuantity": {
        "value": Decimal("72.50"),
        "unit": "kg",
        "system": "http://unitsofmeasure.org",
        "code": "kg",
    },
    "component": [
        {"valueQuantity": {"value": 1, "unit": "viên"}},
        {"valueQuantity": {"value": 2, "unit": "viên"}},
        {"valueInteger": 3},
    ],
}


def ask(
    text: str, resource: dict[str, Any] = PATIENT, environment: Environment = CLOCK
) -> list[Any]:
    """Return what an expression gives, values of FHIRPath's as the text that they show."""
    found = fhirpath.compile(text).evaluate(resource, environment)
    plain = (bool, int, Decimal, str, dict)
    return [value if isinstance(value, plain) else str(value) for value in found]
