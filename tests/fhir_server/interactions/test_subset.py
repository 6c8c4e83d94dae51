"""Parts of resources: what belongs to a summary, within elements too, and what it refers to."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.interactions.subset import subset_of

CODE = {"text": "c"}


def _part(resource: dict[str, Any], summary: str | None = "true", *elements: str) -> Any:
    found = subset_of(resource, summary, elements)
    assert found.pop("meta")["tag"][0]["code"] == "SUBSETTED"
    return found


def test_a_summary_is_one_within_elements_too() -> None:
    """What is not marked is left out at any depth; what its definition requires is not."""
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": CODE,
        "component": [
            {"id": "c", "code": CODE, "valueString": "v", "_valueString": {"id": "s"}},
            {"code": CODE, "dataAbsentReason": CODE, "interpretation": [CODE]},
        ],
    }
    medication = {
        "resourceType": "Medication",
        "batch": {"lotNumber": "1"},
        "ingredient": [{"itemCodeableConcept": CODE}],
    }
    encounter = {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"code": "AMB"},
        "diagnosis": [{"condition": {"display": "d"}, "use": CODE, "rank": 1}],
        "statusHistory": [{"status": "planned", "period": {}}],
    }

    assert _part(observation)["component"] == [
        {"code": CODE, "valueString": "v", "_valueString": {"id": "s"}},
        {"code": CODE},
    ]
    assert _part(medication) == {"resourceType": "Medication"}
    assert _part(encounter) == {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"code": "AMB"},
        "diagnosis": [{"condition": {"display": "d"}}],
    }


def test_an_element_of_which_nothing_is_left_goes_unless_it_is_required() -> None:
    """An empty element is not valid."""
    statement = {
        "resourceType": "CapabilityStatement",
        "rest": [{"mode": "server", "resource": [{"type": "Patient", "searchParam": [{}]}]}],
        "document": [{"mode": "producer", "documentation": "d", "profile": "p"}],
        "messaging": [{"documentation": "d"}],
        "implementation": {"description": "d"},
    }
    evidence = {
        "resourceType": "EvidenceVariable",
        "status": "draft",
        "characteristic": [{"description": "d"}],
    }

    assert _part(statement) == {
        "resourceType": "CapabilityStatement",
        "rest": [{"mode": "server", "resource": [{"type": "Patient"}]}],
        "document": [{"mode": "producer", "profile": "p"}],
        "implementation": {"description": "d"},
    }
    assert _part(evidence)["characteristic"] == [{"description": "d"}]


@pytest.mark.parametrize(
    ("summary", "elements"), [("true", ()), ("text", ()), (None, ("status",))]
)  # each has what is required: the medication
def test_what_a_part_refers_to_within_the_resource_comes_with_it(
    summary: str | None, elements: tuple[str, ...]
) -> None:
    """And what that refers to; a contained resource that nothing kept refers to does not."""
    med = {
        "resourceType": "Medication",
        "id": "med",
        "manufacturer": {"reference": "#org"},
        "ingredient": [{"itemReference": {"reference": "#med"}}],
    }
    org = {"resourceType": "Organization", "id": "org", "name": "n"}
    other = {"resourceType": "Practitioner", "id": "p"}
    request = {
        "resourceType": "MedicationRequest",
        "contained": [other, med, org],
        "status": "active",
        "intent": "order",
        "medicationReference": {"reference": "#med"},
        "subject": {"reference": "Patient/1"},
        "recorder": {"reference": "#p"},
    }

    assert _part(request, summary, *elements)["contained"] == [med, org]
    assert _part(request, "data")["contained"] == [other, med, org]
