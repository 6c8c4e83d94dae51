"""A move that is killed, or beside a server at work; who has a store; copies of a database."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Self

import pytest

from fhir_server.model.outcome import Unavailable
from fhir_server.move import Outcome, move
from fhir_server.search.expression import EVERYTHING, Search, Sort
from fhir_server.store.bulk import BUCKET, MARK, Record, RecordKey, Size, Source, Target
from fhir_server.store.mark import first_mark
from fhir_server.store.mongo import serving
from fhir_server.store.mongo.bulk import MongoSource
from fhir_server.store.mongo.importing import MongoTarget
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.port import AuditEntry, AuditRecord, BadCursor, Batch, Put, Store, Tag
from fhir_server.store.sqlite import connect
from fhir_server.store.sqlite.bulk import SqliteSource
from fhir_server.store.sqlite.copying import SqliteCopy
from tests.contracts.conftest import HERE
from tests.contracts.making import BASE_URL, START, ids, made, observation, patient, put, turned
from tests.fhir_server.store.wholes import SECOND, SMALL, Place, fill, moved, said
from tests.mongo.databases import pooled_url
from tests.mongo.shared import mongo_server

ENGINES = [name for name in HERE if name != "memory"]
WAYS = [(ours, theirs) for ours in ENGINES for theirs in ENGINES]


@pytest.fixture(params=WAYS, ids="-".join)
def way(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Place, Place]:
    """Where a store is, and where it is to be: both engines, both ways."""
    ours, theirs = request.param
    return Place(ours, tmp_path / "ours"), Place(theirs, tmp_path / "theirs")


@pytest.fixture
async def filled(way: tuple[Place, Place]) -> tuple[Place, Place]:
    """The same; the first holds something."""
    async with way[0].opened() as store:
        await fill(store)
    return way


# --- killed ----------------------------------------------------------------------------------


class Killed(Exception):
    """Stands for the end of the process."""


@dataclass
class Mortal:
    """A target whose process ends after so many calls that write, or in the middle of the next.

    Attributes:
        halfway: Whether a part of the last page is written, but not its mark.
    """

    target: Any
    left: int
    halfway: bool
    written: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.target, name)

    def _call(self, name: str) -> None:
        self.written.append(name)
        self.left -= 1
        if self.left < 0:
            raise Killed

    async def begin(self, cursor_key: bytes, mark: bytes) -> None:
        self._call("begin")
        await self.target.begin(cursor_key, mark)

    async def put_versions(self, items: Any, ready: Any, mark: bytes, **how: bool) -> None:
        try:
            self._call("put_versions")
        except Killed:
            if self.halfway and isinstance(self.target, MongoTarget):
                await _without_mark(self.target, items, ready, **how)
            raise
        await self.target.put_versions(items, ready, mark, **how)

    async def put_entries(self, entries: Sequence[AuditEntry], mark: bytes) -> None:
        try:
            self._call("put_entries")
        except Killed:
            if self.halfway and isinstance(self.target, MongoTarget):
                before, ends = await self.target.mark(), await self.target.ends()
                await self.target.put_entries(entries, mark)
                now = {"seq": ends.seq, "digest": ends.digest}
                await self.target._turn(before, now)
            raise
        await self.target.put_entries(entries, mark)

    async def put_records(self, records: Sequence[Record], gone: Sequence[RecordKey]) -> None:
        self._call("put_records")
        await self.target.put_records(records, gone)

    async def keep(self, mark: bytes) -> None:
        self._call("keep")
        await self.target.keep(mark)

    async def settle(self) -> None:
        self._call("settle")
        await self.target.settle()

    async def finish(self, stamp: bytes) -> None:
        self._call("finish")
        await self.target.finish(stamp)


async def _without_mark(target: MongoTarget, items: Any, ready: Any, **how: bool) -> None:
    """Leave a page in the database of which nothing says that it is there."""
    before, ends = await target.mark(), await target.ends()
    await target.put_versions(items, ready, before or b"", **how)
    await target._turn(before, {"rid": ends.number})


async def _run(source: Source, target: Any) -> Outcome:
    return await move(source, target, base_url=BASE_URL, live=False, size=Size(items=9))


@pytest.mark.parametrize("halfway", [False, True], ids=["between", "halfway"])
async def test_a_move_that_is_killed_goes_on(filled: tuple[Place, Place], *, halfway: bool) -> None:
    """Killed at each of its writes, again and again, it ends in a store that is equal."""
    ours, theirs = filled
    async with ours.opened() as store:
        before = await said(store)
    source = await ours.source()
    outcome, kills, written = None, 0, []
    while outcome is None:
        target = await theirs.target()
        mortal = Mortal(target, left=kills % 3 + 1, halfway=halfway)
        try:
            outcome = await _run(source, mortal)
        except Killed:
            kills += 1
        finally:
            written += mortal.written
            await target.close()
    await source.close()

    assert kills > 8
    assert {"begin", "put_versions", "put_entries", "put_records", "settle", "finish"} <= {*written}
    assert (outcome.differences, outcome.finished) == ([], True)
    async with theirs.opened() as store:
        assert await said(store) == before
        assert await store.get(BUCKET, MARK) is None


async def test_a_killed_last_step_goes_on(filled: tuple[Place, Place]) -> None:
    """What was current after the first run and is replaced in a page that is killed is kept."""
    ours, theirs = filled
    await moved(ours, theirs, live=True)
    async with ours.opened() as store:
        for number in range(12):
            changed = patient(f"p{number}", gender="other")
            await store.commit(Batch(writes=[made(changed, 2, at=START + 900 * SECOND)]))
        before = await said(store)
    source = await ours.source()
    for left in (0, 1):
        target = await theirs.target()
        with pytest.raises(Killed):
            await _run(source, Mortal(target, left=left, halfway=True))
        await target.close()
    target = await theirs.target()
    outcome = await _run(source, target)
    await target.close()
    await source.close()

    assert outcome.differences == []
    async with theirs.opened() as store:
        assert await said(store) == before
        at = (START + 5 * SECOND, START + 5 * SECOND)
        page = await store.history("Patient", "p0", at=at)
    assert [one.version_id for one in page.versions] == [1]


# --- beside a server at work -----------------------------------------------------------------


class Writers:
    """Clients that go on writing, changing, tagging and deleting until they are stopped."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tasks: list[asyncio.Task[None]] = []
        self._is_over = False
        self.commits = 0

    async def _write(self, who: int) -> None:
        random = Random(who)
        for number in count():
            if self._is_over:
                return
            name, at = f"w{who}-{number}", START + number * SECOND
            before = f"w{who}-{random.randrange(number + 1)}"
            writes = [made(patient(name, gender="male"), at=at, tags=["t"])]
            writes.append(made(observation(name, before), at=at))
            if number > 3 and number % 2:
                current = await self._store.read("Patient", before)
                if current is not None:
                    writes.append(made(patient(before), current.version_id + 1, at=at))
            tags = [Tag("Patient", name, frozenset({f"tag-{number % 3}"}))]
            puts = [Put("dossier", f"{who}|{number % 7}", str(number).encode())]
            if number % 3 == 2:
                puts.append(Put("dossier", f"{who}|{(number - 1) % 7}", None))
            audit = [AuditRecord(at, name.encode(), (name,))]
            await self._store.commit(Batch(writes=writes, tags=tags, puts=puts, audit=audit))
            self.commits += 1
            await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._write(who)) for who in range(3)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_over = True
        await asyncio.gather(*self._tasks)

    async def wait_for(self, commits: int) -> None:
        """Wait until so many more are made."""
        until = self.commits + commits
        while self.commits < until:
            assert not any(task.done() for task in self._tasks)
            await asyncio.sleep(0.005)


async def test_a_served_store_is_moved_as_it_is_at_one_moment(filled: tuple[Place, Place]) -> None:
    """While clients write, a live move is equal to the source at a moment; twice; then the rest."""
    ours, theirs = filled
    async with ours.opened() as store:
        async with Writers(store) as writers:
            await writers.wait_for(20)
            first = await moved(ours, theirs, live=True, size=Size())
            await writers.wait_for(20)
            second = await moved(ours, theirs, live=True, size=Size())
            assert writers.commits > 40
        before = await said(store)

    last = await moved(ours, theirs)

    assert [one.differences for one in (first, second, last)] == [[], [], []]
    assert [one.finished for one in (first, second, last)] == [False, False, True]
    assert second.copied > 40
    async with theirs.opened() as store:
        assert await said(store) == before


# --- who has it open -------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_served_store_is_neither_source_nor_target(engine: str, tmp_path: Path) -> None:
    """Both are refused while a process serves the store, also one that is idle."""
    place, other = Place(engine, tmp_path / "ours"), Place("sqlite", tmp_path / "theirs")
    async with place.opened() as store, _served(store):
        with pytest.raises(Unavailable, match="served"):
            await moved(place, other)
        with pytest.raises(Unavailable, match="served"):
            await place.target()
    async with other.opened() as store:
        await put(store, patient("a"))
    assert (await moved(other, place)).finished


@pytest.mark.parametrize("engine", ENGINES)
async def test_no_server_starts_over_a_store_that_is_moved(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as a move has a store, whoever opens it to serve it is refused; then no longer."""
    monkeypatch.setattr(connect, "BUSY_MS", 500)  # it is refused after a quarter of a minute
    place = Place(engine, tmp_path / "ours")
    async with place.opened():
        pass
    alone = await place.source()
    with pytest.raises(Unavailable):
        async with place.opened() as store, _served(store):
            pass
    with pytest.raises(Unavailable):
        await place.target()
    await alone.close()

    async with place.opened() as store, _served(store):
        await put(store, patient("a"))


@contextlib.asynccontextmanager
async def _served(store: Store) -> AsyncIterator[None]:
    if isinstance(store, MongoStore):
        async with store.serving():
            yield
    else:
        yield


@pytest.mark.usefixtures(mongo_server.__name__)
async def test_a_killed_server_is_waited_for(tmp_path: Path) -> None:
    """Its lease is not renewed: a move begins when it has ended, in some seconds."""
    place = Place("mongodb", tmp_path / "ours")
    loop = asyncio.get_running_loop()
    async with place.opened() as store:
        assert isinstance(store, MongoStore)
        lease = store.serving()
        await lease._take()
        taken = loop.time()

    source = await place.source()
    waited = loop.time() - taken
    await source.close()

    assert serving.SECONDS - 1 < waited < serving.SECONDS + 5


@pytest.mark.usefixtures(mongo_server.__name__)
async def test_a_server_says_that_it_serves_for_as_long_as_it_does(tmp_path: Path) -> None:
    """Its lease is renewed before it ends."""
    place = Place("mongodb", tmp_path / "ours")
    async with place.opened() as store:
        assert isinstance(store, MongoStore)
        async with store.serving() as lease:
            before = await lease._others("^serving/")
            async with asyncio.timeout(serving.SECONDS):
                while await lease._others("^serving/") == before:  # noqa: ASYNC110 - another's
                    await asyncio.sleep(0.1)
            assert await lease._others("^serving/")


# --- next links ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sort",
    [
        (),
        (Sort("_id", "id"),),
        (Sort("_lastUpdated", "last", descending=True),),
        (Sort("date", "date"),),
        (Sort("code", "token"), Sort("_id", "id")),
        (Sort("subject", "reference"),),
    ],
    ids=lambda sort: "-".join(one.param for one in sort) or "newest",
)
async def test_a_next_link_goes_on_after_the_move(
    filled: tuple[Place, Place], sort: tuple[Sort, ...]
) -> None:
    """The second page is the same over the target, in every order that all engines know alike."""
    search = Search((("Observation", EVERYTHING),), count=5, sort=sort)
    ours, theirs = filled
    async with ours.opened() as store:
        first = await store.search(search)
        second = await store.search(turned(search, first))
        history = await store.history(None, None, count=7)

    await moved(ours, theirs)

    async with theirs.opened() as store:
        assert ids(await store.search(turned(search, first))) == ids(second)
        more = await store.history(None, None, count=7, cursor=history.next)
    assert not {*more.versions} & {*history.versions}
    assert len(more.versions) == 7


async def test_a_next_link_by_numbers_is_taken_or_refused(filled: tuple[Place, Place]) -> None:
    """Engines keep decimals in their own ways: such a link goes on, or is refused."""
    search = Search(
        (("Observation", EVERYTHING),), count=5, sort=(Sort("value-quantity", "quantity"),)
    )
    ours, theirs = filled
    async with ours.opened() as store:
        first = await store.search(search)
        second = await store.search(turned(search, first))

    await moved(ours, theirs)

    async with theirs.opened() as store:
        try:
            found = ids(await store.search(turned(search, first)))
        except BadCursor:
            assert ours.engine != theirs.engine
        else:
            assert found == ids(second)


# --- copies of a database --------------------------------------------------------------------


def _names(folder: Path, pattern: str) -> list[str]:
    return sorted(file.name for file in folder.glob(pattern))


async def _backup(place: Place, file: Path) -> Outcome:
    source, copy = await place.source(live=True), await SqliteCopy.of(file)
    try:
        outcome = await move(source, copy, base_url=BASE_URL, live=False, size=SMALL)
        await copy.keep_as(file)
        return outcome
    finally:
        await source.close()
        await copy.close()


async def _restore(file: Path, place: Place) -> Outcome:
    source = await SqliteSource.open(file, "file")
    try:
        target = await MongoTarget.open(pooled_url(place.folder), "alone")
        try:
            await target.empty(await first_mark(source))
            return await move(source, target, base_url=BASE_URL, live=False, size=SMALL)
        finally:
            await target.close()
    finally:
        await source.close()


@pytest.mark.usefixtures(mongo_server.__name__)
async def test_a_copy_of_a_served_database_is_of_one_moment(tmp_path: Path) -> None:
    """Each batch is in it whole or not at all; it opens as a store in a file."""
    place = Place("mongodb", tmp_path / "ours")
    async with place.opened() as store:
        await fill(store)
        async with Writers(store) as writers:
            await writers.wait_for(20)
            outcome = await _backup(place, tmp_path / "fhir.db")
            await writers.wait_for(1)

    assert outcome.differences == []
    assert _names(tmp_path, "fhir.db*") == ["fhir.db"]
    copy = Place("sqlite", tmp_path)
    async with copy.opened() as store:
        kept = await said(store)
        for who in range(3):
            done = 0
            while await store.read("Patient", f"w{who}-{done}"):
                done += 1
            audit = [one for one in kept["audit"] if one.body.startswith(b"w%d-" % who)]
            assert len(audit) == done
            there = dict(await store.scan("dossier", start=f"{who}|", end=f"{who}}}"))
            assert max(map(int, there.values())) == done - 1
            assert await store.tags(("Patient", f"w{who}-{done - 1}")) >= {"t"}
    assert kept["chain"][1] is None


@pytest.mark.usefixtures(mongo_server.__name__)
async def test_a_copy_is_restored_into_a_database(tmp_path: Path) -> None:
    """What was there at the copy is there again and nothing later; old next links are refused."""
    place = Place("mongodb", tmp_path / "ours")
    search = Search((("Patient", EVERYTHING),), count=2)
    async with place.opened() as store:
        await fill(store)
        before = await said(store)
        page = await store.search(search)
        await _backup(place, tmp_path / "copy.db")
        await put(store, patient("later"))
        large = Put("submission-source", "large", b"x" * 20_000_000)
        await store.commit(Batch(puts=[large], audit=[AuditRecord(START, b"later")]))

    outcome = await _restore(tmp_path / "copy.db", place)

    assert (outcome.differences, outcome.finished) == ([], True)
    async with place.opened() as store:
        assert await said(store) == before
        with pytest.raises(BadCursor):
            await store.search(replace(search, cursor=page.next))
        await put(store, patient("new"))


@pytest.mark.usefixtures(mongo_server.__name__)
async def test_a_served_database_is_not_restored(tmp_path: Path) -> None:
    """It is refused before anything is taken out."""
    place = Place("mongodb", tmp_path / "ours")
    async with place.opened() as store, _served(store):
        await fill(store)
        await _backup(place, tmp_path / "copy.db")
        before = await said(store)
        with pytest.raises(Unavailable, match="served"):
            await _restore(tmp_path / "copy.db", place)
        assert await said(store) == before


@pytest.mark.usefixtures(mongo_server.__name__)
async def test_a_killed_restore_is_begun_again(tmp_path: Path) -> None:
    """Until then it is marked as not finished, and no move goes on with it."""
    place = Place("mongodb", tmp_path / "ours")
    async with place.opened() as store:
        await fill(store)
        before = await said(store)
        await _backup(place, tmp_path / "copy.db")
    source = await SqliteSource.open(tmp_path / "copy.db", "file")
    target = await MongoTarget.open(pooled_url(place.folder), "alone")
    await target.empty(await first_mark(source))
    with pytest.raises(Killed):
        await _run(source, Mortal(target, left=2, halfway=False))
    await target.close()
    await source.close()
    async with place.opened() as store:
        marked = await store.get(BUCKET, MARK)

    await _restore(tmp_path / "copy.db", place)

    assert marked
    async with place.opened() as store:
        assert await said(store) == before
        assert await store.get(BUCKET, MARK) is None


async def test_a_copy_is_there_only_when_it_is_whole(tmp_path: Path) -> None:
    """What a killed backup left is `FILE.part`; the next one begins anew."""
    place = Place("sqlite", tmp_path / "ours")
    async with place.opened() as store:
        await fill(store)
    source, copy = await place.source(), await SqliteCopy.of(tmp_path / "copy.db")
    with pytest.raises(Killed):
        await _run(source, Mortal(copy, left=2, halfway=False))
    await copy.close()
    await source.close()
    there = _names(tmp_path, "copy*")

    await _backup(place, tmp_path / "copy.db")

    assert there == ["copy.db.part"]
    assert _names(tmp_path, "copy*") == ["copy.db"]


# --- what is wrong is found ------------------------------------------------------------------


def _tampered(target: Target, statement: str) -> None:
    target._db.execute(statement)


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("DELETE FROM version WHERE rid = 5", "versions: Observation/o0-0/_history/2 is not in"),
        ("UPDATE version SET method = 4 WHERE rid = 2", "versions: Observation/o0-0/_history/1"),
        (
            "UPDATE version SET last_updated = 7 WHERE rid = 9",
            "versions: Observation/o1-2/_history/1",
        ),
        ("UPDATE audit SET recorded = 1 WHERE seq = 3", "audit: AuditEvent 3 is not the same"),
        ("DELETE FROM audit WHERE seq = 25", "audit: AuditEvent 25 is not in the target"),
        ("DELETE FROM counter WHERE rowid IS NULL OR live > 20", "count of Observation: "),
        ("DELETE FROM unique_key", "unique keys: a key of Patient/p0 is not in the target"),
    ],
    ids=lambda text: text.partition(" WHERE")[0].partition(":")[0].replace(" ", "-"),
)
async def test_what_is_not_equal_is_told(tmp_path: Path, statement: str, found: str) -> None:
    """A target in which something went wrong does not end the move."""
    ours, theirs = Place("sqlite", tmp_path / "ours"), Place("sqlite", tmp_path / "theirs")
    async with ours.opened() as store:
        await fill(store)
    source, target = await ours.source(), await theirs.target()

    class Wrong(Mortal):
        async def settle(self) -> None:
            await target._do(lambda: _tampered(target, statement))

    class Early(Mortal):
        async def put_entries(self, entries: Sequence[AuditEntry], mark: bytes) -> None:
            await target.put_entries(entries, mark)
            await target._do(lambda: _tampered(target, statement))

    last = found.startswith(("count", "unique"))
    outcome = await _run(source, (Wrong if last else Early)(target, 1_000, halfway=False))
    await target.close()
    await source.close()

    assert any(line.startswith(found) for line in outcome.differences), outcome.differences
    assert not outcome.finished


async def test_a_part_that_lacks_is_unavailable_not_skipped(tmp_path: Path) -> None:
    """A database in which a piece of a large record is gone is not moved as if it were whole."""
    if "mongodb" not in HERE:
        pytest.skip("no mongod is made for this machine")
    place = Place("mongodb", tmp_path / "ours")
    async with place.opened() as store:
        await store.commit(Batch(puts=[Put("submission-source", "a", b"x" * 20_000_000)]))
    source = await MongoSource.open(pooled_url(place.folder), "alone")
    await source._to.chunk.delete_one({"_id": {"$regex": "#1$"}})

    target = await Place("sqlite", tmp_path / "theirs").target()
    with pytest.raises(Unavailable, match="part"):
        await _run(source, target)
    await target.close()
    await source.close()
