"""Search of AuditEvents: the server's own chain, and those that others reported, newest first.

https://hl7.org/fhir/R4/auditevent.html#search
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import msgspec

from fhir_server.interactions.answer import dumps, links
from fhir_server.interactions.audit import AUDIT_EVENT, PATIENT, seq_of
from fhir_server.interactions.audit_event import Sight, audit_event, facility_of, sight_of
from fhir_server.interactions.audit_place import Event, Place, around, merged
from fhir_server.interactions.context import Context, FhirResult
from fhir_server.interactions.facilities import Facilities
from fhir_server.interactions.narrow import both, shown_and
from fhir_server.interactions.subset import Part
from fhir_server.model import bundle, codec
from fhir_server.model.outcome import TooCostly, UnsupportedParameter
from fhir_server.search import expression as ex
from fhir_server.search.expression import MOST_COUNTED, Prefix, Search
from fhir_server.search.extract import index_values
from fhir_server.search.match import matches
from fhir_server.search.paging import Around
from fhir_server.store.work import current

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fhir_server.search.expression import Expression
    from fhir_server.search.query import Query
    from fhir_server.store.port import AuditEntry

MOST_LOOKED_AT: Final = 20_000
_STEP: Final = 200
_MOST_BUILT: Final = 400
"""So many events are made only to be counted, where no accurate total is asked for."""


_MOST_ENDS: Final = 100
"""So many resources a chain may end at: each event that is made is held against all of them."""


@dataclass(frozen=True, slots=True)
class _Bounds:
    """What an expression surely asks of an entry of the chain; None is nothing."""

    patient: str | None = None
    since: int | None = None
    until: int | None = None
    ids: frozenset[str] | None = None


async def search_audit_events(ctx: Context, query: Query) -> FhirResult:
    """Return one page of the AuditEvents that match and are shown to the caller.

    Raises:
        TooCostly: The search looks at too many entries; name a patient or a time.
        UnsupportedParameter: Another order than newest first is asked for.
    """
    if any(not key.descending or key.param not in {"date", "_lastUpdated"} for key in query.sort):
        raise UnsupportedParameter(
            "AuditEvents are sorted by time, newest first, alone.",
            text_vi="AuditEvent chỉ được sắp xếp theo thời gian, mới nhất trước.",
        )
    query = replace(query, where=await _unchained(ctx, query.where))
    begin = Place() if query.cursor is None else Place.of(query.cursor)
    wanted = query.count + 1
    if query.count == 0:
        return await _counted(ctx, query)
    chained = [e async for e in _chained(ctx, query.where, begin, wanted)]
    reported = await _reported(ctx, query.where, begin, wanted)
    if query.cursor is None:
        begin = begin.defined(chained, reported)
    found = merged(chained, reported, backwards=begin.backwards, count=query.count)
    pages = around(begin, found, more=len(chained) + len(reported) > len(found))
    page = sorted(found, key=lambda event: event.newest_first)
    part = Part(query.summary, query.elements)
    entries = [
        bundle.search_entry(
            f"{ctx.base_url}/{AUDIT_EVENT}/{e.resource_id}", msgspec.Raw(part.of(e.body))
        )
        for e in page
    ]
    if query.cursor is None and pages.next is None and query.total != "none":
        total: int | None = len(page)
    else:
        total = await _total(ctx, query)
    answer = bundle.searchset(
        entries,
        links=links(ctx.base_url, AUDIT_EVENT, query.used, pages, query.cursor),
        total=total,
    )
    patients = frozenset(patient for event in page for patient in event.patients)
    return FhirResult(body=dumps(answer), patients=patients)


async def _counted(ctx: Context, query: Query) -> FhirResult:
    total = await _total(ctx, query)
    answer = bundle.searchset(
        (), links=links(ctx.base_url, AUDIT_EVENT, query.used, Around()), total=total
    )
    return FhirResult(body=dumps(answer))


async def _total(ctx: Context, query: Query) -> int | None:
    """Return how many match; where it was not asked for, only if that is soon counted."""
    if query.total == "none":
        return None
    is_asked = query.total == "accurate"
    where = shown_and(ctx, AUDIT_EVENT, query.where)
    counting = Search(((AUDIT_EVENT, where),), count=0, total=query.total)
    reported = (await ctx.store.search(counting)).total
    if reported is None:
        return None
    sight = sight_of(ctx.policy.narrow("search-type", AUDIT_EVENT))
    if query.where == ex.EVERYTHING and sight.patients is None:
        newest = await ctx.store.audit(limit=1)
        return reported + (newest[0].seq if newest else 0)
    most = MOST_LOOKED_AT if is_asked else _MOST_BUILT
    patient = _bounds(query.where).patient
    try:
        if patient is not None and isinstance(query.where, ex.RefersTo):
            # What the chain has by Patient is what would match: no event is made to be looked at.
            most = MOST_LOOKED_AT if is_asked else MOST_COUNTED
            chained = await _of_patient(ctx, patient, sight, most)
        else:
            found = _chained(ctx, query.where, Place(), most + 1, most)
            chained = len([None async for _ in found])
    except TooCostly:
        if is_asked:
            raise
        return None
    return reported + chained


async def _of_patient(ctx: Context, patient: str, sight: Sight, most: int) -> int:
    if sight.patients is not None and patient not in sight.patients:
        return 0
    entries = await ctx.store.audit(patient=patient, limit=most + 1)
    if len(entries) > most:
        raise _too_costly()
    return len(entries)


async def _reported(ctx: Context, where: Expression, begin: Place, wanted: int) -> list[Event]:
    asked = both(shown_and(ctx, AUDIT_EVENT, where), begin.left())
    page = await ctx.store.search(Search(((AUDIT_EVENT, asked),), sort=begin.sort, count=wanted))
    return [
        Event(v.last_updated, None, v.resource_id, v.body, frozenset(v.patients))
        for v in page.versions
    ]


async def _chained(
    ctx: Context, where: Expression, begin: Place, wanted: int, most: int = MOST_LOOKED_AT
) -> AsyncIterator[Event]:
    """Give matching entries of the chain, as the page is read, looking at `most` of them."""
    sight = sight_of(ctx.policy.narrow("search-type", AUDIT_EVENT))
    bounds = _bounds(where)
    facilities = Facilities(ctx.store)
    found = 0
    work = current()
    async for entry in _looked_at(ctx, bounds, sight, begin, most):
        if work is not None:
            await work.breathe()
            work.charge(1 / MOST_LOOKED_AT)
        event = audit_event(entry, sight, await facility_of(entry, facilities))
        index = index_values(event, base_url=ctx.base_url, known=ctx.known)
        name = (AUDIT_EVENT, event["id"])
        if matches(where, name, entry.recorded, index, frozenset(), _no_target):
            named = frozenset(index.patients)
            yield Event(entry.recorded, entry.seq, event["id"], codec.dumps(event), named)
            found += 1
            if found >= wanted:
                return


async def _looked_at(
    ctx: Context, bounds: _Bounds, sight: Sight, begin: Place, most: int
) -> AsyncIterator[AuditEntry]:
    if bounds.ids is not None:
        for entry in await _by_ids(ctx, bounds.ids, begin):
            if sight.shows(entry):
                yield entry
        return
    patient = bounds.patient
    if patient is None and sight.patients is not None and len(sight.patients) == 1:
        (patient,) = sight.patients
    work = current()
    before, after = _range(begin)
    for _ in range(most // _STEP):
        if work is not None:
            work.check()
        entries = await ctx.store.audit(
            patient=patient, since=bounds.since, until=bounds.until,
            before=before, after=after, limit=_STEP,
        )  # fmt: skip
        for entry in entries:
            if sight.shows(entry):
                yield entry
        if len(entries) < _STEP:
            return
        if begin.backwards:
            after = entries[-1].seq
        else:
            before = entries[-1].seq
    raise _too_costly()


def _range(begin: Place) -> tuple[int | None, int | None]:
    """Return before and, read backwards, after which entry of the chain what is left stands."""
    if not begin.backwards:
        return begin.before, None
    before = begin.first.before
    # At the beginning nothing is left before it.
    return before, (before or 0) if begin.before is None else begin.before - 1


def _too_costly() -> TooCostly:
    return TooCostly(
        "The search looks at too many AuditEvents; name a patient or a time.",
        text_vi="Tìm kiếm phải xem quá nhiều AuditEvent; hãy nêu một người bệnh hoặc thời gian.",
    )


async def _by_ids(ctx: Context, ids: frozenset[str], begin: Place) -> list[AuditEntry]:
    seqs = [seq for one in ids if (seq := seq_of(one)) is not None]
    before, after = _range(begin)
    left = [
        seq
        for seq in sorted(seqs, reverse=not begin.backwards)
        if (before is None or seq < before) and (after is None or seq > after)
    ]
    found = [await ctx.store.audit_entry(seq) for seq in left]
    return [entry for entry in found if entry is not None]


async def _unchained(ctx: Context, where: Expression) -> Expression:
    """Return what is asked with the ids of what chains end at: the chain itself has no links.

    Raises:
        TooCostly: A chain ends at too many resources.
    """
    match where:
        case ex.And(operands):
            return ex.And(tuple([await _unchained(ctx, part) for part in operands]))
        case ex.Or(operands):
            return ex.Or(tuple([await _unchained(ctx, part) for part in operands]))
        case ex.Not(operand):
            return ex.Not(await _unchained(ctx, operand))
        case ex.Chain(param, target, inner):
            ids = await _ends(ctx, target, inner)
            ends = tuple(ex.RefersTo(param, target, identity) for identity in ids)
            return ends[0] if len(ends) == 1 else ex.Or(ends)
        case _:
            return where


async def _ends(ctx: Context, target: str, inner: Expression) -> list[str]:
    asked = shown_and(ctx, target, inner)
    page = await ctx.store.search(Search(((target, asked),), count=_MOST_ENDS))
    if page.next is not None:
        raise TooCostly(
            f"A chain in a search of AuditEvents ends at more than {_MOST_ENDS} {target}.",
            text_vi=f"Chuỗi trong tìm kiếm AuditEvent dẫn tới hơn {_MOST_ENDS} {target}.",
        )
    return [version.resource_id for version in page.versions]


def _no_target(*_: object) -> None:
    """Say that the chain knows nothing of what its entries refer to."""


def _bounds(where: Expression) -> _Bounds:
    """Return what every match surely has, so that the store need not look at the rest."""
    patient, since, until, ids = None, None, None, None
    for part in where.operands if isinstance(where, ex.And) else (where,):
        match part:
            case ex.RefersTo("patient" | "entity", kind, identity) if kind in {None, PATIENT}:
                patient = identity if part.param == PATIENT.lower() or kind else patient
            case ex.DateIs("date", prefix, low, high):
                since = _latest(since, low if prefix in _FROM else None)
                until = _earliest(until, high if prefix in _TO else None)
            case ex.Ids(named):
                ids = named if ids is None else ids & named
            case _:
                pass
    return _Bounds(patient, since, until, ids)


_FROM: Final = frozenset({Prefix.EQ, Prefix.GE, Prefix.GT, Prefix.SA, Prefix.AP})
_TO: Final = frozenset({Prefix.EQ, Prefix.LE, Prefix.LT, Prefix.EB, Prefix.AP})


def _latest(one: int | None, other: int | None) -> int | None:
    return max((x for x in (one, other) if x is not None), default=None)


def _earliest(one: int | None, other: int | None) -> int | None:
    return min((x for x in (one, other) if x is not None), default=None)
