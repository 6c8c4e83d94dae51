"""What is at work with a store ends, also where a cancellation is not heard at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fhir_server import chores
from fhir_server.app import Composition
from fhir_server.settings import load_settings
from fhir_server.store.memory import MemoryStore
from fhir_server.store.mongo import serving
from fhir_server.store.mongo.calls import Calls
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.stopping import stopped
from tests.mongo.databases import open_mongo

WITHIN = 20


class Deaf:
    """Goes on after a cancellation, as MongoDB's driver does with another connection; but once."""

    def __init__(self) -> None:
        self.has_heard = False
        self.has_begun = asyncio.Event()

    async def at_work(self) -> None:
        """Do something that takes longer than a test."""
        self.has_begun.set()
        try:
            await asyncio.sleep(WITHIN * 10)
        except asyncio.CancelledError:
            if self.has_heard:
                raise
            self.has_heard = True


async def test_a_task_is_told_until_it_ends() -> None:
    """One that has taken the first time for something else."""
    deaf = Deaf()

    async def forever() -> None:
        while True:
            await deaf.at_work()

    task = asyncio.create_task(forever())
    await deaf.has_begun.wait()
    async with asyncio.timeout(WITHIN):
        await stopped(task)

    assert deaf.has_heard
    assert task.cancelled()
    await stopped(task)


async def test_a_lease_is_let_go_of_as_it_is_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that stopped at that moment hung, for ever."""
    monkeypatch.setattr(serving, "RENEWED", 0.0)
    store = await open_mongo(tmp_path)
    assert isinstance(store, MongoStore)
    deaf = Deaf()
    calls = store._calls

    class DeafCalls:
        async def read(self, work: Callable[[], Awaitable[Any]]) -> Any:
            if asyncio.current_task() is not lease._renewing:
                return await calls.read(work)
            await deaf.at_work()
            return SimpleNamespace(matched_count=1)

        def end_soon(self) -> None:
            calls.end_soon()

    lease = serving.Serving(store._collections, cast("Calls", DeafCalls()))
    async with asyncio.timeout(WITHIN):
        async with lease:
            await deaf.has_begun.wait()
    assert deaf.has_heard
    assert await store._collections.meta.find_one({"_id": lease._name}) is None
    await store.close()


async def test_chores_end_as_they_are_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a server's stop does not hang on them either."""
    monkeypatch.setenv("FHIR_SERVER_KEYS", str(tmp_path / "keys"))
    monkeypatch.setattr(chores, "EVERY", 0.0)
    deaf = Deaf()

    async def look(*_: object) -> int:
        await deaf.at_work()
        return 0

    monkeypatch.setattr(chores, "resume_pending", look)
    composition = Composition(load_settings(), MemoryStore(), "http://127.0.0.1:8080")
    async with asyncio.timeout(WITHIN), chores.at_chores(composition):
        await deaf.has_begun.wait()

    assert deaf.has_heard
