"""Plans: whatever drives a search, it finds the same; and no search goes past its budget."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from pathlib import Path

import pytest

from fhir_server.search.expression import (
    EVERYTHING,
    And,
    Chain,
    DateIs,
    Expression,
    InPatient,
    LastUpdated,
    Missing,
    Not,
    Or,
    Prefix,
    Search,
    Sort,
    Tagged,
    TokenIs,
    TokenText,
)
from fhir_server.search.values import (
    DateValue,
    IndexValues,
    ReferenceValue,
    StringValue,
    TokenValue,
)
from fhir_server.store.keys import DAY
from fhir_server.store.memory import MemoryStore
from fhir_server.store.port import Batch, Matches, WorkBudgetExceeded, Write
from fhir_server.store.sqlite import along, arms, numbering, plan, search, search_sql, wide
from fhir_server.store.sqlite import store as sqlite_store
from fhir_server.store.sqlite.store import SqliteStore
from tests.contracts.drawing import SECOND, Draw
from tests.contracts.making import START, asked, ids, made, patient, put, walk, walk_back
from tests.contracts.test_store_agree import _batch, _committed, _found
from tests.sizes import seeds


def _walks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything counts as many, so that walks are tried first, within equals too."""
    monkeypatch.setattr(along, "_EQUAL", 1)
    monkeypatch.setattr(along, "_GATHERED", 1)
    monkeypatch.setattr(plan, "LEVELS", (1, 2, 3))
    monkeypatch.setattr(plan, "MANY", 3)
    monkeypatch.setattr(search, "MANY", 3)
    monkeypatch.setattr(search, "_GATHERED", 1)


def _falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Walks are tried first and given up at once."""
    _walks(monkeypatch)
    monkeypatch.setattr(search, "_walk_steps", lambda _: 0)
    monkeypatch.setattr(search, "TRIED_STEPS", 0)
    monkeypatch.setattr(search, "COUNTED_STEPS", 0)
    monkeypatch.setattr(search, "FIRST_STEPS", 0)
    monkeypatch.setattr(search_sql, "_ASKED", ((1, 20_000),))
    monkeypatch.setattr(search_sql, "_ASKED_WHOLE", ((1, 20_000),))
    monkeypatch.setattr(along, "_STEPS_EACH", 0)


def _gathers(monkeypatch: pytest.MonkeyPatch) -> None:
    """No arms are merged, chains are no sources, and two references are a long list."""
    monkeypatch.setattr(arms, "ARMS", 1)
    monkeypatch.setattr(wide, "WIDE", 1)
    monkeypatch.setattr(along, "_MERGED", 0)
    monkeypatch.setattr(plan, "LINKED", 1)
    monkeypatch.setattr(search, "_CHUNK", 1)


def _numbers_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most texts and shapes have no number of their own: entries tell them."""
    monkeypatch.setattr(numbering, "_TEXT", 4)
    monkeypatch.setattr(numbering, "_SHAPES", 2)


@pytest.mark.parametrize("way", [_walks, _falls_back, _gathers, _numbers_few])
@pytest.mark.parametrize("seed", seeds(4, 100))
async def test_every_way_finds_the_same(
    seed: int, way: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Plans that large stores use agree with the reference implementation."""
    assert callable(way)
    way(monkeypatch)
    draw, measure = Draw(seed), MemoryStore()
    store = await SqliteStore.open(tmp_path / "fhir.db")

    for number in range(14):
        batch = await _batch(draw, measure, START + number * SECOND)
        assert await _committed(store, batch) == await _committed(measure, batch)
    for number in range(80):
        asked = draw.search(number % 4)
        assert await _found(store, asked) == await _found(measure, asked), asked

    await store.close()


async def _many(store: SqliteStore, count: int) -> None:
    """Store Observations: one in a thousand has the rare code, one in two the common one."""
    writes = []
    for number in range(count):
        values = (
            TokenValue("status", "s", "final"),
            TokenValue("code", "c", "rare" if number % 1000 == 500 else f"common{number % 2}"),
            ReferenceValue("subject", "Patient", f"p{number % 50}"),
            StringValue("note", f"text {number}", f"Text {number}"),
        )
        index = IndexValues(values, (f"p{number % 50}",))
        tags = frozenset({"facility/1"}) if number % 3 == 0 else frozenset[str]()
        writes.append(Write("Observation", f"o{number}", 1, number, b"{}", "PUT", index, tags))
    await store.commit(Batch(writes=writes))


def _ids(page: object) -> list[str]:
    return [version.resource_id for version in page.versions]  # type: ignore[attr-defined]


async def _dated(store: SqliteStore, measure: MemoryStore, *spans: list[tuple[int, int]]) -> None:
    """Store an Observation for each list of dates, from one day to another."""
    first = (await measure.search(Search((("Observation", EVERYTHING),), count=99))).versions
    writes = []
    for number, days in enumerate(spans, len(first)):
        values = tuple(DateValue("date", low * DAY, high * DAY) for low, high in days)
        index = IndexValues(values, ())
        writes.append(Write("Observation", f"o{number}", 1, number, b"{}", "PUT", index))
    await store.commit(Batch(writes=writes))
    await measure.commit(Batch(writes=writes))


async def test_two_bounds_are_one_range_only_where_each_has_one_date(store: SqliteStore) -> None:
    """Whatever bounds a date twice finds the same: also once a resource has two dates."""
    measure = MemoryStore()
    await _dated(store, measure, *([(d, d + n)] for d in range(10) for n in (0, 1, 4)))
    pairs = [
        And((DateIs("date", one, 3 * DAY, 4 * DAY), DateIs("date", other, 6 * DAY, 7 * DAY)))
        for one in Prefix
        for other in Prefix
    ]
    pairs += [
        And((LastUpdated(one, 3, 14), LastUpdated(other, 12, 20)))
        for one in Prefix
        for other in Prefix
    ]
    for each in range(2):
        if each:
            await _dated(store, measure, [(1, 1), (9, 9)], [(0, 5), (8, 12)])
        for where in pairs:
            search = Search((("Observation", where),), count=99, total="accurate")
            assert await _found(store, search) == await _found(measure, search), where


async def test_the_fewest_drive(path: Path) -> None:
    """With a budget far below a scan, a rare value is found wherever it stands in the question."""
    store = await SqliteStore.open(path, work_budget=60_000)
    await _many(store, 6_000)
    rare, common = TokenIs("code", "c", "rare"), TokenIs("status", "s", "final")

    for where in (And((rare, common)), And((common, rare)), And((common, And((rare,))))):
        page = await store.search(Search((("Observation", where),)))
        assert _ids(page) == [f"o{n}" for n in range(5500, 0, -1000)]

    await store.close()


async def test_a_condition_past_the_budget_takes_nothing_from_its_group(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit whose `Matches` is too costly is refused alone; those beside it are made whole."""
    store = await SqliteStore.open(path)
    await _many(store, 3_000)
    monkeypatch.setattr(search, "FULL", 20_000)
    costly = Matches("Observation", Not(TokenIs("status", "s", "final")))

    results = await asyncio.gather(
        store.commit(Batch(writes=[made(patient("a"))])),
        store.commit(Batch(writes=[made(patient("b"))], conditions=[costly])),
        store.commit(Batch(writes=[made(patient("c"))])),
        return_exceptions=True,
    )

    assert [type(one) for one in results] == [type(None), WorkBudgetExceeded, type(None)]
    found = await store.read_many([("Patient", one) for one in "abc"])
    assert [version is not None for version in found] == [True, False, True]
    assert _ids(await store.search(asked("Patient", "_id=a,b,c"))) == ["c", "a"]
    await store.close()


@pytest.mark.parametrize(
    "where",
    [
        EVERYTHING,
        TokenIs("status", "s", "final"),
        Not(TokenIs("code", "c", "rare")),
        Missing("encounter", missing=True),
        Tagged("facility/1"),
        InPatient(frozenset({"p3"})),
    ],
)
async def test_a_page_of_many_costs_as_a_page_of_few(where: Expression, path: Path) -> None:
    """What matches often is walked newest first, and stops when the page is full."""
    store = await SqliteStore.open(path, work_budget=60_000)
    await _many(store, 6_000)

    page = await store.search(Search((("Observation", where),), count=10))
    deep = page
    for _ in range(3):
        deep = await store.search(Search((("Observation", where),), count=30, cursor=deep.next))
    before = await store.search(Search((("Observation", where),), count=10, cursor=deep.previous))

    assert len(page.versions) == len(before.versions) == 10
    assert page.next is not None
    assert before.previous is not None
    await store.close()


async def test_a_search_past_its_budget_is_refused_and_the_store_goes_on(path: Path) -> None:
    """A question that no index answers ends in WorkBudgetExceeded, not in a hung server."""
    store = await SqliteStore.open(path, work_budget=30_000)
    await _many(store, 6_000)
    nothing = Not(TokenIs("status", "s", "final"))

    for _ in range(3):
        with pytest.raises(WorkBudgetExceeded):
            await store.search(Search((("Observation", nothing),)))
        assert len((await store.search(Search((("Observation", EVERYTHING),)))).versions) == 20

    await put(store, patient("p1"))
    await store.close()


async def test_a_long_search_runs_in_a_thread_and_is_whole(store: SqliteStore) -> None:
    """What is too long for the event loop is done again in a thread with the whole budget."""
    await _many(store, 6_000)

    found = await store.count("Observation", Not(TokenIs("status", "s", "preliminary")))

    assert found == 6_000


async def test_a_long_count_behind_a_quick_page_runs_in_a_thread(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop is held no longer for a count than for its page."""
    monkeypatch.setattr(sqlite_store, "ON_LOOP", 3_000)
    await _many(store, 6_000)
    asked_ = Search((("Observation", TokenIs("code", "c", "rare")),), count=2, total="estimate")
    common = And((TokenIs("code", "c", "common1"), Not(TokenIs("status", "s", "final"))))
    either = Or((TokenIs("code", "c", "rare"), common))

    assert (await store.search(asked_)).total == 6
    assert not store._readers
    page = await store.search(replace(asked_, by_type=(("Observation", either),)))

    assert page.total == 6
    assert len(page.versions) == 2
    assert store._readers


async def test_types_that_a_store_has_not_make_no_search_large(store: SqliteStore) -> None:
    """A Patient's whole record asks of each type that R4 knows; what is there is soon written."""
    await _many(store, 100)
    own = And((InPatient(frozenset({"p3"})), Not(Tagged("masked")), Not(Tagged("withheld"))))
    every = tuple((f"Type{number}", own) for number in range(100))

    page = await store.search(Search((*every, ("Observation", own)), count=10))

    assert _ids(page) == ["o53", "o3"]
    assert not store._readers


async def test_a_total_over_a_chain_is_counted_from_its_other_end(store: SqliteStore) -> None:
    """More than a page's source may be at the other end, and each is counted once."""
    writes = []
    for number in range(4_500):
        values = (TokenValue("gender", "s", "male" if number % 3 else "female"),)
        writes.append(Write("Patient", f"p{number}", 1, number, b"{}", "PUT", IndexValues(values)))
    for number in range(9_000):
        both = (f"p{number % 4_500}", f"p{(number + 1) % 4_500}")
        own = IndexValues(tuple(ReferenceValue("subject", "Patient", one) for one in both))
        writes.append(Write("Observation", f"o{number}", 1, number, b"{}", "PUT", own))
    await store.commit(Batch(writes=writes))
    chain = Chain("subject", "Patient", TokenIs("gender", "s", "male"))

    assert await store.count("Observation", chain) == 9_000
    female = Chain("subject", "Patient", TokenIs("gender", "s", "female"))
    assert await store.count("Observation", female) == 6_000


async def test_a_sorted_walk_ends_with_what_has_no_value(store: SqliteStore) -> None:
    """Pages of a sort over a whole type hold every resource once, those without a value last."""
    writes = []
    for number in range(1_500):
        values = (StringValue("name", f"n{number % 700:03}", "N"),) if number % 5 else ()
        writes.append(Write("Patient", f"p{number}", 1, number, b"{}", "PUT", IndexValues(values)))
    await store.commit(Batch(writes=writes))

    search_ = Search((("Patient", EVERYTHING),), (Sort("name", "string", descending=True),), 100)
    pages = await walk(store, search_)
    back = await walk_back(store, search_, pages[-1])

    assert [_ids(page) for page in reversed(back)] == [_ids(page) for page in pages[:-1]]
    names = [version.resource_id for page in pages for version in page.versions]
    assert len(names) == len(set(names)) == 1_500
    keys = [int(name[1:]) % 700 if int(name[1:]) % 5 else -1 for name in names]
    assert keys == sorted(keys, reverse=True)


async def test_a_cursor_shows_nothing_of_a_person(store: SqliteStore) -> None:
    """A cursor goes out in URLs: the name that it holds cannot be read from it."""
    await put(store, *(patient(f"p{n}", name=[{"family": "Nguyễn"}]) for n in range(3)))

    sort = (Sort("family", "string"),)
    page = await store.search(Search((("Patient", EVERYTHING),), sort, count=1))

    assert page.next is not None
    assert b"nguyen" not in base64.urlsafe_b64decode(page.next + "===")


async def test_thousands_of_systems_and_units_are_only_slower(store: SqliteStore) -> None:
    """Somebody who invents a code system for every identifier stops nobody's search."""
    writes = []
    for number in range(3_000):
        values = (TokenValue("identifier", f"urn:s{number}", f"v{number % 10}"),)
        index = IndexValues(values)
        writes.append(Write("Patient", f"p{number}", 1, number, b"{}", "PUT", index))
    await store.commit(Batch(writes=writes))

    page = await store.search(Search((("Patient", TokenIs("identifier", None, "v7")),), count=500))

    assert len(page.versions) == 300


async def test_hostile_names_are_only_names(store: SqliteStore) -> None:
    """Quotes, separators and NUL in systems, codes and ids are found as they are, nowhere else."""
    odd = ["'; DROP TABLE token; --", 'a"b', "x\x1fy", "nul\x00l", "%", "_", "\U0010ffff"]
    writes = [
        Write("Patient", f"p{n}", 1, n, b"{}", "PUT", IndexValues((TokenValue("t", one, one),)))
        for n, one in enumerate(odd)
    ]
    await store.commit(Batch(writes=writes))

    for n, one in enumerate(odd):
        page = await store.search(Search((("Patient", TokenIs("t", one, one)),)))
        assert _ids(page) == [f"p{n}"]
        page = await store.search(Search((("Patient", TokenIs("t", None, one)),)))
        assert _ids(page) == [f"p{n}"]
    page = await store.search(Search((("Patient", TokenText("t", "\ud800")),)))
    assert _ids(page) == []


async def test_reindexing_writes_rows_anew(store: SqliteStore) -> None:
    """New index values replace the old ones; the version stays, and a walk can go on anywhere."""
    await put(store, *(patient(f"p{n}", gender="male") for n in range(5)))
    first = await store.walk("Patient", limit=3)
    rest = await store.walk("Patient", after=first[-1][0])
    assert [v.resource_id for _, v in first + rest] == [f"p{n}" for n in range(5)]

    new = IndexValues((TokenValue("gender", "s", "female"),), ("p1",), ("key|1",))
    done = await store.reindex([(("Patient", "p1"), 1, new), (("Patient", "p2"), 9, new)])

    assert done == 1
    page = await store.search(Search((("Patient", TokenIs("gender", None, "female")),)))
    assert _ids(page) == ["p1"]
    assert page.versions[0].version_id == 1
    assert await store.holder("key|1") == ("Patient", "p1")
    page = await store.search(Search((("Patient", TokenIs("gender", None, "male")),)))
    assert _ids(page) == ["p4", "p3", "p2", "p0"]
    await store.commit(Batch(writes=[made(patient("p1"), 2)]))
    assert await store.holder("key|1") is None


async def test_a_page_of_many_costs_no_more_than_its_part_of_them(path: Path) -> None:
    """Of a text that thousands begin with, the newest are looked for, not all gathered."""
    store = await SqliteStore.open(path)
    many = 8_000
    for first in range(0, many, 1_000):
        people = (patient(f"p{n}", name=[{"family": "Trần"}]) for n in range(first, first + 1_000))
        await store.commit(Batch(writes=[made(one) for one in people]))
    asked_for = asked("Patient", "family=tr", count=5)

    async def spent() -> int:
        assert ids(await store.search(asked_for)) == [f"p{many - n}" for n in range(1, 6)]
        return store._reader.searcher.budget.spent

    looked_for = await spent()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan.Sources, "is_costly", lambda *_: False)
        patch.setattr(search.Searcher, "_is_dense", lambda *_: False)
        gathered = await spent()

    await store.close()
    assert looked_for * 2 < gathered, (looked_for, gathered)
