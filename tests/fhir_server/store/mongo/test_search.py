"""Plans: whatever drives a search, it finds the same; and no search goes past its budget."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import pytest_asyncio
from pymongo.asynchronous.client_session import AsyncClientSession

from fhir_server.model.outcome import Unavailable
from fhir_server.search.expression import (
    EVERYTHING,
    And,
    Chain,
    DateIs,
    Expression,
    Has,
    InPatient,
    Missing,
    Not,
    Or,
    Prefix,
    RefersTo,
    Search,
    Sort,
    StringIs,
    Tagged,
    TokenIs,
    UriIs,
)
from fhir_server.search.values import (
    DateValue,
    IndexValues,
    ReferenceValue,
    StringValue,
    TokenValue,
    UriValue,
)
from fhir_server.store.memory import MemoryStore
from fhir_server.store.mongo import (
    along,
    backwards,
    judge,
    keys,
    links,
    newest,
    plan,
    query,
    reads,
    search,
    sorting,
)
from fhir_server.store.mongo.entry import pack
from fhir_server.store.mongo.filters import either, every, hide, keyed, neither
from fhir_server.store.mongo.query import clause
from fhir_server.store.mongo.reads import Reads
from fhir_server.store.mongo.schema import Document
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.port import Batch, Matches, Page, Store, WorkBudgetExceeded, Write
from tests.contracts.drawing import SECOND, TYPES, Draw
from tests.contracts.making import START, asked, ids, made, patient, put, turned, walk, walk_back
from tests.contracts.test_store_agree import _agree, _batch, _committed
from tests.mongo.commands import open_counted
from tests.mongo.databases import give_back, open_mongo
from tests.sizes import seeds

Way = Callable[[pytest.MonkeyPatch], None]


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[MongoStore]:
    """An empty store."""
    opened = await open_mongo(tmp_path)
    yield opened
    await opened.close()


def _walks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything counts as many, so that walks are tried, in windows of one or two."""
    for module in (plan, newest, links, search, sorting, backwards):
        monkeypatch.setattr(module, "LEVELS", (1, 2, 3))
    monkeypatch.setattr(newest, "GATHERED", 1)
    monkeypatch.setattr(sorting, "GATHERED", 1)
    monkeypatch.setattr(newest, "_FIRST_WINDOW", 1)
    monkeypatch.setattr(newest, "_GROWTH", 2)
    monkeypatch.setattr(newest, "_LOOK", 1)
    monkeypatch.setattr(search, "GATHERED", 1)
    monkeypatch.setattr(sorting, "_EQUAL", 1)
    monkeypatch.setattr(sorting, "_EQUAL_CODES", 1)
    monkeypatch.setattr(along, "_SIZE", 1)
    monkeypatch.setattr(along, "MOST", 2)


def _falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Walks are tried first, and given up after one resource, or at once."""
    _walks(monkeypatch)
    monkeypatch.setattr(newest, "TRIED", 1)
    monkeypatch.setattr(newest, "WALKED", 1)
    monkeypatch.setattr(newest, "_SLACK", 0)
    monkeypatch.setattr(search, "_TRIED", 0)
    monkeypatch.setattr(search, "EACH", 0)
    monkeypatch.setattr(sorting, "EACH", 0)
    monkeypatch.setattr(sorting, "TRIED", 0)


def _one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """No keys are walked together, and links are followed first."""
    monkeypatch.setattr(query, "MERGED", 1)
    monkeypatch.setattr(links, "ASKED", 0)


def _judges(monkeypatch: pytest.MonkeyPatch) -> None:
    """What links lead to is never few, so that candidates are judged, a few at a time."""
    monkeypatch.setattr(links, "ASKED", 0)
    monkeypatch.setattr(links, "LINKED", 0)
    monkeypatch.setattr(newest, "_MOST", 2)
    monkeypatch.setattr(newest, "LOOKED", 0)
    monkeypatch.setattr(judge, "_NEWEST", 1)
    monkeypatch.setattr(judge, "_BRANCHES", 2)
    monkeypatch.setattr(judge, "_LISTED", 1)
    monkeypatch.setattr(backwards, "ASKED", 2)
    monkeypatch.setattr(reads, "BATCH", 2)


@pytest.mark.parametrize("way", [_walks, _falls_back, _one_by_one, _judges])
@pytest.mark.parametrize("seed", seeds(2, 100))
async def test_every_way_finds_the_same(
    seed: int, way: Way, monkeypatch: pytest.MonkeyPatch, store: MongoStore
) -> None:
    """Plans that large stores use agree with the reference implementation."""
    way(monkeypatch)
    draw, measure = Draw(seed), MemoryStore()

    for number in range(14):
        batch = await _batch(draw, measure, START + number * SECOND)
        assert await _committed(store, batch) == await _committed(measure, batch)
    await _agree(measure, {"mongodb": store}, [draw.search(number % 4) for number in range(80)])


@pytest.mark.parametrize("seed", seeds(3, 200))
async def test_filters_have_all_that_match_and_surely_no_other(
    seed: int, store: MongoStore
) -> None:
    """Of any expression the one filter has every match, the other nothing else."""
    draw, measure = Draw(seed), MemoryStore()
    for number in range(14):
        batch = await _batch(draw, measure, START + number * SECOND)
        await _committed(store, batch)
        await _committed(measure, batch)
    resources = store._collections.resource

    async def has(kind: str, where: Any) -> set[str]:
        if where is None:
            return set()
        alive = {"$and": [{"t": kind, "D": {"$ne": True}}, where]}
        return {one["_id"].partition("/")[2] async for one in resources.find(alive, {"_id": 1})}

    for number in range(150):
        kind = draw.one(TYPES)
        where = draw.expression(kind, number % 3)
        matching = set(ids(await measure.search(Search(((kind, where),), count=100))))
        found = clause(kind, where, {})
        may, sure = await has(kind, found.may), await has(kind, found.sure)
        assert sure <= matching <= may, (where, found)
        if found.arms is not None:
            arms = [{"$and": [arm.where, arm.also]} for arm in found.arms]
            given_by = [await has(kind, arm) for arm in arms]
            given = set().union(*given_by)
            assert not found.apart or sum(map(len, given_by)) == len(given), (where, found)
            assert may <= given, (where, found)
            assert not found.whole or may == given, (where, found)


async def _many(store: Store, count: int) -> None:
    """Store Observations: one in a thousand has the rare code, one in two the common one."""
    writes = []
    for number in range(count):
        moment = START + number * SECOND
        values = (
            TokenValue("status", "s", "final"),
            TokenValue("code", "c", "rare" if number % 1000 == 500 else f"common{number % 2}"),
            ReferenceValue("subject", "Patient", f"p{number % 50}"),
            StringValue("note", f"text {number}", f"Text {number}"),
            DateValue("date", moment, moment),
        )
        index = IndexValues(values, (f"p{number % 50}",))
        tags = frozenset({"facility/1"}) if number % 3 == 0 else frozenset[str]()
        writes.append(Write("Observation", f"o{number}", 1, number, b"{}", "PUT", index, tags))
    for at in range(0, count, 500):  # one transaction must fit in the database's cache
        await store.commit(Batch(writes=writes[at : at + 500]))


async def _page(store: Store, where: Expression, *sort: Sort, count: int = 20) -> Page:
    return await store.search(Search((("Observation", where),), sort, count))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def six_thousand(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MongoStore]:
    """A store of 6,000 Observations; read only."""
    folder = tmp_path_factory.mktemp("many")
    opened = await open_mongo(folder)
    await _many(opened, 6_000)
    yield opened
    await opened.close()
    give_back(folder)


RARE = [f"o{n}" for n in range(5500, 0, -1000)]


@pytest.mark.asyncio(loop_scope="module")
async def test_the_fewest_drive(six_thousand: MongoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a budget far below a scan, a rare value is found wherever it stands in the question."""
    monkeypatch.setattr(reads, "DOCUMENTS", 30)
    rare, common = TokenIs("code", "c", "rare"), TokenIs("status", "s", "final")
    late = DateIs("date", Prefix.GE, START, START)

    for where in (
        And((rare, common)),
        And((common, rare)),
        And((common, And((rare,)), late)),
        And((Or((rare, TokenIs("code", "c", "none"))), common)),
        And((StringIs("note", "text"), rare)),
    ):
        assert ids(await _page(six_thousand, where)) == RARE
        assert ids(await _page(six_thousand, where, Sort("date", "date", descending=True))) == RARE
        assert ids(await _page(six_thousand, where, Sort("date", "date"))) == RARE[::-1]


@pytest.mark.parametrize(
    "where",
    [
        EVERYTHING,
        TokenIs("status", "s", "final"),
        Not(TokenIs("code", "c", "rare")),
        Missing("encounter", missing=True),
        Tagged("facility/1"),
        InPatient(frozenset({"p3"})),
        StringIs("note", "text"),
        DateIs("date", Prefix.GE, START, START),
        And((TokenIs("code", "c", "common0"), DateIs("date", Prefix.GE, START, START))),
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_a_page_of_many_costs_as_a_page_of_few(
    where: Expression, six_thousand: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What matches often is walked newest first, and no more is brought here than the page."""
    monkeypatch.setattr(reads, "DOCUMENTS", 30)

    page = await _page(six_thousand, where, count=10)
    search_ = Search((("Observation", where),), count=10)
    second = await six_thousand.search(turned(search_, page))
    third = await six_thousand.search(turned(search_, second))
    before = await six_thousand.search(replace(search_, cursor=third.previous))

    assert len(page.versions) == 10
    assert ids(before) == ids(second)
    assert before.previous is not None


async def test_a_dense_match_is_asked_twice(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Matches are counted, a few, and looked for among the newest: that is all."""
    await _many(store, 3_000)
    asked: list[list[Document]] = []
    aggregate = Reads.aggregate

    async def spied(self: Reads, stages: list[Document], hint: str) -> list[Document]:
        asked.append(stages)
        return await aggregate(self, stages, hint)

    monkeypatch.setattr(Reads, "aggregate", spied)
    monkeypatch.setattr(Reads, "find", None)

    page = await _page(store, StringIs("note", "text"), count=10)

    assert ids(page) == [f"o{n}" for n in range(2_999, 2_989, -1)]
    assert [[stage for one in stages for stage in one] for stages in asked] == [
        ["$match", "$limit", "$group"],
        ["$match", "$sort", "$limit", "$match", "$limit", "$project"],
    ]


@pytest.mark.parametrize("code", ["common0", "rare"])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.asyncio(loop_scope="module")
async def test_pages_along_an_order_bring_little(
    code: str, *, descending: bool, six_thousand: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sort by a date within a range of it begins at the range, from either end."""
    monkeypatch.setattr(reads, "DOCUMENTS", 120)
    monkeypatch.setattr(reads, "SECONDS", 60.0)
    monkeypatch.setattr(search, "_TRIED", 60.0)  # a busy machine gives no walk up
    low, high = START + 1_000 * SECOND, START + 4_000 * SECOND
    where = And((
        TokenIs("code", "c", code),
        DateIs("date", Prefix.GE, low, low),
        DateIs("date", Prefix.LT, high, high),
    ))  # fmt: skip

    order = (Sort("date", "date", descending=descending),)
    search_ = Search((("Observation", where),), order, 3)
    page = await six_thousand.search(search_)
    if page.next is not None:
        second = await six_thousand.search(turned(search_, page))
        assert second.previous is not None
        again = await six_thousand.search(replace(search_, cursor=second.previous))
        assert (ids(again), again.previous) == (ids(page), None)

    step = {"common0": 2, "rare": 1000}[code]
    first = {"common0": 1000, "rare": 1500}[code]
    expected = [f"o{n}" for n in range(first, 4000, step)]
    assert ids(page) == (expected[::-1] if descending else expected)[:3]


@pytest.mark.parametrize("descending", [False, True])
async def test_many_that_are_equal_in_an_order_are_not_all_read(
    *, descending: bool, store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of thousands with the same name a page brings its own here, and a few more."""
    await _many(store, 3_000)
    values = [f"text {n // 1_000}" for n in range(3_000)]
    for name in set(values):
        among = {"_id": {"$in": [f"Observation/o{n}" for n in range(3_000) if values[n] == name]}}
        field = "o.a" + keys.path("Observation", "note")
        packed = pack(IndexValues((StringValue("note", name, name),)))
        await store._collections.resource.update_many(among, {"$set": {field: name, "e": packed}})
    monkeypatch.setattr(reads, "DOCUMENTS", 2_000)
    search_ = Search((("Observation", EVERYTHING),), (Sort("note", "string", descending),), 150)

    pages = await walk(store, search_)
    back = await walk_back(store, search_, pages[-1])

    assert [ids(page) for page in reversed(back)] == [ids(page) for page in pages[:-1]]
    found = [name for page in pages for name in ids(page)]
    expected = sorted(range(3_000), key=lambda n: (values[n], -n))
    if descending:
        expected = sorted(range(3_000), key=lambda n: (values[n], n), reverse=True)
    assert found == [f"o{n}" for n in expected]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_walk_holds_few_at_once(
    six_thousand: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long a walk along an order is, its pieces do not grow past a size."""
    limits: list[int] = []
    find = Reads.find

    async def spied(self: Reads, *where: Any, **how: Any) -> list[Document]:
        limits.append(how["limit"])
        return await find(self, *where, **how)

    monkeypatch.setattr(Reads, "find", spied)

    found = await _groups(six_thousand)

    assert [[one for _, one in some] for some in found] == [[f"o{n}"] for n in range(6_000)]
    assert max(limits) == along.MOST < 6_000


async def test_a_walk_passes_what_is_equal(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs that are equal, longer and shorter than a piece, are groups; none ends the walk."""
    monkeypatch.setattr(along, "_SIZE", 1)
    monkeypatch.setattr(along, "MOST", 4)
    runs = [1, 9, 3, 20, 1, 1, 4, 5, 30, 1, 12]
    days = [day for day, run in enumerate(runs) for _ in range(run)]
    writes = []
    for number, day in enumerate(days):
        moment = START + day * SECOND
        index = IndexValues((DateValue("date", moment, moment),))
        writes.append(Write("Observation", f"o{number}", 1, number, b"{}", "PUT", index))
    await store.commit(Batch(writes=writes))

    for descending in (False, True):
        found = await _groups(store, descending=descending)
        assert [len(some) for some in found] == (runs[::-1] if descending else runs)
        assert len({one for some in found for _, one in some}) == len(days)


async def test_what_stands_behind_many_that_are_equal_is_there(store: MongoStore) -> None:
    """A piece that was read with the last of them has more: it is not passed by with them."""
    days = [0] * 260 + list(range(1, 400))
    writes = []
    for number, day in enumerate(days):
        moment = START + day * SECOND
        index = IndexValues((DateValue("date", moment, moment),))
        writes.append(Write("Observation", f"o{number}", 1, number, b"{}", "PUT", index))
    await store.commit(Batch(writes=writes))

    pages = await walk(store, Search((("Observation", EVERYTHING),), (Sort("date", "date"),), 100))

    found = [name for page in pages for name in ids(page)]
    assert found == [f"o{n}" for n in (*range(259, -1, -1), *range(260, len(days)))]


async def _groups(store: MongoStore, *, descending: bool = False) -> list[list[tuple[Any, str]]]:
    """Return what a walk along the dates gives, group by group: value and id."""

    async def walk_(session: AsyncClientSession) -> list[list[tuple[Any, str]]]:
        asked_ = Reads(store._collections, session)
        planned = await plan.driven(asked_, "Observation", EVERYTHING)
        order = Sort("date", "date", descending=descending)
        walk = along.groups(asked_, planned, order, 2**62, None, None)
        return [[(group.value, one.id) for one in group.candidates] async for group in walk]

    return await store._calls.view(walk_)


@pytest.mark.parametrize("total", ["estimate", "accurate"])
async def test_a_total_is_planned_and_counted_once(
    tmp_path: Path, total: Literal["estimate", "accurate"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the page has found out is not asked again; a later page counts what is there then."""
    store, commands = await open_counted(tmp_path, monkeypatch)
    await _many(store, 600)
    where = And((RefersTo("subject", "Patient", "p7"), TokenIs("code", "c", "common1")))
    sort = (Sort("date", "date"),)
    await store.search(Search((("Observation", where),), sort, 5, total))
    sent: list[int] = []
    pages: list[Page] = []
    for order, is_next in (((), False), (sort, False), (sort, True)):
        cursor = pages[-1].next if is_next else None
        if is_next:
            index = IndexValues((
                ReferenceValue("subject", "Patient", "p7"), TokenValue("code", "c", "common1")
            ))  # fmt: skip
            await store.commit(Batch(writes=[Write("Observation", "n", 1, 1, b"{}", "PUT", index)]))
        commands.clear()
        pages.append(
            await store.search(Search((("Observation", where),), order, 5, total, cursor=cursor))
        )
        sent.append(len(commands.sent))
    await store.close()

    # The head, the plan, the page (newest first: shown at once) and the total, or the bodies.
    assert sent[:2] == [4, 4]
    assert [page.total for page in pages] == [12, 12, 13]


async def test_links_between_many_bring_little(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chain or `_has` whose other end is rare is followed from there; if dense, page by page."""
    await _many(store, 6_000)
    people = [
        Write("Patient", f"p{n}", 1, n, b"{}", "PUT", IndexValues((TokenValue("g", "", f"g{n}"),)))
        for n in range(50)
    ]
    await store.commit(Batch(writes=people))
    monkeypatch.setattr(reads, "DOCUMENTS", 400)

    one = Chain("subject", "Patient", TokenIs("g", "", "g7"))
    rare = Has("Observation", "subject", TokenIs("code", "c", "rare"))
    dense = Chain("subject", "Patient", Missing("g", missing=False))

    assert ids(await _page(store, one, count=3)) == ["o5957", "o5907", "o5857"]
    assert ids(await store.search(Search((("Patient", rare),)))) == ["p0"]
    assert ids(await _page(store, And((dense, one)), count=2)) == ["o5957", "o5907"]
    assert ids(await _page(store, dense, count=2)) == ["o5999", "o5998"]


async def test_a_total_over_links_is_counted_from_their_other_end(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what a chain or `_has` leads to no more is brought here than tells the number."""
    await _many(store, 6_000)
    link = ReferenceValue("link", "Patient", "p7")
    people = [
        Write("Patient", f"p{n}", 1, n, b"{}", "PUT", IndexValues((some, link)))
        for n in range(50)
        for some in (TokenValue("g", "", f"g{n % 2}"),)
    ]
    await store.commit(Batch(writes=people))
    brought: list[int] = []
    spend = Reads.spend

    def spied(self: Reads, documents: int) -> None:
        brought.append(documents)
        spend(self, documents)

    monkeypatch.setattr(Reads, "spend", spied)
    half = Chain("subject", "Patient", TokenIs("g", "", "g1"))
    two = Chain("subject", "Patient", Chain("link", "Patient", TokenIs("g", "", "g1")))
    has = Has("Observation", "subject", TokenIs("code", "c", "common0"))
    both = And((half, TokenIs("code", "c", "rare")))

    async def total(kind: str, where: Expression, how: Literal["estimate", "accurate"]) -> Any:
        brought.clear()
        found = await store.search(Search(((kind, where),), count=5, total=how))
        return found.total, sum(brought)

    number, cost = await total("Observation", half, "estimate")
    assert (number, cost < 1_200) == (None, True)  # a page, 25 people, and 1,001 of theirs
    number, cost = await total("Observation", two, "estimate")
    assert (number, cost < 1_200) == (None, True)
    number, cost = await total("Observation", half, "accurate")
    assert (number, cost < 3_200) == (3_000, True)
    assert (await total("Observation", two, "accurate"))[0] == 6_000
    assert (await total("Observation", both, "accurate"))[0] == 0
    number, cost = await total("Patient", has, "accurate")
    assert (number, cost < 3_500) == (25, True)


async def test_that_all_have_a_value_an_index_tells(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing misses a value the type is not walked; what does is found and counted."""
    await _many(store, 3_000)
    plain = Write("Observation", "old", 1, 1, b"{}", "PUT", IndexValues(()))
    missing = Missing("code", missing=True)
    walked: list[str] = []
    find = Reads.find

    async def spied(self: Reads, where: Document, hint: str, **how: Any) -> list[Document]:
        walked.append(hint if "$lte" not in str(where) and "$gte" not in str(where) else "a few")
        return await find(self, where, hint, **how)

    monkeypatch.setattr(Reads, "find", spied)

    assert ids(await _page(store, missing)) == []
    assert "types" not in walked
    await store.commit(Batch(writes=[plain]))
    assert ids(await _page(store, missing)) == ["old"]
    await _many_without_code(store, 30)
    page = await store.search(Search((("Observation", missing),), count=20, total="estimate"))
    assert (len(page.versions), page.total) == (20, 31)
    await store.commit(Batch(writes=[Write("Observation", "old", 2, 2, b"", "DELETE")]))
    page = await store.search(Search((("Observation", missing),), count=20, total="accurate"))
    assert page.total == 30


async def _many_without_code(store: Store, count: int) -> None:
    writes = [
        Write("Observation", f"w{n}", 1, n, b"{}", "PUT", IndexValues(())) for n in range(count)
    ]
    await store.commit(Batch(writes=writes))


async def _found(store: MongoStore, search: Search) -> Page:
    """Search, again where the members were busy with other tests for so long, as a client does."""
    for _ in range(3):
        with suppress(Unavailable):
            return await store.search(search)
    return await store.search(search)


async def test_long_lists_of_alternatives_are_told_as_one_by_one(store: MongoStore) -> None:
    """Tokens, URIs, references by id and by URL, of several parameters, in one long list."""
    measure = MemoryStore()
    values: list[tuple[Any, ...]] = [
        (TokenValue("code", "s", "3"),),
        (TokenValue("code", "", "4"), TokenValue("code", "s", "99")),
        (UriValue("url", "u:5"),),
        (ReferenceValue("subject", "Patient", "6"),),
        (ReferenceValue("subject", "Group", "6"),),
        (ReferenceValue("subject", "", "", "http://r/7"),),
        (ReferenceValue("part", "", "", "http://r/7"),),
        (StringValue("name", "eight", "Eight"),),
    ]
    writes = [
        Write("Observation", f"o{n}", 1, n, b"{}", "PUT", IndexValues(some))
        for n, some in enumerate(values)
    ]
    for each in (store, measure):
        await each.commit(Batch(writes=writes))
    lists: list[list[Expression]] = [
        [TokenIs("code", "s", str(n)) for n in range(20)],
        [TokenIs("code", None, str(n)) for n in range(20)],
        [UriIs("url", f"u:{n}", "exact") for n in range(20)],
        [RefersTo("subject", "Patient", str(n)) for n in range(20)],
        [RefersTo("subject", None, str(n)) for n in range(20)],
        [RefersTo("subject", None, "", f"http://r/{n}") for n in range(20)],
        [StringIs("name", "eight")],
    ]
    for some in (*lists, lists[0] + lists[2] + lists[6], [one for each in lists for one in each]):
        where = And((Or(tuple(some)), Not(Tagged("x"))))
        search_ = Search((("Observation", where),), total="accurate")
        found, expected = await _found(store, search_), await measure.search(search_)
        assert (ids(found), found.total) == (ids(expected), expected.total), some
        assert ids(expected)


async def test_a_database_that_takes_long_is_no_fault_of_the_search(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where little was asked and the time is over the database is busy: try again, as it is."""
    await put(store, patient("p1"))
    monkeypatch.setattr(reads, "SECONDS", -1.0)

    with pytest.raises(Unavailable, match="busy"):
        await _page(store, EVERYTHING)
    monkeypatch.setattr(reads, "FEW", -1)
    with pytest.raises(WorkBudgetExceeded):
        await _page(store, EVERYTHING)


async def test_time_is_up_in_the_database_too(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the database itself takes too long for is WorkBudgetExceeded, in a commit too."""
    await _many(store, 6_000)
    monkeypatch.setattr(reads, "SECONDS", 0.05)
    monkeypatch.setattr(reads, "FEW", -1)  # of few questions it is the database that takes long
    absent = Or(tuple(StringIs("note", f"absent {n}", "contains") for n in range(200)))

    with pytest.raises(WorkBudgetExceeded):
        await store.count("Observation", absent)
    results = await asyncio.gather(
        store.commit(Batch(writes=[made(patient("a"))])),
        store.commit(
            Batch(writes=[made(patient("b"))], conditions=[Matches("Observation", absent)])
        ),
        store.commit(Batch(writes=[made(patient("c"))])),
        return_exceptions=True,
    )

    assert [type(one) for one in results] == [type(None), WorkBudgetExceeded, type(None)]
    found = await store.read_many([("Patient", one) for one in "abc"])
    assert [version is not None for version in found] == [True, False, True]


async def test_a_key_that_two_share_shows_nobody(store: MongoStore) -> None:
    """Were two values to share a key, a search for the one would not show who has the other."""
    await put(store, patient("an", gender="male"), patient("binh", gender="female"))
    shared = keys.token_code("Patient", "gender", "male")
    resources = store._collections.resource
    await resources.update_one({"_id": "Patient/binh"}, {"$addToSet": {"x": shared}})

    page = await store.search(asked("Patient", "gender=male", total="estimate"))

    assert (ids(page), page.total) == (["an"], 1)
    page = await store.search(asked("Patient", "gender=male&_sort=_id"))
    assert ids(page) == ["an"]


async def test_a_sorted_walk_ends_with_what_has_no_value(store: MongoStore) -> None:
    """Pages of a sort over a whole type hold every resource once, those without a value last."""
    writes = []
    for number in range(1_500):
        values = (StringValue("name", f"n{number % 700:03}", "N"),) if number % 5 else ()
        writes.append(Write("Patient", f"p{number}", 1, number, b"{}", "PUT", IndexValues(values)))
    await store.commit(Batch(writes=writes))

    search_ = Search((("Patient", EVERYTHING),), (Sort("name", "string", descending=True),), 100)
    pages = await walk(store, search_)
    back = await walk_back(store, search_, pages[-1])

    assert [ids(page) for page in reversed(back)] == [ids(page) for page in pages[:-1]]
    names = [version.resource_id for page in pages for version in page.versions]
    assert len(names) == len(set(names)) == 1_500
    values_ = [int(name[1:]) % 700 if int(name[1:]) % 5 else -1 for name in names]
    assert values_ == sorted(values_, reverse=True)


async def test_a_cursor_shows_nothing_of_a_person(store: MongoStore) -> None:
    """A cursor goes out in URLs: the name that it holds cannot be read from it."""
    await put(store, *(patient(f"p{n}", name=[{"family": "Nguyễn"}]) for n in range(3)))

    sort = (Sort("family", "string"),)
    page = await store.search(Search((("Patient", EVERYTHING),), sort, count=1))

    assert page.next is not None
    assert b"nguyen" not in base64.urlsafe_b64decode(page.next + "===")


ODD = [
    "'; DROP TABLE token; --",
    'a"b',
    "x\x1fy",
    "nul\x00l",
    "%",
    "_",
    "\U0010ffff",
    "$where",
    "a.b",
    "(a|b)*",
    "\\Qa\\E",
    "[^a]",
    "new\nline",
    "# no comment",
    "{2}",
]


async def test_a_key_that_drives_is_the_one_that_was_chosen(store: MongoStore) -> None:
    """Whatever else is asked of keys, the database reads those of the driver alone."""
    await _many(store, 2_000)
    common, rare = (keys.token_code("Observation", "code", one) for one in ("common1", "rare"))
    status = keys.token_code("Observation", "status", "final")
    others = keyed([common, rare])
    assert others is not None
    for rest in (others, neither(others), either([others, {"u": 5}]), neither(neither(others))):
        where = every([keyed([status]), hide(rest or {})])
        told = await store._collections.resource.find(where, hint="keys").explain()
        plan_ = told["queryPlanner"]["winningPlan"]["inputStage"]
        assert plan_["stage"] == "IXSCAN"
        assert plan_["indexBounds"]["x"] == [f"[{status}, {status}]"]
        assert not told["queryPlanner"]["rejectedPlans"]


async def test_hostile_names_are_only_names(store: MongoStore) -> None:
    """Signs of patterns and operators, and NUL, are found as they are, nowhere else."""
    writes = [
        Write(
            "Patient",
            f"p{n}",
            1,
            n,
            b"{}",
            "PUT",
            IndexValues((
                TokenValue("t", one, one),
                StringValue("s", f"-{one}-", one),
                UriValue("u", one),
            )),
        )
        for n, one in enumerate(ODD)
    ]  # fmt: skip
    await store.commit(Batch(writes=writes))

    for n, one in enumerate(ODD):
        for where in (
            TokenIs("t", one, one),
            TokenIs("t", None, one),
            TokenIs("t", one, None),
            StringIs("s", f"-{one}"),
            StringIs("s", f"{one}-", "contains"),
            UriIs("u", one, "below"),
            UriIs("u", one + "more", "above"),
        ):
            page = await store.search(Search((("Patient", where),)))
            assert ids(page) == [f"p{n}"], where
            assert await store.count("Patient", where) == 1, where


async def test_a_text_longer_than_its_key_is_compared_whole(store: MongoStore) -> None:
    """What differs, or stands, behind what the index has of a text is told by the entry."""
    common = "n" * keys.LONGEST
    ends = ["b", "a", "", "ab", "c"]
    writes = [
        Write(
            "Patient",
            f"p{n}",
            1,
            n,
            b"{}",
            "PUT",
            IndexValues((
                StringValue("s", common + end, common + end),
                UriValue("u", "urn:" + common[n:] + "x" * (n != 1)),
            )),
        )
        for n, end in enumerate(ends)
    ]
    await store.commit(Batch(writes=writes))

    async def found(where: Expression) -> list[str]:
        page = await store.search(Search((("Patient", where),)))
        assert await store.count("Patient", where) == len(page.versions)
        return ids(page)

    assert await found(StringIs("s", common + "a")) == ["p3", "p1"]
    assert await found(StringIs("s", "nab", "contains")) == ["p3"]
    assert await found(StringIs("s", common + "c", "exact")) == ["p4"]
    assert await found(UriIs("u", "urn:" + common * 20, "above")) == ["p1"]
    assert await found(StringIs("s", common)) == ["p4", "p3", "p2", "p1", "p0"]
    for descending in (False, True):
        sort = Sort("s", "string", descending=descending)
        pages = await walk(store, Search((("Patient", EVERYTHING),), (sort,), 1))
        shown = [name for page in pages for name in ids(page)]
        ordered = ["p2", "p1", "p3", "p0", "p4"]
        assert shown == (ordered[::-1] if descending else ordered)
