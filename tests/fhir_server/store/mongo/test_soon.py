"""A read that is expected: looked at with the edition, and only where it is of that edition."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.port import Batch, Version
from fhir_server.store.soon import soon
from tests.contracts.making import made, patient
from tests.mongo.commands import Commands, open_counted
from tests.mongo.databases import open_mongo

NAME = ("Patient", "p")
LOOKED = [("aggregate", "meta")]
EDITION = [("find", "meta")]
READ = [("find", "resource")]


def version(number: int) -> Batch:
    """Return the commit of one version of the Patient."""
    return Batch([made(patient("p", gender="male"), version_id=number)])


@pytest_asyncio.fixture
async def counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[MongoStore, Commands]]:
    """A store with one Patient, of which the edition is known, and what it sends from now on."""
    store, commands = await open_counted(tmp_path, monkeypatch)
    await store.commit(version(1))
    await store.edition()
    await store.edition()
    commands.clear()
    yield store, commands
    await store.close()


@pytest_asyncio.fixture
async def other(tmp_path: Path) -> AsyncIterator[MongoStore]:
    """Another server's store, over the same database."""
    opened = await open_mongo(tmp_path)
    yield opened
    await opened.close()


async def asked(store: MongoStore, *names: tuple[str, str]) -> list[Version | None]:
    """Return what a request reads that is expected to read the first."""
    with soon(names[0]):
        await store.edition()
        return [await store.read(*name) for name in names]


def numbers(versions: list[Version | None]) -> list[int | None]:
    """Return the numbers of versions."""
    return [one and one.version_id for one in versions]


async def test_an_expected_read_is_one_question(counted: tuple[MongoStore, Commands]) -> None:
    """The same version as by a read of its own; whoever reads it again asks anew."""
    store, commands = counted

    first, again = await asked(store, NAME, NAME)

    assert commands.sent == LOOKED + READ
    assert first == again
    assert first is not None
    assert first.version_id == 1


async def test_what_is_not_there_is_not_there(counted: tuple[MongoStore, Commands]) -> None:
    """Nor is it asked for twice."""
    store, commands = counted

    assert await asked(store, ("Patient", "nobody")) == [None]
    assert commands.sent == LOOKED


async def test_another_resource_is_read_by_itself(counted: tuple[MongoStore, Commands]) -> None:
    """What was expected is not taken for it."""
    store, commands = counted

    assert numbers(await asked(store, ("Patient", "nobody"), NAME)) == [None, 1]
    assert commands.sent == LOOKED + READ


async def test_requests_at_once_are_one_question(counted: tuple[MongoStore, Commands]) -> None:
    """Each has its own resource, of all that were looked at together."""
    store, commands = counted
    await store.commit(Batch([made(patient(f"p{number}")) for number in range(5)]))
    await store.edition()
    await store.edition()
    commands.clear()

    found = await asyncio.gather(*(asked(store, ("Patient", f"p{n}")) for n in range(5)))

    assert [one and one.resource_id for (one,) in found] == [f"p{number}" for number in range(5)]
    assert commands.sent == LOOKED


async def test_what_was_committed_since_the_last_edition_is_read_after_this_one(
    counted: tuple[MongoStore, Commands], other: MongoStore
) -> None:
    """Of which edition what was found is cannot be told then: it might be from before a grant."""
    store, commands = counted
    await other.commit(version(2))

    assert numbers(await asked(store, NAME)) == [2]
    assert commands.sent == LOOKED + READ

    # While others write, nothing is looked at that may have to be looked at again.
    commands.clear()
    assert numbers(await asked(store, NAME)) == [2]
    assert commands.sent == EDITION + READ
    commands.clear()
    assert numbers(await asked(store, NAME)) == [2]
    assert commands.sent == LOOKED


async def test_what_is_committed_after_the_edition_is_seen_by_whoever_looks_again(
    counted: tuple[MongoStore, Commands], other: MongoStore
) -> None:
    """What a request was shown is of the edition that it asked for; then it asks anew."""
    store, _ = counted
    with soon(NAME):
        await store.edition()
        await other.commit(version(2))

        seen = [await store.read(*NAME), await store.read(*NAME)]

    assert numbers(seen) == [1, 2]


async def test_every_expected_read_shows_what_was_answered_before_it_began(
    counted: tuple[MongoStore, Commands], other: MongoStore
) -> None:
    """While another server writes, no request is shown less than was answered when it came."""
    store, _ = counted
    answered, is_done = 1, False

    async def write() -> None:
        nonlocal answered, is_done
        for number in range(2, 30):
            await other.commit(version(number))
            answered = number
            await asyncio.sleep(0.01 if number % 3 else 0)
        is_done = True

    async def read() -> None:
        while not is_done:
            least = answered
            (seen,) = await asked(store, NAME)
            assert seen is not None
            assert seen.version_id >= least

    await asyncio.gather(write(), *(read() for _ in range(4)))
