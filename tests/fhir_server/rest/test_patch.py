"""PATCH over HTTP: media types, statuses, headers, Prefer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2 as httpx
import pytest

from fhir_server.interactions.capabilities import capability_statement
from fhir_server.model import codec
from fhir_server.model.patch.document import ACCEPT_PATCH, FORMATS
from fhir_server.rest.routes import fhir_app
from tests.conftest import BASE, World
from tests.fhir_server.model.patch.test_document import GOOD, JSON_PATCH, MERGE_PATCH
from tests.outcome import assert_outcome

Client = httpx.AsyncClient
ClientOf = Callable[..., httpx.AsyncClient]

PATIENT = {
    "resourceType": "Patient",
    "id": "a",
    "active": True,
    "identifier": [{"system": "http://example.org/mrn", "value": "1"}],
}
JSON = {"Content-Type": "application/json-patch+json"}


@pytest.fixture
async def there(client: Client) -> Client:
    """The system's client, with a Patient at version 1."""
    response = await client.put("Patient/a", json=PATIENT)
    assert response.status_code == 201
    return client


@pytest.mark.parametrize(
    ("content_type", "body"), [*GOOD.items(), ("application/json", MERGE_PATCH)]
)
async def test_every_format_is_taken(there: Client, content_type: str, body: bytes) -> None:
    """200 with the resource, its ETag and Last-Modified; no Location, as for an update."""
    response = await there.patch("Patient/a", content=body, headers={"Content-Type": content_type})

    assert response.status_code == 200
    assert response.headers["ETag"] == 'W/"2"'
    assert response.headers["Last-Modified"] == "Mon, 01 Jan 2024 00:00:00 GMT"
    assert response.headers["Content-Type"] == "application/fhir+json; charset=utf-8"
    assert "Location" not in response.headers
    made = codec.loads(response.content)
    assert made.pop("meta")["versionId"] == "2"
    assert made == PATIENT | {"active": False}
    assert (await there.get("Patient/a")).content == response.content


async def test_the_answer_is_in_the_format_that_is_wanted(there: Client) -> None:
    """A JSON Patch may be answered in XML."""
    headers = JSON | {"Accept": "application/fhir+xml"}

    response = await there.patch("Patient/a", content=JSON_PATCH, headers=headers)

    assert codec.from_xml(response.content)["active"] is False


@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream", None])
async def test_another_media_type_is_415(there: Client, content_type: str | None) -> None:
    """Accept-Patch says what is taken: RFC 5789, section 2.2."""
    headers = {"Content-Type": content_type} if content_type else {}

    response = await there.patch("Patient/a", content=JSON_PATCH, headers=headers)

    assert_outcome(response, 415, "not-supported")
    assert response.headers["Accept-Patch"] == ACCEPT_PATCH


async def test_options_says_what_is_taken(client: Client) -> None:
    """RFC 5789, section 3.1: where PATCH is allowed, Accept-Patch is told."""
    patchable, other = await client.options("Patient/a"), await client.options("Patient/_history")

    assert "PATCH" in patchable.headers["Allow"]
    assert patchable.headers["Accept-Patch"] == ACCEPT_PATCH
    assert "Accept-Patch" not in other.headers


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("Patient/a", b"", 400, "required"),
        ("Patient/a", b" ", 400, "required"),
        ("Patient/a", b"[", 400, "structure"),
        ("Patient/a", b"{}", 400, "structure"),
        ("Patient/a", b'[{"op":"add"}]', 400, "structure"),
        ("Patient", JSON_PATCH, 400, "value"),
        ("Patient?nope=1", JSON_PATCH, 400, "not-supported"),
        ("Patient/b", JSON_PATCH, 404, "not-found"),
        ("Patient?identifier=2", JSON_PATCH, 404, "not-found"),
        ("Nope/a", JSON_PATCH, 404, "not-found"),
        ("Patient/a_b", JSON_PATCH, 404, "not-found"),
        ("Patient/a/_history/1", JSON_PATCH, 405, "not-supported"),
        ("Patient/a", b'[{"op":"remove","path":"/gender"}]', 422, "processing"),
        ("Patient/a", b'[{"op":"test","path":"/active","value":1}]', 422, "processing"),
        ("Patient/a", b'[{"op":"add","path":"/active","value":1}]', 422, "value"),
        ("Patient/a", b'[{"op":"replace","path":"/id","value":"b"}]', 422, "value"),
    ],
)
async def test_what_is_refused(
    there: Client, path: str, body: bytes, status: int, code: str
) -> None:
    """Each with its status, and the resource as it was."""
    response = await there.patch(path, content=body, headers=JSON)

    assert_outcome(response, status, code)
    assert (await there.get("Patient/a")).headers["ETag"] == 'W/"1"'


async def test_a_deleted_resource_is_410(there: Client) -> None:
    """With the deletion's ETag; with If-Match it is 412."""
    await there.delete("Patient/a")

    gone = await there.patch("Patient/a", content=JSON_PATCH, headers=JSON)
    stale = await there.patch("Patient/a", content=JSON_PATCH, headers=JSON | {"If-Match": 'W/"2"'})

    assert_outcome(gone, 410, "deleted")
    assert gone.headers["ETag"] == 'W/"2"'
    assert_outcome(stale, 412, "conflict")


@pytest.mark.parametrize(
    ("etag", "status"),
    [('W/"1"', 200), ('"1"', 200), ("*", 200), ('W/"7", W/"1"', 200), ('W/"2"', 412), ("x", 412)],
)
async def test_if_match(there: Client, etag: str, status: int) -> None:
    """412 where the current version is not named."""
    headers = JSON | {"If-Match": etag}

    response = await there.patch("Patient/a", content=JSON_PATCH, headers=headers)

    assert response.status_code == status


async def test_a_conditional_patch_says_which(there: Client) -> None:
    """200 with Location; a criterion that several match is 412."""
    await there.put("Patient/b", json=PATIENT | {"id": "b", "identifier": [{"value": "2"}]})

    one = await there.patch("Patient?identifier=2", content=JSON_PATCH, headers=JSON)
    several = await there.patch("Patient?identifier=1,2", content=JSON_PATCH, headers=JSON)

    assert one.status_code == 200
    assert one.headers["Location"] == f"{BASE}/Patient/b/_history/2"
    assert_outcome(several, 412, "multiple-matches")


@pytest.mark.parametrize("returned", ["minimal", "representation", "OperationOutcome"])
async def test_prefer(there: Client, returned: str) -> None:
    """The headers always; the body as it is asked for."""
    headers = JSON | {"Prefer": f"return={returned}"}

    response = await there.patch("Patient/a", content=JSON_PATCH, headers=headers)

    assert (response.status_code, response.headers["ETag"]) == (200, 'W/"2"')
    if returned == "minimal":
        assert response.content == b""
    else:
        kind = "Patient" if returned == "representation" else returned
        assert codec.loads(response.content)["resourceType"] == kind


async def test_a_patch_that_changes_nothing(there: Client) -> None:
    """200 with the version that is there."""
    response = await there.patch("Patient/a", content=b"[]", headers=JSON)

    assert (response.status_code, response.headers["ETag"]) == (200, 'W/"1"')


async def test_the_limit_of_bodies_holds(world: World) -> None:
    """413, as of any body; a bomb of gzip too."""
    app = fhir_app(world.context_of, base_url=BASE, operations=(), max_body=100)
    bearer = {"Authorization": "Bearer system"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=BASE + "/", headers=bearer) as small:
        response = await small.patch("Patient/a", content=b" " * 101, headers=JSON)

    assert_outcome(response, 413, "too-long")


async def test_who_may_not_is_told_before_the_body_is_read(new_client: ClientOf) -> None:
    """403 whatever the body, 401 without a token; each refusal leaves its AuditEvent."""
    async with new_client("auditor") as auditor, new_client(None) as nobody:
        refused = await auditor.patch("Patient/a", content=b"x", headers={"Content-Type": "x/y"})
        unknown = await nobody.patch("Patient/a", content=JSON_PATCH, headers=JSON)

    assert_outcome(refused, 403, "forbidden")
    assert_outcome(unknown, 401, "login")


async def test_the_audit_says_patch(there: Client, world: World) -> None:
    """An update of the record, by its name."""
    await there.patch("Patient/a", content=JSON_PATCH, headers=JSON)
    await there.patch("Patient/a", content=b"[", headers=JSON)

    found = await there.get("AuditEvent?_sort=-date&_count=2&subtype=patch")

    events = [entry["resource"] for entry in codec.loads(found.content)["entry"]]
    assert [(event["action"], event["outcome"]) for event in events] == [("U", "4"), ("U", "0")]
    assert {event["entity"][0]["what"]["reference"] for event in events} == {"Patient/a"}


def test_the_capability_statement_says_patch() -> None:
    """Every type has the interaction, and the formats are listed."""
    statement: dict[str, Any] = capability_statement(BASE, ())

    assert statement["patchFormat"] == list(FORMATS)
    for resource in statement["rest"][0]["resource"]:
        assert {"code": "patch"} in resource["interaction"]
        # R5 has it: R4 has no such element.
        assert "conditionalPatch" not in resource
