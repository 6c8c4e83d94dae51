"""A server that did not run for a while, and what became of its store meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from fhir_server.model.outcome import Unavailable
from fhir_server.store.mongo import serving
from fhir_server.store.mongo.serving import Alone
from fhir_server.store.mongo.store import MongoStore
from tests.contracts.making import patient, put
from tests.mongo.databases import open_mongo

WITHIN = 30
AWAKE = 1.0
"""Seconds until a server looks again: long enough for somebody to come before."""


@pytest_asyncio.fixture
async def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MongoStore]:
    """A store whose lease is renewed seldom."""
    monkeypatch.setattr(serving, "RENEWED", AWAKE)
    opened = await open_mongo(tmp_path)
    assert isinstance(opened, MongoStore)
    yield opened
    await opened.close()


async def asleep(store: MongoStore, lease: serving.Serving) -> None:
    """Let a server's lease end, as it does where its process stands still."""
    meta = store._collections.meta
    await meta.update_one(
        {"_id": lease._name}, {"$set": {"until": datetime(2020, 1, 1, tzinfo=UTC)}}
    )


async def test_a_server_that_slept_as_a_move_began_writes_no_more(store: MongoStore) -> None:
    """What it took would be lost with the store that is moved; it says that it is not ready."""
    async with store.serving() as lease:
        await put(store, patient("before"))
        assert await store.ready()
        await asleep(store, lease)
        async with Alone(store._collections, store._calls) as alone:
            async with asyncio.timeout(WITHIN):
                while not lease.is_lost:  # noqa: ASYNC110 - another task's
                    await asyncio.sleep(0.05)

            with pytest.raises(Unavailable):
                await put(store, patient("after"))
            assert not await store.ready()
            alone.check()
        # Also when the move has ended: what it has moved is served elsewhere.
        with pytest.raises(Unavailable):
            await put(store, patient("after"))
    assert await store.count("Patient") == 1


async def test_a_server_that_slept_while_nobody_came_goes_on(store: MongoStore) -> None:
    """It has its lease again, and who wants to move the store is refused."""
    async with store.serving() as lease:
        await asleep(store, lease)
        async with asyncio.timeout(WITHIN):
            while not await lease._others("^serving/"):  # noqa: ASYNC110 - the database tells
                await asyncio.sleep(0.05)

        await put(store, patient("p1"))
        assert await store.ready()
        with pytest.raises(Unavailable, match="being served"):
            async with Alone(store._collections, store._calls):
                pass
        assert not lease.is_lost
