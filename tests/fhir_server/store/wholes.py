"""Stores that are moved in tests: where they are, what is in them, and all that one says of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, Final

from fhir_server.move import Outcome, move
from fhir_server.store.bulk import Size, Source, Target
from fhir_server.store.chain import broken_at
from fhir_server.store.mongo.bulk import MongoSource
from fhir_server.store.mongo.importing import MongoTarget
from fhir_server.store.port import AuditRecord, Batch, Name, Put, Store, Tag, Write
from fhir_server.store.sqlite.bulk import SqliteSource
from fhir_server.store.sqlite.importing import SqliteTarget
from tests.contracts.conftest import STORES
from tests.contracts.making import BASE_URL, START, gone, made, observation, patient
from tests.mongo.databases import pooled_url

SECOND: Final = 1_000_000
FAR: Final = 9_000_000_000_000_000
"""An end that no test comes to (the year 2255)."""
CCCD: Final = "http://fhir.hl7.org.vn/core/sid/cccd"

TOGETHER: Final = 100
"""Commits and questions that a large store is filled with, and asked, at once."""

BUCKETS: Final = ("apart", "apart-of", "client", "dossier", "jti", "meta", "submission-source")
SMALL: Final = Size(items=7, bytes=100_000)
"""Pages so small that a small store has many."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a store is."""

    engine: str
    folder: Path

    async def store(self) -> Store:
        """Open it as a server does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return await STORES[self.engine](self.folder)

    async def source(self, *, live: bool = False) -> Source:
        """Open it to be read whole."""
        mode = "served" if live else "alone"
        if self.engine == "mongodb":
            return await MongoSource.open(pooled_url(self.folder), mode)
        return await SqliteSource.open(self.folder / "fhir.db", mode)

    async def target(self) -> Target:
        """Open it to be written whole."""
        if self.engine == "mongodb":
            return await MongoTarget.open(pooled_url(self.folder), "alone")
        return await SqliteTarget.open(self.folder / "fhir.db", "alone")

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Store]:
        """Give the store, open as a server has it."""
        store = await self.store()
        try:
            yield store
        finally:
            await store.close()


async def moved(ours: Place, theirs: Place, *, live: bool = False, size: Size = SMALL) -> Outcome:
    """Move a store as the command does."""
    source = await ours.source(live=live)
    try:
        target = await theirs.target()
        try:
            return await move(source, target, base_url=BASE_URL, live=live, size=size)
        finally:
            await target.close()
    finally:
        await source.close()


async def fill(store: Store, people: int = 12) -> None:
    """Write people with what is measured of them: versions, deletions, tags, records, audit."""
    together = 1 if people < TOGETHER else TOGETHER
    for first in range(0, people, together):
        numbers = range(first, min(first + together, people))
        await asyncio.gather(*(_one(store, number) for number in numbers))
    await store.commit(
        Batch(
            tags=[Tag("Patient", "p1", frozenset({"shared"}), frozenset({"facility/00001"}))],
            puts=[Put("meta", "origin", b"http://127.0.0.1:8080"), Put("meta", "demo", b"2026")],
            audit=[AuditRecord(START, "nobody — không ai".encode())],
        )
    )


async def _one(store: Store, number: int) -> None:
    at = START + number * 10 * SECOND
    name = f"p{number}"
    person = patient(
        name,
        identifier=[{"system": CCCD, "value": f"{number:012d}"}],
        name=[{"text": f"Nguyễn Văn {number}"}],
        birthDate=f"19{number % 90 + 10}-03-07",
    )
    measured = [
        observation(f"o{number}-{line}", name, valueQuantity={"value": Decimal(f"{line}.{number}")})
        for line in range(3)
    ]
    await store.commit(
        Batch(
            writes=[
                made(one, at=at, method="POST", tags=[f"facility/{number % 3:05d}"])
                for one in (person, *measured)
            ],
            puts=[
                Put("dossier", f"01999|{number}", b"x" * (number % 1_000)),
                Put("submission-source", f"s{number}", Random(number).randbytes(3_000)),
                Put("jti", f"j{number}", b"1", expires=FAR + number),
            ],
            audit=[AuditRecord(at + line, b"read", (name, "p0")) for line in range(2)],
        )
    )
    await store.commit(Batch(writes=_later(number, at + SECOND)))


def _later(number: int, at: int) -> list[Write]:
    """Return a second version, a deletion, or a resource that is deleted and made again."""
    name = f"o{number}-0"
    changed = observation(name, f"p{number}", valueQuantity={"value": Decimal(99 - number)})
    match number % 3:
        case 0:
            return [made(changed, 2, at=at, method="PATCH")]
        case 1:
            return [gone("Observation", name, 2, at=at)]
        case _:
            return [gone("Observation", name, 2, at=at), made(changed, 3, at=at + SECOND)]


async def said(store: Store, buckets: tuple[str, ...] = BUCKETS) -> dict[str, Any]:
    """Return all that a store says that it holds, but for what searches find."""
    versions = [one async for page in _history(store) for one in page]
    names = sorted({(one.resource_type, one.resource_id) for one in versions})
    some = names[:: max(1, len(names) // 1_000)]
    return {
        "versions": versions,
        "current": await _each(names, store.read_many),
        "tags": await _each(names, lambda part: asyncio.gather(*map(store.tags, part))),
        "referrers": [sorted(await store.referrers(name)) for name in some],
        "holders": [await store.holder(f"{CCCD}|{number:012d}") for number in range(20)],
        "counts": [await store.count(kind) for kind in ("Patient", "Observation", "Basic")],
        "ledger": [await store.scan(bucket, limit=1_000_000) for bucket in buckets],
        "audit": [one async for one in store.audit_chain()],
        "audit of p0": await store.audit(patient="p0", limit=1_000_000),
        "audit since": await store.audit(since=START + 30 * SECOND, limit=1_000_000),
        "chain": await broken_at(store.audit_chain()),
    }


async def _each(
    names: Sequence[Name], ask: Callable[[Sequence[Name]], Awaitable[Iterable[Any]]]
) -> list[Any]:
    found: list[Any] = []
    for first in range(0, len(names), TOGETHER):
        found += await ask(names[first : first + TOGETHER])
    return found


async def _history(store: Store) -> AsyncIterator[Any]:
    page = await store.history(None, None, count=500)
    while True:
        yield page.versions
        if page.next is None:
            return
        page = await store.history(None, None, count=500, cursor=page.next)
