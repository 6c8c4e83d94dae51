"""The label of HIV data is the server's to set, on every way in (contract section 6)."""

from __future__ import annotations

from typing import Any

import pytest

from auth.principal import SYSTEM, Principal
from fhir_server.interactions.transaction import run_transaction
from fhir_server.model import codec
from fhir_server.model.sensitivity import LABEL
from tests.conftest import FACILITY, World

ICD = "http://hl7.org/fhir/sid/icd-10"
HIV: dict[str, Any] = {"coding": [{"system": ICD, "code": "B20.0"}]}
FEVER: dict[str, Any] = {"coding": [{"system": ICD, "code": "R50.9"}]}


def condition(code: dict[str, Any] = HIV, **more: Any) -> dict[str, Any]:
    """Return a Condition of the patient p."""
    return {
        "resourceType": "Condition",
        "subject": {"reference": "Patient/p"},
        "code": code,
        **more,
    }


def labels(body: bytes) -> list[Any]:
    """Return the security labels of a stored resource."""
    found: list[Any] = codec.loads(body).get("meta", {}).get("security", [])
    return found


async def stored(world: World, kind: str, identity: str) -> bytes:
    """Return the bytes of a current version."""
    version = await world.store.read(kind, identity)
    assert version is not None
    return version.body


CLAIM: dict[str, Any] = {
    "resourceType": "Claim", "status": "active", "use": "claim", "created": "2024-01-01",
    "type": {"text": "in"}, "patient": {"reference": "Patient/p"},
    "provider": {"display": "01999"}, "priority": {"text": "normal"},
    "insurance": [{"sequence": 1, "focal": True, "coverage": {"display": "card"}}],
    "diagnosis": [{"sequence": 1, "diagnosisCodeableConcept": HIV}],
}  # fmt: skip
ENCOUNTER: dict[str, Any] = {
    "resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"},
    "subject": {"reference": "Patient/p"}, "reasonCode": [HIV],
}  # fmt: skip


@pytest.mark.parametrize("resource", [condition(), CLAIM, ENCOUNTER])
async def test_what_has_such_a_code_is_labelled(world: World, resource: dict[str, Any]) -> None:
    """A create, an update as create, and an entry of a Bundle are labelled, and found by it."""
    kind = resource["resourceType"]
    created = await world.perform("create", resource_type=kind, resource=resource)
    await world.put(resource | {"id": "put"})
    entry = {"resource": resource, "request": {"method": "POST", "url": kind}}
    await world.transaction({"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    await world.transaction({"resourceType": "Bundle", "type": "batch", "entry": [entry]})

    assert created.version is not None
    assert labels(created.version.body) == [LABEL]
    assert labels(await stored(world, kind, "put")) == [LABEL]
    query = (("_security", f"{LABEL['system']}|HIV"), ("_summary", "count"))
    found = await world.perform("search-type", resource_type=kind, query=query)
    assert codec.loads(found.body or b"")["total"] == 4


async def test_other_content_is_not_labelled(world: World) -> None:
    """A fever has no label."""
    created = await world.perform("create", resource_type="Condition", resource=condition(FEVER))

    assert created.version is not None
    assert labels(created.version.body) == []


async def test_an_update_does_not_strip_the_label(world: World) -> None:
    """The label stays while the content asks for it; the same content again is no version."""
    await world.put(condition(id="c"))
    again = await world.put(condition(id="c"))
    changed = await world.put(condition(id="c", recordedDate="2024-01-01"))

    assert (again.status, again.version and again.version.version_id) == (200, 1)
    assert changed.version is not None
    assert changed.version.version_id == 2
    assert labels(changed.version.body) == [LABEL]


async def test_the_label_goes_with_the_code(world: World) -> None:
    """A code that was wrong is mended, and nothing asks for the label any more."""
    await world.put(condition(id="c"))
    mended = await world.put(condition(FEVER, id="c"))

    assert mended.version is not None
    assert labels(mended.version.body) == []


@pytest.mark.parametrize(("caller", "kept"), [(FACILITY, [LABEL]), (SYSTEM, [])])
async def test_a_line_labelled_for_its_visit(
    world: World, caller: Principal, kept: list[Any]
) -> None:
    """A line without such a code is labelled for its visit: a facility's update keeps that."""
    patient = {"resourceType": "Patient", "id": "p"}
    encounter = {
        "resourceType": "Encounter", "id": "e", "status": "finished", "class": {"code": "AMB"},
        "subject": {"reference": "Patient/p"},
    }  # fmt: skip
    line = condition(FEVER, id="line", encounter={"reference": "Encounter/e"})
    entries = [
        {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
        for one in (patient, encounter, line | {"meta": {"security": [LABEL]}})
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    await run_transaction(world.context(), bundle, tag_all=frozenset({FACILITY.tag or ""}))

    await world.put(line | {"recordedDate": "2024-01-01"}, caller)

    assert labels(await stored(world, "Condition", "line")) == kept
