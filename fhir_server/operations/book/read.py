"""The resources of one Patient's record, read into the values of a book.

Used by the narrative of `$health-book` and by the pages; it neither searches nor decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, Final

from fhir_server.model.identifiers import (
    BHXH,
    CCCD,
    MA_CSKCB,
    code_system,
)
from fhir_server.operations.book.values import (
    Book,
    Card,
    Coded,
    Diagnosis,
    Drug,
    Guardian,
    Outcome,
    Person,
    Planned,
    Resource,
    Visit,
)
from fhir_server.operations.claim_facts import card_code
from fhir_server.operations.elements import (
    coded,
    extension_of,
    facility_code,
    facility_name,
    identifier_of,
    moment,
    name_of,
    objects,
    period_days,
)
from fhir_server.operations.eligibility import copayment_of

Index = dict[str, Resource]

COURSE: Final = "11506-3"
"""LOINC of a progress note: the clinical course, XML5."""

BODY_WEIGHT: Final = "29463-7"
BLOOD_GROUP: Final = "882-1"
ICD_10: Final = "http://hl7.org/fhir/sid/icd-10"
_LOINC: Final = "http://loinc.org"


def book_of(patient: Resource, resources: Iterable[Resource]) -> Book:
    """Return the book that a Patient and the resources of the record make.

    Args:
        patient: The Patient.
        resources: The rest, in any order, Organizations and Practitioners among them.
    """
    index = {f"{one['resourceType']}/{one['id']}": one for one in resources}
    kinds: dict[str, list[Resource]] = {}
    for one in index.values():
        kinds.setdefault(one["resourceType"], []).append(one)
    by_visit = _by_visit(index.values())
    for one in kinds.get("Organization", ()):
        # Some references name a facility by its code alone.
        index.setdefault(f"{MA_CSKCB}|{identifier_of(one, MA_CSKCB)}", one)
    visits = [_visit(one, by_visit, index) for one in kinds.get("Encounter", ())]
    visits.sort(key=_newest, reverse=True)
    observations = sorted(kinds.get("Observation", ()), key=_effective, reverse=True)
    conditions = sorted(kinds.get("Condition", ()), key=_recorded, reverse=True)
    return Book(
        person=_person(patient),
        cards=_cards(kinds.get("Coverage", ()), index),
        guardians=tuple(_guardian(one) for one in kinds.get("RelatedPerson", ())),
        visits=tuple(visits),
        allergies=tuple(
            coded(one.get("code")) for one in kinds.get("AllergyIntolerance", ()) if one.get("code")
        ),
        diseases=_distinct(conditions),
        immunizations=tuple(kinds.get("Immunization", ())),
        planned=_planned(kinds.get("Appointment", ()), index),
        blood_group=next((_value(o) for o in observations if _loinc(o) == BLOOD_GROUP), ""),
        weight=next((_outcome(o) for o in observations if _loinc(o) == BODY_WEIGHT), None),
    )


def _by_visit(resources: Iterable[Resource]) -> dict[str, list[Resource]]:
    grouped: dict[str, list[Resource]] = {}
    for one in resources:
        visit = str((one.get("encounter") or {}).get("reference", ""))
        if visit:
            grouped.setdefault(visit, []).append(one)
    return grouped


def _visit(encounter: Resource, by_visit: dict[str, list[Resource]], index: Index) -> Visit:
    reference = f"Encounter/{encounter['id']}"
    own = by_visit.get(reference, [])
    own = sorted(own, key=_as_ordered)
    kinds: dict[str, list[Resource]] = {}
    for one in own:
        kinds.setdefault(one["resourceType"], []).append(one)
    period = encounter.get("period") or {}
    outcomes = [_outcome(one) for one in kinds.get("Observation", ())]
    plan = [
        str(one.get("reference", ""))
        for one in objects(encounter.get("appointment"))
        if one.get("reference") in index
    ]
    return Visit(
        id=encounter["id"],
        start=moment(period.get("start")),
        end=moment(period.get("end"), last=True),
        status=str(encounter.get("status", "")),
        facility=facility_name(encounter.get("serviceProvider"), index),
        facility_code=facility_code(encounter.get("serviceProvider"), index),
        kind=_kind(encounter),
        reason="; ".join(
            text for one in objects(encounter.get("reasonCode")) if (text := coded(one).text)
        ),
        diagnoses=_diagnoses(encounter, kinds.get("Condition", []), index),
        drugs=tuple(_drug(one, index) for one in kinds.get("MedicationRequest", ())),
        procedures=tuple(coded(one.get("code")).text for one in kinds.get("Procedure", ())),
        results=tuple(sorted((o for o in outcomes if not o.of_course), key=_body_last)),
        course=tuple(o for o in outcomes if o.of_course),
        treatment=_extension_text(encounter, "treatment-method"),
        advice=_extension_text(encounter, "advice"),
        result=coded(extension_of(encounter, "treatment-result").get("valueCodeableConcept")),
        discharge=coded((encounter.get("hospitalization") or {}).get("dischargeDisposition")),
        doctors=_doctors(encounter, own, index),
        resources=(*(f"{one['resourceType']}/{one['id']}" for one in _ordered(own)), *plan),
    )


_ORDER: Final = ("Condition", "MedicationRequest", "Procedure", "Observation")


def _ordered(own: list[Resource]) -> list[Resource]:
    rank = {kind: n for n, kind in enumerate(_ORDER)}
    return sorted(own, key=lambda one: rank.get(one["resourceType"], len(rank)))


def _diagnoses(
    encounter: Resource, conditions: list[Resource], index: Index
) -> tuple[Diagnosis, ...]:
    ranked: list[Resource] = []
    for one in sorted(
        objects(encounter.get("diagnosis")), key=lambda d: _integer(d.get("rank"), 1 << 30)
    ):
        found = index.get(str((one.get("condition") or {}).get("reference", "")))
        if found is not None and found["resourceType"] == "Condition" and found not in ranked:
            ranked.append(found)
    ranked += [one for one in conditions if one not in ranked]
    return tuple(_diagnosis(one, main=position == 0) for position, one in enumerate(ranked))


def _diagnosis(condition: Resource, *, main: bool = False) -> Diagnosis:
    concept = condition.get("code") or {}
    codings = list(objects(concept.get("coding")))
    first = next((one for one in codings if one.get("system") == ICD_10), None)
    code = str((first or (codings[0] if codings else {})).get("code", ""))
    return Diagnosis(coded(concept).text, code, main)


def _drug(request: Resource, index: Index) -> Drug:
    concept = request.get("medicationCodeableConcept")
    if concept is None:
        named = index.get(str((request.get("medicationReference") or {}).get("reference", "")))
        concept = (named or {}).get("code")
    doses = list(objects(request.get("dosageInstruction")))
    quantity = (request.get("dispenseRequest") or {}).get("quantity") or {}
    dose = "; ".join(str(one["text"]) for one in doses if one.get("text"))
    instruction = "; ".join(
        str(one["patientInstruction"]) for one in doses if one.get("patientInstruction")
    )
    name, strength = coded(concept).text, _extension_text(request, "strength")
    return Drug(
        name=name if strength in name else f"{name} {strength}",
        # Dosage.text says the whole, the instruction with it: it is not said twice.
        dose=dose.removesuffix(instruction).rstrip("; ") if instruction else dose,
        quantity=_quantity(quantity),
        instruction=instruction,
    )


def _body_last(outcome: Outcome) -> bool:
    return outcome.of_body


def _outcome(observation: Resource) -> Outcome:
    loinc = _loinc(observation)
    conclusions = [coded(one).text for one in objects(observation.get("interpretation"))]
    conclusions += [str(one["text"]) for one in objects(observation.get("note")) if one.get("text")]
    flags = [
        str(coding.get("code", ""))
        for concept in objects(observation.get("interpretation"))
        for coding in objects(concept.get("coding"))
    ]
    return Outcome(
        name=coded(observation.get("code")).text,
        value=_value(observation),
        at=_moment_of(observation),
        conclusion="; ".join(text for text in conclusions if text),
        flag=next(iter(flags), ""),
        of_body=loinc in {BODY_WEIGHT, BLOOD_GROUP},
        of_course=loinc == COURSE,
    )


def _value(observation: Resource) -> str:
    if "valueQuantity" in observation:
        return _quantity(observation["valueQuantity"] or {})
    if "valueCodeableConcept" in observation:
        return coded(observation["valueCodeableConcept"]).text
    for key in ("valueString", "valueInteger", "valueDateTime", "valueTime", "valueBoolean"):
        if key in observation:
            return str(observation[key])
    parts = (
        f"{coded(one.get('code')).text} {_value(one)}".strip()
        for one in objects(observation.get("component"))
    )
    return "; ".join(part for part in parts if part)


def _quantity(quantity: Resource) -> str:
    if quantity.get("value") is None:
        return ""
    unit = quantity.get("unit") or quantity.get("code") or ""
    return f"{quantity.get('comparator', '')}{quantity['value']} {unit}".strip()


def _person(patient: Resource) -> Person:
    phones = [
        str(one.get("value", ""))
        for one in objects(patient.get("telecom"))
        if one.get("system") == "phone"
    ]
    address = next(iter(objects(patient.get("address"))), {})
    parts = [*(address.get("line") or ()), address.get("district"), address.get("city")]
    written = ", ".join(str(part) for part in (*parts, address.get("state")) if part)
    return Person(
        id=patient["id"],
        name=name_of(patient),
        birth_date=str(patient.get("birthDate", "")),
        gender=str(patient.get("gender", "unknown")),
        number=identifier_of(patient, CCCD),
        insurance_number=identifier_of(patient, BHXH),
        phone=next(iter(phones), ""),
        address=str(address.get("text") or written),
    )


def _cards(coverages: Iterable[Resource], index: Index) -> tuple[Card, ...]:
    cards = [_card(one, index) for one in coverages if card_code(one)]
    cards.sort(key=lambda card: (card.active, card.end or date.max), reverse=True)
    return tuple(cards)


def _card(coverage: Resource, index: Index) -> Card:
    start, end = period_days(coverage.get("period"))
    copayment = copayment_of(coverage)
    return Card(
        code=card_code(coverage),
        start=start,
        end=end,
        level=None if copayment is None else 100 - copayment,
        facility=facility_name(
            extension_of(coverage, "primary-care-facility").get("valueReference"), index
        ),
        reference=f"Coverage/{coverage['id']}",
        active=coverage.get("status") == "active",
    )


def _guardian(link: Resource) -> Guardian:
    concept = next(iter(objects(link.get("relationship"))), None)
    verified = extension_of(link, "verified").get("valueBoolean") is True
    return Guardian(name_of(link), coded(concept), verified)


def _planned(appointments: Iterable[Resource], index: Index) -> tuple[Planned, ...]:
    planned = []
    for one in appointments:
        if one.get("status") in {"cancelled", "noshow", "entered-in-error"}:
            continue
        period = next(iter(objects(one.get("requestedPeriod"))), {})
        planned.append(
            Planned(
                at=moment(one.get("start") or period.get("start")),
                text=str(one.get("description") or coded(one.get("appointmentType")).text),
                facility=_place(one, index),
                reference=f"Appointment/{one['id']}",
            )
        )
    return tuple(sorted(planned, key=lambda one: _order(one.at), reverse=True))


def _place(appointment: Resource, index: Index) -> str:
    """Return where an Appointment is: its Location, else where its reason was found."""
    for part in objects(appointment.get("participant")):
        actor = part.get("actor") or {}
        if str(actor.get("reference", "")).partition("/")[0] in {"Location", "HealthcareService"}:
            return facility_name(actor, index)
    for reason in objects(appointment.get("reasonReference")):
        found = index.get(str(reason.get("reference", ""))) or {}
        visit = index.get(str((found.get("encounter") or {}).get("reference", ""))) or {}
        if visit:
            return facility_name(visit.get("serviceProvider"), index)
    return ""


def _doctors(encounter: Resource, own: list[Resource], index: Index) -> tuple[str, ...]:
    elements = [one.get("individual") or {} for one in objects(encounter.get("participant"))]
    elements += [one["requester"] for one in own if isinstance(one.get("requester"), dict)]
    names = []
    for element in elements:
        found = index.get(str(element.get("reference", "")))
        name = (name_of(found) if found else "") or str(element.get("display", ""))
        if name and name not in names:
            names.append(name)
    return tuple(names)


def _distinct(conditions: Iterable[Resource]) -> tuple[Diagnosis, ...]:
    seen: dict[str, Diagnosis] = {}
    for one in conditions:
        found = _diagnosis(one)
        seen.setdefault(found.code or found.text, found)
    return tuple(seen.values())


def _kind(encounter: Resource) -> Coded:
    system = code_system("ma-loai-kcb")
    for concept in objects(encounter.get("type")):
        for coding in objects(concept.get("coding")):
            if coding.get("system") == system:
                return Coded(str(coding.get("code", "")), coded(concept).text)
    return coded({"coding": [encounter["class"]]}) if encounter.get("class") else Coded()


def _extension_text(resource: Resource, name: str) -> str:
    return str(extension_of(resource, name).get("valueString", ""))


def _loinc(observation: Resource) -> str:
    codings = objects((observation.get("code") or {}).get("coding"))
    return next((str(one.get("code", "")) for one in codings if one.get("system") == _LOINC), "")


def _moment_of(resource: Resource) -> datetime | None:
    for key in ("effectiveDateTime", "effectiveInstant", "authoredOn", "performedDateTime"):
        if key in resource:
            return moment(resource[key])
    for key in ("effectivePeriod", "performedPeriod"):
        if key in resource:
            return moment((resource[key] or {}).get("start"))
    return moment(resource.get("issued") or resource.get("recordedDate"))


def _order(at: datetime | None) -> float:
    return at.timestamp() if at is not None else float("-inf")


def _effective(resource: Resource) -> float:
    return _order(_moment_of(resource))


def _recorded(condition: Resource) -> float:
    return _order(moment(condition.get("recordedDate") or condition.get("onsetDateTime")))


def _newest(visit: Visit) -> tuple[float, str]:
    return _order(visit.start), visit.id


def _as_ordered(resource: Resource) -> tuple[float, tuple[int, int], str]:
    """By time, then by the row of the dossier that it came from, then by name."""
    # NS/StructureDefinition/line: table/STT, and a count where rows share one: XML2/3, XML2/3.2
    number, _, again = _extension_text(resource, "line").rpartition("/")[2].partition(".")
    row = (_row(number), _row(again, 1))
    return _effective(resource), row, coded(resource.get("code")).text


def _row(digits: str, otherwise: int = 1 << 30) -> int:
    return int(digits[:9]) if digits.isascii() and digits.isdigit() else otherwise


def _integer(value: Any, default: int) -> int:
    return value if isinstance(value, int) else default
