"""Commits of what is larger than a document, and of index values made anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec.structs import replace as changed

from fhir_server.model.outcome import TooLarge, Unavailable
from fhir_server.search.expression import Search, Tagged, TokenIs
from fhir_server.search.values import IndexValues, TokenValue
from fhir_server.store.mongo import chunks
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.port import Batch, KeyHeld, Put, RecordChanged, Tag
from tests.contracts.making import asked, ids, made, patient, put
from tests.fhir_server.store.mongo.committing import CCCD, at_once, person
from tests.mongo.databases import open_mongo


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[MongoStore]:
    """An empty store."""
    opened = await open_mongo(tmp_path)
    yield opened
    await opened.close()


# --- what is large -------------------------------------------------------------------------


async def test_a_body_larger_than_a_document_is_kept_whole(store: MongoStore) -> None:
    """In every read of it, as it is and as it was; what else its commit has is kept too."""
    size = 2 * chunks.LARGE
    large = [made(patient("p", note="x" * (size + n)), n) for n in (1, 2)]
    small = made(patient("p", gender="male"), 3)
    for write in (*large, small):
        await store.commit(Batch(writes=[write, made(patient(f"q{write.version_id}"))]))
        version = await store.read("Patient", "p")
        assert version
        assert version.body == write.body
        assert ids(await store.search(asked("Patient", "_id=p"))) == ["p"]

    for write in (*large, small):
        version = await store.vread("Patient", "p", write.version_id)
        assert version
        assert version.body == write.body
    history = await store.history("Patient", "p")
    assert [one.body for one in history.versions] == [small.body, large[1].body, large[0].body]


async def test_a_large_body_and_its_next_version_in_one_commit(store: MongoStore) -> None:
    """A version that is replaced before it was written is in the history whole."""
    writes = [made(patient("p", note="x" * (chunks.LARGE + 1))), made(patient("p"), 2)]

    await store.commit(Batch(writes=writes))

    history = await store.history("Patient", "p")
    assert [one.body for one in history.versions] == [writes[1].body, writes[0].body]


async def test_what_is_indexed_of_a_resource_has_an_end(store: MongoStore) -> None:
    """More values than a document can hold are refused alone, in one sentence."""
    write = made(patient("p"))
    long = tuple(TokenValue("t", "s", f"{n}{'x' * 1000}") for n in range(8000))
    many = tuple(TokenValue("t", "s", str(n)) for n in range(20_000))
    huge, large = [
        Batch(writes=[changed(write, index=IndexValues(values, ("p",)))]) for values in (long, many)
    ]

    answers = await at_once(store, [person(1), huge, person(2), large])

    assert [type(one) for one in answers] == [type(None), TooLarge, type(None), type(None)]
    assert await store.count("Patient", TokenIs("t", "s", "19999")) == 1


async def pieces(store: MongoStore) -> int:
    """Return how many pieces and marks there are, once what is nobody's was deleted."""
    await store._chunks.settle()
    return await store._collections.chunk.count_documents({})


async def test_a_record_larger_than_a_document_is_kept_whole(store: MongoStore) -> None:
    """Read, scanned, compared, replaced and taken away; nothing of it is left behind."""
    first, second = b"a" * (5 * chunks.LARGE), b"b" * (2 * chunks.LARGE + 1)
    await store.commit(Batch(puts=[Put("b", "k", first), Put("b", "l", b"small")]))
    assert await store.get("b", "k") == first
    assert await store.scan("b") == [("k", first), ("l", b"small")]

    with pytest.raises(RecordChanged):
        await store.commit(Batch(puts=[Put("b", "k", second, expected=b"a")]))
    await store.commit(Batch(puts=[Put("b", "k", second, expected=first)]))
    assert await store.get("b", "k") == second
    await store.commit(Batch(puts=[Put("b", "k", b"small")]))
    assert await store.get("b", "k") == b"small"
    await store.commit(Batch(puts=[Put("b", "k", first)]))
    await store.commit(Batch(puts=[Put("b", "k", None)]))

    assert await store.get("b", "k") is None
    assert await pieces(store) == 0


async def test_pieces_of_what_is_not_kept_are_deleted(store: MongoStore) -> None:
    """Of a refused commit, and of a record that was replaced before it was written."""
    large = b"a" * (chunks.LARGE + 1)
    with pytest.raises(RecordChanged):
        await store.commit(Batch(puts=[Put("b", "k", large), Put("b", "l", b"x", expected=b"y")]))
    assert await pieces(store) == 0

    await store.commit(Batch(puts=[Put("b", "k", large), Put("b", "k", b"small")]))
    assert await pieces(store) == 0
    assert await store.get("b", "k") == b"small"


async def test_pieces_whose_server_ended_are_deleted_in_time(store: MongoStore) -> None:
    """Those that have waited for an hour, and no commit can have them any more; others stay."""
    old, new = await store._chunks.put(b"a"), await store._chunks.put(b"b")
    long_ago = {"$set": {"at": datetime(2020, 1, 1, tzinfo=UTC)}}
    await store._collections.chunk.update_one({"_id": old.owner}, long_ago)
    store._chunks.sweep_soon()

    assert await pieces(store) == 2
    async with store._opened.client.start_session() as session:
        with pytest.raises(Unavailable):
            await chunks.adopt(store._collections, [old], session)
        await chunks.adopt(store._collections, [new], session)
    assert await chunks.whole(store._collections, new) == b"b"


async def test_a_record_far_in_the_future_does_not_end(store: MongoStore) -> None:
    """An end past what the database's clock can say is kept, and so is one of long ago."""
    await store.commit(
        Batch(puts=[Put("b", "k", b"v", expires=2**62), Put("b", "l", b"v", expires=-1)])
    )

    assert await store.get("b", "k", now=2**61) == b"v"
    assert await store.get("b", "l", now=0) is None
    assert await store.get("b", "l") == b"v"


# --- indexed anew --------------------------------------------------------------------------


async def test_reindexing_replaces_what_is_indexed(store: MongoStore) -> None:
    """New index values replace the old ones; the version stays, and a walk can go on anywhere."""
    await put(store, *(patient(f"p{n}", gender="male") for n in range(5)))
    await store.commit(Batch(tags=[Tag("Patient", "p1", frozenset("t"))]))
    first = await store.walk("Patient", limit=3)
    rest = await store.walk("Patient", after=first[-1][0])
    assert [v.resource_id for _, v in first + rest] == [f"p{n}" for n in range(5)]
    before = await store.edition()

    new = IndexValues((TokenValue("gender", "s", "female"),), ("p1",), ("key|1",))
    done = await store.reindex([(("Patient", "p1"), 1, new), (("Patient", "p2"), 9, new)])

    assert done == 1
    assert await store.edition() != before
    page = await store.search(Search((("Patient", TokenIs("gender", None, "female")),)))
    assert ids(page) == ["p1"]
    assert page.versions[0].version_id == 1
    assert await store.visible(("Patient", "p1"), Tagged("t"))
    assert await store.count("Patient", Tagged("t")) == 1
    assert await store.holder("key|1") == ("Patient", "p1")
    page = await store.search(Search((("Patient", TokenIs("gender", None, "male")),)))
    assert ids(page) == ["p4", "p3", "p2", "p0"]
    await store.commit(Batch(writes=[made(patient("p1"), 2)]))
    assert await store.holder("key|1") is None


async def test_reindexing_does_not_give_a_key_to_two(store: MongoStore) -> None:
    """Neither of two that are indexed together, nor one beside a holder; nothing is changed."""
    await put(store, *(patient(f"p{n}", gender="male") for n in range(3)))
    await store.commit(person(7))
    held = IndexValues(unique=(f"{CCCD}|{7:012}",))
    own = IndexValues(unique=("key|1",))

    for items in ([("p0", own), ("p1", own)], [("p0", own), ("p1", held)]):
        with pytest.raises(KeyHeld):
            await store.reindex([(("Patient", one), 1, index) for one, index in items])

    assert await store.holder("key|1") is None
    assert len(ids(await store.search(asked("Patient", "gender=male")))) == 3


async def test_reindexing_takes_its_turn_among_commits(store: MongoStore) -> None:
    """Commits before and after it, asked at once, are made; what they changed is passed over."""
    await put(store, *(patient(f"p{n}") for n in range(4)))
    new = IndexValues((TokenValue("gender", "s", "other"),), ())

    answers = await asyncio.gather(
        store.commit(Batch(writes=[made(patient("p0"), 2)])),
        store.reindex([(("Patient", f"p{n}"), 1, new) for n in range(4)]),
        store.commit(Batch(writes=[made(patient("p1", gender="male"), 2)])),
    )

    assert answers == [None, 3, None]
    page = await store.search(Search((("Patient", TokenIs("gender", None, "other")),)))
    assert ids(page) == ["p3", "p2"]
