"""All Stores give the same answers, whatever is written and whatever is asked."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from fhir_server.search.expression import Search
from fhir_server.store.memory import MemoryStore
from fhir_server.store.port import (
    Batch,
    CommitRefused,
    Condition,
    Matches,
    Store,
    Unchanged,
    Unreferenced,
    Write,
)
from tests.contracts.conftest import HERE
from tests.contracts.drawing import CCCD, IDS, SECOND, TYPES, Draw
from tests.contracts.making import START, gone, ids, made, walk, walk_back
from tests.sizes import seeds

COMMITS = 14
SEARCHES = 120
AT_ONCE = 4
SEEDS = (*seeds(12), 1003, 1013, 1016, 1027)


async def _batch(draw: Draw, measure: Store, at: int) -> Batch:
    """Draw a commit: versions that follow those of one store, now and then a wrong one."""
    writes: dict[tuple[str, str], Write] = {}
    conditions: list[Condition] = []
    for _ in range(draw.random.randint(1, 3)):
        resource = draw.resource()
        name = (resource["resourceType"], resource["id"])
        version_id = await _next(measure, name) + draw.one([0] * 12 + [1])
        writes[name] = made(resource, version_id, at=at, tags=draw.one([(), (), ("t",)]))
    if draw.random.random() < 0.3:
        name = (draw.one(TYPES), draw.one(IDS))
        writes[name] = gone(*name, await _next(measure, name), at=at)
        if draw.random.random() < 0.5:
            conditions.append(Unreferenced(*name))
    if draw.random.random() < 0.1:
        conditions.append(Matches("Patient", draw.expression("Patient", 2)))
    if draw.random.random() < 0.1:
        conditions.append(Unchanged("Patient", draw.one(IDS), draw.one([0, 1, 2])))
    return Batch(writes=list(writes.values()), conditions=conditions)


async def _next(store: Store, name: tuple[str, str]) -> int:
    current = await store.read(*name)
    return current.version_id + 1 if current else 1


async def _committed(store: Store, batch: Batch) -> str:
    try:
        await store.commit(batch)
    except CommitRefused as refusal:
        return type(refusal).__name__
    return "made"


async def _kept(store: Store) -> list[Any]:
    """Return everything that a store says it holds."""
    numbers = [await store.holder(f"{CCCD}|{number}") for number in "123456"]
    names = [(kind, name) for kind in TYPES for name in IDS]
    tags = [await store.tags(name) for name in names]
    history = await store.history(None, None, count=1000)
    return [history, await store.read_many(names), numbers, tags]


async def _found(store: Store, search: Search) -> list[Any]:
    """Return everything that a store says of a search; all pages are turned, and back again."""
    pages = await walk(store, search)
    back = await walk_back(store, search, pages[-1])
    assert [ids(page) for page in reversed(back)] == [ids(page) for page in pages[:-1]]
    counts = [await store.count(kind, where) for kind, where in search.by_type]
    seen = [
        [await store.visible((kind, name), where) for name in IDS] for kind, where in search.by_type
    ]
    versions = [(v.resource_type, v.resource_id) for page in pages for v in page.versions]
    return [versions, [page.total for page in pages], counts, seen]


async def _agree(measure: Store, others: dict[str, Store], searches: list[Search]) -> None:
    """Assert that all find the same, some searches at once: one waits, another is judged."""
    few = asyncio.Semaphore(AT_ONCE)

    async def is_agreed_on(search: Search) -> None:
        async with few:
            answer = await _found(measure, search)
            for name, store in others.items():
                assert await _found(store, search) == answer, (name, search)

    async with asyncio.TaskGroup() as searching:
        for search in searches:
            searching.create_task(is_agreed_on(search))


@pytest.mark.parametrize("seed", SEEDS)
async def test_all_stores_agree(seed: int, tmp_path: Path) -> None:
    """After any commits every store refuses, keeps, finds, counts and orders the same."""
    draw = Draw(seed)
    measure = MemoryStore()
    async with contextlib.AsyncExitStack() as stack:
        others: dict[str, Store] = {}
        for name, opens in HERE.items():
            if name != "memory":
                others[name] = await opens(tmp_path)
                stack.push_async_callback(others[name].close)

        for number in range(COMMITS):
            batch = await _batch(draw, measure, START + number * SECOND)
            expected = await _committed(measure, batch)
            for name, store in others.items():
                assert await _committed(store, batch) == expected, name
        for name, store in others.items():
            assert await _kept(store) == await _kept(measure), name
        await _agree(measure, others, [draw.search(number % 4) for number in range(SEARCHES)])
