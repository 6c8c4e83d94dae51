"""HL7's official examples and the Synthea bundles, written by `system` over HTTP: accepted,
found by what is indexed of them, and read back equal; but those listed, with the reason.
"""  # noqa: D205 - one sentence

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Iterable
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import pytest_asyncio

from fhir_server.app import Composition, Serving
from fhir_server.model import codec
from fhir_server.prepare import prepare
from fhir_server.search.extract import index_values
from fhir_server.serve import build_app
from fhir_server.settings import Settings
from fhir_server.stores import open_store
from tests.conformance.asking import criteria
from tests.conformance.meaning import content, linked, read
from tests.conformance.official import not_found, not_valid, synthea
from tests.data import ExamplesOf
from tests.server import ENGINES, Server
from tests.sizes import TIMES

pytestmark = [pytest.mark.data, pytest.mark.asyncio(loop_scope="module")]

COUNTS = {"json": 720, "xml": 875}
XML_ALONE = 174
"""Examples in XML that are not among those in JSON, or differ from them in a value."""
AT_ONCE = 8
CHUNK = 100
JSON = {"Accept": "application/fhir+json"}
XML = {"Accept": "application/fhir+xml"}
TYPES = {"json": "application/fhir+json", "xml": "application/fhir+xml"}

Resource = dict[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=ENGINES)
async def system(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx.AsyncClient]:
    """The demo's `system` client of the whole server, in this process, over a real store."""
    folder = tmp_path_factory.mktemp("stored")
    settings = Settings(store=Server(folder, engine=request.param).store, keys=folder / "keys")
    serving = Serving(demo=True)
    store = await open_store(settings)
    composition = Composition(settings, store, serving.origin(settings))
    await prepare(composition, serving)
    token = await composition.token("system", None, None)
    async with httpx.AsyncClient() as out:
        app = await build_app(composition, serving, out)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url=f"{composition.fhir_base}/",
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
        ) as client:
            yield client
    await store.close()


async def each(work: Iterable[Awaitable[str | None]]) -> list[str]:
    """Do all of it, a few at once; return what went wrong."""
    few = asyncio.Semaphore(AT_ONCE)

    async def one(todo: Awaitable[str | None]) -> str | None:
        async with few:
            return await todo

    return [wrong for wrong in await asyncio.gather(*map(one, work)) if wrong]


async def found(system: httpx.AsyncClient, kind: str, query: list[tuple[str, str]]) -> list[str]:
    """Return the ids that a search finds, or its refusal."""
    answer = await system.get(kind, params=[*query, ("_elements", "id")])
    if answer.status_code != 200:
        return [answer.text]
    entries = codec.loads(answer.content).get("entry", ())
    return [entry["resource"]["id"] for entry in entries]


async def missed_by(system: httpx.AsyncClient, written: Resource) -> list[tuple[str, str]]:
    """Return by what of its index a resource is not found."""
    kind, identity = written["resourceType"], written["id"]
    asked = criteria(index_values(written, base_url=str(system.base_url).rstrip("/")))
    this = ("_id", identity)
    if await found(system, kind, [this, *asked]) == [identity]:
        return []
    missed = [one for one in asked if await found(system, kind, [this, one]) != [identity]]
    return missed or [("all together", str(asked))]


async def missed_patients(system: httpx.AsyncClient, written: Resource) -> list[tuple[str, str]]:
    """Return by which of its identifiers alone a Patient is not found."""
    asked = [
        ("identifier", f"{item['system']}|{item['value']}")
        for item in written.get("identifier", ())
        if written["resourceType"] == "Patient" and {"system", "value"} <= item.keys()
    ]
    return [
        one
        for one in asked
        if written["id"] not in await found(system, "Patient", [one, ("_count", "1000")])
    ]


async def written_and_read(
    system: httpx.AsyncClient, kind: str, name: str, body: bytes
) -> str | None:
    """Write one example, find it and read it both ways; return what went wrong."""
    resource = read(kind, body)
    path = f"{resource['resourceType']}/{resource['id']}" if "id" in resource else ""
    answer = await system.request(
        "PUT" if path else "POST",
        path or resource["resourceType"],
        content=body,
        headers={"Content-Type": TYPES[kind], "Prefer": "return=minimal"},
    )
    if answer.status_code not in {200, 201}:
        return f"{name}: {answer.status_code} {answer.text[:300]}"
    path = path or "/".join(answer.headers["Location"].split("/")[-4:-2])
    as_json, as_xml = await system.get(path, headers=JSON), await system.get(path, headers=XML)
    written = codec.parse_resource(as_json.content)
    if content(written) != content(resource):
        return f"{name}: not equal, read as JSON"
    if content(codec.from_xml(as_xml.content)) != content(resource):
        return f"{name}: not equal, read as XML"
    expected = not_found(kind).get(name, {"by": []})["by"]
    missed = [one for one in await missed_by(system, written) if one[0] not in expected]
    missed += await missed_patients(system, written)
    return f"{name}: not found by {missed}" if missed else None


@pytest.mark.parametrize("kind", ["json", "xml"])
async def test_official_examples_are_stored(
    system: httpx.AsyncClient, examples_of: ExamplesOf, kind: str, request: pytest.FixtureRequest
) -> None:
    """All but those listed as not valid are accepted, found and read back equal, JSON and XML.

    Over a second engine beside the first, `make test` leaves out the XML of what is there as JSON
    too, for a store is given the same of both; `make test-long` takes all.
    """
    files = list(examples_of(kind))
    assert len(files) == COUNTS[kind]
    if TIMES == 1 and kind == "xml" and is_second(request):
        in_json = defaultdict(list)
        for _, body in examples_of("json"):
            resource = read("json", body)
            in_json[resource["resourceType"], resource.get("id")].append(bare(resource))
        files = [file for file in files if not is_in(in_json, read("xml", file[1]))]
        assert len(files) == XML_ALONE
    same_name = defaultdict(list)
    for name, body in files:
        resource = read(kind, body)
        same_name[resource["resourceType"], resource.get("id")].append((name, body))

    async def in_turn(files: list[tuple[str, bytes]]) -> str | None:
        wrong = [await written_and_read(system, kind, name, body) for name, body in files]
        return "\n".join(filter(None, wrong)) or None

    wrong = await each(map(in_turn, same_name.values()))

    listed = not_valid(kind).keys() & dict(files).keys()
    lines = [line for text in wrong for line in text.splitlines()]
    refused = {name for name in listed if any(line.startswith(f"{name}: 422 ") for line in lines)}
    unexpected = [line for line in lines if line.partition(":")[0] not in refused]
    assert not unexpected, "\n".join(unexpected)
    assert refused == listed
    assert sum(map(len, same_name.values())) == len(files)


def bare(value: Any) -> Any:
    """Return a resource without meta and narratives: of the examples only the JSON has those."""
    if isinstance(value, dict):
        return {
            key: bare(part)
            for key, part in value.items()
            if key != "meta" and not (key == "text" and isinstance(part, dict))
        }
    return [bare(part) for part in value] if isinstance(value, list) else str(value)


def is_in(some: dict[tuple[str, str | None], list[Any]], resource: Resource) -> bool:
    """Whether a resource is, but for meta and narratives, among those of its type and id."""
    return bare(resource) in some[resource["resourceType"], resource.get("id")]


def is_second(request: pytest.FixtureRequest) -> bool:
    """Whether a test runs over a second engine, beside the first."""
    return request.node.callspec.params["system"] != ENGINES[0]


def conditions(resource: Resource) -> list[str]:
    """Return the conditional references that mean a resource."""
    return [
        f"{resource['resourceType']}?identifier={item['system']}|{item['value']}"
        for item in resource.get("identifier", ())
        if "system" in item
    ]


async def pages(
    system: httpx.AsyncClient, kind: str, ids: list[str], headers: dict[str, str]
) -> dict[str, Resource]:
    """Find resources of one type by `_id`, some at once; return them by their names."""
    resources = []
    for first in range(0, len(ids), CHUNK):
        query = {"_id": ",".join(ids[first : first + CHUNK]), "_count": str(CHUNK)}
        answer = await system.get(kind, params=query, headers=headers)
        assert answer.status_code == 200, answer.text[:300]
        bundle = read("json" if headers is JSON else "xml", answer.content)
        resources += [entry["resource"] for entry in bundle.get("entry", ())]
    return {f"{one['resourceType']}/{one['id']}": one for one in resources}


async def bundle_and_back(
    system: httpx.AsyncClient, file: tuple[str, bytes], names: dict[str, str]
) -> str | None:
    """Post a Bundle of Synthea's, find its resources and read them; return what went wrong."""
    name, body = file
    entries = codec.loads(body)["entry"]
    answer = await system.post("", content=body, headers={"Content-Type": TYPES["json"]})
    if answer.status_code != 200:
        return f"{name}: {answer.status_code} {answer.text[:300]}"
    responses = [entry["response"] for entry in codec.loads(answer.content)["entry"]]
    if {one["status"][:3] for one in responses} != {"201"}:
        return f"{name}: {sorted({one['status'] for one in responses})}"
    of_type = defaultdict(dict)
    for entry, response in zip(entries, responses, strict=True):
        kind, identity = response["location"].split("/")[-4:-2]
        of_type[kind][identity] = entry["resource"]
        for meant in (entry["fullUrl"], *conditions(entry["resource"])):
            names[meant] = f"{kind}/{identity}"
    missed: list[tuple[str, str]] = []
    for kind, sent in of_type.items():
        expected = {f"{kind}/{key}": content(linked(one, names)) for key, one in sent.items()}
        for headers in (JSON, XML):
            stored = await pages(system, kind, list(sent), headers)
            unequal = [key for key in expected if expected[key] != content(stored.get(key, {}))]
            if unequal:
                return f"{name}: not equal as {headers['Accept']}: {unequal}"
        one = next(iter(stored.values()))
        missed += await missed_by(system, one) + await missed_patients(system, one)
    return f"{name}: not found by {missed}" if missed else None


async def test_synthea_bundles_are_stored(
    system: httpx.AsyncClient, data: Path, request: pytest.FixtureRequest
) -> None:
    """All 40 are done whole; each resource is found by `_id` and equal, as JSON and as XML.

    Over a second engine beside the first, 12 of them in `make test`, all in `make test-long`.

    One resource of each type in each Bundle is found by all that is indexed of it too, and every
    Patient by each identifier alone.
    """
    names: dict[str, str] = {}
    files = list(synthea(data))
    assert len(files) == 40
    if TIMES == 1 and is_second(request):
        files = files[:12]
    first = [await bundle_and_back(system, file, names) for file in files[:2]]

    wrong = await each(bundle_and_back(system, file, names) for file in files[2:])

    assert first == [None, None]
    assert not wrong, "\n".join(wrong)
