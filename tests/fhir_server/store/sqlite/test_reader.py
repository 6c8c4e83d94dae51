"""Reads on one connection: what they give, and that they are prepared once."""

from __future__ import annotations

import resource
import secrets
from pathlib import Path
from typing import Final

import apsw
import pytest
from msgspec.structs import replace

from fhir_server.store.port import Batch
from fhir_server.store.sqlite.connect import POINT_CACHE_KIB, connect
from fhir_server.store.sqlite.reader import Reader
from fhir_server.store.sqlite.store import SqliteStore
from tests.contracts.making import asked, gone, made, observation, patient, put

OWN: Final = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)
"""Whose page faults are counted: this thread's, where the system tells them apart."""


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """The file of a store with two Patients and what refers to them."""
    file = tmp_path / "fhir.db"
    store = await SqliteStore.open(file)
    await put(store, patient("an"), patient("binh"))
    await put(store, observation("o1", "an"), observation("o2", "binh"))
    await store.close()
    return file


def test_a_statement_is_prepared_once_whatever_is_bound_to_it(path: Path) -> None:
    """SQLite would plan it anew for each value: three times the cost of a read by id."""
    reader = Reader(path)
    prepared = []

    def seen(action: int, *_: str | None) -> int:
        prepared.append(action)
        return apsw.SQLITE_OK

    def read(patient_id: str, observation_id: str) -> None:
        assert reader.read("Patient", patient_id) is not None
        assert reader.read("Observation", observation_id) is not None
        page = reader.search(asked("Observation", f"patient={patient_id}"), 10**9)
        assert [one.resource_id for one in page.versions] == [observation_id]

    reader.db.authorizer = seen  # it is called where a statement is prepared
    read("an", "o1")
    assert prepared
    prepared.clear()

    read("binh", "o2")

    assert prepared == []
    reader.close()


async def test_a_read_names_the_patients_of_what_it_gives(tmp_path: Path) -> None:
    """A Patient's own id, the one that a resource is about, both where it is about two; none."""
    file = tmp_path / "fhir.db"
    store = await SqliteStore.open(file)
    await put(store, patient("an"), patient("binh"))
    await put(store, observation("one", "an"))
    two = {**observation("two", "an"), "performer": [{"reference": "Patient/binh"}]}
    await put(store, two, {"resourceType": "Organization", "id": "none", "name": "N"})
    await store.close()

    reader = Reader(file)
    found = {
        name: reader.read(*name)
        for name in (
            ("Patient", "an"), ("Observation", "one"), ("Observation", "two"),
            ("Organization", "none"),
        )
    }  # fmt: skip
    reader.close()

    assert {name[1]: one and one.patients for name, one in found.items()} == {
        "an": ("an",), "one": ("an",), "two": ("an", "binh"), "none": (),
    }  # fmt: skip


async def test_the_patient_is_taken_from_the_body_where_that_names_it(tmp_path: Path) -> None:
    """A tree less to look through; what the body does not name, or does not any more, is asked."""
    file = tmp_path / "fhir.db"
    store = await SqliteStore.open(file)
    await put(store, patient("an"), observation("said", "an"), observation("moved", "an"))
    other = {**observation("versioned", "an"), "subject": {"reference": "Patient/an/_history/1"}}
    unsaid = replace(made(observation("unsaid", "an")), body=b'{"resourceType":"Observation"}')
    await store.commit(Batch(writes=[made(other), unsaid]))
    moved = made(observation("moved", "binh")).index
    await store.reindex([(("Observation", "moved"), 1, moved)])
    await store.commit(Batch(writes=[gone("Observation", "said", 2)]))
    await store.close()

    db = connect(file, writer=True)
    named = "SELECT r.id FROM version AS v JOIN resource AS r USING (nr) WHERE v.patient_at {}"
    assert db.execute(named.format("> 0")).fetchall() == [("said",)]
    assert db.execute(named.format("= 0")).fetchall() == [("an",)]
    reader = Reader(file)

    def shown(name: str, version: int = 1) -> list[tuple[str, ...]]:
        found = reader.read("Observation", name), reader.vread("Observation", name, version)
        return [one.patients for one in found if one is not None]

    assert shown("versioned") == shown("unsaid") == [("an",), ("an",)]
    assert shown("moved") == [("binh",), ("binh",)]
    assert shown("said")[1] == ("an",)
    db.execute("DELETE FROM resource WHERE id = 'an'")
    assert shown("said")[1] == ("an",)
    db.close()
    reader.close()


async def test_a_history_of_one_resource_looks_for_the_resource_once(path: Path) -> None:
    """Not for its id beside each version, in one more tree that grows with the store."""
    store = await SqliteStore.open(path)
    await store.commit(Batch(writes=[made(observation("o1", "binh"), 2)]))
    await store.commit(Batch(writes=[gone("Observation", "o1", 3)]))
    await store.close()
    reader, asked_for = Reader(path), []

    def seen(_: apsw.Cursor, sql: str, __: object) -> bool:
        asked_for.append(sql)
        return True

    reader.db.exec_trace = seen
    page = reader.history(("Observation", "o1"), None, None, 20, None)

    assert {(one.resource_type, one.resource_id) for one in page.versions} == {
        ("Observation", "o1")
    }
    shown = [(one.version_id, one.patients) for one in page.versions]
    assert shown == [(3, ()), (2, ("binh",)), (1, ("an",))]
    assert [sql for sql in asked_for if "version" in sql] != []
    assert [sql for sql in asked_for if "version" in sql and "resource" in sql] == []
    reader.close()


async def test_the_reader_of_point_reads_keeps_few_pages(tmp_path: Path) -> None:
    """Of a large store it reads leaves into the same memory; that of long searches keeps more."""
    file = tmp_path / "fhir.db"
    store = await SqliteStore.open(file)
    names = [f"o{number}" for number in range(1_500)]
    await store.commit(
        Batch(writes=[
            replace(made(observation(name, "an")), body=secrets.token_bytes(3_000))
            for name in names
        ])
    )  # fmt: skip
    await store.close()
    taken = []
    for is_for_points in (True, False):
        reader = Reader(file, is_for_points=is_for_points)
        for name in names:
            assert reader.read("Observation", name) is not None
        taken.append(reader.db.status(apsw.SQLITE_DBSTATUS_CACHE_USED)[0] / 1024)
        reader.close()

    assert taken[0] < 1.2 * POINT_CACHE_KIB
    assert taken[1] > 2 * POINT_CACHE_KIB


def test_a_read_after_a_commit_faults_no_pages_in(path: Path) -> None:
    """A mapped file is let go of at every commit, and each page of it faulted in once more."""
    reader, writer = Reader(path), connect(path, writer=True)

    def read_after_commits(times: int) -> int:
        before = resource.getrusage(OWN).ru_minflt
        for _ in range(times):
            writer.execute("UPDATE meta SET value = value + 1 WHERE key = 'edition'")
            assert reader.read("Observation", "o1") is not None
        return resource.getrusage(OWN).ru_minflt - before

    read_after_commits(50)  # what any first call takes of memory

    assert read_after_commits(200) < 100
    writer.close()
    reader.close()
