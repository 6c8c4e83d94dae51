"""A costly search ends in the engine itself once the client that asked for it has left.

Each is asked whole first: what ended halfway was ended, and did not come to its end by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import pytest
from pymongo import AsyncMongoClient

from fhir_server.model import codec
from fhir_server.rest import leaving
from fhir_server.store import work
from fhir_server.store.mongo import reads
from fhir_server.store.port import Batch, Store
from fhir_server.store.sqlite.store import ON_LOOP, SqliteStore
from tests.conftest import World
from tests.contracts.making import START, made, patient
from tests.contracts.test_work import served
from tests.mongo.databases import open_mongo, pooled_url

FAR: Final = 10**12
"""So many steps, searches or seconds that nothing but the client's leaving ends one."""
WITHIN: Final = 60
"""Seconds in which a thing that is waited for must have come."""
TEXTS: Final = ",".join(f"q{number}" for number in range(2000))
QUERY: Final = (("name:contains", TEXTS), ("_total", "none"))
"""Each of the texts, which nobody has, is looked for in each name."""


@pytest.fixture(autouse=True)
def _patient_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "SOON", 0.01)
    monkeypatch.setattr(work, "MOST", float(FAR))
    monkeypatch.setattr(reads, "SECONDS", 300.0)


async def _fill(store: Store, count: int) -> None:
    for first in range(0, count, 250):
        people = [
            patient(f"p{number}", name=[{"family": f"Họ {number}", "given": [f"Tên {number * 7}"]}])
            for number in range(first, min(first + 250, count))
        ]
        await store.commit(Batch(writes=[made(one, at=START + first) for one in people]))


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WITHIN):
        while not await holds():  # noqa: ASYNC110 - neither engine tells of it
            await asyncio.sleep(0.005)


@contextmanager
def _asking(port: int) -> Iterator[Callable[[], Awaitable[None]]]:
    """Give what asks over a bare connection; it is gone at the end."""
    writers: list[asyncio.StreamWriter] = []
    form = urlencode(QUERY).encode()

    async def ask() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        writer.write(
            b"POST /fhir/Patient/_search HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer system\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(form), form)
        )
        await writer.drain()

    yield ask
    for writer in writers:
        writer.transport.abort()


async def _is_given_up(world: World) -> bool:
    """Return whether the AuditEvent of one that nobody was answered is there."""
    entries = await world.store.audit(limit=5)
    return any(499 in codec.loads(b'{"facts":%b}' % one.body)["facts"] for one in entries)


@asynccontextmanager
async def _running(url: str) -> AsyncIterator[Callable[[], Awaitable[int]]]:
    """Give what tells for how many microseconds the search has run in the database; 0: it is not.

    It looks at the operations of all clients of this one database, by a client of its own.
    """
    name = urlsplit(url).path.strip("/")
    asked = [
        {"$currentOp": {"allUsers": True}},
        {"$match": {"active": True, "op": "query", "ns": f"{name}.resource"}},
    ]
    async with AsyncMongoClient[dict[str, Any]](url) as client:

        async def longest() -> int:
            found = await (await client.admin.aggregate(asked)).to_list()
            return max((one["microsecs_running"] for one in found), default=0)

        yield longest


async def test_a_statement_of_sqlite_ends(tmp_path: Path) -> None:
    """Its thread does no further step, and less than half of those that the answer takes."""
    store = await SqliteStore.open(tmp_path / "fhir.db", work_budget=FAR)
    world = World(store=store)
    await _fill(store, 1500)

    def done() -> int:
        readers = [store._reader, *store._readers]
        return sum(one.searcher.budget.done for one in readers)

    before = done()
    await world.perform("search-type", resource_type="Patient", query=QUERY)
    whole = done() - before

    async with served(world) as port:
        before = done()

        async def is_in_its_thread() -> bool:  # noqa: RUF029 - asked as the others are
            return done() > before + 2 * ON_LOOP

        with _asking(port) as ask:
            await ask()
            await _until(is_in_its_thread)
        await _until(lambda: _is_given_up(world))
        spent = done() - before
        await asyncio.sleep(0.2)
        assert done() - before == spent
    await store.close()

    assert 2 * ON_LOOP < spent < whole / 2


async def test_a_query_of_mongodb_ends(tmp_path: Path) -> None:
    """The database no longer is at it, in less than half of the time that the answer takes."""
    store = await open_mongo(tmp_path)
    world = World(store=store)
    await _fill(store, 500)
    began = time.monotonic()
    await world.perform("search-type", resource_type="Patient", query=QUERY)
    whole = time.monotonic() - began

    async with _running(pooled_url(tmp_path)) as longest, served(world) as port:

        async def is_at_it() -> bool:
            return await longest() > 0

        async def is_not() -> bool:
            return await longest() == 0

        with _asking(port) as ask:
            await ask()
            await _until(is_at_it)
        began = time.monotonic()
        await _until(is_not)
        took = time.monotonic() - began
        await _until(lambda: _is_given_up(world))
        assert await longest() == 0
    await store.close()

    assert took < whole / 2
