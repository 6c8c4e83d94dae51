"""Walks along the index of a sort key, and within what is equal in it along the next one's.

Few that are equal are read and sorted by all keys. Many are not: by the last key they are walked
newest first, and by others along the next key's index, so that a page costs what it shows.
"""

# ruff: noqa: S608 - every piece of the SQL is ours; what a client says is bound

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import Any, Final

from fhir_server.search.expression import Expression, Sort
from fhir_server.store.keys import HASHED, HASHES_END
from fhir_server.store.port import WorkBudgetExceeded
from fhir_server.store.sqlite.arms import text_arm
from fhir_server.store.sqlite.budget import Budget
from fhir_server.store.sqlite.names import Kind
from fhir_server.store.sqlite.search_sql import TRUE, Predicates, Sql, as_json, joined, numbers
from fhir_server.store.sqlite.sorting import Key, Sorting

_EQUAL: Final = 50
"""So many that are equal are read to be sorted; more are walked."""
_GATHERED: Final = 500
"""Of so many that are equal all are sorted without trying a walk along the next key."""
_MANY: Final = 20_000
"""What is equal is counted up to so many."""
_STEPS_EACH: Final = 100
"""Steps that sorting takes for each of those that are equal, about: a walk is tried for as long."""
_TRIED: Final = 10_000_000
"""Steps for which a walk along the next key is tried at most."""
_MERGED: Final = 100
"""So many parts of an index are walked at once."""

_FIRST, _TESTED = 50, 1_000
"""So many rows of several parts are asked at once whether they match, first and at most."""

Row = tuple[Any, int]


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of an index, in the order of its column.

    Attributes:
        column: What it is ordered by.
        rows: `FROM ... WHERE ...`; `d.rid` is the resource.
        prefix: What stands before the column's text in the value.
    """

    column: str
    rows: Sql
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class _View:
    """What is asked, and from where on.

    Attributes:
        sort: All keys.
        after: The key behind which the page begins.
    """

    sort: Sequence[Sort]
    resource_type: str
    snapshot: int
    after: Key | None


@dataclass(frozen=True, slots=True)
class _Within:
    """What is equal by the first keys.

    Attributes:
        part: What is asked of each, but for what `arms` and `rids` tell already.
        values: What they are equal by; None where they lack it.
        same: What `arms` and `rids` tell, where these do not drive.
        arms: `FROM ... WHERE ...` that give them, each in the order of rid.
        rids: They themselves.
    """

    part: Sql
    values: tuple[Any, ...] = ()
    same: Sql | None = None
    arms: tuple[Sql, ...] | None = None
    rids: tuple[int, ...] | None = None

    @property
    def whole(self) -> Sql:
        """All that is asked of each."""
        return self.part if self.same is None else joined("AND", [self.same, self.part])


class Along:
    """Walks on one connection: in the order that is asked, or against it."""

    def __init__(self, predicates: Predicates, sorting: Sorting, budget: Budget) -> None:
        self._sql = predicates
        self._sorting = sorting
        self._budget = budget
        self._backwards = sorting.backwards

    def walk(
        self,
        sort: Sequence[Sort],
        resource_type: str,
        where: Expression,
        snapshot: int,
        after: Key | None,
        limit: int,
    ) -> list[tuple[Key, int]] | None:
        """Return the first matches after a key, along the first sort key's index.

        None where no index is in that order.

        Raises:
            WorkBudgetExceeded: They lie too far along.
        """
        parts = self._parts(sort[0], resource_type)
        if parts is None:
            return None
        within = _Within(self._sql.predicate(where, resource_type, "d.rid"))
        view = _View(sort, resource_type, snapshot, after)
        return self._along(view, within, parts, limit)

    def _along(
        self, view: _View, within: _Within, parts: list[_Part], limit: int
    ) -> list[tuple[Key, int]]:
        """Return the first, behind the page's beginning, of what is equal by the first keys."""
        at = len(within.values)
        begin: list[Any] = []
        if view.after is not None:
            values = self._sorting.values(view.after)
            if tuple(values[:at]) == within.values:
                begin = values[at : at + 1]
        if view.sort[at].kind in {"id", "last"}:
            return self._with(view, within, parts, begin, limit)
        found: list[tuple[Key, int]] = []
        if self._backwards:
            # Those without a value are the last of the order: against it they come first.
            if not begin or begin == [None]:
                found = self._equal(view, within, None, limit)
            begin = [] if begin == [None] else begin
            return found + self._with(view, within, parts, begin, limit - len(found))
        if begin != [None]:
            found = self._with(view, within, parts, begin, limit)
        return found + self._equal(view, within, None, limit - len(found))

    def _with(
        self, view: _View, within: _Within, parts: list[_Part], begin: list[Any], limit: int
    ) -> list[tuple[Key, int]]:
        """Return the first of those that have a value of the next key."""
        found: list[tuple[Key, int]] = []
        sign = ""
        while limit > len(found):
            pending: list[Row] = []
            rows = self._rows(view, within, parts, begin, sign)
            for value, group in groupby(rows, key=itemgetter(0)):
                some = list(islice(group, _EQUAL + 1))
                if len(some) > _EQUAL:
                    found += self._placed(view, within, pending)
                    found += self._equal(view, within, value, limit - len(found))
                    begin, sign = [value], "beyond"
                    break
                pending += some
                if len(pending) >= limit - len(found):
                    found += self._placed(view, within, pending)
                    pending = []
                    if len(found) >= limit:
                        break
            else:
                found += self._placed(view, within, pending)
                break
        return found[:limit]

    def _placed(self, view: _View, within: _Within, rows: Iterable[Row]) -> list[tuple[Key, int]]:
        """Return those of some rows that stand at their keys' places, behind the beginning.

        A resource with several values has a row for each.
        """
        there = set(rows)
        at = len(within.values)
        rids = sorted({rid for _, rid in there}, reverse=True)
        found = []
        for key, rid in self._sorting.keyed(view.sort, view.resource_type, rids):
            values = self._sorting.values(key)
            if (
                tuple(values[:at]) == within.values
                and (at == len(values) or (values[at], rid) in there)
                and (view.after is None or key > view.after)
            ):
                found.append((key, rid))
        return sorted(found)

    # --- many that are equal -------------------------------------------------------------

    def _equal(self, view: _View, within: _Within, value: Any, limit: int) -> list[tuple[Key, int]]:
        """Return the first of those that have this value of the next key; None: that lack it."""
        if limit <= 0:
            return []
        at = len(within.values)
        inside = self._inside(view, within, value)
        if at + 1 == len(view.sort):
            return self._newest(view, inside, limit)
        number = self._number(inside)
        parts = self._parts(view.sort[at + 1], view.resource_type)
        if number > _GATHERED and parts is not None:
            try:
                with self._budget.of(min(number * _STEPS_EACH, _TRIED)):
                    return self._along(view, inside, parts, limit)
            except WorkBudgetExceeded:
                pass  # they lie far along: all are sorted
        rows = ((None, rid) for rid in self._rids(view, inside))
        return heapq.nsmallest(limit, self._all(view, inside, rows))

    def _all(self, view: _View, within: _Within, rows: Iterable[Row]) -> Iterator[tuple[Key, int]]:
        rids = sorted({rid for _, rid in rows}, reverse=True)
        for key, rid in self._sorting.keyed(view.sort, view.resource_type, rids):
            if tuple(self._sorting.values(key)[: len(within.values)]) == within.values and (
                view.after is None or key > view.after
            ):
                yield key, rid

    def _newest(self, view: _View, within: _Within, limit: int) -> list[tuple[Key, int]]:
        """Return the first of those that are equal by all keys: the newest."""
        rids = self._rids(view, within)
        found: list[tuple[Key, int]] = []
        while len(found) < limit and (some := list(islice(rids, limit))):
            found += self._all(view, within, ((None, rid) for rid in some))
        return sorted(found)[:limit]

    def _number(self, within: _Within) -> int:
        """Return how many the first keys leave, up to _MANY."""
        if within.rids is not None:
            return len(within.rids)
        if within.arms is None:
            return _MANY
        number = 0
        for arm in within.arms:
            text = f"SELECT count(*) FROM (SELECT 1 {arm.text} LIMIT ?)"
            number += self._sql.db.execute(text, (*arm.binds, _MANY - number)).get
        return number

    def _rids(self, view: _View, within: _Within) -> Iterator[int]:
        """Give what the first keys leave and matches: newest first, or oldest first."""
        sign, order = (">", "ASC") if self._backwards else ("<", "DESC")
        part, bound = within.part, "d.rid <= ?"
        binds: tuple[Any, ...] = (view.snapshot,)
        if view.after is not None and tuple(self._sorting.values(view.after)) == within.values:
            bound += f" AND d.rid {sign} ?"
            binds = (*binds, self._sorting.rid(view.after))
        if within.rids is not None:
            text = (
                "SELECT d.rid FROM (SELECT value AS rid FROM json_each(?)) AS d "
                f"WHERE {bound} AND {part.text}"
            )
            rids = sorted(within.rids, reverse=not self._backwards)
            for at in range(0, len(rids), _EQUAL):
                asked = as_json(rids[at : at + _EQUAL])
                rows: list[Any] = self._sql.db.execute(
                    text, (asked, *binds, *part.binds)
                ).fetchall()
                yield from (rid for (rid,) in rows)
            return
        arms = within.arms
        if arms is None:
            text = "FROM resource AS d INDEXED BY resource_live WHERE d.type = ? AND d.live = 1"
            arms = (Sql(text, (self._sql.names.type(view.resource_type),)),)
        streams: list[Iterator[Any]] = [
            self._sql.db.execute(
                f"SELECT d.rid {arm.text} AND {bound} AND {part.text} ORDER BY d.rid {order}",
                arm.binds + binds + part.binds,
            )
            for arm in arms
        ]
        last = None
        for (rid,) in heapq.merge(*streams, reverse=not self._backwards):
            if rid != last:
                yield rid
            last = rid

    def _inside(self, view: _View, within: _Within, value: Any) -> _Within:
        """Return what has this value of the next key, too."""
        sort = view.sort[len(within.values)]
        values = (*within.values, value)
        if value is None:
            has = self._sorting.has(sort, view.resource_type)
            lacks = Sql(f"NOT {has.text}", has.binds)
            part = joined("AND", [lacks, within.part])
            return _Within(part, values, within.same, within.arms, within.rids)
        same, arms, is_ordered = self._same(sort, view.resource_type, value)
        if within.arms is not None or within.rids is not None:
            part = joined("AND", [same, within.part])
            return _Within(part, values, within.same, within.arms, within.rids)
        if is_ordered:
            return _Within(within.part, values, same, arms)
        rids = {
            rid
            for arm in arms
            for (rid,) in self._sql.db.execute(f"SELECT d.rid {arm.text}", arm.binds)
        }
        return _Within(within.part, values, same, rids=tuple(rids))

    def _same(
        self, sort: Sort, resource_type: str, value: Any
    ) -> tuple[Sql, tuple[Sql, ...], bool]:
        """Return what says that a resource has a value, what gives those, and whether by rid."""
        names = self._sql.names
        params = self._sql.params(resource_type, sort.param)
        listed = numbers(params)
        match sort.kind:
            case "token":
                systems = f"(SELECT nr FROM seen WHERE param IN {listed})"
                same = Sql(
                    f"EXISTS (SELECT 1 FROM token WHERE param IN {listed} AND sys IN {systems} "
                    "AND code = ? AND rid = d.rid)",
                    (value,),
                )
                arm = "FROM token AS d WHERE d.param = ? AND d.sys = ? AND d.code = ?"
                pairs = [(param, nr) for param in params for nr in names.seen(param)]
                return same, tuple(Sql(arm, (*pair, value)) for pair in pairs), True
            case "reference" if (nr := self._number_of(value)) is not None:
                same = Sql(
                    "EXISTS (SELECT 1 FROM ref WHERE target = ? "
                    f"AND param IN {listed} AND rid = d.rid)",
                    (nr,),
                )
                arm = "FROM ref AS d WHERE d.target = ? AND d.param = ?"
                return same, tuple(Sql(arm, (nr, param)) for param in params), True
            case "reference" | "uri":
                same = Sql(
                    f"EXISTS (SELECT 1 FROM string WHERE param IN {listed} AND text = ? "
                    "AND exact = '' AND rid = d.rid)",
                    (value,),
                )
                return same, tuple(text_arm(param, value) for param in params), True
            case "last":
                same = Sql(
                    "EXISTS (SELECT 1 FROM version WHERE rid = d.rid AND last_updated = ?)",
                    (value,),
                )
                arm = (
                    "FROM resource AS d INDEXED BY resource_updated WHERE d.type = ? "
                    "AND d.live = 1 AND d.last_updated = ?"
                )
                return same, (Sql(arm, (names.type(resource_type), value)),), True
            case _:
                return self._same_of(sort, resource_type, value)

    def _same_of(
        self, sort: Sort, resource_type: str, value: Any
    ) -> tuple[Sql, tuple[Sql, ...], bool]:
        """Return the same of dates, strings and quantities, whose index is not by rid."""
        (own, *_) = params = self._sql.params(resource_type, sort.param)
        if sort.kind == "date":
            same = Sql(
                "EXISTS (SELECT 1 FROM date INDEXED BY date_of WHERE rid = d.rid "
                "AND param = ? AND low = ?)",
                (own, value),
            )
            return (
                same,
                (Sql("FROM date AS d WHERE d.param = ? AND d.low = ?", (own, value)),),
                False,
            )
        best = max if sort.descending else min
        values = self._sorting.values_of
        same = self._sql.tested(
            lambda entry: best(values(sort, entry, own), default=None) == value, "d.rid"
        )
        if sort.kind == "string":
            arm = "FROM string AS d WHERE d.param = ? AND d.text = ?"
            return same, tuple(Sql(arm, (param, value)) for param in params), False
        arm = "FROM quantity AS d WHERE d.param = ? AND d.unit = ? AND d.low = ?"
        pairs = [(p, unit) for p in params for unit in (0, *self._sql.names.seen(p))]
        return same, tuple(Sql(arm, (*pair, value)) for pair in pairs), False

    def _number_of(self, reference: str) -> int | None:
        """Return the number of the resource that a local reference names."""
        kind, _, resource_id = reference.partition("/")
        type_nr = self._sql.names.type(kind)
        if type_nr is None:
            return None
        text = "SELECT nr FROM resource INDEXED BY resource_id WHERE type = ? AND id = ?"
        nr: int | None = self._sql.db.execute(text, (type_nr, resource_id)).get
        return nr

    # --- rows in the order of one key ----------------------------------------------------

    def _rows(
        self, view: _View, within: _Within, parts: list[_Part], begin: list[Any], sign: str
    ) -> Iterator[Row]:
        """Give (value, rid) in the order of the next key, from a value on (or beyond it)."""
        sort = view.sort[len(within.values)]
        is_down = self._sorting.is_down(sort)
        # Parts with a prefix follow one another: none is read before the one before has ended.
        following = sorted(
            (part for part in parts if part.prefix), key=lambda part: part.prefix, reverse=is_down
        )
        beside: list[Sequence[_Part]] = [(part,) for part in parts if not part.prefix]
        if following:
            beside.append(following)
        # Of several the first of each is needed: it must not be looked for among all that it has.
        whole = within.whole if len(beside) == 1 else TRUE
        streams = [
            chain.from_iterable(self._stream(view, sort, part, whole, begin, sign) for part in some)
            for some in beside
        ]
        if len(streams) == 1:
            return iter(streams[0])
        rows = heapq.merge(*streams, key=itemgetter(0), reverse=is_down)
        return rows if within.whole == TRUE else self._passed(rows, within.whole)

    def _passed(self, rows: Iterator[Row], whole: Sql) -> Iterator[Row]:
        """Give those of some rows that match."""
        text = f"SELECT d.rid FROM (SELECT value AS rid FROM json_each(?)) AS d WHERE {whole.text}"
        size = _FIRST
        while some := list(islice(rows, size)):
            asked = as_json({rid for _, rid in some})
            found = {rid for (rid,) in self._sql.db.execute(text, (asked, *whole.binds))}
            yield from (one for one in some if one[1] in found)
            size = min(size * 2, _TESTED)

    def _stream(
        self,
        view: _View,
        sort: Sort,
        part: _Part,
        whole: Sql,
        begin: list[Any],
        sign: str,
    ) -> Iterator[Row]:
        is_down = self._sorting.is_down(sort)
        text = f"SELECT {part.column}, d.rid {part.rows.text} AND d.rid <= ?"
        binds: tuple[Any, ...] = (*part.rows.binds, view.snapshot)
        if begin:
            value = begin[0]
            if not part.prefix or value.startswith(part.prefix):
                compared = ("<" if is_down else ">") + ("" if sign else "=")
                text += f" AND {part.column} {compared} ?"
                binds = (*binds, value[len(part.prefix) :] if part.prefix else value)
            elif (part.prefix > value) is is_down:
                return iter(())
        order = "DESC" if is_down else "ASC"
        rows: Iterator[Row] = iter(
            self._sql.db.execute(
                f"{text} AND {whole.text} ORDER BY {part.column} {order}", binds + whole.binds
            )
        )
        if part.prefix:
            return ((part.prefix + value, rid) for value, rid in rows)
        return rows

    def _parts(self, sort: Sort, resource_type: str) -> list[_Part] | None:
        """Return the parts of the index of a key; None where it has none, or too many."""
        names = self._sql.names
        if sort.kind in {"id", "last"}:
            index, column = ("id", "d.id") if sort.kind == "id" else ("updated", "d.last_updated")
            text = f"FROM resource AS d INDEXED BY resource_{index} WHERE d.type = ? AND d.live = 1"
            return [_Part(column, Sql(text, (names.type(resource_type),)))]
        params = self._sql.params(resource_type, sort.param)
        match sort.kind:
            case "date":
                found = [
                    _Part("d.low", Sql("FROM date AS d WHERE d.param = ?", (param,)))
                    for param in params[:1]
                ]
            case "string" | "uri":
                found = self._texts(params)
            case "token":
                text = "FROM token AS d WHERE d.param = ? AND d.sys = ? AND d.code > ''"
                found = [_Part("d.code", Sql(text, (p, s))) for p in params for s in names.seen(p)]
                if any(self._has_hashes(part.rows) for part in found):
                    return None
            case "reference":
                found = [*self._texts(params), *self._references(params)]
            case _:
                text = "FROM quantity AS d WHERE d.param = ? AND d.unit = ?"
                found = [
                    _Part("d.low", Sql(text, (p, u))) for p in params for u in (0, *names.seen(p))
                ]
        return found if len(found) <= _MERGED else None

    def _texts(self, params: Iterable[int]) -> list[_Part]:
        text = "FROM string AS d WHERE d.param = ?"
        return [_Part("d.text", Sql(text, (param,))) for param in params]

    def _references(self, params: tuple[int, ...]) -> list[_Part]:
        """Return the resources that are referred to, by their names, with what refers to them."""
        names = self._sql.names
        text = (
            "FROM resource AS t INDEXED BY resource_id CROSS JOIN ref AS d WHERE t.type = ? "
            f"AND d.target = t.nr AND d.param IN {numbers(params)}"
        )
        return [
            _Part("t.id", Sql(text, (nr,)), names.text(Kind.TYPE, nr) + "/")
            for nr in {nr for param in params for nr in names.referred(param)}
        ]

    def _has_hashes(self, rows: Sql) -> bool:
        """Whether codes stand there by their hashes, and so in no order."""
        text = f"SELECT 1 {rows.text} AND d.code >= ? AND d.code < ? LIMIT 1"
        return bool(self._sql.db.execute(text, (*rows.binds, HASHED, HASHES_END)).get)
