"""A search parameter of the store's own, at two servers that are killed while they index by it."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from typing import Any, Final

import httpx2 as httpx
import pytest

from fhir_server.interactions.own_parameters import Job, job_of
from fhir_server.settings import Settings
from fhir_server.stores import open_store
from tests.contracts.test_own_parameters import COLOURS, EYE, definition
from tests.server import Server

PATIENTS: Final = 10_000
WITHIN: Final = 120.0
"""Seconds in which the parameter is ready, whoever was killed."""


def patient(number: int) -> dict[str, Any]:
    """Return a Patient with eyes of the colour of its number."""
    colour = COLOURS[number % 3]
    return {
        "resourceType": "Patient",
        "id": f"p{number}",
        "extension": [{"url": EYE, "valueCode": colour}],
    }


def put(http: httpx.Client, numbers: range) -> None:
    """Write Patients in one transaction."""
    entries = [
        {"resource": patient(n), "request": {"method": "PUT", "url": f"Patient/p{n}"}}
        for n in numbers
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    answer = http.post("/fhir", json=bundle)
    assert answer.status_code == 200, answer.text


def asked(http: httpx.Client, colour: str) -> httpx.Response:
    """Ask for Patients, leniently: what is not understood might be left out."""
    return http.get("/fhir/Patient", params={"eye": colour, "_summary": "count"})


def progress(http: httpx.Client) -> int | None:
    """Return how much is indexed, in hundredths; None where the parameter can be used."""
    answer = asked(http, "brown")
    if answer.status_code == 200:
        return None
    assert answer.status_code == 400, answer.text
    (issue,) = answer.json()["issue"]
    assert issue["code"] == "not-supported"
    assert "being indexed" in issue["details"]["text"]
    found = re.search(r"\((\d+) % done\)", issue["details"]["text"])
    return int(found[1]) if found else 0


async def begun(url: str) -> Job:
    """Return how far the indexing is once some is done, as the store has it.

    A server tells what it knew up to two seconds ago: too late to be killed in the middle.
    """
    store = await open_store(Settings(store=url))
    try:
        until = time.monotonic() + WITHIN
        while (job := await job_of(store)) is None or not job.done:
            assert time.monotonic() < until
            await asyncio.sleep(0.01)
    finally:
        await store.close()
    return job


@pytest.mark.timeout(300)
def test_a_parameter_becomes_ready_though_the_servers_are_killed(
    two: tuple[Server, Server],
) -> None:
    """Both are killed while one indexes; started again they go on, and nothing is missed.

    Meanwhile Patients are written at both: before, during and after, each is found.
    """
    first, second = two
    token = first.token(client="system")
    one, other = first.client(token), second.client(token)
    for begin in range(0, PATIENTS, 500):
        put(one, range(begin, begin + 500))

    assert one.put("/fhir/SearchParameter/eye", json=definition()).status_code == 201
    written = PATIENTS
    until = time.monotonic() + WITHIN
    assert progress(one) is not None
    put(other, range(written, written + 1))
    written += 1
    asyncio.run(begun(first.store))
    first.kill()
    second.kill()
    left = asyncio.run(begun(first.store))
    assert 0 < left.done < left.total, "it was ready before anybody was killed"
    for server in two:
        server.start()
    token = first.token(client="system")
    one, other = first.client(token), second.client(token)
    ended = threading.Event()

    def write() -> None:
        nonlocal written
        while not ended.is_set():
            put(other if written % 2 else one, range(written, written + 1))
            written += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while progress(one) is not None or progress(other) is not None:
            assert time.monotonic() < until
            time.sleep(0.1)
    finally:
        ended.set()
        writer.join()
    put(other, range(written, written + 9))
    written += 9

    for http in (one, other):
        for at, colour in enumerate(COLOURS):
            assert asked(http, colour).json()["total"] == len(range(at, written, 3))
        (rest,) = http.get("/fhir/metadata").json()["rest"]
        searched = next(each for each in rest["resource"] if each["type"] == "Patient")
        stated = {"name": "eye", "definition": definition()["url"], "type": "token"}
        assert stated in searched["searchParam"]

    # Deleted, it is unknown at both within two seconds, and there at once.
    assert one.delete("/fhir/SearchParameter/eye").status_code == 204
    strict = {"Prefer": "handling=strict"}
    assert one.get("/fhir/Patient?eye=brown", headers=strict).status_code == 400
    time.sleep(2.5)
    assert other.get("/fhir/Patient?eye=brown", headers=strict).status_code == 400
