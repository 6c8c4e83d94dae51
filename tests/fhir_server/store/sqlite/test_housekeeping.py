"""What the store does for itself: checkpoints, dictionaries, ended records."""

from __future__ import annotations

import asyncio
import random
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

import apsw
import msgspec
import pytest

from fhir_server.model.outcome import Unavailable
from fhir_server.search.values import IndexValues, TextValue
from fhir_server.store.port import Batch, Put
from fhir_server.store.sqlite import dictionaries, doctor, housekeeping
from fhir_server.store.sqlite.apply import Applier
from fhir_server.store.sqlite.connect import connect
from fhir_server.store.sqlite.housekeeping import Housekeeper
from fhir_server.store.sqlite.store import SqliteStore
from tests.contracts.making import asked, ids, made, observation, patient


async def _fill(store: SqliteStore, count: int, *, start: int = 0) -> None:
    numbers = range(start, start + count)
    writes = [made(observation(f"o{n}", f"p{n % 7}", issued=f"2026-01-{n % 28 + 1:02}T08:00:00Z"))
              for n in numbers]  # fmt: skip
    await store.commit(Batch(writes=writes))


def _wait(condition: object) -> bool:
    assert callable(condition)
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.02)
    return False


async def test_the_log_does_not_grow_for_ever(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past its size the log is brought into the file, and written from its beginning again."""
    monkeypatch.setattr(housekeeping, "GROWN", 1_000_000)
    monkeypatch.setattr(housekeeping, "TOO_LARGE", 2_000_000)
    keeper = Housekeeper(path, store.writer.submit, look=0.01)

    for number in range(40):
        await store.commit(Batch(puts=[Put("b", str(number), bytes(500_000))]))
        await asyncio.sleep(0.02)

    assert keeper.checkpoints > 1
    assert path.with_name("fhir.db-wal").stat().st_size < 12_000_000
    keeper.stop()


async def test_a_file_that_does_not_open_at_once_is_looked_after_later(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else brings the log in; what is stopped meanwhile ends all the same."""
    failing = Unavailable("The store's disk cannot be read.")
    tries = []

    def refused(path: Path, *, writer: bool) -> apsw.Connection:
        tries.append(path)
        if len(tries) < 3:
            raise failing
        return connect(path, writer=writer)

    monkeypatch.setattr(housekeeping, "connect", refused)
    monkeypatch.setattr(housekeeping, "QUIET", 0.05)
    await store.commit(Batch(puts=[Put("b", "k", b"v")]))
    keeper = Housekeeper(path, store.writer.submit, look=0.01)

    assert _wait(lambda: len(tries) == 3)
    assert _wait(lambda: path.with_name("fhir.db-wal").stat().st_size == 0)
    keeper.stop()

    tries.clear()
    keeper = Housekeeper(path, store.writer.submit, look=60.0)
    assert _wait(lambda: len(tries) == 1)
    keeper.stop()


async def test_the_log_is_cut_while_the_store_is_served(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under writers and readers without a pause the log is cut again and again.

    How far it grows between two cuts is the disk's speed (18 MB were seen once where 4 are usual),
    so it is held against what was written: a log that is not cut holds all of it.
    """
    monkeypatch.setattr(housekeeping, "GROWN", 1_000_000)
    keeper = Housekeeper(path, store.writer.submit, look=0.01)
    log, sizes, value = path.with_name("fhir.db-wal"), [0], bytes(20_000)
    written = 0

    async def write(name: str) -> None:
        nonlocal written
        for number in range(1_000):
            await store.commit(Batch(puts=[Put("b", f"{name}{number}", value)]))
            written += len(value)
            sizes.append(log.stat().st_size)

    async def read() -> None:
        while written < 4_000 * len(value):
            await store.search(asked("Observation", "subject=Patient/p3"))
            await asyncio.sleep(0)

    await asyncio.gather(*(write(name) for name in "abcd"), read(), read())

    assert written == 80_000_000
    assert max(sizes) < written / 2
    assert sum(after < before / 2 for before, after in pairwise(sizes)) >= 2
    keeper.stop()


async def test_a_long_reader_holds_the_log_and_no_commit(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While somebody reads an old state the log cannot be cut, and commits hardly notice."""
    monkeypatch.setattr(housekeeping, "GROWN", 500_000)
    monkeypatch.setattr(housekeeping, "_RETRY", 0.2)
    await _fill(store, 10)
    reader = connect(path)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM version").get == 10
    keeper = Housekeeper(path, store.writer.submit, look=0.01)
    slowest = 0.0

    for number in range(60):
        began = time.monotonic()
        await store.commit(Batch(puts=[Put("b", str(number), bytes(50_000))]))
        slowest = max(slowest, time.monotonic() - began)
        await asyncio.sleep(0.01)

    assert reader.execute("SELECT count(*) FROM version").get == 10
    assert slowest < 1
    reader.execute("COMMIT")
    reader.close()
    assert _wait(lambda: path.with_name("fhir.db-wal").stat().st_size < 500_000)
    keeper.stop()


async def test_a_quiet_store_brings_its_log_in(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log of any size is brought in and cut to nothing once nothing is written for a while."""
    monkeypatch.setattr(housekeeping, "QUIET", 0.05)
    await _fill(store, 10)
    keeper = Housekeeper(path, store.writer.submit, look=0.01)

    assert path.with_name("fhir.db-wal").stat().st_size > 0
    assert _wait(lambda: keeper.checkpoints > 0)
    assert _wait(lambda: path.with_name("fhir.db-wal").stat().st_size == 0)
    keeper.stop()


async def test_dictionaries_are_trained_on_own_data(store: SqliteStore, path: Path) -> None:
    """From some hundred versions on bodies and entries are packed small; older ones stay read."""
    await _fill(store, dictionaries.STAGES[0])
    before = await store.read("Observation", "o1")
    db = connect(path, writer=True)
    if dictionaries.due(db):  # else the store's own housekeeper was first
        await store.writer.run(partial(_trained, dictionaries.trained(db, random.Random(1))))

    await _fill(store, 200, start=1_000)

    sizes = "SELECT avg(length(body)) FROM version WHERE packing {} 1"
    plain, small = (db.execute(sizes.format(sign)).get for sign in ("<=", ">"))
    assert small < plain / 2
    assert await store.read("Observation", "o1") == before
    assert (await store.read("Observation", "o1001")).body.startswith(b'{"resourceType"')
    page = await store.search(asked("Observation", "subject=Patient/p3", count=1000))
    assert len(page.versions) == len([n for n in (*range(500), *range(1000, 1200)) if n % 7 == 3])
    assert not dictionaries.due(db)
    db.close()


async def test_two_trainers_keep_one_dictionary(store: SqliteStore, path: Path) -> None:
    """What was trained while another process trained is not kept."""
    await _fill(store, 300)
    db = connect(path)
    mine, other = (dictionaries.trained(db, random.Random(seed)) for seed in (1, 2))

    kept = [await store.writer.run(partial(_trained, one)) for one in (other, mine)]

    assert kept == [2, 0]
    assert db.execute("SELECT count(*) FROM dictionary WHERE purpose = 'body'").get == 1
    db.close()


def _trained(found: tuple[int, list[tuple[str, bytes]]], applier: Applier) -> int:
    return dictionaries.keep(applier.db, *found)


async def test_records_that_ended_are_swept_away(store: SqliteStore, path: Path) -> None:
    """A day after its end a record is taken away; one that lives, or never ends, stays."""
    day = 86_400_000_000
    await store.commit(
        Batch(
            puts=[
                Put("jti", "old", b"1", expires=day),
                Put("jti", "new", b"2", expires=3 * day),
                Put("jti", "ever", b"3"),
            ]
        )
    )

    keeper = Housekeeper(path, store.writer.submit, look=0.01, clock=lambda: 2.5 * day / 1e6)

    db = connect(path)
    left = "SELECT group_concat(key) FROM (SELECT key FROM ledger ORDER BY key)"
    assert _wait(lambda: db.execute(left).get == "ever,new")
    keeper.stop()
    db.close()


async def test_the_doctor_finds_a_sound_store_well(store: SqliteStore) -> None:
    """Each fact is one line, and all is well with a new store."""
    await store.commit(Batch(writes=[made(patient("p1"))]))

    facts = await store.doctor()

    assert {fact.name for fact in facts} == {
        "sqlite", "schema", "log", "disk", "contents", "words", "shapes", "integrity",
    }  # fmt: skip
    assert [fact for fact in facts if not fact.well and fact.name != "disk"] == []
    assert any(fact.text.startswith("1 resources, 1 versions") for fact in facts)
    (log,) = [fact.text for fact in facts if fact.name == "log"]
    assert log.endswith("(normal while served: cut at 64 MB, or after 10 s without writes)")


async def test_the_doctor_names_types_whose_words_are_not_indexed(store: SqliteStore) -> None:
    """What was stored before words were indexed is found by them once it is indexed anew."""
    whole = patient("p1", name=[{"text": "Nguyễn Văn An"}])
    write = made(whole)
    before = write.index.values
    silent = tuple(value for value in before if not isinstance(value, TextValue))
    await store.commit(Batch(writes=[msgspec.structs.replace(write, index=IndexValues(silent))]))
    asking = asked("Patient", "_content=van an")

    (words,) = [one for one in await store.doctor() if not one.well and one.name == "words"]
    assert words.text == (
        "stored before _content found all that it does: Patient; "
        "fhir-server reindex makes them found by it"
    )
    assert ids(await store.search(asking)) == []
    await store.reindex([(("Patient", "p1"), 1, write.index)])

    assert [fact.well for fact in await store.doctor() if fact.name == "words"] == [True]
    assert ids(await store.search(asking)) == ["p1"]
    await store.commit(Batch(writes=[made(patient("p1", name=[{"text": "Lê Chi"}]), 2)]))
    assert ids(await store.search(asking)) == []


@pytest.mark.parametrize(("size", "well"), [(384_000_000, True), (384_000_001, False)])
def test_the_doctor_says_what_a_log_may_be(tmp_path: Path, size: int, *, well: bool) -> None:
    """Well up to twice what makes the writers wait; above it, what to do."""
    path = tmp_path / "fhir.db"
    with path.with_name("fhir.db-wal").open("wb") as log:
        log.truncate(size)

    fact = doctor.log(path)

    assert fact.well is well
    assert "384 MB of write-ahead log" in fact.text
    assert ("cut at 64 MB" in fact.text) is well
    assert ("restart" in fact.text) is not well
