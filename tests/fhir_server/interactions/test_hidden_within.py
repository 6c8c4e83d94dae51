"""What is hidden of a resource is hidden of one that is contained in another, too."""

from __future__ import annotations

from typing import Any

import pytest

from auth.principal import Principal
from fhir_server.interactions.context import FhirResult
from fhir_server.model import codec
from fhir_server.model.identifiers import CCCD, MA_BN, MA_CSKCB, PAYER
from fhir_server.store.port import Batch
from fhir_server.validation.structure import validate
from tests.conftest import FACILITY, World
from tests.contracts.making import made
from tests.fhir_server.interactions.test_elsewhere import number

INSURER = Principal(
    kind="payer", client_id="insurer-bhxh", code="BHXH", display="BHXH", scopes=("system/*.rs",)
)
CODE = {"text": "a drug"}
PERSON: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "person",
    "identifier": [
        {"system": CCCD, "value": "001195012345"}, number("01999"), number("79999"),
    ],
    "name": [{"text": "NGUYỄN THỊ MẪU"}],
    "telecom": [{"system": "phone", "value": "0912345678"}],
    "address": [{"text": "at home"}],
    "managingOrganization": {"reference": "#clinic"},
    "birthDate": "1995-03-07",
}  # fmt: skip
CLINIC = {"resourceType": "Organization", "id": "clinic", "name": "a clinic"}
DRUG = {"resourceType": "Medication", "id": "drug", "code": CODE}
STORY = {
    "resourceType": "Observation",
    "id": "story",
    "status": "final",
    "code": {"text": "what was told"},
}
PRESCRIPTION: dict[str, Any] = {
    "resourceType": "MedicationRequest",
    "id": "rx",
    "contained": [PERSON, CLINIC, DRUG, STORY],
    "status": "active",
    "intent": "order",
    "medicationReference": {"reference": "#drug"},
    "subject": {"reference": "#person"},
    "reasonReference": [{"reference": "#story", "display": "told"}],
}
HIDDEN = ("0912345678", "at home", "BN-01999", "BN-79999", "a clinic", "what was told", "#story")


@pytest.fixture
async def prescribed(world: World) -> World:
    """A Claim that names a MedicationRequest, which contains its Patient, drug and reason."""
    coding = {
        "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "X"}]
    }
    coverage = {
        "resourceType": "Coverage",
        "id": "card",
        "status": "active",
        "beneficiary": {"reference": "Patient/p"},
        "payor": [{"identifier": {"system": PAYER, "value": "BHXH"}}],
    }
    claim = {
        "resourceType": "Claim",
        "id": "claim",
        "status": "active",
        "type": coding,
        "use": "claim",
        "patient": {"reference": "Patient/p"},
        "created": "2026-11-27",
        "provider": {"display": "h"},
        "priority": coding,
        "insurance": [{"sequence": 1, "focal": True, "coverage": {"reference": "Coverage/card"}}],
        "prescription": {"reference": "MedicationRequest/rx"},
    }
    for one in ({"resourceType": "Patient", "id": "p"}, PRESCRIPTION, coverage, claim):
        await world.put(one)
    return world


def shown(result: FhirResult) -> dict[str, Any]:
    """Return the resource that is answered."""
    body = result.body or (result.version.body if result.version else b"")
    resource: dict[str, Any] = codec.loads(body)
    return resource


@pytest.mark.parametrize(
    "query", [(), (("_summary", "true"),), (("_elements", "subject,reasonReference"),)]
)
async def test_a_payer_sees_of_it_what_the_claim_needs(
    prescribed: World, query: tuple[tuple[str, str], ...]
) -> None:
    """Who and which drug; nothing else of the person, no reason, and nothing says there was one."""
    result = await prescribed.perform(
        "read", INSURER, resource_type="MedicationRequest", resource_id="rx", query=query
    )

    resource = shown(result)
    text = codec.dumps(resource).decode()
    assert [word for word in HIDDEN if word in text] == []
    within = {one["id"]: one for one in resource["contained"]}
    assert set(within) == {"person", "drug"}
    assert [one["value"] for one in within["person"]["identifier"]] == ["001195012345"]
    assert within["drug"] == DRUG
    assert "reasonReference" not in resource
    assert validate(resource) == []


async def test_a_payer_that_searches_sees_no_more(prescribed: World) -> None:
    """Search and include are other ways out."""
    for kind, query in (("MedicationRequest", ()), ("Claim", (("_include", "*"),))):
        result = await prescribed.perform("search-type", INSURER, resource_type=kind, query=query)

        text = (result.body or b"").decode()
        assert "a drug" in text
        assert [word for word in HIDDEN if word in text] == []


@pytest.fixture
async def fields(world: World) -> dict[str, Any]:
    """Name a MedicationRequest of a visit at 01999, in which a number of 79999 stands."""
    visit = {
        "resourceType": "Encounter",
        "id": "visit",
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": "Patient/p"},
        "serviceProvider": {"identifier": {"system": MA_CSKCB, "value": "01999"}},
    }
    request = PRESCRIPTION | {"encounter": {"reference": "Encounter/visit"}}
    written = ({"resourceType": "Patient", "id": "p"}, visit, request)
    await world.store.commit(Batch(writes=[made(one, tags=(FACILITY.tag,)) for one in written]))
    return {"resource_type": "MedicationRequest", "resource_id": "rx"}


@pytest.mark.parametrize("query", [(), (("_summary", "true"),)])
async def test_a_facility_sees_no_number_of_another(
    world: World, fields: dict[str, Any], query: tuple[tuple[str, str], ...]
) -> None:
    """Its own, and the person's papers, are there."""
    seen = shown(await world.perform("read", FACILITY, **fields, query=query))

    text = codec.dumps(seen).decode()
    assert "BN-01999" in text
    assert "001195012345" in text
    assert "79999" not in text


async def test_what_a_facility_writes_back_keeps_what_it_did_not_see(
    world: World, fields: dict[str, Any]
) -> None:
    """As of a Patient itself."""
    seen = shown(await world.perform("read", FACILITY, **fields))

    await world.perform("update", FACILITY, **fields, resource=seen | {"status": "stopped"})

    stored = await world.store.read("MedicationRequest", fields["resource_id"])
    assert stored is not None
    kept = codec.loads(stored.body)
    (person,) = [one for one in kept["contained"] if one["id"] == "person"]
    assert kept["status"] == "stopped"
    assert {one["system"] for one in person["identifier"]} == {
        CCCD, MA_BN + "01999", MA_BN + "79999",
    }  # fmt: skip
