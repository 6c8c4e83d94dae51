"""Processes at the same work over one store: one does it, the others wait or are refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from fhir_server.app import META, Composition, Serving, now
from fhir_server.prepare import prepare
from fhir_server.reindex import reindex
from fhir_server.settings import load_settings
from fhir_server.store.leases import Leases
from fhir_server.stores import Refused, open_store
from tests.mongo.databases import pooled_url
from tests.server import ENGINES

Opens = Callable[[], Coroutine[Any, Any, Composition]]


@pytest.fixture(params=ENGINES)
async def process(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Opens]:
    """Opens one store, again for each process that there is to be."""
    address = f"sqlite:///{tmp_path}/fhir.db"
    if request.param == "mongodb":
        address = pooled_url(tmp_path)
    monkeypatch.setenv("FHIR_SERVER_STORE", address)
    monkeypatch.setenv("FHIR_SERVER_KEYS", str(tmp_path / "keys"))
    settings = load_settings()
    async with AsyncExitStack() as stack:

        async def one() -> Composition:
            store = await open_store(settings)
            stack.push_async_callback(store.close)
            return Composition(settings, store, "http://127.0.0.1:8080")

        yield one


async def test_servers_that_start_together_make_the_demo_people_once(process: Opens) -> None:
    """Three first starts at the same moment: five people, one version each, and one first start."""
    compositions = [await process() for _ in range(3)]

    starts = await asyncio.gather(*(prepare(one, Serving(demo=True)) for one in compositions))

    assert len(set(starts)) == 1
    store = compositions[0].store
    history = await store.history("Patient", None, count=50)
    assert await store.count("Patient") == 5
    assert len({version.resource_id for version in history.versions}) == 5
    made = [version for version in history.versions if version.version_id == 1]
    assert len(made) == 5
    visits = await store.scan("submission", limit=1000)
    dossiers = await store.scan("dossier", limit=1000)
    assert len(visits) == len({key for key, _ in visits}) > 0
    assert all(b'"unchanged"' not in receipt for _, receipt in visits), "a visit was sent twice"
    assert len(dossiers) > 0


async def test_a_start_after_one_that_died_half_way_makes_the_rest(process: Opens) -> None:
    """Who made the demo people has died with the lease: the next start takes it over."""
    one, other = await process(), await process()
    dead = "boot/pid:[1]/1/1"
    assert await Leases(one.store, lambda: now().replace(year=2020), by=dead).take("demo")

    assert await prepare(other, Serving(demo=True)) is not None

    assert await other.store.get(META, "demo-visits") == b"made"


async def test_one_reindexes_and_a_second_is_refused(process: Opens) -> None:
    """The second says so, and does it when the first has ended."""
    one, other = await process(), await process()
    await prepare(one, Serving(demo=True))
    refused: list[str] = []

    async def second() -> None:
        try:
            await reindex(other, "Patient", None, lambda _done, _of: None)
        except Refused as refusal:
            refused.append(str(refusal))

    tasks: list[asyncio.Task[None]] = []

    def said(_done: int, _of: int) -> None:
        tasks.append(asyncio.create_task(second()))

    done = await reindex(one, "Patient", None, said)
    await asyncio.gather(*tasks)

    assert done == 5
    assert refused
    assert refused[0].startswith("Another reindex of this store is running.")
    assert await reindex(other, "Patient", None, lambda _done, _of: None) == 5
