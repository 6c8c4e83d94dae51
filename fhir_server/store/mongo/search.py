"""Search: one page of matches, in order, from one consistent view of the store.

The first page fixes what is visited: its snapshot (the last version's number in its view) stands
in the cursor with the place where the next page begins. What is created later has a greater
number and is on no page. What is changed later has a greater number too, but keeps the place of
the version that it had at the snapshot, so each match is visited once; it is shown, and judged,
as it is now.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pymongo.asynchronous.client_session import AsyncClientSession

from fhir_server.search import order, paging
from fhir_server.search.expression import (
    COUNTED_AMONG,
    COUNTED_OF,
    EVERYTHING,
    MOST_COUNTED,
    NOTHING,
    Expression,
    Search,
    Sort,
)
from fhir_server.search.paging import Around, Begin, Place
from fhir_server.store.cursor import Cursors
from fhir_server.store.explained import Candidate as Index
from fhir_server.store.explained import Explained, told
from fhir_server.store.mongo import links
from fhir_server.store.mongo.backwards import count_from, link_of
from fhir_server.store.mongo.counting import count
from fhir_server.store.mongo.filters import ALIVE, every
from fhir_server.store.mongo.former import Former
from fhir_server.store.mongo.judge import Candidate, judged
from fhir_server.store.mongo.newest import DOWN, Way, looked, newest
from fhir_server.store.mongo.plan import LEVELS, Plan, candidates, driven, links_of
from fhir_server.store.mongo.reads import DOCUMENTS, Most, Reads
from fhir_server.store.mongo.schema import Collections, Document, unordered
from fhir_server.store.mongo.sorting import EACH, After, Placed, gathered, walked
from fhir_server.store.mongo.versions import SHOWN, versions_of
from fhir_server.store.port import BadCursor, Page, Version, WorkBudgetExceeded

GATHERED: Final = LEVELS[1]
"""So many are gathered and sorted without trying a walk along the order asked."""

LINKED: Final = 20
"""So many resources for each match are brought here to count from the other end of a link."""
ALL_LINKED: Final = DOCUMENTS * 6 // 10
"""So many where all are counted; the rest is for another way."""

_ONE_BY_ONE: Final = 4
"""Of more types those alone are asked that the store has."""
_TRIED: Final = 0.03
"""Seconds, for each sort key, for which a walk along the order is tried first, where every index
gives many."""

_View = tuple[tuple[Sort, ...], int, After | None, int]


@dataclass(frozen=True, slots=True)
class _Took:
    """How matches were looked for, and what that took."""

    ways: tuple[str, ...] = ("only counted",)
    documents: int = 0
    questions: int = 0
    milliseconds: float = 0.0


_NOTHING_TOOK: Final = _Took()


@dataclass(slots=True)
class _Known:
    """How a page's matches of a type were found, and how many there are: for the total."""

    plan: Plan
    matches: int | None = None
    took: _Took = _NOTHING_TOOK


_Plans = dict[tuple[str, Expression], _Known]


class Searcher:
    """Searches the collections; each call reads in the view of the session that it is given."""

    def __init__(self, collections: Collections, cursors: Cursors) -> None:
        self._collections = collections
        self._cursors = cursors
        self._former = Former()

    async def page(
        self,
        search: Search,
        head: Document,
        session: AsyncClientSession,
        most: Most | None = None,
    ) -> Page:
        """Return one page of matches.

        Args:
            search: What is asked.
            head: The document `head` of `meta`, read in the same view.
            session: A snapshot's, or a transaction's.
            most: What it may take.

        Raises:
            WorkBudgetExceeded: The search would take too long.
            BadCursor: The cursor is not one of this store's.
        """
        reads = Reads(self._collections, session, head["counts"], most)
        reads.unordered = reads.links.lacking = unordered(head)
        begin, after = Begin(head["rid"]), None
        if search.cursor is not None:
            begin, after = _opened(self._cursors, search)
        found: list[Placed] = []
        plans: _Plans = {}
        if search.count > 0:
            for kind, where in _by_type(search, head):
                begins = (begin.snapshot, after)
                notes: list[str] | None = [] if search.explain else None
                reads.notes = notes
                brought, asked, started = reads.brought, reads.questions, time.perf_counter()
                found += await self._of_type(reads, search, (kind, where), head, begins, plans)
                if notes is not None and (kind, where) in plans:
                    plans[kind, where].took = _Took(
                        tuple(notes),
                        reads.brought - brought,
                        reads.questions - asked,
                        (time.perf_counter() - started) * 1000,
                    )
                reads.notes = None
            found = heapq.nsmallest(search.count + 1, found, key=lambda one: one.position)
        page = found[: search.count]
        around = self._around(search, begin, page[-1] if len(found) > len(page) else None)
        versions = await self._versions(reads, page)  # while there is time: a total takes its own
        total = await self._total(reads, search, head, plans, len(page), around.next)
        explained = await self._explained(reads, search, head, plans) if search.explain else ()
        return Page.of(versions, around, total, explained)

    async def _explained(
        self, reads: Reads, search: Search, head: Document, plans: _Plans
    ) -> tuple[Explained, ...]:
        """Return how a page was found, in the same view."""
        found = []
        for kind, where in _by_type(search, head):
            known = plans.get((kind, where))
            counts: dict[int, int] = {}
            ways: tuple[str, ...] = ()
            try:
                with reads.apart(DOCUMENTS):
                    planned = known.plan if known else await links.plan(reads, kind, where)
                    counts = await candidates(reads, planned)
            except WorkBudgetExceeded:
                ways = ("the candidates are too many to be counted",)
            took = known.took if known is not None else _NOTHING_TOOK
            parts, driver = planned.parts, planned.driver
            is_whole = driver is not None and planned.clauses[driver].whole
            found.append(
                Explained(
                    kind,
                    driver=None if driver is None else told(parts[driver]),
                    rows=None if driver is None else counts.get(driver, planned.rows),
                    candidates=tuple(
                        Index(told(parts[at]), n, n >= LEVELS[-1]) for at, n in counts.items()
                    ),
                    judged=tuple(
                        told(part)
                        + ("" if clause.exact else ", by the entries that are brought here")
                        for at, (part, clause) in enumerate(
                            zip(parts, planned.clauses, strict=True)
                        )
                        if at != driver or not is_whole or not clause.exact
                    ),
                    ways=(*took.ways, *ways),
                    work=took.documents,
                    budget=DOCUMENTS,
                    unit=f"resources brought here, in {took.questions} questions to the database",
                    milliseconds=took.milliseconds,
                )
            )
        return tuple(found)

    def _around(self, search: Search, begin: Begin, last: Placed | None) -> Around:
        """Return the cursors of the pages around one; `last` is of one that goes on behind it."""
        if search.count <= 0 or (last is None and begin.place is None and not search.defines):
            return Around()
        place = None
        if last is not None:
            backwards = begin.place is not None and begin.place.backwards
            values = tuple(order.dumped(search.sort, last.values))
            place = Place(last.number, values, backwards)
        about = paging.shape(search)
        return paging.around(
            begin, place, lambda items: self._cursors.seal(about, items), defines=search.defines
        )

    async def count(
        self,
        resource_type: str,
        where: Expression,
        session: AsyncClientSession,
        most: Most | None = None,
    ) -> int:
        """Return how many current resources of a type match.

        Raises:
            WorkBudgetExceeded: It would take too long.
        """
        reads = Reads(self._collections, session, most=most)
        return await self._count(reads, resource_type, where)

    async def matching(
        self, resource_type: str, where: Expression, limit: int, session: AsyncClientSession
    ) -> list[str]:
        """Return the ids of the newest current resources that match, at most so many.

        Raises:
            WorkBudgetExceeded: It would take too long.
        """
        if where == NOTHING:
            return []
        reads = Reads(self._collections, session)
        planned = await links.plan(reads, resource_type, where, lone=True)
        return [one.id for one in await newest(reads, planned, limit=limit)]

    async def matches(
        self, resource_type: str, where: Expression, document: Document, session: AsyncClientSession
    ) -> bool:
        """Return whether a current resource, given its whole document, matches.

        Raises:
            WorkBudgetExceeded: It would take too long.
        """
        reads = Reads(self._collections, session)
        return bool(await judged(reads, resource_type, where, [Candidate(document)]))

    # --- one type ------------------------------------------------------------------------

    async def _of_type(
        self,
        reads: Reads,
        search: Search,
        asked: tuple[str, Expression],
        head: Document,
        begins: tuple[int, After | None],
        plans: _Plans,
    ) -> list[Placed]:
        """Return the first `count + 1` matches of a type behind a place, and maybe more."""
        kind, where = asked
        snapshot, after = begins
        if where == NOTHING:
            return []
        if not search.sort:
            planned, new = await self._in_time(reads, search, asked, snapshot, after)
            known = plans[kind, where] = _Known(planned)
            backwards = after is not None and after.backwards
            found = [_in_line(one, backwards=backwards) for one in new]
        else:
            planned = await links.plan(reads, kind, where, levels=LEVELS[:2])
            known = plans[kind, where] = _Known(planned)
            if planned.may is None:
                return []
            found, number = await self._in_order(reads, search, planned, snapshot, after)
            if search.cursor is None:
                known.matches = number
        if search.cursor is not None and head["rid"] > snapshot:
            found += await self._changed(reads, search, planned, snapshot, after)
        return found

    async def _in_time(
        self,
        reads: Reads,
        search: Search,
        asked: tuple[str, Expression],
        snapshot: int,
        after: After | None,
    ) -> tuple[Plan, list[Candidate]]:
        """Return how the newest matches behind a place are found, and the first of them."""
        kind, where = asked
        limit, way = search.count + 1, DOWN
        if after is not None:
            way = Way(after.number, snapshot if after.backwards else None)
        elif search.cursor is not None:
            way = Way(snapshot + 1)
        if links_of(kind, where) and not await links.is_rare(reads, kind, where):
            planned = await driven(reads, kind, where, levels=LEVELS[:2], lone=True)
            found = await looked(reads, planned, limit=limit, way=way)
            if found is not None:
                return planned, found
        planned = await links.plan(reads, kind, where, levels=LEVELS[:1], lone=True)
        if planned.may is None:
            return planned, []
        return planned, await newest(reads, planned, limit=limit, way=way, whole=True)

    async def _in_order(
        self,
        reads: Reads,
        search: Search,
        planned: Plan,
        snapshot: int,
        after: After | None,
    ) -> tuple[list[Placed], int | None]:
        """Return the first matches behind a place, and how many there are, where it was seen."""
        view = (search.sort, snapshot, after, search.count + 1)
        if planned.driver is None or not planned.counted:
            along = await walked(reads, planned, *view)
            if along is None:
                return await self._gathered(reads, planned, view)
            reads.note("the index of the first sort key walked")
            return along, None
        if planned.many:
            along = await self._along(reads, planned, view, _TRIED * len(search.sort))
            if along is not None:
                return along, None
            planned = await driven(reads, planned.kind, planned.where, levels=LEVELS[2:])
        rows = LEVELS[-1] if planned.rows is None else planned.rows
        if rows >= GATHERED:
            along = await self._along(reads, planned, view, rows * EACH)
            if along is not None:
                return along, None
        return await self._gathered(reads, planned, view)

    async def _gathered(self, reads: Reads, planned: Plan, view: _View) -> tuple[list[Placed], int]:
        reads.note("all that the index gives gathered and sorted")
        return await gathered(reads, planned, *view)

    async def _along(
        self, reads: Reads, planned: Plan, view: _View, seconds: float
    ) -> list[Placed] | None:
        """Return matches along the order's index, None where they lie far along, or it has none."""
        try:
            with reads.within(seconds=seconds, documents=DOCUMENTS):
                found = await walked(reads, planned, *view)
        except WorkBudgetExceeded:
            reads.note("a walk along the order given up: what matches lies far along")
            return None
        if found is not None:
            reads.note("the index of the first sort key walked")
        return found

    async def _changed(
        self, reads: Reads, search: Search, planned: Plan, snapshot: int, after: After | None
    ) -> list[Placed]:
        """Return the matches that were changed since a snapshot, at the places that they had.

        Of these, those that stand behind where the page begins.
        """
        since: Document = {"t": planned.kind, "r": {"$gt": snapshot}, "c": {"$lte": snapshot}}
        where = every([{**since, **ALIVE}, planned.may])
        documents = await reads.find(where or since, "types")
        candidates = [Candidate(one) for one in documents]
        found = await judged(reads, planned.kind, planned.where, candidates)
        then = await self._former.at(reads, [one.key for one in found], snapshot)
        versions = list(then.values())
        values = await self._former.values(reads, search, versions)
        changed: list[Placed] = []
        backwards = after is not None and after.backwards
        for one in found:
            if one.key in then:
                number = then[one.key]["_id"]
                position = order.position(search.sort, values[number], number, backwards=backwards)
                if after is None or position > after.position:
                    changed.append(Placed(position, number, values[number], one))
        return changed

    # --- what is shown, and how many there are -------------------------------------------

    async def _versions(self, reads: Reads, page: Sequence[Placed]) -> tuple[Version, ...]:
        documents = {one.match.key: one.match.document for one in page}
        if names := [name for name, document in documents.items() if document is None]:
            with reads.apart(len(names)):  # they were found: what it took is no reason to hide them
                found = await reads.find({"_id": {"$in": names}}, "_id_", fields=SHOWN)
            documents.update((one["_id"], one) for one in found)
        shown = [document for document in documents.values() if document is not None]
        return tuple(await versions_of(self._collections, shown, reads.session))

    async def _total(
        self,
        reads: Reads,
        search: Search,
        head: Document,
        plans: _Plans,
        shown: int,
        following: str | None,
    ) -> int | None:
        if search.total == "none":
            return None
        if search.cursor is None and following is None and search.count > 0:
            return shown  # the first page is the last one too
        if search.total == "accurate":
            number = 0
            for kind, where in _by_type(search, head):
                if where == EVERYTHING:
                    number += _size(head, kind)
                else:
                    number += await self._count(reads, kind, where, plans)
            return number
        try:
            with reads.apart(DOCUMENTS):
                return await self._estimate(reads, search, head, plans)
        except WorkBudgetExceeded:
            return None

    async def _estimate(
        self, reads: Reads, search: Search, head: Document, plans: _Plans
    ) -> int | None:
        """Return the number of all matches, or None where they are many or hard to count."""
        whole, counted = 0, 0
        for kind, where in _by_type(search, head):
            if where == EVERYTHING:
                whole += _size(head, kind)
                continue
            if where == NOTHING:
                continue
            known = plans.get((kind, where))
            planned = known.plan if known is not None else None
            most = MOST_COUNTED + 1 - counted
            number = known.matches if known is not None else None
            if number is None and _size(head, kind) <= COUNTED_AMONG:
                number = await self._from_link(reads, (kind, where), planned, most)
            if number is not None:
                counted += number
            else:
                # One index alone gives its matches at once: how many rows it has is not asked.
                is_narrow = planned is not None and _is_alone(planned)
                planned = reads.plans.get((kind, where), planned)
                is_counted = planned is not None and planned.counted >= LEVELS[-1]
                levels = _further(planned)
                if planned is not None and _size(head, kind) <= COUNTED_AMONG:
                    is_counted |= planned.is_only
                    if (kind, where) in reads.dense:
                        levels = [one for one in levels if one < LEVELS[-1]]
                if planned is None or (planned.rows is None and not is_narrow | is_counted):
                    planned = await links.plan(reads, kind, where, levels=levels)
                is_narrow |= planned.rows is not None and planned.rows < COUNTED_OF
                if not is_narrow and _size(head, kind) > COUNTED_AMONG:
                    return None
                counted += await count(reads, planned, most)
            if counted > MOST_COUNTED:
                return None
        return whole + counted

    async def _count(
        self, reads: Reads, kind: str, where: Expression, plans: _Plans | None = None
    ) -> int:
        if where == NOTHING:
            return 0
        known = plans.get((kind, where)) if plans else None
        if known is not None and known.matches is not None:
            return known.matches
        if known is not None and known.plan.rows is not None:
            return await count(reads, known.plan)
        number = await self._from_link(reads, (kind, where), known.plan if known else None)
        if number is not None:
            return number
        planned = await links.plan(reads, kind, where, lone=True)
        if planned.rows is None and not planned.is_only:
            planned = await driven(reads, kind, where, levels=LEVELS[1::2])
        return await count(reads, planned)

    async def _from_link(
        self, reads: Reads, asked: tuple[str, Expression], planned: Plan | None, most: int = 0
    ) -> int | None:
        """Return how many match, counted from the other end of a link; None where that is no way.

        It is given up when it brings much: whether those that an index gives match may be told
        sooner. So it is where all are counted (`most` is 0) and an index gives not very many.
        """
        kind, where = asked
        if not links_of(kind, where):
            return None
        if planned is None or not most or not (planned.counted or planned.exact):
            levels = LEVELS[1:2] if most else LEVELS
            planned = await driven(reads, kind, where, levels=levels)
        link = link_of(planned)
        if link is None or planned.rows is not None:
            return None
        try:
            with reads.within(seconds=None, documents=LINKED * most or ALL_LINKED):
                return await count_from(reads, planned, link, most)
        except WorkBudgetExceeded:
            return None


def _further(planned: Plan | None) -> Sequence[int]:
    """Return up to how many indexes are counted where a plan has seen that each gives many."""
    seen = planned.counted if planned is not None else 0
    return [one for one in LEVELS if one > seen] or LEVELS


def _in_line(one: Candidate, *, backwards: bool) -> Placed:
    """Return a resource at its place among all, newest first."""
    position = order.position((), (), one.number, backwards=backwards)
    return Placed(position, one.number, (), one)


def _is_alone(planned: Plan) -> bool:
    """Return whether all that is asked is what one index gives."""
    at = planned.driver
    return (
        at is not None
        and len(planned.parts) == 1
        and planned.exact
        and not planned.clauses[at].weak
    )


def _size(head: Document, kind: str) -> int:
    return int(head["counts"].get(kind, 0))


def _by_type(search: Search, head: Document) -> Sequence[tuple[str, Expression]]:
    """Return what is asked of each type, of many types of those alone that the store has."""
    if len(search.by_type) <= _ONE_BY_ONE:
        return search.by_type
    return [one for one in search.by_type if _size(head, one[0]) > 0]


def _opened(cursors: Cursors, search: Search) -> tuple[Begin, After | None]:
    begin = cursors.begin(paging.shape(search), search.cursor or "", len(search.sort))
    place = begin.place
    if place is None:
        return begin, None
    try:
        values = order.loaded(search.sort, list(place.values))
    except TypeError as error:  # of a store in a file, which was moved here
        raise BadCursor("the cursor is another engine's") from error
    number, backwards = place.number, place.backwards
    position = order.position(search.sort, values, number, backwards=backwards)
    return begin, After(position, number, values, backwards)
