"""Asynchronous requests at two servers over one store, whose processes are killed meanwhile."""

from __future__ import annotations

import time
from collections import Counter
from random import Random
from typing import Any, Final

import httpx2 as httpx
import pytest

from tests.people import FATHER, MOTHER
from tests.server import Server

ENTRIES: Final = 600
WITHIN: Final = 90.0
"""Seconds in which a job is done, whoever was killed."""
SYSTEM: Final = "urn:test:async"
ASYNC: Final = {"Prefer": "respond-async"}


class Following:
    """A client that asks after jobs at one server and another."""

    def __init__(self, first: Server, second: Server) -> None:
        token = first.token(client="system")
        self.origin = first.url
        self.first, self.second = first.client(token), second.client(token)

    def begin(self, http: httpx.Client, body: dict[str, Any]) -> str:
        """Begin a Bundle; return the path of its status."""
        headers = {"Prefer": "respond-async, return=representation"}
        answer = http.post("/fhir", json=body, headers=headers)
        assert answer.status_code == 202, answer.text
        return self.path(answer.headers["Content-Location"])

    def path(self, url: str) -> str:
        """Return the path of an absolute URL, to be asked for at either server."""
        assert url.startswith(f"{self.origin}/fhir/")
        return url.removeprefix(self.origin)

    def entries_done(self, http: httpx.Client, place: str) -> int:
        """Return how many entries of a batch are done."""
        answer = http.get(place)
        assert answer.status_code == 202, "it was done before anybody was killed"
        progress = answer.headers["X-Progress"]
        return int(progress.split(" of ")[0]) if " of " in progress else 0

    def until_done(self, http: httpx.Client, place: str, least: int) -> int:
        """Wait until so many entries of a batch are done; return how many are."""
        until = time.monotonic() + WITHIN
        while (done := self.entries_done(http, place)) < least:
            assert time.monotonic() < until, f"{done} entries"
        return done

    def answer(self, http: httpx.Client, place: str) -> dict[str, Any]:
        """Return the one resource that a job gives, once it is done."""
        until = time.monotonic() + WITHIN
        while (status := http.get(place)).status_code == 202:
            assert time.monotonic() < until, status.headers["X-Progress"]
            time.sleep(0.1)
        assert status.status_code == 200, status.text
        assert status.json()["error"] == []
        (item,) = status.json()["output"]
        (line,) = http.get(self.path(item["url"])).text.splitlines()
        return httpx.Response(200, text=line).json()


def creates(kind: str, name: str, count: int) -> dict[str, Any]:
    """Return a Bundle of creates, each of which makes another one whenever it is done."""
    return {
        "resourceType": "Bundle",
        "type": kind,
        "entry": [
            {
                "resource": {
                    "resourceType": "Basic",
                    "identifier": [{"system": SYSTEM, "value": f"{name}-{number}"}],
                    "code": {"text": name},
                },
                "request": {"method": "POST", "url": "Basic"},
            }
            for number in range(count)
        ],
    }


def made(http: httpx.Client, following: Following) -> Counter[str]:
    """Return how often there is a Basic of each identifier: by an asynchronous search of all."""
    begun = http.get("/fhir/Basic", params={"identifier": f"{SYSTEM}|"}, headers=ASYNC)
    place = following.path(begun.headers["Content-Location"])
    until = time.monotonic() + WITHIN
    while (status := http.get(place)).status_code == 202:
        assert time.monotonic() < until, status.headers["X-Progress"]
        time.sleep(0.1)
    found: Counter[str] = Counter()
    for item in status.json()["output"]:
        for line in http.get(following.path(item["url"])).text.splitlines():
            found[httpx.Response(200, text=line).json()["identifier"][0]["value"]] += 1
    return found


@pytest.mark.timeout(300)
def test_jobs_are_done_once_though_both_servers_are_killed(two: tuple[Server, Server]) -> None:
    """What one was at when it was killed the other ends: each write is made once, and answered.

    The transaction is killed before, at or after its commit; the batch between its entries, twice.
    """
    first, second = two
    following = Following(first, second)
    place = following.begin(following.first, creates("transaction", "t", ENTRIES))
    time.sleep(Random().uniform(0, 0.5))
    first.kill()

    answer = following.answer(following.second, place)

    assert Counter(one["response"]["status"][:3] for one in answer["entry"]) == {"201": ENTRIES}
    expected = Counter({f"t-{number}": 1 for number in range(ENTRIES)})
    assert made(following.second, following) == expected

    first.start()
    place = following.begin(following.first, creates("batch", "b", ENTRIES))
    done = following.until_done(following.second, place, ENTRIES // 20)
    first.kill()
    killed = following.entries_done(following.second, place)
    assert done <= killed < ENTRIES
    following.until_done(following.second, place, killed + ENTRIES // 20)
    second.kill()
    first.start()

    answer = following.answer(following.first, place)

    assert Counter(one["response"]["status"][:3] for one in answer["entry"]) == {"201": ENTRIES}
    order = [one["resource"]["identifier"][0]["value"] for one in answer["entry"]]
    assert order == [f"b-{number}" for number in range(ENTRIES)]
    expected.update({f"b-{number}": 1 for number in range(ENTRIES)})
    assert made(following.first, following) == expected
    first.stop()


def test_a_citizens_results_are_the_citizens_own(server: Server) -> None:
    """What the mother asked for she fetches, sees in who read the book, and removes."""
    mother = server.client(server.token(citizen=MOTHER))
    others = [
        server.client(server.token(citizen=FATHER)),
        server.client(server.token(client="system")),
    ]
    (person,) = mother.get("/fhir/Patient").json()["entry"]
    name = f"Patient/{person['resource']['id']}"
    begun = mother.get("/fhir/Observation?_count=1", headers=ASYNC)
    place = begun.headers["Content-Location"]
    until = time.monotonic() + WITHIN
    while (status := mother.get(place)).status_code == 202:
        assert time.monotonic() < until, status.headers["X-Progress"]
        time.sleep(0.05)

    (item,) = status.json()["output"]
    lines = mother.get(item["url"], headers={"Accept": "application/fhir+ndjson"}).text.splitlines()

    at_once = mother.get("/fhir/Observation?_count=1000").json()
    assert len(lines) == item["count"] == len(at_once["entry"]) > 1
    assert {httpx.Response(200, text=one).json()["subject"]["reference"] for one in lines} == {name}
    unknown = mother.get(f"{server.url}/fhir/$async-status/none")
    for http in others:
        for url in (place, item["url"]):
            assert (http.get(url).status_code, http.get(url).content) == (404, unknown.content)
    events = mother.get(f"/fhir/{name}/$access-history").json()["entry"]
    fetched = [e["resource"] for e in events if e["resource"]["subtype"][0]["code"] == "job-output"]
    assert fetched[0]["entity"][0]["what"]["reference"] == name
    assert mother.delete(place).status_code == 202
    for url in (place, item["url"]):
        assert mother.get(url).status_code == 404
