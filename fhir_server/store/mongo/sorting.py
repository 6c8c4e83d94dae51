"""The order of `_sort`: places of resources in it, all of them or along the first key's index.

What is equal in the index is read whole, and sorted here by all keys; by one key alone, many that
are equal are found newest first.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from fhir_server.search import order
from fhir_server.search.expression import EVERYTHING, Sort
from fhir_server.search.match import Current
from fhir_server.search.order import SortValue
from fhir_server.search.values import IndexValues
from fhir_server.store.mongo import keys
from fhir_server.store.mongo.along import ORDERED, arms_of, as_indexed, groups
from fhir_server.store.mongo.filters import either, every
from fhir_server.store.mongo.judge import Candidate, judged
from fhir_server.store.mongo.newest import Way, newest
from fhir_server.store.mongo.plan import Plan, asked
from fhir_server.store.mongo.query import Clause
from fhir_server.store.mongo.reads import Reads
from fhir_server.store.mongo.schema import Document
from fhir_server.store.mongo.versions import name_of

_EQUAL: Final = 200
"""So many that are equal in an index are read to be sorted."""


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
    """Where a page begins: behind this place, which may be read against the order."""

    position: Any
    number: int
    values: tuple[SortValue | None, ...]
    backwards: bool = False


def placed(sort: tuple[Sort, ...], one: Candidate, *, backwards: bool = False) -> Placed:
    """Return a current resource at its place."""
    values = tuple(
        value for param in dict.fromkeys(key.param for key in sort) for value in one.values(param)
    )
    found = order.sort_values(sort, Current(name_of(one.key), one.updated, IndexValues(values)))
    position = order.position(sort, found, one.number, backwards=backwards)
    return Placed(position, one.number, found, one)


def _is_back(after: After | None) -> bool:
    return after is not None and after.backwards


async def gathered(
    reads: Reads,
    planned: Plan,
    sort: tuple[Sort, ...],
    snapshot: int,
    after: After | None,
    limit: int,
) -> tuple[list[Placed], int]:
    """Return the first matches behind a place, of all that the plan gives, and how many there are.

    Raises:
        WorkBudgetExceeded: They are too many.
    """
    found: list[Placed] = []
    seen: set[str] = set()
    number = 0
    for arm in planned.arms:
        where = asked(arm, planned.rest)
        if where is None:
            continue
        where = {**where, "r": {"$lte": snapshot}}
        async with aclosing(reads.batches(where, arm.hint)) as batches:
            async for batch in batches:
                new = [Candidate(one) for one in batch if one["_id"] not in seen]
                seen.update(one.key for one in new)
                more = await _sorted(reads, planned, sort, new, after)
                number += len(more)
                found = heapq.nsmallest(limit, [*found, *more])
    return found, number


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
    if first.kind not in {*ORDERED, "id", "last"}:
        return None
    view = _View(reads, planned, sort, snapshot, after)
    if first.kind in ORDERED and view.backwards:
        # Those without a value are the last of the order: against it they come first.
        found = await _without(reads, planned, sort, snapshot, after, limit)
        if len(found) < limit:
            found += await _with_value(view, limit - len(found))
        return found[:limit]
    found = []
    if after is None or after.values[0] is not None:
        found = await _with_value(view, limit)
    if first.kind in ORDERED and len(found) < limit:
        found += await _without(reads, planned, sort, snapshot, after, limit - len(found))
    return found[:limit]


@dataclass(frozen=True, slots=True)
class _View:
    """What is asked, and from where on."""

    reads: Reads
    planned: Plan
    sort: tuple[Sort, ...]
    snapshot: int
    after: After | None

    @property
    def backwards(self) -> bool:
        """Whether it is read against the order."""
        return _is_back(self.after)

    async def sorted(self, candidates: Sequence[Candidate]) -> list[Placed]:
        """Return those that match, behind the place where the page begins."""
        return await _sorted(self.reads, self.planned, self.sort, candidates, self.after)


async def _with_value(view: _View, limit: int) -> list[Placed]:
    """Return the first matches behind a place that have a value of the first key."""
    first, kind, after = view.sort[0], view.planned.kind, view.after
    value = None if after is None else after.values[0]
    start = None if value is None else as_indexed(kind, first, value)
    # By one key alone, what is equal stands newest first: many of them need not all be read.
    most = _EQUAL if len(view.sort) == 1 else None
    found: list[Placed] = []
    candidates: list[Candidate] = []
    walk = groups(
        view.reads, view.planned, first, view.snapshot, start, most, backwards=view.backwards
    )
    async with aclosing(walk):
        async for group in walk:
            if group.whole:
                candidates += group.candidates
                if len(found) + len(candidates) < limit:
                    continue
            found += await view.sorted(candidates)
            candidates = []
            if len(found) < limit and not group.whole:
                found += await _newest_of(view, group.value, start, limit - len(found))
            if len(found) >= limit:
                return found
    return found + await view.sorted(candidates)


async def _newest_of(view: _View, value: Any, start: Any, limit: int) -> list[Placed]:
    """Return the newest of the matches that are equal in the index of the only key."""
    planned, first = view.planned, view.sort[0]
    arms = arms_of(planned.kind, first, value)
    equal = either(every([arm.where, arm.also]) for arm in arms)
    within = replace(
        planned,
        parts=(*planned.parts, EVERYTHING),
        clauses=(*planned.clauses, Clause(equal, equal, arms)),
        driver=len(planned.clauses),
        arms=arms,
        rows=None,
        counted=0,
    )
    begun = view.after if start == value else None
    way = _way(begun, view.snapshot, backwards=view.backwards)
    found = await newest(view.reads, within, limit=limit, way=way)
    return [placed(view.sort, one, backwards=view.backwards) for one in found]


def _way(after: After | None, snapshot: int, *, backwards: bool) -> Way:
    """Return where equals begin, behind a place or at their first."""
    if backwards:
        return Way(0 if after is None else after.number, snapshot)
    return Way(snapshot + 1 if after is None else after.number)


async def _sorted(
    reads: Reads,
    planned: Plan,
    sort: tuple[Sort, ...],
    candidates: Sequence[Candidate],
    after: After | None,
) -> list[Placed]:
    found: list[Placed] = []
    for one in await judged(reads, planned.kind, planned.where, candidates):
        place = placed(sort, one, backwards=_is_back(after))
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
    absent: Document = {"o.a" + keys.path(planned.kind, sort[0].param): {"$exists": False}}
    backwards = _is_back(after)
    if after is not None and after.values[0] is not None:
        if backwards:
            return []  # none of them stands before it
        after = None  # all of them stand behind it
    if len(sort) == 1:
        way = _way(after, snapshot, backwards=backwards)
        found = await newest(reads, planned, limit=limit, way=way, only=absent)
        return [placed(sort, one, backwards=backwards) for one in found]
    found = await newest(reads, planned, limit=1 << 31, way=Way(snapshot + 1), only=absent)
    rest = [placed(sort, one, backwards=backwards) for one in found]
    return sorted(one for one in rest if after is None or one.position > after.position)[:limit]
