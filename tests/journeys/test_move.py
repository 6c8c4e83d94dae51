"""`fhir-server move`: a demo that grows up and comes back, and a large store, killed on its way."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.port import Store
from fhir_server.store.sqlite.store import SqliteStore
from tests.fhir_server.store.wholes import fill, said
from tests.people import MOTHER
from tests.server import COMMAND, ROOT, Server

RESOURCES = int(os.environ.get("TEST_MOVE_RESOURCES", "4000"))
KILLS = 3


async def opened(address: str) -> Store:
    """Open the store at an address."""
    if address.startswith("mongodb"):
        return await MongoStore.open(address)
    return await SqliteStore.open(Path(address.removeprefix("sqlite:///")))


async def all_of(address: str) -> dict[str, Any]:
    """Return all that a store says of itself."""
    store = await opened(address)
    try:
        return await said(store)
    finally:
        await store.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    """A demo server over a file, and the same one over a database: one folder, keys and port."""
    file = Server(tmp_path / "demo", engine="sqlite")
    database = Server(tmp_path / "demo", port=file.port, engine="mongodb")
    yield file, database
    for one in (file, database):
        one.end()


def test_a_demo_grows_up_and_comes_back(pair: tuple[Server, Server], tmp_path: Path) -> None:
    """Moved while it is served, then for good: people, logins, tokens, links and audit go on."""
    file, database = pair
    file.start()
    mother = file.token(citizen=MOTHER)
    hospital = file.token(client="hospital-01999")

    def seen(server: Server) -> list[Any]:
        paths = ("Patient", "Encounter?_sort=-date", "Observation?_count=100", "RelatedPerson")
        http = server.client(mother)
        found = [http.get(f"/fhir/{path}").json()["entry"] for path in paths]
        return [[entry["resource"] for entry in entries] for entries in found]

    before = seen(file)
    page = file.client(hospital).get("/fhir/Encounter", params={"_count": "2"}).json()
    following = next(link["url"] for link in page["link"] if link["relation"] == "next")
    rest = file.client(hospital).get(following).json()["entry"]
    move = ("move", "--from", file.store, "--to", database.store)

    refused = file.run(*move, check=False)
    live = file.run(*move, "--live")
    unfinished = database.run("serve", "--demo", "--port", "1", check=False)
    system = file.client(file.token(client="system"))
    system.put("/fhir/Patient/late", json={"resourceType": "Patient", "id": "late"})
    file.stop()
    last = file.run(*move)
    again = file.run(*move)

    assert (refused.returncode, "being served" in refused.stderr) == (1, True)
    assert "not be served yet" in live.stdout
    assert "store.indexing" not in live.stdout + live.stderr
    assert (unfinished.returncode, "not finished" in unfinished.stderr) == (1, True)
    assert "not be served yet" not in last.stdout
    assert f"{database.store.partition('?')[0]}: 0 versions brought" in again.stdout

    database.start()
    assert seen(database) == before
    assert database.client(hospital).get(following).json()["entry"] == rest
    system = database.client(database.token(client="system"))
    assert system.get("/fhir/Patient/late").status_code == 200
    assert "whole" in database.run("verify-audit").stdout
    served = database.run("move", "--from", database.store, "--to", f"sqlite:///{tmp_path}/x.db",
                          check=False)  # fmt: skip
    assert (served.returncode, "being served" in served.stderr) == (1, True)
    more = database.run(*move, check=False)
    assert more.returncode == 1
    system.put("/fhir/Patient/later", json={"resourceType": "Patient", "id": "later"})
    database.stop()

    (file.folder / "fhir.db").rename(tmp_path / "old.db")
    database.run("move", "--from", database.store, "--to", file.store)
    file.start()
    assert seen(file) == before
    system = file.client(file.token(client="system"))
    assert system.get("/fhir/Patient/later").status_code == 200
    assert "whole" in file.run("verify-audit").stdout
    assert file.run("doctor").returncode == 0
    file.stop()


def test_a_target_that_holds_more_is_not_equal(pair: tuple[Server, Server], tmp_path: Path) -> None:
    """After the move something was written to the target alone: exit status 1, and what it is."""
    file, _ = pair
    file.start()
    file.stop()
    target = f"sqlite:///{tmp_path}/target.db"
    move = ("move", "--from", file.store, "--to", target)
    file.run(*move)
    other = Server(tmp_path / "other", extra={"FHIR_SERVER_STORE": target}, engine="sqlite")
    other.extra["FHIR_SERVER_KEYS"] = f"{file.folder}/keys"
    load = tmp_path / "more.ndjson"
    load.write_text('{"resourceType": "Patient", "id": "more"}\n', "utf-8")
    other.run("load", str(load))

    done = file.run(*move, check=False)

    assert done.returncode == 1
    assert "Patient/more/_history/1 is in the target alone" in done.stdout
    assert re.search(r"NOT EQUAL: \d+ differences; the same in both: \w+", done.stdout)
    assert "compared and equal" not in done.stdout


def test_a_copy_of_a_served_database_is_restored(tmp_path: Path) -> None:
    """`backup` while it is served, `restore` once it is not; the copy is a store of its own."""
    server = Server(tmp_path / "demo", engine="mongodb").start()
    system = server.client(server.token(client="system"))
    system.put("/fhir/Patient/kept", json={"resourceType": "Patient", "id": "kept"})
    copy = tmp_path / "copy.db"

    server.run("backup", str(copy))
    system.put("/fhir/Patient/later", json={"resourceType": "Patient", "id": "later"})
    refused = server.run("restore", str(copy), check=False)
    server.kill()
    server.run("restore", str(copy))
    server.start()

    assert (refused.returncode, "being served" in refused.stderr) == (1, True)
    system = server.client(server.token(client="system"))
    assert system.get("/fhir/Patient/kept").status_code == 200
    assert system.get("/fhir/Patient/later").status_code == 404
    server.stop()
    embedded = Server(tmp_path / "embedded", engine="sqlite")
    embedded.folder.mkdir()
    copy.rename(embedded.folder / "fhir.db")
    embedded.extra["FHIR_SERVER_KEYS"] = f"{server.folder}/keys"
    embedded.start()
    system = embedded.client(embedded.token(client="system"))
    assert system.get("/fhir/Patient/kept").status_code == 200
    embedded.stop()


# --- killed on its way -----------------------------------------------------------------------


class Moves:
    """Runs the command, and kills it now and then when it has said so much of its progress."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self.kills = 0
        self.seconds: list[float] = []

    def run(self, source: str, target: str, *options: str) -> str:
        """Kill it some times, then let it end; return what it printed."""
        for _ in range(KILLS):
            self._killed(source, target, *options)
        began = time.monotonic()
        done = subprocess.run(
            [*COMMAND, "move", "--from", source, "--to", target, *options],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        self.seconds.append(time.monotonic() - began)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _killed(self, source: str, target: str, *options: str) -> None:
        with subprocess.Popen(
            [*COMMAND, "move", "--from", source, "--to", target, *options],
            cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        ) as running:  # fmt: skip
            assert running.stderr is not None
            with closing(running.stderr) as lines:
                for _ in range(self._random.randint(1, 6)):
                    if not lines.readline():
                        break
                running.kill()
                self.kills += running.wait() < 0


async def test_a_large_store_is_moved_there_and_back_though_it_is_killed(tmp_path: Path) -> None:
    """Each way is killed at random with `kill -9`, and goes on: both ends are equal."""
    file = Server(tmp_path / "file", engine="sqlite")
    database = Server(tmp_path / "database", engine="mongodb")
    back = Server(tmp_path / "back", engine="sqlite")
    for one in (file, back):
        one.folder.mkdir()
    store = await opened(file.store)
    await fill(store, RESOURCES // 4)
    await store.close()
    before = await all_of(file.store)
    moves = Moves(RESOURCES)

    moves.run(file.store, database.store, "--live")
    there = moves.run(file.store, database.store)
    back_again = moves.run(database.store, back.store)

    assert moves.kills >= 2 * KILLS
    assert f"resources {RESOURCES:,}" in there
    assert f"resources {RESOURCES:,}" in back_again
    assert await all_of(database.store) == before
    assert await all_of(back.store) == before
