"""A dossier's person found or made, and a level-2 login that settles whose a number is.

A citizen is found by the 12-digit number alone, and only where name and birth date agree with its
holder; else the Patient is kept apart: without the number, flagged, linked, never found at login.
Without a number a card on file or the facility's own patient number finds a person, each with the
same name and birth date; never the name alone. Nothing here looks through the store: every look-up
is by a unique key, an indexed identifier or a ledger record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from fhir_server.interactions.context import Context, Resource
from fhir_server.model import codec
from fhir_server.model.identifiers import BHYT, CCCD
from fhir_server.operations.identity import (
    Identity,
    agree,
    are_the_same,
    differs_in_sex,
    identity_of,
    merged,
    numbers_of,
    same_birth,
    set_apart,
    with_number,
    without_number,
)
from fhir_server.search.expression import And, Expression, InPatient, Or, Tagged, TokenIs
from fhir_server.search.expression import Search as Find
from fhir_server.store.port import Condition, Matches, Put, Store, Unchanged, Version
from mappings.xml130.record import RecordIssue

APART: Final = "apart"
"""`number|folded name|birth date` -> the Patient kept apart for it."""
APART_OF: Final = "apart-of"
"""A Patient kept apart -> its key in APART."""
APART_FACILITY: Final = "apart-facility"
"""`number|Patient id|facility`: this facility sent visits that are kept apart there."""
SETTLED: Final = "settled"
"""A Patient of whom a level-2 login said name and birth date -> the number of that login."""

_ON_FILE: Final = 50
_APART: Final = 20


class ApartKey(msgspec.Struct, frozen=True):
    """Under which number, name and birth date a Patient is kept apart."""

    number: str
    name: str
    birth: str

    @property
    def key(self) -> str:
        """The key in APART."""
        return f"{self.number}|{self.name}|{self.birth}"


@dataclass(frozen=True, slots=True)
class PersonPlan:
    """Whose a visit is, and what must be committed with the visit so that it is true.

    Attributes:
        patient_id: The Patient.
        entries: Bundle entries that make or complete the Patient.
        puts: Ledger records of who is kept apart.
        conditions: What must still hold in the commit.
        findings: What the receipt says of it.
        is_new: The Patient is made by these entries.
    """

    patient_id: str
    entries: tuple[Resource, ...] = ()
    puts: tuple[Put, ...] = ()
    conditions: tuple[Condition, ...] = ()
    findings: tuple[RecordIssue, ...] = ()
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class Holder:
    """A Patient that was found: its stored version, its content, who it says it is."""

    version: Version
    patient: Resource
    identity: Identity

    @property
    def patient_id(self) -> str:
        """The Patient's id."""
        return self.version.resource_id


def holder_of(version: Version | None) -> Holder | None:
    """Return the Patient of a stored version; None where it is deleted or never was."""
    if version is None or version.deleted:
        return None
    patient: Resource = codec.loads_stored(version.body)
    return Holder(version, patient, identity_of(patient))


async def find_or_make(
    ctx: Context, patient: Resource, *, facility: str, current: str | None = None
) -> PersonPlan:
    """Return whose a dossier is; nothing is written yet.

    Args:
        ctx: The Context; its store is asked, not its policy.
        patient: The dossier's Patient without an id, its references resolved.
        facility: The code of the facility that sent it.
        current: The Patient that the visit is of so far, where it was sent before.
    """
    who = identity_of(patient)
    if not who.number:
        return await _by_paper(ctx, patient, who, current)
    name = await ctx.store.holder(f"{CCCD}|{who.number}")
    holder = holder_of(await ctx.store.read(*name)) if name else None
    if holder is None:
        return await _by_paper(ctx, patient, who, current)
    if agree(holder.identity, who):
        return await _joined(ctx, holder, patient, who)
    return await _kept_apart(ctx, patient, who, holder.patient_id, facility)


async def _by_paper(
    ctx: Context, patient: Resource, who: Identity, current: str | None
) -> PersonPlan:
    """Find by a card or the facility's own number, with name and birth date; else make one."""
    if current and not who.number:
        # The visit itself is known by its key: a corrected sending stays with its Patient.
        holder = holder_of(await ctx.store.read("Patient", current))
        if holder and are_the_same(holder.identity, who):
            return await _joined(ctx, holder, patient, who)
    where = _papers(who)
    if where is None:
        return _made(ctx, patient)
    on_file = await _on_file(ctx.store, where)
    for holder in await _cardholders(ctx.store, who, on_file):
        if holder.patient.get("active") is False or not are_the_same(holder.identity, who):
            continue
        if who.number and not await _may_take_number(ctx.store, holder):
            continue
        return await _joined(ctx, holder, patient, who)
    seen = frozenset(holder.patient_id for holder in on_file)
    conditions = (Matches("Patient", where, seen),) if len(seen) < _ON_FILE else ()
    return _made(ctx, patient, conditions)


def _papers(who: Identity) -> Expression | None:
    cards = [TokenIs("identifier", BHYT, card) for card in who.cards]
    own = [TokenIs("identifier", system, value) for system, value in who.own]
    # Since 15/08/2025 the citizen number stands for the card (NĐ 188/2025).
    numbers = [TokenIs("identifier", CCCD, card) for card in who.cards if _is_number(card)]
    papers = (*cards, *own, *numbers)
    if not papers:
        return None
    return papers[0] if len(papers) == 1 else Or(papers)


def _is_number(card: str) -> bool:
    return len(card) == 12 and card.isdecimal() and card.isascii()  # noqa: PLR2004 - CCCD


async def _on_file(store: Store, where: Expression) -> list[Holder]:
    """Return the Patients that these papers name, the best first."""
    page = await store.search(Find((("Patient", where),), count=_ON_FILE))
    found = [holder for version in page.versions if (holder := holder_of(version))]
    # One who holds a number before one who does not; then the older before the newer.
    return sorted(
        found, key=lambda h: (not h.identity.number, h.version.last_updated, h.patient_id)
    )


async def _cardholders(store: Store, who: Identity, on_file: list[Holder]) -> list[Holder]:
    """Return these, and the beneficiaries of Coverages that carry one of the cards."""
    if not who.cards or any(are_the_same(holder.identity, who) for holder in on_file):
        return on_file
    where = Or(tuple(TokenIs("identifier", BHYT, card) for card in who.cards))
    page = await store.search(Find((("Coverage", where),), count=_ON_FILE))
    known = {holder.patient_id for holder in on_file}
    ids = dict.fromkeys(
        reference.removeprefix("Patient/")
        for version in page.versions
        if (reference := _beneficiary(version)).startswith("Patient/")
    )
    names = [("Patient", patient_id) for patient_id in ids if patient_id not in known]
    versions = await store.read_many(names) if names else []
    return [*on_file, *(h for version in versions if (h := holder_of(version)))]


def _beneficiary(version: Version) -> str:
    beneficiary = codec.loads_stored(version.body).get("beneficiary")
    return str(beneficiary.get("reference", "")) if isinstance(beneficiary, dict) else ""


async def _may_take_number(store: Store, holder: Holder) -> bool:
    """Return whether a number that nobody holds may go to this Patient, known by a paper."""
    if numbers_of(holder.patient):
        return False
    return await store.get(APART_OF, holder.patient_id) is None


async def _joined(ctx: Context, holder: Holder, patient: Resource, who: Identity) -> PersonPlan:
    """The visit is this Patient's, who is completed with what the dossier says."""
    settled = await ctx.store.get(SETTLED, holder.patient_id) is not None
    apart = await ctx.store.get(APART_OF, holder.patient_id) is not None if who.number else False
    if apart:
        patient = without_number(patient, who.number)
    wanted = merged(holder.patient, patient, settled=settled)
    if who.number and not apart:
        wanted = with_number(wanted, who.number)
    findings = (_other_sex(),) if differs_in_sex(holder.identity, who) else ()
    if wanted == holder.patient:
        held = Unchanged("Patient", holder.patient_id, holder.version.version_id)
        return PersonPlan(holder.patient_id, conditions=(held,), findings=findings)
    puts: tuple[Put, ...] = ()
    if not settled and any(wanted.get(k) != holder.patient.get(k) for k in ("name", "birthDate")):
        # A login that settles this person in between must not be overwritten.
        puts = (Put(SETTLED, holder.patient_id, None, expected=None),)
    entry = put_entry("Patient", holder.patient_id, wanted, holder.version.version_id)
    return PersonPlan(holder.patient_id, (entry,), puts, findings=findings)


def _made(ctx: Context, patient: Resource, conditions: tuple[Condition, ...] = ()) -> PersonPlan:
    patient_id = ctx.new_id()
    entry = put_entry("Patient", patient_id, patient, 0)
    return PersonPlan(patient_id, (entry,), conditions=conditions, is_new=True)


async def _kept_apart(
    ctx: Context, patient: Resource, who: Identity, holder: str, facility: str
) -> PersonPlan:
    """The number is another's: the Patient is kept apart, the same for the same three."""
    known = await apart_patient(ctx.store, who)
    key = known[0] if known else ApartKey(who.number, who.name, who.birth)
    if known:
        version = await ctx.store.read("Patient", known[1])
        if found := holder_of(version):
            plan = await _joined(ctx, found, patient, who)
            puts = (*plan.puts, *await _sender(ctx.store, key, known[1], facility))
            return PersonPlan(
                plan.patient_id,
                plan.entries,
                puts,
                plan.conditions,
                (kept_apart_finding(), *plan.findings),
            )
    patient_id = ctx.new_id()
    apart = set_apart(patient, who.number, holder)
    puts = (
        Put(APART, key.key, patient_id.encode(), expected=known[1].encode() if known else None),
        Put(APART_OF, patient_id, msgspec.json.encode(key)),
        *await _sender(ctx.store, key, patient_id, facility),
    )
    entry = put_entry("Patient", patient_id, apart, 0)
    return PersonPlan(patient_id, (entry,), puts, (), (kept_apart_finding(),), is_new=True)


async def apart_patient(store: Store, who: Identity) -> tuple[ApartKey, str] | None:
    """Return the Patient kept apart for this number, name and birth date, with its key."""
    for name in who.names or ("",):
        exact = ApartKey(who.number, name, who.birth)
        value = await store.get(APART, exact.key)
        if value is not None:
            return exact, value.decode()
        prefix = f"{who.number}|{name}|"
        # A birth year equals any date in it: the dates of one year lie side by side.
        rows = await store.scan(
            APART, start=prefix + who.birth[:4], end=f"{prefix}{who.birth[:4]}~", limit=_APART
        )
        for key, found in rows:
            birth = key.removeprefix(prefix)
            if same_birth(birth, who.birth):
                return ApartKey(who.number, name, birth), found.decode()
    return None


async def _sender(store: Store, key: ApartKey, patient_id: str, facility: str) -> tuple[Put, ...]:
    record = f"{key.number}|{patient_id}|{facility}"
    if await store.get(APART_FACILITY, record) is not None:
        return ()
    return (Put(APART_FACILITY, record, b"1"),)


async def moved_away(
    ctx: Context, patient_id: str, *, facility: str, encounter_id: str
) -> tuple[Put, ...]:
    """Return what to forget of a facility whose last kept-apart visit leaves this Patient."""
    raw = await ctx.store.get(APART_OF, patient_id)
    if raw is None:
        return ()
    where = And((InPatient(frozenset({patient_id})), Tagged(f"facility/{facility}")))
    page = await ctx.store.search(Find((("Encounter", where),), count=2))
    if any(version.resource_id != encounter_id for version in page.versions):
        return ()
    key = msgspec.json.decode(raw, type=ApartKey)
    return (Put(APART_FACILITY, f"{key.number}|{patient_id}|{facility}", None),)


def put_entry(
    resource_type: str, resource_id: str, resource: Resource, version_id: int
) -> Resource:
    """Return the Bundle entry that makes a resource's next version after this one (0: none)."""
    request: Resource = {"method": "PUT", "url": f"{resource_type}/{resource_id}"}
    if version_id:
        request["ifMatch"] = f'W/"{version_id}"'
    return {"resource": {**resource, "id": resource_id}, "request": request}


def kept_apart_finding() -> RecordIssue:
    """Return what a receipt says of a visit that is kept apart (rule IDENTITY)."""
    return RecordIssue(
        "warning",
        "IDENTITY",
        "XML1.SO_CCCD",
        "The number belongs to a person of another name or birth date; the visit is kept apart"
        " from that person's book until it is sent again corrected.",
        "Số định danh này thuộc về người có họ tên hoặc ngày sinh khác; đợt khám được lưu riêng,"
        " không vào sổ của người đó cho đến khi được gửi lại đã sửa đúng.",
    )


def _other_sex() -> RecordIssue:
    return RecordIssue(
        "warning",
        "IDENTITY",
        "XML1.GIOI_TINH",
        "The sex differs from the one on record; the record keeps its own.",
        "Giới tính khác với giới tính đã ghi nhận; hồ sơ giữ giá trị đã có.",
    )


async def kept_apart(store: Store, number: str, *, limit: int = 500) -> tuple[str, ...]:
    """Return the facilities whose visits under a number are kept apart, and nothing of them."""
    rows = await store.scan(APART_FACILITY, start=f"{number}|", end=f"{number}~", limit=limit)
    return tuple(sorted({key.rpartition("|")[2] for key, _ in rows}))


def facilities_in(tags: Sequence[str] | frozenset[str]) -> tuple[str, ...]:
    """Return the facility codes among access tags."""
    codes = (tag.removeprefix("facility/") for tag in tags if tag.startswith("facility/"))
    return tuple(sorted(codes))
