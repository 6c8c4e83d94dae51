"""Every conditional form at once over HTTP, at two servers: one wins, or all stay; nothing is lost.

The same below HTTP, and more: `tests/fhir_server/interactions/test_races.py`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2 as httpx
import pytest

from fhir_server.model import codec
from fhir_server.rest.routes import fhir_app
from fhir_server.store.port import Version
from tests.conftest import BASE, World
from tests.fhir_server.interactions.test_transaction import bundle, entry
from tests.fhir_server.interactions.test_writes import observation, patient

CLIENTS: Final = 50
ONE: Final = "identifier=http://example.org/mrn|1"
JSON: Final = {"Content-Type": "application/fhir+json"}
PATCH: Final = {"Content-Type": "application/json-patch+json"}
FIRST: Final = {"If-Match": 'W/"1"'}
NONE: Final = {"If-None-Match": "*"}

Two = tuple[World, World]
Clients = tuple[httpx.AsyncClient, httpx.AsyncClient]


@pytest.fixture
async def clients(two: Two) -> AsyncIterator[Clients]:
    """The system's clients of two servers over one store."""
    async with AsyncExitStack() as stack:
        made = [
            await stack.enter_async_context(
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(fhir_app(world.context_of, base_url=BASE)),
                    base_url=BASE + "/",
                    headers={"Authorization": "Bearer system"},
                    timeout=None,
                )
            )
            for world in two
        ]
        yield made[0], made[1]


def named(number: int, **more: Any) -> dict[str, Any]:
    """Return the Patient with the identifier, as one client knows it."""
    return patient(name=[{"text": f"n{number}"}], **more)


def add_name(number: int) -> list[dict[str, Any]]:
    """Return a JSON Patch that adds what one client knows."""
    return [{"op": "add", "path": "/name/-", "value": {"text": f"n{number}"}}]


@dataclass(frozen=True)
class Asked:
    """What all ask at once.

    Attributes:
        body: What one client sends.
        there: Whether the Patient is there before, at version 1.
        won: The status of the one who wins, with an id of its own.
        lost: That of the others.
    """

    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    body: Callable[[int], Any] = named
    there: bool = True
    won: int = 200
    lost: int = 412

    async def of(self, client: httpx.AsyncClient, number: int) -> httpx.Response:
        """Ask as one client."""
        content = None if self.method == "DELETE" else codec.dumps(self.body(number))
        headers = (PATCH if self.method == "PATCH" else JSON) | self.headers
        return await client.request(self.method, self.url, content=content, headers=headers)


def own(number: int) -> dict[str, Any]:
    """Return the Patient under the id that its client chose."""
    return named(number, id="a")


WON_BY_ONE: Final = {
    "create": Asked("POST", "Patient", {"If-None-Exist": ONE}, there=False, won=201, lost=200),
    "update": Asked("PUT", "Patient/a", FIRST, own),
    "update as create": Asked("PUT", "Patient/a", NONE, own, there=False, won=201),
    "update by criteria": Asked("PUT", f"Patient?{ONE}", FIRST),
    "create by criteria": Asked("PUT", f"Patient?{ONE}", NONE, there=False, won=201),
    "patch": Asked("PATCH", "Patient/a", FIRST, add_name),
    "patch by criteria": Asked("PATCH", f"Patient?{ONE}", FIRST, add_name),
    "delete": Asked("DELETE", "Patient/a", FIRST, won=204),
}


async def at_once(
    clients: Clients, ask: Callable[[httpx.AsyncClient, int], Awaitable[httpx.Response]]
) -> list[httpx.Response]:
    """Let fifty clients ask at once, by turns at either server."""
    return await asyncio.gather(*(ask(clients[n % 2], n) for n in range(CLIENTS)))


async def versions(two: Two, kind: str = "Patient") -> list[Version]:
    """Return all versions of a type, the oldest first."""
    page = await two[1].store.history(kind, None, count=1000)
    return list(page.versions)[::-1]


def names(version: Version) -> list[str]:
    """Return the names that a version has."""
    return [one["text"] for one in codec.loads(version.body)["name"]]


def statuses(answers: list[httpx.Response]) -> Counter[int]:
    """Return how many were answered with which status."""
    return Counter(one.status_code for one in answers)


@pytest.mark.parametrize("asked", WON_BY_ONE.values(), ids=list(WON_BY_ONE))
async def test_one_of_fifty_wins(two: Two, clients: Clients, asked: Asked) -> None:
    """The others are told so, and the one new version is the winner's."""
    if asked.there:
        await two[0].put(patient(name=[{"text": "first"}]) | {"id": "a"})

    answers = await at_once(clients, asked.of)

    assert statuses(answers) == {asked.won: 1, asked.lost: CLIENTS - 1}
    made = await versions(two)
    assert [one.version_id for one in made] == ([1, 2] if asked.there else [1])
    (winner,) = [n for n, one in enumerate(answers) if one.status_code == asked.won]
    if asked.method == "DELETE":
        assert made[-1].deleted
        return
    before = ["first"] if asked.method == "PATCH" else []
    assert names(made[-1]) == [*before, f"n{winner}"]
    if asked.lost == 200:
        assert len({one.headers["Location"] for one in answers}) == 1


async def test_fifty_updates_by_criteria_are_fifty_versions(two: Two, clients: Clients) -> None:
    """One makes the Patient, each other a version of it: what each sent is in one."""
    answers = await at_once(clients, Asked("PUT", f"Patient?{ONE}").of)

    assert statuses(answers) == {201: 1, 200: CLIENTS - 1}
    made = await versions(two)
    assert [one.version_id for one in made] == list(range(1, CLIENTS + 1))
    assert len({one.resource_id for one in made}) == 1
    told = {one.headers["ETag"]: f"n{number}" for number, one in enumerate(answers)}
    assert told == {f'W/"{one.version_id}"': names(one)[0] for one in made}


async def test_fifty_patches_by_criteria_all_stay(two: Two, clients: Clients) -> None:
    """Each sees those before it: the last version has the names of all."""
    await two[0].put(patient(name=[{"text": "first"}]) | {"id": "a"})

    answers = await at_once(clients, Asked("PATCH", f"Patient?{ONE}", body=add_name).of)

    assert statuses(answers) == {200: CLIENTS}
    made = await versions(two)
    assert [one.version_id for one in made] == list(range(1, CLIENTS + 2))
    assert sorted(names(made[-1])) == sorted(["first", *(f"n{n}" for n in range(CLIENTS))])


async def test_fifty_deletes_by_criteria_make_one_deletion(two: Two, clients: Clients) -> None:
    """All end well, and each match is deleted once."""
    for identity in ("a", "b"):
        await two[0].put(patient() | {"id": identity})

    answers = await at_once(clients, Asked("DELETE", f"Patient?{ONE}").of)

    assert statuses(answers).keys() <= {200, 204}
    made = await versions(two)
    assert sorted((one.resource_id, one.deleted) for one in made) == [
        ("a", False), ("a", True), ("b", False), ("b", True),
    ]  # fmt: skip


def with_visit(made: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a transaction that makes the Patient so, and an Observation of the Patient."""
    about = observation(made["fullUrl"]) | {"code": {"text": f"n{number}"}}
    return bundle(made, entry("POST", "Observation", about))


@pytest.mark.parametrize("ways", ["create", "update", "both"])
async def test_fifty_transactions_bring_one_patient(two: Two, clients: Clients, ways: str) -> None:
    """Different Bundles of one identifier, by conditional create and update: all Observations are
    there, and are of the one Patient.
    """  # noqa: D205 - one sentence
    urn = "urn:uuid:11111111-1111-4111-8111-111111111111"

    of_four = {"create": 4, "update": 0, "both": 2}[ways]
    creates = {number for number in range(CLIENTS) if number % 4 < of_four}

    async def ask(client: httpx.AsyncClient, number: int) -> httpx.Response:
        one = named(number)
        if number in creates:
            made = entry("POST", "Patient", one, full_url=urn, ifNoneExist=ONE)
        else:
            made = entry("PUT", f"Patient?{ONE}", one, full_url=urn)
        return await client.post("", content=codec.dumps(with_visit(made, number)), headers=JSON)

    answers = await at_once(clients, ask)

    assert statuses(answers) == {200: CLIENTS}
    told = [one.json()["entry"][0]["response"]["status"][:3] for one in answers]
    assert Counter(told) == {"201": 1, "200": CLIENTS - 1}
    made = await versions(two)
    (identity,) = {one.resource_id for one in made}
    assert [one.version_id for one in made] == list(range(1, len(made) + 1))
    # Each update is a version, and so is a create that was first.
    first = told.index("201") in creates
    assert len(made) == CLIENTS - len(creates) + first
    found = [codec.loads(one.body) for one in await versions(two, "Observation")]
    assert {one["subject"]["reference"] for one in found} == {f"Patient/{identity}"}
    assert sorted(one["code"]["text"] for one in found) == sorted(
        f"n{number}" for number in range(CLIENTS)
    )


async def test_fifty_transactions_that_delete_by_criteria_are_each_whole(
    two: Two, clients: Clients
) -> None:
    """The match is deleted once, and what each Bundle brings besides is there."""
    await two[0].put(patient() | {"id": "a"})

    async def ask(client: httpx.AsyncClient, number: int) -> httpx.Response:
        asked = bundle(
            entry("DELETE", f"Patient?{ONE}"),
            entry("POST", "Basic", {"resourceType": "Basic", "code": {"text": f"n{number}"}}),
        )
        return await client.post("", content=codec.dumps(asked), headers=JSON)

    answers = await at_once(clients, ask)

    assert statuses(answers) == {200: CLIENTS}
    assert [one.deleted for one in await versions(two)] == [False, True]
    assert await two[0].store.count("Basic") == CLIENTS
