"""Search of AuditEvents: the server's own chain, and beside it what the store has of what is asked.

https://hl7.org/fhir/R4/auditevent.html#search
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fhir_server.interactions.answer import dumps, links, match_entry
from fhir_server.interactions.audit import AUDIT_EVENT
from fhir_server.interactions.audit_found import (
    MOST_LOOKED_AT,
    chained,
    count_of_patient,
    first_of,
    unchained,
)
from fhir_server.interactions.audit_place import Event, Order, Place, around, merged
from fhir_server.interactions.context import Context, FhirResult
from fhir_server.interactions.include import Inclusion
from fhir_server.interactions.narrow import both, shown_and
from fhir_server.interactions.subset import Part
from fhir_server.model import bundle, codec
from fhir_server.model.outcome import TooCostly, UnsupportedParameter
from fhir_server.search import expression as ex
from fhir_server.search.expression import MOST_COUNTED, Search, Sort
from fhir_server.search.extract import index_values
from fhir_server.search.paging import Around
from fhir_server.search.values import DateValue
from fhir_server.store.work import breathe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fhir_server.search.expression import Expression
    from fhir_server.search.query import Query
    from fhir_server.store.port import Version

_MOST_BUILT: Final = 400
"""So many events are made only to be counted, where no accurate total is asked for."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A search in which the server's own AuditEvents are found.

    Attributes:
        path: Below the base, of the links.
        query: What was asked.
        by_type: What is asked of each type, AuditEvent among them; resolved.
    """

    path: str
    query: Query
    by_type: tuple[tuple[str, Expression], ...]

    @property
    def where(self) -> Expression:
        """What is asked of AuditEvents."""
        return dict(self.by_type)[AUDIT_EVENT]

    @property
    def about(self) -> bytes:
        """What a cursor belongs to."""
        kinds = ",".join(kind for kind, _ in self.by_type)
        keys = ",".join(f"{'-' if one.descending else ''}{one.param}" for one in self.query.sort)
        return f"{self.path}\n{kinds}\n{keys}\n".encode() + self.query.asked


async def search_audit_events(ctx: Context, asked: Asked) -> FhirResult:
    """Return one page of the AuditEvents, and of other types beside, that match and are shown.

    Raises:
        TooCostly: The search looks at too many entries; name a patient or a time.
        UnsupportedParameter: Another order than one by time is asked for.
    """
    query = asked.query
    order = _order(query.sort, asked.by_type)
    where = await unchained(ctx, asked.where)
    by_type = tuple(
        (kind, shown_and(ctx, kind, where if kind == AUDIT_EVENT else one))
        for kind, one in asked.by_type
    )
    total = await _total(ctx, query, where, by_type) if query.count == 0 else None
    if query.count == 0:
        found = links(ctx.base_url, asked.path, query.used, Around())
        return FhirResult(body=dumps(bundle.searchset((), links=found, total=total)))
    begin = await _begin(ctx, asked, order, by_type)
    own = await _own(ctx, where, begin, query.count + 1)
    others = await _others(ctx, by_type, begin, order, query.count + 1)
    if begin.newest is None:
        begin = begin.defined((own[0].seq or 0) if own else 0, others[0].at if others else 0)
    page = merged(own, others, older=begin.is_to_older, count=query.count)

    def seal(place: Place) -> str:
        return ctx.store.seal(asked.about, place.position)

    pages = around(begin, page, seal, more=len(own) + len(others) > len(page))
    page = sorted(page, key=lambda event: event.newest_first, reverse=order.ascending)
    if query.cursor is None and pages.next is None and query.total != "none":
        total = len(page)
    else:
        total = await _total(ctx, query, where, by_type)
    versions = [event.version for event in page]
    await breathe()
    growing = Inclusion(ctx, {event.name for event in page})
    await growing.grow(versions, query.includes)
    part, along = Part(query.summary, query.elements), Part(query.summary)
    entries = [match_entry(ctx.base_url, v, "match", part.of(v.body)) for v in versions]
    entries += [match_entry(ctx.base_url, v, "include", along.of(v.body)) for v in growing.included]
    found = links(ctx.base_url, asked.path, query.used, pages, query.cursor)
    patients = frozenset(one for v in (*versions, *growing.included) for one in v.patients)
    return FhirResult(
        body=dumps(bundle.searchset(entries, links=found, total=total)), patients=patients
    )


def _order(sort: Sequence[Sort], by_type: Sequence[tuple[str, Expression]]) -> Order:
    """Return the order that is asked for; several keys are one where they go one way.

    Raises:
        UnsupportedParameter: It is not one by time.
    """
    known = {"_lastUpdated", "date"} if len(by_type) == 1 else {"_lastUpdated"}
    if not sort:
        return Order()
    if any(one.param not in known or one.descending != sort[0].descending for one in sort):
        raise UnsupportedParameter(
            "AuditEvents are sorted by date or _lastUpdated alone; with other types beside them, "
            "by _lastUpdated.",
            text_vi="AuditEvent chỉ được sắp xếp theo date hoặc _lastUpdated; cùng với loại khác "
            "thì chỉ theo _lastUpdated.",
        )
    ascending = not sort[0].descending
    return Order("date", ascending) if sort[0].param == "date" else Order(ascending=ascending)


async def _begin(
    ctx: Context, asked: Asked, order: Order, by_type: tuple[tuple[str, Expression], ...]
) -> Place:
    """Return where the page begins; newest first, what there is now is told by what it has."""
    if asked.query.cursor is not None:
        return Place.of(ctx.store.unseal(asked.about, asked.query.cursor))
    if order == Order():
        return Place()
    newest = await ctx.store.audit(limit=1)
    latest = await ctx.store.search(Search(by_type, sort=Order().sort(older=True), count=1))
    return Place(ascending=order.ascending).defined(
        newest[0].seq if newest else 0,
        latest.versions[0].last_updated if latest.versions else 0,
    )


async def _own(ctx: Context, where: Expression, begin: Place, wanted: int) -> list[Event]:
    found = await first_of(chained(ctx, where, begin.within), wanted)
    return [Event(one.version.last_updated, one.seq, one.version) for one in found]


async def _others(
    ctx: Context,
    by_type: tuple[tuple[str, Expression], ...],
    begin: Place,
    order: Order,
    wanted: int,
) -> list[Event]:
    left = tuple((kind, both(where, begin.left(order, kind))) for kind, where in by_type)
    page = await ctx.store.search(
        Search(left, sort=order.sort(older=begin.is_to_older), count=wanted)
    )
    return [Event(_time(ctx, order, one), None, one) for one in page.versions]


def _time(ctx: Context, order: Order, version: Version) -> int:
    if order.key == "_lastUpdated":
        return version.last_updated
    index = index_values(codec.loads_stored(version.body), base_url=ctx.base_url, words=False)
    return next(
        (one.low for one in index.values if isinstance(one, DateValue) and one.param == "date"),
        version.last_updated,
    )


async def _total(
    ctx: Context,
    query: Query,
    where: Expression,
    by_type: tuple[tuple[str, Expression], ...],
) -> int | None:
    """Return how many match; where it was not asked for, only if that is soon counted."""
    if query.total == "none":
        return None
    is_asked = query.total == "accurate"
    others = (await ctx.store.search(Search(by_type, count=0, total=query.total))).total
    if others is None:
        return None
    if where == ex.EVERYTHING and shown_and(ctx, AUDIT_EVENT, where) == ex.EVERYTHING:
        newest = await ctx.store.audit(limit=1)
        return others + (newest[0].seq if newest else 0)
    most = MOST_LOOKED_AT if is_asked else _MOST_BUILT
    try:
        if isinstance(where, ex.RefersTo) and (where.param, where.url) == ("patient", ""):
            # What the chain has by Patient is what would match: no event is made to be looked at.
            most = MOST_LOOKED_AT if is_asked else MOST_COUNTED
            own = await count_of_patient(ctx, where.resource_id, most)
        else:
            own = len(await first_of(chained(ctx, where, most=most), most + 1))
    except TooCostly:
        if is_asked:
            raise
        return None
    return others + own
