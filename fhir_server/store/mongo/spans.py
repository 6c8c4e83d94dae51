"""Dates and numbers as questions about the ends that are kept of them.

Of one parameter's values the least beginning is kept (`a`), the greatest where it is another
(`d`), and the greatest end of those that are long (`h`): of numbers every one with two ends, of
dates what is longer than a day. These have an index. Of dates the greatest end of all is kept
too (`l`), without one. Each question becomes two filters: `may` has all that match, `sure` no
other; and ranges of the index, so that what ends late is looked for where it begins: at most a
day before, or among the long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fhir_server.search.expression import DateIs, NumberIs, Prefix, QuantityIs
from fhir_server.store.keys import DAY, time_key
from fhir_server.store.mongo import keys
from fhir_server.store.mongo.filters import Filter, either, every, neither
from fhir_server.store.mongo.schema import Document

Range = dict[str, Any]
"""What is asked of one field: `{"$gte": value}`."""

Part = tuple[Document, Document]
"""A range of the index, and what is asked of what it gives."""


@dataclass(frozen=True, slots=True)
class Spans:
    """A question about ranges.

    Attributes:
        may: Matches all that match.
        sure: Matches nothing else.
        arms: Ranges of the index, each with what it must pass too; together they have what
            `may` has, and none has what another has. None where an index does not help.
        bound: A range of the least beginning in which all are.
    """

    may: Filter
    sure: Filter
    arms: tuple[Part, ...] | None
    bound: Document | None = None


@dataclass(frozen=True, slots=True)
class _Ends:
    """The fields of one parameter."""

    least: str
    greatest: str
    long: str
    last: str

    @classmethod
    def of(cls, kind: str, param: str) -> _Ends:
        path = keys.path(kind, param)
        return cls("o.a" + path, "o.d" + path, "o.h" + path, "l." + path)

    def start(self, asked: Range) -> list[Filter]:
        """Return that the least or the greatest beginning is in a range."""
        return [{self.least: asked}, {self.greatest: asked}]

    def single(self) -> Document:
        """Return that all values begin at once."""
        return {self.greatest: {"$exists": False}}

    def none_long(self) -> Document:
        return {self.long: {"$exists": False}}

    def later(self, start: Any, first: list[Part], long: Range, also: Document) -> tuple[Part, ...]:
        """Return parts: the first ones, what has another beginning from `start`, and the long.

        Args:
            start: The first parts have every value whose least beginning is from here on.
            first: Parts by the least beginning.
            long: A range of the long end.
            also: What the others must pass too.
        """
        earlier: Document = {self.least: {"$lt": start}}
        another: Document = {self.greatest: {"$gte": start}}
        return (
            *first,
            (another, _both(earlier, also)),
            ({self.long: long}, _both(earlier, also, neither(another))),
        )


def _both(*filters: Filter) -> Document:
    return every(filters) or {}


# --- dates -----------------------------------------------------------------------------------


def dates(leaf: DateIs, kind: str) -> Spans:
    """Return what a date asks of the ends that are kept."""
    low, high = time_key(leaf.low), time_key(leaf.high)
    ends = _Ends.of(kind, leaf.param)
    match leaf.prefix:
        case Prefix.LT:
            return _alone({ends.least: {"$lt": low}})
        case Prefix.LE:
            return _alone({ends.least: {"$lte": high}})
        case Prefix.SA:
            return _starting_after(ends, high)
        case Prefix.GT:
            return _ending_from(ends, high + 1)
        case Prefix.GE:
            return _ending_from(ends, low)
        case Prefix.EB:
            return _ending_before(ends, low)
        case Prefix.EQ:
            return _within(ends, low, high)
        case Prefix.NE:
            beside = either([{ends.least: {"$lt": low}}, {ends.last: {"$gt": high}}])
            return Spans(beside, beside, arms=None)
        case _:
            return _meeting(ends, low, high)


def _alone(arm: Document) -> Spans:
    return Spans(arm, arm, ((arm, {}),), bound=arm)


def _starting_after(ends: _Ends, high: Any) -> Spans:
    beyond = {"$gt": high}
    may = either(ends.start(beyond))
    another: Document = {ends.greatest: beyond}
    arms: tuple[Part, ...] = (
        ({ends.least: beyond}, {}),
        (another, {ends.least: {"$lte": high}}),
    )
    return Spans(may, may, arms)


def _ending_from(ends: _Ends, low: int) -> Spans:
    may: Document = {ends.last: {"$gte": low}}
    first: list[Part] = [
        ({ends.least: {"$gte": low}}, {}),
        ({ends.least: {"$gte": low - DAY, "$lt": low}}, may),
    ]
    return Spans(may, may, ends.later(low - DAY, first, {"$gte": low}, may))


def _ending_before(ends: _Ends, low: int) -> Spans:
    begun: Document = {ends.least: {"$lt": low}}
    ended: Document = {ends.last: {"$lt": low}}
    open_ = either([ended, {ends.greatest: {"$exists": True}}])
    early: Document = {ends.least: {"$lt": low - DAY}}
    return Spans(
        may=every([begun, open_]),
        sure=either([ended, every([ends.none_long(), early])]),
        arms=((begun, open_ or {}),),
        bound=begun,
    )


def _within(ends: _Ends, low: int, high: int) -> Spans:
    inside: Document = {ends.least: {"$gte": low, "$lte": high}}
    ended: Document = {ends.last: {"$lte": high}}
    open_ = either([ended, {ends.greatest: {"$exists": True}}])
    another: Document = {ends.greatest: {"$gte": low}}
    earlier: Document = {ends.least: {"$lt": low}}
    short = every([ends.none_long(), either(ends.start({"$gte": low, "$lte": high - DAY}))])
    return Spans(
        may=either([every([inside, open_]), every([another, earlier])]),
        sure=either([every([inside, ended]), short]),
        arms=((inside, open_ or {}), (another, earlier)),
        bound={ends.least: {"$lte": high}},
    )


def _meeting(ends: _Ends, low: int, high: int) -> Spans:
    begun: Document = {ends.least: {"$lte": high}}
    ending: Document = {ends.last: {"$gte": low}}
    may = every([begun, ending])
    first: Part = ({ends.least: {"$gte": low - DAY, "$lte": high}}, ending)
    return Spans(
        may=may,
        sure=either([every([ends.single(), may]), *ends.start({"$gte": low, "$lte": high})]),
        arms=ends.later(low - DAY, [first], {"$gte": low}, ending),
        bound=begun,
    )


# --- numbers ---------------------------------------------------------------------------------


def numbers(leaf: NumberIs | QuantityIs, kind: str) -> Spans:
    """Return what a number asks of the ends that are kept; a quantity's unit is not looked at."""
    low, high = keys.number_key(leaf.low), keys.number_key(leaf.high)
    value = keys.number_key(leaf.value)
    ends = _Ends.of(kind, leaf.param)
    match leaf.prefix:
        case Prefix.LT:
            return _alone({ends.least: {"$lt": value}})
        case Prefix.LE:
            return _alone({ends.least: {"$lte": value}})
        case Prefix.SA:
            return _starting_after(ends, value)
        case Prefix.GT:
            return _number_reaching(ends, "$gt", value)
        case Prefix.GE:
            return _number_reaching(ends, "$gte", value)
        case Prefix.EB:
            return _number_before(ends, value)
        case Prefix.EQ:
            return _number_within(ends, low, high)
        case Prefix.NE:
            beside = either([
                {ends.least: {"$lt": low}},
                *ends.start({"$gte": high}),
                {ends.long: {"$gte": high}},
            ])  # fmt: skip
            return Spans(beside, beside, arms=None)
        case _:
            return _number_meeting(ends, low, high)


def _number_reaching(ends: _Ends, sign: str, value: str) -> Spans:
    reaching = {sign: value}
    short: Document = {ends.least: {"$lt" if sign == "$gte" else "$lte": value}}
    may = either([*ends.start(reaching), {ends.long: reaching}])
    another: Document = {ends.greatest: reaching}
    arms: tuple[Part, ...] = (
        ({ends.least: reaching}, {}),
        (another, short),
        ({ends.long: reaching}, _both(short, neither(another))),
    )
    return Spans(may, may, arms)


def _number_before(ends: _Ends, value: str) -> Spans:
    may: Document = {ends.least: {"$lt": value}}
    no_later = either([ends.none_long(), {ends.long: {"$lt": value}}])
    return Spans(may, every([may, no_later]), ((may, {}),), bound=may)


def _number_within(ends: _Ends, low: str, high: str) -> Spans:
    start, inside = {"$gte": low}, {"$gte": low, "$lt": high}
    sure = either([
        every([ends.none_long(), either(ends.start(inside))]),
        every([ends.single(), {ends.least: start}, {ends.long: {"$lt": high}}]),
    ])  # fmt: skip
    begun: Document = {ends.least: {"$lt": high}}
    may = every([begun, either(ends.start(start))])
    another: Part = ({ends.greatest: start}, {ends.least: {"$lt": low}})
    return Spans(may, sure, (({ends.least: inside}, {}), another), bound=begun)


def _number_meeting(ends: _Ends, low: str, high: str) -> Spans:
    begun: Document = {ends.least: {"$lt": high}}
    inside = {"$gte": low, "$lt": high}
    long: Document = {ends.long: {"$gte": low}}
    may = every([begun, either([*ends.start({"$gte": low}), long])])
    sure = either([*ends.start(inside), every([ends.single(), begun, long])])
    arms = ends.later(low, [({ends.least: inside}, {})], {"$gte": low}, {})
    return Spans(may, sure, arms, bound=begun)
