"""Walks along the index of a sort key: the resources of a type in the order of one field.

Of a parameter's values the index has the least and, where there are several, the greatest
(`ends.py`); texts in it are cut. What is equal in it is a group.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from typing import Any, Final

from fhir_server.search.expression import DateIs, NumberIs, QuantityIs, Sort
from fhir_server.store.keys import time_key
from fhir_server.store.mongo import keys
from fhir_server.store.mongo.ends import CODED, columns
from fhir_server.store.mongo.filters import ALIVE, either, every, keyed
from fhir_server.store.mongo.judge import Candidate
from fhir_server.store.mongo.plan import Plan
from fhir_server.store.mongo.query import Arm, names_of
from fhir_server.store.mongo.reads import JUDGED, Reads
from fhir_server.store.mongo.schema import Document

_SIZE: Final = 50
MOST: Final = 1_000
"""Resources in one piece of a walk, but where more are equal."""


@dataclass(frozen=True, slots=True)
class Group:
    """Resources that are equal in an index.

    Attributes:
        value: What they have there.
        candidates: All of them, or the first that were met.
        whole: Whether these are all.
    """

    value: Any
    candidates: list[Candidate]
    whole: bool


class _Stream:
    """Resources in the order of one field, one at a time.

    They are read a piece at a time, each from the value on with which the last one ended: no
    cursor of the database stays open behind a page.
    """

    def __init__(
        self, reads: Reads, where: Document, hint: str, field: str, step: int, size: int
    ) -> None:
        self._reads = reads
        self._where = where
        self._hint = hint
        self._field = field
        self._step = step
        self._size = size
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

    def pass_by(self, value: Any) -> None:
        """Leave out what else has a value, and what comes before it."""
        waiting = (self.value(one) for one in self._waiting)
        left = sum(one < value if self._step < 0 else one > value for one in waiting)
        self._waiting = self._waiting[:left]  # the next is the last of it
        if left:
            return
        self._equal, self._ended, self._size = set(), False, _SIZE
        behind = {self._field: {"$lt" if self._step < 0 else "$gt": value}}
        self._where = every([self._where, behind]) or {}

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
        is_one = self.value(documents[0]) == last
        self._equal = {one["_id"] for one in documents if self.value(one) == last}
        behind = {self._field: {"$lte" if self._step < 0 else "$gte": last}}
        self._where = every([self._where, behind]) or {}
        # More than are equal, in the end: what is would be read again and again.
        self._size = self._size * 2 if is_one else min(self._size * 2, MOST)


async def groups(
    reads: Reads,
    planned: Plan,
    first: Sort,
    snapshot: int,
    start: Any,
    most: int | None,
    *,
    backwards: bool = False,
    size: int | None = None,
) -> AsyncGenerator[Group, None]:
    """Give the resources that are equal in an index, group by group.

    Args:
        reads: What is asked.
        planned: What matches.
        first: The sort key.
        snapshot: The number after which no version counts.
        start: The value with which they begin, as it is indexed; None is the first.
        most: Of more that are equal not all are given; None gives all.
        backwards: The walk goes against the order.
        size: How many are read first.
    """
    streams: list[_Stream] = []
    is_down = first.descending != backwards
    for field, where, hint in _fields(planned, first, start, is_down=is_down):
        filter_ = every([where, {"r": {"$lte": snapshot}}, planned.may])
        if filter_ is not None:
            step = -1 if is_down else 1
            streams.append(_Stream(reads, filter_, hint, field, step, size or _SIZE))
    while True:
        heads = [(one.value(head), one) for one in streams if (head := await one.first())]
        if not heads:
            return
        pick = max if is_down else min
        value = pick(head for head, _ in heads)
        # What is cut may be equal here alone.
        is_cut = first.kind in _CUT and len(value) >= _CUT[first.kind]
        enough = None if is_cut else most
        group = await _equal([stream for _, stream in heads], value, enough)
        yield group
        if not group.whole:
            for stream in streams:
                stream.pass_by(value)


async def _equal(streams: list[_Stream], value: Any, most: int | None) -> Group:
    found: dict[str, Candidate] = {}
    for stream in streams:
        while (head := await stream.first()) and stream.value(head) == value:
            if most is not None and len(found) >= most:
                return Group(value, list(found.values()), whole=False)
            candidate = Candidate(stream.take())
            found[candidate.key] = candidate
    return Group(value, list(found.values()), whole=True)


def arms_of(kind: str, sort: Sort, value: Any) -> tuple[Arm, ...]:
    """Return the parts of an index that have what is equal in it, newest first where one can."""
    if sort.kind == "id":
        return (Arm({"_id": value, **ALIVE}, "_id_"),)
    if sort.kind == "last":
        return (Arm({"t": kind, "u": value, **ALIVE}, "updated", ordered=True),)
    if sort.kind in CODED and (asked := keyed(_keys(kind, sort, value))):
        return (Arm(asked, "keys", ordered=True, also=same(kind, sort, value)),)
    return tuple(Arm({field: value}, "ordered", also=also) for field, also in columns(kind, sort))


def _keys(kind: str, sort: Sort, value: str) -> Iterator[int]:
    """Give the keys of which what sorts by a code, reference or URI has one."""
    for name in names_of(sort.param):
        if sort.kind == "token":
            yield keys.token_code(kind, name, value)
        else:
            yield keys.uri(kind, name, value)
            yield keys.reference(kind, name, value)


def same(kind: str, sort: Sort, value: Any) -> Document:
    """Return a filter of what is equal in an index, which no index can serve."""
    if sort.kind == "id":
        return {"_id": value}
    if sort.kind == "last":
        return {"u": value}
    # Another index of the same fields is walked: twice negated this is no range of it.
    asked = [
        every([{"$nor": [{field: {"$ne": value}}]}, also]) for field, also in columns(kind, sort)
    ]
    return either(asked) or {}


def _fields(
    planned: Plan, sort: Sort, start: Any, *, is_down: bool
) -> list[tuple[str, Document, str]]:
    """Return the field of each stream, what it is asked, and its index."""
    kind = planned.kind
    sign = "$lte" if is_down else "$gte"
    if sort.kind == "id":
        bounds = {"$gte": f"{kind}/", "$lt": f"{kind}0"}  # "0" follows "/"
        if start is not None:
            bounds[sign] = start
        return [("_id", {"_id": bounds, **ALIVE}, "_id_")]
    if sort.kind == "last":
        moment = {} if start is None else {"u": {sign: start}}
        return [("u", {"t": kind, **moment, **ALIVE}, "updated")]
    if start is None:
        start = _END[sort.kind] if is_down else _BEGINNING[sort.kind]
    return [
        (field, every([{field: {sign: start}, **also}, part]) or {}, "ordered")
        for field, also in columns(kind, sort)
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
    **dict.fromkeys(("string", *CODED), ""),
}
_END: Final[dict[str, Any]] = {
    "date": 2**63 - 1,
    "number": "\U0010ffff",
    "quantity": "\U0010ffff",
    "string": "\U0010ffff" * (keys.LONGEST + 1),
    **dict.fromkeys(CODED, "\U0010ffff" * (keys.LONGEST_CODE + 1)),
}
_CUT: Final = {"string": keys.LONGEST, **dict.fromkeys(CODED, keys.LONGEST_CODE)}
"""So much of a text the index has."""


def as_indexed(kind: str, sort: Sort, value: Any) -> Any:
    """Return a sort value as the index has it."""
    match sort.kind:
        case "id":
            return f"{kind}/{value}"
        case "date":
            return time_key(value)
        case "string" | "token" | "reference" | "uri":
            return value[: _CUT[sort.kind]]
        case "number" | "quantity":
            return keys.number_key(value)
        case _:
            return value
