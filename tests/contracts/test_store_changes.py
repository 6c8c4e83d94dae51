"""The feed of changes: every version once, in the order of the commits, and then those to come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from random import Random

import pytest

from fhir_server.store.feed import Tokens
from fhir_server.store.port import (
    AuditRecord,
    BadCursor,
    Batch,
    Change,
    Put,
    Store,
    Tag,
    VersionConflict,
)
from tests.contracts.conftest import STORES
from tests.contracts.making import asked, gone, made, patient

WITHIN = 20.0

Told = tuple[str, str, int, bool]


def told(change: Change) -> Told:
    """Return what a change says, but for its token and time."""
    return change.resource_type, change.resource_id, change.version_id, change.deleted


async def first(store: Store, count: int, after: str | None = None) -> list[Change]:
    """Return the first changes after a token; they are there, or come soon."""
    found: list[Change] = []
    async with asyncio.timeout(WITHIN), aclosing(store.changes(after)) as feed:  # type: ignore[type-var]
        async for change in feed:
            found.append(change)
            if len(found) == count:
                break
    return found


async def commit(store: Store, *writes: object) -> None:
    """Commit versions."""
    await store.commit(Batch(writes=writes))  # type: ignore[arg-type]


async def test_every_version_comes_once_in_the_order_of_the_commits(store: Store) -> None:
    """What was made, changed and deleted, and of one batch in its own order."""
    await commit(store, made(patient("b")), made(patient("a"), at=5))
    await commit(store, made({"resourceType": "Observation", "id": "a"}))
    await commit(store, made(patient("a", active=True), 2, at=7))
    await commit(store, gone("Patient", "b", 2, at=9), made(patient("a"), 3, at=9))
    await commit(store, made(patient("b"), 3))

    found = await first(store, 7)

    assert [told(one) for one in found] == [
        ("Patient", "b", 1, False),
        ("Patient", "a", 1, False),
        ("Observation", "a", 1, False),
        ("Patient", "a", 2, False),
        ("Patient", "b", 2, True),
        ("Patient", "a", 3, False),
        ("Patient", "b", 3, False),
    ]
    assert [one.last_updated for one in found][1:6:2] == [5, 7, 9]
    assert len({one.token for one in found}) == 7


async def test_a_feed_goes_on_after_any_token(store: Store) -> None:
    """Whoever has taken some in gets the rest, and no more."""
    for number in range(5):
        await commit(store, made(patient(f"p{number}")))
    whole = await first(store, 5)

    for taken in range(4):
        rest = await first(store, 4 - taken, whole[taken].token)
        assert rest == whole[taken + 1 :]


async def test_what_is_no_version_is_no_change(store: Store) -> None:
    """Tags, records and audit entries alone are not told, nor what was refused."""
    await commit(store, made(patient("p")))
    await store.commit(Batch(tags=[Tag("Patient", "p", frozenset({"t"}))]))
    await store.commit(Batch(puts=[Put("b", "k", b"1")], audit=[AuditRecord(1, b"a")]))
    with pytest.raises(VersionConflict):
        await commit(store, made(patient("q")), made(patient("p")))
    await commit(store, made(patient("p"), 2))

    assert [told(one)[1:3] for one in await first(store, 2)] == [("p", 1), ("p", 2)]


async def test_the_last_change_is_where_what_is_new_begins(store: Store) -> None:
    """In an empty store too."""
    empty = await store.last_change()
    await commit(store, made(patient("old")))
    last = await store.last_change()
    await commit(store, made(patient("new")))

    assert [one.resource_id for one in await first(store, 2, empty)] == ["old", "new"]
    assert [one.resource_id for one in await first(store, 1, last)] == ["new"]


async def test_who_waits_is_told_as_soon_as_there_is_more(store: Store) -> None:
    """A feed that has come to its end stays open."""
    feed = store.changes(await store.last_change())
    async with asyncio.timeout(WITHIN), aclosing(feed):  # type: ignore[type-var]
        for number in range(3):
            waiting = asyncio.ensure_future(anext(feed))
            await asyncio.sleep(0)
            assert not waiting.done()
            await commit(store, made(patient(f"p{number}")))
            assert told(await waiting) == ("Patient", f"p{number}", 1, False)


@pytest.mark.parametrize("token", ["", "x", "é", "AAAA", "A" * 60])
async def test_a_token_that_is_none_is_refused(store: Store, token: str) -> None:
    """It is none of this store's making."""
    await commit(store, made(patient("p")))

    with pytest.raises(BadCursor):
        await first(store, 1, token)


async def test_a_token_of_something_else_is_refused(store: Store) -> None:
    """The cursor of a search is no token, nor is a token a cursor."""
    await commit(store, made(patient("p")), made(patient("q")))
    page = await store.search(asked("Patient", count=1))
    assert page.next is not None

    with pytest.raises(BadCursor):
        await first(store, 1, page.next)
    with pytest.raises(BadCursor):
        await store.search(asked("Patient", count=1, cursor=await store.last_change()))


def test_a_token_of_what_the_store_no_longer_holds_is_refused() -> None:
    """After a restore from a backup, who follows must begin anew, and not miss what comes."""
    tokens = Tokens(b"k" * 32)

    assert tokens.number(tokens.token(7), 7) == 7
    assert tokens.number(None, 7) == 0
    with pytest.raises(BadCursor):
        tokens.number(tokens.token(8), 7)


async def _followed(store: Store, total: int, *, again_after: int) -> list[Change]:
    """Follow from the store's first on; begin anew, from the last token, every so often."""
    found: list[Change] = []
    after: str | None = None
    while len(found) < total:
        found += await first(store, min(again_after, total - len(found)), after)
        after = found[-1].token
    return found


async def _written(store: Store, writer: int, seed: int) -> int:
    """Make, change and delete; return how many versions were made."""
    random = Random(seed * 100 + writer)
    at: dict[str, int] = {}
    made_ = 0
    for _ in range(15):
        batch = {f"w{writer}-{random.randrange(4)}" for _ in range(random.randrange(1, 4))}
        writes = []
        for one in sorted(batch):
            at[one] = version = at.get(one, 0) + 1
            is_gone = version > 1 and random.random() < 0.3
            writes.append(gone("Patient", one, version) if is_gone else made(patient(one), version))
        await commit(store, *writes)
        made_ += len(writes)
        await asyncio.sleep(random.random() * 0.005)
    return made_


@pytest.mark.parametrize("seed", [1, 2])
async def test_ten_write_and_nothing_is_missed_or_told_twice(store: Store, seed: int) -> None:
    """Who follows all along, who reconnects, and who comes later are told the same."""
    token = await store.last_change()
    total = sum(_versions(writer, seed) for writer in range(10))
    live = asyncio.create_task(first(store, total, token))
    again = asyncio.create_task(_followed(store, total, again_after=7))
    counts = await asyncio.gather(*(_written(store, writer, seed) for writer in range(10)))
    assert sum(counts) == total

    whole, parts = await live, await again
    later = await first(store, total)

    assert [told(one) for one in whole] == [told(one) for one in later]
    assert whole == parts == later
    assert len(set(map(told, whole))) == total
    history = await store.history(None, None, count=total + 1)
    by_history = [
        (one.resource_type, one.resource_id, one.version_id, one.deleted)
        for one in reversed(history.versions)
    ]
    assert list(map(told, whole)) == by_history
    assert any(one.deleted for one in whole)


def _versions(writer: int, seed: int) -> int:
    """Return how many versions a writer makes."""
    random = Random(seed * 100 + writer)
    at: dict[str, int] = {}
    made_ = 0
    for _ in range(15):
        batch = {f"w{writer}-{random.randrange(4)}" for _ in range(random.randrange(1, 4))}
        for one in sorted(batch):
            at[one] = version = at.get(one, 0) + 1
            if version > 1:
                random.random()
        made_ += len(batch)
        random.random()
    return made_


@pytest.fixture(params=[name for name in STORES if name != "memory"])
async def two(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Store, Store]]:
    """One store, opened twice, as by two processes."""
    one, other = [await STORES[request.param](tmp_path) for _ in range(2)]
    yield one, other
    await one.close()
    await other.close()


async def test_what_another_process_makes_is_told(two: tuple[Store, Store]) -> None:
    """Its commits wake who follows here, and tokens are good there."""
    one, other = two
    feed = one.changes()
    async with asyncio.timeout(WITHIN), aclosing(feed):  # type: ignore[type-var]
        for number in range(3):
            waiting = asyncio.ensure_future(anext(feed))
            await commit(other, made(patient(f"p{number}")))
            change = await waiting
            assert change.resource_id == f"p{number}"
            assert await other.last_change() == change.token


async def test_a_feed_ends_with_its_store(two: tuple[Store, Store]) -> None:
    """Whoever waits is told that there will be no more."""
    one, other = two
    await commit(other, made(patient("p")))
    found: asyncio.Queue[str] = asyncio.Queue()

    async def follow() -> None:
        async for change in one.changes():
            found.put_nowait(change.resource_id)

    following = asyncio.create_task(follow())
    async with asyncio.timeout(WITHIN):
        assert await found.get() == "p"
        await one.close()
        await following

    assert found.empty()
