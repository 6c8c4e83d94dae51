"""The order of `_sort`: keys of resources, and walks along the index of the first key.

A resource's key is the least of its values where the order ascends, the greatest where it
descends; of a date its beginning counts, of a string the folded text, of a token the code, of a
quantity the number alone, of a reference `Type/id`. Resources without a value come last, and what
is equal comes newest first.
"""

# ruff: noqa: S608 - every piece of the SQL is ours; what a client says is bound

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import total_ordering
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from fhir_server.search.expression import Expression, Search, Sort
from fhir_server.search.place import is_versioned
from fhir_server.store.keys import HASHED, HASHES_END
from fhir_server.store.sqlite.arms import ARMS
from fhir_server.store.sqlite.entry import Entry
from fhir_server.store.sqlite.former import Former
from fhir_server.store.sqlite.names import Kind
from fhir_server.store.sqlite.search_sql import FALSE, Predicates, Sql

_CHUNK: Final = 500


@total_ordering
class _Down:
    """A value whose order is turned round."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Down) and self.value == other.value

    def __lt__(self, other: _Down) -> bool:
        return bool(other.value < self.value)

    __hash__ = None  # type: ignore[assignment]


Key = list[Any]
"""For each sort key [missing, value], then the rid turned round; or all that against the order."""


class Sorting:
    """Gives sort keys, on one connection: of the order as it is asked, or against it."""

    def __init__(self, predicates: Predicates, former: Former, *, backwards: bool = False) -> None:
        self._sql = predicates
        self._former = former
        self._backwards = backwards

    def _is_down(self, sort: Sort) -> bool:
        return sort.descending != self._backwards

    def rid(self, key: Key) -> int:
        """Return the rid of a key."""
        return int(key[-1] if self._backwards else -key[-1])

    def key(self, sort: Sequence[Sort], values: Sequence[Any], rid: int) -> Key:
        """Return the key that compares as the order asks."""
        key: Key = []
        for one, value in zip(sort, values, strict=True):
            if value is None:
                key.append((not self._backwards, 0))
            else:
                key.append((self._backwards, _Down(value) if self._is_down(one) else value))
        key.append(rid if self._backwards else -rid)
        return key

    def values(self, key: Key) -> list[Any]:
        """Return the values of a key, None where one is missing."""
        plain = []
        for mark, value in key[:-1]:
            is_missing = mark != self._backwards
            plain.append(None if is_missing else value.value if isinstance(value, _Down) else value)
        return plain

    def keyed(
        self, sort: Sequence[Sort], resource_type: str, rids: Sequence[int]
    ) -> Iterator[tuple[Key, int]]:
        """Return each resource's key."""
        for at in range(0, len(rids), _CHUNK):
            chunk = rids[at : at + _CHUNK]
            columns = [self._column(one, resource_type, chunk) for one in sort]
            for rid in chunk:
                yield self.key(sort, [column.get(rid) for column in columns], rid), rid

    def by_date(
        self,
        sort: Sequence[Sort],
        resource_type: str,
        rids: Sequence[int],
        after: Key | None,
        limit: int,
    ) -> list[tuple[Key, int]]:
        """Return the first of some resources after a key, by one date: SQLite sorts them."""
        param = self._sql.names.param(resource_type, sort[0].param)
        best = "max" if sort[0].descending else "min"
        direction, sign = ("DESC", "<") if self._is_down(sort[0]) else ("ASC", ">")
        missing, newest, less = "k IS NULL", "DESC", "<"
        if self._backwards:
            missing, newest, less = "k IS NOT NULL", "ASC", ">"
        text = (
            "SELECT rid, k FROM (SELECT j.value AS rid, (SELECT "
            f"{best}(low) FROM date INDEXED BY date_of WHERE rid = j.value AND param = ?) AS k "
            "FROM json_each(?) AS j)"
        )
        binds: tuple[Any, ...] = (param, "[" + ",".join(map(str, rids)) + "]")
        if after is not None:
            (value,), rid = self.values(after), self.rid(after)
            if value is None:
                also = "k IS NOT NULL OR" if self._backwards else "k IS NULL AND"
                text += f" WHERE {also} rid {less} ?"
                binds += (rid,)
            else:
                also = "" if self._backwards else "k IS NULL OR "
                text += f" WHERE {also}k {sign} ? OR (k = ? AND rid {less} ?)"
                binds += (value, value, rid)
        text += f" ORDER BY {missing}, k {direction}, rid {newest} LIMIT ?"
        rows: list[Any] = self._sql.db.execute(text, (*binds, limit)).fetchall()
        return [(self.key(sort, [value], rid), rid) for rid, value in rows]

    def placed(
        self, search: Search, resource_type: str, changed: dict[int, int], after: Key | None
    ) -> list[tuple[Key, int]]:
        """Return the keys that changed resources had at their places, after a key.

        Args:
            search: The search, whose order counts.
            resource_type: Of all of them.
            changed: The rid of the version that had its place, and the current one's.
            after: Where the page begins.
        """
        places = list(changed)
        columns = [
            self._column(one, resource_type, places)
            if one.kind in {"id", "last"}
            else self._former.column(one, places, search.base_url, search.known)
            for one in search.sort
        ]
        placed = [
            (self.key(search.sort, [column.get(place) for column in columns], place), rid)
            for place, rid in changed.items()
        ]
        return [one for one in placed if after is None or one[0] > after]

    def _column(self, sort: Sort, resource_type: str, rids: Sequence[int]) -> dict[int, Any]:
        """Return the sort value of each resource that has one."""
        asked = "[" + ",".join(map(str, rids)) + "]"
        db = self._sql.db
        if sort.kind == "id":
            text = (
                "SELECT j.value, r.id FROM json_each(?) AS j CROSS JOIN version AS v "
                "CROSS JOIN resource AS r WHERE v.rid = j.value AND r.nr = v.nr"
            )
            return dict(db.execute(text, (asked,)))
        if sort.kind == "last":
            text = (
                "SELECT j.value, v.last_updated FROM json_each(?) AS j CROSS JOIN version AS v "
                "WHERE v.rid = j.value"
            )
            return dict(db.execute(text, (asked,)))
        param = self._sql.names.param(resource_type, sort.param)
        if param is None:
            return {}
        best = max if sort.descending else min
        if sort.kind == "date":
            text = (
                f"SELECT j.value, (SELECT {best.__name__}(low) FROM date INDEXED BY date_of "
                "WHERE rid = j.value AND param = ?) AS low "
                "FROM json_each(?) AS j WHERE low IS NOT NULL"
            )
            return dict(db.execute(text, (param, asked)))
        found: dict[int, Any] = {}
        text = (
            "SELECT j.value, e.packing, e.packed FROM json_each(?) AS j CROSS JOIN entry AS e "
            "WHERE e.rid = j.value"
        )
        rows: list[Any] = db.execute(text, (asked,)).fetchall()
        for rid, packing, packed in rows:
            values = self._values(sort, self._sql.entry(packing, packed), param)
            if values:
                found[rid] = best(values)
        return found

    def _values(self, sort: Sort, entry: Entry, param: int) -> list[Any]:
        values = entry.values.get(param, ())
        match sort.kind:
            case "token":
                return [v[2] for v in values if v[0] == "t" and v[2]]
            case "string":
                return [v[1] for v in values if v[0] == "s"]
            case "uri":
                return [v[1] for v in values if v[0] == "u"]
            case "reference":
                return [
                    self._reference(v)
                    for v in values
                    if v[0] == "r" or (v[0] == "u" and not is_versioned(v[1]))
                ]
            case _:
                return [v[2] for v in values if v[0] == "q"]

    def _reference(self, value: list[Any]) -> str:
        if value[0] == "u":
            return str(value[1])
        type_nr, resource_id = self._sql.db.execute(
            "SELECT type, id FROM resource WHERE nr = ?", (value[1],)
        ).get
        return f"{self._sql.names.text(Kind.TYPE, type_nr)}/{resource_id}"

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
        """
        first = sort[0]
        arms = self._arms(first, resource_type)
        if arms is None or len(arms) > ARMS:
            return None
        if first.kind == "token" and any(self._has_hashes(arm) for _, arm in arms):
            return None
        part = self._sql.predicate(where, resource_type, "d.rid")
        view = (sort, resource_type, part, snapshot, after)
        if self._backwards and first.kind not in {"id", "last"}:
            # Those without a value are the last of the order: against it they come first.
            found = self._without(*view, limit)
            return found + self._with(*view, arms, limit - len(found))
        found = self._with(*view, arms, limit)
        if first.kind in {"id", "last"}:
            return found
        return found + self._without(*view, limit - len(found))

    def _with(
        self,
        sort: Sequence[Sort],
        resource_type: str,
        part: Sql,
        snapshot: int,
        after: Key | None,
        arms: list[tuple[str, Sql]],
        limit: int,
    ) -> list[tuple[Key, int]]:
        """Return the first of the resources that have a value of the first key."""
        found: list[tuple[Key, int]] = []
        start = self.values(after)[:1] if after is not None else []
        if start == [None]:
            if not self._backwards:
                return found
            start = []
        if arms and limit > 0:
            rows = self._walked(sort[0], arms, part, snapshot, start)
            for value, group in groupby(rows, key=itemgetter(0)):
                rids = sorted({rid for _, rid in group}, reverse=True)
                keyed = sorted(self.keyed(sort, resource_type, rids))
                # A resource with several values stands at its key's place only.
                found += [
                    one
                    for one in keyed
                    if self.values(one[0])[0] == value and (after is None or one[0] > after)
                ]
                if len(found) >= limit:
                    return found[:limit]
        return found

    def _has_hashes(self, arm: Sql) -> bool:
        """Whether codes stand there by their hashes, and so in no order."""
        text = f"SELECT 1 {arm.text} AND d.code >= ? AND d.code < ? LIMIT 1"
        return bool(self._sql.db.execute(text, (*arm.binds, HASHED, HASHES_END)).get)

    def _walked(
        self, first: Sort, arms: list[tuple[str, Sql]], part: Sql, snapshot: int, start: list[Any]
    ) -> Iterator[tuple[Any, int]]:
        direction, sign = ("DESC", "<=") if self._is_down(first) else ("ASC", ">=")
        pieces = []
        for column, arm in arms:
            text = f"SELECT {column}, d.rid {arm.text} AND d.rid <= ?"
            binds: tuple[Any, ...] = (*arm.binds, snapshot)
            if start:
                text += f" AND {column} {sign} ?"
                binds = (*binds, start[0])
            pieces.append(Sql(f"{text} AND {part.text}", binds + part.binds))
        order = arms[0][0] if len(arms) == 1 else "1"
        text = " UNION ALL ".join(piece.text for piece in pieces)
        binds = tuple(bind for piece in pieces for bind in piece.binds)
        return iter(self._sql.db.execute(f"{text} ORDER BY {order} {direction}", binds))

    def _without(
        self,
        sort: Sequence[Sort],
        resource_type: str,
        part: Sql,
        snapshot: int,
        after: Key | None,
        limit: int,
    ) -> list[tuple[Key, int]]:
        """Return the first of the resources that have no value of the first key."""
        values = self.values(after) if after is not None else []
        if limit <= 0 or (self._backwards and values and values[0] is not None):
            return []
        has = self._has(sort[0], resource_type)
        sign, newest = (">", "ASC") if self._backwards else ("<", "DESC")
        text = (
            "SELECT d.rid FROM resource AS d INDEXED BY resource_live WHERE d.type = ? "
            f"AND d.live = 1 AND d.rid <= ? AND NOT {has.text} AND {part.text}"
        )
        binds: tuple[Any, ...] = (self._sql.names.type(resource_type), snapshot)
        binds += has.binds + part.binds
        if len(sort) == 1:
            if after is not None and values[0] is None:
                text += f" AND d.rid {sign} ?"
                binds += (self.rid(after),)
            text += f" ORDER BY d.rid {newest} LIMIT ?"
            binds += (limit,)
        rids = [rid for (rid,) in self._sql.db.execute(text, binds)]
        keyed = sorted(self.keyed(sort, resource_type, rids))
        return [one for one in keyed if after is None or one[0] > after][:limit]

    def _has(self, sort: Sort, resource_type: str) -> Sql:
        param = self._sql.names.param(resource_type, sort.param)
        if param is None:
            return FALSE
        if sort.kind == "date":
            return Sql(
                "EXISTS (SELECT 1 FROM date INDEXED BY date_of WHERE rid = d.rid AND param = ?)",
                (param,),
            )
        return self._sql.tested(lambda entry: bool(self._values(sort, entry, param)), "d.rid")

    def _arms(self, sort: Sort, resource_type: str) -> list[tuple[str, Sql]] | None:
        """Return `FROM ... WHERE ...` in the order of its column, for each part of the index."""
        names = self._sql.names
        if sort.kind == "id":
            text = "FROM resource AS d INDEXED BY resource_id WHERE d.type = ? AND d.live = 1"
            return [("d.id", Sql(text, (names.type(resource_type),)))]
        if sort.kind == "last":
            text = "FROM resource AS d INDEXED BY resource_updated WHERE d.type = ? AND d.live = 1"
            return [("d.last_updated", Sql(text, (names.type(resource_type),)))]
        param = names.param(resource_type, sort.param)
        if param is None:
            return []
        params = self._sql.params(resource_type, sort.param)
        match sort.kind:
            case "date":
                return [("d.low", Sql("FROM date AS d WHERE d.param = ?", (param,)))]
            case "string" | "uri":
                return [("d.text", Sql("FROM string AS d WHERE d.param = ?", (p,))) for p in params]
            case "token":
                text = "FROM token AS d WHERE d.param = ? AND d.sys = ?"
                return [("d.code", Sql(text, (p, s))) for p in params for s in names.seen(p)]
            case "number" | "quantity":
                text = "FROM quantity AS d WHERE d.param = ? AND d.unit = ?"
                return [("d.low", Sql(text, (p, u))) for p in params for u in (0, *names.seen(p))]
            case _:
                return None
