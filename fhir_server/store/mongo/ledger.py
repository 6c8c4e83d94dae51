"""Records of the ledger: as documents, and read."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from pymongo import ReplaceOne
from pymongo.asynchronous.client_session import AsyncClientSession

from fhir_server.store.mongo import chunks
from fhir_server.store.mongo.schema import SEPARATOR, Collections, Document
from fhir_server.store.mongo.staging import Record, Staging, record_key

_AFTER_SEPARATOR: Final = chr(ord(SEPARATOR) + 1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = 253_370_000_000_000_000
"""Microseconds until the year 9999: what ends later is not ended by the database's clock."""
_TRIES: Final = 8


def document_of(key: str, record: Record, owner: str) -> Document:
    """Return a record's document; `owner` is whose pieces its value is, where it is large."""
    document: Document = {"_id": key}
    if count := chunks.count_of(record.value):
        document |= {"B": count, "o": owner}
    else:
        document["b"] = record.value
    if record.expires is not None:
        document["x"] = record.expires
        if 0 <= record.expires < _LAST:
            # The database's dates are of milliseconds: it may delete a record a moment late.
            document["z"] = _EPOCH + timedelta(milliseconds=record.expires // 1000 + 1)
    return document


async def read(
    collections: Collections, asked: Iterable[str], session: AsyncClientSession
) -> dict[str, Record]:
    """Return those of some records, by `_id`, that are there."""
    found = collections.ledger.find({"_id": {"$in": list(asked)}}, session=session)
    documents = await found.to_list()
    large = [(one["o"], one["B"]) for one in documents if "B" in one]
    values = await chunks.whole(collections, large, session) if large else {}
    return {
        one["_id"]: Record(
            values.get(one["o"], b"") if "B" in one else one["b"],
            one.get("x"),
            one.get("B", 0),
            one.get("o", ""),
        )
        for one in documents
    }


async def write(
    collections: Collections, staging: Staging, turn: int, session: AsyncClientSession
) -> list[str]:
    """Write the records that a group has put; return the buckets that have large ones now."""
    gone: list[str] = []
    kept: list[ReplaceOne[Document]] = []
    pieces: list[Document] = []
    loose: list[str] = []
    buckets: dict[str, None] = {}
    for at, key in enumerate(staging.put):
        before, record = staging.records_before.get(key), staging.records[key]
        if before is not None and before.pieces:
            loose += chunks.ids_of(before.owner, before.pieces)
        if record is None:
            gone.append(key)
            continue
        document = document_of(key, record, f"l{turn}.{at}")
        if "B" in document:
            pieces += chunks.pieces(document["o"], record.value)
            buckets[key.partition(SEPARATOR)[0]] = None
        kept.append(ReplaceOne({"_id": key}, document, upsert=True))
    if loose:
        await collections.chunk.delete_many({"_id": {"$in": loose}}, session=session)
    if pieces:
        await collections.chunk.insert_many(pieces, session=session)
    if gone:
        await collections.ledger.delete_many({"_id": {"$in": gone}}, session=session)
    if kept:
        await collections.ledger.bulk_write(kept, session=session)
    return list(buckets)


class LedgerReader:
    """Reads records."""

    def __init__(self, collections: Collections) -> None:
        self._collections = collections

    async def get(self, bucket: str, key: str, now: int | None) -> bytes | None:
        """Return a record, or None where it is absent or has ended."""
        for _ in range(_TRIES):
            found = await self._collections.ledger.find_one({"_id": record_key(bucket, key)})
            if found is None:
                return None
            if now is not None and "x" in found and found["x"] <= now:
                return None
            value = await self._value(found)
            if value is not None:
                return value
        return None

    async def _value(self, document: Document) -> bytes | None:
        """Return a record's value; None where another took its place while it was read."""
        if "B" not in document:
            value: bytes = document["b"]
            return value
        owner = document["o"]
        return (await chunks.whole(self._collections, [(owner, document["B"])])).get(owner)

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
