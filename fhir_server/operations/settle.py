"""A level-2 login settles a number: whose it is, by what VNeID says of the person.

A holder whom an earlier login settled stays and takes VNeID's new name or birth date. Else, where
these differ from the holder's, the number goes to the Patient kept apart that agrees with VNeID,
else to a new one, and the former holder is kept apart. So everyone has a book, no facility can
lock a citizen out, and no mistyped number shows a stranger's visits.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

import msgspec

from auth.guardianship import acts_for, is_born_later, today
from auth.policy import policy_for
from auth.ports import Child, Claims, Settled
from auth.principal import SYSTEM
from fhir_server.interactions.audit import begin
from fhir_server.interactions.context import (
    AuditTrail,
    Context,
    FhirRequest,
    FhirResult,
    Resource,
)
from fhir_server.interactions.perform import perform_with
from fhir_server.interactions.transaction import run_transaction
from fhir_server.model import codec
from fhir_server.model.identifiers import CCCD
from fhir_server.model.outcome import Conflict, Duplicate, InvalidValue, PreconditionFailed
from fhir_server.operations.identity import (
    agree,
    as_claimed,
    identity_of,
    numbers_of,
    set_apart,
    set_free,
    with_number,
    without_number,
)
from fhir_server.operations.person import (
    APART,
    APART_FACILITY,
    APART_OF,
    SETTLED,
    ApartKey,
    Holder,
    apart_patient,
    facilities_in,
    holder_of,
    kept_apart,
    put_entry,
)
from fhir_server.search.expression import And, InPatient, Tagged, TokenIs
from fhir_server.search.expression import Search as Find
from fhir_server.store.port import (
    CommitRefused,
    Condition,
    Put,
    Store,
    Tag,
    Unchanged,
    Version,
)

REFUSED = (CommitRefused, Duplicate, Conflict, PreconditionFailed)
"""What a commit raises where somebody was quicker: it is planned again from what is there now."""
_VNEID = "author/vneid"
BY_VNEID = replace(
    SYSTEM, display="Máy chủ, theo lần đăng nhập VNeID / the server, for a VNeID login"
)
"""The server itself, as the history of a book names it where a log-in settles a number."""
_TRIES = 60
_PAGE = 100
_PAGES = 20


async def pause(attempt: int) -> None:
    """Wait a little, longer each time, so that those who raced do not race again."""
    await asyncio.sleep(random.random() * min(0.001 * 2**attempt, 0.05))


@dataclass(frozen=True, slots=True)
class _Move:
    """What settling a number changes."""

    patient_id: str
    entries: tuple[Resource, ...] = ()
    puts: tuple[Put, ...] = ()
    conditions: tuple[Condition, ...] = ()
    tags: tuple[Tag, ...] = ()


async def settle(ctx: Context, claims: Claims) -> Settled:
    """Settle the number of a level-2 login, and return whose book it opens.

    Args:
        ctx: A system Context.
        claims: What VNeID says of the person.

    Raises:
        InvalidValue: The number is not a citizen's, or the birth date is yet to come.
    """
    number = claims.number
    if not (len(number) == 12 and number.isascii() and number.isdecimal()):  # noqa: PLR2004
        raise InvalidValue("The login names no 12-digit citizen number.")
    if is_born_later(claims.number, claims.birth_date, ctx.now()):
        raise InvalidValue("The login names a birth date in the future.")
    settled: list[str] = []

    async def run(within: Context, _request: FhirRequest) -> FhirResult:
        # Where the log-in writes something, its AuditEvent goes along and says so.
        begin(within, FhirRequest("update", "Patient", method="POST", url="$settle"))
        patient_id = await _settled(within, claims)
        settled.append(patient_id)
        return FhirResult(patients=frozenset({patient_id}))

    request = FhirRequest("login", "Patient", method="POST", url="$settle")
    await perform_with(replace(ctx, principal=BY_VNEID, trail=AuditTrail()), request, run)
    return Settled(settled[0], await kept_apart(ctx.store, number))


async def _settled(ctx: Context, claims: Claims) -> str:
    for attempt in range(_TRIES):
        move = await _planned(ctx, claims)
        if not (move.entries or move.puts or move.tags):
            return move.patient_id
        bundle = {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": list(move.entries),
        }
        try:
            await run_transaction(
                ctx,
                bundle,
                puts=move.puts,
                conditions=move.conditions,
                tags=move.tags,
                audit=True,
            )
        except REFUSED:
            await pause(attempt)
            continue
        return move.patient_id
    raise Conflict("The citizen number is being changed by others; try again.")


async def _planned(ctx: Context, claims: Claims) -> _Move:
    name = await ctx.store.holder(f"{CCCD}|{claims.number}")
    holder = holder_of(await ctx.store.read(*name)) if name else None
    if holder is None:
        return await _given(ctx, claims, None)
    by = await ctx.store.get(SETTLED, holder.patient_id)
    # A Patient may carry two numbers: a login with one of them settles nothing of the other.
    settled = by == claims.number.encode()
    if settled or agree(holder.identity, identity_of(_claimed(claims, {}))):
        return await _stays(ctx.store, holder, claims, is_new=by is None)
    only = numbers_of(holder.patient) == (claims.number,)
    return await _given(ctx, claims, holder, apart=only and by is None)


def _claimed(claims: Claims, patient: Resource) -> Resource:
    described = as_claimed(patient, claims.name, claims.birth_date, claims.gender or "")
    return {"resourceType": "Patient", **described}


async def _stays(store: Store, holder: Holder, claims: Claims, *, is_new: bool) -> _Move:
    """The holder keeps the number, and says what VNeID says."""
    wanted = _claimed(claims, holder.patient)
    puts = (Put(SETTLED, holder.patient_id, claims.number.encode()),) if is_new else ()
    version_id = holder.version.version_id
    if wanted == holder.patient:
        held = Unchanged("Patient", holder.patient_id, version_id)
        tags = await _spoken_for(store, holder.patient_id)
        return _Move(holder.patient_id, puts=puts, conditions=(held,), tags=tags)
    entry = put_entry("Patient", holder.patient_id, wanted, version_id)
    return _Move(holder.patient_id, (entry,), puts)


async def _spoken_for(store: Store, patient_id: str) -> tuple[Tag, ...]:
    """From a login on VNeID is one who wrote the Patient, though it made no version.

    No facility is then the only one who did, and none may change it over REST.
    """
    name = ("Patient", patient_id)
    if await store.tags(name) & {_VNEID, SYSTEM.author}:
        return ()
    return (Tag(*name, frozenset({_VNEID})),)


async def _given(
    ctx: Context, claims: Claims, former: Holder | None, *, apart: bool = True
) -> _Move:
    """The number goes to the Patient kept apart that agrees with VNeID, else to a new one.

    Args:
        ctx: A system Context.
        claims: What VNeID says of the person.
        former: Who holds the number so far.
        apart: The former holder is kept apart; else it only loses the number: it has another.
    """
    who = replace(identity_of(_claimed(claims, {})), number=claims.number)
    known = await apart_patient(ctx.store, who)
    found = holder_of(await ctx.store.read("Patient", known[1])) if known else None
    if known and found:
        patient_id, version_id = found.patient_id, found.version.version_id
        patient = set_free(found.patient)
        puts = await _no_longer_apart(ctx.store, known[0], patient_id)
    else:
        patient_id, version_id, puts = ctx.new_id(), 0, ()
        patient = {"resourceType": "Patient", "active": True}
    patient = with_number(_claimed(claims, patient), claims.number)
    entries = [put_entry("Patient", patient_id, patient, version_id)]
    puts = (*puts, Put(SETTLED, patient_id, claims.number.encode()))
    if former:
        left = without_number(former.patient, claims.number)
        if apart:
            left = set_apart(former.patient, claims.number, patient_id)
            puts = (*puts, *await _now_apart(ctx.store, claims.number, former))
        # First the former holder, so that the number is free for its holder.
        entries.insert(0, put_entry("Patient", former.patient_id, left, former.version.version_id))
    return _Move(patient_id, tuple(entries), puts)


async def _no_longer_apart(store: Store, key: ApartKey, patient_id: str) -> tuple[Put, ...]:
    prefix = f"{key.number}|{patient_id}|"
    rows = await store.scan(APART_FACILITY, start=prefix, end=prefix + "~", limit=10_000)
    return (
        Put(APART, key.key, None, expected=patient_id.encode()),
        Put(APART_OF, patient_id, None),
        *(Put(APART_FACILITY, row, None) for row, _ in rows),
    )


async def _now_apart(store: Store, number: str, former: Holder) -> tuple[Put, ...]:
    """The former holder is kept apart, with the facilities that sent visits of it."""
    who = former.identity
    key = ApartKey(number, who.name, who.birth)
    puts = [
        Put(APART, key.key, former.patient_id.encode()),
        Put(APART_OF, former.patient_id, msgspec.json.encode(key)),
    ]
    tags = await store.tags(("Patient", former.patient_id))
    for facility in facilities_in(tags):
        of_facility = And((
            InPatient(frozenset({former.patient_id})),
            Tagged(f"facility/{facility}"),
        ))
        page = await store.search(Find((("Encounter", of_facility),), count=1))
        if page.versions:
            puts.append(Put(APART_FACILITY, f"{number}|{former.patient_id}|{facility}", b"1"))
    return tuple(puts)


class Directory:
    """The citizens, as the store knows them: the port that the authorization server asks.

    Args:
        context: Makes a system Context; its principal and policy are set here.
    """

    def __init__(self, context: Callable[[], Context]) -> None:
        self._context = context

    async def settle(self, claims: Claims) -> Settled:
        """Settle the number of a level-2 login, and return whose book it opens."""
        return await settle(self._system(), claims)

    async def children(self, number: str) -> tuple[Child, ...]:
        """Return the children whose verified guardian the holder of this number is now."""
        ctx = self._system()
        on = today(ctx.now())
        links: dict[str, str] = {}
        async for version in _naming(ctx.store, number):
            patient_id = acts_for(codec.loads_stored(version.body), number, on)
            if patient_id:
                links.setdefault(patient_id, version.resource_id)
        versions = await ctx.store.read_many([("Patient", child) for child in links])
        children = [_child(holder, links) for version in versions if (holder := holder_of(version))]
        return tuple(sorted(children, key=lambda child: (child.birth_date, child.patient_id)))

    def _system(self) -> Context:
        return replace(
            self._context(), principal=SYSTEM, policy=policy_for(SYSTEM), trail=AuditTrail()
        )


async def _naming(store: Store, number: str) -> AsyncIterator[Version]:
    """Give the RelatedPersons that carry a number; unproved ones may be many, but not endless."""
    where = TokenIs("identifier", CCCD, number)
    cursor: str | None = None
    for _ in range(_PAGES):
        page = await store.search(Find((("RelatedPerson", where),), count=_PAGE, cursor=cursor))
        for version in page.versions:
            yield version
        cursor = page.next
        if cursor is None:
            return


def _child(holder: Holder, links: dict[str, str]) -> Child:
    names = holder.patient.get("name") or [{}]
    parts = [names[0].get("family", ""), *names[0].get("given", ())]
    name = names[0].get("text") or " ".join(parts).strip()
    return Child(holder.patient_id, links[holder.patient_id], str(name), str(holder.identity.birth))
