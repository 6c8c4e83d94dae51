"""The AuditEvent that a record of the chain says, and its read.

https://hl7.org/fhir/R4/auditevent.html
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from auth.criteria import AnyOf, Anything, Criteria, InPatientCompartment
from fhir_server.interactions.audit import AUDIT_EVENT, Access, access_of, seq_of
from fhir_server.interactions.context import Context, Resource
from fhir_server.interactions.facilities import Facilities
from fhir_server.interactions.narrow import unknown
from fhir_server.model import codec
from fhir_server.model.identifiers import MA_CSKCB, PAYER, code_system
from fhir_server.model.primitives import format_instant, from_micros
from fhir_server.store.port import Version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fhir_server.store.port import AuditEntry

_REST: Final = {
    "system": "http://terminology.hl7.org/CodeSystem/audit-event-type",
    "code": "rest",
    "display": "RESTful Operation",
}
_RESTFUL: Final = "http://hl7.org/fhir/restful-interaction"
_RESTFUL_CODES: Final = frozenset({
    "read", "vread", "update", "patch", "delete", "history", "history-instance", "history-type",
    "history-system", "create", "search", "search-type", "search-system", "capabilities",
    "transaction", "batch", "operation",
})  # fmt: skip
_ACTIONS: Final[Mapping[str, str]] = MappingProxyType({
    "create": "C", "submit": "C", "update": "U", "patch": "U", "delete": "D", "read": "R",
    "vread": "R", "history-instance": "R", "history-type": "R", "history-system": "R",
    "submission-read": "R",
})  # fmt: skip
_REASON: Final = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
_PURPOSES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType({
    "citizen": ("PATRQT", "patient requested"),
    "facility": ("TREAT", "treatment"),
    "practitioner": ("TREAT", "treatment"),
    "payer": ("HPAYMT", "healthcare payment"),
    "auditor": ("HSYSADMIN", "health system administration"),
    "system": ("HSYSADMIN", "health system administration"),
})
_BREAK_GLASS: Final = ("BTG", "break the glass")
_SYSTEMS: Final[Mapping[str, str]] = MappingProxyType({
    "facility": MA_CSKCB,
    "practitioner": MA_CSKCB,
    "payer": PAYER,
})
_PERSON: Final = {
    "type": {
        "system": "http://terminology.hl7.org/CodeSystem/audit-entity-type",
        "code": "1",
        "display": "Person",
    },
    "role": {
        "system": "http://terminology.hl7.org/CodeSystem/object-role",
        "code": "1",
        "display": "Patient",
    },
}
_APPLICATION: Final = {
    "coding": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "110150"}],
    "text": "Application",
}
_OK: Final = 400


@dataclass(frozen=True, slots=True)
class Sight:
    """Which entries of the chain a caller sees, and whose names in them; None is everyone's."""

    patients: frozenset[str] | None

    def shows(self, entry: AuditEntry) -> bool:
        """Return whether the entry is shown."""
        return self.patients is None or not self.patients.isdisjoint(entry.patients)


def sight_of(criteria: Criteria | None) -> Sight:
    """Return what of the chain these criteria show: all of it, or what is about some Patients."""
    match criteria:
        case Anything():
            return Sight(None)
        case InPatientCompartment(patient_id):
            return Sight(frozenset({patient_id}))
        case AnyOf(parts):
            sights = [sight_of(part).patients for part in parts]
            if None in sights:
                return Sight(None)
            return Sight(frozenset(one for sight in sights for one in sight or ()))
        case _:
            return Sight(frozenset())


async def facility_of(entry: AuditEntry, facilities: Facilities) -> str:
    """Return the name of the facility whose system asked; "" where none did, or none knows."""
    access = access_of(entry.body)
    return await facilities.name(access.code) if access.kind == "facility" else ""


def audit_event(entry: AuditEntry, sight: Sight, facility: str = "") -> Resource:
    """Return the AuditEvent of one entry, naming no Patient that the caller does not see.

    Args:
        entry: The entry of the chain.
        sight: Which Patients the caller sees.
        facility: The name of the facility whose system asked.
    """
    access = access_of(entry.body)
    named = [p for p in entry.patients if sight.patients is None or p in sight.patients]
    recorded = format_instant(from_micros(entry.recorded))
    event: Resource = {
        "resourceType": AUDIT_EVENT,
        "id": f"audit-{entry.seq}",
        "meta": {"versionId": "1", "lastUpdated": recorded},
        "type": _REST,
        "subtype": [_subtype(access.interaction)],
        "action": _action(access),
        "recorded": recorded,
        "outcome": _outcome(access, named),
        "purposeOfEvent": [_purpose(access)],
        "agent": _agents(access, facility),
        "source": {"observer": {"display": "fhir-server"}},
    }
    if named:
        event["entity"] = [_entity(access, one) for one in named]
    return event


def _outcome(access: Access, named: list[str]) -> str:
    """Return 4 where the request was refused, or, of a batch, what of it the caller sees."""
    if access.status >= _OK:
        return "4"
    if not access.refusals:
        return "0"
    is_theirs = not named or any(one in access.denied for one in named)
    return "4" if is_theirs else "0"


def _entity(access: Access, patient_id: str) -> dict[str, Any]:
    entity: dict[str, Any] = {"what": {"reference": f"Patient/{patient_id}"}, **_PERSON}
    if patient_id in access.denied:
        # Of a batch this much was refused, while the rest was done.
        entity["detail"] = [{"type": "outcome", "valueString": "4"}]
    return entity


def _subtype(interaction: str) -> dict[str, str]:
    if interaction in _RESTFUL_CODES:
        return {"system": _RESTFUL, "code": interaction}
    return {"system": code_system("interaction"), "code": interaction}


def _action(access: Access) -> str:
    if access.interaction.startswith("$") and access.method == "GET":
        return "R"
    return _ACTIONS.get(access.interaction, "E")


def _purpose(access: Access) -> dict[str, Any]:
    code, display = _PURPOSES.get(access.kind, _PURPOSES["system"])
    if access.purpose:
        code, display = _BREAK_GLASS
    concept: dict[str, Any] = {"coding": [{"system": _REASON, "code": code, "display": display}]}
    return concept | {"text": access.purpose} if access.purpose else concept


def _agents(access: Access, facility: str) -> list[dict[str, Any]]:
    """Return who asked first, then the app by which a person did."""
    if not access.app:
        return [_agent(access, facility) | {"altId": access.client_id}]
    app = {"type": _APPLICATION, "who": {"display": access.app}, "altId": access.client_id}
    return [_agent(access, facility), app | {"requestor": False}]


def _agent(access: Access, facility: str) -> dict[str, Any]:
    who: dict[str, Any] = {}
    # Of a person only staff is referred to: a guardian is nobody's Patient but the own book's.
    if access.fhir_user.startswith("Practitioner/"):
        who["reference"] = access.fhir_user
    if access.kind in _SYSTEMS and access.code:
        who["identifier"] = {"system": _SYSTEMS[access.kind], "value": access.code}
    who["display"] = facility or access.display or access.client_id
    agent: dict[str, Any] = {"who": who, "requestor": True}
    if access.source:
        agent["network"] = {"address": access.source, "type": "2"}
    return agent


async def recorded_version(ctx: Context, interaction: str, resource_id: str) -> Version | None:
    """Return one AuditEvent of the server's own chain as its only version.

    Args:
        ctx: Who asks.
        interaction: What for: read, vread or history-instance.
        resource_id: Its id.

    Returns:
        None where the id is not of the chain.

    Raises:
        UnknownResource: There is no such entry, or it is not shown to the caller.
    """
    seq = seq_of(resource_id)
    if seq is None:
        return None
    sight = sight_of(ctx.policy.narrow(interaction, AUDIT_EVENT))
    entry = await ctx.store.audit_entry(seq)
    if entry is None or not sight.shows(entry):
        raise unknown(AUDIT_EVENT, resource_id)
    facility = await facility_of(entry, Facilities(ctx.store))
    body = codec.dumps(audit_event(entry, sight, facility))
    return Version(
        AUDIT_EVENT, resource_id, 1, entry.recorded, body, deleted=False, method="POST",
        patients=tuple(sorted(seen_in(entry, sight))),
    )  # fmt: skip


async def is_recorded(ctx: Context, resource_id: str) -> bool:
    """Return whether the id is that of an entry of the chain that the caller may see."""
    seq = seq_of(resource_id)
    entry = None if seq is None else await ctx.store.audit_entry(seq)
    return entry is not None and sight_of(ctx.policy.narrow("read", AUDIT_EVENT)).shows(entry)


def seen_in(entry: AuditEntry, sight: Sight) -> frozenset[str]:
    """Return which Patients of an entry the caller sees."""
    named = frozenset(entry.patients)
    return named if sight.patients is None else named & sight.patients
