"""Entries of the server's own audit chain that match what is asked, as far as they are shown.

https://hl7.org/fhir/R4/auditevent.html#search
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fhir_server.interactions.audit import AUDIT_EVENT, PATIENT, seq_of
from fhir_server.interactions.audit_event import Sight, audit_event, facility_of, seen_in, sight_of
from fhir_server.interactions.facilities import Facilities
from fhir_server.interactions.narrow import shown_and
from fhir_server.model import codec
from fhir_server.model.outcome import TooCostly
from fhir_server.search import expression as ex
from fhir_server.search.expression import Prefix, Search
from fhir_server.search.extract import index_values
from fhir_server.search.match import matches
from fhir_server.search.reading import MAX_VALUES
from fhir_server.search.values import IndexValues, ReferenceValue
from fhir_server.store.port import Version
from fhir_server.store.work import current

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence

    from fhir_server.interactions.context import Context
    from fhir_server.search.expression import Expression
    from fhir_server.store.port import AuditEntry, Name

MOST_LOOKED_AT: Final = 20_000
"""So many entries are looked at for one question."""
_STEP: Final = 200
_MOST_ENDS: Final = 100
"""So many resources a chain may end at: each event that is made is held against all of them."""
_MOST_ASKED: Final = 100
"""Of so many resources each is asked for its own entries, before those of a time are looked at."""
_OF_PATIENT: Final = frozenset({"patient", "entity", "*"})
"""Parameters by which an entry of the chain names a Patient."""


@dataclass(frozen=True, slots=True)
class Range:
    """Which entries of the chain are looked at: before and, oldest first, after a `seq`."""

    before: int | None = None
    after: int | None = None

    def holds(self, seq: int) -> bool:
        """Return whether an entry is in it."""
        return (self.before is None or seq < self.before) and (
            self.after is None or seq > self.after
        )


_ALL: Final = Range()


@dataclass(frozen=True, slots=True)
class Found:
    """One entry that matches: its place in the chain, its AuditEvent, what is indexed of that."""

    seq: int
    version: Version
    index: IndexValues


@dataclass(frozen=True, slots=True)
class _Bounds:
    """What an expression surely asks of an entry of the chain; None is nothing."""

    patient: str | None = None
    since: int | None = None
    until: int | None = None
    ids: frozenset[str] | None = None


async def chained(
    ctx: Context, where: Expression, within: Range = _ALL, most: int = MOST_LOOKED_AT
) -> AsyncGenerator[Found, None]:
    """Give the entries of the chain that match and are shown, newest first (or as `Range` says).

    Args:
        ctx: Who asks.
        where: What is asked, `unchained`.
        within: Which part of the chain is asked for.
        most: So many entries are looked at.

    Raises:
        TooCostly: There are more to be looked at.
    """
    sight = sight_of(ctx.policy.narrow("search-type", AUDIT_EVENT))
    facilities = Facilities(ctx.store)
    work = current()
    async for entry in _looked_at(ctx, _bounds(where), sight, within, most):
        if work is not None:
            await work.breathe()
            work.charge(1 / MOST_LOOKED_AT)
        event = audit_event(entry, sight, await facility_of(entry, facilities))
        index = index_values(event, base_url=ctx.base_url, known=ctx.known)
        if matches(
            where, (AUDIT_EVENT, event["id"]), entry.recorded, index, frozenset(), _no_target
        ):
            yield Found(entry.seq, _version(entry, sight, codec.dumps(event)), index)


async def count_of_patient(ctx: Context, patient: str, most: int) -> int:
    """Return how many entries of the chain name a Patient, of those that are shown.

    Raises:
        TooCostly: They are more than `most`.
    """
    sight = sight_of(ctx.policy.narrow("search-type", AUDIT_EVENT))
    if sight.patients is not None and patient not in sight.patients:
        return 0
    entries = await ctx.store.audit(patient=patient, limit=most + 1)
    if len(entries) > most:
        raise _too_costly()
    return len(entries)


async def fetch_recorded(ctx: Context, names: Sequence[Name]) -> list[Version]:
    """Return the entries of the chain that these names are of, of those that are shown."""
    criteria = ctx.policy.narrow("read", AUDIT_EVENT) or ctx.policy.narrow(
        "search-type", AUDIT_EVENT
    )
    sight, facilities = sight_of(criteria), Facilities(ctx.store)
    found: list[Version] = []
    for _, identity in names:
        seq = seq_of(identity)
        entry = None if seq is None else await ctx.store.audit_entry(seq)
        if entry is not None and sight.shows(entry):
            event = audit_event(entry, sight, await facility_of(entry, facilities))
            found.append(_version(entry, sight, codec.dumps(event)))
    return found


async def recorded_of(
    ctx: Context, param: str, names: Mapping[str, Sequence[str]], most: int
) -> list[Version]:
    """Return the entries of the chain that refer to some of these by a parameter ("*": any).

    Args:
        ctx: Who asks.
        param: A reference parameter of AuditEvent.
        names: Ids by type.
        most: At most so many, and one more.

    Raises:
        TooCostly: More would have to be looked at.
    """
    found: dict[int, Version] = {}
    params = ("patient", "entity", "agent") if param == "*" else (param,)
    for kind, identities in names.items():
        if kind == PATIENT and param in _OF_PATIENT:
            asked: list[Expression] = [ex.RefersTo("entity", kind, one) for one in identities]
        else:
            every = [ex.RefersTo(name, kind, one) for name in params for one in identities]
            # An entry refers to nothing else than Patients and the staff who asked.
            asked = [ex.Or(tuple(every))] if kind == _STAFF and "agent" in params else []
        for where in asked:
            left = most + 1 - len(found)
            entries = await first_of(chained(ctx, where), left) if left > 0 else []
            found |= {one.seq: one.version for one in entries}
    return [found[seq] for seq in sorted(found, reverse=True)]


_STAFF: Final = "Practitioner"


async def named_by_recorded(
    ctx: Context, link: ex.Has, kind: str, among: Iterable[str] | None
) -> frozenset[str]:
    """Return the ids of a type that matching entries of the chain refer to by a parameter.

    Args:
        ctx: Who asks.
        link: The `_has`, resolved.
        kind: The type that is referred to.
        among: Where it is known: no others are asked for.

    Raises:
        TooCostly: More entries would have to be looked at, or they name too many.
    """
    if shown_and(ctx, AUDIT_EVENT, ex.EVERYTHING) == ex.NOTHING or kind not in {PATIENT, _STAFF}:
        return frozenset()
    where = await unchained(ctx, link.where)
    if among is not None and kind == PATIENT:
        return frozenset([one for one in among if await _is_named(ctx, link.param, where, one)])
    found: set[str] = set()
    async for one in chained(ctx, where):
        found.update(
            value.resource_id
            for value in one.index.values
            if isinstance(value, ReferenceValue)
            and value.param == link.param
            and value.resource_type == kind
        )
        if len(found) > MAX_VALUES:
            raise _too_costly()
    return frozenset(found)


async def first_of(entries: AsyncGenerator[Found, None], count: int) -> list[Found]:
    """Return the first so many; no others are looked for."""
    found: list[Found] = []
    async with aclosing(entries):
        async for one in entries:
            found.append(one)
            if len(found) >= count:
                break
    return found


async def _is_named(ctx: Context, param: str, where: Expression, patient: str) -> bool:
    if param not in _OF_PATIENT:
        return False
    of = ex.RefersTo("patient", PATIENT, patient)
    return bool(await first_of(chained(ctx, ex.And((of, where))), 1))


async def candidates(ctx: Context, kind: str, where: Expression) -> frozenset[str] | None:
    """Return the ids of all that match and are shown, where these are few."""
    page = await ctx.store.search(Search(((kind, shown_and(ctx, kind, where)),), count=_MOST_ASKED))
    return None if page.next else frozenset(one.resource_id for one in page.versions)


async def unchained(ctx: Context, where: Expression) -> Expression:
    """Return what is asked with the ids of what links end at: the chain itself has none.

    Raises:
        TooCostly: A link ends at too many resources.
    """
    match where:
        case ex.And(operands):
            return ex.And(tuple([await unchained(ctx, part) for part in operands]))
        case ex.Or(operands):
            return ex.Or(tuple([await unchained(ctx, part) for part in operands]))
        case ex.Not(operand):
            return ex.Not(await unchained(ctx, operand))
        case ex.Chain(param, target, inner):
            versions = await _ends(ctx, target, inner)
            ends = tuple(ex.RefersTo(param, target, one.resource_id) for one in versions)
            return ends[0] if len(ends) == 1 else ex.Or(ends)
        case ex.Has(source, param, inner):
            there = ex.And((inner, ex.Missing(param, missing=False)))
            return ex.Or((where, _named(ctx, param, await _ends(ctx, source, there))))
        case _:
            return where


def _named(ctx: Context, param: str, versions: Sequence[Version]) -> Expression:
    """Return the AuditEvents that these refer to by a parameter."""
    found: set[str] = set()
    for one in versions:
        resource = codec.loads_stored(one.body)
        index = index_values(resource, base_url=ctx.base_url, known=ctx.searched, words=False)
        found.update(
            value.resource_id
            for value in index.values
            if isinstance(value, ReferenceValue)
            and value.param == param
            and value.resource_type == AUDIT_EVENT
        )
    return ex.Ids(frozenset(found)) if found else ex.NOTHING


async def _ends(ctx: Context, target: str, inner: Expression) -> Sequence[Version]:
    asked = shown_and(ctx, target, inner)
    page = await ctx.store.search(Search(((target, asked),), count=_MOST_ENDS))
    if page.next is not None:
        raise TooCostly(
            f"A chain in a search of AuditEvents ends at more than {_MOST_ENDS} {target}.",
            text_vi=f"Chuỗi trong tìm kiếm AuditEvent dẫn tới hơn {_MOST_ENDS} {target}.",
        )
    return page.versions


def _version(entry: AuditEntry, sight: Sight, body: bytes) -> Version:
    return Version(
        AUDIT_EVENT, f"audit-{entry.seq}", 1, entry.recorded, body, deleted=False, method="POST",
        patients=tuple(sorted(seen_in(entry, sight))),
    )  # fmt: skip


async def _looked_at(
    ctx: Context, bounds: _Bounds, sight: Sight, within: Range, most: int
) -> AsyncIterator[AuditEntry]:
    if bounds.ids is not None:
        for entry in await _by_ids(ctx, bounds.ids, within):
            if sight.shows(entry):
                yield entry
        return
    patient = bounds.patient
    if patient is None and sight.patients is not None and len(sight.patients) == 1:
        (patient,) = sight.patients
    work = current()
    before, after = within.before, within.after
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
        if after is not None:
            after = entries[-1].seq
        else:
            before = entries[-1].seq
    raise _too_costly()


def _too_costly() -> TooCostly:
    return TooCostly(
        "The search looks at too many AuditEvents; name a patient or a time.",
        text_vi="Tìm kiếm phải xem quá nhiều AuditEvent; hãy nêu một người bệnh hoặc thời gian.",
    )


async def _by_ids(ctx: Context, ids: frozenset[str], within: Range) -> list[AuditEntry]:
    seqs = [seq for one in ids if (seq := seq_of(one)) is not None]
    left = [one for one in sorted(seqs, reverse=within.after is None) if within.holds(one)]
    found = [await ctx.store.audit_entry(seq) for seq in left]
    return [entry for entry in found if entry is not None]


def _no_target(*_: object) -> None:
    """Say that the chain knows nothing of what its entries refer to."""


def _bounds(where: Expression) -> _Bounds:
    """Return what every match surely has, so that the store need not look at the rest."""
    patient, since, until, ids = None, None, None, None
    for part in _all_of(where):
        match part:
            case ex.RefersTo("patient" | "entity", kind, identity) if kind in {None, PATIENT}:
                patient = identity if part.param == PATIENT.lower() or kind else patient
            case ex.DateIs("date", prefix, low, high) | ex.LastUpdated(prefix, low, high):
                since = _latest(since, low if prefix in _FROM else None)
                until = _earliest(until, high if prefix in _TO else None)
            case ex.InPatient(patients) if len(patients) == 1:
                (patient,) = patients
            case ex.Ids(named):
                ids = named if ids is None else ids & named
            case _:
                pass
    return _Bounds(patient, since, until, ids)


def _all_of(where: Expression) -> list[Expression]:
    if isinstance(where, ex.And):
        return [each for part in where.operands for each in _all_of(part)]
    return [where]


_FROM: Final = frozenset({Prefix.EQ, Prefix.GE, Prefix.GT, Prefix.SA, Prefix.AP})
_TO: Final = frozenset({Prefix.EQ, Prefix.LE, Prefix.LT, Prefix.EB, Prefix.AP})


def _latest(one: int | None, other: int | None) -> int | None:
    return max((x for x in (one, other) if x is not None), default=None)


def _earliest(one: int | None, other: int | None) -> int | None:
    return min((x for x in (one, other) if x is not None), default=None)
