"""What drives a search: the index that gives the fewest rids, found by counting a little of each.

A *source* gives the rids of a leaf from its index: either each arm in order of rid, newest first
(tokens, references, compartments), or in another order, to be gathered and sorted (dates, strings,
quantities). Chains and `_has` are sources where what is at their other end is few.
"""

# ruff: noqa: S608 - every piece of the SQL is ours; what a client says is bound

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, cast

from fhir_server.search.composites import implied
from fhir_server.search.expression import (
    And,
    Chain,
    CompositeIs,
    DateIs,
    Expression,
    Has,
    Ids,
    InPatient,
    LastUpdated,
    Missing,
    Near,
    NumberIs,
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
)
from fhir_server.store.keys import code_key
from fhir_server.store.sqlite.arms import (
    ARMS,
    Source,
    date_ranges,
    dates,
    places,
    quantity_arms,
    references,
    strings,
    text_arm,
    uris,
)
from fhir_server.store.sqlite.entry import text_system
from fhir_server.store.sqlite.leaf import units_of
from fhir_server.store.sqlite.names import OTHER, Kind
from fhir_server.store.sqlite.search_sql import (
    LISTED,
    Predicates,
    Sql,
    as_json,
    listed,
    numbers,
    range_sql,
)
from fhir_server.store.sqlite.wide import references_together

LEVELS: Final = (500, 2_000, 20_000)
"""Rows of every source are counted up to the first of these that one of them stays below."""
MANY: Final = LEVELS[-1]
"""A source with so many rows may have any number of them."""
CROSSED: Final = 150_000
"""So many rows of each of two sources are gathered to be held against one another."""
TOGETHER: Final = 20
"""So many bounds of one time are one range of its index."""
LINKED: Final = 1_000
"""So many resources at the other end of a chain make it a source of a page."""
LINKED_ALL: Final = 20_000
"""And so many where all that match are counted: of each of its type it would be asked."""

NONE: Final = Source((), ordered=True)

Best = tuple[Source, int, Expression]
"""The source that drives, how many rows it has (MANY: or more), and what is left to be asked."""

Inner = Callable[[str, Expression, int], list[int] | None]
"""The rids of a type that match, or None where there are more than so many."""


class Sources:
    """Makes sources, for one connection.

    Attributes:
        linked: So many resources at the other end of a chain make it a source.
    """

    def __init__(self, predicates: Predicates, inner: Inner) -> None:
        self._sql = predicates
        self._inner = inner
        self.linked = LINKED
        self._links: dict[tuple[str, Chain | Has, int], Source | None] = {}
        self._found: dict[str, list[int]] = {}
        predicates.whole = self._whole

    def begin(self) -> None:
        """Forget what was found at the other ends of links, in the search before."""
        self._links.clear()
        self._found.clear()

    def walk(self, resource_type: str) -> Source:
        """Return all current resources of a type, newest first."""
        nr = self._sql.names.type(resource_type)
        if nr is None:
            return NONE
        text = "FROM resource AS d INDEXED BY resource_live WHERE d.type = ? AND d.live = 1"
        return Source((Sql(text, (nr,)),), ordered=True)

    def best(
        self,
        where: Expression,
        resource_type: str,
        count: Callable[[Sql, int], int],
        *,
        newest: bool = False,
        all_of_it: bool = False,
        enough: Callable[[int], bool] = lambda _: False,
    ) -> Best | None:
        """Return the source with the fewest rows, how many (MANY: or more), and what is left.

        `count(arm, most)` counts an arm's rows up to `most`. With `newest` a lone source that
        comes newest first is not counted, with `all_of_it` no lone one is: all of it will be read.
        Where `enough` says so of rows that every source has, no more are counted. None: nothing can
        drive.
        """
        parts = flat(where)
        found = [(source, at) for at, _, source in self.all(parts, resource_type)]
        if not found:
            return None
        rows = 0
        source, at = found[0]
        levels: tuple[int, ...] = LEVELS
        if newest and len(found) == 1:
            levels = () if source.mergeable else LEVELS if source.costly else LEVELS[:1]
        elif all_of_it and len(found) == 1:
            levels = ()
        for most in levels:
            rows, n = _fewest([source for source, _ in found], count, most)
            source, at = found[n]
            if rows < most:
                break
            if enough(most):
                rows = MANY
                break
        else:
            rows = MANY
        rest = tuple(p for n, p in enumerate(parts) if n != at or not source.exact)
        return source, rows, And(rest)

    def candidates(
        self, where: Expression, resource_type: str, count: Callable[[Sql, int], int]
    ) -> list[tuple[Expression, Source, int]]:
        """Return each conjunct that an index gives, and how many rows (MANY: or more), counted."""
        return [
            (part, source, _count(source, count, MANY))
            for _, part, source in self.all(flat(where), resource_type)
        ]

    def two(
        self, where: Expression, resource_type: str, count: Callable[[Sql, int], int]
    ) -> tuple[Source, Source, Expression] | None:
        """Return the two sources with the fewest rows, and what is left to be asked of both.

        None: there are no two, or one of them has more than CROSSED rows.
        """
        parts = flat(where)
        found = [
            (n, number, at, source)
            for number, (at, _, source) in enumerate(self.all(parts, resource_type))
            if (n := _count(source, count, CROSSED)) < CROSSED
        ]
        if len(found) < 2:  # noqa: PLR2004
            return None
        (_, _, first, one), (_, _, second, other), *_ = sorted(found, key=lambda row: row[:2])
        told = {at for at, source in ((first, one), (second, other)) if source.exact}
        return one, other, And(tuple(part for at, part in enumerate(parts) if at not in told))

    def is_costly(self, where: Expression, resource_type: str) -> bool:
        """Return whether a resource is asked by its entry, and nothing comes newest first."""
        found = [source for _, _, source in self.all(flat(where), resource_type)]
        return any(one.costly for one in found) and not any(one.ordered for one in found)

    def all(
        self, parts: list[Expression], resource_type: str
    ) -> list[tuple[int, Expression, Source]]:
        """Return every source of these conjuncts, with its place among them and what it gives."""
        found, told = self._ranges(parts, resource_type)
        for at, part in enumerate(parts):
            if at in told:
                continue
            if (source := self.of(part, resource_type)) is not None:
                found.append((at, part, source))
            if isinstance(part, CompositeIs):
                if (pairs := self._pairs(part, resource_type)) is not None:
                    found.append((at, part, pairs))
                for one in implied(part, resource_type):
                    # The first part's token has given a source; that all are of the same
                    # repetition, the entry tells.
                    if (source is None or one is not part.parts[0]) and (
                        other := self.of(one, resource_type)
                    ) is not None:
                        found.append((at, one, replace(other, exact=False)))
        return found

    def _ranges(
        self, parts: list[Expression], resource_type: str
    ) -> tuple[list[tuple[int, Expression, Source]], set[int]]:
        """Return the sources of what several conjuncts ask of one date, and where those stand."""
        by_param: dict[str, list[tuple[int, DateIs]]] = {}
        written: list[tuple[int, LastUpdated]] = []
        for at, part in enumerate(parts):
            if isinstance(part, DateIs):
                by_param.setdefault(part.param, []).append((at, part))
            elif isinstance(part, LastUpdated) and part.prefix is not Prefix.NE:
                written.append((at, part))
        # A statement is only so deep; of very many bounds the others are asked as ever.
        written = written[:TOGETHER]
        found: list[tuple[int, Expression, Source]] = []
        told: set[int] = set()
        nr = self._sql.names.type(resource_type)
        if len(written) > 1 and nr is not None:
            found.append((
                written[0][0],
                And(tuple(leaf for _, leaf in written)),
                replace(_written(nr, [leaf for _, leaf in written]), exact=False),
            ))
            told.update(at for at, _ in written)
        for code, every in by_param.items():
            several = every[:TOGETHER]
            nr = self._sql.names.param(resource_type, code)
            # Of several dates of a resource each may be what another conjunct asks.
            if len(several) == 1 or nr is None or not self._sql.names.is_single(nr):
                continue
            leaves = [leaf for _, leaf in several]
            if (source := date_ranges(leaves, nr)) is not None:
                found.append((several[0][0], And(tuple(leaves)), source))
                told.update(at for at, _ in several)
        return found, told

    def of(self, where: Expression, resource_type: str) -> Source | None:
        """Return the source of an expression, or None where no index gives it."""
        match where:
            case And():
                found = [self.of(part, resource_type) for part in flat(where)]
                some = [one for one in found if one is not None]
                # Which of them is the best is not counted inside an Or.
                best = min(some, key=lambda one: (not one.ordered, len(one.arms)), default=None)
                if best is None:
                    return None
                return Source(best.arms, best.ordered, exact=False, lone=best.lone)
            case Or(operands):
                return self._any(operands, resource_type)
            case Chain() | Has():
                key = (resource_type, where, self.linked)
                if key not in self._links:
                    self._links[key] = self._link(where, resource_type)
                return self._links[key]
            case Ids() | LastUpdated() | InPatient() | Tagged():
                return self._of_resource(where, resource_type)
            case _:
                return self._of_values(where, resource_type)

    def _any(self, operands: tuple[Expression, ...], resource_type: str) -> Source | None:
        lists, others = references_together(operands)
        found: list[Source | None] = [
            references(
                self._sql.resource_numbers(leaves),
                self._sql.params(resource_type, leaves[0].param),
            )
            for leaves in lists
        ]
        found += [self.of(one, resource_type) for one in others]
        if any(one is None for one in found):
            return None
        some = cast("list[Source]", found)
        return Source(
            tuple(arm for one in some for arm in one.arms),
            ordered=all(one.ordered for one in some),
            exact=all(one.exact for one in some),
            lone=all(one.lone for one in some),
        )

    def _of_resource(
        self, where: Ids | LastUpdated | InPatient | Tagged, resource_type: str
    ) -> Source | None:
        names = self._sql.names
        nr = names.type(resource_type)
        if nr is None:
            return NONE
        match where:
            case Ids(ids):
                text = (
                    "FROM resource AS d INDEXED BY resource_id "
                    f"WHERE d.type = ? AND d.live = 1 AND d.id IN {LISTED}"
                )
                return Source((Sql(text, (nr, listed(ids))),), ordered=False)
            case LastUpdated():
                if where.prefix is Prefix.NE:
                    return None
                return _written(nr, [where])
            case InPatient(patients):
                arm = "FROM compartment AS d WHERE d.patient = ? AND d.type = ?"
                nrs = self._sql.patient_numbers(patients)
                return Source(tuple(Sql(arm, (one, nr)) for one in nrs), ordered=True)
            case Tagged(tag):
                tag_nr = names.find(Kind.TAG, tag)
                arm = "FROM tag AS d WHERE d.tag = ? AND d.type = ?"
                return Source((Sql(arm, (tag_nr, nr)),), ordered=True)

    def _of_values(self, where: Expression, resource_type: str) -> Source | None:
        params = self._sql.params(resource_type, where.param) if hasattr(where, "param") else ()
        match where:
            case TokenIs(_, system, code):
                return self._tokens(params, system, code)
            case RefersTo():
                return self._references(where, params)
            case StringIs():
                return strings(where, params)
            case UriIs():
                return uris(where, params)
            case DateIs():
                source = dates(where, params)
                if source is None or len(params) != 1 or not self._sql.names.is_single(params[0]):
                    return source
                # Its arms are of short and of long ranges, and of each resource there is one.
                return replace(source, lone=True, apart=True)
            case Near():
                return places(where, params)
            case Says(_, words) if " " not in words:
                return self._said(words, params)
            case NumberIs() | QuantityIs():
                return self._quantities(where, params)
            case Missing():
                return self._missing(where, resource_type)
            case TokenText():
                return self._texts(where, resource_type, params)
            case CompositeIs(_, parts) if parts and isinstance(parts[0], TokenIs):
                source = self._tokens(params, parts[0].system, parts[0].code)
                return Source(source.arms, source.ordered, exact=False, lone=source.lone)
            case _:
                return None

    def _tokens(self, params: tuple[int, ...], system: str | None, code: str | None) -> Source:
        if system is None:
            pairs = [(param, nr) for param in params for nr in self._sql.names.seen(param)]
        else:
            nr = self._sql.names.find(Kind.SYSTEM, system)
            pairs = [] if nr is None else [(param, nr) for param in params]
        if code is not None:
            arm = "FROM token AS d WHERE d.param = ? AND d.sys = ? AND d.code = ?"
            key = code_key(code)
            return Source(tuple(Sql(arm, (*pair, key)) for pair in pairs), ordered=True)
        arm = "FROM token AS d WHERE d.param = ? AND d.sys = ?"
        return Source(tuple(Sql(arm, pair) for pair in pairs), ordered=False, lone=False)

    def _missing(self, leaf: Missing, resource_type: str) -> Source | None:
        """Return the resources whose shape has, or has not, a parameter."""
        names = self._sql.names
        shapes, own = names.shapes(resource_type), names.param(resource_type, leaf.param)
        if shapes is None or own is None:
            return None
        every = names.seen(shapes)
        some = [nr for nr in every if nr == OTHER or (own in names.shape(nr)) is not leaf.missing]
        return _under(shapes, some, exact=OTHER not in every)

    def _texts(self, leaf: TokenText, resource_type: str, params: tuple[int, ...]) -> Source | None:
        """Return the resources that have a token with such a text."""
        names = self._sql.names
        if names.shapes(resource_type) is None:
            return None
        if leaf.folded not in self._found:
            self._found[leaf.folded] = names.texts(leaf.folded)
        nrs = [text_system(nr) for nr in self._found[leaf.folded]]
        long = "SELECT 1 FROM token WHERE param = ? AND sys = ? LIMIT 1"
        found = []
        for param in params:
            has_long = bool(self._sql.db.execute(long, (param, text_system(OTHER))).get)
            some = [*nrs, text_system(OTHER)] if has_long else nrs
            found.append(_under(param, some, exact=not has_long))
        return Source(
            tuple(arm for one in found for arm in one.arms),
            ordered=all(one.ordered for one in found),
            exact=all(one.exact for one in found),
            lone=all(one.lone for one in found),
        )

    def _pairs(self, leaf: CompositeIs, resource_type: str) -> Source | None:
        """Return where the quantities of a composite stand that have one token beside them."""
        names = self._sql.names
        match leaf.parts:
            case (TokenIs(_, system, code), QuantityIs() as asked) if (
                code and asked.prefix is not Prefix.NE and names.shapes(resource_type) is not None
            ):
                pass
            case _:
                return None
        if system is None:
            params = self._sql.params(resource_type, leaf.param)
            systems = [nr for param in params for nr in names.seen(param)]
        else:
            one = names.find(Kind.SYSTEM, system)
            systems = [] if one is None else [one]
        pairs = [names.pair(resource_type, leaf.param, nr, code) for nr in systems]
        arms = [
            arm
            for pair in pairs
            if pair is not None
            for unit, converted in units_of(asked, names, [nr for nr in names.seen(pair) if nr])
            for arm in quantity_arms(converted, pair, unit)
        ]
        return Source(tuple(arms), ordered=False, lone=False, costly=True)

    def _references(self, leaf: RefersTo, params: tuple[int, ...]) -> Source:
        if leaf.url:
            return Source(tuple(text_arm(param, leaf.url) for param in params), ordered=True)
        return references(self._sql.resource_numbers((leaf,)), params)

    def _whole(self, leaf: Expression, resource_type: str) -> tuple[Sql, Sql | None] | None:
        if not isinstance(leaf, StringIs | NumberIs | QuantityIs):
            return None
        source = self._of_values(leaf, resource_type)
        if source is None or not (source.arms and source.exact and source.is_few):
            return None
        index = Sql(
            " UNION ALL ".join(f"SELECT d.rid {arm.text}" for arm in source.arms),
            tuple(bind for arm in source.arms for bind in arm.binds),
        )
        if not (isinstance(leaf, StringIs) and leaf.mode in {"contains", "ends"}):
            return index, None
        params = numbers(self._sql.params(resource_type, leaf.param))
        return index, Sql(f"SELECT 1 FROM string WHERE param IN {params}")

    def _said(self, word: str, params: tuple[int, ...]) -> Source:
        nr = self._sql.names.find(Kind.WORD, word)
        arm = "FROM said AS d WHERE d.param = ? AND d.word = ?"
        arms = () if nr is None else tuple(Sql(arm, (param, nr)) for param in params)
        return Source(arms, ordered=True)

    def _quantities(self, leaf: NumberIs | QuantityIs, params: tuple[int, ...]) -> Source | None:
        if leaf.prefix is Prefix.NE:
            return None
        arms = []
        for param in params:
            units: list[tuple[int, NumberIs | QuantityIs]] = [(0, leaf)]
            if isinstance(leaf, QuantityIs):
                names = self._sql.names
                units = [*units_of(leaf, names, [nr for nr in names.seen(param) if nr])]
            for unit, one in units:
                arms += quantity_arms(one, param, unit)
        return Source(tuple(arms), ordered=False, lone=False, costly=True)

    def _link(self, where: Chain | Has, resource_type: str) -> Source | None:
        if isinstance(where, Chain):
            params = self._sql.params(resource_type, where.param)
            found = self._inner(where.target_type, where.where, self.linked)
            if found is None:
                return None
            # By an index that holds both: rows of versions stand among bodies.
            targets = self._sql.db.execute(
                "SELECT nr FROM resource INDEXED BY resource_live "
                f"WHERE type = ? AND live = 1 AND rid IN {LISTED}",
                (self._sql.names.type(where.target_type), as_json(found)),
            )
            return references([nr for (nr,) in targets], params)
        params = self._sql.params(where.source_type, where.param)
        found = self._inner(where.source_type, where.where, self.linked)
        if found is None:
            return None
        # Looked up once: what a source has is counted, and then read.
        targets = self._sql.db.execute(
            "SELECT DISTINCT target FROM ref INDEXED BY ref_of "
            f"WHERE rid IN {LISTED} AND param IN {numbers(params)}",
            (as_json(found),),
        )
        text = (
            f"FROM resource AS d NOT INDEXED WHERE d.nr IN {LISTED} AND d.live = 1 AND d.type = ?"
        )
        bound = as_json(nr for (nr,) in targets)
        return Source((Sql(text, (bound, self._sql.names.type(resource_type))),), ordered=False)


def _under(param: int, systems: Sequence[int], *, exact: bool) -> Source:
    """Return the rows of a parameter that have no code, and these in the place of systems."""
    if len(systems) <= ARMS:
        text = "FROM token AS d WHERE d.param = ? AND d.sys = ? AND d.code = ''"
        arms = tuple(Sql(text, (param, nr)) for nr in systems)
        return Source(arms, ordered=True, exact=exact)
    text = f"FROM token AS d WHERE d.param = ? AND d.sys IN {LISTED} AND d.code = ''"
    return Source((Sql(text, (param, as_json(systems))),), ordered=False, exact=exact, lone=False)


def _written(type_nr: int, leaves: list[LastUpdated]) -> Source:
    """Return where the current resources of a type stand that were written in all these ranges."""
    parts = [range_sql(leaf) for leaf in leaves]
    text = " AND ".join(part.text for part in parts)
    text = text.replace("low + span", "last_updated").replace("low", "last_updated")
    binds = tuple(bind for part in parts for bind in part.binds)
    arm = (
        f"FROM resource AS d INDEXED BY resource_updated WHERE d.type = ? AND d.live = 1 AND {text}"
    )
    # One resource is asked by its version, whose row is among bodies.
    return Source((Sql(arm, (type_nr, *binds)),), ordered=False, costly=True)


def flat(where: Expression) -> list[Expression]:
    """Return what an expression is the conjunction of."""
    if isinstance(where, And):
        return [part for one in where.operands for part in flat(one)]
    if isinstance(where, Or) and len(where.operands) == 1:
        return flat(where.operands[0])
    return [where]


def _fewest(sources: list[Source], count: Callable[[Sql, int], int], most: int) -> tuple[int, int]:
    """Return how many rows, up to `most`, the source with the fewest has, and which it is."""
    best: tuple[int, bool, int] | None = None
    for n, source in enumerate(sources):
        # Whether it has more than the best so far is all that is asked of the others.
        bound = most if best is None else min(most, best[0] + 1)
        counted = (_count(source, count, bound), not source.ordered, n)
        if best is None or counted < best:
            best = counted
    return (0, 0) if best is None else (best[0], best[2])


def _count(source: Source, count: Callable[[Sql, int], int], most: int) -> int:
    total = 0
    for arm in source.arms:
        total += count(arm, most - total)
        if total >= most:
            return most
    return total
