"""What was answered is there after `kill -9`, whole and once."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import httpx2 as httpx

from fhir_server.demo_dossiers import CASES, Person, envelope, visit
from tests.people import S
from tests.server import Server

DOSSIERS = int(os.environ.get("TEST_KILL_DOSSIERS", "200"))
CLIENTS = 16
KILLS = 5
WITHIN = 240.0
"""Seconds in which all must be answered, restarts and a busy machine included."""


def dossier(number: int) -> tuple[str, bytes]:
    """Return a dossier of a person of its own, and its key."""
    random = Random(number)
    person = Person(
        f"NGƯỜI THỬ {chr(65 + number % 26)}{chr(65 + number // 26 % 26)}",
        f"099190{number:06d}",
        datetime(1990, 1, 1).date() + timedelta(days=number),
        "1",
        f"GD4990{number:09d}",
        ma_bn=f"BN-KILL-{number}",
    )
    key = f"KILL-{number}"
    start = datetime(2026, 10, 1, 7, 0) + timedelta(minutes=number)
    return key, envelope("01999", [visit(person, "01999", key, start, CASES[number % 5], random)])


class Pushing:
    """Clients that push dossiers until each is answered, while their server is killed.

    It is killed after a random number of answers, not a random time, so that each kill meets a
    server at work however fast the machine is.
    """

    def __init__(self, server: Server, token: str) -> None:
        self.server = server
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/xml"}
        self.answered: dict[str, str] = {}
        self.is_over = threading.Event()
        self.deadline = time.monotonic() + WITHIN
        self.kills = 0

    def push(self, numbers: range) -> None:
        """Be one client: push each dossier until it is answered."""
        with httpx.Client(base_url=self.server.url, headers=self.headers, timeout=20) as http:
            for number in numbers:
                self._push(http, *dossier(number))

    def _push(self, http: httpx.Client, key: str, body: bytes) -> None:
        while key not in self.answered:
            assert not self.is_over.is_set(), "the server did not come back"
            assert time.monotonic() < self.deadline, f"{key} was not answered in {WITHIN} s"
            try:
                answer = http.post("/submissions", content=body)
            except httpx.HTTPError:
                time.sleep(0.1)
                continue
            assert answer.status_code in {200, 503}, answer.text
            if answer.status_code == 200:
                self.answered[key] = answer.json()["dossiers"][0]["encounter"]

    def kill(self, seed: int) -> None:
        """Kill the server and start it again, again and again."""
        random = Random(seed)
        try:
            for after in sorted(random.sample(range(DOSSIERS * 9 // 10), KILLS)):
                while len(self.answered) < after and time.monotonic() < self.deadline:
                    time.sleep(0.005)
                time.sleep(random.uniform(0, 0.1))
                self.server.kill()
                self.kills += 1
                self.server.start()
        except BaseException:
            self.is_over.set()
            raise


def test_what_was_answered_survives_kill_9(tmp_path: Path) -> None:
    """16 clients push while the server is killed at random: nothing answered is lost or halved."""
    server = Server(tmp_path).start()
    pushing = Pushing(server, server.token(client="hospital-01999"))

    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        killing = pool.submit(pushing.kill, 11)
        shares = [range(first, DOSSIERS, CLIENTS) for first in range(CLIENTS)]
        pushes = [pool.submit(pushing.push, share) for share in shares]
        for done in (killing, *pushes):
            done.result()
    server.kill()
    server.start()

    answered = pushing.answered
    assert (len(answered), pushing.kills) == (DOSSIERS, KILLS)
    http = server.client(server.token(client="hospital-01999"))
    for number in range(DOSSIERS):
        key, _ = dossier(number)
        found = http.get(
            "/fhir/Encounter",
            params={
                "identifier": f"{S}/ma-lk|01999|{key}",
                "_revinclude": ["Condition:encounter", "MedicationRequest:encounter"],
            },
        ).json()["entry"]
        encounters = [e["resource"] for e in found if e["resource"]["resourceType"] == "Encounter"]
        kinds = [e["resource"]["resourceType"] for e in found]
        assert [f"Encounter/{e['id']}" for e in encounters] == [answered[key]], key
        assert encounters[0]["meta"]["versionId"] == "1"
        case = CASES[number % 5]
        assert kinds.count("Condition") == 1 + bool(case.ma_benh_kt)
        assert kinds.count("MedicationRequest") == len(case.drugs)
    server.stop()
