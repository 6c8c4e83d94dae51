"""The order of `_sort`: places of resources in it, all of them or along the first key's index.

Few that are equal in the index are read, and sorted here by all keys. Many are not: by the last
key they are found newest first, and by others along the next key's index, so that a page costs
what it shows.
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
from fhir_server.store.mongo.along import arms_of, as_indexed, groups, same
from fhir_server.store.mongo.ends import CODED, ORDERED, absent
from fhir_server.store.mongo.filters import Filter
from fhir_server.store.mongo.judge import Candidate, judged
from fhir_server.store.mongo.newest import GATHERED, Way, newest
from fhir_server.store.mongo.plan import LEVELS, Plan, asked
from fhir_server.store.mongo.query import Clause
from fhir_server.store.mongo.reads import DOCUMENTS, Reads
from fhir_server.store.mongo.versions import name_of
from fhir_server.store.port import WorkBudgetExceeded

EACH: Final = 0.00004
"""Seconds that gathering takes for each resource, about: a walk is tried for as long."""
TRIED: Final = 1.0
"""Seconds for which a walk along a further key is tried at least: on a busy machine it takes long,
and to sort all that are equal takes longer."""
_EQUAL: Final = 200
"""So many that are equal in an index are read to be sorted."""
_EQUAL_CODES: Final = 50
"""So many that have one code or reference: more of these are soon walked newest first."""


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
    view = _View(reads, planned, sort, snapshot, after)
    return await _along(view, limit) if view.is_along else None


@dataclass(frozen=True, slots=True)
class _View:
    """What is asked, from where on, and how much of the order is settled.

    Attributes:
        equal: What all are equal in by the first keys, as it is indexed; None where they lack it.
    """

    reads: Reads
    planned: Plan
    sort: tuple[Sort, ...]
    snapshot: int
    after: After | None
    equal: tuple[Any, ...] = ()

    @property
    def backwards(self) -> bool:
        """Whether it is read against the order."""
        return _is_back(self.after)

    @property
    def key(self) -> Sort:
        """The key along whose index it goes on."""
        return self.sort[len(self.equal)]

    @property
    def is_last(self) -> bool:
        """Whether what is equal by that key too stands newest first."""
        return len(self.equal) + 1 == len(self.sort)

    @property
    def is_along(self) -> bool:
        """Whether an index is in the order of the key."""
        kind = self.key.kind
        if kind in CODED:
            return self.planned.kind not in self.reads.unordered
        return kind in ORDERED or kind in {"id", "last"}

    @property
    def start(self) -> tuple[Any, ...]:
        """What the page begins with in the index, None where it lacks that; () is the first."""
        if self.after is None:
            return ()
        at = len(self.equal)
        values = tuple(
            None if value is None else as_indexed(self.planned.kind, sort, value)
            for sort, value in zip(self.sort, self.after.values[: at + 1], strict=False)
        )
        return values[at:] if values[:at] == self.equal else ()

    def inside(self, value: Any, clause: Clause) -> _View:
        """Return what is also equal by the key, which a clause says."""
        planned = self.planned
        clauses = (*planned.clauses, clause)
        within = replace(planned, parts=(*planned.parts, EVERYTHING), clauses=clauses)
        if clause.arms is not None:
            driver, arms = len(planned.clauses), clause.arms
            within = replace(within, driver=driver, arms=arms, rows=None, counted=0)
        return replace(self, planned=within, equal=(*self.equal, value))

    def way(self, *, is_inside: bool) -> Way:
        """Return where those equal by all keys begin: where the page does, or at their first."""
        number = self.after.number if self.after is not None and is_inside else None
        if self.backwards:
            return Way(0 if number is None else number, self.snapshot)
        return Way(self.snapshot + 1 if number is None else number)

    async def sorted(self, candidates: Sequence[Candidate]) -> list[Placed]:
        """Return those that match, behind the place where the page begins."""
        return await _sorted(self.reads, self.planned, self.sort, candidates, self.after)

    async def newest(self, limit: int, way: Way, only: Filter = None) -> list[Placed]:
        """Return the first of those that are equal by all keys."""
        found = await newest(self.reads, self.planned, limit=limit, way=way, only=only)
        return [placed(self.sort, one, backwards=self.backwards) for one in found]


async def _along(view: _View, limit: int) -> list[Placed]:
    """Return the first, behind the page's beginning, along the index of the next key."""
    if view.key.kind in {"id", "last"}:
        return (await _with_value(view, limit))[:limit]
    found: list[Placed] = []
    if view.backwards:
        # Those without a value are the last of the order: against it they come first.
        found = await _without(view, limit)
        if len(found) < limit:
            found += await _with_value(view, limit - len(found))
        return found[:limit]
    if view.start != (None,):
        found = await _with_value(view, limit)
    if len(found) < limit:
        found += await _without(view, limit - len(found))
    return found[:limit]


async def _with_value(view: _View, limit: int) -> list[Placed]:
    """Return the first of those that have a value of the key."""
    start = next(iter(view.start), None)
    most = _EQUAL_CODES if view.key.kind in CODED else _EQUAL
    found: list[Placed] = []
    candidates: list[Candidate] = []
    # Within what is equal each may lie far behind the one before: a page, and one that ends it.
    size = limit + 1 if view.equal else None
    walk = groups(
        view.reads,
        view.planned,
        view.key,
        view.snapshot,
        start,
        most,
        backwards=view.backwards,
        size=size,
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
                found += await _equal(view, group.value, limit - len(found))
            if len(found) >= limit:
                return found
    return found + await view.sorted(candidates)


async def _equal(view: _View, value: Any, limit: int) -> list[Placed]:
    """Return the first of the many that have a value of the key."""
    kind = view.planned.kind
    filter_ = same(kind, view.key, value)
    inside = view.inside(value, Clause(filter_, filter_, arms_of(kind, view.key, value)))
    if view.is_last:
        return await inside.newest(limit, view.way(is_inside=view.start == (value,)))
    number = 0
    for arm in inside.planned.arms:
        number += await view.reads.count(arm.where, arm.hint, most=LEVELS[-1] - number)
    return await _first_of(inside, number, limit)


async def _without(view: _View, limit: int) -> list[Placed]:
    """Return the first of those that have no value of the key."""
    lacking = absent(view.planned.kind, view.key)
    start = view.start
    if view.backwards and start not in {(), (None,)}:
        return []  # none of them stands before it
    if view.is_last:
        return await view.newest(limit, view.way(is_inside=start == (None,)), only=lacking)
    return await _first_of(view.inside(None, Clause(lacking, lacking)), LEVELS[-1], limit)


async def _first_of(view: _View, number: int, limit: int) -> list[Placed]:
    """Return the first of so many that are equal by the keys before: few are all sorted."""
    if view.is_along and number > GATHERED:
        try:
            seconds = max(number * EACH, TRIED)
            with view.reads.within(seconds=seconds, documents=DOCUMENTS):
                return await _along(view, limit)
        except WorkBudgetExceeded:
            view.reads.note("a walk along a further key given up: what matches lies far along")
    found, _ = await gathered(view.reads, view.planned, view.sort, view.snapshot, view.after, limit)
    return found


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
