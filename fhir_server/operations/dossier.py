"""One dossier committed: its resources, its ledger record and its receipt, all or nothing.

A visit is known by `MA_CSKCB|MA_LK`. The same content again changes nothing; other content makes
new versions of the same resources and deletes rows that are gone; MA_DOITUONG_KCB 8 withdraws. The
ledger record is changed only from what was read, so that two sendings of one visit at once are
taken one after the other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from auth.policy import policy_for
from auth.principal import SYSTEM
from fhir_server.interactions.asked import own_ask
from fhir_server.interactions.commit import write
from fhir_server.interactions.context import Context, Resource
from fhir_server.interactions.let_go import let_go
from fhir_server.interactions.linking import Links
from fhir_server.model import codec
from fhir_server.model.identifiers import MA_LK
from fhir_server.model.outcome import Unavailable
from fhir_server.operations.identity import Identity, agree, identity_of
from fhir_server.operations.person import APART_OF, kept_apart_finding, moved_away, put_entry
from fhir_server.operations.settle import REFUSED, pause
from fhir_server.operations.turns import Turns
from fhir_server.operations.visit import Kept, Outcome, Sending, Visit
from fhir_server.operations.withdrawal import CLINICAL, withdrawn
from fhir_server.search.expression import RefersTo
from fhir_server.search.expression import Search as Find
from fhir_server.store.port import Batch, Condition, Name, Put, Referenced, Tag, Version
from mappings.xml130.record import RecordIssue, fingerprint
from mappings.xml130.to_bundle import to_bundle

DOSSIER: Final = "dossier"
_TURNS: Final = Turns()
_TRIES: Final = 60
_VISIT_MOST: Final = 500


Receipt = Callable[[Outcome], Sequence[Put]]
"""Ledger records that are to be committed with a dossier, given what becomes of it."""


Foreseen = dict[str, Identity]
"""Whose each citizen number would be after the dossiers of a dry run that came before."""


@dataclass(slots=True)
class _Plan:
    """One attempt: what would be committed, from what the store says now."""

    outcome: Outcome
    entries: list[Resource]
    puts: list[Put]
    conditions: list[Condition]
    tags: list[Tag]

    @classmethod
    def nothing(cls, outcome: Outcome) -> _Plan:
        return cls(outcome, [], [], [], [])


async def commit_dossier(
    ctx: Context,
    sending: Sending,
    receipt: Receipt = lambda _outcome: (),
    *,
    dry_run: Foreseen | None = None,
    audit: bool = False,
    again: Callable[[], Awaitable[None]] | None = None,
) -> Outcome:
    """Take one dossier: created, updated, unchanged, withdrawn, or (unknown visit) rejected.

    Args:
        ctx: The sender's Context; who writes is taken from it, what may be seen is not.
        sending: The dossier.
        receipt: Records to commit in the same step.
        dry_run: Say what would become of it after those that this holds, and store nothing.
        audit: The dossier is all of its request: its AuditEvent goes into the same commit.
        again: Is waited for before another attempt; raises where there is to be none.

    Raises:
        Invalid: What the dossier maps to is not valid FHIR.
        Unavailable: The visit is being changed by others all the time.
    """
    within = replace(ctx, policy=policy_for(SYSTEM))
    if dry_run is not None:
        return _foreseen(await _planned(within, sending, softly=False), dry_run)
    async with _TURNS.of(_shared_keys(sending)):
        return await _taken(within, sending, receipt, audit=audit, again=again)


def _shared_keys(sending: Sending) -> Iterable[str]:
    """Return what two dossiers at once would both change: the visit, and whose it is."""
    visit = sending.record.xml1
    yield f"visit|{sending.key}"
    if visit.so_cccd:
        yield visit.so_cccd
    yield from visit.ma_the_bhyt
    if visit.ma_bn:
        yield f"{sending.facility}|{visit.ma_bn}"


async def _taken(
    within: Context,
    sending: Sending,
    receipt: Receipt,
    *,
    audit: bool,
    again: Callable[[], Awaitable[None]] | None,
) -> Outcome:
    softly = False
    for attempt in range(_TRIES):
        plan = await _planned(within, sending, softly=softly)
        try:
            await _commit(within, sending, plan, receipt(plan.outcome), audit=audit)
        except REFUSED as refused:
            # A row that is gone but referred to by another's resource cannot be deleted.
            softly = softly or isinstance(refused.__cause__, Referenced)
            await pause(attempt)
            if again is not None:
                await again()
            continue
        return plan.outcome
    raise Unavailable("The visit is being changed by others; send it again.")


def _foreseen(plan: _Plan, numbers: Foreseen) -> Outcome:
    """Return the outcome as if the dossiers before it had been stored."""
    for entry in plan.entries:
        patient = entry.get("resource", {})
        if patient.get("resourceType") != "Patient":
            continue
        who = identity_of(patient)
        if who.number and not agree(numbers.setdefault(who.number, who), who):
            issues = (*plan.outcome.issues, kept_apart_finding())
            return replace(plan.outcome, issues=issues)
    return plan.outcome


async def _commit(
    ctx: Context, sending: Sending, plan: _Plan, receipt: Sequence[Put], *, audit: bool
) -> None:
    puts = (*plan.puts, *receipt)
    if not plan.entries:
        if puts:
            patients = frozenset({plan.outcome.patient.removeprefix("Patient/")}) - {""}
            draft = ctx.trail.draft if audit else None
            records = (draft(patients),) if draft else ()
            await ctx.store.commit(
                Batch(
                    tags=plan.tags,
                    conditions=plan.conditions,
                    puts=puts,
                    audit=records,
                    indexed=ctx.known.generation,
                )
            )
            ctx.trail.written = ctx.trail.written or bool(records)
        return
    # `Visit` settled every reference; deletions come first, as in a transaction.
    asks = sorted(map(own_ask, plan.entries), key=lambda ask: ask.method != "DELETE")
    await write(
        ctx,
        Links.settled(tuple(asks)),
        puts=puts,
        conditions=plan.conditions,
        tags=plan.tags,
        tag_all=frozenset({f"facility/{sending.facility}"}),
        audit=audit,
    )


async def _planned(ctx: Context, sending: Sending, *, softly: bool) -> _Plan:
    raw = await ctx.store.get(DOSSIER, sending.key)
    kept = msgspec.json.decode(raw, type=Kept) if raw is not None else None
    name = await ctx.store.holder(f"{MA_LK}|{sending.key}")
    if kept and kept.submission == sending.submission:
        return _Plan.nothing(_outcome(kept, kept.status))
    if kept and sending.late and kept.received > sending.micros:
        return _Plan.nothing(_superseded(kept))
    if sending.record.is_withdrawal:
        return await _withdrawal(ctx, sending, raw, kept, name)
    mark = fingerprint(sending.record)
    same = (
        kept is not None
        and kept.live
        and kept.fingerprint == mark
        and name == ("Encounter", kept.encounter)
    )
    if kept and same and await ctx.store.get(APART_OF, kept.patient) is None:
        return _Plan.nothing(_outcome(kept, "unchanged"))
    plan = await _visit(ctx, sending, mark, raw, kept, name, softly=softly)
    if kept and same and plan.outcome.patient == f"Patient/{kept.patient}":
        # Kept apart, and whose the number is has not changed since in this visit's favour.
        return _Plan.nothing(replace(plan.outcome, status="unchanged"))
    return plan


def _outcome(kept: Kept, status: str) -> Outcome:
    return Outcome(
        status, f"Encounter/{kept.encounter}", f"Patient/{kept.patient}", tuple(kept.issues)
    )


def _superseded(kept: Kept) -> Outcome:
    issue = RecordIssue(
        "warning",
        "G01-SUPERSEDED",
        "XML1.MA_LK",
        "A newer sending of this visit was taken before this one; this one changes nothing.",
        "Một lần gửi mới hơn của đợt khám này đã được nhận trước; lần gửi này không thay đổi gì.",
    )
    return Outcome("unchanged", f"Encounter/{kept.encounter}", f"Patient/{kept.patient}", (issue,))


# A visit


async def _visit(
    ctx: Context,
    sending: Sending,
    mark: str,
    raw: bytes | None,
    kept: Kept | None,
    name: Name | None,
    *,
    softly: bool,
) -> _Plan:
    mapped = to_bundle(
        sending.record, kind=sending.kind, recorded=sending.received, source=sending.source
    )
    encounter_id = name[1] if name else kept.encounter if kept else ctx.new_id()
    before = kept.patient if kept else await _subject(ctx, name)
    visit = await Visit.of(ctx, sending, mapped, encounter_id, before)
    issues = (*mapped.issues, *visit.person.findings, *await visit.overlaps())
    status = "updated" if kept or name else "created"
    patient_id = visit.person.patient_id
    own = visit.own_names()
    record = Kept(
        fingerprint=mark,
        encounter=encounter_id,
        patient=patient_id,
        resources=own,
        submission=sending.submission,
        received=sending.micros,
        status=status,
        issues=list(issues),
    )
    entries = visit.entries()
    if kept:
        gone = [(kind, id_) for kind, id_ in kept.resources if (kind, id_) not in set(own)]
        entries += await _gone(ctx, gone, softly=softly)
    puts = [
        Put(DOSSIER, sending.key, msgspec.json.encode(record), expected=raw),
        *visit.person.puts,
    ]
    tags, conditions = visit.tags(), visit.conditions()
    if before and before != patient_id:
        puts += await moved_away(ctx, before, facility=sending.facility, encounter_id=encounter_id)
        untagged, held = await let_go(ctx, before, f"facility/{sending.facility}", encounter_id)
        tags, conditions = tags + untagged, conditions + held
    return _Plan(_outcome(record, status), entries, puts, conditions, tags)


async def _subject(ctx: Context, name: Name | None) -> str | None:
    """Return whose an Encounter is that was made over REST."""
    version = await ctx.store.read(*name) if name else None
    if version is None or version.deleted:
        return None
    said = str(codec.loads_stored(version.body).get("subject", {}).get("reference", ""))
    return said.removeprefix("Patient/") if said.startswith("Patient/") else None


async def _gone(ctx: Context, names: Sequence[Name], *, softly: bool) -> list[Resource]:
    """Return the entries that delete rows no longer sent; softly: that mark them as in error."""
    if not names:
        return []
    if not softly:
        return [{"request": {"method": "DELETE", "url": "/".join(name)}} for name in names]
    return list(_marked(await ctx.store.read_many(list(names))))


# A withdrawal


async def _withdrawal(
    ctx: Context, sending: Sending, raw: bytes | None, kept: Kept | None, name: Name | None
) -> _Plan:
    if name is None:
        return _Plan.nothing(Outcome("rejected", issues=(_UNKNOWN,)))
    encounter_id = name[1]
    names = [("Encounter", encounter_id)]
    names += [n for n in kept.resources if n != names[0]] if kept else []
    versions = await ctx.store.read_many(names)
    if kept is None:
        versions += await _of_encounter(ctx, encounter_id)
    entries = list(_marked(versions))
    patient = kept.patient if kept else await _subject(ctx, name) or ""
    if not entries and (kept is None or not kept.live):
        outcome = Outcome(
            "unchanged", f"Encounter/{encounter_id}", f"Patient/{patient}" if patient else ""
        )
        return _Plan.nothing(outcome)
    record = Kept(
        fingerprint=kept.fingerprint if kept else "",
        encounter=encounter_id,
        patient=patient,
        live=False,
        resources=[(v.resource_type, v.resource_id) for v in versions if v and not v.deleted],
        submission=sending.submission,
        received=sending.micros,
        status="withdrawn",
    )
    put = Put(DOSSIER, sending.key, msgspec.json.encode(record), expected=raw)
    return _Plan(_outcome(record, "withdrawn"), entries, [put], [], [])


def _marked(versions: Iterable[Version | None]) -> Iterable[Resource]:
    for version in versions:
        if version is None or version.deleted:
            continue
        made = withdrawn(codec.loads_stored(version.body))
        if made is not None:
            yield put_entry(version.resource_type, version.resource_id, made, version.version_id)


async def _of_encounter(ctx: Context, encounter_id: str) -> list[Version | None]:
    """Return the clinical resources of a visit that no dossier made."""
    where = RefersTo("encounter", "Encounter", encounter_id)
    by_type = tuple((kind, where) for kind in (*CLINICAL, "Claim") if kind != "Encounter")
    page = await ctx.store.search(Find(by_type, count=_VISIT_MOST))
    return list(page.versions)


_UNKNOWN: Final = RecordIssue(
    "error",
    "UNKNOWN-VISIT",
    "XML1.MA_LK",
    "The visit to be withdrawn is not known: no visit with this MA_LK was sent by this facility.",
    "Không có đợt khám cần thu hồi: cơ sở chưa gửi đợt khám nào có MA_LK này.",
)
