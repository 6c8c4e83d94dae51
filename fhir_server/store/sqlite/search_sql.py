"""From a search expression to SQL: a condition on one resource, and rows of an index table.

A *predicate* says of one `rid` whether it matches; a *source* gives the rids that match a leaf,
from its index. What drives a query is chosen by `plan.py`, never by SQLite's planner: each
statement has one table to walk, and everything else is an EXISTS on a whole key.
"""

# ruff: noqa: S608 - every piece of the SQL is ours; what a client says is bound

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, NamedTuple

import apsw
import msgspec

from fhir_server.search.expression import (
    And,
    Chain,
    CompositeIs,
    DateIs,
    Differs,
    Expression,
    Has,
    Ids,
    InPatient,
    LastUpdated,
    Missing,
    Near,
    Not,
    NumberIs,
    Open,
    Or,
    Prefix,
    QuantityIs,
    RefersTo,
    Says,
    StringIs,
    Tagged,
    TokenIs,
    TokenText,
    UriIs,
    unresolved,
)
from fhir_server.store.keys import NARROWER, code_key, time_key
from fhir_server.store.sqlite.entry import Entry, unpack
from fhir_server.store.sqlite.leaf import EntryTest, entry_test
from fhir_server.store.sqlite.names import Kind, Names
from fhir_server.store.sqlite.packing import Packing
from fhir_server.store.sqlite.wide import (
    WIDE,
    all_of,
    any_of,
    ids_together,
    is_of_values,
    lookups,
    references_together,
    weight,
)


class Sql(NamedTuple):
    """A piece of SQL and what is bound in it, in order."""

    text: str
    binds: tuple[Any, ...] = ()


_ENTRY_STEPS: Final = 300
"""What unpacking an entry costs, in SQLite's steps."""
_SMALL: Final = 1_000
"""Bytes of a packed entry that cost no more than that; each two of the rest cost a step."""
_TEST_STEPS: Final = 10
"""What a test of an entry costs more for each of its lookups."""
_ASKED: Final = ((50, 20_000), (2_000, 60_000), (6_000, 300_000))
"""So many resources are asked by their entries; more by an index, if it gives no more than this: to
gather it takes as long."""
_ASKED_WHOLE: Final = ((500, 20_000), *_ASKED[1:])
"""The same where the index is in another order: a page newest first is mostly full by then."""
_WRITTEN: Final = 8
"""So many systems of a token stand in its statement."""
_APART_STEPS: Final = 300
"""What a statement of its own costs for one criterion of one resource."""

Whole = Callable[[Expression, str], tuple[Sql, Sql | None] | None]
"""The index that gives all resources of a type that match a leaf, and what is looked through for
it where that is more; None: there is none, or not in one statement."""

TRUE: Final = Sql("1")
FALSE: Final = Sql("?", (0,))
"""Bound, not written: of a constant SQLite infers that no row is asked, and takes no index."""


def joined(word: str, parts: list[Sql]) -> Sql:
    """Return pieces joined by AND or OR, in brackets."""
    text = f" {word} ".join(part.text for part in parts)
    return Sql(f"({text})", tuple(bind for part in parts for bind in part.binds))


def among(values: list[int]) -> Sql:
    """Return what stands behind a column that is one of these: bound, so that texts repeat."""
    if len(values) == 1:
        return Sql("= ?", (values[0],))
    return Sql(f"IN {numbers(values)}")


LISTED: Final = "(SELECT value FROM json_each(?))"
"""Texts of a client's, as many as they are in one bound list."""


def listed(texts: Iterable[str]) -> str:
    """Return what is bound for LISTED."""
    return msgspec.json.encode(sorted(texts)).decode()


def numbers(values: tuple[int, ...] | list[int]) -> str:
    """Return numbers of our own as an SQL list."""
    return "(" + ",".join(map(str, values)) + ")"


def as_json(rids: Iterable[int]) -> str:
    """Return numbers as a JSON array, to be bound where a list is asked."""
    return "[" + ",".join(map(str, rids)) + "]"


_RANGE: Final = {
    Prefix.EQ: ("low >= ? AND low + span <= ?", (0, 1)),
    Prefix.NE: ("(low < ? OR low + span > ?)", (0, 1)),
    Prefix.GT: ("low + span > ?", (1,)),
    Prefix.GE: ("low + span >= ?", (0,)),
    Prefix.LT: ("low < ?", (0,)),
    Prefix.LE: ("low <= ?", (1,)),
    Prefix.SA: ("low > ?", (1,)),
    Prefix.EB: ("low + span < ?", (0,)),
    Prefix.AP: ("(low <= ? AND low + span >= ?)", (1, 0)),
}
"""A comparison of [low, low + span] with the range asked, and which of its ends are bound."""


def range_sql(leaf: DateIs | LastUpdated) -> Sql:
    """Return the comparison of the columns low and span with the range asked."""
    text, ends = _RANGE[leaf.prefix]
    asked = (time_key(leaf.low), time_key(leaf.high))
    return Sql(text, tuple(asked[end] for end in ends))


@dataclass(slots=True)
class _Valued:
    """Whether resources match: by an index where many are asked, else by their entries.

    Attributes:
        index: Gives those that do.
        test: Tells it of an entry.
        whole: Whether the index gives all; else there are some that only the entry tells.
        scanned: What is looked through for it, where that is more than it gives.
        text: What the bytes of an entry hold that passes the test.
    """

    index: Sql
    test: EntryTest
    whole: bool = False
    scanned: Sql | None = None
    text: bytes = b""
    asked: int = 0
    rids: frozenset[int] | None = None


@dataclass(slots=True)
class _Use:
    """What a statement under way uses: the tests of its leaves, and what is asked apart."""

    tests: list[tuple[EntryTest, int, bytes]] = field(default_factory=list)
    valued: list[_Valued] = field(default_factory=list)
    apart: list[tuple[bool, list[Sql]]] = field(default_factory=list)
    links: int = 0


class Predicates:
    """Makes predicates, for one connection; one statement's tests at a time."""

    def __init__(
        self,
        db: apsw.Connection,
        names: Names,
        packing: Packing,
        charge: Callable[[int], None],
    ) -> None:
        self.db = db
        self._charge = charge
        self.names = names
        self._packing = packing
        self._use = _Use()
        self._kept: tuple[bytes, Entry] | None = None
        self.whole: Whole = lambda *_: None
        db.create_scalar_function("leaf", self._leaf, 3, deterministic=True)
        db.create_scalar_function("apart", self._apart, 2, deterministic=True)
        db.create_scalar_function("valued", self._valued, 2, deterministic=True)

    def begin(self) -> None:
        """Forget the tests of the search before."""
        self._use = _Use()

    def _leaf(self, *values: Any) -> bool:
        number, packing, packed = values
        test, steps, text = self._use.tests[number]
        self._charge(steps + max(0, len(packed) - _SMALL) // 2)
        return self._passes(test, text, packing, packed)

    def _passes(self, test: EntryTest, text: bytes, packing: int, packed: bytes) -> bool:
        if text and (self._kept is None or self._kept[0] != packed):
            data = self._packing.unpack(packing, packed)
            if text not in data:
                return False
            self._kept = (packed, unpack(data))
        return bool(test(self.entry(packing, packed)))

    def _apart(self, *values: Any) -> bool:
        number, rid = values
        decides, parts = self._use.apart[number]
        for text, binds in parts:
            self._charge(_APART_STEPS)
            if bool(self.db.execute(text, (*binds, rid)).get) is decides:
                return decides
        return not decides

    def _valued(self, *values: Any) -> bool:
        number, rid = values
        use = self._use.valued[number]
        use.asked += 1
        for asked, most in _ASKED_WHOLE if use.whole else _ASKED:
            if use.asked == asked and use.rids is None:
                use.rids = self._gathered(use, most)
        if use.rids is not None and (use.whole or rid in use.rids):
            return rid in use.rids
        self._charge(_ENTRY_STEPS)
        text = "SELECT packing, packed FROM entry WHERE rid = ?"
        packing, packed = next(self.db.execute(text, (rid,)))
        return self._passes(use.test, use.text, packing, packed)

    def _gathered(self, use: _Valued, most: int) -> frozenset[int] | None:
        """Return what an index gives, or None where that, or what is looked through, is more."""
        for text, binds in (use.scanned or use.index, use.index):
            counted = f"SELECT count(*) FROM ({text} LIMIT {most + 1})"
            if self.db.execute(counted, binds).get > most:
                return None
        rows: list[Any] = self.db.execute(*use.index).fetchall()
        return frozenset(chain.from_iterable(rows))

    def valued(self, index: Sql, test: EntryTest, rid: str) -> Sql:
        """Return the condition that a resource has a value: `index` gives such, `test` tells it."""
        return self._indexed(_Valued(index, test), rid)

    def _indexed(self, one: _Valued, rid: str) -> Sql:
        self._use.valued.append(one)
        return Sql(f"valued(?, {rid})", (len(self._use.valued) - 1,))

    def entry(self, packing: int, packed: bytes) -> Entry:
        """Return a packed entry; several leaves ask for the same one in turn."""
        kept = self._kept
        if kept is not None and kept[0] == packed:
            return kept[1]
        entry = unpack(self._packing.unpack(packing, packed))
        self._kept = (packed, entry)
        return entry

    def params(self, resource_type: str, code: str) -> tuple[int, ...]:
        """Return the numbers of a parameter and of narrower ones; empty where it has no value."""
        own = self.names.param(resource_type, code)
        if own is None:
            return ()
        others = [self.names.param(resource_type, other) for other in NARROWER.get(code, ())]
        return (own, *(other for other in others if other is not None))

    def resource_numbers(self, leaves: Sequence[RefersTo]) -> list[int]:
        """Return the numbers of the resources that references to one type may mean."""
        kind = leaves[0].resource_type
        if kind is None:
            types = [nr for nr, _ in self.names.types()]
        else:
            one = self.names.type(kind)
            types = [] if one is None else [one]
        ids = {leaf.resource_id for leaf in leaves if leaf.resource_id}
        if not ids:
            return []
        id_is = "= ?" if len(ids) == 1 else f"IN {LISTED}"
        bound = ids.pop() if len(ids) == 1 else listed(ids)
        text = f"SELECT nr FROM resource INDEXED BY resource_id WHERE type IN {numbers(types)}"
        rows = self.db.execute(f"{text} AND id {id_is}", (bound,))
        return [nr for (nr,) in rows]

    def patient_numbers(self, patients: frozenset[str]) -> list[int]:
        """Return the numbers of these Patients, as far as the store knows them."""
        leaves = [RefersTo("", "Patient", one) for one in sorted(patients)]
        return self.resource_numbers(leaves) if leaves else []

    def predicate(self, where: Expression, resource_type: str, rid: str) -> Sql:
        """Return the condition on the SQL expression `rid`, a current resource of this type."""
        match where:
            case _ if isinstance(where, Open):
                raise unresolved(where)
            case And() | Or() if weight(where) > WIDE:
                return self._wide(where, resource_type, rid)
            case And(operands):
                parts = [self.predicate(one, resource_type, rid) for one in operands]
                return joined("AND", parts) if parts else TRUE
            case Or(operands):
                lists, others = references_together(operands)
                parts = [self._refers_to_any(one, resource_type, rid) for one in lists]
                parts += [self.predicate(one, resource_type, rid) for one in others]
                return joined("OR", parts) if parts else FALSE
            case Not(operand):
                part = self.predicate(operand, resource_type, rid)
                return Sql(f"NOT {part.text}", part.binds)
            case Chain() | Has():
                return self._link(where, resource_type, rid)
            case Ids() | LastUpdated() | InPatient() | Tagged():
                return self._of_resource(where, resource_type, rid)
            case _:
                return self._of_values(where, resource_type, rid)

    def _wide(self, where: And | Or, resource_type: str, rid: str) -> Sql:
        """Return the condition of many criteria, in one test of the entry and one function.

        Each of the others is a statement of its own, so that none is as long as a client likes.
        """
        is_or = isinstance(where, Or)
        whole = any_of(where.operands) if is_or else all_of(where.operands)
        asked = [one for one in whole if is_of_values(one)]
        others = [one for one in whole if not is_of_values(one)]
        if is_or:
            others = ids_together(others)
        parts = []
        if asked:
            test = Or(tuple(asked)) if is_or else And(tuple(asked))
            steps = _ENTRY_STEPS + _TEST_STEPS * lookups(test)
            parts.append(self.tested(entry_test(test, resource_type, self), rid, steps))
        if others:
            links = self._use.links
            statements = []
            for one in others:
                self._use.links = 0  # so that texts repeat
                part = self.predicate(one, resource_type, "d.rid")
                text = f"SELECT {part.text} FROM (SELECT ? AS rid) AS d"
                statements.append(Sql(text, part.binds))
            self._use.links = links
            self._use.apart.append((is_or, statements))
            parts.append(Sql(f"apart(?, {rid})", (len(self._use.apart) - 1,)))
        return joined("OR" if is_or else "AND", parts)

    def _of_resource(
        self, where: Ids | LastUpdated | InPatient | Tagged, resource_type: str, rid: str
    ) -> Sql:
        type_nr = self.names.type(resource_type)
        match where:
            case Ids(ids):
                text = (
                    f"{rid} IN (SELECT rid FROM resource INDEXED BY resource_id "
                    f"WHERE type = ? AND live = 1 AND id IN {LISTED})"
                )
                return Sql(text, (type_nr, listed(ids)))
            case LastUpdated():
                part = range_sql(where)
                text = part.text.replace("low + span", "last_updated").replace(
                    "low", "last_updated"
                )
                return Sql(
                    f"EXISTS (SELECT 1 FROM version WHERE rid = {rid} AND {text})", part.binds
                )
            case InPatient(patients):
                nrs = among(self.patient_numbers(patients))
                return Sql(
                    f"EXISTS (SELECT 1 FROM compartment WHERE patient {nrs.text} AND type = ? "
                    f"AND rid = {rid})",
                    (*nrs.binds, type_nr),
                )
            case Tagged(tag):
                return Sql(
                    f"EXISTS (SELECT 1 FROM tag WHERE tag = ? AND type = ? AND rid = {rid})",
                    (self.names.find(Kind.TAG, tag), type_nr),
                )

    def _of_values(self, where: Expression, resource_type: str, rid: str) -> Sql:
        match where:
            case TokenIs(param, system, code) if code is not None:
                params = self.params(resource_type, param)
                if not params:
                    return FALSE
                systems = self.systems(params, system)
                return Sql(
                    f"EXISTS (SELECT 1 FROM token WHERE param IN {numbers(params)} "
                    f"AND sys IN {systems} AND code = ? AND rid = {rid})",
                    (code_key(code),),
                )
            case UriIs(param, uri, "exact"):
                params = self.params(resource_type, param)
                return Sql(
                    f"EXISTS (SELECT 1 FROM string WHERE param IN {numbers(params)} "
                    f"AND text = ? AND exact = '' AND rid = {rid})",
                    (uri,),
                )
            case Says(param, words) if " " not in words:
                return self._said(words, self.params(resource_type, param), rid)
            case RefersTo(param):
                return self._refers(where, self.params(resource_type, param), rid)
            case DateIs(param):
                params = self.params(resource_type, param)
                part = range_sql(where)
                return Sql(
                    f"EXISTS (SELECT 1 FROM date INDEXED BY date_of WHERE rid = {rid} "
                    f"AND param IN {numbers(params)} AND {part.text})",
                    part.binds,
                )
            case Missing():
                return self._missing(where, resource_type, rid)
            case _:
                return self._by_entry(where, resource_type, rid)

    def _missing(self, leaf: Missing, resource_type: str, rid: str) -> Sql:
        """Return the condition that a parameter has no value, by a reverse index if it has one."""
        params = self.params(resource_type, leaf.param)
        if not params:
            return TRUE if leaf.missing else FALSE
        held = {
            table
            for table in ("token", "string", "quantity", "date")
            for param in params
            if self.db.execute(f"SELECT 1 FROM {table} WHERE param = ? LIMIT 1", (param,)).get
        }
        if held == {"date"}:
            index = "date INDEXED BY date_of"
        elif not held and self.names.is_reference(params[0]):
            index = "ref INDEXED BY ref_of"
        else:
            word = "NOT " if leaf.missing else ""
            index = " UNION ALL ".join(
                f"SELECT rid FROM {table} WHERE param IN {numbers(params)}"
                for table in sorted(held - {"date"})
            )
            if not index:
                return self._by_entry(leaf, resource_type, rid)
            test = entry_test(Missing(leaf.param, missing=False), resource_type, self)
            part = self.valued(Sql(index), test, rid)
            return Sql(word + part.text, part.binds)
        word = "NOT EXISTS" if leaf.missing else "EXISTS"
        return Sql(
            f"{word} (SELECT 1 FROM {index} WHERE rid = {rid} AND param IN {numbers(params)})"
        )

    def systems(self, params: tuple[int, ...], system: str | None) -> str:
        """Return what stands behind `sys IN`: one system, or all that the parameters have."""
        if system is None:
            seen = {nr for param in params for nr in self.names.seen(param)}
            # A few are written down: a list that is looked up is opened for each resource.
            if len(seen) <= _WRITTEN:
                return numbers(sorted(seen))
            return f"(SELECT nr FROM seen WHERE param IN {numbers(params)})"
        nr = self.names.find(Kind.SYSTEM, system)
        return "()" if nr is None else f"({nr})"

    def _said(self, word: str, params: tuple[int, ...], rid: str) -> Sql:
        nr = self.names.find(Kind.WORD, word)
        if nr is None or not params:
            return FALSE
        return Sql(
            f"EXISTS (SELECT 1 FROM said WHERE param IN {numbers(params)} "
            f"AND word = ? AND rid = {rid})",
            (nr,),
        )

    def _refers(self, leaf: RefersTo, params: tuple[int, ...], rid: str) -> Sql:
        if leaf.url:
            return Sql(
                f"EXISTS (SELECT 1 FROM string WHERE param IN {numbers(params)} "
                f"AND text = ? AND exact = '' AND rid = {rid})",
                (leaf.url,),
            )
        targets = among(self.resource_numbers((leaf,)))
        return Sql(
            f"EXISTS (SELECT 1 FROM ref WHERE target {targets.text} "
            f"AND param IN {numbers(params)} AND rid = {rid})",
            targets.binds,
        )

    def _refers_to_any(self, leaves: Sequence[RefersTo], resource_type: str, rid: str) -> Sql:
        """Return the condition of a long list: what a resource refers to is looked up in it."""
        params = self.params(resource_type, leaves[0].param)
        return Sql(
            f"EXISTS (SELECT 1 FROM ref INDEXED BY ref_of WHERE rid = {rid} "
            f"AND param IN {numbers(params)} AND +target IN {LISTED})",
            (as_json(self.resource_numbers(leaves)),),
        )

    def _by_entry(self, leaf: Expression, resource_type: str, rid: str) -> Sql:
        assert isinstance(  # noqa: S101 - every other leaf was taken above
            leaf,
            TokenIs
            | TokenText
            | StringIs
            | UriIs
            | NumberIs
            | QuantityIs
            | CompositeIs
            | Missing
            | Says
            | Near
            | Differs,
        )
        # An entry holds texts as they are: most are told by their bytes, which are not read.
        text = b""
        match leaf:
            case TokenText(_, value) | StringIs(_, value):
                # Nothing stored holds a lone surrogate, which a client may ask for.
                text = value.encode(errors="surrogatepass")
        test = entry_test(leaf, resource_type, self)
        if (whole := self.whole(leaf, resource_type)) is not None:
            index, scanned = whole
            # What was asked, and found, in one attempt counts in the next.
            for number, one in enumerate(self._use.valued):
                if one.whole and one.index == index:
                    return Sql(f"valued(?, {rid})", (number,))
            return self._indexed(_Valued(index, test, whole=True, scanned=scanned, text=text), rid)
        return self.tested(test, rid, text=text)

    def tested(
        self, test: EntryTest, rid: str, steps: int = _ENTRY_STEPS, *, text: bytes = b""
    ) -> Sql:
        """Return the condition that a resource's entry passes a test, and holds a text."""
        self._use.tests.append((test, steps, text))
        return Sql(
            f"EXISTS (SELECT 1 FROM entry WHERE rid = {rid} AND leaf(?, packing, packed))",
            (len(self._use.tests) - 1,),
        )

    def _link(self, where: Chain | Has, resource_type: str, rid: str) -> Sql:
        # Each link has its own alias: chains nest.
        self._use.links += 1
        at = f"l{self._use.links}"
        if isinstance(where, Chain):
            params = numbers(self.params(resource_type, where.param))
            inner = self.predicate(where.where, where.target_type, f"{at}t.rid")
            return Sql(
                f"EXISTS (SELECT 1 FROM ref {at} INDEXED BY ref_of CROSS JOIN resource {at}t "
                f"WHERE {at}.rid = {rid} AND {at}.param IN {params} AND {at}t.nr = {at}.target "
                f"AND {at}t.live = 1 AND {at}t.type = ? AND {inner.text})",
                (self.names.type(where.target_type), *inner.binds),
            )
        params = numbers(self.params(where.source_type, where.param))
        inner = self.predicate(where.where, where.source_type, f"{at}r.rid")
        return Sql(
            f"EXISTS (SELECT 1 FROM entry {at} CROSS JOIN ref {at}r WHERE {at}.rid = {rid} "
            f"AND {at}r.target = {at}.nr AND {at}r.param IN {params} AND {inner.text})",
            inner.binds,
        )
