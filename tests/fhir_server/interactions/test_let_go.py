"""What a facility no longer sees once its visit is another Patient's; contract, section 6."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.model import codec
from fhir_server.model.outcome import UnknownResource
from fhir_server.store.port import Batch, Store, Tag
from tests.conftest import FACILITY, World
from tests.fhir_server.interactions.test_writes import patient


def encounter(of: str) -> dict[str, Any]:
    """Return a visit of a Patient."""
    system = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
    return {
        "resourceType": "Encounter",
        "id": "v",
        "status": "finished",
        "class": {"system": system, "code": "AMB"},
        "subject": {"reference": f"Patient/{of}"},
    }


async def own(world: World, *resources: dict[str, Any]) -> None:
    """Store resources that the facility sees."""
    for one in resources:
        await world.put(one)
    names = [(one["resourceType"], one["id"]) for one in resources]
    tags = tuple(Tag(*name, frozenset({FACILITY.tag})) for name in names)
    await world.store.commit(Batch(tags=tags))


async def test_a_visit_of_a_patient_who_never_was_is_corrected(each_store: Store) -> None:
    """A facility gives it to a Patient that it sees: there is no grant to be taken away first."""
    world = World(store=each_store)
    await own(world, encounter("never"), patient("1") | {"id": "a"})

    assert (await world.put(encounter("a"), FACILITY)).status == 200

    shown = await world.perform("read", FACILITY, resource_type="Encounter", resource_id="v")
    assert shown.version is not None
    assert codec.loads(shown.version.body)["subject"] == {"reference": "Patient/a"}


async def test_a_visit_of_one_who_was_deleted_is_corrected(each_store: Store) -> None:
    """The grant goes from what was deleted too: its history is shown no more."""
    world = World(store=each_store)
    await own(world, patient("1") | {"id": "a"}, patient("2") | {"id": "gone"})
    await world.perform("delete", resource_type="Patient", resource_id="gone", method="DELETE")
    await own(world, encounter("gone"))

    assert (await world.put(encounter("a"), FACILITY)).status == 200

    with pytest.raises(UnknownResource):
        await world.perform("read", FACILITY, resource_type="Patient", resource_id="gone")
