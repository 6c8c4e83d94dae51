"""`fhir-server load`: dossiers in bulk, with progress, and once."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

from fhir_server.demo_dossiers import CASES, Person, envelope, visit
from tests.server import Server

DOSSIERS = int(os.environ.get("TEST_LOAD_DOSSIERS", "1000"))


def write_dossiers(folder: Path, count: int) -> None:
    """Write this many dossiers, twenty a file."""
    folder.mkdir()
    for first in range(0, count, 20):
        dossiers = []
        for number in range(first, min(first + 20, count)):
            random = Random(number)
            person = Person(
                f"NGƯỜI NẠP {chr(65 + number % 26)}{chr(65 + number // 26 % 26)}",
                f"099160{number // 3:06d}",
                datetime(1960, 1, 1).date() + timedelta(days=number // 3 * 7),
                "2",
                f"GD4990{number // 3:09d}",
                ma_bn=f"BN-LOAD-{number // 3}",
            )
            start = datetime(2025, 1, 1, 7, 0) + timedelta(hours=number * 3)
            case = CASES[number % len(CASES)]
            dossiers.append(visit(person, "01999", f"LOAD-{number}", start, case, random))
        (folder / f"{first:06d}.xml").write_bytes(envelope("01999", dossiers))


def test_dossiers_loaded_arrive_complete_and_once(tmp_path: Path) -> None:
    """All dossiers arrive, a second run makes nothing new, and progress is shown."""
    server = Server(tmp_path / "data").start()
    write_dossiers(tmp_path / "in", DOSSIERS)
    system = server.client(server.token(client="system"))

    def count(resource_type: str) -> int:
        answer = system.get(f"/fhir/{resource_type}", params={"_summary": "count"})
        return answer.json()["total"]

    before = {kind: count(kind) for kind in ("Encounter", "Claim", "Patient")}

    first = server.run("load", str(tmp_path / "in"))
    after = {kind: count(kind) for kind in before}
    second = server.run("load", str(tmp_path / "in"))

    assert after["Encounter"] - before["Encounter"] == DOSSIERS, first.stdout + first.stderr
    assert after["Claim"] - before["Claim"] == DOSSIERS
    assert {kind: count(kind) for kind in before} == after, second.stdout
    assert f"{DOSSIERS}" in first.stdout + first.stderr
    server.stop()
