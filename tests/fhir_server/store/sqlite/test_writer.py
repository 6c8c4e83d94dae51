"""Commits: gathered, each all or nothing, durable when answered, refused when the disk fails."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from fhir_server.model.outcome import Unavailable
from fhir_server.search.expression import Search, TokenIs
from fhir_server.store.port import (
    AuditRecord,
    Batch,
    ConditionChanged,
    Matches,
    Put,
    VersionConflict,
)
from fhir_server.store.sqlite.apply import Applier
from fhir_server.store.sqlite.store import SqliteStore
from tests.contracts.making import asked, gone, ids, made, observation, patient, put

CCCD = "http://fhir.hl7.org.vn/core/sid/cccd"


def _person(number: int) -> Batch:
    identifier = [{"system": CCCD, "value": f"{number:012}"}]
    return Batch(writes=[made(patient(f"p{number}", identifier=identifier))])


async def test_commits_that_wait_share_a_transaction(store: SqliteStore) -> None:
    """Two hundred callers at once need far fewer than two hundred transactions."""
    before = store.writer.groups

    await asyncio.gather(*(store.commit(_person(number)) for number in range(200)))

    assert store.writer.groups - before < 20
    assert await store.count("Patient") == 200


async def test_a_group_is_bounded(store: SqliteStore) -> None:
    """No more than 64 batches are in one transaction, so that the first does not wait for all."""
    before = store.writer.groups

    await asyncio.gather(*(store.commit(_person(number)) for number in range(200)))

    assert store.writer.groups - before >= 200 / 64


async def test_a_refused_batch_takes_nothing_from_its_group(store: SqliteStore) -> None:
    """Batches before and after a refused one are kept whole, their index rows too."""
    condition = Matches("Patient", TokenIs("identifier", CCCD, f"{1:012}"))
    refused = Batch(writes=[made(patient("other"))], conditions=[condition])

    results = await asyncio.gather(
        *(store.commit(_person(number)) for number in range(3)),
        store.commit(refused),
        store.commit(Batch(writes=[made(patient("p0"), 7)])),
        *(store.commit(_person(number)) for number in range(3, 6)),
        return_exceptions=True,
    )

    assert [type(one) for one in results if one is not None] == [ConditionChanged, VersionConflict]
    assert await store.read("Patient", "other") is None
    for number in range(6):
        page = await store.search(asked("Patient", f"identifier={CCCD}|{number:012}"))
        assert ids(page) == [f"p{number}"]


async def test_what_a_refused_batch_named_first_can_be_named_again(store: SqliteStore) -> None:
    """Systems, parameters and resources first met in a refused batch are met again as new."""
    later = [made(observation("o1", "ghost", identifier=[{"system": "urn:new", "value": "1"}]))]
    for version in (2, 1):
        later[0] = made(
            observation("o1", "ghost", identifier=[{"system": "urn:new", "value": "1"}]), version
        )
        if version == 1:
            await store.commit(Batch(writes=later))
            continue
        with pytest.raises(VersionConflict):
            await store.commit(Batch(writes=[made(patient("p1")), *later]))

    page = await store.search(asked("Observation", "identifier=urn:new|1&subject=Patient/ghost"))
    assert ids(page) == ["o1"]
    assert await store.read("Patient", "ghost") is None


async def test_versions_of_one_resource_in_one_group(store: SqliteStore) -> None:
    """Updates and a deletion that wait together leave the index of the last version only."""
    first = patient("p1", gender="male")
    second = patient("p1", gender="female")

    await asyncio.gather(
        store.commit(Batch(writes=[made(first)])),
        store.commit(Batch(writes=[made(second, 2)])),
        store.commit(Batch(writes=[gone("Patient", "p1", 3)])),
        store.commit(Batch(writes=[made(second, 4)])),
    )

    assert ids(await store.search(asked("Patient", "gender=male"))) == []
    assert ids(await store.search(asked("Patient", "gender=female"))) == ["p1"]
    assert await store.count("Patient") == 1


async def test_a_commit_whose_caller_was_cancelled_counts(store: SqliteStore) -> None:
    """What was handed over is made, whether somebody still waits for it or not."""
    caller = asyncio.create_task(store.commit(_person(1)))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)

    await store.commit(_person(2))

    assert await store.read("Patient", "p1") is not None


async def test_closing_finishes_what_was_begun(path: Path) -> None:
    """Commits that wait when the store is closed are made, and answered."""
    store = await SqliteStore.open(path)
    commits = [asyncio.create_task(store.commit(_person(number))) for number in range(50)]
    await asyncio.sleep(0)

    await store.close()
    await asyncio.gather(*commits)

    again = await SqliteStore.open(path)
    assert await again.count("Patient") == 50
    await again.close()


async def test_a_closed_store_takes_no_commit(store: SqliteStore) -> None:
    """After close nothing is answered as made."""
    await store.close()

    assert not await store.ready()
    with pytest.raises(Unavailable):
        await store.commit(_person(1))


async def test_a_full_disk_is_unavailable_and_passes(store: SqliteStore) -> None:
    """Nothing of a commit that found no room is kept; with room again the store goes on."""
    await store.commit(_person(1))
    pages = store.writer.db.pragma("page_count")
    store.writer.db.pragma("max_page_count", pages + 2)

    with pytest.raises(Unavailable, match="disk is full"):
        await store.commit(Batch(puts=[Put("b", "large", b"x" * 4_000_000)]))
    ready_when_full = store.writer.failed is None
    store.writer.db.pragma("max_page_count", 1_000_000)

    assert not ready_when_full
    assert await store.ready()
    assert await store.get("b", "large") is None
    await store.commit(_person(2))
    assert await store.count("Patient") == 2


class _Disk(apsw.VFS):
    """A disk whose writes to the log fail to reach the platter, when told to."""

    def __init__(self) -> None:
        super().__init__("failing", base="unix")
        self.failing = False

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _File(self, name, flags)


class _File(apsw.VFSFile):
    def __init__(self, disk: _Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self.disk = disk

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self.disk.failing:
            raise apsw.IOError("the platter is gone")
        super().xSync(flags)


@pytest.fixture
def disk() -> Iterator[_Disk]:
    """A disk that can fail, under the name that connections are opened with."""
    failing = _Disk()
    yield failing
    failing.unregister()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_what_does_not_reach_the_disk_is_not_answered_as_made(
    disk: _Disk, path: Path
) -> None:
    """When fsync fails every caller of the group hears it, and nothing of the group is there."""
    store = await SqliteStore.open(path, vfs="failing")
    await store.commit(_person(1))
    disk.failing = True

    answers = await asyncio.gather(
        *(store.commit(_person(number)) for number in range(2, 6)), return_exceptions=True
    )

    assert [type(one) for one in answers] == [Unavailable] * 4
    assert not await store.ready()
    assert await store.count("Patient") == 1
    disk.failing = False
    assert await store.ready()
    await store.commit(_person(2))
    assert await store.count("Patient") == 2
    await store.close()


async def test_a_damaged_file_is_unavailable(path: Path) -> None:
    """Overwritten pages are told as damage, not as an empty answer."""
    store = await SqliteStore.open(path)
    await put(store, *(patient(f"p{number}") for number in range(300)))
    await store.close()
    _overwrite(path)

    with pytest.raises(Unavailable, match="damaged"):
        await _open_and_read(path)


def _overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))


async def _open_and_read(path: Path) -> None:
    store = await SqliteStore.open(path)
    try:
        await store.read("Patient", "p1")
    finally:
        await store.close()


async def test_audit_alone_needs_no_savepoint_and_keeps_its_order(store: SqliteStore) -> None:
    """Audit entries of many readers at once are one chain without a gap."""
    batches = [Batch(audit=[AuditRecord(number, b"seen", ("p1",))]) for number in range(300)]

    await asyncio.gather(*map(store.commit, batches))

    entries = [entry async for entry in store.audit_chain()]
    assert [entry.seq for entry in entries] == list(range(1, 301))
    assert sorted(entry.recorded for entry in entries) == list(range(300))


async def test_a_search_sees_a_commit_that_was_answered(store: SqliteStore) -> None:
    """Read-your-writes, in searches too, without a pause."""
    for number in range(30):
        await store.commit(_person(number))
        found = await store.search(
            Search((("Patient", TokenIs("identifier", CCCD, f"{number:012}")),))
        )
        assert ids(found) == [f"p{number}"]


async def test_one_caller_alone_is_not_delayed(store: SqliteStore) -> None:
    """Who asks one after the other never waits for others, after a crowd either."""
    await asyncio.gather(*(store.commit(_person(number)) for number in range(50)))
    await store.commit(_person(50))
    before = store.writer.groups

    for number in range(51, 61):
        await store.commit(_person(number))

    assert store.writer.groups - before == 10


async def test_what_waits_at_the_end_is_still_made(path: Path) -> None:
    """Commits that were asked for before the store is closed are made and answered."""
    store = await SqliteStore.open(path)
    commits = [asyncio.ensure_future(store.commit(_person(number))) for number in range(150)]
    await asyncio.sleep(0)

    await store.close()

    await asyncio.gather(*commits)
    again = await SqliteStore.open(path)
    assert await again.count("Patient") == 150
    with pytest.raises(Unavailable):
        await store.commit(_person(150))
    await again.close()


async def test_other_work_and_commits_take_turns(store: SqliteStore) -> None:
    """What the housekeeping asks for from its thread is done among the commits, and answered."""

    def work(applier: Applier) -> int:
        return int(applier.db.execute("SELECT count(*) FROM unique_key").get)

    asked_for = []
    for number in range(60):
        commit = asyncio.ensure_future(store.commit(_person(number)))
        asked_for.append(store.writer.submit(work))
        await commit

    done = [await asyncio.wrap_future(one) for one in asked_for]
    assert sorted(done) == done
    assert done[-1] >= 59


def test_a_store_is_used_from_one_loop_after_another(path: Path) -> None:
    """What one event loop left waiting is made, and the next one is served at once."""
    store = asyncio.run(SqliteStore.open(path))

    async def leave() -> None:
        for number in range(20):
            task = asyncio.ensure_future(store.commit(_person(number)))
            await asyncio.sleep(0)
            task.cancel()

    asyncio.run(leave())
    asyncio.run(asyncio.wait_for(store.commit(_person(20)), 5))

    assert asyncio.run(store.count("Patient")) == 21
    asyncio.run(store.close())
