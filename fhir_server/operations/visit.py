"""One sending of a visit: what it is known by, and what it makes, every reference settled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from fhir_server.interactions.context import Context, Resource
from fhir_server.operations import shared
from fhir_server.operations.overlap import overlaps
from fhir_server.operations.person import PersonPlan, find_or_make, put_entry
from fhir_server.operations.shared import SharedPlan, lasting_id
from fhir_server.store.port import Condition, Name, Tag
from mappings.xml130.record import Kind, Record, RecordIssue
from mappings.xml130.to_bundle import Mapped

_SHARED: Final = frozenset({"Organization", "Practitioner"})


class Kept(msgspec.Struct, omit_defaults=True):
    """The ledger record of a visit.

    Attributes:
        fingerprint: Of the last sending that was taken; "" of a visit that no dossier made.
        live: The visit is not withdrawn.
        resources: Names of the resources that are the visit's own.
        submission: The submission that made this record, `id/n`.
        received: When it was received, microseconds since 1970.
        status: What that submission was answered.
        issues: What was found at intake, beside what the record itself shows.
    """

    fingerprint: str
    encounter: str
    patient: str
    live: bool = True
    resources: list[tuple[str, str]] = []
    submission: str = ""
    received: int = 0
    status: str = ""
    issues: list[RecordIssue] = []


@dataclass(frozen=True, slots=True)
class Sending:
    """One dossier of a submission, found to be without error.

    Attributes:
        kind: `xml`, or `fields16` for a record of the sixteen fields.
        submission: The submission's id and the dossier's number in it, `id/n`.
        source: Where the bytes as received lie; None where none are kept.
        late: The process that took it had died: a newer sending may have come since.
    """

    record: Record
    facility: str
    ma_lk: str
    kind: Kind
    received: datetime
    micros: int
    submission: str
    source: str | None = None
    late: bool = False

    @property
    def key(self) -> str:
        """The visit's key in the ledger and of its Encounter."""
        return f"{self.facility}|{self.ma_lk}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a dossier."""

    status: str
    encounter: str = ""
    patient: str = ""
    issues: tuple[RecordIssue, ...] = ()


@dataclass(slots=True)
class Visit:
    """A mapped dossier with every reference settled."""

    ctx: Context
    sending: Sending
    person: PersonPlan
    shared: list[SharedPlan]
    own: list[tuple[Name, Resource]]

    @classmethod
    async def of(
        cls,
        ctx: Context,
        sending: Sending,
        mapped: Mapped,
        encounter_id: str,
        before: str | None,
    ) -> Visit:
        """Settle who and what the dossier names: first what is shared, then the person."""
        access = f"facility/{sending.facility}"
        rows = list(zip(mapped.keys, mapped.bundle["entry"], strict=True))
        said: dict[str, str] = {}
        plans: list[SharedPlan] = []
        for _, entry in rows:
            if entry["resource"]["resourceType"] in _SHARED:
                plan = await shared.by_identifier(ctx, entry["resource"], access)
                plans.append(plan)
                said[entry["fullUrl"]] = plan.reference
        (patient,) = (e for _, e in rows if e["resource"]["resourceType"] == "Patient")
        _say(patient["resource"], said)
        person = await find_or_make(
            ctx, patient["resource"], facility=sending.facility, current=before
        )
        said[patient["fullUrl"]] = f"Patient/{person.patient_id}"
        for _, entry in rows:
            if entry["resource"]["resourceType"] == "Coverage":
                _say(entry["resource"], said)
                plan = await shared.coverage(
                    ctx, entry["resource"], person.patient_id, access, is_new=person.is_new
                )
                plans.append(plan)
                said[entry["fullUrl"]] = plan.reference
        own: list[tuple[Name, Resource]] = []
        for key, entry in rows:
            resource = entry["resource"]
            kind = resource["resourceType"]
            if kind in _SHARED or kind in {"Patient", "Coverage"}:
                continue
            id_ = encounter_id if kind == "Encounter" else lasting_id(encounter_id, key)
            said[entry["fullUrl"]] = f"{kind}/{id_}"
            own.append(((kind, id_), resource))
        for _, resource in own:
            _say(resource, said)
        return cls(ctx, sending, person, plans, own)

    def own_names(self) -> list[tuple[str, str]]:
        """Return the names of the resources that are the visit's own."""
        return [name for name, _ in self.own]

    def entries(self) -> list[Resource]:
        """Return the Bundle entries of all that the dossier makes."""
        return [
            *self.person.entries,
            *(plan.entry for plan in self.shared if plan.entry is not None),
            *(put_entry(*name, resource, 0) for name, resource in self.own),
        ]

    def conditions(self) -> list[Condition]:
        """Return what must still hold in the commit."""
        return [*self.person.conditions, *(c for plan in self.shared for c in plan.conditions)]

    def tags(self) -> list[Tag]:
        """Return the access tags to add to what the dossier names and does not change.

        Also where they are there: another commit may take them away meanwhile (`let_go`).
        """
        tags = [plan.tag for plan in self.shared if plan.tag is not None]
        if not self.person.entries:
            access = frozenset({f"facility/{self.sending.facility}"})
            tags.append(Tag("Patient", self.person.patient_id, access))
        return tags

    async def overlaps(self) -> tuple[RecordIssue, ...]:
        """Return warnings about the Patient's other visits of that time."""
        if self.person.is_new:
            return ()
        (name, encounter), *_ = (one for one in self.own if one[0][0] == "Encounter")
        return await overlaps(self.ctx, self.person.patient_id, encounter, name[1])


def _say(node: Any, said: dict[str, str]) -> None:
    """Make every reference to another entry say the resource that it is.

    What our own mapping made is shallow; `reference.walk` is for what others send.
    """
    for value in node.values() if type(node) is dict else node:
        kind = type(value)
        if kind is dict:
            known = said.get(value.get("reference"))
            if known is not None:
                value["reference"] = known
            else:
                _say(value, said)
        elif kind is list:
            _say(value, said)
