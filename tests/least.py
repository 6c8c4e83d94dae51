"""The least that a valid resource of each type of R4 holds, made of its definition."""

from __future__ import annotations

from typing import Any, Final

from fhir_server.model.definitions import RESOURCE_TYPES, Element, properties
from fhir_server.validation.terminology import codes

Resource = dict[str, Any]

_PRIMITIVES: Final[dict[str, Any]] = {
    "boolean": True, "integer": 1, "decimal": 1, "unsignedInt": 1, "positiveInt": 1,
    "date": "2024-01-01", "dateTime": "2024-01-01", "instant": "2024-01-01T00:00:00Z",
    "uri": "urn:x", "url": "http://example.org", "canonical": "http://example.org/c",
    "base64Binary": "eA==",
}  # fmt: skip
"""A value of each primitive type that `x` is none of."""

_TEXT: Final = {"text": "x"}
_ITEM: Final = {"type": "source", "resource": {"reference": "Basic/x"}}
_BESIDE: Final[dict[str, Resource]] = {
    "AllergyIntolerance": {
        "clinicalStatus": {
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical",
                    "code": "active",
                }
            ]
        }
    },
    "Appointment": {
        "status": "proposed", "participant": [{"status": "accepted", "type": [_TEXT]}],
    },
    "AppointmentResponse": {"participantType": [_TEXT]},
    "CapabilityStatement": {"rest": [{"mode": "server"}], "description": "x"},
    "Consent": {"policyRule": _TEXT},
    "ImmunizationRecommendation": {
        "recommendation": [{"forecastStatus": _TEXT, "vaccineCode": [_TEXT]}]
    },
    "InsurancePlan": {"name": "x"},
    "Linkage": {"item": [_ITEM, _ITEM]},
    "Organization": {"name": "x"},
    # One that is active would be a parameter of the store.
    "SearchParameter": {"status": "draft"},
}  # fmt: skip
"""What an invariant, or a test, wants besides, by type."""


def least(kind: str) -> Resource:
    """Return a valid resource of a type, with what it must have and nothing else."""
    return {"resourceType": kind, **_must(kind), **_BESIDE.get(kind, {})}


def _must(path: str) -> Resource:
    """Return what must be in a type or backbone; of a choice the first of its types."""
    made: Resource = {}
    done: set[str] = set()
    for name, one in properties(path).items():
        if one.element.min and one.element.name not in done:
            done.add(one.element.name)
            value = _value(one.element, one.type, is_primitive=one.is_primitive)
            made[name] = [value] if one.element.is_many else value
    return made


def _value(element: Element, type_: str, *, is_primitive: bool) -> Any:
    if is_primitive:
        bound = codes(element.binding) if element.binding else None
        return min(bound) if bound else _PRIMITIVES.get(type_, "x")
    if type_ == "Reference":
        return {"reference": f"{min(element.targets or RESOURCE_TYPES)}/x"}
    if type_ == "Resource":
        return least("Basic")
    return _must(type_) or {"extension": [{"url": "http://example.org/e", "valueCode": "x"}]}
