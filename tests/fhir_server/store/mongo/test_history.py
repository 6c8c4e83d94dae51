"""History of a type or of the whole store: what is asked for, and little else, is looked at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fhir_server.store.mongo import reads
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.port import Batch, Page, WorkBudgetExceeded
from tests.contracts.making import START, made, patient
from tests.mongo.commands import open_counted
from tests.mongo.databases import open_mongo

MANY = 1_000
SECOND = 1_000_000


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[MongoStore]:
    """A store in which many resources were changed, one after another, and then some again."""
    opened = await open_mongo(tmp_path)
    for version in (1, 2):
        writes = [
            made(patient(f"p{n}"), version, at=START + (MANY * (version - 1) + n) * SECOND)
            for n in range(MANY)
        ]
        await opened.commit(Batch(writes=writes))
    late = [made(patient(f"p{n}"), 3, at=START + (2 * MANY + n) * SECOND) for n in range(5)]
    await opened.commit(Batch(writes=late))
    yield opened
    await opened.close()


async def _looked_at(store: MongoStore, **asked: Any) -> tuple[Page, int]:
    """Return the history that is asked for, and how many versions the database read for it."""
    database = store._collections.database
    await database.command({"profile": 2})
    try:
        page = await store.history(count=20, **asked)
    finally:
        await database.command({"profile": 0})
    found = database["system.profile"].find({"op": "query"})
    read = sum([one["docsExamined"] async for one in found if one["command"].get("limit") == 21])
    await database["system.profile"].drop()
    return page, read


@pytest.mark.parametrize("resource_type", [None, "Patient"])
async def test_history_since_a_moment_reads_what_was_made_since(
    store: MongoStore, resource_type: str | None
) -> None:
    """Asking again and again for what is new costs what is new, not the whole history."""
    since = START + 2 * MANY * SECOND

    page, read = await _looked_at(store, resource_type=resource_type, resource_id=None, since=since)

    assert [one.resource_id for one in page.versions] == ["p4", "p3", "p2", "p1", "p0"]
    assert 5 <= read < 50


@pytest.mark.parametrize("resource_type", [None, "Patient"])
async def test_history_since_long_ago_is_a_walk(
    store: MongoStore, resource_type: str | None
) -> None:
    """A page of much reads the page alone."""
    page, read = await _looked_at(
        store, resource_type=resource_type, resource_id=None, since=START + SECOND
    )

    assert len(page.versions) == 20
    assert page.next is not None
    assert 20 <= read < 100


@pytest.mark.parametrize("name", [(None, None), ("Patient", None), ("Patient", "p1")])
async def test_history_has_the_time_of_a_search(
    tmp_path: Path, name: tuple[str | None, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is told how long it may look for versions, and past it the store gives up."""
    store, commands = await open_counted(tmp_path, monkeypatch)
    await store.commit(Batch(writes=[made(patient("p1"))]))
    long_ago = (START - 2 * SECOND, START - SECOND)
    commands.clear()

    assert (await store.history(*name, since=START + SECOND)).versions == ()
    assert (await store.history(*name, at=long_ago)).versions == ()
    within = [
        most
        for (_, collection), most in zip(commands.sent, commands.within, strict=True)
        if collection in {"resource", "history"}
    ]
    assert len(within) == 4
    assert all(most is not None and 0 < most <= reads.SECONDS * 1_000 for most in within)

    monkeypatch.setattr(reads, "SECONDS", -1.0)
    monkeypatch.setattr(reads, "FEW", -1)  # of few questions it is the database that takes long
    with pytest.raises(WorkBudgetExceeded):
        await store.history(*name, at=long_ago)
    monkeypatch.undo()
    assert len((await store.history(*name)).versions) == 1
    await store.close()
