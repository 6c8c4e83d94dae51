"""The floor of the MongoDB store: the driver alone, with the documents that the store has written.

They go into collections made as the store's are, with its indexes, in transactions with its
concerns; nothing is parsed, validated, authorised, numbered, chained or checked, nobody waits for
the turn at `meta.head`, and there is no HTTP. So a ratio compares the whole server, asked over HTTP
by another process, with PyMongo's bare asyncio client in one process.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from pymongo import AsyncMongoClient, WriteConcern
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.read_concern import ReadConcern

from fhir_server.store.mongo.address import address_of
from fhir_server.store.mongo.connect import client_of
from fhir_server.store.mongo.schema import Collections, Document, prepare
from fhir_server.store.mongo.versions import SHOWN

TASKS: Final = 16
MANY_TASKS: Final = 64
ENTRIES: Final = 20
_WRITE: Final = WriteConcern("majority", wtimeout=10_000, j=True)
_READ: Final = ReadConcern("snapshot")
_MOST_READS: Final = 12_000

Client = AsyncMongoClient[Document]


@dataclass(frozen=True, slots=True)
class Written:
    """What the store has written for one 20-entry transaction, as `resource` and `audit` have it.

    No resource of it holds a unique key, so there is nothing else but the numbers in the head.
    """

    resources: list[Document]
    audit: list[Document]


@dataclass(frozen=True, slots=True)
class Floor:
    """What the driver alone does in a second.

    Attributes:
        apart: Transactions of 20 entries, one in a database transaction, 16 of them at once.
        grouped: The same, 16 in a database transaction, one after another: as the store groups.
        read: Resources by their ids, 16 at once.
        read_by_many: The same, 64 at once.
        read_audited: The same, 16 at once, and then the entries of the audit in one transaction.
    """

    apart: float
    grouped: float
    read: float
    read_by_many: float
    read_audited: float


async def measured(url: str) -> Floor:
    """Return the floor beside a store that has taken the load of `make bench`.

    Args:
        url: The store's address; databases are made beside its own, and dropped.
    """
    address = address_of(url)
    async with client_of(address) as client:
        source = Collections(client[address.database])
        written = await _written(source)
        assert len(written) >= TASKS, f"the store holds {len(written)} transactions of 20 entries"
        async with _empty(client, f"{address.database}_apart") as to:
            apart = await _rate(written, TASKS, lambda one: _commit(client, to, [one]))
        groups = [written[at : at + TASKS] for at in range(0, len(written), TASKS)]
        async with _empty(client, f"{address.database}_grouped") as to:
            each = await _rate(groups, 1, lambda group: _commit(client, to, group))
        grouped = each * len(written) / len(groups)
        names = [one.resources[0]["_id"] for one in written]
        names = (names * (_MOST_READS // len(names) + 1))[:_MOST_READS]
        majority = source.resource.with_options(read_concern=ReadConcern("majority"))
        read = await _rate(names, TASKS, lambda name: _read(majority, name))
        by_many = await _rate(names, MANY_TASKS, lambda name: _read(majority, name))
        async with _empty(client, f"{address.database}_audited") as to:
            audited = await _read_audited(client, majority, to, names, written[0].audit[0])
        return Floor(apart, grouped, read, by_many, audited)


def lines(floor: Floor, transactions: float, reads: float, reads_by_many: float) -> list[str]:
    """Return the floor, and what the server does of it.

    Args:
        floor: As measured.
        transactions: What the server did of 20 entries in a second.
        reads: What it read by id in a second for 16 clients.
        reads_by_many: And for 64.
    """

    def row(what: str, ours: float, theirs: float) -> str:
        return f"| {what} | {ours:,.0f} | {theirs:,.0f} | {ours / theirs:.2f} |"

    written, read = transactions * ENTRIES, "read by id /s"
    entries = "20-entry transactions, resources/s"
    return [
        "The whole server over HTTP, beside PyMongo's asyncio client alone, 16 at once where no",
        "other number stands, with the same documents, indexes and concerns, over three members:",
        "",
        "| Work | server | driver alone | ratio |",
        "| --- | --- | --- | --- |",
        row(f"{entries}; driver: each a transaction", written, floor.apart * ENTRIES),
        row(f"{entries}; driver: 16 in a transaction", written, floor.grouped * ENTRIES),
        row(f"{read}, 16 clients; driver: find by _id, no audit", reads, floor.read),
        row(f"{read}, 64 clients; driver: the same", reads_by_many, floor.read_by_many),
        row(
            f"{read}, 16 clients; driver: and 16 audit entries a transaction",
            reads,
            floor.read_audited,
        ),
    ]


async def on_disk(url: str) -> int:
    """Return the bytes of a store's collections and indexes on one member."""
    address = address_of(url)
    async with client_of(address) as client:
        await client.admin.command("fsync")
        stats = await client[address.database].command("dbStats")
    return int(stats["storageSize"] + stats["indexSize"])


@asynccontextmanager
async def _empty(client: Client, name: str) -> AsyncIterator[Collections]:
    """Give a new database with the store's collections and indexes; drop it at the end."""
    await client.drop_database(name)
    made = Collections(client[name])
    await prepare(made, bytes(32))
    try:
        yield made
    finally:
        await client.drop_database(name)


async def _written(source: Collections) -> list[Written]:
    """Return what was written for each transaction of a Patient and nineteen Observations."""
    of: dict[str, list[Document]] = {}
    live = source.resource.find({"D": {"$exists": False}}).sort([("r", 1)])
    async for document in live:
        of.setdefault(document["k"], []).append(document)
    found = []
    for patient, resources in of.items():
        numbers = [one["r"] for one in resources]
        if len(resources) != ENTRIES or numbers[-1] - numbers[0] != ENTRIES - 1:
            continue
        # The first access to a Patient is the one that made it.
        entry = await source.audit.find({"p": patient}).sort([("_id", 1)]).limit(1).to_list()
        found.append(Written(resources, entry))
    return found


async def _rate(items: Sequence[Any], tasks: int, work: Callable[[Any], Awaitable[None]]) -> float:
    """Return how many a second are done by so many tasks."""
    left = iter(items)

    async def task() -> None:
        for item in left:
            await work(item)

    began = time.perf_counter()
    await asyncio.gather(*(task() for _ in range(tasks)))
    return len(items) / (time.perf_counter() - began)


async def _commit(client: Client, to: Collections, group: Sequence[Written]) -> None:
    resources = [document for one in group for document in one.resources]
    entries = [document for one in group for document in one.audit]
    async with client.start_session() as session:
        await session.start_transaction(read_concern=_READ, write_concern=_WRITE)
        await to.resource.insert_many(resources, session=session)
        await to.audit.insert_many(entries, session=session)
        await session.commit_transaction()


async def _read(resource: AsyncCollection[Document], name: str) -> None:
    document = await resource.find_one({"_id": name}, SHOWN)
    assert document is not None, name


async def _read_audited(
    client: Client,
    resource: AsyncCollection[Document],
    to: Collections,
    names: Sequence[str],
    entry: Document,
) -> float:
    groups = range(0, len(names), TASKS)

    async def read(at: int) -> None:
        some = names[at : at + TASKS]
        await asyncio.gather(*(_read(resource, name) for name in some))
        entries = [{**entry, "_id": at + number} for number in range(len(some))]
        async with client.start_session() as session:
            await session.start_transaction(read_concern=_READ, write_concern=_WRITE)
            await to.audit.insert_many(entries, session=session)
            await session.commit_transaction()

    return await _rate(groups, 1, read) * len(names) / len(groups)
