"""Point reads: versions, history, tags, who holds a key and who refers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pymongo.asynchronous.client_session import AsyncClientSession

from fhir_server.model.outcome import Unavailable
from fhir_server.search import paging
from fhir_server.search.expression import And, Expression, InPatient, Or, Tagged
from fhir_server.search.paging import Begin, Place
from fhir_server.store.cursor import Cursors
from fhir_server.store.mongo.conditions import referrers
from fhir_server.store.mongo.newest import DOWN, Way
from fhir_server.store.mongo.reads import Reads
from fhir_server.store.mongo.schema import HEAD, Collections, Document
from fhir_server.store.mongo.versions import SHOWN, key_of, name_of, number_of, versions_of
from fhir_server.store.port import Name, Page, Some, Version

MARKS: Final = {"D": 1, "p": 1, "g": 1}
"""Projection: whether it is deleted, in whose compartments, its access tags."""


class Reader:
    """Reads resources and their versions."""

    def __init__(self, collections: Collections, cursors: Cursors, *, is_sharded: bool) -> None:
        self._collections = collections
        self._cursors = cursors
        self._is_sharded = is_sharded

    # --- versions ------------------------------------------------------------------------

    async def documents(
        self, keys: Sequence[str], shown: Mapping[str, int]
    ) -> dict[str, Document | None]:
        """Return some fields of several resources' documents, given their `Type/id`s."""
        found: dict[str, Document | None] = dict.fromkeys(keys)
        if self._is_sharded:
            for key in found:
                found[key] = await self.document(key, shown)
            return found
        asked = keys[0] if len(keys) == 1 else {"$in": list(keys)}
        cursor = self._collections.resource.find({"_id": asked}, shown, limit=len(keys))
        for document in await cursor.to_list():
            found[document["_id"]] = document
        return found

    async def ahead(self, keys: Sequence[str]) -> dict[str, tuple[int, Document | None]]:
        """Return for each of several resources the edition, and its document of SHOWN."""
        asked = keys[0] if len(keys) == 1 else {"$in": list(keys)}
        shown: list[Document] = [{"$match": {"_id": asked}}, {"$project": SHOWN}]
        cursor = await self._collections.meta.aggregate([
            {"$match": {"_id": HEAD}},
            {"$project": {"edition": 1}},
            {"$unionWith": {"coll": self._collections.resource.name, "pipeline": shown}},
        ])
        there = {one["_id"]: one for one in await cursor.to_list()}
        head = there.pop(HEAD, None)
        if head is None:
            raise Unavailable("The database holds no store.")
        edition = int(head["edition"])
        return {key: (edition, there.get(key)) for key in keys}

    async def document(
        self, key: str, shown: Mapping[str, int], session: AsyncClientSession | None = None
    ) -> Document | None:
        """Return some fields of a resource's document, given its `Type/id`."""
        resource, place = self._collections.resource, self._collections.place
        if not self._is_sharded:
            return await resource.find_one({"_id": key}, shown, session=session)
        asked: Document | None = None
        while True:
            found = await place.find_one({"_id": key}, session=session)
            if found is None or found == asked:
                return None
            asked = found
            document = await resource.find_one(asked, shown, session=session)
            if document is not None:
                return document
            # Between the two questions it moved to another shard: it is asked where to.

    async def read_many(self, names: Sequence[Name]) -> list[Version | None]:
        """Return the current versions of several resources, in the order asked."""
        if not names:
            return []
        asked = [key_of(*name) for name in names]
        found = self._collections.resource.find({"_id": {"$in": list(dict.fromkeys(asked))}}, SHOWN)
        documents = await found.to_list()
        versions = await versions_of(self._collections, documents)
        by_key = {one["_id"]: version for one, version in zip(documents, versions, strict=True)}
        return [by_key.get(key) for key in asked]

    async def vread(self, resource_type: str, resource_id: str, version_id: int) -> Version | None:
        """Return one version, or None."""
        if version_id < 1:
            return None
        key = key_of(resource_type, resource_id)
        document = await self.document(key, SHOWN)
        if document is not None and document["v"] > version_id:
            # What is not current any more is in the history already.
            document = await self._collections.history.find_one({"n": key, "v": version_id}, SHOWN)
        if document is None or document["v"] != version_id:
            return None
        return await self.version(document)

    async def version(self, document: Document | None) -> Version | None:
        """Return the version that a document holds."""
        return None if document is None else (await versions_of(self._collections, [document]))[0]

    # --- one resource --------------------------------------------------------------------

    async def holders(self, keys: Sequence[str]) -> dict[str, Name | None]:
        """Return who holds each of several unique keys."""
        found: dict[str, Name | None] = dict.fromkeys(keys)
        asked = keys[0] if len(keys) == 1 else {"$in": list(keys)}
        cursor = self._collections.unique.find({"_id": asked}, limit=len(keys))
        for document in await cursor.to_list():
            found[document["_id"]] = name_of(document["n"])
        return found

    async def referrers(self, name: Name, limit: int) -> list[Name]:
        """Return current resources that refer to this one, but for itself."""
        key = key_of(*name)
        found = await referrers(self._collections, key, limit + 1)
        return sorted(name_of(one) for one in found if one != key)[:limit]

    # --- history -------------------------------------------------------------------------

    async def history(
        self,
        head: Document,
        name: tuple[str | None, str | None],
        since: int | None,
        at: tuple[int, int] | None,
        count: int,
        cursor: str | None,
        session: AsyncClientSession,
        among: Sequence[Some] = (),
    ) -> Page:
        """Return versions newest first: of one resource, of a type, or of all.

        Raises:
            WorkBudgetExceeded: They lie too far back to be found in a search's time.
            BadCursor: The cursor is not one of this store's.
        """
        reads = Reads(self._collections, session)
        about = paging.history_shape(name, among)
        begin = Begin(0) if cursor is None else self._cursors.begin(about, cursor)
        way = _way(begin)
        found: list[Document] = []
        walks = self._some(among, way) if among else self._walks(head, name, way)
        for asked, order, collection in walks:
            if since is not None:
                asked["u"] = {"$gte": since}
            if at is not None:
                # A version was current from its own time until the next one's.
                asked.setdefault("u", {})["$lte"] = at[1]
                if collection is self._collections.history:
                    asked["w"] = {"$gt": at[0]}
            walk = collection.find(
                asked,
                SHOWN,
                sort=order,
                limit=count + 1,
                session=session,
                max_time_ms=reads.milliseconds(),
                # What sorts by number might else be found by walking down all numbers there are.
                hint="versions" if among and "n" in asked else None,
            )
            found += await walk.to_list()
        found.sort(key=lambda one: way.key(number_of(one)))
        page, last, backwards = found[:count], None, way.until is not None
        if page and not begin.snapshot:
            begin = Begin(number_of(page[0]))
        if page and len(found) > count:
            last = Place(number_of(page[-1]), backwards=backwards)
        around = paging.around(begin, last, lambda items: self._cursors.seal(about, items))
        return Page.of(await versions_of(self._collections, page, session), around)

    def _walks(
        self, head: Document, name: tuple[str | None, str | None], way: Way
    ) -> list[tuple[Document, list[tuple[str, int]], Any]]:
        """Return what is asked of both collections, and in which order."""
        resource, history = self._collections.resource, self._collections.history
        before = {} if way == DOWN else way.behind(way.begin)
        step = way.order[0][1]
        if name[0] is not None and name[1] is not None:
            key = key_of(name[0], name[1])
            current: Document = {"_id": key} | ({"r": before} if before else {})
            past: Document = {"n": key} | ({"_id": before} if before else {})
            return [
                (current, [("_id", 1)], resource),
                (past, [("v", step)], history),
            ]
        kinds = {"$in": sorted(head["counts"])} if name[0] is None else name[0]
        return [
            (
                {"t": kinds} | ({"r": before} if before else {}),
                [("r", step)],
                resource,
            ),
            (
                {"t": kinds} | ({"_id": before} if before else {}),
                [("_id", step)],
                history,
            ),
        ]

    def _some(
        self, among: Sequence[Some], way: Way
    ) -> list[tuple[Document, list[tuple[str, int]], Any]]:
        """Return the same for some types and some resources."""
        resource, history = self._collections.resource, self._collections.history
        before = {} if way == DOWN else way.behind(way.begin)
        step = way.order[0][1]
        now, then = ({"r": before}, {"_id": before}) if before else ({}, {})
        by_number, by_id = [("r", step)], [("_id", step)]
        walks: list[tuple[Document, list[tuple[str, int]], Any]] = []
        if types := sorted({kind for kind, one in among if one is None}):
            of: Document = {"t": {"$in": types}}
            walks += [(of | now, by_number, resource), (of | then, by_id, history)]
        if keys := sorted({key_of(kind, one) for kind, one in among if one is not None}):
            named = {"$in": keys}
            walks += [
                ({"_id": named} | now, by_number, resource),
                ({"n": named} | then, by_id, history),
            ]
        return walks

    # --- all -----------------------------------------------------------------------------

    async def walk(
        self, head: Document, resource_type: str | None, after: int, limit: int
    ) -> list[tuple[int, Version]]:
        """Return current resources by the numbers of their versions, after one.

        What is updated meanwhile comes once more, further on; nothing is left out.
        """
        kinds = {"$in": sorted(head["counts"])} if resource_type is None else resource_type
        asked = {"t": kinds, "r": {"$gt": after}, "D": {"$ne": True}}
        found = self._collections.resource.find(asked, SHOWN).sort([("r", 1)]).limit(limit)
        documents = await found.to_list()
        versions = await versions_of(self._collections, documents)
        return [(one["r"], version) for one, version in zip(documents, versions, strict=True)]


def _way(begin: Begin) -> Way:
    """Return which versions a page of history is of."""
    if begin.place is None:
        return Way(begin.snapshot + 1) if begin.snapshot else DOWN
    return Way(begin.place.number, begin.snapshot if begin.place.backwards else None)


def seen(where: Expression, document: Document | None) -> bool | None:
    """Return whether a resource matches what a policy asks most; None: only a search knows.

    Args:
        where: What is asked.
        document: The fields of MARKS.
    """
    if document is None or "D" in document:
        return False
    return _simple(where, document)


def _simple(where: Expression, document: Document) -> bool | None:
    match where:
        case And(operands) | Or(operands):
            found = [_simple(one, document) for one in operands]
            decides = isinstance(where, Or)
            if decides in found:
                return decides
            return None if None in found else not decides
        case Tagged(tag):
            return tag in document["g"]
        case InPatient(asked):
            return not asked.isdisjoint(document["p"])
        case _:
            return None
