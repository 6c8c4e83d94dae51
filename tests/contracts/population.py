"""The population that searches of the contract are asked of: invented people, small numbers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from fhir_server.store.port import Batch, Store
from tests.contracts.making import START, gone, made

S: Final = "http://fhir.hl7.org.vn/core/sid"
LOINC: Final = "http://loinc.org"
UCUM: Final = "http://unitsofmeasure.org"
SNOMED: Final = "http://snomed.info/sct"


def _quantity(value: str, code: str, unit: str = "", **more: Any) -> dict[str, Any]:
    return {"value": Decimal(value), "unit": unit or code, "system": UCUM, "code": code, **more}


def _pressure(systolic: str, diastolic: str) -> list[dict[str, Any]]:
    return [
        {"code": _code("8480-6"), "valueQuantity": _quantity(systolic, "mm[Hg]")},
        {"code": _code("8462-4"), "valueQuantity": _quantity(diastolic, "mm[Hg]")},
    ]


def _code(code: str, system: str = LOINC, **more: Any) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code, **more}]}


def _observation(resource_id: str, subject: str, code: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": resource_id,
        "status": "final",
        "code": _code(code),
        "subject": {"reference": subject},
        **more,
    }


def _place(resource_id: str, latitude: str, longitude: str, **more: Any) -> dict[str, Any]:
    position = {"latitude": Decimal(latitude), "longitude": Decimal(longitude)}
    return {"resourceType": "Location", "id": resource_id, "position": position, **more}


PATIENTS: Final[list[dict[str, Any]]] = [
    {
        "resourceType": "Patient",
        "id": "an",
        "meta": {
            "tag": [{"system": "http://x/tags", "code": "vip"}],
            "security": [{"system": "http://x/labels", "code": "HIV"}],
            "profile": ["http://x/StructureDefinition/a|1.0"],
            "source": "http://x/hospital",
        },
        "text": {
            "status": "additional",
            "div": '<div xmlns="http://www.w3.org/1999/xhtml"><p>Ông An bị <b>sốt</b> cao</p>'
            "<p>đã hết; ghi 2 lần</p></div>",
        },
        "active": True,
        "identifier": [
            {
                "system": f"{S}/cccd",
                "value": "001",
                "type": {"coding": [{"system": "http://x/types", "code": "NI"}]},
            },
            {"system": f"{S}/bhyt", "value": "DN4"},
        ],
        "name": [{"text": "Nguyễn Văn An", "family": "Nguyễn", "given": ["Văn", "An"]}],
        "gender": "male",
        "birthDate": "1980-03-07",
        "address": [{"city": "Hà Nội", "line": ["Số 1 Đường Láng"]}],
        "telecom": [{"system": "phone", "value": "0901"}, {"system": "email", "value": "an@x.vn"}],
        "generalPractitioner": [{"reference": "Practitioner/doc"}],
    },
    {
        "resourceType": "Patient",
        "id": "binh",
        "active": True,
        "identifier": [{"system": "http://fhir.ehealth.gov.vn/core/sid/national_id", "value": "2"}],
        "name": [{"family": "Nguyen", "given": ["Binh"]}],
        "gender": "female",
        "birthDate": "1980",
        "deceasedDateTime": "2020-01-02",
        "managingOrganization": {"reference": "Organization/hanoi"},
    },
    {
        "resourceType": "Patient",
        "id": "chi",
        "active": False,
        "identifier": [{"value": "bare"}],
        "name": [{"text": "ĐỖ  Thị CHI", "family": "Đỗ"}],
        "birthDate": "1980-04",
        "deceasedBoolean": False,
        "multipleBirthInteger": 2,
        "managingOrganization": {"identifier": {"system": f"{S}/ma-cskcb", "value": "01999"}},
        "link": [{"other": {"reference": "Patient/an"}, "type": "seealso"}],
    },
    {"resourceType": "Patient", "id": "dung", "gender": "male", "birthDate": "2001-12-31"},
]

OTHERS: Final[list[dict[str, Any]]] = [
    {"resourceType": "Practitioner", "id": "doc", "name": [{"family": "Lê"}]},
    {
        "resourceType": "Organization",
        "id": "hanoi",
        "identifier": [{"system": f"{S}/ma-cskcb", "value": "01999"}],
        "name": "Bệnh viện, Hà Nội",
        "partOf": {"reference": "Organization/ministry"},
    },
    {"resourceType": "Organization", "id": "ministry", "name": "Bộ Y tế"},
    _place("bach-mai", "21.0005", "105.8417", name="Bệnh viện Bạch Mai"),
    _place("viet-duc", "21.0287", "105.8471", name="Bệnh viện Việt Đức"),
    _place("cho-ray", "10.7574", "106.6595", managingOrganization={"reference": "Organization/x"}),
    _place("fiji-west", "-16.8", "179.99"),
    _place("fiji-east", "-16.8", "-179.99"),
    _place("north", "89.9", "0"),
    _place("north-behind", "89.9", "180"),
    {"resourceType": "Location", "id": "nowhere", "name": "Xe cứu thương"},
    {
        "resourceType": "Encounter",
        "id": "visit-place",
        "status": "planned",
        "class": {"system": "http://x/class", "code": "AMB", "display": "Ngoại trú sốt cao"},
        "location": [{"location": {"reference": "Location/viet-duc"}}],
    },
    _observation(
        "weight-an",
        "Patient/an",
        "29463-7",
        effectiveDateTime="2024-05-01T08:00:00+07:00",
        valueQuantity=_quantity("70.5", "kg", "kí lô"),
        encounter={"reference": "Encounter/visit-an"},
        category=[_code("vital-signs", "http://x/cat", display="Dấu hiệu sinh tồn")],
    ),
    _observation(
        "weight-binh",
        "Patient/binh",
        "29463-7",
        effectiveDateTime="2024-05-02",
        valueQuantity=_quantity("49", "kg", comparator="<"),
    ),
    _observation(
        "pressure-an",
        "Patient/an",
        "85354-9",
        effectivePeriod={"start": "2024-05-01T23:00:00+07:00", "end": "2024-05-02T01:00:00+07:00"},
        component=_pressure("120", "80"),
    ),
    _observation("pressure-binh", "Patient/binh", "85354-9", component=_pressure("80", "120")),
    _observation(
        "smoking-an",
        "Patient/an",
        "72166-2",
        effectivePeriod={"start": "2024-06-01"},
        valueCodeableConcept={**_code("266919005", SNOMED), "text": "Chưa bao giờ"},
        hasMember=[{"reference": "Observation/weight-an"}],
    ),
    _observation("note", "Group/village", "1", valueString="Tốt", issued="2024-05-01T00:00:00Z"),
    {
        **_observation("foreign", "http://other.example/fhir/Patient/an", "1"),
        "code": {"text": "Cân nặng"},
        "performer": [{"reference": "Practitioner/doc/_history/3"}],
    },
    {
        "resourceType": "Encounter",
        "id": "visit-an",
        "status": "finished",
        "class": {"system": "http://x/class", "code": "AMB"},
        "identifier": [{"system": f"{S}/ma-lk", "value": "01999|LK-1"}],
        "subject": {"reference": "Patient/an"},
        "period": {"start": "2024-05-01T07:30:00+07:00", "end": "2024-05-01T11:00:00+07:00"},
        "serviceProvider": {"reference": "Organization/hanoi"},
        "length": _quantity("90", "min"),
    },
    {
        "resourceType": "Encounter",
        "id": "visit-binh",
        "status": "in-progress",
        "class": {"system": "http://x/class", "code": "IMP"},
        "identifier": [{"system": f"{S}/ma-lk", "value": "01999|LK-2"}],
        "subject": {"reference": "Patient/binh"},
        "period": {"start": "2024-05-03"},
        "partOf": {"reference": "Encounter/visit-an"},
    },
    {
        "resourceType": "RiskAssessment",
        "id": "risk",
        "status": "final",
        "subject": {"reference": "Patient/an"},
        "prediction": [
            {"probabilityDecimal": Decimal("0.10")},
            {"probabilityRange": {"low": {"value": Decimal(2)}, "high": {"value": Decimal(5)}}},
        ],
    },
    {
        "resourceType": "RiskAssessment",
        "id": "hundred",
        "status": "final",
        "subject": {"reference": "Patient/binh"},
        "prediction": [{"probabilityDecimal": Decimal("99.6")}],
    },
    {
        "resourceType": "ValueSet",
        "id": "colours",
        "status": "draft",
        "url": "http://x/ValueSet/colours",
        "version": "1.0",
    },
    {
        "resourceType": "ValueSet",
        "id": "shades",
        "status": "active",
        "url": "http://x/ValueSet/colours/shades",
    },
    {
        "resourceType": "QuestionnaireResponse",
        "id": "answers",
        "status": "completed",
        "questionnaire": "http://x/Questionnaire/sixteen|2.0",
        "subject": {"reference": "Patient/an"},
    },
    {
        "resourceType": "Coverage",
        "id": "card-an",
        "status": "active",
        "beneficiary": {"reference": "Patient/an"},
        "payor": [{"identifier": {"system": f"{S}/payer", "value": "BHXH"}}],
    },
    {
        "resourceType": "Coverage",
        "id": "card-binh",
        "status": "active",
        "beneficiary": {"reference": "Patient/binh"},
        "payor": [{"reference": "Organization/ministry"}],
    },
    {
        "resourceType": "Claim",
        "id": "claim-an",
        "status": "active",
        "type": _code("institutional", "http://x/type"),
        "use": "claim",
        "created": "2024-05-01",
        "priority": _code("normal", "http://x/priority"),
        "patient": {"reference": "Patient/an"},
        "provider": {"reference": "Organization/hanoi"},
        "insurance": [
            {"sequence": 1, "focal": True, "coverage": {"reference": "Coverage/card-an"}}
        ],
        "diagnosis": [{"sequence": 1, "diagnosisReference": {"reference": "Condition/flu"}}],
        "supportingInfo": [
            {"sequence": 1, "valueReference": {"reference": "MedicationRequest/paracetamol"}}
        ],
        "item": [
            {
                "sequence": 1,
                "productOrService": {"text": "Khám"},
                "encounter": [{"reference": "Encounter/visit-an"}],
            }
        ],
    },
    {
        "resourceType": "Claim",
        "id": "claim-binh",
        "status": "active",
        "use": "claim",
        "patient": {"reference": "Patient/binh"},
        "provider": {"reference": "Organization/hanoi"},
        "insurance": [
            {"sequence": 1, "focal": True, "coverage": {"reference": "Coverage/card-binh"}}
        ],
        "diagnosis": [{"sequence": 1, "diagnosisReference": {"reference": "Condition/cold"}}],
    },
    {
        "resourceType": "Condition",
        "id": "flu",
        "subject": {"reference": "Patient/an"},
        "code": _code("J11", "http://hl7.org/fhir/sid/icd-10", display="Cúm, vi rút"),
        "onsetAge": _quantity("44", "a"),
    },
    {"resourceType": "Condition", "id": "cold", "subject": {"reference": "Patient/binh"}},
    {
        "resourceType": "MedicationRequest",
        "id": "paracetamol",
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/an"},
        "medicationCodeableConcept": {"text": "Paracetamol 500 mg"},
    },
]


async def fill(store: Store) -> None:
    """Commit the population: a second between each, patients tagged, one Patient deleted."""
    at = START
    for resource in [*PATIENTS, *OTHERS]:
        tags = ["facility/01999"] if resource["id"].endswith("an") else []
        await store.commit(Batch(writes=[made(resource, at=at, tags=tags)]))
        at += 1_000_000
    lost = {"resourceType": "Patient", "id": "lost", "gender": "male", "birthDate": "1980"}
    await store.commit(Batch(writes=[made(lost, at=at)]))
    # A deleted resource, and a reference to it, must be found by nothing.
    stray = _observation("stray", "Patient/lost", "1", status="amended")
    await store.commit(Batch(writes=[made(stray, at=at + 1_000_000)]))
    await store.commit(Batch(writes=[gone("Patient", "lost", 2, at=at + 2_000_000)]))
