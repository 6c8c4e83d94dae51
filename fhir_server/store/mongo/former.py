"""What a version that is no longer current was sorted by.

Only current versions are indexed. A page that others write beside needs the place of what they
changed: it is read from the body of the version that was current on the first page's time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fhir_server.model import codec
from fhir_server.search import order
from fhir_server.search.expression import Search, Sort
from fhir_server.search.extract import index_values
from fhir_server.search.match import Current
from fhir_server.search.order import SortValue
from fhir_server.search.values import IndexValues
from fhir_server.store.mongo.reads import Reads
from fhir_server.store.mongo.schema import Document
from fhir_server.store.mongo.versions import SHOWN, name_of, versions_of

_KEPT: Final = 20_000
_COST: Final = 4
"""What reading and indexing a version again costs, in resources judged."""
_CHUNK: Final = 500

Values = tuple[SortValue | None, ...]


class Former:
    """Reads old versions; their sort values, once read, are kept: a version never changes."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, tuple[Sort, ...], str], Values] = {}

    async def at(self, reads: Reads, keys: Sequence[str], snapshot: int) -> dict[str, Document]:
        """Return the versions that were current then, by `Type/id`, without those deleted.

        Raises:
            WorkBudgetExceeded: They are too many.
        """
        found: dict[str, Document] = {}
        for start in range(0, len(keys), _CHUNK):
            chunk = list(keys[start : start + _CHUNK])
            cursor = await reads.collections.history.aggregate(
                [
                    {"$match": {"n": {"$in": chunk}, "_id": {"$lte": snapshot}}},
                    {"$group": {"_id": "$n", "number": {"$max": "$_id"}}},
                ],
                session=reads.session,
                hint="versions",
                maxTimeMS=reads.milliseconds(),
            )
            numbers = [one["number"] async for one in cursor]
            reads.spend(len(chunk))
            versions = reads.collections.history.find(
                {"_id": {"$in": numbers}, "D": {"$ne": True}},
                {"n": 1, "u": 1},
                session=reads.session,
                max_time_ms=reads.milliseconds(),
            )
            async for one in versions:
                found[one["n"]] = one
        return found

    async def values(
        self, reads: Reads, search: Search, versions: Sequence[Document]
    ) -> dict[int, Values]:
        """Return what versions were sorted by, by their numbers.

        Raises:
            WorkBudgetExceeded: They are too many.
        """
        sort, base_url = search.sort, search.base_url
        if all(one.kind in {"id", "last"} for one in sort):
            nothing = IndexValues()
            return {one["_id"]: _sorted_by(sort, one["n"], one["u"], nothing) for one in versions}
        if len(self._kept) > _KEPT:
            self._kept.clear()
        numbers = [one["_id"] for one in versions]
        unknown = [one for one in numbers if (one, sort, base_url) not in self._kept]
        for start in range(0, len(unknown), _CHUNK):
            chunk = unknown[start : start + _CHUNK]
            reads.spend(_COST * len(chunk))
            cursor = reads.collections.history.find(
                {"_id": {"$in": chunk}},
                SHOWN,
                session=reads.session,
                max_time_ms=reads.milliseconds(),
            )
            documents = await cursor.to_list()
            made = await versions_of(reads.collections, documents, reads.session)
            for document, version in zip(documents, made, strict=True):
                index = index_values(
                    codec.loads_stored(version.body),
                    base_url=base_url,
                    known=search.known,
                    words=False,
                )
                found = _sorted_by(sort, document["n"], document["u"], index)
                self._kept[document["_id"], sort, base_url] = found
        return {one: self._kept[one, sort, base_url] for one in numbers}


def _sorted_by(sort: tuple[Sort, ...], key: str, updated: int, index: IndexValues) -> Values:
    return order.sort_values(sort, Current(name_of(key), int(updated), index))
