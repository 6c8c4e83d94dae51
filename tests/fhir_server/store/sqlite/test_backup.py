"""A copy while the store is served, and back."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from fhir_server.model.outcome import Unavailable
from fhir_server.search.expression import EVERYTHING, Search, Sort
from fhir_server.store.port import AuditRecord, BadCursor, Batch, Put
from fhir_server.store.sqlite.backup import restore
from fhir_server.store.sqlite.store import SqliteStore
from tests.contracts.making import made, patient, put


async def test_a_backup_under_load_is_one_moment(store: SqliteStore, tmp_path: Path) -> None:
    """Each batch is in the copy whole or not at all, and writes go on meanwhile."""
    stop = asyncio.Event()
    written = 0

    async def write() -> None:
        nonlocal written
        while not stop.is_set():
            number, written = written, written + 1
            writes = [made(patient(f"{side}{number}")) for side in ("a", "b")]
            padding = Put("padding", str(number), bytes(20_000))
            await store.commit(Batch(writes=writes, puts=[padding]))

    writers = [asyncio.create_task(write()) for _ in range(4)]
    await asyncio.sleep(0.3)
    before = written
    await store.backup(tmp_path / "copy.db")
    after = written
    stop.set()
    await asyncio.gather(*writers)

    restore(tmp_path / "copy.db", tmp_path / "back.db")
    copy = await SqliteStore.open(tmp_path / "back.db")
    found = await copy.search(Search((("Patient", EVERYTHING),), count=10_000))
    names = {version.resource_id for version in found.versions}
    assert {name[1:] for name in names if name[0] == "a"} == {
        name[1:] for name in names if name[0] == "b"
    }
    assert before - 4 <= len(names) / 2 <= after
    assert all(fact.well for fact in await copy.doctor())
    await copy.close()


async def test_a_restored_store_holds_what_the_backup_held(
    store: SqliteStore, path: Path, tmp_path: Path
) -> None:
    """Versions, index, ledger, tags and audit come back; what came later is gone."""
    await store.commit(
        Batch(
            writes=[made(patient("p1", gender="male"), tags=["facility/01999"])],
            puts=[Put("client", "a", b"1")],
            audit=[AuditRecord(1, b"x", ("p1",))],
        )
    )
    kept = await store.read("Patient", "p1")
    await store.backup(tmp_path / "copy.db")
    await put(store, patient("later"))
    await store.close()

    restore(tmp_path / "copy.db", path)

    again = await SqliteStore.open(path)
    assert await again.read("Patient", "p1") == kept
    assert await again.read("Patient", "later") is None
    assert await again.get("client", "a") == b"1"
    assert await again.tags(("Patient", "p1")) == {"facility/01999"}
    assert len(await again.audit(patient="p1")) == 1
    await put(again, patient("new"))
    await again.close()


async def test_a_served_store_is_not_restored(
    store: SqliteStore, path: Path, tmp_path: Path
) -> None:
    """Restore refuses while anybody has the store open, and changes nothing."""
    await put(store, patient("p1"))
    await store.backup(tmp_path / "copy.db")

    with pytest.raises(Unavailable, match="served"):
        restore(tmp_path / "copy.db", path)

    await put(store, patient("p2"))
    assert await store.count("Patient") == 2


async def test_a_damaged_backup_is_refused(store: SqliteStore, path: Path, tmp_path: Path) -> None:
    """A copy with a broken page leaves the store as it was."""
    await put(store, *(patient(f"p{number}") for number in range(100)))
    copy = tmp_path / "copy.db"
    await store.backup(copy)
    await store.close()
    with copy.open("r+b") as file:
        file.seek(5 * 4096)
        file.write(b"\xff" * 4096 * 3)

    with pytest.raises(Unavailable, match="damaged"):
        restore(copy, path)

    again = await SqliteStore.open(path)
    assert await again.count("Patient") == 100
    await again.close()


@pytest.mark.parametrize("content", [None, b"", b"not a backup" * 1000])
def test_what_is_no_backup_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """A missing, empty or other file is refused in one sentence."""
    other = tmp_path / "other"
    if content is not None:
        other.write_bytes(content)

    with pytest.raises(Unavailable):
        restore(other, tmp_path / "fhir.db")


async def test_a_backup_is_not_written_over_the_store(store: SqliteStore, path: Path) -> None:
    """The store's own file is refused as a target."""
    await put(store, patient("p1"))

    with pytest.raises(Unavailable, match="itself"):
        await store.backup(path)

    assert await store.count("Patient") == 1


async def test_a_backup_takes_nothing_from_a_former_copy_that_was_served(
    store: SqliteStore, tmp_path: Path
) -> None:
    """Whoever served it was killed, and left a WAL: SQLite would play it into the new copy."""
    await put(store, patient("p1"))
    await store.backup(tmp_path / "former.db")
    former = await SqliteStore.open(tmp_path / "former.db")
    for number in range(50):
        await put(former, patient(f"former-{number}"))
    copy = tmp_path / "copy.db"
    for end in ("", "-wal"):
        shutil.copy(f"{tmp_path}/former.db{end}", f"{copy}{end}")
    await former.close()

    await store.backup(copy)

    opened = await SqliteStore.open(copy)
    found = await opened.search(Search((("Patient", EVERYTHING),), count=100))
    assert [version.resource_id for version in found.versions] == ["p1"]
    assert all(fact.well for fact in await opened.doctor())
    await opened.close()


async def test_a_backup_is_not_written_over_a_copy_that_is_served(
    store: SqliteStore, tmp_path: Path
) -> None:
    """What is written to it would be lost."""
    copy = tmp_path / "copy.db"
    await store.backup(copy)
    served = await SqliteStore.open(copy)
    await put(served, patient("p1"))

    with pytest.raises(Unavailable, match="open as a store"):
        await store.backup(copy)

    await put(served, patient("p2"))
    await served.close()
    again = await SqliteStore.open(copy)
    assert await again.count("Patient") == 2
    await again.close()


async def test_cursors_from_before_a_restore_are_refused(
    store: SqliteStore, path: Path, tmp_path: Path
) -> None:
    """A place in what is no longer there is not taken for one in what is."""
    await put(store, *(patient(f"p{number}") for number in range(5)))
    search = Search((("Patient", EVERYTHING),), count=2, sort=(Sort("_id", "id"),))
    cursor = (await store.search(search)).next
    await store.backup(tmp_path / "copy.db")
    await store.close()
    restore(tmp_path / "copy.db", path)

    again = await SqliteStore.open(path)
    with pytest.raises(BadCursor):
        await again.search(Search((("Patient", EVERYTHING),), (), 2, "none", cursor))
    await again.close()


async def test_nobody_else_may_read_the_files(store: SqliteStore, path: Path) -> None:
    """The store, its log and a backup hold people's health: they are their owner's alone."""
    await put(store, patient("p1"))
    await store.backup(path.with_name("copy.db"))

    modes = {file.name: file.stat().st_mode & 0o077 for file in _files(path)}

    assert set(modes) >= {"fhir.db", "fhir.db-wal", "fhir.db-shm", "fhir.db-turn", "copy.db"}
    assert set(modes.values()) == {0}


def _files(path: Path) -> list[Path]:
    return list(path.parent.iterdir())


async def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    """A path that cannot hold a file is refused in one sentence, without the system's text."""
    with pytest.raises(Unavailable, match=r"^The store's file cannot be opened for writing\.$"):
        await SqliteStore.open(Path("/proc/nowhere/fhir.db"))
