"""Orders by tokens, references and URIs: along their ends, and in a store that lacks some."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
import pytest_asyncio

from fhir_server.model.outcome import Unavailable
from fhir_server.search.expression import EVERYTHING, Expression, Search, Sort, TokenIs
from fhir_server.search.values import IndexValues, ReferenceValue, TokenValue
from fhir_server.store.memory import MemoryStore
from fhir_server.store.mongo import along, commit, keys, newest, reads, sorting
from fhir_server.store.mongo.ends import columns, lent_by
from fhir_server.store.mongo.entry import fields_of
from fhir_server.store.mongo.schema import HEAD, RESOURCE_TYPES, unordered
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.port import Batch, Page, Store, WorkBudgetExceeded, Write
from tests.contracts.drawing import SECOND
from tests.contracts.making import (
    BASE_URL,
    START,
    gone,
    ids,
    made,
    observation,
    turned,
    walk,
    walk_back,
)
from tests.fhir_server.store.mongo.test_search import _many
from tests.mongo.databases import give_back, open_mongo
from tests.sizes import seeds

CODES: Final = ("", "A", "a", "B", "Ä", "a\U0001f600", "\uffee", "ab")
LONG: Final = "urn:" + "n" * (keys.LONGEST_CODE - 4)
PLACES: Final = (
    "Patient/p1", "Patient/p2", "Group/g", "Location/Z", "Device/d",
    "Patient/p1/_history/3", "http://127.0.0.1:8080/fhir/Patient/p2", "http://else/Patient/p1",
)  # fmt: skip
PERFORMERS: Final = (
    "Practitioner/b", "Practitioner/B", "Organization/o", "https://x/Practitioner/b",
    "Practitioner/b/_history/2", "urn:uuid:53fefa32-fcbb-4ff8-8a92-55ee120877b7",
)  # fmt: skip
SOURCES: Final = ("http://x", "HTTP://x", LONG, LONG + "b", LONG + "a", LONG + "a" * 50)
KEYS: Final = (
    Sort("status", "token"),
    Sort("category", "token"),
    Sort("code", "token"),
    Sort("combo-code", "token"),
    Sort("subject", "reference"),
    Sort("patient", "reference"),
    Sort("performer", "reference"),
    Sort("_source", "uri"),
    Sort("_profile", "reference"),
    Sort("date", "date"),
    Sort("_id", "id"),
    Sort("_lastUpdated", "last"),
)


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[MongoStore]:
    """An empty store."""
    opened = await open_mongo(tmp_path)
    yield opened
    await opened.close()


def _drawn(random: Random, identity: str) -> dict[str, Any]:
    """Return an Observation whose codes and references are of all forms, none, one or several."""

    def concept() -> dict[str, Any]:
        codings = [{"system": "http://s", "code": code} if code else {"display": "none"}
                   for code in random.choices(CODES, k=random.choice([1, 1, 2]))]  # fmt: skip
        return {"coding": codings}

    found = observation(identity, "p1", code=concept())
    found["status"] = random.choice(["final", "final", "final", "amended"])
    if random.random() < 0.7:
        found["category"] = [concept() for _ in range(random.choice([1, 1, 2]))]
    if random.random() < 0.3:
        found["component"] = [{"code": concept()}]
    found["subject"] = {"reference": random.choice(PLACES)}
    if random.random() < 0.1:
        del found["subject"]
    some = random.choices(PERFORMERS, k=random.choice([0, 1, 1, 3]))
    if some:
        found["performer"] = [{"reference": one} for one in some]
    if random.random() < 0.6:
        found["meta"] = {"source": random.choice(SOURCES)}
    if random.random() < 0.5:
        found["effectiveDateTime"] = f"2024-05-0{random.choice('12')}"
    return found


def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is equal counts soon as many, and is read a few at a time."""
    monkeypatch.setattr(sorting, "_EQUAL", 2)
    monkeypatch.setattr(sorting, "_EQUAL_CODES", 2)
    monkeypatch.setattr(sorting, "GATHERED", 4)
    monkeypatch.setattr(along, "_SIZE", 2)
    monkeypatch.setattr(newest, "GATHERED", 4)


@pytest.mark.parametrize("seed", seeds(4, 100))
async def test_orders_agree_with_the_reference(
    seed: int, store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several keys, either way, pages forward and back, while others write."""
    random, measure = Random(seed), MemoryStore()
    both: tuple[Store, ...] = (measure, store)
    versions: dict[str, int] = {}
    at = START

    async def write(count: int) -> None:
        nonlocal at
        writes = []
        for identity in random.sample(range(90), count):
            name, at = f"o{identity}", at + SECOND
            versions[name] = version = versions.get(name, 0) + 1
            if version > 1 and random.random() < 0.3:
                writes.append(gone("Observation", name, version, at=at))
            else:
                writes.append(made(_drawn(random, name), version, at=at))
        for one in both:
            await one.commit(Batch(writes=writes))

    await write(80)
    if seed % 2:
        _small(monkeypatch)
    for turn in range(24):
        sort = tuple(
            replace(one, descending=random.random() < 0.5)
            for one in random.sample(KEYS, random.choice([1, 1, 2, 2, 3]))
        )
        where: Expression = random.choice([EVERYTHING, EVERYTHING, TokenIs("code", None, "a")])
        search = Search(
            (("Observation", where),), sort, random.choice([1, 7, 30]), base_url=BASE_URL
        )
        pages = [await one.search(search) for one in both]
        trail: list[list[str]] = []
        while True:
            shown = [[(v.resource_id, v.version_id) for v in page.versions] for page in pages]
            assert shown[1] == shown[0], (sort, where)
            trail.append(ids(pages[1]))
            if turn % 4 == 3:
                await write(3)
            if pages[0].next is None or len(trail) > 12:
                break
            pages = [
                await one.search(turned(search, page))
                for one, page in zip(both, pages, strict=True)
            ]
        while pages[0].previous is not None:
            pages = [
                await one.search(replace(search, cursor=page.previous))
                for one, page in zip(both, pages, strict=True)
            ]
            assert ids(pages[1]) == ids(pages[0]), (sort, where)
        assert pages[1].previous is None


@pytest.mark.parametrize("seed", seeds(2, 100))
def test_the_ends_are_those_of_the_order(seed: int) -> None:
    """Where a resource stands by its fields is where the reference puts it, cut to the index."""
    random = Random(seed)
    for number in range(200):
        index = made(_drawn(random, f"o{number}")).index
        ordered = fields_of("Observation", index, ()).get("o", {})
        for key in KEYS[:9]:
            for descending in (False, True):
                sort = replace(key, descending=descending)
                current = sorting.Current(("Observation", "o"), 0, index)
                (expected,) = sorting.order.sort_values((sort,), current)
                found = [
                    ordered[field.removeprefix("o.")]
                    for field, also in columns("Observation", sort)
                    if field.removeprefix("o.") in ordered
                    and not any(one.removeprefix("o.") in ordered for one in also)
                ]
                cut = [] if expected is None else [str(expected)[: keys.LONGEST_CODE]]
                assert found == cut, (sort, index)


def test_ends_are_lent_by_what_r4_has() -> None:
    """A parameter of the store's own is no narrower one, whatever its name."""
    assert lent_by("Observation", "subject") == "patient"
    assert lent_by("AdverseEvent", "subject") == ""  # R4 has no AdverseEvent?patient
    assert lent_by("Observation", "code") == ""


# --- what a page costs -----------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def many(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MongoStore]:
    """A store of 4,000 Observations; read only."""
    folder = tmp_path_factory.mktemp("ordered")
    opened = await open_mongo(folder)
    await _many(opened, 4_000)
    yield opened
    await opened.close()
    give_back(folder)


def _expected(*sort: Sort) -> list[str]:
    """Return the order of what `_many` stores."""
    values: dict[str, Any] = {
        "status": lambda _: "final",
        "code": lambda n: "rare" if n % 1000 == 500 else f"common{n % 2}",
        "subject": lambda n: f"Patient/p{n % 50}",
        "date": lambda n: n,
        "encounter": lambda _: 0,
    }
    found = list(range(3_999, -1, -1))
    for one in reversed(sort):
        found.sort(key=values[one.param], reverse=one.descending)
    return [f"o{n}" for n in found]


@pytest.mark.parametrize(
    "query",
    ["code", "-code", "subject", "-subject", "status", "encounter", "code,-date", "-code,date",
     "status,code", "status,-subject,date", "encounter,subject", "subject,code"],
)  # fmt: skip
@pytest.mark.asyncio(loop_scope="module")
async def test_a_page_brings_little(
    query: str, many: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are, and are equal, a page of them and those beside it bring few."""
    kinds = {"subject": "reference", "encounter": "reference", "date": "date"}
    sort = tuple(
        Sort(name.lstrip("-"), kinds.get(name.lstrip("-"), "token"), name.startswith("-"))
        for name in query.split(",")
    )  # type: ignore[arg-type]
    monkeypatch.setattr(reads, "DOCUMENTS", 1_000)
    monkeypatch.setattr(sorting, "DOCUMENTS", 1_000)
    monkeypatch.setattr(reads, "SECONDS", 60.0)
    monkeypatch.setattr(sorting, "TRIED", 60.0)  # a busy machine gives no walk up
    search = Search((("Observation", EVERYTHING),), sort, 20)

    pages = [await many.search(search)]
    for _ in range(7):
        pages.append(await many.search(turned(search, pages[-1])))
    back = await walk_back(many, search, pages[-1])

    assert [name for page in pages for name in ids(page)] == _expected(*sort)[:160]
    assert [ids(page) for page in reversed(back)] == [ids(page) for page in pages[:-1]]


# --- a store that lacks ends -----------------------------------------------------------------


async def _age(store: MongoStore, *names: str) -> None:
    """Make resources as an older server has written them, and the store one of schema 1."""
    resources = store._collections.resource
    for name in names:
        found = await resources.find_one({"_id": name})
        assert found is not None
        old = {path: end for path, end in found.get("o", {}).items() if path[0] not in "be"}
        assert old.keys() != found.get("o", {}).keys()
        await resources.update_one({"_id": name}, {"$set": {"o": old}})
    await store._collections.meta.update_one(
        {"_id": HEAD}, {"$set": {"schema": 1}, "$unset": {"unordered": 1}}
    )


def _coded(identity: str, code: str, at: int) -> Write:
    index = IndexValues((
        TokenValue("code", "c", code),
        ReferenceValue("subject", "Patient", code),
    ))  # fmt: skip
    return Write("Observation", identity, 1, START + at, b"{}", "PUT", index)


async def _ordered(store: Store, *sort: Sort) -> list[str]:
    pages = await walk(store, Search((("Observation", EVERYTHING),), sort, 2))
    return [name for page in pages for name in ids(page)]


async def test_a_store_of_an_older_server_is_in_order(store: MongoStore) -> None:
    """Before, while and after it is reindexed; from its beginning older servers write no more."""
    code, subject = Sort("code", "token"), Sort("subject", "reference", descending=True)
    writes = [_coded(f"o{n}", "badce"[n], n) for n in range(5)]
    await store.commit(Batch(writes=writes))
    await _age(store, "Observation/o0", "Observation/o2")

    async def is_in_order() -> None:
        assert await _ordered(store, code) == ["o1", "o0", "o3", "o2", "o4"]
        assert await _ordered(store, subject) == ["o4", "o2", "o3", "o0", "o1"]

    await is_in_order()
    assert await store.begin_reindex() == "2"
    await is_in_order()
    head = await store._head()
    assert (head["schema"], head["unordered"]) == (2, ["Observation"])
    await store.reindex([(("Observation", f"o{n}"), 1, writes[n].index) for n in range(5)])
    await is_in_order()
    await store.end_reindex("Observation")
    assert unordered(await store._head()) == []
    await is_in_order()
    assert await store.begin_reindex() == "2"
    assert unordered(await store._head()) == []


async def test_an_older_server_is_refused_once_ends_are_relied_on(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It writes beside newer ones until somebody reindexes; then no commit of it is made."""
    await store.commit(Batch(writes=[_coded("o0", "b", 0)]))
    await _age(store, "Observation/o0")
    monkeypatch.setattr(commit, "VERSION", 1)
    await store.commit(Batch(writes=[_coded("o1", "a", 1)]))
    monkeypatch.undo()
    await store.begin_reindex()

    monkeypatch.setattr(commit, "VERSION", 1)
    with pytest.raises(Unavailable, match="another version"):
        await store.commit(Batch(writes=[_coded("o2", "c", 2)]))


async def test_without_ends_too_many_are_refused_and_the_store_goes_on(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order that no index has, of too many, is WorkBudgetExceeded, not a hung server."""
    await _many(store, 3_000)
    await _age(store, "Observation/o0")
    monkeypatch.setattr(reads, "DOCUMENTS", 1_000)
    costly = Search((("Observation", EVERYTHING),), (Sort("code", "token"),))

    async def first() -> Page:
        return await store.search(Search((("Observation", EVERYTHING),), (), 20))

    for _ in range(3):
        with pytest.raises(WorkBudgetExceeded):
            await store.search(costly)
        assert len((await first()).versions) == 20
    monkeypatch.undo()
    assert len((await store.search(costly)).versions) == 20


def test_schema_1_has_no_type_in_order() -> None:
    """A head that an older server made says nothing of ends."""
    assert unordered({"schema": 1}) == RESOURCE_TYPES
