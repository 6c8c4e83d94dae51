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


def test_what_was_answered_survives_kill_9(tmp_path: Path) -> None:
    """16 clients push while the server is killed at random: nothing answered is lost or halved."""
    server = Server(tmp_path).start()
    token = server.token(client="hospital-01999")
    answered: dict[str, str] = {}
    ended = threading.Event()

    def push(number: int) -> None:
        key, body = dossier(number)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/xml"}
        while key not in answered:
            try:
                answer = httpx.post(
                    f"{server.url}/submissions", content=body, headers=headers, timeout=20
                )
            except httpx.HTTPError:
                time.sleep(0.1)
                continue
            assert answer.status_code in {200, 503}, answer.text
            if answer.status_code == 200:
                answered[key] = answer.json()["dossiers"][0]["encounter"]

    def killer() -> None:
        random = Random(11)
        for _ in range(5):
            if ended.wait(random.uniform(0.3, 1.2)):
                return
            server.kill()
            server.start()

    thread = threading.Thread(target=killer)
    thread.start()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(push, range(DOSSIERS)))
    ended.set()
    thread.join()
    server.kill()
    server.start()

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
