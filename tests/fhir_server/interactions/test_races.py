"""Many clients at once, of two processes over one store: nothing lost, nothing twice.

Each kind of store is opened twice, as by two servers; the memory's one takes a turn of the loop
before each answer, so that clients overtake one another.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from fhir_server.interactions.context import FhirResult
from fhir_server.model import codec
from fhir_server.model.outcome import Duplicate, FhirError, PreconditionFailed
from tests.conftest import World
from tests.fhir_server.interactions.test_transaction import bundle, entry
from tests.fhir_server.interactions.test_writes import observation, patient

CLIENTS = 50
MRN = "http://example.org/mrn"
CONDITION = f"identifier={MRN}|1"
Result = FhirResult | FhirError
Two = tuple[World, World]


async def race(two: Two, ask: Callable[[World, int], Awaitable[Any]]) -> list[Any]:
    """Let fifty clients ask at once, by turns of either server; refusals are results too."""

    async def one(number: int) -> Any:
        try:
            return await ask(two[number % 2], number)
        except FhirError as refusal:
            return refusal

    return await asyncio.gather(*(one(number) for number in range(CLIENTS)))


def statuses(results: list[Any]) -> Counter[int]:
    """Return how many were answered with which status."""
    return Counter(one.status for one in results)


async def versions(two: Two, kind: str, identity: str) -> list[int]:
    """Return the version numbers of a resource, the newest first."""
    (page,) = [await two[0].store.history(kind, identity, count=1000)]
    return [version.version_id for version in page.versions]


async def current(two: Two, kind: str, identity: str) -> dict[str, Any]:
    """Return a resource as it is."""
    version = await two[1].store.read(kind, identity)
    assert version is not None
    return codec.loads(version.body)


async def test_fifty_clients_on_one_conditional_create_make_one(two: Two) -> None:
    """One answers 201, the others 200 with the same resource."""
    results = await race(
        two,
        lambda world, number: world.perform(
            "create",
            resource_type="Patient",
            resource=patient(name=[{"text": f"n{number}"}]),
            if_none_exist=CONDITION,
        ),
    )

    assert statuses(results) == {200: CLIENTS - 1, 201: 1}
    assert len({one.location for one in results}) == 1
    assert await two[0].store.count("Patient") == 1


async def test_fifty_clients_on_one_if_match_make_one_version(two: Two) -> None:
    """One update wins, the others are 412."""
    await two[0].put(patient() | {"id": "a"})

    results = await race(
        two,
        lambda world, number: world.perform(
            "update",
            resource_type="Patient",
            resource_id="a",
            resource=patient(f"v{number}") | {"id": "a"},
            if_match=1,
        ),
    )

    assert statuses(results) == {200: 1, 412: CLIENTS - 1}
    assert all(isinstance(one, FhirResult | PreconditionFailed) for one in results)
    assert await versions(two, "Patient", "a") == [2, 1]
    (winner,) = [n for n, one in enumerate(results) if one.status == 200]
    assert (await current(two, "Patient", "a"))["identifier"][0]["value"] == f"v{winner}"


async def test_fifty_updates_without_if_match_are_fifty_versions(two: Two) -> None:
    """Without If-Match each update is made on top of the one before; none is lost."""
    await two[0].put(patient() | {"id": "a"})

    results = await race(two, lambda world, number: world.put(patient(f"v{number}") | {"id": "a"}))

    made = sorted(one.version.version_id for one in results)
    assert made == list(range(2, CLIENTS + 2))
    assert await versions(two, "Patient", "a") == list(range(CLIENTS + 1, 0, -1))


async def test_fifty_conditional_updates_make_one_resource(two: Two) -> None:
    """Where none matches, one makes it, and the others are its next versions."""
    results = await race(
        two,
        lambda world, number: world.perform(
            "update",
            resource_type="Patient",
            query=(("identifier", f"{MRN}|1"),),
            resource=patient(name=[{"text": f"n{number}"}]),
            method="PUT",
        ),
    )

    assert statuses(results) == {201: 1, 200: CLIENTS - 1}
    assert await two[0].store.count("Patient") == 1
    assert sorted(one.version.version_id for one in results) == list(range(1, CLIENTS + 1))


async def test_fifty_patches_all_stay(two: Two) -> None:
    """Each patch sees what those before it made: a name of each is there in the end."""
    await two[0].put(patient(name=[{"text": "first"}]) | {"id": "a"})

    results = await race(
        two,
        lambda world, number: world.perform(
            "patch",
            resource_type="Patient",
            resource_id="a",
            raw=codec.dumps([{"op": "add", "path": "/name/-", "value": {"text": f"n{number}"}}]),
            content_type="application/json-patch+json",
            method="PATCH",
        ),
    )

    assert statuses(results) == {200: CLIENTS}
    names = {one["text"] for one in (await current(two, "Patient", "a"))["name"]}
    assert names == {"first", *(f"n{number}" for number in range(CLIENTS))}


async def test_fifty_deletes_make_one_deletion(two: Two) -> None:
    """All are 204, and the resource was deleted once."""
    await two[0].put(patient() | {"id": "a"})

    results = await race(
        two,
        lambda world, _: world.perform(
            "delete", resource_type="Patient", resource_id="a", method="DELETE"
        ),
    )

    assert statuses(results) == {204: CLIENTS}
    assert await versions(two, "Patient", "a") == [2, 1]
    assert await two[0].store.count("Patient") == 0


async def test_fifty_conditional_deletes_make_one_deletion(two: Two) -> None:
    """All end well, and each match was deleted once."""
    for identity in ("a", "b"):
        await two[0].put(patient() | {"id": identity})

    results = await race(
        two,
        lambda world, _: world.perform(
            "delete", resource_type="Patient", query=(("identifier", f"{MRN}|1"),), method="DELETE"
        ),
    )

    assert {one.status for one in results} <= {200, 204}
    assert await versions(two, "Patient", "a") == [2, 1]
    assert await versions(two, "Patient", "b") == [2, 1]


async def test_updates_and_deletes_of_one_are_all_versions(two: Two) -> None:
    """Each update that was answered is a version; none stands twice, none is left out."""
    await two[0].put(patient() | {"id": "a"})

    async def ask(world: World, number: int) -> Result:
        if number % 5 == 0:
            return await world.perform(
                "delete", resource_type="Patient", resource_id="a", method="DELETE"
            )
        return await world.put(patient(f"v{number}") | {"id": "a"})

    results = await race(two, ask)

    assert statuses(results).keys() <= {200, 201, 204}
    updates = [one.version.version_id for one in results if one.status != 204]
    history = await versions(two, "Patient", "a")
    assert history == list(range(len(history), 0, -1))
    assert len(set(updates)) == len(updates) == CLIENTS * 4 // 5
    page = await two[1].store.history("Patient", "a", count=1000)
    there = {version.version_id for version in page.versions if not version.deleted}
    assert there == {1, *updates}


async def test_a_delete_and_those_that_refer(two: Two) -> None:
    """Either the delete is refused for what refers, or it came first; never both halves."""
    await two[0].put(patient() | {"id": "a"})
    batch = codec.dumps(
        bundle(
            entry("POST", "Observation", observation("Patient/a")),
            entry("GET", "Patient/a"),
        )
    )

    async def ask(world: World, number: int) -> Any:
        if number % 10 == 5:
            return await world.perform(
                "delete", resource_type="Patient", resource_id="a", method="DELETE"
            )
        await world.transaction(codec.loads(batch))
        return FhirResult(status=201)

    results = await race(two, ask)

    deleted = any(one.status == 204 for one in results)
    made = statuses(results)[201]
    assert await two[0].store.count("Observation") == made, statuses(results)
    assert await two[0].store.count("Patient") == int(not deleted)
    assert not (deleted and made)


async def test_fifty_transactions_share_what_they_condition(two: Two) -> None:
    """Fifty Bundles with one conditional Patient make one Patient and fifty Observations."""
    urn = "urn:uuid:11111111-1111-4111-8111-111111111111"
    asked = codec.dumps(
        bundle(
            entry("POST", "Patient", patient(), full_url=urn, ifNoneExist=CONDITION),
            entry("POST", "Observation", observation(urn)),
        )
    )

    answers = await race(two, lambda world, _: world.transaction(codec.loads(asked)))

    assert {one["type"] for one in answers} == {"transaction-response"}
    assert await two[0].store.count("Patient") == 1
    assert await two[0].store.count("Observation") == CLIENTS


async def test_of_fifty_transactions_on_one_version_one_is_made_whole(two: Two) -> None:
    """All but one are refused by the If-Match of one entry, and leave nothing of the others."""
    await two[0].put(patient() | {"id": "a"})

    async def ask(world: World, number: int) -> Any:
        return await world.transaction(
            bundle(
                entry("POST", "Observation", observation("Patient/a")),
                entry("PUT", "Patient/a", patient(f"v{number}") | {"id": "a"}, ifMatch='W/"1"'),
                entry("PUT", f"Patient/n{number}", patient(f"n{number}") | {"id": f"n{number}"}),
            )
        )

    results = await race(two, ask)

    refused = [one for one in results if isinstance(one, FhirError)]
    assert statuses(refused) == {412: CLIENTS - 1}
    assert await two[0].store.count("Observation") == 1
    assert await two[0].store.count("Patient") == 2
    assert await versions(two, "Patient", "a") == [2, 1]


async def test_transactions_that_cross_lose_nothing(two: Two) -> None:
    """Bundles that write the same resources in opposite orders all come to an end, each whole."""
    for identity in ("a", "b"):
        await two[0].put(patient() | {"id": identity})

    async def ask(world: World, number: int) -> Any:
        names = ("a", "b") if number % 4 < 2 else ("b", "a")
        return await world.transaction(
            bundle(*(
                entry("PUT", f"Patient/{one}", patient(f"v{number}") | {"id": one})
                for one in names
            ))
        )  # fmt: skip

    answers = await race(two, ask)

    assert not [one for one in answers if isinstance(one, FhirError)]
    assert await versions(two, "Patient", "a") == list(range(CLIENTS + 1, 0, -1))
    assert await versions(two, "Patient", "b") == list(range(CLIENTS + 1, 0, -1))
    last = [(await current(two, "Patient", one))["identifier"][0]["value"] for one in "ab"]
    assert last[0] == last[1]


async def test_one_number_goes_to_one_of_fifty(two: Two) -> None:
    """Plain creates with one citizen's number: one holds it, the others are 409."""
    number = [{"system": "http://fhir.hl7.org.vn/core/sid/cccd", "value": "001195012345"}]

    results = await race(
        two,
        lambda world, _: world.perform(
            "create",
            resource_type="Patient",
            resource={"resourceType": "Patient", "identifier": number},
        ),
    )

    assert statuses(results) == {201: 1, 409: CLIENTS - 1}
    assert sum(isinstance(one, Duplicate) for one in results) == CLIENTS - 1
