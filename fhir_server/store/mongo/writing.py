"""What a group has made, written: a few operations on each collection, whatever its size."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable
from itertools import pairwise
from typing import Any, Final

from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import BulkWriteError

from fhir_server.model.outcome import TooLarge
from fhir_server.store.mongo import chunks, keys, ledger
from fhir_server.store.mongo.audit import documents_of
from fhir_server.store.mongo.schema import HEAD, INDEXED, Collections, Document
from fhir_server.store.mongo.staging import Made, Resource, Staging
from fhir_server.store.mongo.versions import document_of

MOST_INDEXED: Final = 7 * 1024 * 1024
"""Bytes of a resource's packed values, at most: with a body of 8 MB they fit in a document."""

LEAST: Final = 24
"""Resources that are worth a command of their own, where the database has nothing to do."""
MOST: Final = 128
"""Resources that are not kept back for it."""
_STEPS: Final = 5
"""Turns of the event loop that the driver takes to send a command."""

_DUPLICATE: Final = 11000
_KEPT: Final = ("k", "t", "v", "u", "m", "D", "p", "b", "B", "O")


class WasThere(Exception):
    """A resource or unique key that was taken for new was there already."""


class _Part:
    """Operations that write some resources."""

    def __init__(self) -> None:
        self.born: list[Document] = []
        self.changes: list[Any] = []
        self.history: list[Document] = []
        self.places: list[Any] = []

    async def write(self, to: Collections, session: AsyncClientSession) -> None:
        """Do them."""
        if self.places:
            await _new(to.place.bulk_write(self.places, session=session))
        if self.born:
            await _new(to.resource.insert_many(self.born, session=session))
        if self.changes:
            await to.resource.bulk_write(self.changes, session=session)
        if self.history:
            await to.history.insert_many(self.history, session=session)


class Writing:
    """Writes what a group has made: its resources in parts, the rest at the end."""

    def __init__(
        self,
        collections: Collections,
        head: Document,
        staging: Staging,
        session: AsyncClientSession,
    ) -> None:
        self._collections = collections
        self._head = head
        self._staging = staging
        self._session = session
        self._is_sharded = bool(head["sharded"])
        self._live: Counter[str] = Counter()
        self._part = _Part()
        self._going: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Begin to write the resources that are changed so far; they are as stored from now on.

        Others may be staged meanwhile; whatever else is asked in the session waits (`settle`).
        """
        for resource in self._staging.take():
            self._resource(resource)
        await self.settle()
        part, self._part = self._part, _Part()
        self._going = asyncio.create_task(part.write(self._collections, self._session))

    async def go_on(self) -> None:
        """Keep the database at work, while more is made ready here."""
        if self._going is not None:
            # A command is sent, and an answer taken in, in some turns of the event loop.
            for _ in range(_STEPS):
                await asyncio.sleep(0)
        is_idle = self._going is None or self._going.done()
        if len(self._staging.changed) >= (LEAST if is_idle else MOST):
            await self.begin()
            for _ in range(_STEPS):
                await asyncio.sleep(0)

    async def settle(self) -> None:
        """Wait until what was begun is written.

        Raises:
            WasThere: What was taken for new was there already.
        """
        going, self._going = self._going, None
        if going is not None:
            await going

    async def finish(self) -> Document:
        """Write all that is left, and return the head as it is now."""
        if self._staging.changed:
            await self.begin()
        await self.settle()
        await self._unique()
        return await self._write_head()

    # --- resources -----------------------------------------------------------------------

    def _resource(self, resource: Resource) -> None:
        if not resource.made:
            self._retag(resource)
            return
        stored, last = resource.stored, resource.made[-1]
        was_live = stored is not None and "D" not in stored
        self._live[last.prepared.write.resource_type] += resource.live - was_live
        document = self._document(resource, last)
        self._past(resource)
        if stored is None:
            self._part.born.append(document)
            if self._is_sharded:
                self._part.places.append(InsertOne({"_id": resource.key, "k": resource.shard}))
        elif self._is_sharded and stored["k"] != resource.shard:
            # No update takes a document to another shard and is retried safely.
            self._part.changes.append(DeleteOne({"_id": resource.key, "k": stored["k"]}))
            self._part.changes.append(InsertOne(document))
            self._part.places.append(
                UpdateOne({"_id": resource.key}, {"$set": {"k": resource.shard}})
            )
        else:
            self._part.changes.append(ReplaceOne(self._filter(resource), document))
        self._staging.stored(resource, document)

    def _filter(self, resource: Resource) -> Document:
        """Return the filter of a stored resource; a shard key in it asks one shard alone."""
        if self._is_sharded and resource.stored is not None:
            return {"_id": resource.key, "k": resource.stored["k"]}
        return {"_id": resource.key}

    def _document(self, resource: Resource, last: Made) -> Document:
        write, fields = last.prepared.write, last.prepared.fields
        document: Document = {
            "_id": resource.key,
            **document_of(write, last.prepared.pieces, resource.shard),
        }
        document["r"], document["c"] = last.number, resource.first
        document["g"] = sorted(resource.tags)
        if resource.held:
            document["q"] = resource.held
        if resource.live:
            if len(fields["e"]) > MOST_INDEXED:
                raise TooLarge("What is to be indexed of the resource is more than can be kept.")
            document |= fields
            if resource.tags:
                tagged = (keys.tagged(write.resource_type, tag) for tag in document["g"])
                document["x"] = [*fields["x"], *tagged]
        return document

    def _past(self, resource: Resource) -> None:
        """Move to the history what is replaced: the version before the group, and the group's."""
        stored, made = resource.stored, resource.made
        if stored is not None:
            past: Document = {name: stored[name] for name in _KEPT if name in stored}
            self._keep(resource.key, stored["r"], past, made[0])
        for one, following in pairwise(made):
            version = document_of(one.prepared.write, one.prepared.pieces, one.shard)
            self._keep(resource.key, one.number, version, following)

    def _keep(self, key: str, number: int, version: Document, following: Made) -> None:
        ended = following.prepared.write.last_updated
        self._part.history.append({"_id": number, "n": key, **version, "w": ended})

    def _retag(self, resource: Resource) -> None:
        """Add tags and take tags away where no version is made."""
        stored = resource.stored
        if stored is None:  # a tag alone makes no resource
            return
        before = frozenset(stored.get("g", ()))
        for operator, changed in (
            ("$addToSet", resource.tags - before),
            ("$pullAll", before - resource.tags),
        ):
            if not changed:
                continue
            lists: dict[str, list[Any]] = {"g": sorted(changed)}
            if resource.live:
                lists["x"] = [keys.tagged(stored["t"], tag) for tag in changed]
            fields = {
                name: {"$each": items} if operator == "$addToSet" else items
                for name, items in lists.items()
            }
            self._part.changes.append(UpdateOne(self._filter(resource), {operator: fields}))
        self._staging.stored(resource, {**stored, "g": sorted(resource.tags)})

    # --- beside resources ----------------------------------------------------------------

    async def _unique(self) -> None:
        free: list[str] = []
        taken: list[Document] = []
        changed: list[ReplaceOne[Document]] = []
        for key, before, now in self._staging.keys_changed():
            if now is None:
                free.append(key)
            elif before is None:
                taken.append({"_id": key, "n": now})
            else:
                changed.append(ReplaceOne({"_id": key}, {"_id": key, "n": now}))
        unique, session = self._collections.unique, self._session
        if free:
            await unique.delete_many({"_id": {"$in": free}}, session=session)
        if changed:
            await unique.bulk_write(changed, session=session)
        if taken:
            await _new(unique.insert_many(taken, session=session))

    async def _write_head(self) -> Document:
        head, staging, session = self._head, self._staging, self._session
        await chunks.adopt(self._collections, staging.adopted, session)
        now: Document = {}
        if staging.put:
            large = await ledger.write(self._collections, staging, session)
            await chunks.loosen(self._collections, staging.loose, session)
            if staging.indexed != head.get(INDEXED, 0):
                now[INDEXED] = staging.indexed
            if more := sorted(large.difference(head["large"])):
                now["large"] = [*head["large"], *more]
        if staging.audit:
            entries, digest = documents_of(staging.audit, head["seq"], head["digest"])
            await self._collections.audit.insert_many(entries, session=session)
            now |= {"seq": entries[-1]["_id"], "digest": digest}
        if staging.has_changed:
            now |= {"rid": staging.number, "edition": head["edition"] + 1}
        counts = {kind: head["counts"].get(kind, 0) + more for kind, more in self._live.items()}
        if now:
            fields = {**now, **{f"counts.{kind}": count for kind, count in counts.items()}}
            await self._collections.meta.update_one(
                {"_id": HEAD}, {"$set": fields}, session=session
            )
        return {**head, **now, "counts": {**head["counts"], **counts}}


async def _new(insertion: Awaitable[object]) -> None:
    """Insert what was taken for new.

    Raises:
        WasThere: It was not.
    """
    try:
        await insertion
    except BulkWriteError as error:
        failed = error.details.get("writeErrors") or ()
        if any(one.get("code") == _DUPLICATE for one in failed):
            raise WasThere from error
        raise
