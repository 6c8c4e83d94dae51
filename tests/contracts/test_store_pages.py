"""What every Store shows page by page, while others write: searches and history."""

from __future__ import annotations

import asyncio

import pytest

from fhir_server.search.expression import EVERYTHING, Search
from fhir_server.store.port import BadCursor, Batch, Page, Some, Store
from tests.contracts.making import START, asked, gone, ids, made, patient, put, turned, walk


async def _pages_while(store: Store, search: Search, *turns: Batch) -> list[str]:
    """Return the ids of all pages, with a commit after each page as long as there are any."""
    page = await store.search(search)
    found = ids(page)
    writes = list(turns)
    while page.next:
        if writes:
            await store.commit(writes.pop(0))
        page = await store.search(turned(search, page))
        found += ids(page)
    return found


@pytest.mark.parametrize("query", ["", "_sort=_id", "_sort=gender,-_id"])
async def test_pages_do_not_show_what_is_created_meanwhile(store: Store, query: str) -> None:
    """While others create, each match of the first page's time is visited once, and no other."""
    await put(store, *(patient(f"p{n}", gender="male") for n in range(9)))
    new = [Batch(writes=[made(patient(f"p{n}x", gender="female"))]) for n in range(4)]

    found = await _pages_while(store, asked("Patient", query, count=2), *new)

    assert sorted(found) == [f"p{n}" for n in range(9)]


async def test_pages_show_what_is_updated_meanwhile_once(store: Store) -> None:
    """A match that is updated while others page is visited once, whether seen before or not."""
    await put(store, *(patient(f"p{n}") for n in range(9)))
    updates = [
        Batch(
            writes=[
                made(patient(f"p{8 - n}", active=True), 2),
                made(patient(f"p{n}", active=True), 2),
            ]
        )
        for n in range(4)
    ]

    found = await _pages_while(store, asked("Patient", count=2), *updates)

    assert sorted(found) == [f"p{n}" for n in range(9)]


async def test_pages_leave_out_what_is_deleted_meanwhile(store: Store) -> None:
    """A match deleted before its page is not shown; the others are, once."""
    await put(store, *(patient(f"p{n}") for n in range(9)))

    found = await _pages_while(
        store, asked("Patient", count=2), Batch(writes=[gone("Patient", "p3", 2)])
    )

    assert sorted(found) == [f"p{n}" for n in range(9) if n != 3]


async def test_pages_while_ten_writers_write(store: Store) -> None:
    """Paging beside writers that do not stop visits each of the first matches exactly once."""
    await put(store, *(patient(f"p{n:02}") for n in range(40)))
    search = asked("Patient", count=3)
    first = await store.search(search)
    done = asyncio.Event()

    async def write(writer: int) -> None:
        number = 0
        while not done.is_set():
            number += 1
            await store.commit(Batch(writes=[made(patient(f"w{writer}-{number}"))]))
            await asyncio.sleep(0)

    writers = [asyncio.create_task(write(n)) for n in range(10)]
    found, page = ids(first), first
    while page.next:
        page = await store.search(turned(search, page))
        found += ids(page)
        await asyncio.sleep(0)
    done.set()
    await asyncio.gather(*writers)

    assert sorted(found) == [f"p{n:02}" for n in range(40)]


async def test_the_last_page_has_no_next(store: Store) -> None:
    """Pages that hold all matches exactly end without an empty one."""
    await put(store, *(patient(f"p{n}") for n in range(6)))

    pages = await walk(store, asked("Patient", count=3))

    assert [len(page.versions) for page in pages] == [3, 3]


# --- history -----------------------------------------------------------------------------


async def _some_history(store: Store) -> None:
    await put(store, patient("a"), patient("b"))
    later = START + 10_000_000
    await store.commit(Batch(writes=[made(patient("a", active=True), 2, at=later)]))
    await store.commit(Batch(writes=[gone("Patient", "b", 2, at=later + 10_000_000)]))
    organization = {"resourceType": "Organization", "id": "a", "name": "x"}
    await store.commit(Batch(writes=[made(organization, at=later + 20_000_000)]))


def _told(page: object) -> list[str]:
    return [f"{v.resource_type[0]}/{v.resource_id}/{v.version_id}" for v in page.versions]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("resource_type", "resource_id", "expected"),
    [
        (None, None, "O/a/1 P/b/2 P/a/2 P/b/1 P/a/1"),
        ("Patient", None, "P/b/2 P/a/2 P/b/1 P/a/1"),
        ("Patient", "a", "P/a/2 P/a/1"),
        ("Patient", "b", "P/b/2 P/b/1"),
        ("Patient", "nobody", ""),
        ("Basic", None, ""),
    ],
)
@pytest.mark.parametrize("count", [1, 2, 50])
async def test_history_is_newest_first(
    store: Store, resource_type: str | None, resource_id: str | None, expected: str, count: int
) -> None:
    """The history of a resource, a type or all has every version once, deletions too."""
    await _some_history(store)
    told: list[str] = []
    cursor = None

    while True:
        page = await store.history(resource_type, resource_id, count=count, cursor=cursor)
        told += _told(page)
        cursor = page.next
        if cursor is None:
            break

    assert told == expected.split()


SOME = {
    "types": ((("Organization", None), ("Patient", None)), "O/a/1 P/b/2 P/a/2 P/b/1 P/a/1"),
    "a type": ((("Patient", None), ("Basic", None)), "P/b/2 P/a/2 P/b/1 P/a/1"),
    "resources": ((("Patient", "b"), ("Organization", "a")), "O/a/1 P/b/2 P/b/1"),
    "a resource": ((("Patient", "a"), ("Patient", "nobody")), "P/a/2 P/a/1"),
    "both": ((("Organization", None), ("Patient", "a")), "O/a/1 P/a/2 P/a/1"),
    "nobody": ((("Patient", "nobody"),), ""),
}


@pytest.mark.parametrize(("among", "expected"), SOME.values(), ids=SOME)
@pytest.mark.parametrize("count", [1, 2, 50])
async def test_history_of_some(
    store: Store, among: tuple[Some, ...], expected: str, count: int
) -> None:
    """The history of some types and resources has their versions alone, there and back."""
    await _some_history(store)
    pages = [page := await store.history(None, None, count=count, among=among)]
    while page.next is not None:
        page = await store.history(None, None, count=count, cursor=page.next, among=among)
        pages.append(page)
    back = [page]
    while page.previous is not None:
        page = await store.history(None, None, count=count, cursor=page.previous, among=among)
        back.insert(0, page)

    assert [one for page in pages for one in _told(page)] == expected.split()
    assert list(map(_told, back)) == list(map(_told, pages))


async def test_history_of_some_of_a_time(store: Store) -> None:
    """`since` and `at` hold there too, and a cursor is of no other history."""
    await _some_history(store)
    two = (("Patient", "b"), ("Organization", "a"))
    at = (START + 12 * 1_000_000, START + 15 * 1_000_000)

    late = await store.history(None, None, since=START + 11 * 1_000_000, among=two)
    then = await store.history(None, None, at=at, among=two)
    page = await store.history(None, None, count=1, among=two)

    assert _told(late) == ["O/a/1", "P/b/2"]
    assert _told(then) == ["P/b/1"]
    with pytest.raises(BadCursor):
        await store.history(None, None, count=1, cursor=page.next, among=(("Patient", None),))


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        (0, "O/a/1 P/b/2 P/a/2 P/b/1 P/a/1"),
        (1, "O/a/1 P/b/2 P/a/2 P/b/1"),
        (10, "O/a/1 P/b/2 P/a/2"),
        (11, "O/a/1 P/b/2"),
        (99, ""),
    ],
)
async def test_history_since(store: Store, since: int, expected: str) -> None:
    """`since` gives the versions made at that instant or later."""
    await _some_history(store)

    page = await store.history(None, None, since=START + since * 1_000_000)

    assert _told(page) == expected.split()


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (2, 3, "P/b/1 P/a/1"),
        (5, 12, "P/a/2 P/b/1 P/a/1"),
        (12, 15, "P/a/2 P/b/1"),
        (25, 40, "O/a/1 P/b/2 P/a/2"),
        (-9, -5, ""),
    ],
)
async def test_history_at(store: Store, low: int, high: int, expected: str) -> None:
    """`at` gives the versions that were current at some time of the range."""
    await _some_history(store)
    at = (START + low * 1_000_000, START + high * 1_000_000)

    page = await store.history(None, None, at=at)

    assert _told(page) == expected.split()


async def test_history_while_others_write(store: Store) -> None:
    """Pages of history that was begun show no version twice and none that is made meanwhile."""
    await put(store, *(patient(f"p{n}") for n in range(6)))
    first = await store.history("Patient", None, count=4)
    await put(store, patient("new"))
    await store.commit(Batch(writes=[made(patient("p0", active=True), 2)]))

    second = await store.history("Patient", None, count=4, cursor=first.next)

    assert ids(first) + ids(second) == [f"p{n}" for n in reversed(range(6))]
    assert second.next is None


@pytest.mark.parametrize("name", [(None, None), ("Patient", None), ("Patient", "p0")])
@pytest.mark.parametrize("count", [1, 2, 4])
async def test_history_is_turned_back_while_others_write(
    store: Store, name: tuple[str | None, str | None], count: int
) -> None:
    """The pages before are those that were visited, whatever is written since."""
    await put(store, *(patient(f"p{n}") for n in range(3)))
    for number in range(2, 6):
        await store.commit(Batch(writes=[made(patient("p0", active=number % 2 == 0), number)]))
    page = await store.history(*name, count=count)
    assert page.previous is None
    assert page.first is None
    forward = [page]
    while page.next is not None:
        page = await store.history(*name, count=count, cursor=page.next)
        forward.append(page)
        await put(store, patient(f"n{len(forward)}"))
    assert len(forward) > 1
    version_id = 6
    back: list[Page] = []
    while page.previous is not None:
        await store.commit(Batch(writes=[made(patient("p0", active=False), version_id)]))
        version_id += 1
        page = await store.history(*name, count=count, cursor=page.previous)
        back.insert(0, page)
    first = await store.history(*name, count=count, cursor=forward[-1].first)

    assert [_told(page) for page in back] == [_told(page) for page in forward[:-1]]
    assert _told(first) == _told(forward[0])
    assert _told(await store.history(*name, count=count, cursor=first.next)) == _told(forward[1])


async def test_a_forged_cursor_of_history_is_refused(store: Store) -> None:
    """A cursor that history did not give is BadCursor, one of a search too."""
    await put(store, patient("a"), patient("b"))
    page = await store.search(Search((("Patient", EVERYTHING),), count=1))

    for cursor in ("x", page.next):
        with pytest.raises(BadCursor):
            await store.history("Patient", None, cursor=cursor)
