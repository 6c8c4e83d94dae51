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
from statistics import median
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
ROUNDS: Final = 5
_TRANSACTIONS: Final = 320
_READS: Final = 4_000

Client = AsyncMongoClient[Document]


@dataclass(frozen=True, slots=True)
class Written:
    """What the store has written for one 20-entry transaction, as `resource` and `audit` have it.

    No resource of it holds a unique key, so there is nothing else but the numbers in the head.
    """

    resources: list[Document]
    audit: list[Document]


Rates = dict[str, float]
"""How often a second each kind of work was done, in one round."""

APART, GROUPED = "20-entry transactions", "20-entry transactions, grouped"
READ, READ_BY_MANY, AUDITED = "read", "read by many", "read, audited"


@dataclass(frozen=True, slots=True)
class Served:
    """How the server is asked over HTTP, by the same load as the rest of the bench.

    Attributes:
        transactions: Sends so many transactions of 20 entries; how many were answered a second.
        reads: So many reads by id, by so many clients; the same.
    """

    transactions: Callable[[int], Awaitable[float]]
    reads: Callable[[int, int], Awaitable[float]]


@dataclass(frozen=True, slots=True)
class Round:
    """What the server and the driver alone did in a second, within the same half minute."""

    server: Rates
    driver: Rates


async def beside(url: str, served: Served, scale: float) -> list[Round]:
    """Return rounds of the server and of the driver alone, which take turns.

    The machine's speed swings by more than what is measured, from one minute to the next: so a
    ratio is of what ran within the same half minute, and the median of several is what counts.

    Args:
        url: The address of a store that has taken the load of `make bench`; databases are made
            beside its own, and dropped.
        served: The server over it.
        scale: Of the numbers of requests.
    """
    address = address_of(url)
    reads = max(MANY_TASKS, int(_READS * scale))
    async with client_of(address) as client:
        source = Collections(client[address.database])
        written = (await _written(source))[: max(TASKS, int(_TRANSACTIONS * scale))]
        assert len(written) >= TASKS, f"the store holds {len(written)} transactions of 20 entries"
        names = [one.resources[0]["_id"] for one in written]
        names = (names * (reads // len(names) + 1))[:reads]
        rounds = []
        for _ in range(ROUNDS):
            server = {
                APART: await served.transactions(len(written)),
                READ: await served.reads(reads, TASKS),
            }
            driver = await _driver(client, address.database, source, written, names)
            server[READ_BY_MANY] = await served.reads(reads, MANY_TASKS)
            rounds.append(Round(server, driver))
        return rounds


async def _driver(
    client: Client, database: str, source: Collections, written: list[Written], names: list[str]
) -> Rates:
    """Return what the driver alone does in one round."""
    majority = source.resource.with_options(read_concern=ReadConcern("majority"))
    rates = {}
    async with _empty(client, f"{database}_apart") as to:
        rates[APART] = await _rate(written, TASKS, lambda one: _commit(client, to, [one]))
    groups = [written[at : at + TASKS] for at in range(0, len(written), TASKS)]
    async with _empty(client, f"{database}_grouped") as to:
        each = await _rate(groups, 1, lambda group: _commit(client, to, group))
    rates[GROUPED] = each * len(written) / len(groups)
    rates[READ] = await _rate(names, TASKS, lambda name: _read(majority, name))
    async with _empty(client, f"{database}_audited") as to:
        entry = written[0].audit[0]
        rates[AUDITED] = await _read_audited(client, majority, to, names, entry)
    rates[READ_BY_MANY] = await _rate(names, MANY_TASKS, lambda name: _read(majority, name))
    return rates


def lines(rounds: list[Round]) -> list[str]:
    """Return medians of the rounds, and of each round's ratio with its extremes."""

    def row(what: str, ours: str, theirs: str, times: int = 1) -> str:
        ratios = sorted(one.server[ours] / one.driver[theirs] for one in rounds)
        server = median(one.server[ours] for one in rounds) * times
        driver = median(one.driver[theirs] for one in rounds) * times
        return (
            f"| {what} | {server:,.0f} | {driver:,.0f} | {median(ratios):.2f} "
            f"({ratios[0]:.2f} to {ratios[-1]:.2f}) |"
        )

    entries = "20-entry transactions, resources/s"
    return [
        "The whole server over HTTP, beside PyMongo's asyncio client alone, 16 at once where no",
        "other number stands, with the same documents, indexes and concerns, over three members;",
        f"both in turn, medians of {len(rounds)} rounds:",
        "",
        "| Work | server | driver alone | ratio |",
        "| --- | --- | --- | --- |",
        row(f"{entries}; driver: each a transaction", APART, APART, ENTRIES),
        row(f"{entries}; driver: 16 in a transaction", APART, GROUPED, ENTRIES),
        row("read by id /s, 16 clients; driver: find by _id, no audit", READ, READ),
        row("read by id /s, 16 clients; driver: and 16 audit entries a transaction", READ, AUDITED),
        row("read by id /s, 64 clients; driver: find by _id, no audit", *[READ_BY_MANY] * 2),
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
