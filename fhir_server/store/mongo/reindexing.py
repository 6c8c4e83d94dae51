"""Stored resources indexed anew, in a transaction that has taken its turn."""

from __future__ import annotations

from collections.abc import Sequence

from pymongo import DeleteOne, InsertOne, ReplaceOne
from pymongo.asynchronous.client_session import AsyncClientSession

from fhir_server.search.values import IndexValues
from fhir_server.store.mongo.entry import fields_of
from fhir_server.store.mongo.schema import HEAD, INDEXED, VERSION, Collections, Document
from fhir_server.store.mongo.versions import key_of, name_of
from fhir_server.store.port import IndexedOtherwise, KeyHeld, Name

Item = tuple[Name, int, IndexValues]
"""A resource, the version that was indexed, and its index values."""


async def reindex(
    collections: Collections, items: Sequence[Item], indexed: int, session: AsyncClientSession
) -> int:
    """Index resources anew, but for those that are at another version by now; return how many.

    Raises:
        IndexedOtherwise: Resources are indexed by other search parameters by now.
        KeyHeld: By the new values two resources would hold one unique key.
    """
    head = await collections.meta.find_one({"_id": HEAD}, {INDEXED: 1}, session=session)
    if (head or {}).get(INDEXED, 0) != indexed:
        raise IndexedOtherwise
    asked = {key_of(*name): (version_id, index) for name, version_id, index in items}
    found = collections.resource.find(
        {"_id": {"$in": list(asked)}}, {"x": 0, "s": 0, "o": 0, "l": 0, "e": 0}, session=session
    )
    changes: list[DeleteOne | InsertOne[Document] | ReplaceOne[Document]] = []
    places: list[ReplaceOne[Document]] = []
    before: dict[str, str] = {}
    after: dict[str, str] = {}
    done = 0
    for document in await found.to_list():
        key, (version_id, index) = document["_id"], asked[document["_id"]]
        if document["v"] != version_id or "D" in document:
            continue
        done += 1
        before.update(dict.fromkeys(document.pop("q", ()), key))
        for unique in index.unique:
            if after.setdefault(unique, key) != key:
                raise KeyHeld(unique, name_of(after[unique]))
        shard = index.patients[0] if index.patients else name_of(key)[1]
        new = {**document, **fields_of(document["t"], index, document["g"]), "p": index.patients}
        if index.unique:
            new["q"] = index.unique
        if shard == document["k"]:
            changes.append(ReplaceOne({"_id": key, "k": shard}, new))
            continue
        changes += [DeleteOne({"_id": key, "k": document["k"]}), InsertOne({**new, "k": shard})]
        places.append(ReplaceOne({"_id": key}, {"_id": key, "k": shard}))
    await _hold(collections, before, after, session)
    if changes:
        await collections.resource.bulk_write(changes, session=session)
        await collections.meta.update_one({"_id": HEAD}, {"$inc": {"edition": 1}}, session=session)
    if places:
        await collections.place.bulk_write(places, session=session)
    return done


async def raise_schema(collections: Collections, session: AsyncClientSession) -> int:
    """Take the store from schema 1 to 2, of which no type is in order yet; return how many.

    Whoever knows schema 1 alone commits no more: what is indexed anew stays so.
    """
    head = await collections.meta.find_one({"_id": HEAD}, session=session)
    if head is None or head["schema"] >= VERSION:
        return 0
    kinds = sorted(kind for kind, count in head["counts"].items() if count)
    now = {"$set": {"schema": VERSION, "unordered": kinds}, "$inc": {"edition": 1}}
    await collections.meta.update_one({"_id": HEAD}, now, session=session)
    return len(kinds)


async def set_ordered(collections: Collections, kind: str, session: AsyncClientSession) -> int:
    """Note that each resource of a type has the ends of its codes; return of how many types."""
    now = {"$pull": {"unordered": kind}, "$inc": {"edition": 1}}
    await collections.meta.update_one({"_id": HEAD}, now, session=session)
    return 1


async def _hold(
    collections: Collections,
    before: dict[str, str],
    after: dict[str, str],
    session: AsyncClientSession,
) -> None:
    """Let go of unique keys, and take others."""
    wanted = [key for key in after if before.get(key) != after[key]]
    if wanted:
        found = collections.unique.find({"_id": {"$in": wanted}}, session=session)
        for held in await found.to_list():
            if held["_id"] not in before:
                raise KeyHeld(held["_id"], name_of(held["n"]))
    gone = [key for key in before if before[key] != after.get(key)]
    if gone:
        await collections.unique.delete_many({"_id": {"$in": gone}}, session=session)
    if wanted:
        documents = [{"_id": key, "n": after[key]} for key in wanted]
        await collections.unique.insert_many(documents, session=session)
