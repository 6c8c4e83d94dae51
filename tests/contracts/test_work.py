"""What one request may search for in all is bounded; what nobody waits for any more ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2 as httpx
import pytest
import uvicorn

from fhir_server.interactions.context import FhirRequest
from fhir_server.interactions.perform import is_left, perform
from fhir_server.model import codec
from fhir_server.model.outcome import TooCostly
from fhir_server.rest import leaving
from fhir_server.rest.routes import fhir_app
from fhir_server.search.expression import Search
from fhir_server.search.reading import MAX_VALUES
from fhir_server.store import work
from fhir_server.store.port import Page, Store
from fhir_server.store.work import GivenUp, Work, working
from tests.conftest import BASE, World

MANY = 200
COSTLY = "Observation?status=final&_count=1000&_total=none"
"""All are brought, or looked at."""


def entry(method: str, url: str, resource: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a Bundle's entry."""
    body = {} if resource is None else {"resource": resource}
    return {**body, "request": {"method": method, "url": url}}


def bundle(kind: str, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a Bundle to be done."""
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


def observation(number: int) -> dict[str, Any]:
    """Return an Observation of the one Patient."""
    return {
        "resourceType": "Observation",
        "id": f"o{number}",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": f"{number % 97}-1"}]},
        "subject": {"reference": "Patient/p"},
    }


@pytest.fixture
async def full(each_store: Store) -> World:
    """A store of each kind with a Patient and Observations of it."""
    world = World(store=each_store)
    made = [entry("PUT", f"Observation/o{n}", observation(n)) for n in range(MANY)]
    patient = entry("PUT", "Patient/p", {"resourceType": "Patient", "id": "p"})
    await world.transaction(bundle("transaction", [patient, *made]), prefer="minimal")
    return world


async def _spent(world: World, interaction: str, **fields: Any) -> float:
    """Return what a request costs at least, in whole searches."""
    costs = []
    for _ in range(3):
        with working(Work()) as spent:
            await world.perform(interaction, **fields)
        costs.append(work.MOST - spent.left)
    return min(costs)


def _searched(url: str) -> dict[str, Any]:
    kind, _, query = url.partition("?")
    pairs = tuple(tuple(pair.split("=", 1)) for pair in query.split("&"))
    return {"resource_type": kind, "query": pairs}


async def test_the_entries_of_a_batch_have_one_budget(
    full: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries past it are too-costly, each by itself; what is cheap is answered still."""
    one = await _spent(full, "search-type", **_searched(COSTLY))
    monkeypatch.setattr(work, "MOST", 2.5 * one)
    entries = [entry("GET", COSTLY)] * 8 + [entry("GET", "Patient/p")]

    answer = await full.transaction(bundle("batch", entries))

    statuses = [each["response"]["status"][:3] for each in answer["entry"]]
    assert one > 0
    assert statuses[0] == "200"
    assert statuses[3:] == ["403"] * 5 + ["200"]
    (issue,) = answer["entry"][7]["response"]["outcome"]["issue"]
    assert issue["code"] == "too-costly"
    assert issue["expression"] == ["Bundle.entry[7]"]
    assert "respond-async" in issue["details"]["text"]
    (vietnamese,) = issue["details"]["_text"]["extension"]
    assert "respond-async" in str(vietnamese)


async def test_a_transaction_past_its_budget_makes_nothing(
    full: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole is refused, and the entry is named."""
    one = await _spent(full, "search-type", **_searched(COSTLY))
    monkeypatch.setattr(work, "MOST", 2.5 * one)
    made = entry("PUT", "Patient/q", {"resourceType": "Patient", "id": "q"})

    with pytest.raises(TooCostly) as refusal:
        await full.transaction(bundle("transaction", [made, *[entry("GET", COSTLY)] * 8]))

    (place,) = refusal.value.issues[0].expression
    assert place in {"Bundle.entry[2]", "Bundle.entry[3]", "Bundle.entry[4]"}
    assert await full.store.read("Patient", "q") is None


async def test_what_is_included_is_of_the_same_budget(
    full: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The matches may be had for what the whole may not."""
    bare = "Observation?_count=1000&_total=none"
    whole = f"{bare}&_include=Observation:subject&_revinclude:iterate=Observation:subject"
    alone = await _spent(full, "search-type", **_searched(bare))
    along = await _spent(full, "search-type", **_searched(whole))
    assert along > alone
    monkeypatch.setattr(work, "MOST", alone + (along - alone) / 4)

    await full.perform("search-type", **_searched(bare))
    with pytest.raises(TooCostly):
        await full.perform("search-type", **_searched(whole))


async def test_what_nobody_would_call_dear_is_far_from_it(full: World) -> None:
    """A Bundle of conditional creates, and one of many reads and small searches."""
    created = [
        {
            "resource": {
                "resourceType": "Basic",
                "code": {"text": "x"},
                "identifier": [{"system": "urn:x", "value": str(number)}],
            },
            "request": {
                "method": "POST", "url": "Basic", "ifNoneExist": f"identifier=urn:x|{number}",
            },
        }
        for number in range(50)
    ]  # fmt: skip
    read = [entry("GET", f"Observation?_id=o{n}") for n in range(30)]
    read += [entry("GET", f"Observation/o{n}") for n in range(30)]

    for kind, entries in (("transaction", created), ("batch", read)):
        with working(Work()) as spent:
            await full.transaction(bundle(kind, entries))
        assert spent.left > work.MOST * 0.9


async def test_the_largest_filter_stays_within_its_budget(each_store: Store) -> None:
    """All the values that one search may have, each a range: answered or refused, and bounded."""
    world = World(store=each_store)
    for number in range(3):
        await world.put(observation(number) | {"valueQuantity": {"value": number}})
    asked = " or ".join(f"value-quantity ap {n}.5" for n in range(MAX_VALUES))
    query = (("_filter", asked), ("_total", "none"))

    with working(Work()) as spent:
        try:
            await world.perform("search-type", resource_type="Observation", query=query)
        except TooCostly as refusal:
            assert refusal.issues[0].code == "too-costly"  # noqa: PT017 - either is right
    more = (("_filter", f"{asked} or value-quantity ap 7"),)
    with pytest.raises(TooCostly):
        await world.perform("search-type", resource_type="Observation", query=more)

    assert spent.left > work.MOST - 1.5


async def test_a_neighbour_is_answered_meanwhile(
    full: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that never needs to wait lets others have the event loop, each time it may."""
    monkeypatch.setattr(work, "BREATH", 0.0)
    batch = FhirRequest(
        "batch", resource=bundle("batch", [entry("GET", COSTLY)] * 60), method="POST"
    )
    doing = asyncio.create_task(perform(full.context(), batch))
    answered = 0
    while not doing.done():
        await full.perform("read", resource_type="Patient", resource_id="p")
        answered += 1
        await asyncio.sleep(0)

    assert (await doing).refusals == 0
    assert answered > 5  # without a breath 1 of memory, 2 of SQLite; MongoDB is waited for anyway


# A client that leaves


class Counted:
    """A store that counts its searches, and says when the first is asked."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.searches = 0
        self.begun = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def search(self, search: Search) -> Page:
        """Search, not too fast for the test."""
        self.searches += 1
        self.begun.set()
        await asyncio.sleep(0.005)
        return await self._store.search(search)


@asynccontextmanager
async def served(world: World) -> AsyncIterator[int]:
    """Give the port of loopback on which the FHIR app is served."""
    app = fhir_app(world.context_of, base_url=BASE, max_body=1_000_000)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(app, lifespan="off", log_level="warning")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:  # noqa: ASYNC110 - uvicorn has nothing to be waited for
            await asyncio.sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        await serving


async def _leave(port: int, body: dict[str, Any], begun: asyncio.Event) -> None:
    """Send a Bundle over a bare connection, and be gone once it is worked on."""
    sent = codec.dumps(body)
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /fhir HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer system\r\n"
        b"Content-Type: application/fhir+json\r\nContent-Length: %d\r\n\r\n" % len(sent) + sent
    )
    await writer.drain()
    await begun.wait()
    writer.transport.abort()


async def _recorded(world: World, code: str) -> dict[str, Any]:
    """Wait for the AuditEvent of a Bundle that is done, or given up."""
    async with asyncio.timeout(30):
        while True:
            for one in await world.store.audit(limit=5):
                if f'"{code}"'.encode() in one.body:
                    return codec.loads(b'{"facts":%b}' % one.body)
            await asyncio.sleep(0.01)


async def test_a_batch_of_reads_ends_when_its_client_has_left(
    full: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No further entry is begun; the record says that nobody was answered."""
    monkeypatch.setattr(leaving, "SOON", 0.01)
    full.store = counted = Counted(full.store)  # type: ignore[assignment]

    async with served(full) as port:
        await _leave(port, bundle("batch", [entry("GET", COSTLY)] * 400), counted.begun)
        record = await _recorded(full, "batch")
        done = counted.searches
        await asyncio.sleep(0.1)

    assert 499 in record["facts"]
    assert counted.searches == done < 200


async def test_a_batch_that_writes_is_finished_when_its_client_has_left(
    full: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every entry is done, as if the client were there."""
    monkeypatch.setattr(leaving, "SOON", 0.01)
    full.store = counted = Counted(full.store)  # type: ignore[assignment]
    made = [
        entry("PUT", f"Patient/n{n}", {"resourceType": "Patient", "id": f"n{n}"}) for n in range(5)
    ]

    async with served(full) as port:
        asked = bundle("batch", [*[entry("GET", COSTLY)] * 20, *made])
        await _leave(port, asked, counted.begun)
        record = await _recorded(full, "batch")

    assert 200 in record["facts"]
    assert counted.searches == 20
    found = await full.store.read_many([("Patient", f"n{n}") for n in range(5)])
    assert None not in found


async def test_a_question_that_is_being_asked_ends() -> None:
    """What another process is asked is cancelled, and comes out as given up, not as cancelled."""
    one = Work()
    one.is_watched = True
    asking = asyncio.create_task(one.asked(asyncio.sleep(60)))
    await asyncio.sleep(0)
    one.give_up()

    with pytest.raises(GivenUp):
        await asking


@pytest.mark.parametrize(
    ("request_", "is_so"),
    [
        (FhirRequest("search-type", "Patient"), True),
        (FhirRequest("history-system"), True),
        (FhirRequest("create", "Patient", method="POST"), False),
        (FhirRequest("job-cancel"), False),
        (FhirRequest("batch", resource=bundle("batch", [entry("GET", "Patient/p")])), True),
        (FhirRequest("batch", resource=bundle("batch", [entry("POST", "Patient/_search")])), True),
        (FhirRequest("batch", resource=bundle("batch", [entry("DELETE", "Patient/p")])), False),
        (FhirRequest("batch", resource={"entry": [1]}), False),
    ],
)
def test_what_may_be_left(request_: FhirRequest, is_so: bool) -> None:  # noqa: FBT001 - a case
    """What only reads, and nothing else."""
    assert is_left(World().context(), request_) == is_so


async def test_an_answered_request_leaves_no_watch(full: World) -> None:
    """A request that lasts and is answered ends as it should."""
    app = fhir_app(full.context_of, base_url=BASE, max_body=1_000_000)
    transport = httpx.ASGITransport(app)
    headers = {"Authorization": "Bearer system"}
    async with httpx.AsyncClient(
        transport=transport, base_url=BASE + "/", headers=headers
    ) as client:
        before = asyncio.all_tasks()
        assert (await client.get("Observation?_count=5")).status_code == 200
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before
