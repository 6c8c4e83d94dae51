"""The good and bad Bundles that another server's makers published (`bundles/` of TEST_DATA).

`bundles.toml` says how each entry is answered, and why what is refused is refused.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from fhir_server.model import codec
from tests.conformance.meaning import content, linked, read
from tests.conftest import BASE, World
from tests.data import shared_data

pytestmark = pytest.mark.data

FILES = 29
JSON = {"Content-Type": "application/fhir+json"}
XML = {"Content-Type": "application/fhir+xml", "Accept": "application/fhir+xml"}
BOM = b"\xef\xbb\xbf"

Resource = dict[str, Any]


@cache
def rows(kind: str) -> tuple[dict[str, Any], ...]:
    """Return the rows of `bundles.toml`, `good` or `bad`."""
    text = Path(__file__).with_name("bundles.toml").read_text(encoding="utf-8")
    found: tuple[dict[str, Any], ...] = tuple(tomllib.loads(text)[kind])
    return found


def named(kind: str) -> list[Any]:
    """Return the rows as parameters of a test."""
    return [pytest.param(row, id=row["name"]) for row in rows(kind)]


def body_of(row: dict[str, Any]) -> bytes:
    """Return a Bundle as it lies there, byte order mark included."""
    return (shared_data() / "bundles" / f"Bundle-{row['name']}.json").read_bytes()


async def seed(world: World, row: dict[str, Any]) -> None:
    """Store the Patients that a Bundle refers to, reads or deletes."""
    for identity, number in row.get("seeds", {}).items():
        system, _, value = number.rpartition("|")
        identifier = {"system": system, "value": value} if system else {"value": value}
        one = {"resourceType": "Patient", "id": identity, "identifier": [identifier]}
        await world.put(one)
        if identity in row.get("again", ()):
            await world.put(one | {"active": True})


async def versions(world: World) -> list[Any]:
    """Return all versions that a store holds."""
    return list((await world.store.history(None, None, count=1000)).versions)


def test_every_bundle_is_listed(data: Path) -> None:
    """Each file is in a row, and each refusal has its reason."""
    names = {row["name"] for kind in ("good", "bad") for row in rows(kind)}
    files = {path.stem.removeprefix("Bundle-") for path in (data / "bundles").glob("*.json")}

    assert names == files
    assert len(files) == FILES
    assert all(row["reason"] for row in rows("bad"))
    for row in rows("good"):
        refused = {str(n) for n, one in enumerate(row["statuses"].split()) if one[0] not in "23"}
        assert refused == row.get("refused", {}).keys(), row["name"]


FORMS = [
    pytest.param(form, row, id=f"{row['name']}-{form}")
    for form in ("json", "xml")
    for row in rows("good")
    # What R4 does not know has no place in XML.
    if (form, row["name"]) != ("xml", "BatchWithInvalidEleEnums")
]


@pytest.mark.parametrize(("form", "row"), FORMS)
async def test_a_good_bundle_is_done_and_kept(
    client: httpx.AsyncClient, world: World, form: str, row: dict[str, Any]
) -> None:
    """Each entry is answered as listed; what was sent is read back equal, what was read is there.

    The same where the Bundle is sent, and the answer read, as XML.
    """
    await seed(world, row)
    before = len(await versions(world))
    body = body_of(row)
    sent = codec.loads(body.removeprefix(BOM))

    if form == "json":
        response = await client.post("", content=body, headers=JSON)
    else:
        response = await client.post("", content=codec.to_xml(sent), headers=XML)

    assert response.status_code == 200, response.text
    answer = read(form, response.content)
    assert answer["type"] == f"{sent['type']}-response"
    statuses = [one["response"]["status"][:3] for one in answer["entry"]]
    assert statuses == row["statuses"].split() * row.get("times", 1)
    assert len(await versions(world)) - before == row["made"]
    names = resolved(sent, answer, row)
    for asked, told in zip(sent["entry"], answer["entry"], strict=True):
        if told["response"]["status"][0] not in "23":
            assert told["response"]["outcome"]["resourceType"] == "OperationOutcome"
            assert told["response"]["outcome"]["issue"][0]["severity"] == "error"
            continue
        match asked["request"]["method"]:
            case "POST" | "PUT":
                await assert_kept(client, asked, told, names)
            case "DELETE" if "?" not in asked["request"]["url"]:
                assert (await client.get(asked["request"]["url"])).status_code == 410
            case "GET":
                await assert_read(client, asked, told)


def resolved(sent: Resource, answer: Resource, row: dict[str, Any]) -> dict[str, str]:
    """Return what each `urn:uuid:` and conditional reference of a Bundle means."""
    names = {
        f"Patient?identifier={number}": f"Patient/{identity}"
        for identity, number in row.get("seeds", {}).items()
    }
    for asked, told in zip(sent["entry"], answer["entry"], strict=True):
        if "location" in told["response"] and "fullUrl" in asked:
            names[asked["fullUrl"]] = "/".join(told["response"]["location"].split("/")[-4:-2])
    return names


async def assert_kept(
    client: httpx.AsyncClient, asked: Resource, told: Resource, names: dict[str, str]
) -> None:
    """The version that the answer names holds what was sent, and has the id that was asked for."""
    location = told["response"]["location"]
    assert location.startswith(f"{BASE}/{asked['resource']['resourceType']}/")
    stored = (await client.get(location)).content
    one = codec.parse_resource(stored)
    assert content(one) == content(linked(asked["resource"], names))
    assert told["response"]["etag"] == f'W/"{one["meta"]["versionId"]}"'
    assert told["response"]["lastModified"] == one["meta"]["lastUpdated"]
    url = asked["request"]["url"].partition("?")[0]
    if asked["request"]["method"] == "PUT" and "/" in url:
        assert url.endswith(f"/{one['id']}")
    else:
        assert one["id"] != asked["resource"].get("id")


async def assert_read(client: httpx.AsyncClient, asked: Resource, told: Resource) -> None:
    """What an entry read is what the same request reads now, after all writes."""
    now = codec.loads((await client.get(asked["request"]["url"])).content)
    then = told["resource"]
    if then["resourceType"] != "Bundle":
        assert then == now
        return
    found = [entry["resource"] for entry in then.get("entry", ())]
    assert found == [entry["resource"] for entry in now.get("entry", ())]
    assert bool(found) == ("peter" in asked["request"]["url"])


RACE = {
    "system": "urn:oid:2.16.840.1.113883.6.238",
    "code": "2054-5",
    "display": "Black or African American",
}


@pytest.mark.parametrize("name", ["BinaryPatch", "FhirPatch", "BatchWithDuplicatedItems"])
async def test_a_patch_in_a_bundle_is_done(
    client: httpx.AsyncClient, world: World, name: str
) -> None:
    """JSON Patch in a Binary, FHIRPath Patch in Parameters: what they say, and nothing else."""
    (row,) = (row for row in rows("good") if row["name"] == name)
    await seed(world, row)
    body = body_of(row)

    await client.post("", content=body, headers=JSON)

    entries = codec.loads(body.removeprefix(BOM))["entry"]
    (put,) = (one for one in entries if one["request"]["method"] == "PUT")
    expected = put["resource"] | {"gender": "female"}
    del expected["text"]  # generated of other data: R4 http.html#patch
    if name == "FhirPatch":
        race = expected["extension"][0]["extension"][0]
        assert race["valueCoding"]["code"] != RACE["code"]
        race["valueCoding"] = RACE
    if name == "BatchWithDuplicatedItems":
        expected["birthDate"] = "1975-12-25"
    stored = codec.parse_resource((await client.get(put["request"]["url"])).content)
    assert content(stored) == content(expected)


@pytest.mark.parametrize("row", named("bad"))
async def test_a_bad_bundle_is_refused_whole(
    client: httpx.AsyncClient, world: World, row: dict[str, Any]
) -> None:
    """It is an OperationOutcome that says where, and the store is as it was."""
    await seed(world, row)
    before = await versions(world)

    response = await client.post("", content=body_of(row), headers=JSON)

    assert response.status_code == row["status"], response.text
    outcome = codec.loads(response.content)
    assert outcome["resourceType"] == "OperationOutcome"
    places = {place for issue in outcome["issue"] for place in issue.get("expression", ())}
    assert places == set(row["at"])
    assert await versions(world) == before
