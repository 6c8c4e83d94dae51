"""A Binary as its bytes, https://hl7.org/fhir/R4/binary.html#rest."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import httpx2 as httpx
import pytest

from fhir_server.model import codec
from tests.conftest import World, citizen

Client = httpx.AsyncClient

PDF = b"%PDF-1.4 \x00\xff not text"
PAGE = b"<script>alert(1)</script>"


async def _put(client: Client, data: bytes = PDF, media: str = "application/pdf") -> httpx.Response:
    return await client.put("Binary/b", content=data, headers={"Content-Type": media})


async def test_bytes_are_stored_and_read_as_they_were_sent(client: Client) -> None:
    """What was put under its own type comes back so, with the version's headers."""
    made = await _put(client)
    read = await client.get("Binary/b", headers={"Accept": "application/pdf"})

    assert made.status_code == 201
    assert read.status_code == 200
    assert read.content == PDF
    assert read.headers["Content-Type"] == "application/pdf"
    assert read.headers["ETag"] == 'W/"1"'
    assert read.headers["Last-Modified"] == "Mon, 01 Jan 2024 00:00:00 GMT"
    assert read.headers["X-Content-Type-Options"] == "nosniff"


async def test_the_type_is_the_stored_one_whatever_is_accepted(client: Client) -> None:
    """R4: returned with the content type that the resource states."""
    await _put(client)

    for path in ("Binary/b", "Binary/b/_history/1"):
        read = await client.get(path, headers={"Accept": "image/png"})
        assert (read.content, read.headers["Content-Type"]) == (PDF, "application/pdf")


@pytest.mark.parametrize(
    "accept", ["*/*", "application/*", "image/png, */*;q=0.1", "application/json;q=0, */*"]
)
async def test_a_star_names_no_type_of_fhir(client: Client, accept: str) -> None:
    """R4: bytes, unless a type of FHIR is explicitly asked for."""
    await _put(client)

    read = await client.get("Binary/b", headers={"Accept": accept})

    assert (read.content, read.headers["Content-Type"]) == (PDF, "application/pdf")


async def test_without_accept_it_is_its_bytes(client: Client) -> None:
    """Who says nothing asks for no type of FHIR."""
    await _put(client)
    request = client.build_request("GET", "Binary/b")
    del request.headers["Accept"]

    read = await client.send(request)

    assert (read.content, read.headers["Content-Type"]) == (PDF, "application/pdf")


@pytest.mark.parametrize(
    ("accept", "query"),
    [
        ("application/fhir+json", ""),
        ("application/fhir+json, */*;q=0.1", ""),
        ("application/json", ""),
        ("*/*", "?_format=json"),
        ("application/pdf", "?_format=json"),
        ("*/*", "?_pretty=true"),
        ("*/*", "?_elements=contentType,data"),
    ],
)
async def test_as_a_resource_it_is_json(client: Client, accept: str, query: str) -> None:
    """Who accepts a type of FHIR, or says how a resource is sent, gets it, its data in base64."""
    await _put(client)

    read = await client.get(f"Binary/b{query}", headers={"Accept": accept})

    resource = codec.loads(read.content)
    assert (resource["contentType"], base64.b64decode(resource["data"])) == ("application/pdf", PDF)


async def test_a_post_makes_a_binary(client: Client) -> None:
    """Bytes that are posted are a Binary; X-Security-Context says whose it is, both ways."""
    headers = {"Content-Type": "text/plain; charset=utf-8", "X-Security-Context": "Patient/a"}
    await client.put("Patient/a", json={"resourceType": "Patient", "id": "a"})

    made = await client.post("Binary", content=b"hello", headers=headers)
    read = await client.get(made.headers["Location"], headers={"Accept": "text/plain"})

    assert made.status_code == 201
    assert made.json()["securityContext"] == {"reference": "Patient/a"}
    assert read.content == b"hello"
    assert read.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert read.headers["X-Security-Context"] == "Patient/a"


async def test_what_the_client_has_is_not_sent_again(client: Client) -> None:
    """304, and HEAD without a body, as of any resource."""
    await _put(client)
    raw: dict[str, Any] = {"Accept": "application/pdf"}

    known = await client.get("Binary/b", headers=raw | {"If-None-Match": 'W/"1"'})
    head = await client.head("Binary/b", headers=raw)

    assert (known.status_code, known.content) == (304, b"")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == str(len(PDF))


async def test_a_stored_page_is_only_a_file(client: Client) -> None:
    """No browser runs what somebody stored."""
    await _put(client, PAGE, "text/html")

    read = await client.get("Binary/b", headers={"Accept": "text/html"})

    assert read.content == PAGE
    assert read.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert read.headers["Content-Disposition"] == "attachment"


async def test_a_stored_type_makes_no_header_of_its_own(client: Client) -> None:
    """A contentType that is no header's value is left out."""
    data = base64.b64encode(b"x").decode()
    binary = {"resourceType": "Binary", "id": "b", "contentType": "texté/plain", "data": data}
    await client.put("Binary/b", json=binary)

    read = await client.get("Binary/b", headers={"Accept": "text/plain"})

    assert (read.content, read.headers["Content-Type"]) == (b"x", "application/octet-stream")


@pytest.mark.parametrize(
    "path",
    ["Patient/a", "Binary", "Binary/b?_format=pdf", "Binary/b?_elements=data", "Binary/b/_history"],
)
async def test_all_else_is_of_fhirs_types(client: Client, path: str) -> None:
    """Other resources, Bundles, and what `_format` names stay 406."""
    await _put(client)
    await client.put("Patient/a", json={"resourceType": "Patient", "id": "a"})

    read = await client.get(path, headers={"Accept": "application/pdf"})

    assert read.status_code == 406


async def test_a_hidden_binary_is_as_none(
    client: Client, new_client: Callable[..., Client], world: World
) -> None:
    """As bytes no more is shown than as a resource."""
    await _put(client)
    world.callers["an"] = citizen("an")
    an = new_client("an")

    hidden = await an.get("Binary/b", headers={"Accept": "application/pdf"})
    never = await an.get("Binary/never", headers={"Accept": "application/pdf"})

    assert hidden.status_code == never.status_code
    assert hidden.status_code in {403, 404}
    assert PDF not in hidden.content
