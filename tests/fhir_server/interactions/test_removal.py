"""What is referred to is not deleted; contract, section 8. What was sent wrongly is corrected."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.model import codec
from fhir_server.model.outcome import Conflict
from tests.conftest import FACILITY, World, citizen
from tests.fhir_server.interactions.test_hidden import visit


def consent(patient_id: str, refused: str) -> dict[str, Any]:
    """Return a citizen's Consent that leaves out one resource by its name."""
    data = [{"meaning": "instance", "reference": {"reference": refused}}]
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"code": "patient-privacy"}]},
        "category": [{"text": "x"}],
        "policyRule": {"coding": [{"code": "OPTIN"}]},
        "patient": {"reference": f"Patient/{patient_id}"},
        "provision": {"type": "permit", "provision": [{"type": "deny", "data": data}]},
    }


async def test_a_citizens_consent_hinders_no_correction(world: World) -> None:
    """What it names is not deleted under it, and is marked as an error by whoever sent it."""
    answer = await visit(world, FACILITY, "01999")
    places = [one["response"]["location"].split("/fhir/")[1] for one in answer["entry"]]
    (patient_id, _, seen) = (place.split("/")[1] for place in places)
    body = consent(patient_id, f"Observation/{seen}")
    made = {"resource_type": "Consent", "resource": body, "method": "POST"}
    assert (await world.perform("create", citizen(patient_id), **made)).status == 201
    named: dict[str, Any] = {"resource_type": "Observation", "resource_id": seen}

    with pytest.raises(Conflict):
        await world.perform("delete", method="DELETE", **named)
    shown = await world.perform("read", FACILITY, **named)
    assert shown.version is not None
    wrong = codec.loads(shown.version.body) | {"status": "entered-in-error"}
    corrected = await world.put(wrong, FACILITY)

    assert corrected.version is not None
    assert (corrected.status, corrected.version.version_id) == (200, 2)
