"""The store's schema version, and the steps between versions."""

from __future__ import annotations

import asyncio
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Final

import apsw
import pytest
from msgspec.structs import replace

from fhir_server.model.outcome import Unavailable
from fhir_server.search.expression import (
    And,
    CompositeIs,
    DateIs,
    Missing,
    Prefix,
    QuantityIs,
    Search,
    TokenIs,
    TokenText,
)
from fhir_server.search.values import (
    CompositeValue,
    DateValue,
    IndexValues,
    QuantityValue,
    TokenValue,
)
from fhir_server.store.port import Batch, Write
from fhir_server.store.sqlite.connect import connect
from fhir_server.store.sqlite.entry import Entry, pack, unpack
from fhir_server.store.sqlite.migrate import LATEST, STEPS, migrate, version_of
from fhir_server.store.sqlite.names import SEPARATOR, Names
from fhir_server.store.sqlite.packing import Packing
from fhir_server.store.sqlite.store import SqliteStore
from tests.contracts.making import asked, ids, observation, patient, put


def _add_column(db: apsw.Connection) -> None:
    db.execute("ALTER TABLE resource ADD COLUMN later TEXT")


def _break(db: apsw.Connection) -> None:
    db.execute("CREATE TABLE half (done)")
    raise RuntimeError("this step fails")


def test_an_empty_file_becomes_the_newest_version(path: Path) -> None:
    """The first opening takes every step."""
    db = connect(path, writer=True)

    assert migrate(db) == 0

    assert version_of(db) == LATEST
    db.close()


def test_a_second_opening_takes_no_step(path: Path) -> None:
    """A file that is at the newest version stays as it is."""
    db = connect(path, writer=True)
    migrate(db)

    assert migrate(db) == LATEST
    db.close()


def test_two_processes_that_make_a_file_at_once_agree(path: Path) -> None:
    """The second, which had looked at the empty file before, finds what the first has made."""
    first, second = connect(path, writer=True), connect(path, writer=True)
    assert version_of(second) == 0
    assert migrate(first) == 0

    assert migrate(second) == LATEST
    first.close()
    second.close()


async def test_a_file_of_version_1_counts_its_editions_from_now_on(path: Path) -> None:
    """The step that counts what changes leaves all that is there, and the next commit counts."""
    db = connect(path, writer=True)
    migrate(db, STEPS[:1])
    db.execute("INSERT INTO ledger VALUES ('b', 'k', x'31', NULL)")
    db.close()

    store = await SqliteStore.open(path)
    before = await store.edition()
    await put(store, patient("p1"))

    assert await store.edition() != before
    assert await store.get("b", "k") == b"1"
    await store.close()


def _set_back(db: apsw.Connection, version: int) -> None:
    """Make a file one of an older program, but for what its rows hold."""
    if version < 8:
        db.execute("ALTER TABLE version DROP COLUMN patient_at")
    db.execute("DROP TABLE tail")
    db.execute("UPDATE meta SET value = ? WHERE key = 'version'", (version,))


async def test_a_file_of_version_4_is_sorted_by_references_from_now_on(path: Path) -> None:
    """The step notes to which types a parameter refers: along their names goes the order."""
    store = await SqliteStore.open(path)
    await put(store, patient("p2"), patient("p1"))
    await put(store, observation("o1", "Patient/p2"), observation("o2", "Patient/p1"))
    await store.close()
    db = connect(path, writer=True)
    db.execute("DELETE FROM seen WHERE nr < -1")
    _set_back(db, 4)
    db.close()

    store = await SqliteStore.open(path)

    assert ids(await store.search(asked("Observation", "_sort=subject"))) == ["o2", "o1"]
    await store.close()


async def test_a_file_of_version_5_knows_where_a_resource_has_two_dates(path: Path) -> None:
    """The step notes it: what is asked of two dates is not asked of one of them."""
    values = (DateValue("date", 1, 1), DateValue("date", 9, 9))
    write = Write("Observation", "o1", 1, 0, b"{}", "PUT", IndexValues(values, ()))
    store = await SqliteStore.open(path)
    await store.commit(Batch(writes=[write]))
    await store.close()
    db = connect(path, writer=True)
    db.execute("DELETE FROM seen")
    _set_back(db, 5)
    db.close()

    store = await SqliteStore.open(path)

    bounds = (DateIs("date", Prefix.GE, 4, 4), DateIs("date", Prefix.LT, 5, 5))
    assert ids(await store.search(Search((("Observation", And(bounds)),)))) == ["o1"]
    await store.close()


def _as_version_6(path: Path) -> None:
    """Take out of a file what the last step is about, as an older program would have left it."""
    db = connect(path, writer=True)
    packing, names = Packing(db), Names(db)
    shapes = [names.param(kind, "") for _, kind in names.types()]
    listed = ", ".join(str(one) for one in shapes if one is not None)
    for rid, kind, packed in db.execute("SELECT rid, packing, packed FROM entry").fetchall():
        entry = unpack(packing.unpack(kind, packed))
        values = {
            param: [one[: {"t": 4, "c": 2}.get(one[0], len(one))] for one in some]
            for param, some in entry.values.items()
            if some[0][0] != "h"
        }
        old = pack(Entry(entry.unique, values))
        db.execute("UPDATE entry SET packing = 0, packed = ? WHERE rid = ?", (old, rid))
    db.execute(f"DELETE FROM token WHERE sys < 0 OR param IN ({listed})")  # noqa: S608 - numbers
    db.execute(f"DELETE FROM seen WHERE param IN ({listed})")  # noqa: S608 - the same
    pairs = "SELECT nr FROM name WHERE kind = 2 AND text LIKE ?"
    like = f"%{SEPARATOR}%{SEPARATOR}%"
    db.execute(f"DELETE FROM quantity WHERE param IN ({pairs})", (like,))  # noqa: S608 - the same
    _set_back(db, 6)
    db.close()


BODY: Final = b'{"resourceType":"Observation"}'
UCUM: Final = "http://unitsofmeasure.org"


def _measured(number: int, *, value: str = "7") -> Write:
    weight = QuantityValue("value", Decimal(value), Decimal(value), UCUM, "kg", "kg")
    code = TokenValue("code", "c", f"c{number}", "body weight")
    values = (code, weight, CompositeValue("both", ((code,), (weight,))))
    index = IndexValues(values if number else values[:1])
    return Write("Observation", f"o{number}", 1, number, BODY, "PUT", index)


_ASKED: Final = {
    Missing("value", missing=True): ["o0"],
    Missing("value", missing=False): ["o2", "o1"],
    TokenText("code", "weight"): ["o2", "o1", "o0"],
    TokenText("code", "height"): [],
    CompositeIs(
        "both",
        (
            TokenIs("code", "c", "c2"),
            QuantityIs("value", Prefix.GT, *map(Decimal, "555"), UCUM, "kg"),
        ),
    ): ["o2"],
}


async def _has_shapes(store: SqliteStore) -> bool:
    return [one.well for one in await store.doctor(thorough=False) if one.name == "shapes"] == [
        True
    ]


async def test_a_file_of_version_6_uses_what_is_indexed_since_where_all_is(path: Path) -> None:
    """Until a type is indexed anew its resources are asked one by one; every answer is the same."""
    store = await SqliteStore.open(path)
    await store.commit(Batch(writes=[_measured(number) for number in range(3)]))
    await store.close()
    _as_version_6(path)

    async def answers() -> list[list[str]]:
        return [ids(await store.search(Search((("Observation", one),)))) for one in _ASKED]

    store = await SqliteStore.open(path)
    names = Names(connect(path))
    assert await answers() == list(_ASKED.values())
    assert await _has_shapes(store) is False
    await store.commit(Batch(writes=[replace(_measured(1), version_id=2)]))
    await store.end_reindex("Observation")
    assert names.shapes("Observation") is None  # o0 and o2 are as they were
    await store.commit(Batch(writes=[replace(_measured(1), version_id=3)]))
    newest = ["o1", "o2"]
    assert (await answers())[1] == newest

    for number in (0, 2):
        one = _measured(number)
        name = ("Observation", f"o{number}")
        assert await store.reindex([(name, 1, one.index)]) == 1
    await store.end_reindex("Observation")

    assert names.shapes("Observation") is not None
    assert await _has_shapes(store) is True
    assert (await answers())[0] == ["o0"]
    assert (await answers())[1] == newest
    assert (await answers())[2] == ["o1", "o2", "o0"]
    assert (await answers())[3:] == [[], ["o2"]]
    assert int(await store.begin_reindex()) == LATEST
    await store.close()


async def test_a_file_of_version_7_does_not_note_where_a_body_names_its_patient(path: Path) -> None:
    """What was written before the step is read as before, and what is written since beside it."""
    store = await SqliteStore.open(path)
    await put(store, patient("p1"), observation("o1", "p1"))
    await store.close()
    db = connect(path, writer=True)
    _set_back(db, 7)
    db.close()

    store = await SqliteStore.open(path)
    await put(store, observation("o2", "p1"))

    names = [("Patient", "p1"), ("Observation", "o1"), ("Observation", "o2")]
    found = [await store.read(*name) for name in names]
    assert [one and one.patients for one in found] == [("p1",)] * 3
    db = connect(path)
    noted = db.execute("SELECT patient_at IS NOT NULL FROM version ORDER BY rid").fetchall()
    assert noted == [(0,), (0,), (1,)]
    db.close()
    await store.close()


async def test_a_file_of_version_8_is_asked_for_texts_by_each_of_their_words(path: Path) -> None:
    """Texts of before the step are found as those since are, from a word's start on only."""
    store = await SqliteStore.open(path)
    await store.commit(Batch(writes=[_measured(0)]))
    await store.close()
    db = connect(path, writer=True)
    _set_back(db, 8)
    db.close()

    store = await SqliteStore.open(path)
    await store.commit(Batch(writes=[_measured(1)]))
    other = replace(_measured(2), index=IndexValues((TokenValue("code", "c", "2", "height"),)))
    await store.commit(Batch(writes=[other]))

    both = ["o1", "o0"]
    asked = {"body": both, "body we": both, "weight": both, "w": both, "eight": [], "h": ["o2"]}
    for text, expected in asked.items():
        search = Search((("Observation", TokenText("code", text)),))
        assert ids(await store.search(search)) == expected, text
    await store.close()


async def test_an_older_file_is_brought_forward_with_all_it_holds(path: Path) -> None:
    """What was stored before a step is there after it."""
    store = await SqliteStore.open(path)
    await put(store, patient("p1"))
    await store.close()

    db = connect(path, writer=True)
    assert migrate(db, (*STEPS, _add_column)) == LATEST

    assert version_of(db) == LATEST + 1
    assert db.execute("SELECT id, later FROM resource").fetchall() == [("p1", None)]
    db.close()


def test_a_step_that_fails_leaves_the_file_as_it_was(path: Path) -> None:
    """All steps of one opening are one transaction."""
    db = connect(path, writer=True)
    migrate(db)

    with pytest.raises(RuntimeError, match="this step fails"):
        migrate(db, (*STEPS, _add_column, _break))

    assert version_of(db) == LATEST
    assert not db.table_exists("main", "half")
    assert db.column_metadata("main", "resource", "id")
    with pytest.raises(apsw.SQLError):
        db.execute("SELECT later FROM resource")
    db.close()


async def test_a_newer_file_is_refused_in_one_sentence(path: Path) -> None:
    """A program does not touch what a newer one wrote."""
    db = connect(path, writer=True)
    migrate(db, (*STEPS, _add_column))
    db.close()

    with pytest.raises(Unavailable, match=rf"^The store is of version {LATEST + 1} .*\.$"):
        await SqliteStore.open(path)


async def test_a_running_store_refuses_to_write_what_a_newer_program_changed(
    store: SqliteStore, path: Path
) -> None:
    """A migration beside a running server stops its writes instead of mixing two schemas."""
    db = connect(path, writer=True)
    migrate(db, (*STEPS, _add_column))
    db.close()

    with pytest.raises(Unavailable, match="another version"):
        await put(store, patient("p1"))


async def test_another_programs_database_is_refused(path: Path) -> None:
    """A file that holds other tables is not made a store of."""
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE accounts (name)")
    other.commit()
    other.close()

    with pytest.raises(Unavailable, match="not a FHIR store"):
        await SqliteStore.open(path)


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    """Any other file is refused, and stays as it is."""
    path.write_bytes(b"a letter, not a database\n" * 200)

    with pytest.raises(Unavailable, match="damaged"):
        asyncio.run(SqliteStore.open(path))

    assert path.read_bytes().startswith(b"a letter")
