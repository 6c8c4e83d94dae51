"""A store divided over shards: what leads there over a replica set, all of it over a cluster."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import pytest_asyncio

from fhir_server.model.outcome import Unavailable
from fhir_server.store.mongo import sharding
from fhir_server.store.mongo.connect import Opened, open_database
from fhir_server.store.mongo.doctor import examine
from fhir_server.store.mongo.schema import HEAD, SHARD_KEYS
from fhir_server.store.mongo.sharding import MARK, commands, fill_places, shard
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.port import Batch
from tests.contracts.making import gone, made, patient
from tests.data import ROOT
from tests.mongo.databases import pooled_url

PATIENTS = 25


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The address of a database of this test's own."""
    return pooled_url(tmp_path)


@pytest_asyncio.fixture
async def store(url: str) -> AsyncIterator[MongoStore]:
    """A store with some Patients, one of them deleted."""
    found = await MongoStore.open(url)
    await found.commit(Batch(writes=[made(patient(f"p{n}")) for n in range(PATIENTS)]))
    await found.commit(Batch(writes=[gone("Patient", "p0", 2)]))
    yield found
    await found.close()


@pytest_asyncio.fixture
async def opened(url: str, store: MongoStore) -> AsyncIterator[Opened]:
    """The same database, without the store's own ways."""
    found = await open_database(url)
    yield found
    await found.close()


async def _places(opened: Opened) -> dict[str, str]:
    return {one["_id"]: one["k"] async for one in opened.collections.place.find()}


async def _keys(opened: Opened) -> dict[str, str]:
    return {one["_id"]: one["k"] async for one in opened.collections.resource.find()}


async def _is_kept(opened: Opened) -> bool:
    head = await opened.collections.meta.find_one({"_id": HEAD})
    assert head is not None
    return bool(head["sharded"])


# --- where each resource lives ---------------------------------------------------------------


async def test_every_resource_has_its_place_and_commits_keep_it(
    store: MongoStore, opened: Opened
) -> None:
    """Deleted ones too; and what is made afterwards is placed by its commit."""
    assert await fill_places(opened) == PATIENTS
    assert await _is_kept(opened)

    await store.commit(Batch(writes=[made(patient("later"))]))

    assert await _places(opened) == await _keys(opened)
    assert "Patient/later" in await _places(opened)


async def test_filling_again_does_nothing(store: MongoStore, opened: Opened) -> None:
    """What is kept by commits is not filled a second time."""
    await fill_places(opened)
    before = await _places(opened)

    assert await fill_places(opened) == 0
    assert await _places(opened) == before


async def test_filling_goes_on_where_it_was_stopped(
    store: MongoStore, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after each chunk, changed meanwhile, and begun again: all have their place."""
    monkeypatch.setattr(sharding, "_CHUNK", 10)

    class Stopped(Exception):
        pass

    def stop(_done: int) -> None:
        raise Stopped

    filled = 0
    for version in range(2, 5):
        if await _is_kept(opened):
            break
        with pytest.raises(Stopped):
            await fill_places(opened, stop)
        mark = await opened.collections.meta.find_one({"_id": MARK})
        assert mark is not None
        assert mark["after"]["Patient"] > filled
        filled = mark["after"]["Patient"]
        # What is filled already changes, and something new comes.
        again = made(patient("p1", active=version % 2 == 0), version)
        await store.commit(Batch(writes=[again, made(patient(f"new{version}"))]))

    await fill_places(opened)

    assert await _is_kept(opened)
    assert await _places(opened) == await _keys(opened)


async def test_places_are_whole_when_others_commit_meanwhile(
    store: MongoStore, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commits and chunks take turns: nothing that is made meanwhile is left out."""
    monkeypatch.setattr(sharding, "_CHUNK", 5)

    async def make() -> None:
        for number in range(30):
            await store.commit(Batch(writes=[made(patient(f"beside{number}"))]))

    await asyncio.gather(make(), fill_places(opened))

    assert await _places(opened) == await _keys(opened)
    assert len(await _places(opened)) == PATIENTS + 30


async def test_a_sharded_store_answers_as_before(
    store: MongoStore, opened: Opened, url: str
) -> None:
    """Who opens it afterwards looks the places up."""
    before = [await store.read("Patient", f"p{number}") for number in range(PATIENTS + 1)]
    await fill_places(opened)

    after = await MongoStore.open(url)

    assert [await after.read("Patient", f"p{n}") for n in range(PATIENTS + 1)] == before
    await after.close()


# --- the cluster -----------------------------------------------------------------------------


def test_the_commands_shard_each_collection_by_its_key() -> None:
    """An index of the key is made first, where it is not the one that every collection has."""
    given = [one.command for one in commands("fhir")]

    assert given[0] == {"enableSharding": "fhir"}
    sharded = {one["shardCollection"]: one["key"] for one in given if "shardCollection" in one}
    assert sharded == {f"fhir.{name}": dict(keys) for name, keys in SHARD_KEYS.items()}
    indexed = {one["createIndexes"] for one in given if "createIndexes" in one}
    assert indexed == set(SHARD_KEYS) - {"ledger"}


async def test_a_replica_set_is_refused(url: str) -> None:
    """The refusal says how it becomes a cluster's first shard; nothing is changed."""
    with pytest.raises(Unavailable, match=r"--shardsvr.*sh\.addShard"):
        await shard(url, lambda _: None)

    opened = await open_database(url)
    assert not await _is_kept(opened)
    await opened.close()


async def test_the_command_reads_the_address_where_nobody_sees_it(url: str) -> None:
    """It stands on standard input; the refusal is one line, and the exit status 1."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fhir_server.store.mongo.sharding", cwd=ROOT,
        stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await process.communicate(f"{url}\n".encode())

    assert process.returncode == 1
    assert said.decode().startswith("this is a replica set, not a cluster")


async def test_a_cluster_is_sharded_while_it_is_served(sharded_server: str) -> None:
    """Over a mongos: existing resources stay, new ones are made, and the doctor says so."""
    url = urlsplit(sharded_server)._replace(path=f"/sharding_{uuid4().hex}").geturl()
    store = await MongoStore.open(url)
    said: list[str] = []
    try:
        await store.commit(Batch(writes=[made(patient(f"p{n}")) for n in range(PATIENTS)]))
        await shard(url, said.append)
        await store.commit(Batch(writes=[made(patient("later"))]))
        await shard(url, said.append)

        for name in (*(f"p{n}" for n in range(PATIENTS)), "later"):
            assert await store.read("Patient", name) is not None
        facts = {fact.name: fact for fact in await examine(url)}
        assert facts["sharded"].text == "yes"
        assert any(line.startswith("shardCollection") for line in said)
    finally:
        await store.close()
        opened = await open_database(url)
        await opened.client.drop_database(opened.address.database)
        await opened.close()
