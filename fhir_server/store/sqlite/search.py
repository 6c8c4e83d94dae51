"""Search: one page of matches, in order, from one consistent view of the store.

The first page fixes what is visited: its snapshot (the greatest rid of its view) stands in the
cursor with the place where the next page begins. What is created later has a greater rid and is on
no page. What is changed later has a greater rid too, but keeps the place of the rid that it had at
the snapshot, and the values that it was sorted by then, so each match is visited once; it is shown,
and judged, as it is now.
"""

# ruff: noqa: S608 - every piece of the SQL is ours; what a client says is bound

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final

import apsw

from fhir_server.search import paging
from fhir_server.search.expression import (
    COUNTED_AMONG,
    COUNTED_OF,
    MOST_COUNTED,
    And,
    Expression,
    Or,
    Search,
    Sort,
)
from fhir_server.search.paging import Around, Begin, Place
from fhir_server.store.cursor import Cursors
from fhir_server.store.explained import Candidate, Explained, told
from fhir_server.store.port import BadCursor, WorkBudgetExceeded
from fhir_server.store.sqlite.along import Along
from fhir_server.store.sqlite.arms import Source
from fhir_server.store.sqlite.budget import FULL, Budget
from fhir_server.store.sqlite.connect import cursor_key
from fhir_server.store.sqlite.former import Former
from fhir_server.store.sqlite.names import Names
from fhir_server.store.sqlite.packing import Packing
from fhir_server.store.sqlite.plan import LEVELS, LINKED, LINKED_ALL, MANY, Best, Sources, flat
from fhir_server.store.sqlite.search_sql import Predicates, Sql, as_json
from fhir_server.store.sqlite.sorting import Sorting

LATEST_RID: Final = 2**62


@dataclass(frozen=True, slots=True)
class Span:
    """The rids between two others, and which of them come first.

    Attributes:
        after: They are greater.
        before: They are less.
        oldest: The oldest come first, not the newest.
    """

    before: int = LATEST_RID
    after: int = 0
    oldest: bool = False

    @property
    def order(self) -> str:
        """The direction of SQL in which the first come first."""
        return "ASC" if self.oldest else "DESC"

    def sql(self, rid: str) -> Sql:
        """Return the condition of a rid."""
        if not self.after:
            return Sql(f"{rid} < ?", (self.before,))
        return Sql(f"{rid} > ? AND {rid} < ?", (self.after, self.before))


ALL: Final = Span()
"""All rids, newest first."""
WALK_STEPS: Final = 3_000_000
"""Steps for which a walk is tried at most, before all that an index gives is gathered."""
TRIED_STEPS: Final = 150_000
"""Steps for which resources are asked one by one for a page, before two indexes are held against
one another."""
COUNTED_STEPS: Final = 700_000
"""The same for a total: what MOST_COUNTED matches take of which two resources each are asked."""
FIRST_STEPS: Final = 15_000
"""Steps for which the newest of a type are looked at, before what is costly to ask is counted."""

_GATHERED: Final = LEVELS[0]
"""So many rids are gathered and sorted without trying a walk."""
_ENTRY_ROWS: Final = 10
"""Rows that are gathered while one resource is asked by its entry, about."""
_STEPS_EACH: Final = 30
"""Steps that gathering takes for each rid, about: a walk is tried for as long."""

COUNT_STEPS: Final = 20_000_000
"""Steps for which matches are counted where no accurate total is asked for, whatever the page took:
several times what all of COUNTED_AMONG take."""

_UNIT: Final = "steps of SQLite"


@dataclass(frozen=True, slots=True)
class _Took:
    """How the matches of a type were looked for, and what that took."""

    ways: tuple[str, ...]
    steps: int
    milliseconds: float


Placed = tuple[int, tuple[Any, ...]]
"""The rid that has a place, and what it is sorted by."""

_CHUNK: Final = 64
_ONE_BY_ONE: Final = 4
"""Of more types it is asked first which the store has at all."""


class _NotCounted(WorkBudgetExceeded):
    """Matches are not counted, whatever budget there is."""


class Searcher:
    """Searches on one connection; the caller holds a transaction open."""

    def __init__(self, db: apsw.Connection, names: Names, packing: Packing) -> None:
        self.db = db
        self.budget = Budget(db)
        self.cursors: Cursors | None = None
        self._sql = Predicates(db, names, packing, self.budget.charge)
        self._sources = Sources(self._sql, self._few)
        former = Former(db, packing, self.budget)
        self._sorting = Sorting(self._sql, former)
        self._against = Sorting(self._sql, former, backwards=True)
        self._along = Along(self._sql, self._sorting, self.budget)
        self._along_against = Along(self._sql, self._against, self.budget)
        self._names = names
        self._notes: list[str] | None = None
        self._both: tuple[str, Expression, tuple[frozenset[int], Expression] | None] | None = None
        self._took: dict[str, _Took] = {}

    def _begin(self) -> None:
        """Forget what was found for the search before."""
        self._sql.begin()
        self._sources.begin()
        self._both = None

    def page(self, search: Search) -> tuple[list[int], Around]:
        """Return the rids of one page, and the cursors of the pages around it."""
        self._begin()
        self._took = {}
        if search.count <= 0:
            return [], Around()
        begin = Begin(self._latest())
        if search.cursor is not None:
            about = paging.shape(search)
            begin = self._cursors().begin(about, search.cursor, len(search.sort))
        backwards = begin.place is not None and begin.place.backwards
        found = self._in_order(search, begin) if search.sort else self._newest(search, begin)
        page, last = found[: search.count], None
        if len(found) > search.count:
            # The place of what was changed meanwhile is not that of its newest version.
            last = Place(*page[-1][0], backwards)
        rids = [rid for _, rid in page]
        if last is None and begin.place is None and not search.defines:
            return rids, Around()
        about = paging.shape(search)
        around = paging.around(
            begin, last, lambda items: self._cursors().seal(about, items), defines=search.defines
        )
        return rids, around

    def _newest(self, search: Search, begin: Begin) -> list[tuple[Placed, int]]:
        """Return the first `count + 1` of a page newest first, with their places."""
        snapshot, place, span = begin.snapshot, begin.place, ALL
        if place is not None and place.backwards:
            span = Span(snapshot + 1, place.number, oldest=True)
        elif search.cursor is not None:
            span = Span(snapshot + 1 if place is None else place.number)
        found: list[tuple[int, int]] = []
        for resource_type, where in self.by_type(search):
            with self._timed(search, resource_type):
                rids = self.newest(resource_type, where, span, search.count + 1)
            found += [(rid, rid) for rid in rids]
            if search.cursor is not None:
                changed = self._changed(resource_type, where, snapshot)
                found += [one for one in changed if span.after < one[0] < span.before]
        if len(search.by_type) > 1 or search.cursor is not None:
            found.sort(reverse=not span.oldest)
        return [((at, ()), rid) for at, rid in found[: search.count + 1]]

    @contextmanager
    def _timed(self, search: Search, resource_type: str) -> Iterator[None]:
        """Note what is done for a type, where it is to be explained."""
        if not search.explain:
            yield
            return
        notes: list[str] = []
        self._notes = notes
        spent, started = self.budget.spent, time.perf_counter()
        try:
            yield
        finally:
            self._notes = None
        took = (time.perf_counter() - started) * 1000
        self._took[resource_type] = _Took(tuple(notes), self.budget.spent - spent, took)

    def _note(self, way: str) -> None:
        if self._notes is not None:
            self._notes.append(way)

    def explained(self, search: Search) -> tuple[Explained, ...]:
        """Return how the page that was found last was found, in the same view."""
        found, budget = [], self.budget.limit
        for resource_type, where in self.by_type(search):
            took = self._took.get(resource_type, _Took(("only counted",), 0, 0.0))
            try:
                with self.budget.apart(COUNT_STEPS):
                    one = self._explained(search, resource_type, where, took)
                found.append(replace(one, budget=budget))
            except WorkBudgetExceeded:
                asked = tuple(map(told, flat(where)))
                found.append(
                    Explained(
                        resource_type,
                        driver=None,
                        rows=None,
                        candidates=(),
                        judged=asked,
                        ways=(*took.ways, "the candidates are too many to be counted again"),
                        work=took.steps,
                        budget=budget,
                        unit=_UNIT,
                        milliseconds=took.milliseconds,
                    )
                )
        return tuple(found)

    def _explained(
        self, search: Search, resource_type: str, where: Expression, took: _Took
    ) -> Explained:
        if search.sort or search.count <= 0:
            best = self._sources.best(where, resource_type, self._some)
        else:
            best = self._best(resource_type, where, search.count + 1)
        candidates = self._sources.candidates(where, resource_type, self._some)
        chosen = None if best is None else best[0]
        driver = next((part for part, source, _ in candidates if source == chosen), None)
        rows = next((n for _, source, n in candidates if source == chosen), None)
        return Explained(
            resource_type,
            driver=None if driver is None else told(driver),
            rows=rows,
            candidates=tuple(Candidate(told(part), n, n >= MANY) for part, _, n in candidates),
            judged=tuple(map(told, flat(where if best is None else best[2]))),
            ways=took.ways,
            work=took.steps,
            budget=self.budget.limit,
            unit=_UNIT,
            milliseconds=took.milliseconds,
        )

    def by_type(self, search: Search) -> Sequence[tuple[str, Expression]]:
        """Return what is asked of each type, of many types of those alone that the store has."""
        if len(search.by_type) <= _ONE_BY_ONE:
            return search.by_type
        there = {text for _, text in self._names.types()}
        return [one for one in search.by_type if one[0] in there]

    def _latest(self) -> int:
        return int(self.db.execute("SELECT coalesce(max(rid), 0) FROM version").get)

    def _changed(
        self, resource_type: str, where: Expression, snapshot: int
    ) -> list[tuple[int, int]]:
        """Return (place, rid) of the matches that were changed since a snapshot.

        Their place is the rid that they had then; as they were then they are indexed no more.
        """
        if where == Or(()) or self._latest() == snapshot:
            return []
        part = self._sql.predicate(where, resource_type, "d.rid")
        rows = self.db.execute(
            "SELECT v.rid, d.rid FROM resource AS d INDEXED BY resource_changed "
            "CROSS JOIN version AS v INDEXED BY version_nr WHERE d.type = ? AND d.live = 1 "
            "AND d.version_id > 1 AND d.rid > ? AND v.nr = d.nr AND v.version_id = "
            "(SELECT max(o.version_id) FROM version AS o WHERE o.nr = d.nr AND o.rid <= ?) "
            f"AND length(v.body) > 0 AND {part.text}",
            (self._names.type(resource_type), snapshot, snapshot, *part.binds),
        )
        return list(rows)

    def _cursors(self) -> Cursors:
        if self.cursors is None:
            self.cursors = Cursors(cursor_key(self.db))
        return self.cursors

    def newest_now(self, resource_type: str, where: Expression, limit: int) -> list[int]:
        """Return the newest that match, in a search of its own and within the work budget."""
        self._begin()
        with self.budget.of(FULL):
            return self.newest(resource_type, where, ALL, limit)

    def total(self, search: Search) -> int:
        """Return the number of all matches."""
        self._begin()
        self._sources.linked = LINKED_ALL
        try:
            return sum(
                self.count(resource_type, where) for resource_type, where in self.by_type(search)
            )
        finally:
            self._sources.linked = LINKED

    def estimate(self, search: Search) -> int | None:
        """Return the number of all matches, or None where they are many or hard to count.

        It is asked after a page of the same search, in the same view.

        Raises:
            WorkBudgetExceeded: It is to be asked again (`Budget.is_first`).
        """
        whole, counted = 0, 0
        # The event loop is held no longer for a count than for its page.
        is_first = self.budget.is_first
        try:
            with self.budget.apart(self.budget.limit if is_first else COUNT_STEPS):
                for resource_type, where in self.by_type(search):
                    if where == And(()):
                        whole += self.count(resource_type, where)
                        continue
                    counted += self._up_to(resource_type, where, MOST_COUNTED + 1 - counted)
                    if counted > MOST_COUNTED:
                        return None
        except _NotCounted:
            return None
        except WorkBudgetExceeded:
            if is_first:
                raise
            return None
        return whole + counted

    def _up_to(self, resource_type: str, where: Expression, most: int) -> int:
        """Return how many current resources of a type match, up to `most`.

        Raises:
            _NotCounted: They lie among too many.
        """
        if where == Or(()):
            return 0
        # What one index gives whole is counted once, no further than is asked.
        is_all = len(flat(where)) == 1
        best = self._sources.best(where, resource_type, self._some, enough=lambda _: is_all)
        if best is not None and is_all and best[2] != And(()):
            best = self._sources.best(where, resource_type, self._some)
        source, rows, rest = best or (self._sources.walk(resource_type), COUNTED_OF, where)
        is_narrow = rows < COUNTED_OF or rest == And(())
        if not is_narrow and self.count(resource_type, And(())) > COUNTED_AMONG:
            raise _NotCounted("the matches lie among too many to be counted")
        if (
            rest != And(())
            and rows >= _GATHERED
            and len(self._sources.all(flat(where), resource_type)) > 1
        ):
            # Where it was needed for the page, it is there.
            is_known = self._both is not None and self._both[:2] == (resource_type, where)
            try:
                with self.budget.of(0 if is_known else COUNTED_STEPS):
                    return self._most_of(source, rest, resource_type, most)
            except WorkBudgetExceeded:
                both = self._crossed(resource_type, where)
            if both is not None:
                return len(self._asked(sorted(both[0]), both[1], resource_type, most))
        return self._most_of(source, rest, resource_type, most)

    def _most_of(self, source: Source, rest: Expression, resource_type: str, most: int) -> int:
        """Return how many a source gives that pass, up to `most`."""
        part = self._sql.predicate(rest, resource_type, "d.rid")
        if len(source.arms) == 1 and source.lone:
            arm = source.arms[0]
            return self._some(Sql(f"{arm.text} AND {part.text}", arm.binds + part.binds), most)
        found: set[int] = set()
        for arm in source.arms:
            text = f"SELECT DISTINCT d.rid {arm.text} AND {part.text} LIMIT ?"
            found.update(rid for (rid,) in self.db.execute(text, (*arm.binds, *part.binds, most)))
            if len(found) >= most:
                return most
        return len(found)

    def matches(self, resource_type: str, where: Expression, rid: int) -> bool:
        """Return whether one current resource matches."""
        self._begin()
        part = self._sql.predicate(where, resource_type, "d.rid")
        text = f"SELECT {part.text} FROM (SELECT ? AS rid) AS d"
        return bool(self.db.execute(text, (*part.binds, rid)).get)

    def newest(self, resource_type: str, where: Expression, span: Span, limit: int) -> list[int]:
        """Return the first rids of a span that match."""
        if where == Or(()):
            return []
        if self._sources.is_costly(where, resource_type):
            try:
                with self.budget.of(FIRST_STEPS):
                    walk = self._sources.walk(resource_type)
                    found = self._stream(walk, where, resource_type, span, limit)
            except WorkBudgetExceeded:
                pass  # few of them match
            else:
                self._note("the newest of the type looked at")
                return found
        best = self._best(resource_type, where, limit)
        return self._newest_by(best, resource_type, where, span, limit)

    def _best(self, resource_type: str, where: Expression, limit: int) -> Best | None:
        """Return what drives a search for the newest."""
        # What else is asked may leave few of many: then the walk must be worth its price.
        is_all = len(flat(where)) == 1
        return self._sources.best(
            where,
            resource_type,
            self._some,
            newest=True,
            enough=lambda rows: is_all and self._is_dense(resource_type, rows, limit),
        )

    def _newest_by(
        self, best: Best | None, resource_type: str, where: Expression, span: Span, limit: int
    ) -> list[int]:
        walk = self._sources.walk(resource_type)
        if best is None:
            self._note("all of the type walked newest first")
            return self._stream(walk, where, resource_type, span, limit)
        source, rows, rest = best
        if not source.arms:
            self._note("the index gives nothing")
            return []
        if source.mergeable:
            if rest != And(()) and limit < LATEST_RID:
                try:
                    with self.budget.of(TRIED_STEPS):
                        found = self._stream(source, rest, resource_type, span, limit)
                except WorkBudgetExceeded:
                    both = self._crossed(resource_type, where)
                else:
                    self._note("the index walked newest first")
                    return found
                if both is not None:
                    return self._of_both(both, resource_type, span, limit)
            self._note("the index walked newest first")
            return self._stream(source, rest, resource_type, span, limit)
        if rows >= _GATHERED and (
            not source.costly or rows >= MANY or self._is_dense(resource_type, rows, limit)
        ):
            try:
                self._note("all of the type walked newest first")
                with self.budget.of(_walk_steps(rows)):
                    return self._stream(walk, where, resource_type, span, limit)
            except WorkBudgetExceeded:
                self._note("given up: what matches lies far back")
                both = self._crossed(resource_type, where) if rest != And(()) else None
                if both is not None:
                    return self._of_both(both, resource_type, span, limit)
        self._note("all that the index gives gathered")
        return self._gather(source, rest, resource_type, span, limit)

    def _is_dense(self, resource_type: str, rows: int, limit: int) -> bool:
        """Return whether a page of these rows is sooner found among all than they are gathered."""
        expected = limit * self.count(resource_type, And(())) // rows
        return expected * _ENTRY_ROWS < rows

    def count(self, resource_type: str, where: Expression) -> int:
        """Return how many current resources of a type match."""
        if where == And(()):
            nr = self._names.type(resource_type)
            return self.db.execute("SELECT live FROM counter WHERE type = ?", (nr,)).get or 0
        if where == Or(()):
            return 0
        source, rest = self._driven(resource_type, where)
        if not source.arms:
            return 0
        part = self._sql.predicate(rest, resource_type, "d.rid")
        if source.lone and (source.apart or len(source.arms) == 1):
            return sum(
                self.db.execute(
                    f"SELECT count(*) {arm.text} AND {part.text}", arm.binds + part.binds
                ).get
                for arm in source.arms
            )
        return len(self._rids(source, part, ALL))

    def _driven(self, resource_type: str, where: Expression) -> tuple[Source, Expression]:
        best = self._sources.best(where, resource_type, self._some, all_of_it=True)
        if best is None:
            return self._sources.walk(resource_type), where
        return best[0], best[2]

    def _some(self, arm: Sql, most: int) -> int:
        text = f"SELECT count(*) FROM (SELECT 1 {arm.text} LIMIT ?)"
        return int(self.db.execute(text, (*arm.binds, most)).get)

    def _few(self, resource_type: str, where: Expression, most: int) -> list[int] | None:
        """Return all rids that match, or None where they are more than `most` or hard to find."""
        notes, self._notes = self._notes, None
        try:
            with self.budget.of(WALK_STEPS // 10):
                found = self.newest(resource_type, where, ALL, most + 1)
        except WorkBudgetExceeded:
            return None
        finally:
            self._notes = notes
        return found if len(found) <= most else None

    def _stream(
        self, source: Source, rest: Expression, resource_type: str, span: Span, limit: int
    ) -> list[int]:
        if not source.arms:
            return []
        part, within = self._sql.predicate(rest, resource_type, "d.rid"), span.sql("d.rid")
        arms = [
            Sql(
                f"SELECT d.rid {arm.text} AND {within.text} AND {part.text}",
                arm.binds + within.binds + part.binds,
            )
            for arm in source.arms
        ]
        text = " UNION ".join(arm.text for arm in arms)
        binds = tuple(bind for arm in arms for bind in arm.binds)
        order = "d.rid" if len(arms) == 1 else "1"
        rows = self.db.execute(f"{text} ORDER BY {order} {span.order} LIMIT ?", (*binds, limit))
        return [rid for (rid,) in rows]

    def _rids(self, source: Source, part: Sql, span: Span) -> set[int]:
        found: set[int] = set()
        within = span.sql("d.rid")
        for arm in source.arms:
            text = f"SELECT d.rid {arm.text} AND {within.text} AND {part.text}"
            binds = arm.binds + within.binds + part.binds
            rows: list[Any] = self.db.execute(text, binds).fetchall()
            found.update(chain.from_iterable(rows))
        return found

    def _crossed(
        self, resource_type: str, where: Expression
    ) -> tuple[frozenset[int], Expression] | None:
        """Return what two indexes both give, and what is left to be asked; None: there are no two.

        It is kept for the total, which is asked behind the page.
        """
        if self._both is None or self._both[:2] != (resource_type, where):
            found = None
            two = self._sources.two(where, resource_type, self._some)
            if two is not None:
                one, other, rest = two
                rids = self._rids(one, Sql("1"), ALL) & self._rids(other, Sql("1"), ALL)
                found = frozenset(rids), rest
            self._both = (resource_type, where, found)
        return self._both[2]

    def _of_both(
        self,
        both: tuple[frozenset[int], Expression],
        resource_type: str,
        span: Span,
        limit: int,
    ) -> list[int]:
        """Return the first of a span, of what two indexes both give."""
        self._note("two indexes held against one another")
        rids, rest = both
        within = [rid for rid in rids if span.after < rid < span.before]
        within.sort(reverse=not span.oldest)
        return self._asked(within, rest, resource_type, limit)

    def _gather(
        self, source: Source, rest: Expression, resource_type: str, span: Span, limit: int
    ) -> list[int]:
        # One arm alone may give a rid twice; several are united.
        if rest == And(()) and source.is_few and (source.lone or len(source.arms) > 1):
            return self._stream(source, rest, resource_type, span, limit)
        gathered = sorted(self._rids(source, Sql("1"), span), reverse=not span.oldest)
        return self._asked(gathered, rest, resource_type, limit)

    def _asked(
        self, rids: Sequence[int], rest: Expression, resource_type: str, limit: int
    ) -> list[int]:
        """Return the first of some resources that match."""
        if rest == And(()):
            return list(rids[:limit])
        part = self._sql.predicate(rest, resource_type, "d.value")
        found: list[int] = []
        for chunk in _chunks(rids):
            text = f"SELECT d.value FROM json_each(?) AS d WHERE {part.text}"
            rows = self.db.execute(text, (as_json(chunk), *part.binds))
            found += [rid for (rid,) in rows]
            if len(found) >= limit:
                return found[:limit]
        return found

    def _in_order(self, search: Search, begin: Begin) -> list[tuple[Placed, int]]:
        """Return the first `count + 1` of a sorted page, with their places."""
        place, sorting = begin.place, self._sorting
        after: list[Any] | None = None
        if place is not None:
            if not all(map(_fits, search.sort, place.values)):
                raise BadCursor("the cursor is another engine's")
            sorting = self._against if place.backwards else self._sorting
            after = sorting.key(search.sort, place.values, place.number)
        found: list[tuple[list[Any], int]] = []
        for resource_type, where in self.by_type(search):
            with self._timed(search, resource_type):
                found += self._of_type(search, sorting, resource_type, where, begin.snapshot, after)
            if search.cursor is not None:
                changed = dict(self._changed(resource_type, where, begin.snapshot))
                found += sorting.placed(search, resource_type, changed, after)
        found.sort()
        return [
            ((sorting.rid(key), tuple(sorting.values(key))), rid)
            for key, rid in found[: search.count + 1]
        ]

    def _of_type(
        self,
        search: Search,
        sorting: Sorting,
        resource_type: str,
        where: Expression,
        snapshot: int,
        after: list[Any] | None,
    ) -> list[tuple[list[Any], int]]:
        """Return the first `count + 1` of a type after a sort key, with their keys."""
        limit = search.count + 1
        if where == Or(()):
            return []
        best = self._sources.best(where, resource_type, self._some)
        if best is None or best[1] >= _GATHERED:
            steps = FULL if best is None else _walk_steps(best[1])
            try:
                with self.budget.of(steps):
                    along = self._along if sorting is self._sorting else self._along_against
                    walked = along.walk(search.sort, resource_type, where, snapshot, after, limit)
            except WorkBudgetExceeded:
                self._note("a walk along the order given up: what matches lies far along")
                walked = None
            if walked is not None:
                self._note("the index of the first sort key walked")
                return walked
        rids = self._newest_by(best, resource_type, where, Span(snapshot + 1), LATEST_RID)
        if len(search.sort) == 1 and search.sort[0].kind == "date":
            return sorting.by_date(search.sort, resource_type, rids, after, limit)
        keyed = ((key, rid) for key, rid in sorting.keyed(search.sort, resource_type, rids))
        if after is not None:
            return heapq.nsmallest(limit, (one for one in keyed if one[0] > after))
        return heapq.nsmallest(limit, keyed)


def _fits(sort: Sort, value: Any) -> bool:
    """Whether a value is one that this engine sorts by: another's, moved here, has texts."""
    return value is None or isinstance(value, bytes) == (sort.kind in {"number", "quantity"})


def _walk_steps(rows: int) -> int:
    return WALK_STEPS if rows >= MANY else rows * _STEPS_EACH


def _chunks(rids: Sequence[int]) -> Iterator[Sequence[int]]:
    size, at = _CHUNK, 0
    while at < len(rids):
        yield rids[at : at + size]
        at += size
        size = min(size * 2, LINKED)
