"""Some of R4's search parameters, as its tables say them: type, elements, targets.

https://hl7.org/fhir/R4/searchparameter-registry.html; written by hand, and apart from what the
server makes of HL7's definitions. An element is its path and its datatype; `telecom[system=phone]`
are those repetitions alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Param:
    """One search parameter of a type.

    Attributes:
        kind: Its type, https://hl7.org/fhir/R4/search.html#table.
        elements: Path and datatype of the elements that it speaks of.
        targets: The types that a reference may name.
        only: Of a reference, what names another type is no value (`patient`).
        parts: Of a composite, for each component the elements below those of `elements`.
        system: Of an element of type code, the system of its value set.
    """

    kind: str
    elements: tuple[tuple[str, str], ...]
    targets: tuple[str, ...] = ()
    only: str = ""
    parts: tuple[Param, ...] = ()
    system: str = ""


def _elements(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((path, found) for path, _, found in (one.partition(":") for one in text.split()))


def _of(kind: str, text: str, system: str = "") -> Param:
    return Param(kind, _elements(text), system=system)


def _ref(path: str, *targets: str, only: str = "") -> Param:
    return Param("reference", _elements(f"{path}:Reference"), targets, only)


def _canonical(path: str, *targets: str) -> Param:
    return Param("reference", _elements(f"{path}:canonical"), targets)


def _both(within: str, *parts: Param) -> Param:
    return Param("composite", _elements(within), parts=parts)


_CODE: Final = _of("token", "code:CodeableConcept")
_QUANTITY: Final = _of("quantity", "valueQuantity:Quantity")
_CONCEPT: Final = _of("token", "valueCodeableConcept:CodeableConcept")
_PATIENT: Final = _ref("subject", "Patient", only="Patient")
_IDENTIFIER: Final = _of("token", "identifier:Identifier")
_GENDER: Final = "http://hl7.org/fhir/administrative-gender"
_SUBJECT: Final = _ref("subject", "Group", "Patient")
_ADDRESS: Final = {
    "address": _of("string", "address:Address"),
    "address-city": _of("string", "address.city:string"),
}

EVERYWHERE: Final[dict[str, Param]] = {
    "_id": _of("token", "id:id"),
    "_lastUpdated": _of("date", "meta.lastUpdated:instant"),
    "_tag": _of("token", "meta.tag:Coding"),
    "_security": _of("token", "meta.security:Coding"),
    "_profile": _of("uri", "meta.profile:canonical"),
    "_source": _of("uri", "meta.source:uri"),
}

_NAMED: Final[dict[str, dict[str, Param]]] = {
    "Patient": {
        **_ADDRESS,
        "active": _of("token", "active:boolean"),
        "birthdate": _of("date", "birthDate:date"),
        "death-date": _of("date", "deceasedDateTime:dateTime"),
        "email": _of("token", "telecom[system=email]:ContactPoint"),
        "family": _of("string", "name.family:string"),
        "gender": _of("token", "gender:code", _GENDER),
        "general-practitioner": _ref(
            "generalPractitioner", "Organization", "Practitioner", "PractitionerRole"
        ),
        "given": _of("string", "name.given:string"),
        "identifier": _IDENTIFIER,
        "language": _of("token", "communication.language:CodeableConcept"),
        "link": _ref("link.other", "Patient", "RelatedPerson"),
        "name": _of("string", "name:HumanName"),
        "organization": _ref("managingOrganization", "Organization"),
        "phone": _of("token", "telecom[system=phone]:ContactPoint"),
        "telecom": _of("token", "telecom:ContactPoint"),
    },
    "Observation": {
        "category": _of("token", "category:CodeableConcept"),
        "code": _CODE,
        "code-value-concept": _both(":", _CODE, _CONCEPT),
        "code-value-quantity": _both(":", _CODE, _QUANTITY),
        "code-value-string": _both(":", _CODE, _of("string", "valueString:string")),
        "combo-code": _of("token", "code:CodeableConcept component.code:CodeableConcept"),
        "combo-code-value-quantity": _both(": component:", _CODE, _QUANTITY),
        "combo-value-quantity": _of(
            "quantity", "valueQuantity:Quantity component.valueQuantity:Quantity"
        ),
        "component-code": _of("token", "component.code:CodeableConcept"),
        "component-code-value-concept": _both("component:", _CODE, _CONCEPT),
        "component-code-value-quantity": _both("component:", _CODE, _QUANTITY),
        "component-value-concept": _of("token", "component.valueCodeableConcept:CodeableConcept"),
        "component-value-quantity": _of("quantity", "component.valueQuantity:Quantity"),
        "date": _of(
            "date",
            "effectiveDateTime:dateTime effectivePeriod:Period effectiveInstant:instant "
            "effectiveTiming:Timing",
        ),
        "encounter": _ref("encounter", "Encounter"),
        "has-member": _ref(
            "hasMember", "MolecularSequence", "Observation", "QuestionnaireResponse"
        ),
        "identifier": _IDENTIFIER,
        "patient": _PATIENT,
        "performer": _ref(
            "performer",
            "CareTeam",
            "Organization",
            "Patient",
            "Practitioner",
            "PractitionerRole",
            "RelatedPerson",
        ),
        "status": _of("token", "status:code", "http://hl7.org/fhir/observation-status"),
        "subject": _ref("subject", "Device", "Group", "Location", "Patient"),
        "value-concept": _CONCEPT,
        "value-date": _of("date", "valueDateTime:dateTime valuePeriod:Period"),
        "value-quantity": _QUANTITY,
        "value-string": _of("string", "valueString:string valueCodeableConcept.text:string"),
    },
    "Encounter": {
        "class": _of("token", "class:Coding"),
        "date": _of("date", "period:Period"),
        "identifier": _IDENTIFIER,
        "length": _of("quantity", "length:Quantity"),
        "location": _ref("location.location", "Location"),
        "location-period": _of("date", "location.period:Period"),
        "part-of": _ref("partOf", "Encounter"),
        "patient": _PATIENT,
        "reason-code": _of("token", "reasonCode:CodeableConcept"),
        "service-provider": _ref("serviceProvider", "Organization"),
        "status": _of("token", "status:code", "http://hl7.org/fhir/encounter-status"),
        "subject": _SUBJECT,
        "type": _of("token", "type:CodeableConcept"),
    },
    "Condition": {
        "code": _CODE,
        "encounter": _ref("encounter", "Encounter"),
        "identifier": _IDENTIFIER,
        "onset-age": _of("quantity", "onsetAge:Quantity onsetRange:Range"),
        "onset-date": _of("date", "onsetDateTime:dateTime onsetPeriod:Period"),
        "onset-info": _of("string", "onsetString:string"),
        "patient": _PATIENT,
        "recorded-date": _of("date", "recordedDate:dateTime"),
        "severity": _of("token", "severity:CodeableConcept"),
        "subject": _SUBJECT,
    },
    "MedicationRequest": {
        "authoredon": _of("date", "authoredOn:dateTime"),
        "code": _of("token", "medicationCodeableConcept:CodeableConcept"),
        "encounter": _ref("encounter", "Encounter"),
        "identifier": _IDENTIFIER,
        "intent": _of(
            "token", "intent:code", "http://hl7.org/fhir/CodeSystem/medicationrequest-intent"
        ),
        "medication": _ref("medicationReference", "Medication"),
        "patient": _PATIENT,
        "status": _of(
            "token", "status:code", "http://hl7.org/fhir/CodeSystem/medicationrequest-status"
        ),
        "subject": _SUBJECT,
    },
    "RiskAssessment": {
        "date": _of("date", "occurrenceDateTime:dateTime"),
        "encounter": _ref("encounter", "Encounter"),
        "patient": _PATIENT,
        "probability": _of(
            "number", "prediction.probabilityDecimal:decimal prediction.probabilityRange:Range"
        ),
        "risk": _of("token", "prediction.qualitativeRisk:CodeableConcept"),
        "subject": _SUBJECT,
    },
    "Location": {
        **_ADDRESS,
        "identifier": _IDENTIFIER,
        "name": _of("string", "name:string alias:string"),
        "near": _of("special", "position:Location.position"),
        "organization": _ref("managingOrganization", "Organization"),
        "partof": _ref("partOf", "Location"),
        "status": _of("token", "status:code", "http://hl7.org/fhir/location-status"),
    },
    "Organization": {
        "active": _of("token", "active:boolean"),
        "identifier": _IDENTIFIER,
        "name": _of("string", "name:string alias:string"),
        "partof": _ref("partOf", "Organization"),
    },
    "Practitioner": {
        "family": _of("string", "name.family:string"),
        "identifier": _IDENTIFIER,
        "name": _of("string", "name:HumanName"),
    },
    "Questionnaire": {
        "date": _of("date", "date:dateTime"),
        "definition": _of("uri", "item.definition:uri"),
        "effective": _of("date", "effectivePeriod:Period"),
        "status": _of("token", "status:code", "http://hl7.org/fhir/publication-status"),
        "title": _of("string", "title:string"),
        "url": _of("uri", "url:uri"),
        "version": _of("token", "version:string"),
    },
    "QuestionnaireResponse": {
        "authored": _of("date", "authored:dateTime"),
        "encounter": _ref("encounter", "Encounter"),
        "identifier": _IDENTIFIER,
        "patient": _PATIENT,
        "questionnaire": _canonical("questionnaire", "Questionnaire"),
        "status": _of("token", "status:code", "http://hl7.org/fhir/questionnaire-answers-status"),
        "subject": _SUBJECT,
    },
}

PARENTS: Final = {
    "Encounter": "part-of",
    "Location": "partof",
    "Organization": "partof",
}
"""The parameters that name what a resource is part of, of its own type."""

PARAMS: Final = {kind: named | EVERYWHERE for kind, named in _NAMED.items()}
"""The parameters of each type."""
