"""Reads on one connection: what they give, and that they are prepared once."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from fhir_server.store.sqlite.reader import Reader
from fhir_server.store.sqlite.store import SqliteStore
from tests.contracts.making import asked, observation, patient, put


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
