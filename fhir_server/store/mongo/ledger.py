"""Records of the ledger: as documents, and read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from pymongo import ReplaceOne
from pymongo.asynchronous.client_session import AsyncClientSession

from fhir_server.store.mongo.chunks import pieces_in, whole
from fhir_server.store.mongo.schema import SEPARATOR, Collections, Document
from fhir_server.store.mongo.staging import Record, Staging, record_key

_AFTER_SEPARATOR: Final = chr(ord(SEPARATOR) + 1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = 253_370_000_000_000_000
"""Microseconds until the year 9999: what ends later is not ended by the database's clock."""
_TRIES: Final = 8


def document_of(key: str, record: Record) -> Document:
    """Return a record's document."""
    document: Document = {"_id": key}
    document |= {"b": record.value} if record.pieces is None else record.pieces.fields
    if record.expires is not None:
        document["x"] = record.expires
        if record.pieces is None and 0 <= record.expires < _LAST:
            # The database's dates are of milliseconds: it may delete a record a moment late.
            document["z"] = _EPOCH + timedelta(milliseconds=record.expires // 1000 + 1)
    return document


async def read(
    collections: Collections, asked: Iterable[str], session: AsyncClientSession
) -> dict[str, Record]:
    """Return those of some records, by `_id`, that are there."""
    found = collections.ledger.find({"_id": {"$in": list(asked)}}, session=session)
    records: dict[str, Record] = {}
    for one in await found.to_list():
        pieces = pieces_in(one)
        value = one["b"] if pieces is None else await whole(collections, pieces, session)
        records[one["_id"]] = Record(value or b"", one.get("x"), pieces)
    return records


async def write(
    collections: Collections, staging: Staging, session: AsyncClientSession
) -> set[str]:
    """Write the records that a group has put; return the buckets that have large ones now."""
    gone: list[str] = []
    kept: list[ReplaceOne[Document]] = []
    buckets: set[str] = set()
    for key in staging.put:
        record = staging.records[key]
        if record is None:
            gone.append(key)
            continue
        if record.pieces is not None:
            buckets.add(key.partition(SEPARATOR)[0])
        kept.append(ReplaceOne({"_id": key}, document_of(key, record), upsert=True))
    if gone:
        await collections.ledger.delete_many({"_id": {"$in": gone}}, session=session)
    if kept:
        await collections.ledger.bulk_write(kept, session=session)
    return buckets


class LedgerReader:
    """Reads records."""

    def __init__(self, collections: Collections) -> None:
        self._collections = collections

    async def documents(self, keys: Sequence[str]) -> dict[str, Document | None]:
        """Return the documents of several records, given their `record_key`s."""
        found: dict[str, Document | None] = dict.fromkeys(keys)
        asked = keys[0] if len(keys) == 1 else {"$in": list(keys)}
        cursor = self._collections.ledger.find({"_id": asked}, limit=len(keys))
        for document in await cursor.to_list():
            found[document["_id"]] = document
        return found

    async def get(self, bucket: str, key: str, now: int | None) -> bytes | None:
        """Return a record, or None where it is absent or has ended."""
        asked = record_key(bucket, key)
        return await self.value(asked, (await self.documents([asked]))[asked], now)

    async def value(self, key: str, document: Document | None, now: int | None) -> bytes | None:
        """Return the value of a record's document; None where it is absent or has ended.

        Where another took its place while it was read, that one is read.
        """
        for _ in range(_TRIES):
            if document is None:
                return None
            if now is not None and "x" in document and document["x"] <= now:
                return None
            value = await self._value(document)
            if value is not None:
                return value
            document = (await self.documents([key]))[key]
        return None

    async def _value(self, document: Document) -> bytes | None:
        """Return a record's value; None where another took its place while it was read."""
        pieces = pieces_in(document)
        if pieces is not None:
            return await whole(self._collections, pieces)
        value: bytes = document["b"]
        return value

    async def scan(
        self, bucket: str, start: str, end: str | None, limit: int, *, reverse: bool
    ) -> list[tuple[str, bytes]]:
        """Return records with start <= key < end, in key order or backwards."""
        if limit < 1:
            return []
        first = record_key(bucket, start)
        last = bucket + _AFTER_SEPARATOR if end is None else record_key(bucket, end)
        asked = {"_id": {"$gte": first, "$lt": last}}
        order = [("_id", -1 if reverse else 1)]
        documents = await self._collections.ledger.find(asked).sort(order).limit(limit).to_list()
        found = []
        for document in documents:
            key = document["_id"][len(bucket) + 1 :]
            value = await self._value(document)
            if value is None:
                value = await self.get(bucket, key, None)
            if value is not None:
                found.append((key, value))
        return found
