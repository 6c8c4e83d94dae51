"""The order of `_sort`: keys of resources.

A resource's key is the least of its values where the order ascends, the greatest where it
descends; of a date its beginning counts, of a string the folded text, of a token the code, of a
quantity the number alone, of a reference `Type/id`. Resources without a value come last, and what
is equal comes newest first.
"""

# ruff: noqa: S608 - every piece of the SQL is ours; what a client says is bound

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import total_ordering
from typing import Any, Final

from fhir_server.search.expression import Search, Sort
from fhir_server.search.place import is_versioned
from fhir_server.store.sqlite.entry import Entry
from fhir_server.store.sqlite.former import Former
from fhir_server.store.sqlite.names import Kind
from fhir_server.store.sqlite.search_sql import FALSE, Predicates, Sql, numbers

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
        self.backwards = backwards

    def is_down(self, sort: Sort) -> bool:
        """Whether the greatest value comes first."""
        return sort.descending != self.backwards

    def rid(self, key: Key) -> int:
        """Return the rid of a key."""
        return int(key[-1] if self.backwards else -key[-1])

    def key(self, sort: Sequence[Sort], values: Sequence[Any], rid: int) -> Key:
        """Return the key that compares as the order asks."""
        key: Key = []
        for one, value in zip(sort, values, strict=True):
            if value is None:
                key.append((not self.backwards, 0))
            else:
                key.append((self.backwards, _Down(value) if self.is_down(one) else value))
        key.append(rid if self.backwards else -rid)
        return key

    def values(self, key: Key) -> list[Any]:
        """Return the values of a key, None where one is missing."""
        plain = []
        for mark, value in key[:-1]:
            is_missing = mark != self.backwards
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
        direction, sign = ("DESC", "<") if self.is_down(sort[0]) else ("ASC", ">")
        missing, newest, less = "k IS NULL", "DESC", "<"
        if self.backwards:
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
                also = "k IS NOT NULL OR" if self.backwards else "k IS NULL AND"
                text += f" WHERE {also} rid {less} ?"
                binds += (rid,)
            else:
                also = "" if self.backwards else "k IS NULL OR "
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
            values = self.values_of(sort, self._sql.entry(packing, packed), param)
            if values:
                found[rid] = best(values)
        return found

    def values_of(self, sort: Sort, entry: Entry, param: int) -> list[Any]:
        """Return the values in an entry that a key compares."""
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

    def has(self, sort: Sort, resource_type: str) -> Sql:
        """Return the condition that a resource has a value of a key."""
        param = self._sql.names.param(resource_type, sort.param)
        if param is None:
            return FALSE
        if sort.kind == "date":
            return Sql(
                "EXISTS (SELECT 1 FROM date INDEXED BY date_of WHERE rid = d.rid AND param = ?)",
                (param,),
            )

        def test(entry: Entry) -> bool:
            return bool(self.values_of(sort, entry, param))

        listed = numbers(self._sql.params(resource_type, sort.param))
        match sort.kind:
            case "reference":
                tested = self._sql.tested(test, "d.rid")
                text = (
                    f"SELECT 1 FROM ref INDEXED BY ref_of WHERE rid = d.rid AND param IN {listed}"
                )
                return Sql(f"(EXISTS ({text}) OR {tested.text})", tested.binds)
            case "token":
                index = f"SELECT rid FROM token WHERE param IN {listed} AND code > ''"
            case "string" | "uri":
                index = f"SELECT rid FROM string WHERE param IN {listed}"
            case _:
                index = f"SELECT rid FROM quantity WHERE param IN {listed}"
        return self._sql.valued(Sql(index), test, "d.rid")
