"""A store that was moved is the same store, whichever engines are at the two ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhir_server.store.bulk import Size
from fhir_server.store.mark import NotMoved
from fhir_server.store.mongo.connect import open_database
from fhir_server.store.mongo.sharding import fill_places
from fhir_server.store.port import AuditRecord, Batch, Put, Tag
from tests.contracts.conftest import HERE
from tests.contracts.drawing import Draw
from tests.contracts.making import START, gone, made, observation, patient, put
from tests.contracts.test_store_agree import COMMITS, _batch, _committed, _found, _kept
from tests.fhir_server.store.wholes import FAR, SECOND, Place, fill, moved, said
from tests.mongo.databases import pooled_url
from tests.mongo.shared import mongo_server
from tests.sizes import seeds

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


async def test_a_moved_store_says_the_same(filled: tuple[Place, Place]) -> None:
    """Versions with their order, tags, who refers, keys, ledger with its ends, audit: all equal."""
    ours, theirs = filled
    async with ours.opened() as store:
        before = await said(store)

    outcome = await moved(ours, theirs)

    assert (outcome.differences, outcome.different, outcome.finished) == ([], 0, True)
    assert outcome.equal["versions"] == len(before["versions"]) == outcome.copied
    async with theirs.opened() as store:
        after = await said(store)
        ends = [await store.get("jti", "j3", now=FAR + now) for now in (2, 3)]
    assert after == before
    assert after["chain"] == (len(before["audit"]), None)
    assert ends == [b"1", None]


@pytest.mark.parametrize("seed", seeds(3))
async def test_a_moved_store_finds_the_same(way: tuple[Place, Place], seed: int) -> None:
    """Whatever was committed and whatever is asked, the answers are the source's."""
    ours, theirs = way
    draw = Draw(seed)
    async with ours.opened() as store:
        for number in range(COMMITS):
            await _committed(store, await _batch(draw, store, START + number * SECOND))
        kept = await _kept(store)
        searches = [draw.search(number % 4) for number in range(60)]
        answers = [await _found(store, one) for one in searches]

    outcome = await moved(ours, theirs)

    assert outcome.differences == []
    async with theirs.opened() as store:
        assert await _kept(store) == kept
        for search, answer in zip(searches, answers, strict=True):
            assert await _found(store, search) == answer, search


async def test_a_store_goes_there_and_back(filled: tuple[Place, Place], tmp_path: Path) -> None:
    """After two moves it says what it said, and goes on: the next version is the next one."""
    ours, theirs = filled
    back = Place(ours.engine, tmp_path / "back")
    async with ours.opened() as store:
        before = await said(store)

    first, second = await moved(ours, theirs), await moved(theirs, back)

    assert (first.different, second.different) == (0, 0)
    async with back.opened() as store:
        assert await said(store) == before
        await store.commit(Batch(writes=[made(patient("p0", gender="male"), 2)], audit=[
            AuditRecord(START, b"later")
        ]))  # fmt: skip
        after = await said(store)
    assert after["versions"][1:] == before["versions"]
    assert after["chain"] == (len(before["audit"]) + 1, None)


async def test_what_is_large_is_moved(way: tuple[Place, Place]) -> None:
    """Bodies and records larger than a document of MongoDB: current, replaced, changed, gone."""
    ours, theirs = way
    large = {"resourceType": "Basic", "id": "large", "code": {"text": "x"}}
    text = "á" * 9_000_000
    async with ours.opened() as store:
        await store.commit(Batch(writes=[made({**large, "language": text})]))
        await store.commit(Batch(writes=[made({**large, "language": text[:-1]}, 2)]))
        await store.commit(Batch(writes=[made({**large, "id": "tagged", "language": text})]))
        for key in "abc":
            value = key.encode() * 20_000_000
            await store.commit(Batch(puts=[Put("submission-source", key, value)]))
    await moved(ours, theirs, live=True)
    async with ours.opened() as store:
        await store.commit(Batch(puts=[Put("submission-source", "a", b"A" * 20_000_000)]))
        await store.commit(Batch(puts=[Put("submission-source", "b", None)]))
        await store.commit(Batch(writes=[made({**large, "language": text[:-2]}, 3)]))
        await store.commit(Batch(tags=[Tag("Basic", "tagged", frozenset({"since"}))]))
        before = await said(store)

    outcome = await moved(ours, theirs)

    assert outcome.differences == []
    async with theirs.opened() as store:
        assert await said(store) == before
    if theirs.engine == "mongodb":
        assert await _nobodys(theirs) == set()


async def _nobodys(place: Place) -> set[str]:
    """Return the owners of pieces whose value is not there."""
    opened = await open_database(pooled_url(place.folder))
    to, there = opened.collections, {"B": {"$exists": True}}
    owners = {
        one["O"]
        for collection in (to.resource, to.history, to.ledger)
        async for one in collection.find(there, {"O": 1})
    }
    kept = {one["_id"].partition("#")[0] async for one in to.chunk.find({}, {"_id": 1})}
    await opened.close()
    assert len(owners) == 6
    return kept - owners


# --- a source that is served, and the last step ----------------------------------------------


async def test_a_last_step_takes_what_has_changed_since(filled: tuple[Place, Place]) -> None:
    """After a live move: new versions, deletions, tags alone, records put, changed and gone."""
    ours, theirs = filled
    async with ours.opened() as store:
        first = await moved(ours, theirs, live=True)
        await store.commit(
            Batch(
                writes=[
                    made(patient("p2", gender="male"), 2, tags=["more"]),
                    gone("Observation", "o3-1", 2),
                    made(observation("new", "p2")),
                ],
                tags=[Tag("Observation", "o4-2", frozenset({"alone"}))],
                puts=[
                    Put("dossier", "01999|1", b"changed"),
                    Put("dossier", "01999|2", None),
                    Put("jti", "new", b"1", expires=FAR),
                    Put("jti", "j1", b"1", expires=FAR - 1),
                ],
                audit=[AuditRecord(START, b"since", ("p2",))],
            )
        )
        await store.commit(
            Batch(tags=[Tag("Patient", "p5", without=frozenset({"facility/00002"}))])
        )
        before = await said(store)

    last = await moved(ours, theirs)

    assert (first.different, first.finished) == (0, False)
    assert (last.differences, last.copied, last.finished) == ([], 3, True)
    assert last.equal["versions"] == 3
    async with theirs.opened() as store:
        assert await said(store) == before
        ended = await store.get("jti", "j1", now=FAR - 1)
    assert ended is None


async def test_a_key_goes_from_one_to_another_between_two_runs(way: tuple[Place, Place]) -> None:
    """A unique key that its first holder has let go of is the second's in the target too."""
    ours, theirs = way
    number = [{"system": "http://fhir.hl7.org.vn/core/sid/cccd", "value": "000000000001"}]
    async with ours.opened() as store:
        await put(store, patient("a", identifier=number), patient("b"))
        await moved(ours, theirs, live=True, size=Size(items=1))
        await store.commit(
            Batch(writes=[made(patient("b", identifier=number), 2), made(patient("a"), 2)])
        )

    outcome = await moved(ours, theirs, size=Size(items=1))

    assert outcome.differences == []
    async with theirs.opened() as store:
        assert await store.holder("http://fhir.hl7.org.vn/core/sid/cccd|000000000001") == (
            "Patient",
            "b",
        )


@pytest.mark.usefixtures(mongo_server.__name__)
async def test_a_divided_store_knows_where_each_resource_lives(tmp_path: Path) -> None:
    """Where `place` is kept, a move keeps it too: what it says of each is where it is."""
    ours, theirs = Place("sqlite", tmp_path / "ours"), Place("mongodb", tmp_path / "theirs")
    async with ours.opened() as store:
        await fill(store)
    opened = await open_database(pooled_url(theirs.folder))
    await fill_places(opened)
    await moved(ours, theirs, live=True)
    async with ours.opened() as store:
        moves = [made(observation(f"o{number}-2", "p9"), 2) for number in range(3)]
        await store.commit(Batch(writes=[*moves, gone("Observation", "o3-2", 2)]))
        before = await said(store)

    outcome = await moved(ours, theirs)

    places = {one["_id"]: one["k"] async for one in opened.collections.place.find()}
    resources = {one["_id"]: one["k"] async for one in opened.collections.resource.find()}
    await opened.close()
    assert outcome.differences == []
    assert places == resources
    assert places["Observation/o0-2"] == "p9"
    async with theirs.opened() as store:
        assert await said(store) == before


async def test_what_has_ended_is_not_moved(way: tuple[Place, Place]) -> None:
    """A record that is as if absent stays behind, and is no difference."""
    ours, theirs = way
    async with ours.opened() as store:
        await store.commit(
            Batch(puts=[Put("jti", "over", b"1", expires=START), Put("jti", "good", b"1")])
        )

    outcome = await moved(ours, theirs)

    assert (outcome.differences, outcome.finished) == ([], True)
    async with theirs.opened() as store:
        assert await store.scan("jti") == [("good", b"1")]


# --- what is refused, and what is only compared ----------------------------------------------


async def test_a_target_that_holds_something_is_refused(filled: tuple[Place, Place]) -> None:
    """A store that was not made by this move is left as it is."""
    ours, theirs = filled
    async with theirs.opened() as store:
        await put(store, patient("another"))
        before = await said(store)

    with pytest.raises(NotMoved, match="not empty"):
        await moved(ours, theirs)

    async with theirs.opened() as store:
        assert await said(store) == before


async def test_a_record_alone_makes_a_target_not_empty(filled: tuple[Place, Place]) -> None:
    """A store in which nothing but a client was registered is no target."""
    ours, theirs = filled
    async with theirs.opened() as store:
        await store.commit(Batch(puts=[Put("client", "a", b"1")]))

    with pytest.raises(NotMoved, match="not empty"):
        await moved(ours, theirs)


async def test_a_target_that_somebody_writes_to_is_refused(filled: tuple[Place, Place]) -> None:
    """Between two runs nobody may write to the target: nothing of theirs is written over."""
    ours, theirs = filled
    await moved(ours, theirs, live=True)
    async with theirs.opened() as store:
        await put(store, patient("another"))
        before = await said(store)

    with pytest.raises(NotMoved, match="written to it"):
        await moved(ours, theirs)

    async with theirs.opened() as store:
        assert await said(store) == before


async def test_the_beginning_of_another_move_is_refused(
    filled: tuple[Place, Place], tmp_path: Path
) -> None:
    """A target goes on with its own source alone, and is nobody's source meanwhile."""
    ours, theirs = filled
    await moved(ours, theirs, live=True)
    other = Place(ours.engine, tmp_path / "other")
    async with other.opened() as store:
        await put(store, *(patient(f"x{number}") for number in range(100)))

    with pytest.raises(NotMoved, match="another store"):
        await moved(other, theirs)
    with pytest.raises(NotMoved, match="not finished"):
        await moved(theirs, Place(ours.engine, tmp_path / "third"))


async def test_a_move_is_done_again(filled: tuple[Place, Place]) -> None:
    """A finished one is compared; what came to the source is brought, if nobody used the target."""
    ours, theirs = filled
    await moved(ours, theirs)

    again = await moved(ours, theirs)
    async with ours.opened() as store:
        await put(store, patient("later"))
        before = await said(store)
    more = await moved(ours, theirs)

    assert (again.copied, again.different, again.finished) == (0, 0, True)
    assert (more.copied, more.different, more.finished) == (1, 0, True)
    async with theirs.opened() as store:
        assert await said(store) == before


async def test_a_target_that_is_in_use_is_not_changed_any_more(
    filled: tuple[Place, Place],
) -> None:
    """After the move both go on: each difference is told, and neither is written over."""
    ours, theirs = filled
    await moved(ours, theirs)
    async with theirs.opened() as store:
        await store.commit(Batch(puts=[Put("client", "since", b"1"), Put("meta", "demo", b"2027")]))
        await store.commit(
            Batch(
                writes=[made(patient("theirs"))],
                tags=[Tag("Patient", "p3", frozenset({"since"}))],
                audit=[AuditRecord(START, b"since")],
            )
        )
        before = await said(store)

    outcome = await moved(ours, theirs)

    assert not outcome.finished
    assert set(outcome.differences) == {
        "versions: Patient/theirs/_history/1 is in the target alone",
        "audit: AuditEvent 26 is in the target alone",
        "ledger: a record of `client` is in the target alone",
        "ledger: a record of `meta` is not the same in the target",
        "resources: Patient/p3 is not the same in the target",
        "resources: Patient/theirs is in the target alone",
        "count of versions: 64 in the source, 65 in the target",
        "count of audit: 25 in the source, 26 in the target",
        "count of Patient: 12 in the source, 13 in the target",
    }
    async with theirs.opened() as store:
        assert await said(store) == before


async def test_a_source_with_less_than_the_target_is_refused(
    filled: tuple[Place, Place], tmp_path: Path
) -> None:
    """What the target has and the source has not, ends the move; nothing is changed."""
    ours, theirs = filled
    await moved(ours, theirs, live=True)
    shorter = Place("sqlite", tmp_path / "shorter")
    source = await ours.source()
    key = await source.cursor_key()
    await source.close()
    target = await shorter.target()
    await target.begin(key, b"")
    await target.finish(b"")
    await target.close()

    with pytest.raises(NotMoved, match="more than the source"):
        await moved(shorter, theirs)
