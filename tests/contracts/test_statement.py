"""Every claim of the CapabilityStatement is called, over every store.

What the statement comes to claim besides makes the test fail until it is called here too: each walk
says which keys and codes it has called.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx2 as httpx
import pytest

from fhir_server.interactions.capabilities import capability_statement
from fhir_server.model import codec
from fhir_server.operations.table import OPERATIONS
from fhir_server.rest.routes import fhir_app
from fhir_server.search.parameters import Parameter, parameters
from fhir_server.search.several import WHOLE
from fhir_server.store.port import Store
from tests.conftest import BASE, World
from tests.contracts.conftest import STORES
from tests.least import least

STATEMENT: Final = capability_statement(BASE, OPERATIONS)
(REST,) = STATEMENT["rest"]
STRICT: Final = {"Prefer": "handling=strict"}
JSON: Final = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"}
JSON_PATCH: Final = {"Content-Type": "application/json-patch+json"}
IN_VIETNAMESE: Final = [{"op": "add", "path": "/language", "value": "vi"}]

MOST_INCLUDES: Final = 40
"""Of one search."""
AT_ONCE: Final = 8
"""Types that are called at the same time: a store of another process keeps each waiting."""

Client = httpx.AsyncClient
Claims = dict[str, Any]


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store."""
    opened = await STORES[request.param](tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
async def server(world: World) -> AsyncIterator[Client]:
    """The system's client of a server with its operations."""

    async def context_of(authorization: str | None, source: str, purpose: str = "", /) -> Any:
        ctx = await world.context_of(authorization, source, purpose)
        return world.context(ctx.principal, operations=OPERATIONS)

    app = fhir_app(context_of, base_url=BASE, operations=OPERATIONS)
    headers = {"Authorization": "Bearer system", "Accept": "application/fhir+json"}
    async with Client(
        transport=httpx.ASGITransport(app), base_url=f"{BASE}/", headers=headers
    ) as client:
        yield client


async def ask(
    server: Client, status: int, method: str, url: str, body: Any = None, **headers: str
) -> httpx.Response:
    """Ask, and be answered with the status."""
    said = {name.replace("_", "-"): value for name, value in headers.items()}
    content = body if isinstance(body, bytes) or body is None else codec.dumps(body)
    answer = await server.request(
        method, url, content=content, headers=(JSON if content else {}) | said
    )
    assert answer.status_code == status, (method, url, answer.status_code, answer.text[:600])
    return answer


async def total(server: Client, url: str) -> int:
    """Return how many a search or history has, asked strictly."""
    answer = await ask(server, 200, "GET", url, **STRICT)
    found: int = answer.json()["total"]
    return found


async def test_the_statement_is_what_is_served(server: Client) -> None:
    """What is walked here is what a client is told."""
    served = (await ask(server, 200, "GET", "metadata")).json()

    assert served == codec.loads(codec.dumps(STATEMENT))
    assert REST.keys() == {
        "mode", "documentation", "security", "resource", "interaction", "searchParam",
        "compartment",
    }  # fmt: skip


@pytest.mark.parametrize("claims", REST["resource"], ids=lambda one: one["type"])
def test_no_claim_of_a_type_is_unknown_here(claims: Claims) -> None:
    """Each key is walked below, with the value that it has."""
    assert claims.keys() <= {
        "type", "profile", "interaction", "versioning", "readHistory", "updateCreate",
        "conditionalCreate", "conditionalRead", "conditionalUpdate", "conditionalDelete",
        "referencePolicy", "searchInclude", "searchRevInclude", "searchParam", "operation",
        "documentation",
    }  # fmt: skip
    assert {one["code"] for one in claims["interaction"]} == {
        "read", "vread", "update", "patch", "delete", "history-instance", "history-type", "create",
        "search-type",
    }  # fmt: skip
    assert claims["profile"] == f"http://hl7.org/fhir/StructureDefinition/{claims['type']}"
    assert claims["versioning"] == "versioned-update"
    assert claims["conditionalRead"] == "full-support"
    assert claims["conditionalDelete"] == "multiple"
    assert claims["referencePolicy"] == ["literal", "local"]
    for name in ("readHistory", "updateCreate", "conditionalCreate", "conditionalUpdate"):
        assert claims[name] is True


async def test_every_interaction_of_every_type(server: Client) -> None:
    """Made, read, changed, found and deleted, by id and by criteria, with every precondition."""
    kinds = [claims["type"] for claims in REST["resource"]]
    for first in range(0, len(kinds), AT_ONCE):
        await asyncio.gather(
            *(_interactions(server, one) for one in kinds[first : first + AT_ONCE])
        )


async def _interactions(server: Client, kind: str) -> None:
    made = await ask(server, 201, "POST", kind, least(kind), If_None_Exist="_id=nobody")
    name = made.headers["Location"].removeprefix(f"{BASE}/").partition("/_history")[0]
    identity = name.partition("/")[2]
    one = made.json()

    again = await ask(server, 200, "POST", kind, least(kind), If_None_Exist=f"_id={identity}")
    assert again.headers["Location"] == made.headers["Location"]
    assert (await ask(server, 200, "GET", name)).json() == one
    await ask(server, 304, "GET", name, If_None_Match='W/"1"')
    since = made.headers["Last-Modified"]
    await ask(server, 304, "GET", name, If_Modified_Since=since)
    await ask(server, 412, "PUT", name, one | {"language": "en"}, If_Match='W/"7"')
    updated = await ask(server, 200, "PUT", name, one | {"language": "en"}, If_Match='W/"1"')
    assert updated.headers["ETag"] == 'W/"2"'
    patched = await ask(server, 200, "PATCH", name, IN_VIETNAMESE, **JSON_PATCH)
    assert patched.json()["language"] == "vi"
    by_criteria = await ask(server, 200, "PUT", f"{kind}?_id={identity}", one)
    assert by_criteria.headers["ETag"] == 'W/"4"'
    assert (await ask(server, 200, "GET", f"{name}/_history/1")).json() == one
    own = {**least(kind), "id": "own"}
    await ask(server, 201, "PUT", f"{kind}/own", own)

    assert await total(server, f"{name}/_history") == 4
    assert await total(server, f"{kind}/_history") == 5
    assert await total(server, f"{kind}?_id={identity},own") == 2

    await ask(server, 204, "DELETE", f"{kind}/own")
    await ask(server, 410, "GET", f"{kind}/own")
    await ask(server, 201, "PUT", f"{kind}/own", own)
    await ask(server, 204, "DELETE", f"{kind}?_id={identity},own")
    for gone in (name, f"{kind}/own"):
        await ask(server, 410, "GET", gone)


VALUES: Final = {
    "date": "2024-01-01", "number": "1", "quantity": "1", "reference": "x", "string": "x",
    "token": "true", "uri": "http://example.org/x",
}  # fmt: skip
SPECIAL: Final = {
    "_content": "x", "_filter": "_id eq x", "_list": "x", "_text": "x", "near": "10|10|1|km",
}  # fmt: skip


def value_of(claim: Claims, known: Parameter | None) -> str:
    """Return what a parameter may be asked for."""
    if claim["type"] == "special":
        return SPECIAL[claim["name"]]
    if claim["type"] == "composite":
        assert known is not None
        return "$".join(VALUES[one.type] for one in known.components)
    return VALUES[claim["type"]]


async def test_every_parameter_of_every_type(server: Client) -> None:
    """Each is known, of the type that is said, and part of what the search says that it asked."""
    await ask(server, 201, "PUT", "List/x", {**least("List"), "id": "x"})

    async def search(kind: str, claim: Claims) -> None:
        name = claim["name"]
        known = parameters(kind).get(name)
        assert known is None or (known.url, known.type) == (claim["definition"], claim["type"])
        value = value_of(claim, known)
        query = httpx.QueryParams({name: value, "_summary": "count"})
        path = "" if kind == WHOLE else kind
        answer = await ask(server, 200, "GET", f"{path}?{query}", **STRICT)
        (link,) = [one["url"] for one in answer.json()["link"] if one["relation"] == "self"]
        assert (name, value) in httpx.URL(link).params.multi_items()

    asked = 0
    for kind, claims in [*((one["type"], one) for one in REST["resource"]), (WHOLE, REST)]:
        some = claims["searchParam"]
        await asyncio.gather(*(search(kind, claim) for claim in some))
        asked += len(some)
        await ask(server, 400, "GET", f"{'' if kind == WHOLE else kind}?no-parameter=x", **STRICT)
    assert asked > 3000


async def test_every_include_of_every_type(server: Client) -> None:
    """Forwards and backwards, each with what it starts at; one that is not claimed is refused."""
    asked, every = 0, REST["resource"]
    for first in range(0, len(every), AT_ONCE):
        some = every[first : first + AT_ONCE]
        asked += sum(await asyncio.gather(*(_includes(server, one) for one in some)))
    assert asked > 13_000


async def _includes(server: Client, claims: Claims) -> int:
    """Return how many were asked for."""
    kind, asked = claims["type"], 0
    await ask(server, 201, "PUT", f"{kind}/x", {**least(kind), "id": "x"})
    for name in ("Include", "RevInclude"):
        values = claims.get(f"search{name}", [])
        for first in range(0, len(values), MOST_INCLUDES):
            some = values[first : first + MOST_INCLUDES]
            query = httpx.QueryParams([(f"_{name.lower()}", one) for one in some])
            answer = await ask(server, 200, "GET", f"{kind}?_id=x&{query}", **STRICT)
            assert answer.json()["entry"][0]["search"]["mode"] == "match"
            asked += len(some)
        wrong = f"{kind}?_id=x&_{name.lower()}={kind}:no-parameter"
        await ask(server, 400, "GET", wrong, **STRICT)
    return asked


async def test_every_operation(server: Client) -> None:
    """Each answers at its type, and where it is not said it is not known."""
    called = {"validate", "health-book", "access-history", "everything", "check", "submit"}
    for name in ("Patient", "Claim", "CoverageEligibilityRequest"):
        await ask(server, 201, "PUT", f"{name}/x", {**least(name), "id": "x"})
    for claims in REST["resource"]:
        kind = claims["type"]
        for claim in claims["operation"]:
            called.discard(claim["name"])
            match claim["name"]:
                case "validate":
                    await ask(server, 200, "POST", f"{kind}/$validate", least(kind))
                case "health-book" | "access-history" | "everything":
                    await ask(server, 200, "GET", f"{kind}/x/${claim['name']}")
                case "check":
                    checked = await server.post(f"{kind}/x/$check")
                    assert checked.json()["resourceType"] == "ClaimResponse"
                case "submit":
                    made = await server.post(f"{kind}/$submit", json=least(kind))
                    # It names no Coverage. What a whole one gives: operations/test_eligibility.py.
                    assert made.json()["issue"][0]["code"] == "required"
                case other:
                    raise AssertionError(f"{kind}/${other} is claimed, and not called here")
        assert "operation" not in REST
    assert not called
    await ask(server, 404, "POST", "Observation/$everything")


async def test_every_interaction_of_the_whole_system(server: Client) -> None:
    """Transaction, batch, search and history of all; every compartment."""
    assert {one["code"] for one in REST["interaction"]} == {
        "transaction", "batch", "search-system", "history-system",
    }  # fmt: skip
    for kind in ("transaction", "batch"):
        entry = {"resource": least("Basic"), "request": {"method": "POST", "url": "Basic"}}
        asked = {"resourceType": "Bundle", "type": kind, "entry": [entry]}
        done = (await ask(server, 200, "POST", "", asked)).json()
        assert done["type"] == f"{kind}-response"
        assert done["entry"][0]["response"]["status"][:3] == "201"
    assert await total(server, "?_type=Basic") == 2
    assert await total(server, "_history") == 2

    compartments = [one.rpartition("/")[2] for one in REST["compartment"]]
    of = {name.lower(): name for name in ("Device", "Encounter", "Patient", "Practitioner")}
    of["relatedperson"] = "RelatedPerson"
    assert sorted(compartments) == sorted(of)
    for name in of.values():
        await ask(server, 201, "PUT", f"{name}/x", {**least(name), "id": "x"})
        assert await total(server, f"{name}/x/Observation") == 0
        assert await total(server, f"{name}/x/*") >= 0


async def test_every_format(server: Client) -> None:
    """Each is answered by `_format`, and read and patched as what it is."""
    await ask(server, 201, "PUT", "Patient/x", {**least("Patient"), "id": "x"})
    for form in STATEMENT["format"]:
        answer = await server.get("Patient/x", params={"_format": form})
        assert answer.headers["Content-Type"].startswith(
            f"application/fhir+{'xml' if 'xml' in form else 'json'};"
        )
        if "/" in form:
            sent = await ask(server, 200, "PUT", "Patient/x", answer.content, Content_Type=form)
            assert sent.headers["ETag"] == 'W/"1"'
    operation: Claims = {
        "resourceType": "Parameters",
        "parameter": [
            {
                "name": "operation",
                "part": [
                    {"name": "type", "valueCode": "add"},
                    {"name": "path", "valueString": "Patient"},
                    {"name": "name", "valueString": "language"},
                    {"name": "value", "valueCode": "vi"},
                ],
            }
        ],
    }
    added = b'<diff xmlns:f="http://hl7.org/fhir"><add sel="/f:Patient/f:meta" pos="after">'
    added += b'<language xmlns="http://hl7.org/fhir" value="vi"/></add></diff>'
    bodies: dict[str, bytes] = {
        "application/fhir+json": codec.dumps(operation),
        "application/fhir+xml": codec.to_xml(operation),
        "application/json-patch+json": codec.dumps(IN_VIETNAMESE),
        "application/merge-patch+json": b'{"language":"vi"}',
        "application/xml-patch+xml": added,
    }
    assert sorted(STATEMENT["patchFormat"]) == sorted(bodies)
    for form, body in bodies.items():
        await ask(server, 200, "PUT", "Patient/x", {**least("Patient"), "id": "x"})
        answer = await ask(server, 200, "PATCH", "Patient/x", body, Content_Type=form)
        assert answer.json()["language"] == "vi", form


async def test_what_is_said_of_security_holds(server: Client) -> None:
    """Any origin may ask, and nobody without a token."""
    assert REST["security"]["cors"] is True
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    preflight = await server.options("Patient", headers=asked)
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    await ask(server, 401, "GET", "Patient", Authorization="Bearer nobody")
