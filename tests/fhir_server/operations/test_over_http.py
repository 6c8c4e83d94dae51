"""The operations as a client calls them over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2 as httpx
import pytest

from fhir_server.model import codec
from fhir_server.operations.table import OPERATIONS
from fhir_server.rest.routes import fhir_app
from tests.conftest import BASE, World
from tests.fhir_server.operations import record

EMPTY: dict[str, Any] = {"resourceType": "Parameters"}


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """The system's client of a server with the mother, her visit and its claim."""
    for one in (*record.people(), *record.visit(), record.claim()):
        await world.put(one)

    async def context_of(authorization: str | None, source: str, purpose: str = "", /) -> Any:
        ctx = await world.context_of(authorization, source, purpose)
        return world.context(ctx.principal, operations=OPERATIONS)

    app = fhir_app(context_of, base_url=BASE, operations=OPERATIONS)
    headers = {"Authorization": "Bearer system"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url=f"{BASE}/", headers=headers
    ) as client:
        yield client


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_book_is_asked_for_with_get_or_post(http: httpx.AsyncClient, method: str) -> None:
    """Both give the document; POST needs no body."""
    answer = await http.request(method, "Patient/mother/$health-book")

    assert answer.status_code == 200
    assert answer.json()["type"] == "document"
    assert answer.headers["Content-Type"].startswith("application/fhir+json")


async def test_the_book_comes_as_xml_too(http: httpx.AsyncClient) -> None:
    """The same document in XML, its narrative as XHTML."""
    answer = await http.get(
        "Patient/mother/$health-book", headers={"Accept": "application/fhir+xml"}
    )

    assert answer.status_code == 200
    document = codec.from_xml(answer.content)
    assert document["type"] == "document"
    assert "Viêm họng cấp" in answer.text


async def test_a_check_is_a_post_without_a_body(http: httpx.AsyncClient) -> None:
    """200 with the stored ClaimResponse; GET is not allowed and says what is."""
    answer = await http.post("Claim/claim-v1/$check")
    refused = await http.get("Claim/claim-v1/$check")

    assert (answer.status_code, answer.json()["resourceType"]) == (200, "ClaimResponse")
    stored = await http.get(f"ClaimResponse/{answer.json()['id']}")
    assert stored.json() == answer.json()
    assert refused.status_code == 405
    assert "POST" in refused.headers["Allow"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("Patient/mother/$nothing", EMPTY, 404),
        ("Claim/never/$check", None, 404),
        ("Patient/never/$health-book", None, 404),
        ("Patient/$health-book", EMPTY, 404),
        ("CoverageEligibilityRequest/$submit", EMPTY, 400),
        ("Patient/$validate", {"resourceType": "Patient", "nothing": 1}, 200),
    ],
)
async def test_statuses(
    http: httpx.AsyncClient, path: str, body: dict[str, Any] | None, status: int
) -> None:
    """Unknown operations and ids are 404, a wrong body is 400, findings of $validate are 200."""
    answer = await http.post(path, json=body) if body else await http.post(path)

    assert answer.status_code == status
    assert answer.json()["resourceType"] == "OperationOutcome"


async def test_the_operations_are_in_the_capability_statement(http: httpx.AsyncClient) -> None:
    """Each row is declared at its type."""
    statement = (await http.get("metadata")).json()

    by_type = {
        one["type"]: {row["name"] for row in one.get("operation", ())}
        for one in statement["rest"][0]["resource"]
    }
    assert {"health-book", "everything", "access-history"} <= by_type["Patient"]
    assert "check" in by_type["Claim"]
    assert "submit" in by_type["CoverageEligibilityRequest"]


@pytest.mark.parametrize(
    ("profile", "warned"),
    [
        ("http://example.org/unknown", True),
        ("http://hl7.org/fhir/StructureDefinition/Patient", False),
    ],
)
async def test_a_profile_that_is_not_known_is_told_so(
    http: httpx.AsyncClient,
    profile: str,
    warned: bool,  # noqa: FBT001 - a case
) -> None:
    """`$validate` warns of a profile that it did not look at."""
    body = {"resourceType": "Patient", "active": True}

    answer = await http.post("Patient/$validate", params={"profile": profile}, json=body)

    issues = answer.json()["issue"]
    assert [one["severity"] for one in issues] == ["warning"] * warned + ["information"]
