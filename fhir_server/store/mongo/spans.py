"""Dates and numbers as questions about the ends that are kept of them, in `o`.

Of one parameter's values the least beginning is kept (`a`), the greatest where it is another
(`d`), and the greatest end of those that are long (`h`): of numbers every one with two ends, of
dates what is longer than a day. So an end that is not kept is the beginning itself, or at most a
day later. Each question becomes two filters: `may` has all that match, `sure` no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fhir_server.search.expression import DateIs, NumberIs, Prefix, QuantityIs
from fhir_server.store.keys import DAY, time_key
from fhir_server.store.mongo import keys
from fhir_server.store.mongo.filters import Filter, either, every
from fhir_server.store.mongo.schema import Document

Range = dict[str, Any]
"""What an index is asked for one field: `{"$gte": value}`."""


@dataclass(frozen=True, slots=True)
class Spans:
    """A question about ranges.

    Attributes:
        may: Matches all that match.
        sure: Matches nothing else.
        arms: Filters of which each is a range of one indexed field; together they have all
            that `may` has. None where an index does not help.
    """

    may: Filter
    sure: Filter
    arms: tuple[Document, ...] | None


@dataclass(frozen=True, slots=True)
class _Ends:
    """The fields of one parameter."""

    least: str
    greatest: str
    long: str

    def start(self, asked: Range) -> list[Filter]:
        """Return that the least or the greatest beginning is in a range."""
        return [{self.least: asked}, {self.greatest: asked}]

    def none_long(self) -> Document:
        return {self.long: {"$exists": False}}

    def single(self) -> Document:
        return {self.greatest: {"$exists": False}}


def dates(leaf: DateIs, kind: str) -> Spans:
    """Return what a date asks of the ends that are kept."""
    low, high = time_key(leaf.low), time_key(leaf.high)
    ends = _ends(kind, leaf.param)
    match leaf.prefix:
        case Prefix.LT:
            return _exact({ends.least: {"$lt": low}})
        case Prefix.LE:
            return _exact({ends.least: {"$lte": high}})
        case Prefix.SA:
            return _exact(*ends.start({"$gt": high}))
        case Prefix.GT:
            return _reaching(ends, "$gt", high, DAY)
        case Prefix.GE:
            return _reaching(ends, "$gte", low, DAY)
        case Prefix.EB:
            return _ending_before(ends, low, low - DAY)
        case Prefix.EQ:
            within = {"$gte": low, "$lte": high}
            surely = {"$gte": low, "$lte": high - DAY}
            return _inside(ends, (within, surely, {"$lte": high}))
        case Prefix.NE:
            before: Document = {ends.least: {"$lt": low}}
            reaching = _reaching(ends, "$gt", high, DAY)
            return Spans(either([before, reaching.may]), either([before, reaching.sure]), arms=None)
        case _:
            begun: Document = {ends.least: {"$lte": high}}
            return _overlapping(ends, begun, low, {"$gte": low, "$lte": high}, DAY)


def numbers(leaf: NumberIs | QuantityIs, kind: str) -> Spans:
    """Return what a number asks of the ends that are kept; a quantity's unit is not looked at."""
    low, high = keys.number_key(leaf.low), keys.number_key(leaf.high)
    value = keys.number_key(leaf.value)
    ends = _ends(kind, leaf.param)
    match leaf.prefix:
        case Prefix.LT:
            return _exact({ends.least: {"$lt": value}})
        case Prefix.LE:
            return _exact({ends.least: {"$lte": value}})
        case Prefix.SA:
            return _exact(*ends.start({"$gt": value}))
        case Prefix.GT:
            return _reaching(ends, "$gt", value, None)
        case Prefix.GE:
            return _reaching(ends, "$gte", value, None)
        case Prefix.EB:
            return _ending_before(ends, value, value)
        case Prefix.EQ:
            within = {"$gte": low, "$lt": high}
            return _inside(ends, (within, within, {"$lt": high}))
        case Prefix.NE:
            reaching = _reaching(ends, "$gte", high, None)
            filter_ = either([{ends.least: {"$lt": low}}, reaching.may])
            return Spans(filter_, filter_, arms=None)
        case _:
            begun: Document = {ends.least: {"$lt": high}}
            return _overlapping(ends, begun, low, {"$gte": low, "$lt": high}, None)


def _ends(kind: str, param: str) -> _Ends:
    path = keys.path(kind, param)
    return _Ends("o.a" + path, "o.d" + path, "o.h" + path)


def _exact(*arms: Filter) -> Spans:
    filter_ = either(arms)
    return Spans(filter_, filter_, tuple(one for one in arms if one is not None))


def _reaching(ends: _Ends, sign: str, end: Any, day: int | None) -> Spans:
    """Return what ends at or after a value; an end that is not kept is within a day."""
    long: Document = {ends.long: {sign: end}}
    arms = [*ends.start({sign: end if day is None else end - day}), long]
    may = either(arms)
    sure = may if day is None else either([*ends.start({sign: end}), long])
    return Spans(may, sure, tuple(one for one in arms if one is not None))


def _ending_before(ends: _Ends, end: Any, surely: Any) -> Spans:
    """Return what ends before a value; what has no long value and begins before `surely` does."""
    may: Document = {ends.least: {"$lt": end}}
    no_later = either([ends.none_long(), {ends.long: {"$lt": end}}])
    return Spans(may, every([{ends.least: {"$lt": surely}}, no_later]), (may,))


def _inside(ends: _Ends, ranges: tuple[Range, Range, Range]) -> Spans:
    """Return what lies in a range.

    Args:
        ends: The fields.
        ranges: Where it begins; where a short one surely begins; where a long one ends.
    """
    within, surely, until = ranges
    start, below = {"$gte": within["$gte"]}, {k: v for k, v in within.items() if k != "$gte"}
    several = every([{ends.greatest: start}, {ends.least: {"$lt": within["$gte"]}}])
    sure = either([
        every([ends.none_long(), either(ends.start(surely))]),
        every([ends.single(), {ends.least: start}, {ends.long: until}]),
    ])  # fmt: skip
    arms = ({ends.least: within}, several or {})
    may = every([{ends.least: below}, either(ends.start(start))])
    return Spans(may, sure, arms)


def _overlapping(ends: _Ends, begun: Document, low: Any, within: Range, day: int | None) -> Spans:
    """Return what has begun, and has not ended before `low`."""
    reaching = _reaching(ends, "$gte", low, day)
    sure = either([
        *ends.start(within),
        every([ends.single(), begun, {ends.long: {"$gte": low}}]),
    ])  # fmt: skip
    (begins,) = begun.values()
    least = low if day is None else low - day
    earlier: Document = {ends.least: {"$lt": least}}
    arms = (
        {ends.least: {"$gte": least, **begins}},
        every([{ends.greatest: {"$gte": least}}, earlier]) or {},
        every([{ends.long: {"$gte": low}}, earlier]) or {},
    )
    return Spans(every([begun, reaching.may]), sure, arms)
