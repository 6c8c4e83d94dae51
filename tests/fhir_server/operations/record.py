"""Synthetic resources of one patient's record, as mappings.xml130 makes them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from fhir_server.model.identifiers import (
    BHYT,
    CCCD,
    MA_CSKCB,
    MA_LK,
    PAYER,
    code_system,
    extension,
)

ICD = "http://hl7.org/fhir/sid/icd-10"
LOINC = "http://loinc.org"


def patient(identity: str = "mother", **more: Any) -> dict[str, Any]:
    """A Patient with a number."""
    return {
        "resourceType": "Patient",
        "id": identity,
        "identifier": [{"system": CCCD, "value": "001195012345"}],
        "name": [{"use": "official", "text": "NGUYỄN THỊ MẪU"}],
        "gender": "female",
        "birthDate": "1995-03-07",
        "address": [{"text": "Số 1 phố Mẫu, phường Mẫu, Hà Nội"}],
        **more,
    }


def organization(code: str, name: str, system: str = MA_CSKCB) -> dict[str, Any]:
    """A facility or payer."""
    return {
        "resourceType": "Organization",
        "id": f"org-{code}",
        "identifier": [{"system": system, "value": code}],
        "name": name,
    }


def coverage(identity: str = "card", of: str = "mother", **more: Any) -> dict[str, Any]:
    """A card of benefit digit 4."""
    return {
        "resourceType": "Coverage",
        "id": identity,
        "identifier": [{"system": BHYT, "value": "DN4010123456789"}],
        "status": "active",
        "beneficiary": {"reference": f"Patient/{of}"},
        "period": {"start": "2023-01-01", "end": "2026-12-31"},
        "payor": [payer()],
        **more,
    }


def payer(code: str = "BHXH") -> dict[str, Any]:
    """A reference to a payer."""
    return {"reference": f"Organization/org-{code}", "identifier": {"system": PAYER, "value": code}}


def encounter(
    identity: str,
    start: str,
    end: str | None,
    *,
    facility: str = "01999",
    kind: str = "01",
    of: str = "mother",
    **more: Any,
) -> dict[str, Any]:
    """A visit."""
    period = {"start": start} | ({"end": end} if end else {})
    return {
        "resourceType": "Encounter",
        "id": identity,
        "identifier": [{"system": MA_LK, "value": f"{facility}|LK-{identity}"}],
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "type": [{"coding": [{"system": code_system("ma-loai-kcb"), "code": kind}]}],
        "subject": {"reference": f"Patient/{of}"},
        "period": period,
        "reasonCode": [{"text": "Ho, sốt 2 ngày"}],
        "serviceProvider": {"reference": f"Organization/org-{facility}"},
        "extension": [
            {"url": extension("advice"), "valueString": "Uống nhiều nước, tái khám khi sốt cao"},
            {
                "url": extension("treatment-result"),
                "valueCodeableConcept": {
                    "coding": [{"system": code_system("ket-qua-dtri"), "code": "2"}],
                    "text": "Đỡ",
                },
            },
        ],
        **more,
    }


def condition(
    visit: str, code: str = "J02.9", text: str = "Viêm họng cấp", of: str = "mother"
) -> dict[str, Any]:
    """A diagnosis of a visit."""
    return {
        "resourceType": "Condition",
        "id": f"{visit}-{code.replace('.', '')}",
        "code": {"coding": [{"system": ICD, "code": code}], "text": text},
        "subject": {"reference": f"Patient/{of}"},
        "encounter": {"reference": f"Encounter/{visit}"},
    }


def drug(visit: str, name: str = "Paracetamol 500mg", of: str = "mother") -> dict[str, Any]:
    """A drug prescribed in a visit."""
    return {
        "resourceType": "MedicationRequest",
        "id": f"{visit}-drug",
        "status": "completed",
        "intent": "order",
        "medicationCodeableConcept": {"text": name},
        "subject": {"reference": f"Patient/{of}"},
        "encounter": {"reference": f"Encounter/{visit}"},
        "requester": {"reference": "Practitioner/doctor"},
        "dosageInstruction": [{"text": "1 viên/lần * 3 lần/ngày * 5 ngày"}],
        "dispenseRequest": {"quantity": {"value": Decimal(15), "unit": "Viên"}},
    }


def result(
    visit: str, name: str = "Glucose", value: str = "5.40", of: str = "mother"
) -> dict[str, Any]:
    """A laboratory result of a visit."""
    return {
        "resourceType": "Observation",
        "id": f"{visit}-{name.lower()}",
        "status": "final",
        "code": {"text": name},
        "subject": {"reference": f"Patient/{of}"},
        "encounter": {"reference": f"Encounter/{visit}"},
        "effectiveDateTime": "2023-11-20T09:10:00+07:00",
        "valueQuantity": {"value": Decimal(value), "unit": "mmol/L"},
    }


def practitioner() -> dict[str, Any]:
    """A doctor."""
    return {"resourceType": "Practitioner", "id": "doctor", "name": [{"text": "BS. PHẠM MẪU"}]}


def guardian(of: str = "child", **more: Any) -> dict[str, Any]:
    """A verified guardian link."""
    return {
        "resourceType": "RelatedPerson",
        "id": f"link-{of}",
        "extension": [{"url": extension("verified"), "valueBoolean": True}],
        "identifier": [{"system": CCCD, "value": "001195012345"}],
        "active": True,
        "patient": {"reference": f"Patient/{of}"},
        "relationship": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode",
                        "code": "MTH",
                    }
                ],
                "text": "Mẹ",
            }
        ],
        "name": [{"text": "NGUYỄN THỊ MẪU"}],
        **more,
    }


def immunization(
    identity: str, code: str, dose: int | None, day: str, of: str = "child", **more: Any
) -> dict[str, Any]:
    """A dose given."""
    made: dict[str, Any] = {
        "resourceType": "Immunization",
        "id": identity,
        "status": "completed",
        "vaccineCode": {"coding": [{"system": "http://hl7.org/fhir/sid/cvx", "code": code}]},
        "patient": {"reference": f"Patient/{of}"},
        "occurrenceDateTime": day,
    }
    if dose is not None:
        made["protocolApplied"] = [{"doseNumberPositiveInt": dose}]
    return made | more


def visit(
    identity: str = "v1",
    start: str = "2023-11-20T08:15:00+07:00",
    end: str = "2023-11-20T09:50:00+07:00",
    **more: Any,
) -> list[dict[str, Any]]:
    """A visit with a diagnosis, a drug and a result."""
    return [
        encounter(identity, start, end, **more),
        condition(identity),
        drug(identity),
        result(identity),
    ]


def people() -> list[dict[str, Any]]:
    """The mother, her card, facilities, payers and her doctor."""
    return [
        patient(),
        organization("BHXH", "Bảo hiểm xã hội Việt Nam", PAYER),
        organization("PRIVATE-01", "Bảo hiểm Mẫu", PAYER),
        organization("01999", "Bệnh viện Đa khoa Mẫu Hà Nội"),
        organization("79999", "Bệnh viện Mẫu Thành phố Hồ Chí Minh"),
        practitioner(),
        coverage(),
    ]


def money(name: str, value: str) -> dict[str, Any]:
    """One of the claim's amounts."""
    amount = {"value": Decimal(value), "currency": "VND"}
    return {"url": extension(name), "valueMoney": amount}


def claim(
    visit_id: str = "v1", card: str = "card", of: str = "mother", **more: Any
) -> dict[str, Any]:
    """A claim of one drug, 10 at 1,000 dong, of which the fund pays 80 per cent."""
    amounts = {
        "thanh-tien-bv": "10000", "thanh-tien-bh": "10000", "t-nguonkhac": "0", "t-bntt": "0",
        "t-bncct": "2000", "t-bhtt": "8000",
    }  # fmt: skip
    sums = {
        "t-thuoc": "10000", "t-vtyt": "0", "t-tongchi-bv": "10000", "t-tongchi-bh": "10000",
        "t-bntt": "0", "t-bncct": "2000", "t-bhtt": "8000", "t-nguonkhac": "0",
        "t-bhtt-gdv": "8000",
    }  # fmt: skip
    return {
        "resourceType": "Claim",
        "id": f"claim-{visit_id}",
        "extension": [money(name, value) for name, value in sums.items()],
        "status": "active",
        "type": {
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/claim-type",
                    "code": "institutional",
                }
            ]
        },
        "use": "claim",
        "patient": {"reference": f"Patient/{of}"},
        "created": "2023-11-20T10:00:00+07:00",
        "insurer": payer(),
        "provider": {"reference": "Organization/org-01999"},
        "priority": {"coding": [{"code": "normal"}]},
        "insurance": [
            {"sequence": 1, "focal": True, "coverage": {"reference": f"Coverage/{card}"}}
        ],
        "item": [
            {
                "extension": [
                    *(money(name, value) for name, value in amounts.items()),
                    {"url": extension("tyle-tt-bh"), "valueDecimal": Decimal(100)},
                    {"url": extension("muc-huong"), "valueDecimal": Decimal(80)},
                    {"url": extension("ma-pttt"), "valueCode": "1"},
                    {"url": extension("line"), "valueString": "XML2/1"},
                ],
                "sequence": 1,
                "category": {"coding": [{"system": code_system("ma-nhom"), "code": "4"}]},
                "productOrService": {"text": "Paracetamol 500mg"},
                "quantity": {"value": Decimal(10)},
                "unitPrice": {"value": Decimal(1000), "currency": "VND"},
                "net": {"value": Decimal(10000), "currency": "VND"},
                "encounter": [{"reference": f"Encounter/{visit_id}"}],
            }
        ],
        **more,
    }
