"""The order of `_sort`: places of resources in it, and walks along the index of the first key.

Of a parameter's values the index has the least (`o.a…`) and, where there are several, the
greatest (`o.d…`); texts in it are cut. What is equal in it is a group: it is read whole, and
sorted here by all keys.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from fhir_server.search import order
from fhir_server.search.expression import DateIs, NumberIs, QuantityIs, Sort
from fhir_server.search.match import Current
from fhir_server.search.order import SortValue
from fhir_server.search.values import IndexValues
from fhir_server.store.keys import time_key
from fhir_server.store.mongo import keys
from fhir_server.store.mongo.filters import ALIVE, every
from fhir_server.store.mongo.judge import Candidate, judged
from fhir_server.store.mongo.newest import newest
from fhir_server.store.mongo.plan import Plan, asked
from fhir_server.store.mongo.reads import JUDGED, Reads
from fhir_server.store.mongo.schema import Document
from fhir_server.store.mongo.versions import name_of

_ORDERED: Final = frozenset({"date", "number", "quantity", "string"})
_SIZE: Final = 50


class Placed(NamedTuple):
    """A match at its place in the order.

    Attributes:
        position: Compares as the order asks.
        number: Of the version that has this place.
        values: What that version is sorted by.
        match: The resource as it is now.
    """

    position: Any
    number: int
    values: tuple[SortValue | None, ...]
    match: Candidate


@dataclass(frozen=True, slots=True)
class After:
    """Where a page begins: behind this place."""

    position: Any
    number: int
    values: tuple[SortValue | None, ...]


def placed(sort: tuple[Sort, ...], one: Candidate) -> Placed:
    """Return a current resource at its place."""
    values = tuple(
        value for param in dict.fromkeys(key.param for key in sort) for value in one.values(param)
    )
    found = order.sort_values(sort, Current(name_of(one.key), one.updated, IndexValues(values)))
    return Placed(order.position(sort, found, one.number), one.number, found, one)


async def gathered(
    reads: Reads,
    planned: Plan,
    sort: tuple[Sort, ...],
    snapshot: int,
    after: After | None,
    limit: int,
) -> list[Placed]:
    """Return the first matches behind a place, of all that the plan gives.

    Raises:
        WorkBudgetExceeded: They are too many.
    """
    found: list[Placed] = []
    seen: set[str] = set()
    for arm in planned.arms:
        where = asked(arm, planned.rest)
        if where is None:
            continue
        where = {**where, "r": {"$lte": snapshot}}
        async with aclosing(reads.batches(where, arm.hint)) as batches:
            async for batch in batches:
                new = [Candidate(one) for one in batch if one["_id"] not in seen]
                seen.update(one.key for one in new)
                found += await _sorted(reads, planned, sort, new, after)
                found = heapq.nsmallest(limit, found)
    return found


async def walked(
    reads: Reads,
    planned: Plan,
    sort: tuple[Sort, ...],
    snapshot: int,
    after: After | None,
    limit: int,
) -> list[Placed] | None:
    """Return the first matches behind a place, along the first key; None: it has no index.

    Raises:
        WorkBudgetExceeded: They lie too far along.
    """
    first = sort[0]
    if first.kind not in {*_ORDERED, "id", "last"}:
        return None
    found: list[Placed] = []
    if after is None or after.values[0] is not None:
        candidates: list[Candidate] = []
        async with aclosing(_groups(reads, planned, first, snapshot, after)) as groups:
            async for group in groups:
                candidates += group
                if len(found) + len(candidates) >= limit:
                    found += await _sorted(reads, planned, sort, candidates, after)
                    candidates = []
                    if len(found) >= limit:
                        return found[:limit]
        found += await _sorted(reads, planned, sort, candidates, after)
    if first.kind in _ORDERED and len(found) < limit:
        found += await _without(reads, planned, sort, snapshot, after, limit - len(found))
    return found[:limit]


async def _sorted(
    reads: Reads,
    planned: Plan,
    sort: tuple[Sort, ...],
    candidates: Sequence[Candidate],
    after: After | None,
) -> list[Placed]:
    found: list[Placed] = []
    for one in await judged(reads, planned.kind, planned.where, candidates):
        place = placed(sort, one)
        one.forget()
        if after is None or place.position > after.position:
            found.append(place)
    return sorted(found)


async def _without(
    reads: Reads,
    planned: Plan,
    sort: tuple[Sort, ...],
    snapshot: int,
    after: After | None,
    limit: int,
) -> list[Placed]:
    """Return the first matches behind a place that have no value of the first key."""
    field = "o.a" + keys.path(planned.kind, sort[0].param)
    if after is not None and after.values[0] is not None:
        after = None  # all of them stand behind it
    if len(sort) == 1:
        before = snapshot + 1 if after is None else after.number
        found = await newest(
            reads, planned, limit=limit, before=before, only={field: {"$exists": False}}
        )
        return [placed(sort, one) for one in found]
    found = await newest(
        reads, planned, limit=1 << 31, before=snapshot + 1, only={field: {"$exists": False}}
    )
    rest = [placed(sort, one) for one in found]
    return sorted(one for one in rest if after is None or one.position > after.position)[:limit]


# --- along an index --------------------------------------------------------------------------


class _Stream:
    """Resources in the order of one field, one at a time.

    They are read a piece at a time, each from the value on with which the last one ended: no
    cursor of the database stays open behind a page.
    """

    def __init__(self, reads: Reads, where: Document, hint: str, field: str, step: int) -> None:
        self._reads = reads
        self._where = where
        self._hint = hint
        self._field = field
        self._step = step
        self._size = _SIZE
        self._waiting: list[Document] = []
        self._equal: set[str] = set()
        self._ended = False

    async def first(self) -> Document | None:
        """Return the next document, and leave it there."""
        while not self._waiting and not self._ended:
            await self._read()
        return self._waiting[-1] if self._waiting else None

    def take(self) -> Document:
        """Take the document that `first` returned."""
        return self._waiting.pop()

    def value(self, document: Document) -> Any:
        """Return what it is sorted by."""
        found: Any = document
        for name in self._field.split("."):
            found = found[name]
        return found

    async def _read(self) -> None:
        documents = await self._reads.find(
            self._where,
            self._hint,
            order=((self._field, self._step),),
            limit=self._size,
            fields={**JUDGED, self._field: 1},
        )
        self._ended = len(documents) < self._size
        self._waiting = [one for one in reversed(documents) if one["_id"] not in self._equal]
        if self._ended:
            return
        last = self.value(documents[-1])
        self._equal = {one["_id"] for one in documents if self.value(one) == last}
        behind = {self._field: {"$lte" if self._step < 0 else "$gte": last}}
        self._where = every([self._where, behind]) or {}
        self._size *= 2  # more than may be equal, in the end


async def _groups(
    reads: Reads, planned: Plan, first: Sort, snapshot: int, after: After | None
) -> AsyncGenerator[list[Candidate], None]:
    """Give the resources that are equal in an index, group by group."""
    start = None if after is None else _as_indexed(planned.kind, first, after.values[0])
    streams: list[_Stream] = []
    for field, where, hint in _fields(planned, first, start):
        filter_ = every([where, {"r": {"$lte": snapshot}}, planned.may])
        if filter_ is not None:
            streams.append(_Stream(reads, filter_, hint, field, -1 if first.descending else 1))
    while True:
        heads = [(one.value(head), one) for one in streams if (head := await one.first())]
        if not heads:
            return
        pick = max if first.descending else min
        value = pick(head for head, _ in heads)
        group: dict[str, Candidate] = {}
        for _, stream in heads:
            while (head := await stream.first()) and stream.value(head) == value:
                candidate = Candidate(stream.take())
                group[candidate.key] = candidate
        yield list(group.values())


def _fields(planned: Plan, sort: Sort, start: Any) -> list[tuple[str, Document, str]]:
    """Return the field of each stream, what it is asked, and its index."""
    kind = planned.kind
    sign = "$lte" if sort.descending else "$gte"
    if sort.kind == "id":
        bounds = {"$gte": f"{kind}/", "$lt": f"{kind}0"}  # "0" follows "/"
        if start is not None:
            bounds[sign] = start
        return [("_id", {"_id": bounds, **ALIVE}, "_id_")]
    if sort.kind == "last":
        moment = {} if start is None else {"u": {sign: start}}
        return [("u", {"t": kind, **moment, **ALIVE}, "updated")]
    path = keys.path(kind, sort.param)
    least, greatest = "o.a" + path, "o.d" + path
    if start is None:
        start = _END[sort.kind] if sort.descending else _BEGINNING[sort.kind]
    fields: list[tuple[str, Document]] = [(least, {least: {sign: start}})]
    if sort.descending:
        fields = [
            (greatest, {greatest: {sign: start}}),
            (least, {least: {sign: start}, greatest: {"$exists": False}}),
        ]
    return [
        (field, every([where, part]) or {}, "ordered")
        for field, where in fields
        for part in _ranges(planned, sort.param)
    ]


def _ranges(planned: Plan, param: str) -> list[Document]:
    """Return the ranges in which values of a parameter are asked."""
    found = [
        one.arms
        for part, one in zip(planned.parts, planned.clauses, strict=True)
        if isinstance(part, DateIs | NumberIs | QuantityIs) and part.param == param and one.arms
    ]
    # What has many parts begins at a value; where there are others, they end at one.
    arms = max(found, key=len, default=())
    return [every([arm.where, arm.also]) or {} for arm in arms] or [{}]


_BEGINNING: Final[dict[str, Any]] = {
    "date": -(2**63),
    "number": "",
    "quantity": "",
    "string": "",
}
_END: Final[dict[str, Any]] = {
    "date": 2**63 - 1,
    "number": "\U0010ffff",
    "quantity": "\U0010ffff",
    "string": "\U0010ffff",
}


def _as_indexed(kind: str, sort: Sort, value: Any) -> Any:
    match sort.kind:
        case "id":
            return f"{kind}/{value}"
        case "date":
            return time_key(value)
        case "string":
            return value[: keys.LONGEST]
        case "number" | "quantity":
            return keys.number_key(value)
        case _:
            return value
