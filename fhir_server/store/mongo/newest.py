"""Matches of one type, newest first: read as the index gives them, judged by their entries.

A page that is read against the order has the oldest first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fhir_server.store.mongo.filters import Filter, every
from fhir_server.store.mongo.judge import Candidate, judged
from fhir_server.store.mongo.plan import LEVELS, Plan, absent, asked, driven, lacking
from fhir_server.store.mongo.query import Arm
from fhir_server.store.mongo.reads import JUDGED, NEWEST, OLDEST, WHOLE, Order, Reads
from fhir_server.store.mongo.schema import Document

TRIED: Final = 2_000
"""So many are looked at first, newest first, where every index gives many."""
GATHERED: Final = LEVELS[0]
"""So many are gathered and sorted without trying a walk."""
WALKED: Final = LEVELS[-1]
"""Resources of a type that are walked at most, before all that an index gives is gathered."""

LATEST: Final = 2**62
"""No version has this number."""

LOOKED: Final = 400
"""So many are judged with what their links lead to, before it is looked what that is."""

_WIDE: Final = 3
"""So many times a page are the first of these: each few more are a question for every link."""

_MOST: Final = 1_000
_SPARSE: Final = 200
"""So many are read at once where a page was not found among the newest few."""
_FIRST_WINDOW: Final = TRIED
_GROWTH: Final = 4
_LOOK: Final = 10
"""So many times a page are looked at first: where one in five matches, a page is among them."""
_SLACK: Final = 10
"""A walk is given up when it has gone so many times as far as it would if matches lay evenly."""


@dataclass(frozen=True, slots=True)
class Way:
    """Where a walk begins, and which way it goes: down to the oldest, or up to a snapshot.

    Attributes:
        begin: The numbers behind this one are visited.
        until: Oldest first, up to this number; None is newest first.
    """

    begin: int = LATEST
    until: int | None = None

    @property
    def order(self) -> Order:
        """In which the database gives what is visited."""
        return NEWEST if self.until is None else OLDEST

    def behind(self, number: int) -> Document:
        """Return what the numbers have that stand behind one."""
        if self.until is None:
            return {"$lt": number}
        return {"$gt": number, "$lte": self.until}

    def between(self, number: int, last: int) -> Document:
        """Return what the numbers have that stand behind one, up to a last one (0: all)."""
        if self.until is None:
            return {"$lt": number, "$gte": last}
        return {"$gt": number, "$lte": last or self.until}

    def key(self, number: int) -> int:
        """Return a number that is the less the sooner one is visited."""
        return -number if self.until is None else number


DOWN: Final = Way()
"""All, newest first."""


async def newest(
    reads: Reads,
    planned: Plan,
    *,
    limit: int,
    way: Way = DOWN,
    only: Filter = None,
    whole: bool = False,
) -> list[Candidate]:
    """Return the first matches along a way.

    Args:
        reads: What is asked.
        planned: How they are found.
        limit: How many at most.
        way: Where they begin.
        only: A filter that they pass too.
        whole: Whether they are to be shown: read whole where no other is read.

    Raises:
        WorkBudgetExceeded: They are too hard to find.
    """
    if planned.may is None or limit <= 0:
        return []
    search = _Newest(reads, planned, {} if only is None else only, limit, way, whole=whole)
    if planned.many and not search.is_along:
        if await search.glanced():
            reads.note("the newest few of the type were enough")
            return search.first
        planned = await search.replan(LEVELS[1:2])
    if planned.many:
        if await search.tried():
            reads.note("the newest few of an index were enough")
            return search.first
        reads.note("the newest few of an index were not enough")
        further = [one for one in LEVELS[1:] if one > planned.counted] or LEVELS[-1:]
        planned = await search.replan(further)
    many = planned.rows is None or planned.rows >= GATHERED
    if many and not planned.ordered:
        if search.is_near and await search.walked():
            reads.note("what was begun walked newest first")
            return search.first
        reads.note("no walk: what matches lies far back")
    if planned.driver is None and absent(planned) is not None:
        if await search.glanced():
            reads.note("the newest few of the type were enough")
            return search.first
        number = await lacking(reads, planned)
        if number == 0:
            reads.note("all of the type have a value, as the index tells")
            return []
        search.bound(number)
    walked = "all of the type" if planned.driver is None else "the index"
    reads.note(f"{walked} walked newest first" if planned.ordered else "the index sorted by number")
    return await search.streamed() or []


async def looked(
    reads: Reads, planned: Plan, *, limit: int, way: Way = DOWN
) -> list[Candidate] | None:
    """Return the first matches along a way, or None where they are not among the first few.

    Raises:
        WorkBudgetExceeded: They are too hard to find.
    """
    if planned.may is None:
        return []
    if planned.rows is None and not planned.ordered:
        return None
    found = await _Newest(reads, planned, {}, limit, way, whole=False).streamed(LOOKED)
    if found is not None:
        reads.note("the newest few judged with what their links lead to")
    return found


class _Newest:
    """One search for the newest of a plan that pass one more filter, at most so many."""

    def __init__(
        self, reads: Reads, planned: Plan, only: Document, limit: int, way: Way, *, whole: bool
    ) -> None:
        self._only = only
        self._way = way
        self._whole = whole and planned.exact
        self._reads = reads
        self._plan = planned
        self._limit = limit
        self._found: list[Candidate] = []
        self._begun: int | None = None
        self._looked_at = 0
        self._is_glanced = False
        self._glance = 0, 0
        is_single = planned.ordered and len(planned.arms) == 1
        self._along = planned.arms[0] if is_single else planned.walk
        self._rest = planned.rest if is_single else planned.may

    @property
    def first(self) -> list[Candidate]:
        """What was found along an arm, no more than was asked."""
        return self._found[: self._limit]

    @property
    def is_along(self) -> bool:
        """Whether what is looked at first is a part of an index, and not all of the type."""
        return self._along != self._plan.walk

    @property
    def is_near(self) -> bool:
        """Whether to walk on is probably less than to gather all that the index gives.

        It is told by what was found so far.
        """
        if self._plan.rows is None:
            return True
        looked_at, found = self._glance
        if self._looked_at:
            looked_at, found = self._looked_at, len(self._found)
        return (self._limit - found) * looked_at // (found + 1) <= self._plan.rows

    async def replan(self, levels: Sequence[int]) -> Plan:
        """Go on by the plan that counting indexes up to these gives, and return it."""
        kind, where = self._plan.kind, self._plan.where
        self._plan = await driven(self._reads, kind, where, levels=levels)
        self._reads.plans[kind, where] = self._plan
        return self._plan

    def bound(self, number: int | None) -> None:
        """Look for no more than so many, where it is known that there are no more."""
        if number is not None:
            self._limit = min(self._limit, number)

    async def _judged(self, documents: list[Document]) -> list[Candidate]:
        candidates = [Candidate(one) for one in documents]
        return await judged(self._reads, self._plan.kind, self._plan.where, candidates)

    async def streamed(self, most: int | None = None) -> list[Candidate] | None:
        """Return them as all arms give them; None where more than `most` must be judged."""
        rest = every([self._plan.rest, self._only])
        arms = [(arm, asked(arm, rest)) for arm in self._plan.arms]
        found: list[Candidate] = []
        size = self._limit if most is None else self._limit * _WIDE
        at: int | None = self._way.begin
        if self._begun is not None and (self._along,) == self._plan.arms:
            # What was tried was not enough: it goes on from there.
            found, at = self._found, self._begun
            size = size if self._plan.exact else max(size, _SPARSE)
        looked_at = 0
        while at is not None and len(found) < self._limit:
            if most is not None and looked_at > most:
                return None
            documents, at = await self._batch(arms, at, size)
            looked_at += len(documents)
            found += await self._judged(documents)
            size = min(max(size * 2, 50), _MOST)
        return found[: self._limit]

    async def _batch(
        self, arms: list[tuple[Arm, Filter]], at: int, size: int
    ) -> tuple[list[Document], int | None]:
        """Return the next of all arms, and behind which number there are more (None: no more)."""
        way = self._way
        gathered: dict[str, Document] = {}
        ends: list[int] = []
        asked_ = [
            ({**where, "r": way.behind(at)}, arm.hint) for arm, where in arms if where is not None
        ]
        each = await self._reads.newest_of(asked_, limit=size, whole=self._whole, order=way.order)
        for documents in each:
            if len(documents) >= size:
                # Of this arm nothing is known behind its last one.
                ends.append(documents[-1]["r"])
            gathered.update((one["_id"], one) for one in documents)
        found = sorted(gathered.values(), key=lambda one: way.key(one["r"]))
        if not ends:
            return found, None
        reached = min(ends, key=way.key)
        return [one for one in found if way.key(one["r"]) <= way.key(reached)], reached

    async def glanced(self) -> bool:
        """Look at the first few alone; return whether that was enough."""
        where = asked(self._along, every([self._rest, self._only]))
        if where is None:
            return True
        self._is_glanced = True
        return await self._at_once(self._along, where, self._way.begin, TRIED)

    async def tried(self) -> bool:
        """Look among the newest few of an index; return whether that was enough."""
        return await self._windows(TRIED)

    async def walked(self) -> bool:
        """Walk on where it was begun; False where what matches lies far back."""
        return await self._windows(self._worth() if self._plan.rows is None else self._plan.rows)

    async def _windows(self, left: int) -> bool:
        """Look among the next `left`; return whether that was enough.

        It is walked in windows, so that the database looks at no more than was meant. Where
        matches are dense, one look at the first few of it is all.
        """
        arm = self._along
        where = asked(arm, every([self._rest, self._only]))
        if where is None:
            return True
        at = self._way.begin if self._begun is None else self._begun
        if not self._is_glanced and self._begun is None:
            self._is_glanced = True
            if await self._at_once(arm, where, at, left):
                return True
        window, size = min(_FIRST_WINDOW, max(left, 1)), self._limit
        while left > 0:
            end = await self._after(arm, at, window)
            while len(self._found) < self._limit:
                documents = await self._reads.newest(
                    {**where, "r": self._way.between(at, end)},
                    arm.hint,
                    limit=size,
                    whole=self._whole,
                    order=self._way.order,
                )
                self._found += await self._judged(documents)
                if len(documents) < size:
                    break
                at = documents[-1]["r"]
                size = min(size * 2, _MOST)
            if len(self._found) >= self._limit or not end:
                return True
            self._begun = at = end
            self._looked_at += window
            left -= window
            window = min(window * _GROWTH, max(left, 1))
        return False

    async def _at_once(self, arm: Arm, where: Document, at: int, left: int) -> bool:
        """Look among the first few of an arm; return whether that was enough, else forget them.

        The database reads all of these few, whatever matches: a page of them, and no more.
        """
        window = min(_LOOK * self._limit, left)
        if not 0 < window <= _MOST:
            return False
        stages: list[Document] = [
            *_next(arm, self._way, at, window),
            {"$match": where},
            {"$limit": self._limit},
            {"$project": dict(WHOLE if self._whole else JUDGED)},
        ]
        documents = await self._reads.aggregate(stages, arm.hint)
        self._reads.spend(len(documents))
        found = await self._judged(documents)
        if len(found) < self._limit:
            self._glance = window, len(found)
            return False
        self._found = found
        self._reads.dense.add((self._plan.kind, self._plan.where))
        return True

    def _worth(self) -> int:
        """Return how many more are walked where every index gives very many, before all of one."""
        size = self._reads.sizes.get(self._plan.kind, WALKED * WALKED)
        return min(WALKED, _SLACK * self._limit * size // WALKED)

    async def _after(self, arm: Arm, at: int, window: int) -> int:
        """Return the number of the version that stands so many after another, 0 at the end."""
        stages = [
            *_next(arm, self._way, at, window + 1),
            {"$skip": window},
            {"$project": {"_id": 0, "r": 1}},
        ]
        found = await self._reads.aggregate(stages, arm.hint)
        return int(found[0]["r"]) if found else 0


def _next(arm: Arm, way: Way, at: int, window: int) -> list[Document]:
    """Return the stages that give the next so many of an arm."""
    # A deleted one is as good a bound, and the index alone tells it.
    where = {name: value for name, value in arm.where.items() if name != "D"}
    return [
        {"$match": {**where, "r": way.behind(at)}},
        {"$sort": dict(way.order)},
        {"$limit": window},
    ]
