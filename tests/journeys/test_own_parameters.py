"""A search parameter of the store's own, at two servers that are killed while they index by it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx2 as httpx
import pytest

from tests.server import Server

PATIENTS: Final = 10_000
WITHIN: Final = 120.0
"""Seconds in which the parameter is ready, whoever was killed."""
EYE: Final = "http://example.vn/fhir/StructureDefinition/eye"
COLOURS: Final = ("brown", "blue", "green")
PARAMETER: Final = {
    "resourceType": "SearchParameter",
    "id": "eye",
    "url": "http://example.vn/fhir/SearchParameter/eye",
    "name": "Eye",
    "status": "active",
    "description": "Colour of the eyes",
    "code": "eye",
    "base": ["Patient"],
    "type": "token",
    "expression": f"Patient.extension.where(url='{EYE}').value",
}


@pytest.fixture
def two(engine: str, tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    """Two servers over one new store, with one public origin."""
    folder = tmp_path / "shared"
    first = Server(folder, engine=engine, tokens={})
    second = Server(folder, engine=engine)
    for server in (first, second):
        server.extra["FHIR_SERVER_BASE_URL"] = first.url
        server.start()
    yield first, second
    for server in (first, second):
        server.end()


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

    assert one.put("/fhir/SearchParameter/eye", json=PARAMETER).status_code == 201
    written = PATIENTS
    until = time.monotonic() + WITHIN
    while (done := progress(one)) is not None and not done:
        put(other if written % 2 else one, range(written, written + 1))
        written += 1
        assert time.monotonic() < until
    assert done, "it was ready before anybody was killed"
    first.kill()
    second.kill()
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
        assert progress(one) is None or progress(other) is not None
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
        definition = {"name": "eye", "definition": PARAMETER["url"], "type": "token"}
        assert definition in searched["searchParam"]

    # Deleted, it is unknown at both within two seconds, and there at once.
    assert one.delete("/fhir/SearchParameter/eye").status_code == 204
    strict = {"Prefer": "handling=strict"}
    assert one.get("/fhir/Patient?eye=brown", headers=strict).status_code == 400
    time.sleep(2.5)
    assert other.get("/fhir/Patient?eye=brown", headers=strict).status_code == 400
