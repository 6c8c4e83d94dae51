"""Commits: gathered into one transaction, each all or nothing, as if made one after another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace as changed

from fhir_server.model.outcome import Unavailable
from fhir_server.search.expression import Chain, StringIs, Tagged, TokenIs
from fhir_server.store.memory import MemoryStore
from fhir_server.store.mongo import reads, writing
from fhir_server.store.mongo.gather import Job
from fhir_server.store.mongo.prepared import Prepared
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.port import (
    AuditRecord,
    Batch,
    CommitRefused,
    ConditionChanged,
    KeyHeld,
    Matches,
    Put,
    RecordChanged,
    Store,
    Tag,
    VersionConflict,
)
from tests.contracts.drawing import IDS, SECOND, TYPES, Draw
from tests.contracts.making import START, asked, gone, ids, made, observation, patient, put
from tests.contracts.test_store_agree import _batch, _kept
from tests.fhir_server.store.mongo.committing import CCCD, at_once, person
from tests.fhir_server.store.mongo.conftest import QUICK
from tests.mongo.databases import open_mongo
from tests.mongo.replica_set import ReplicaSet
from tests.sizes import seeds


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[MongoStore]:
    """An empty store."""
    opened = await open_mongo(tmp_path)
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def other(tmp_path: Path) -> AsyncIterator[MongoStore]:
    """Another server's store, over the same database."""
    opened = await open_mongo(tmp_path)
    yield opened
    await opened.close()


async def chain_of(store: Store) -> list[bytes]:
    """Return the bodies of the audit chain, which is whole."""
    bodies, digest, seq = [], bytes(32), 0
    async for entry in store.audit_chain():
        stamp = entry.recorded.to_bytes(8, "big", signed=True)
        digest = sha256(digest + stamp + entry.body).digest()
        assert (entry.seq, entry.digest) == (seq + 1, digest)
        bodies.append(entry.body)
        seq = entry.seq
    return bodies


# --- groups --------------------------------------------------------------------------------


async def test_commits_that_wait_share_a_transaction(store: MongoStore) -> None:
    """Two hundred callers at once need far fewer than two hundred transactions, yet some."""
    before = store.committer.groups

    await asyncio.gather(*(store.commit(person(number)) for number in range(200)))

    assert 200 / 64 <= store.committer.groups - before < 20
    assert await store.count("Patient") == 200


async def test_a_refused_batch_takes_nothing_from_its_group(store: MongoStore) -> None:
    """Batches before and after a refused one are kept whole, and found."""
    taken = Matches("Patient", TokenIs("identifier", CCCD, f"{1:012}"))

    answers = await at_once(
        store,
        [
            *(person(number) for number in range(3)),
            Batch(writes=[made(patient("other"))], conditions=[taken]),
            Batch(writes=[made(patient("p0"), 7)]),
            person(2, "thief"),
            *(person(number) for number in range(3, 6)),
        ],
    )

    refused = [type(one) for one in answers if one is not None]
    assert refused == [ConditionChanged, VersionConflict, KeyHeld]
    assert await store.read_many([("Patient", "other"), ("Patient", "thief")]) == [None, None]
    for number in range(6):
        page = await store.search(asked("Patient", f"identifier={CCCD}|{number:012}"))
        assert ids(page) == [f"p{number}"]


async def test_versions_of_one_resource_in_one_group(store: MongoStore) -> None:
    """Updates and a deletion that wait together are all kept; the last one is found."""
    first, second = patient("p1", gender="male"), patient("p1", gender="female")
    writes = [made(first), made(second, 2), gone("Patient", "p1", 3), made(second, 4)]

    assert await at_once(store, [Batch(writes=[one]) for one in writes]) == [None] * 4

    assert ids(await store.search(asked("Patient", "gender=male"))) == []
    assert ids(await store.search(asked("Patient", "gender=female"))) == ["p1"]
    assert await store.count("Patient") == 1
    history = await store.history("Patient", "p1")
    assert [one.body for one in history.versions] == [one.body for one in reversed(writes)]
    assert [await store.vread("Patient", "p1", n) for n in (4, 3, 2, 1)] == list(history.versions)


async def test_what_is_there_already_is_looked_at(store: MongoStore) -> None:
    """A first version of what is there, or a key that is held, is refused; the group is made."""
    await put(store, patient("old"))
    await store.commit(person(1))

    answers = await at_once(
        store, [person(2), Batch(writes=[made(patient("old"))]), person(1, "thief"), person(3)]
    )

    assert [answers[0], answers[3]] == [None, None]
    assert isinstance(answers[1], VersionConflict)
    assert (answers[1].name, answers[1].current) == (("Patient", "old"), 1)
    assert isinstance(answers[2], KeyHeld)
    assert (answers[2].key, answers[2].holder) == (f"{CCCD}|{1:012}", ("Patient", "p1"))
    assert await store.count("Patient") == 4


@pytest.mark.parametrize(
    "where",
    [
        Tagged("t"),
        Chain("subject", "Patient", Tagged("t")),
        TokenIs("code", "http://loinc.org", "8480-6"),
    ],
    ids=["tag", "chain", "token"],
)
async def test_a_condition_sees_what_the_group_has_made(store: MongoStore, where: Any) -> None:
    """What was only tagged, or is at the other end of a chain, or was just written."""
    await put(store, patient("p"), observation("o", "p", code={"text": "other"}))
    tag = Batch(
        tags=[
            Tag(kind, one, frozenset("t")) for kind, one in (("Patient", "p"), ("Observation", "o"))
        ]
    )
    written = Batch(writes=[made(observation("o", "p"), 2)])
    before = [tag] if isinstance(where, Tagged | Chain) else [written]

    answers = await at_once(
        store,
        [
            Batch(conditions=[Matches("Observation", where)]),
            *before,
            Batch(conditions=[Matches("Observation", where)]),
            Batch(conditions=[Matches("Observation", where, frozenset("o"))]),
        ],
    )

    assert [type(one) for one in answers] == [
        type(None),
        type(None),
        ConditionChanged,
        type(None),
    ]


async def test_a_batch_that_cannot_be_written_takes_nobody_down(store: MongoStore) -> None:
    """What the database cannot hold fails alone, and its group is made."""
    impossible = changed(made(patient("bad")), last_updated=2**70)

    answers = await at_once(store, [person(1), Batch(writes=[impossible]), person(2)])

    assert [answers[0], answers[2]] == [None, None]
    assert isinstance(answers[1], OverflowError)
    assert await store.read("Patient", "bad") is None
    assert await store.count("Patient") == 2


async def test_a_group_that_is_too_much_at_once_is_made_one_by_one(members: ReplicaSet) -> None:
    """A transaction that the database cannot hold in memory is rolled back each time.

    It is not tried again for half a minute, as one that another's is in the way of.
    """
    store = await MongoStore.open(members.url("too_much", QUICK))
    conflict = {"errorCode": 112, "errorLabels": ["TransientTransactionError"]}
    loop = asyncio.get_running_loop()
    jobs = [Job(Prepared(person(number)), loop.create_future()) for number in (1, 2)]
    members.fail(["insert"], 3, conflict)

    await store.committer.make(jobs)

    assert [job.error for job in jobs] == [None, None]
    assert store.committer.groups == 1 + 2
    assert await store.count("Patient") == 2
    await store.close()


async def test_a_condition_that_the_database_is_late_with_is_told_as_busy(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not ask too much: sent again it may be made. Those beside it are."""
    monkeypatch.setattr(reads, "SECONDS", 0)
    where = Chain("subject", "Patient", StringIs("family", "nguyen"))
    late = Batch([made(observation("o", "p"))], conditions=[Matches("Observation", where)])

    answers = await at_once(store, [late, Batch([made(patient("p"))])])

    assert isinstance(answers[0], Unavailable)
    assert "busy" in str(answers[0])
    assert await store.read("Observation", "o") is None
    assert await store.read("Patient", "p") is not None


async def test_a_commit_whose_caller_was_cancelled_counts(store: MongoStore) -> None:
    """What was handed over is made, whether somebody still waits for it or not."""
    caller = asyncio.create_task(store.commit(person(1)))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)

    await store.commit(person(2))

    assert await store.read("Patient", "p1") is not None


async def test_closing_finishes_what_was_begun(store: MongoStore, other: MongoStore) -> None:
    """What was asked before closing is made; what is asked later is refused."""
    callers = [asyncio.create_task(store.commit(person(number))) for number in range(100)]
    await asyncio.sleep(0)

    await store.close()

    assert await asyncio.gather(*callers) == [None] * 100
    with pytest.raises(Unavailable):
        await store.commit(person(1))
    assert not await store.ready()
    assert await other.count("Patient") == 100


# --- as the reference store ----------------------------------------------------------------


def _more(draw: Draw, batch: Batch, number: int) -> Batch:
    """Add to a commit what resources have beside them."""
    tags, puts = [], []
    if draw.random.random() < 0.3:
        names = [(kind, one) for kind in TYPES for one in IDS]
        tags = [
            Tag(*draw.one(names), frozenset(draw.one(["t", "u"])), frozenset(draw.one(["", "t"])))
        ]
    if draw.random.random() < 0.4:
        values = [None, b"0", b"1"]
        expected = draw.one(["any", *values])
        puts = [Put("b", draw.one(["k", "l"]), draw.one(values), expected=expected)]
    audit = [AuditRecord(START + number, b"%d" % number, ("a",))] * draw.one([0, 1, 2])
    if draw.random.random() < 0.2:
        return Batch(audit=audit)
    return changed(batch, tags=tags, puts=puts, audit=audit)


def _said(refusal: BaseException | None) -> Any:
    assert refusal is None or isinstance(refusal, CommitRefused), refusal
    about = {} if isinstance(refusal, ConditionChanged) else getattr(refusal, "__dict__", {})
    return type(refusal).__name__, about


@pytest.mark.parametrize("least", [1, 1000], ids=["in parts", "at once"])
@pytest.mark.parametrize("seed", seeds(12))
async def test_a_group_is_as_its_batches_one_by_one(
    store: MongoStore, seed: int, least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each batch of a group is refused or made as in the memory store, in the order asked."""
    monkeypatch.setattr(writing, "LEAST", least)
    draw, measure = Draw(seed), MemoryStore()
    number = 0
    while number < 60:
        batches, expected = [], []
        for _ in range(draw.random.randint(1, 12)):
            number += 1
            batch = _more(draw, await _batch(draw, measure, START + number * SECOND), number)
            batches.append(batch)
            expected += await at_once(measure, [batch])

        answers = await at_once(store, batches)

        assert list(map(_said, answers)) == list(map(_said, expected))
        assert await _kept(store) == await _kept(measure)
        for key in ("k", "l"):
            assert await store.get("b", key) == await measure.get("b", key)
    assert await chain_of(store) == await chain_of(measure)
    for kind in TYPES:
        assert await store.count(kind) == await measure.count(kind)
        for one in IDS:
            assert await store.referrers((kind, one)) == await measure.referrers((kind, one))


# --- several servers -----------------------------------------------------------------------


async def test_servers_at_once_make_one_chain_and_one_order(
    store: MongoStore, other: MongoStore
) -> None:
    """Commits of two servers are one after another: one audit chain, each key held once."""

    def batch(number: int) -> Batch:
        return changed(person(number), audit=[AuditRecord(START, b"%d" % number)])

    async def commits(to: MongoStore, first: int) -> list[Any]:
        answers = []
        for number in range(first, 40, 2):
            more = [
                Batch(audit=[AuditRecord(START, b"a")]),
                batch(number),
                person(1000 + number // 2),
            ]
            answers += await at_once(to, more)
        return answers

    answers = [
        one for some in await asyncio.gather(commits(store, 0), commits(other, 1)) for one in some
    ]

    refused = [one for one in answers if one is not None]
    assert len(refused) == 20
    assert all(isinstance(one, VersionConflict | KeyHeld) for one in refused)
    assert sorted(await chain_of(other)) == sorted([b"a"] * 40 + [b"%d" % n for n in range(40)])
    assert await store.count("Patient") == await other.count("Patient") == 60
    pages = await store.history("Patient", None, count=100)
    assert len({one.resource_id for one in pages.versions}) == 60


async def test_servers_at_once_use_a_record_once(store: MongoStore, other: MongoStore) -> None:
    """Of many on two servers that race to use a code, one does."""
    await store.commit(Batch(puts=[Put("code", "c", b"fresh")]))
    use = Batch(puts=[Put("code", "c", b"used", expected=b"fresh")])

    answers = await asyncio.gather(at_once(store, [use] * 10), at_once(other, [use] * 10))

    every = [one for some in answers for one in some]
    assert every.count(None) == 1
    assert sum(isinstance(one, RecordChanged) for one in every) == 19


async def test_what_one_server_committed_the_other_reads(
    store: MongoStore, other: MongoStore
) -> None:
    """Every read, search and edition that begins after a commit of another server shows it."""
    for number in range(10):
        before = await other.edition()
        await store.commit(person(number))

        assert await other.read("Patient", f"p{number}")
        assert ids(await other.search(asked("Patient", count=1))) == [f"p{number}"]
        assert await other.count("Patient") == number + 1
        assert await other.edition() != before


async def test_the_edition_is_read_once_for_all_who_ask_at_once(store: MongoStore) -> None:
    """Callers share a read, and none is told what was before it asked."""
    first = [asyncio.create_task(store.edition()) for _ in range(5)]
    await asyncio.sleep(0)
    await store.commit(person(1))
    after = await asyncio.gather(*(store.edition() for _ in range(5)))

    assert len(set(await asyncio.gather(*first))) == 1
    assert len(set(after)) == 1
    assert after[0] == await store.edition()
    await store.commit(Batch(audit=[AuditRecord(START, b"a")]))
    assert after[0] == await store.edition()
