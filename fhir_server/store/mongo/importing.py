"""A store in a database, written as another one is: the target of a move (`store/bulk.py`).

A page is written by a few operations on each collection, without a transaction: each may be done
again, and they are in such an order that what was written of a page whose mark is missing does no
harm. The mark is written last, in a transaction with `head`, which takes over what is in pieces
(`chunks.py`).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Final

from pymongo import DeleteOne, ReplaceOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError

from fhir_server.model.outcome import TooLarge
from fhir_server.search.parameters import R4, Known
from fhir_server.search.values import IndexValues
from fhir_server.store.bulk import BUCKET, MARK, Kept, MakeReady, Record, RecordKey
from fhir_server.store.derive import index_of, write_of
from fhir_server.store.mongo import ledger, staging
from fhir_server.store.mongo.bulk import Mode, MongoSource
from fhir_server.store.mongo.chunks import LARGE, Chunks, Pieces, adopt, loosen, pieces_in
from fhir_server.store.mongo.connect import Opened
from fhir_server.store.mongo.entry import fields_of
from fhir_server.store.mongo.schema import (
    HEAD,
    INDEXED,
    INDEXES,
    Document,
    head_of_a_new_store,
    prepare,
)
from fhir_server.store.mongo.serving import MOVING
from fhir_server.store.mongo.staging import record_key
from fhir_server.store.mongo.versions import document_of, key_of
from fhir_server.store.mongo.writing import MOST_INDEXED
from fhir_server.store.port import INDEXED_BY, AuditEntry, generation_of

_STAMP: Final = "moved"
_DUPLICATE: Final = 11000
_PAST: Final = ("k", "t", "v", "u", "m", "D", "p", "b", "B", "O")
"""Fields of a resource that a replaced version keeps."""
_STORED: Final = dict.fromkeys((*_PAST, "r", "q"), 1)


@dataclass(slots=True)
class _Page:
    """What a page of versions comes to.

    Attributes:
        history: Replaced versions; also those that were current when an earlier page was written.
        current: Resources as they are now, by `Type/id`.
        gone: Resources that are not what they were, and not yet what they are now.
    """

    history: list[Document] = field(default_factory=list)
    current: dict[str, Document] = field(default_factory=dict)
    gone: dict[str, Document] = field(default_factory=dict)
    pieces: list[Pieces] = field(default_factory=list)
    loose: list[Pieces] = field(default_factory=list)


class MongoTarget(MongoSource):
    """A store in a MongoDB database, written as another one is."""

    is_laborious: ClassVar[bool] = True

    def __init__(self, opened: Opened, mode: Mode) -> None:
        super().__init__(opened, mode)
        self._chunks = Chunks(opened.collections, opened.calls)
        self._is_bare = False

    async def close(self) -> None:
        """Let go of the connections."""
        await self._chunks.settle()
        await super().close()

    # --- the mark ------------------------------------------------------------------------

    async def begin(self, cursor_key: bytes, mark: bytes) -> None:
        """Make an empty store the target of a move."""
        await self._turn(mark, {"cursor_key": cursor_key})
        await self._leave_out_indexes()

    async def _leave_out_indexes(self) -> None:
        """Drop the indexes: made of all at once, they cost the database a third of the work."""
        self._is_bare = True
        for collection in (self._to.resource, self._to.history, self._to.audit):
            await self._calls.read(collection.drop_indexes)

    async def index(self) -> None:
        """Make the indexes that were left out; whoever opens the store does so, too."""
        if self._is_bare:
            await prepare(self._to, b"", is_said=False)
            self._is_bare = False

    async def empty(self, mark: bytes) -> None:
        """Take out all that is there, and make the store the target of a move, as `begin` does.

        Killed half-way, it is a target that holds more than its mark says.
        """
        await self._turn(mark, {})
        key = record_key(BUCKET, MARK)
        head = await self._head()
        for name in INDEXES:
            collection = self._to.database[name]
            kept: Document = {}
            if name in {"ledger", "meta"}:
                kept = {"_id": {"$nin": [key, HEAD, MOVING]}}
            elif not head["sharded"]:
                await self._calls.read(collection.drop)
                continue
            await self._calls.read(partial(collection.delete_many, kept))
        await prepare(self._to, b"", is_said=False)
        new = head_of_a_new_store(secrets.token_bytes(32))
        new |= {"sharded": head["sharded"], "turn": head["turn"], "edition": head["edition"]}
        await self._calls.read(lambda: self._to.meta.replace_one({"_id": HEAD}, new))
        await self._turn(mark, {})
        await self._leave_out_indexes()

    async def mark(self) -> bytes | None:
        """Return the mark of a move that is not finished."""
        return await self.record(BUCKET, MARK)

    async def keep(self, mark: bytes) -> None:
        """Write the mark."""
        await self._turn(mark, {})

    async def _turn(
        self,
        mark: bytes | None,
        now: Document,
        pieces: Sequence[Pieces] = (),
        loose: Sequence[Pieces] = (),
    ) -> None:
        """Write the mark, if one is given, and what changes in `head`, in one transaction.

        Args:
            mark: The mark.
            now: Fields of `head`.
            pieces: Those of what was written.
            loose: Those of what was written over.
        """
        key = record_key(BUCKET, MARK)
        if self._alone is not None:
            self._alone.check()

        async def turn(session: AsyncClientSession) -> None:
            change: Document = {"$inc": {"turn": 1}} | ({"$set": now} if now else {})
            await self._to.meta.update_one({"_id": HEAD}, change, session=session)
            if mark is not None:
                document = ledger.document_of(key, staging.Record(mark, None))
                await self._to.ledger.replace_one(
                    {"_id": key}, document, upsert=True, session=session
                )
            await adopt(self._to, pieces, session)
            await loosen(self._to, loose, session)

        await self._calls.transact(turn)
        if loose:
            self._chunks.sweep_soon()

    # --- versions ------------------------------------------------------------------------

    @property
    def make_ready(self) -> MakeReady:
        """What gives the fields of a version's document that are made of its body."""
        return fields_of_page

    async def put_versions(
        self, items: Sequence[Kept], ready: Sequence[Document], mark: bytes, *, again: bool = False
    ) -> None:
        """Write versions as they are."""
        if not items:
            return
        stored = await self._stored(items, again=again)
        page = _Page()
        for kept, fields in zip(items, ready, strict=True):
            await self._stage(page, kept, fields, stored)
        head = await self._head()
        await self._put(self._to.history, page.history, again=again)
        await self._free(stored.values())
        await self._put_current(page, stored, again=again, is_sharded=head["sharded"])
        kinds = {one["t"] for one in page.current.values()}
        now: Document = {f"counts.{kind}": 0 for kind in sorted(kinds.difference(head["counts"]))}
        now["rid"] = max(items[-1].number, head["rid"])
        await self._turn(mark, now, page.pieces, page.loose)

    async def _stored(self, items: Sequence[Kept], *, again: bool) -> dict[str, Document]:
        """Return those of these resources that were written before, by `Type/id`."""
        keys = {key_of(*one.name) for one in items if again or one.version.version_id > 1}
        if not keys:
            return {}

        async def read(session: AsyncClientSession) -> dict[str, Document]:
            found = self._to.resource.find({"_id": {"$in": list(keys)}}, _STORED, session=session)
            return {one["_id"]: one for one in await found.to_list()}

        return await self._view(read)

    async def _stage(
        self, page: _Page, kept: Kept, fields: Document, stored: dict[str, Document]
    ) -> None:
        version, key = kept.version, key_of(*kept.name)
        before = stored.get(key)
        if before is not None and before["r"] == kept.number:
            page.loose += _pieces_of(before)
        elif before is not None and before["r"] < kept.number and key not in page.gone:
            past: Document = {name: before[name] for name in _PAST if name in before}
            page.history.append({"_id": before["r"], "n": key, **past, "w": version.last_updated})
            page.gone[key] = before
        pieces = None
        if len(version.body) > LARGE:
            pieces = await self._chunks.put(version.body)
            page.pieces.append(pieces)
        patients = version.patients
        write = write_of(kept, IndexValues(patients=patients))
        document = document_of(write, pieces, patients[0] if patients else version.resource_id)
        if kept.replaced is None:
            more = {"r": kept.number, "c": kept.first, "g": kept.tags, **fields}
            page.current[key] = {"_id": key, **document, **more}
        else:
            page.history.append({"_id": kept.number, "n": key, **document, "w": kept.replaced})

    async def _free(self, stored: Iterable[Document]) -> None:
        """Let go of the unique keys of resources that are about to be written over."""
        freed = [
            DeleteOne({"_id": key, "n": before["_id"]})
            for before in stored
            for key in before.get("q", ())
        ]
        if freed:
            await self._calls.read(lambda: self._to.unique.bulk_write(freed, ordered=False))

    async def _put_current(
        self, page: _Page, stored: dict[str, Document], *, again: bool, is_sharded: bool
    ) -> None:
        new: list[Document] = []
        changes: list[DeleteOne | ReplaceOne[Document]] = [
            DeleteOne(_asked(before))
            for key, before in page.gone.items()
            if key not in page.current
        ]
        for key, document in page.current.items():
            before = stored.get(key)
            if before is None:
                new.append(document)
                continue
            if before["k"] != document["k"]:
                changes.append(DeleteOne(_asked(before)))
            changes.append(ReplaceOne(_asked(document), document, upsert=True))
        if changes:
            await self._calls.read(lambda: self._to.resource.bulk_write(changes))
        await self._put(self._to.resource, new, again=again)
        if is_sharded:
            places = [{"_id": one["_id"], "k": one["k"]} for one in page.current.values()]
            await self._replace(self._to.place, places)
        held = [
            {"_id": key, "n": one["_id"]}
            for one in page.current.values()
            for key in one.get("q", ())
        ]
        await self._replace(self._to.unique, held)

    # --- documents -----------------------------------------------------------------------

    async def _put(
        self, to: AsyncCollection[Document], documents: list[Document], *, again: bool = False
    ) -> None:
        """Write documents that are new, unless they were written just before a run was killed."""
        if not documents:
            return

        async def put() -> bool:
            try:
                await to.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                failed = error.details.get("writeErrors") or ()
                if not failed or any(one.get("code") != _DUPLICATE for one in failed):
                    raise
                return False
            return True

        if again or not await self._calls.read(put):
            await self._replace(to, documents)

    async def _replace(self, to: AsyncCollection[Document], documents: list[Document]) -> None:
        if not documents:
            return
        changes = [
            ReplaceOne(
                {"_id": one["_id"]} if to is self._to.place else _asked(one), one, upsert=True
            )
            for one in documents
        ]
        await self._calls.read(lambda: to.bulk_write(changes, ordered=False))

    # --- audit and ledger ----------------------------------------------------------------

    async def put_entries(self, entries: Sequence[AuditEntry], mark: bytes) -> None:
        """Write audit entries as they are."""
        documents: list[Document] = [
            {"_id": one.seq, "a": one.recorded, "b": one.body, "h": one.digest}
            | ({"p": one.patients} if one.patients else {})
            for one in entries
        ]
        await self._put(self._to.audit, documents)
        await self._turn(mark, {"seq": entries[-1].seq, "digest": entries[-1].digest})

    async def put_records(self, records: Sequence[Record], gone: Sequence[RecordKey]) -> None:
        """Write ledger records, and delete others."""
        keys = [record_key(*at) for at in (*gone, *(one.at for one in records))]
        large = self._to.ledger.find(
            {"_id": {"$in": keys}, "B": {"$exists": True}}, {"B": 1, "O": 1}
        )
        loose = [
            one
            for document in await self._calls.read(large.to_list)
            for one in _pieces_of(document)
        ]
        pieces: list[Pieces] = []
        buckets: set[str] = set()
        documents: list[Document] = []
        for one in records:
            of_it = None
            if len(one.value) > LARGE:
                of_it = await self._chunks.put(one.value)
                pieces.append(of_it)
                buckets.add(one.bucket)
            record = staging.Record(one.value, one.expires, of_it)
            documents.append(ledger.document_of(record_key(*one.at), record))
        await self._replace(self._to.ledger, documents)
        if gone:
            asked = {"_id": {"$in": keys[: len(gone)]}}
            await self._calls.read(lambda: self._to.ledger.delete_many(asked))
        for at, value in ((one.at, one.value) for one in records):
            if at == INDEXED_BY:
                await self._turn(None, {INDEXED: generation_of(value)})
        if INDEXED_BY in gone:
            await self._turn(None, {INDEXED: 0})
        if pieces or loose:
            known = (await self._head())["large"]
            await self._turn(None, {"large": sorted({*known, *buckets})}, pieces, loose)

    # --- the end -------------------------------------------------------------------------

    async def settle(self) -> None:
        """Count the current resources of each type."""
        counted: list[Document] = [
            {"$match": {"D": {"$ne": True}}},
            {"$group": {"_id": "$t", "count": {"$sum": 1}}},
        ]

        async def count(session: AsyncClientSession) -> dict[str, int]:
            cursor = await self._to.resource.aggregate(counted, session=session)
            return {one["_id"]: one["count"] for one in await cursor.to_list()}

        found = await self._view(count)
        head = await self._head()
        counts = dict.fromkeys(head["counts"], 0) | found
        await self._turn(None, {"counts": counts, "edition": head["edition"] + 1})

    async def stamp(self) -> bytes | None:
        """Return what `finish` has left."""
        found = await self._calls.read(lambda: self._to.meta.find_one({"_id": _STAMP}))
        return None if found is None else bytes(found["b"])

    async def finish(self, stamp: bytes) -> None:
        """Take the mark away and leave a stamp."""

        async def finish(session: AsyncClientSession) -> None:
            await self._to.meta.update_one(
                {"_id": HEAD}, {"$inc": {"turn": 1, "edition": 1}}, session=session
            )
            await self._to.meta.replace_one(
                {"_id": _STAMP}, {"b": stamp}, upsert=True, session=session
            )
            await self._to.ledger.delete_one({"_id": record_key(BUCKET, MARK)}, session=session)

        await self._calls.transact(finish)


def fields_of_page(items: Sequence[Kept], base_url: str, known: Known = R4) -> list[Document]:
    """Return what is indexed of each version, as fields of its document; none of what is not.

    Raises:
        TooLarge: It is more than a document can hold.
    """
    return [_fields(one, base_url, known) if one.is_indexed else {} for one in items]


def _fields(kept: Kept, base_url: str, known: Known) -> Document:
    kind, resource_id = kept.name
    index = index_of(kept, base_url, known)
    fields: Document = fields_of(kind, index, kept.tags)
    if len(fields["e"]) > MOST_INDEXED:
        raise TooLarge(f"What is to be indexed of {kind}/{resource_id} is more than can be kept.")
    if index.unique:
        fields["q"] = index.unique
    return fields


def _asked(document: Document) -> Document:
    """Return the filter of a document: with its shard key, where its collection has another."""
    return {name: document[name] for name in ("_id", "k") if name in document}


def _pieces_of(document: Document) -> list[Pieces]:
    pieces = pieces_in(document)
    return [] if pieces is None else [pieces]
