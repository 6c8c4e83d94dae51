"""`_summary` and `_elements` wherever resources are shown, in JSON and XML.

https://hl7.org/fhir/R4/http.html#general and https://hl7.org/fhir/R4/search.html#summary
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2 as httpx
import pytest

from fhir_server.interactions import history
from fhir_server.model import codec
from fhir_server.operations.table import OPERATIONS
from fhir_server.rest.routes import fhir_app
from fhir_server.validation.structure import validate
from tests.conftest import BASE, World

Client = httpx.AsyncClient

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "a",
    "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">An</div>'},
    "active": True,
    "name": [{"family": "An"}],
    "maritalStatus": {"text": "single"},
}


@pytest.fixture
async def client(world: World) -> AsyncIterator[Client]:
    """The system's client of a server with one Patient in two versions, and operations."""

    async def context_of(*_: object) -> Any:  # noqa: RUF029 - as the product's is called
        return world.context(operations=OPERATIONS)

    app = fhir_app(context_of, base_url=BASE, operations=OPERATIONS)
    transport = httpx.ASGITransport(app)
    headers = {"Authorization": "Bearer system"}
    async with httpx.AsyncClient(transport=transport, base_url=BASE + "/", headers=headers) as made:
        await made.put("Patient/a", json=PATIENT)
        await made.put("Patient/a", json=PATIENT | {"active": False})
        yield made


def _resources(answer: dict[str, Any]) -> list[dict[str, Any]]:
    if answer["resourceType"] != "Bundle":
        return [answer]
    return [entry["resource"] for entry in answer["entry"]]


PLACES = {
    "read": "Patient/a",
    "vread": "Patient/a/_history/1",
    "history": "Patient/a/_history",
    "history of the type": "Patient/_history",
    "search": "Patient",
    "system search": "",
    "everything": "Patient/a/$everything",
}


@pytest.mark.parametrize("path", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("_summary=true", {"active", "name"}),
        ("_summary=text", {"text"}),
        ("_summary=data", {"active", "name", "maritalStatus"}),
        ("_elements=name", {"name"}),
        ("_elements=name,active", {"active", "name"}),
        ("_elements=name&_elements=active", {"active", "name"}),
        ("_summary=false", {"text", "active", "name", "maritalStatus"}),
    ],
)
@pytest.mark.parametrize("form", ["json", "xml"])
async def test_a_part_is_shown_and_marked(
    client: Client, path: str, asked: str, expected: set[str], form: str
) -> None:
    """It has what was asked for, is valid, and says that it is SUBSETTED; the whole does not."""
    response = await client.get(f"{path}?{asked}&_format={form}")

    assert response.status_code == 200, response.text
    content = response.content
    answer = codec.loads(content) if form == "json" else codec.from_xml(content)
    assert validate(answer) == []
    for resource in _resources(answer):
        assert set(resource) == {"resourceType", "id", "meta"} | expected
        tags = [tag["code"] for tag in resource["meta"].get("tag", ())]
        assert tags == ([] if asked == "_summary=false" else ["SUBSETTED"])


@pytest.mark.parametrize("asked", ["_summary=count", "_count=0"])
@pytest.mark.parametrize("path", ["Patient/a/_history", "Patient/_history", "_history"])
async def test_a_history_is_counted(client: Client, path: str, asked: str) -> None:
    """The number of versions alone, as of a search."""
    answer = (await client.get(f"{path}?{asked}")).json()

    assert (answer["type"], answer["total"]) == ("history", 2)
    assert "entry" not in answer
    assert answer["link"][0]["url"].endswith(f"{path}?{asked}")


async def test_a_history_too_long_is_not_counted(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of more versions than a page may hold the count is refused, and says what to name."""
    monkeypatch.setattr(history, "MAX_COUNT", 1)

    response = await client.get("Patient/_history?_summary=count")

    assert response.json()["issue"][0]["code"] == "too-costly"


@pytest.mark.parametrize("path", PLACES.values(), ids=PLACES)
async def test_a_wrong_summary_is_refused(client: Client, path: str) -> None:
    """A value that there is not is 400, never the whole."""
    assert (await client.get(f"{path}?_summary=some")).status_code == 400
    assert (await client.get(f"{path}?_summary=true&_summary=text")).status_code == 400


@pytest.mark.parametrize("path", ["Patient/a", "Patient/a/_history/1"])
async def test_a_read_is_not_counted(client: Client, path: str) -> None:
    """R4 has `count` for searches only: all is shown, and strictly it is refused."""
    whole = await client.get(path)
    asked = await client.get(f"{path}?_summary=count")
    strict = await client.get(f"{path}?_summary=count", headers={"Prefer": "handling=strict"})

    assert (asked.status_code, asked.content) == (200, whole.content)
    assert strict.status_code == 400


async def test_what_is_true_only_as_a_whole_stays_whole(client: Client) -> None:
    """An outcome that an operation answers is no resource to be shortened."""
    response = await client.post("Patient/$validate?_summary=true", json=PATIENT)

    assert response.status_code == 200
    assert response.json()["resourceType"] == "OperationOutcome"
    assert "issue" in response.json()
    assert "meta" not in response.json()


@pytest.mark.parametrize("include", ["_include=Patient:organization", "_revinclude=*"])
async def test_a_text_summary_goes_with_no_include(client: Client, include: str) -> None:
    """R4: `_include` and `_revinclude` cannot be mixed with `_summary=text`."""
    assert (await client.get(f"Patient?_summary=text&{include}")).status_code == 400


async def test_contained_resources_are_not_found_by_themselves(client: Client) -> None:
    """`_contained=false` is how it is; the others are not known, so strict handling refuses."""
    strict = {"Prefer": "handling=strict"}

    plain = await client.get("Patient?_contained=false", headers=strict)

    assert plain.status_code == 200
    assert plain.json()["link"][0]["url"] == f"{BASE}/Patient?_contained=false"
    for asked in ("_contained=true", "_contained=both", "_containedType=container"):
        assert (await client.get(f"Patient?{asked}", headers=strict)).status_code == 400


async def test_a_star_stays_a_star_in_links(client: Client) -> None:
    """`self` says what was asked, readable."""
    answer = (await client.get("Patient?_include=*&_revinclude=Observation:*")).json()

    assert answer["link"][0]["url"] == f"{BASE}/Patient?_include=*&_revinclude=Observation:*"
