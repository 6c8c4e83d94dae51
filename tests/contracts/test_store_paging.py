"""Paging beside writers, whatever the order and however many are equal in it.

https://hl7.org/fhir/R4/http.html#paging
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest

from fhir_server.search.expression import EVERYTHING, And, Search, Sort
from fhir_server.store.port import BadCursor, Batch, CommitRefused, Page, Store, Write
from tests.contracts.conftest import HERE
from tests.contracts.drawing import EVERYWHERE, IDS, SECOND, SORTS, TYPES, Draw
from tests.contracts.making import (
    BASE_URL,
    START,
    asked,
    gone,
    ids,
    made,
    observation,
    patient,
    put,
    turned,
)
from tests.sizes import seeds

KEYS = [
    (kind, Sort(one.param, one.kind, descending=descending))
    for kind in TYPES
    for one in (*SORTS[kind], *EVERYWHERE)
    for descending in (False, True)
]
SEEDS = seeds(10)
BACK = seeds(3, 50)


def _named(case: object) -> str | None:
    if isinstance(case, tuple):
        kind, sort = case
        return f"{kind}-{'-' if sort.descending else ''}{sort.param}"
    return None


async def _write(draw: Draw, measure: Store, kind: str, at: int) -> Batch:
    """Draw a change of some resources: the same again, another content, a deletion, a new one."""
    writes: dict[str, Write] = {}
    for _ in range(draw.random.randint(0, 3)):
        identity = draw.one([*IDS, *IDS, f"n{at % 97}"])
        current = await measure.read(kind, identity)
        version_id = current.version_id + 1 if current else 1
        if current is not None and not current.deleted and draw.random.random() < 0.2:
            writes[identity] = gone(kind, identity, version_id, at=at)
        else:
            again = _again(draw, kind, identity)
            writes[identity] = made(again, version_id, at=at)
    return Batch(writes=list(writes.values()))


def _again(draw: Draw, kind: str, identity: str) -> dict[str, object]:
    while True:
        resource = draw.resource()
        if resource["resourceType"] == kind:
            return {**resource, "id": identity}


@pytest.mark.parametrize("case", KEYS, ids=_named)
async def test_each_match_is_visited_once_beside_writers(
    case: tuple[str, Sort], tmp_path: Path
) -> None:
    """Who turns pages while others write sees each match of the first page's time exactly once.

    What was created since is on no page, what is deleted before its page is left out, and all
    stores show the same versions on the same pages.
    """
    kind, key = case
    async with contextlib.AsyncExitStack() as stack:
        for seed in SEEDS:
            draw = Draw(seed)
            second = draw.one([s for k, s in KEYS if k == kind and s.param != key.param])
            sort = draw.one([(key,), (key, second)])
            stores: dict[str, Store] = {}
            for name, opens in HERE.items():
                folder = tmp_path / f"{seed}"
                folder.mkdir(exist_ok=True)
                stores[name] = await opens(folder)
                stack.push_async_callback(stores[name].close)
            await _turn_pages(draw, stores, kind, sort)


async def _turn_pages(
    draw: Draw, stores: dict[str, Store], kind: str, sort: tuple[Sort, ...]
) -> None:
    measure = stores["memory"]
    at = START
    there: set[str] = set()
    for identity in IDS:
        at += SECOND
        batch = Batch(writes=[made(_again(draw, kind, identity), at=at)])
        if await _committed(stores, batch):
            there.add(identity)
    stayed = set(there)
    seen: list[str] = []
    searches = dict.fromkeys(stores, Search(((kind, EVERYTHING),), sort, count=draw.one([1, 2])))
    while True:
        pages = {name: await stores[name].search(search) for name, search in searches.items()}
        shown = {
            name: [(v.resource_id, v.version_id) for v in p.versions] for name, p in pages.items()
        }
        assert all(one == shown["memory"] for one in shown.values()), (sort, shown)
        ends = {page.next is None for page in pages.values()}
        assert len(ends) == 1
        seen += ids(pages["memory"])
        assert len(seen) <= len(there), (sort, seen)
        if ends == {True}:
            break
        searches = {name: turned(searches[name], page) for name, page in pages.items()}
        at += SECOND
        batch = await _write(draw, measure, kind, at)
        if await _committed(stores, batch):
            stayed -= {w.resource_id for w in batch.writes if w.deleted} - set(seen)

    assert len(set(seen)) == len(seen)
    assert stayed <= set(seen) <= there


@pytest.mark.parametrize("case", KEYS, ids=_named)
async def test_the_pages_before_are_those_that_were_visited(
    case: tuple[str, Sort], tmp_path: Path
) -> None:
    """Who turns back while others write sees the same pages; without those deleted, each once.

    All stores show the same versions, and `first` is the first page as it was defined.
    """
    kind, key = case
    async with contextlib.AsyncExitStack() as stack:
        for seed in BACK:
            draw = Draw(seed)
            second = draw.one([s for k, s in KEYS if k == kind and s.param != key.param])
            sort = draw.one([(), (key,), (key,), (key, second)])
            stores: dict[str, Store] = {}
            for name, opens in HERE.items():
                folder = tmp_path / f"{seed}"
                folder.mkdir(exist_ok=True)
                stores[name] = await opens(folder)
                stack.push_async_callback(stores[name].close)
            await _turn_back(draw, stores, Search(((kind, EVERYTHING),), sort, draw.one([1, 2])))


async def _turn_back(draw: Draw, stores: dict[str, Store], search: Search) -> None:
    measure, kind, at = stores["memory"], search.by_type[0][0], START
    for identity in IDS:
        at += SECOND
        await _committed(stores, Batch(writes=[made(_again(draw, kind, identity), at=at)]))
    cursors: dict[str, str | None] = dict.fromkeys(stores)
    forward: list[list[str]] = []
    gone_since: set[str] = set()
    while True:
        pages = await _same_page(stores, search, cursors)
        forward.append(ids(pages["memory"]))
        if pages["memory"].next is None:
            break
        cursors = {name: page.next for name, page in pages.items()}
        at += SECOND
        gone_since |= await _written(draw, stores, measure, kind, at)
    back: list[list[str]] = []
    while pages["memory"].previous is not None:
        at += SECOND
        gone_since |= await _written(draw, stores, measure, kind, at)
        before = pages
        pages = await _same_page(
            stores, search, {name: page.previous for name, page in before.items()}
        )
        back.insert(0, ids(pages["memory"]))
        again = await _same_page(stores, search, {n: page.next for n, page in pages.items()})
        assert again["memory"].previous is not None
        left = [one for one in ids(before["memory"]) if await _is_there(measure, kind, one)]
        # What was deleted and made anew since stands there again, at the place that it had.
        shown = ids(again["memory"])
        made_anew = gone_since.intersection(shown).difference(left)
        kept = [one for one in shown if one not in made_anew]
        assert kept == left[: len(kept)] if made_anew else shown[: len(left)] == left
    visited = [one for page in forward[:-1] for one in page]
    if not gone_since:
        assert back == forward[:-1]
    turned_back = [one for page in back for one in page]
    assert len(set(turned_back)) == len(turned_back)
    assert [one for one in turned_back if one not in gone_since] == [
        one for one in visited if one not in gone_since
    ]
    if pages["memory"].first is not None:
        first = await _same_page(stores, search, {n: page.first for n, page in pages.items()})
        assert first["memory"].previous is None
        assert gone_since or ids(first["memory"]) == forward[0]


@pytest.mark.parametrize("kind", TYPES)
async def test_who_matches_all_along_is_visited_once_beside_writers(
    kind: str, tmp_path: Path
) -> None:
    """Of a search with criteria, what nobody writes meanwhile is seen once on the way, and back.

    What comes to match, or no longer does, may be on a page or not, but on no second one; all
    stores show the same.
    """
    async with contextlib.AsyncExitStack() as stack:
        for seed in SEEDS:
            draw = Draw(seed)
            stores: dict[str, Store] = {}
            for name, opens in HERE.items():
                folder = tmp_path / f"{seed}"
                folder.mkdir(exist_ok=True)
                stores[name] = await opens(folder)
                stack.push_async_callback(stores[name].close)
            keys = draw.random.sample([s for k, s in KEYS if k == kind], draw.one([0, 1, 2]))
            sort = tuple({key.param: key for key in keys}.values())
            await _turn_narrowed(draw, stores, kind, sort)


async def _turn_narrowed(
    draw: Draw, stores: dict[str, Store], kind: str, sort: tuple[Sort, ...]
) -> None:
    measure, at = stores["memory"], START
    for identity in IDS:
        at += SECOND
        await _committed(stores, Batch(writes=[made(_again(draw, kind, identity), at=at)]))
    for _ in range(30):
        search = Search(((kind, draw.expression(kind, 0)),), sort, draw.one([1, 2]))
        matched = set(ids(await measure.search(replace(search, count=100))))
        if len(matched) > 1:
            break
    forward: list[str] = []
    written: set[str] = set()
    cursors: dict[str, str | None] = dict.fromkeys(stores)
    while True:
        pages = await _same_page(stores, search, cursors)
        forward += ids(pages["memory"])
        if pages["memory"].next is None:
            break
        cursors = {name: page.next for name, page in pages.items()}
        at += SECOND
        batch = await _write(draw, measure, kind, at)
        if await _committed(stores, batch):
            written |= {write.resource_id for write in batch.writes}
    assert len(set(forward)) == len(forward)
    assert [one for one in forward if one in matched - written] == [
        one for one in ids(await measure.search(replace(search, count=100)))
        if one in matched - written
    ]  # fmt: skip
    assert set(forward) - written <= matched

    back = ids(pages["memory"])
    while pages["memory"].previous is not None:
        at += SECOND
        batch = await _write(draw, measure, kind, at)
        if await _committed(stores, batch):
            written |= {write.resource_id for write in batch.writes}
        pages = await _same_page(stores, search, {n: page.previous for n, page in pages.items()})
        back = ids(pages["memory"]) + back
    assert len(set(back)) == len(back)
    untouched = matched - written
    assert [one for one in back if one in untouched] == [o for o in forward if o in untouched]


async def _is_there(store: Store, kind: str, identity: str) -> bool:
    version = await store.read(kind, identity)
    return version is not None and not version.deleted


async def _same_page(
    stores: dict[str, Store], search: Search, cursors: dict[str, str | None]
) -> dict[str, Page]:
    """Return a page of each store; all show the same, with the same links."""
    pages = {
        name: await store.search(replace(search, cursor=cursors[name]))
        for name, store in stores.items()
    }
    shown = {
        name: (
            [(v.resource_id, v.version_id) for v in page.versions],
            page.next is None,
            page.previous is None,
            page.first is None,
        )
        for name, page in pages.items()
    }
    assert all(one == shown["memory"] for one in shown.values()), (search, shown)
    return pages


async def _written(
    draw: Draw, stores: dict[str, Store], measure: Store, kind: str, at: int
) -> set[str]:
    """Make a drawn change; return what it deleted."""
    batch = await _write(draw, measure, kind, at)
    made_it = await _committed(stores, batch)
    return {write.resource_id for write in batch.writes if write.deleted} if made_it else set()


async def _committed(stores: dict[str, Store], batch: Batch) -> bool:
    """Commit to all stores; False where all refuse it, as what gives a number to a second."""
    refused = set()
    for store in stores.values():
        try:
            await store.commit(batch)
        except CommitRefused as refusal:
            refused.add(type(refusal))
        else:
            refused.add(None)
    assert len(refused) == 1
    return refused == {None}


@pytest.mark.parametrize("query", ["", "_sort=birthdate", "_sort=-birthdate", "_sort=family"])
async def test_a_page_that_ends_with_what_was_updated_ends_there(store: Store, query: str) -> None:
    """The next page begins behind an updated resource, though its version is newer than all."""
    await put(store, *(patient(f"p{n}", birthDate="1990") for n in range(9)))
    search = asked("Patient", query, count=3)
    first = await store.search(search)
    order = ids(first)
    await store.commit(Batch(writes=[made(patient("p3", birthDate="1990", active=True), 2)]))

    second = await store.search(turned(search, first))
    third = await store.search(turned(search, second))

    assert [*order, *ids(second), *ids(third)] == [f"p{n}" for n in reversed(range(9))]
    assert third.next is None


@pytest.mark.parametrize("query", ["", "_sort=birthdate", "_sort=-birthdate", "_sort=_id"])
async def test_the_page_before_an_empty_one(store: Store, query: str) -> None:
    """Where all of a page was deleted meanwhile, the ways on and back are still there."""
    await put(store, *(patient(f"p{n}", birthDate="1990") for n in range(6)))
    search = asked("Patient", query, count=2)
    first = await store.search(search)
    second = await store.search(turned(search, first))
    third = await store.search(turned(search, second))
    await store.commit(Batch(writes=[gone("Patient", one, 2) for one in ids(first)]))

    before = await store.search(replace(search, cursor=second.previous))
    after = await store.search(turned(search, before))

    assert ids(before) == []
    assert before.previous is None
    assert ids(after) == ids(second)
    assert ids(await store.search(turned(search, after))) == ids(third)
    assert ids(await store.search(replace(search, cursor=before.first))) == ids(second)


async def test_only_the_first_page_has_no_previous(store: Store) -> None:
    """The first page tells of no page before it, nor does the one that is reached by `first`."""
    await put(store, *(patient(f"p{n}") for n in range(4)))
    search = asked("Patient", count=2)

    first = await store.search(search)
    second = await store.search(turned(search, first))
    again = await store.search(replace(search, cursor=second.previous))
    by_first = await store.search(replace(search, cursor=second.first))

    assert (first.previous, first.first, again.previous, by_first.previous) == (None,) * 4
    assert ids(again) == ids(by_first) == ids(first)
    assert second.previous is not None


@pytest.mark.parametrize("descending", [False, True], ids=["up", "down"])
async def test_what_moves_in_the_order_keeps_its_place(store: Store, *, descending: bool) -> None:
    """A match whose sort value changes while others page is still shown where it stood."""
    births = [f"19{n}" for n in range(10, 19)]
    await put(store, *(patient(f"p{n}", birthDate=born) for n, born in enumerate(births)))
    search = asked("Patient", f"_sort={'-' * descending}birthdate", count=3)
    first = await store.search(search)
    moved = [patient("p4", birthDate="1800"), patient("p5", birthDate="2020")]
    await store.commit(Batch(writes=[made(one, 2) for one in moved]))

    second = await store.search(turned(search, first))
    third = await store.search(turned(search, second))

    found = ids(first) + ids(second) + ids(third)
    assert found == sorted((f"p{n}" for n in range(9)), reverse=descending)
    assert [v.version_id for v in (*second.versions, *third.versions)].count(2) == 2


async def test_an_absolute_reference_of_ours_keeps_its_place(store: Store) -> None:
    """In the order by a reference, one below the FHIR base stands where `Type/id` stands."""
    await put(store, *(observation(f"o{n}", f"p{n}") for n in range(6)))
    own = {"reference": f"{BASE_URL}/Patient/p3"}
    await store.commit(Batch(writes=[made({**observation("o3", "p3"), "subject": own}, 2)]))
    search = asked("Observation", "_sort=subject", count=2, base_url=BASE_URL)
    first = await store.search(search)
    await store.commit(Batch(writes=[made(observation("o3", "p9"), 3)]))

    second = await store.search(turned(search, first))
    third = await store.search(turned(search, second))

    assert ids(first) + ids(second) + ids(third) == [f"o{n}" for n in range(6)]


async def test_a_reference_to_a_version_is_sorted_as_one_to_the_resource(store: Store) -> None:
    """In the order by a reference the version that it names makes no difference, either way."""
    one, other = observation("one", "p1"), observation("other", "p1")
    one["subject"] = {"reference": "Patient/p1/_history/1"}
    await put(store, one, other, observation("third", "p2"))

    up = await store.search(asked("Observation", "_sort=subject"))
    down = await store.search(asked("Observation", "_sort=-subject"))

    assert ids(up) == ["other", "one", "third"]
    assert ids(down) == ["third", "other", "one"]


async def test_what_is_asked_is_part_of_a_cursor(store: Store) -> None:
    """A cursor belongs to what the client asked: with another question it is BadCursor."""
    await put(store, *(patient(f"p{n}") for n in range(3)))
    by_type = (("Patient", EVERYTHING),)
    page = await store.search(Search(by_type, count=1, asked=b"name=a"))

    narrowed = (("Patient", And((EVERYTHING,))),)
    again = await store.search(Search(narrowed, count=1, cursor=page.next, asked=b"name=a"))

    assert len(again.versions) == 1
    with pytest.raises(BadCursor):
        await store.search(Search(by_type, count=1, cursor=page.next, asked=b"name=b"))
