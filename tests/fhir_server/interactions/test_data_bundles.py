"""The good and bad Bundles that another server's makers published (`bundles/` of TEST_DATA)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx2 as httpx
import pytest

from fhir_server.model import codec
from tests.conftest import World

pytestmark = pytest.mark.data

GOOD = {
    "TransactionWithAllValidRoutes": "201 201 201 201 200 200",
    "TransactionWithConditionalReferenceInResourceBody": "201 201",
    "TransactionWithForeignReferenceInResourceBody": "201",
    "TransactionWithMetaHistory": "201",
    "TransactionWithPOSTFullUrlMatchesWithPUTRequestUrl": "201 201",
    "TransactionWithValidBundleEntry": "201 201 201 201",
    "Batch": "201 201 201 201 412 204 204 404 200 404",
    "BatchWithInvalidEleEnums": "422 201 422 201 412 204 204 404 200 404",
}
"""How each entry is answered; what is 404 is an operation or a resource that is not here."""

BAD = {
    "InvalidBundleType": 400,
    "TypeMissing": 400,
    "TransactionForRollBack": 404,
    "TransactionForRollBackWithDelete": 400,
    "TransactionWithConditionalReferenceReferringToSameResource": 400,
    "TransactionWithInvalidBundleEntry": 400,
    "TransactionWithInvalidProcessingRecord": 400,
    "TransactionWithInvalidProcessingRoutes": 404,
    "TransactionWithInvalidResourceType": 400,
    "TransactionWithMultipleEntriesModifyingSameResource": 400,
    "TransactionWithMultipleResourcesWithSameFullUrl": 400,
    "TransactionWithReferenceInResourceBody": 400,
    # FHIR has no empty strings: `"system": ""`.
    "TransactionWithConditionalCreateAndReference": 422,
    # An ImagingStudy without series.modality, which R4 requires.
    "TransactionWithConditionalUpdateAndReference": 422,
}


@pytest.fixture
async def stocked(world: World) -> World:
    """A store with the Patients that some of the Bundles refer to or delete."""
    await world.put({"resourceType": "Patient", "id": "x", "identifier": [{"value": "12345"}]})
    await world.put({"resourceType": "Patient", "id": "patient-rollback-0"})
    return world


Post = Callable[[str], Awaitable[httpx.Response]]


@pytest.fixture
def post(client: httpx.AsyncClient, data: Path) -> Post:
    """Post a file as it lies there, byte order mark included."""

    async def send(name: str) -> httpx.Response:
        return await client.post(
            "",
            content=(data / "bundles" / f"Bundle-{name}.json").read_bytes(),
            headers={"Content-Type": "application/fhir+json"},
        )

    return send


@pytest.mark.parametrize(("name", "expected"), GOOD.items(), ids=GOOD)
@pytest.mark.usefixtures("stocked")
async def test_a_good_bundle_is_done(post: Post, name: str, expected: str) -> None:
    """A good transaction is done; each entry of a batch has its own status."""
    response = await post(name)

    assert response.status_code == 200, response.text
    answer = codec.loads(response.content)
    assert " ".join(one["response"]["status"][:3] for one in answer["entry"]) == expected


@pytest.mark.parametrize(("name", "status"), BAD.items(), ids=BAD)
async def test_a_bad_bundle_is_refused_whole(
    post: Post, stocked: World, name: str, status: int
) -> None:
    """A bad Bundle is an OperationOutcome, and the store is as it was."""
    before = (await stocked.store.history(None, None)).versions

    response = await post(name)

    assert response.status_code == status, response.text
    assert codec.loads(response.content)["resourceType"] == "OperationOutcome"
    assert (await stocked.store.history(None, None)).versions == before


async def test_a_large_bundle_is_done(post: Post) -> None:
    """The Bundle of 79 kB is done, and its chains can be searched."""
    response = await post("ChainingSortAndSearchValidation")

    assert response.status_code == 200
    assert {one["response"]["status"] for one in codec.loads(response.content)["entry"]} == {
        "201 Created"
    }
