"""Many clients at once: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
from typing import Any

from fhir_server.interactions.context import FhirResult
from fhir_server.model import codec
from fhir_server.model.outcome import Duplicate, FhirError, PreconditionFailed
from fhir_server.store.memory import MemoryStore
from tests.conftest import World
from tests.fhir_server.interactions.test_transaction import bundle, entry
from tests.fhir_server.interactions.test_writes import observation, patient

CLIENTS = 50


class SlowStore(MemoryStore):
    """A store whose answers take a turn of the loop, so that clients overtake one another."""

    async def commit(self, batch: Any) -> None:
        """Commit after others had their turn."""
        await asyncio.sleep(0)
        await super().commit(batch)

    async def search(self, search: Any) -> Any:
        """Answer after others had their turn."""
        page = await super().search(search)
        await asyncio.sleep(0)
        return page

    async def read_many(self, names: Any) -> Any:
        """Answer after others had their turn."""
        versions = await super().read_many(names)
        await asyncio.sleep(0)
        return versions


def slow() -> World:
    """Return a world over a slow store."""
    return World(store=SlowStore())


async def test_fifty_clients_on_one_conditional_create_make_one() -> None:
    """One answers 201, the others 200 with the same resource."""
    world = slow()

    results = await asyncio.gather(
        *(
            world.perform(
                "create",
                resource_type="Patient",
                resource=patient(),
                if_none_exist="identifier=http://example.org/mrn|1",
            )
            for _ in range(CLIENTS)
        )
    )

    assert sorted(r.status for r in results) == [200] * (CLIENTS - 1) + [201]
    assert len({r.location for r in results}) == 1
    assert await world.store.count("Patient") == 1


async def test_fifty_clients_on_one_if_match_make_one_version() -> None:
    """One update wins, the others are 412."""
    world = slow()
    await world.put(patient() | {"id": "a"})

    results = await asyncio.gather(
        *(
            world.perform(
                "update",
                resource_type="Patient",
                resource_id="a",
                resource=patient(f"v{n}") | {"id": "a"},
                if_match=1,
            )
            for n in range(CLIENTS)
        ),
        return_exceptions=True,
    )

    won = [r for r in results if isinstance(r, FhirResult)]
    assert len(won) == 1
    assert all(isinstance(r, PreconditionFailed) for r in results if r not in won)
    current = await world.store.read("Patient", "a")
    assert current is not None
    assert current.version_id == 2


async def test_fifty_updates_without_if_match_are_fifty_versions() -> None:
    """Without If-Match each update is made on top of the one before; none is lost."""
    world = slow()
    await world.put(patient() | {"id": "a"})

    results = await asyncio.gather(
        *(world.put(patient(f"v{n}") | {"id": "a"}) for n in range(CLIENTS))
    )

    versions = sorted(r.version.version_id for r in results if r.version)
    assert versions == list(range(2, CLIENTS + 2))


async def test_fifty_transactions_share_what_they_condition() -> None:
    """Fifty Bundles with one conditional Patient make one Patient and fifty Observations."""
    world = slow()
    urn = "urn:uuid:11111111-1111-4111-8111-111111111111"
    asked = codec.dumps(
        bundle(
            entry(
                "POST", "Patient", patient(), full_url=urn,
                ifNoneExist="identifier=http://example.org/mrn|1",
            ),
            entry("POST", "Observation", observation(urn)),
        )
    )  # fmt: skip

    await asyncio.gather(*(world.transaction(codec.loads(asked)) for _ in range(CLIENTS)))

    assert await world.store.count("Patient") == 1
    assert await world.store.count("Observation") == CLIENTS


async def test_one_number_goes_to_one_of_fifty() -> None:
    """Plain creates with one citizen's number: one holds it, the others are 409."""
    world = slow()
    number = [{"system": "http://fhir.hl7.org.vn/core/sid/cccd", "value": "001195012345"}]

    async def create() -> FhirResult | FhirError:
        try:
            return await world.perform(
                "create",
                resource_type="Patient",
                resource={"resourceType": "Patient", "identifier": number},
            )
        except FhirError as refusal:
            return refusal

    results = await asyncio.gather(*(create() for _ in range(CLIENTS)))

    assert sum(isinstance(r, FhirResult) for r in results) == 1
    assert sum(isinstance(r, Duplicate) for r in results) == CLIENTS - 1
