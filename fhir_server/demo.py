"""The demo people of the contract's section 9, invented, made once when a demo store is new."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from fhir_server.demo_dossiers import CASES, Person, envelope, visit
from fhir_server.model.identifiers import BHYT, CCCD, MA_CSKCB, PAYER, extension
from mappings.immunization.schedule import Dose, on_time

SEED: Final = 3176
VERIFIED: Final = extension("verified")
ROLE: Final = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"
CVX: Final = "http://hl7.org/fhir/sid/cvx"

FACILITIES: Final = {
    "01999": "Bệnh viện Đa khoa Mẫu Hà Nội",
    "79999": "Bệnh viện Mẫu Thành phố Hồ Chí Minh",
    "01998": "Phòng khám Đa khoa Mẫu",
}
PAYERS: Final = {"BHXH": "Bảo hiểm xã hội Việt Nam", "PRIVATE-01": "Bảo hiểm Mẫu"}


@dataclass(frozen=True, slots=True)
class Citizen:
    """A demo citizen: name, number, birth date, sex, card; `note` is for the start's print."""

    key: str
    name: str
    number: str
    born: date
    gender: str
    card: str
    note: str


def months_before(day: date, months: int) -> date:
    """Return the day so many months before; a day that the month lacks is its last."""
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def citizens(first_start: date) -> tuple[Citizen, ...]:
    """Return the demo citizens of a store that was first started on this day (Viet Nam)."""
    bao, an = months_before(first_start, 20), months_before(first_start, 96)
    return (
        Citizen(
            "mother",
            "NGUYỄN THỊ MẪU",
            "001195012345",
            date(1995, 3, 7),
            "female",
            "DN4010123456789",
            "mẹ / mother",
        ),
        Citizen(
            "father",
            "TRẦN VĂN MẪU",
            "001093054321",
            date(1993, 11, 20),
            "male",
            "GD4010987654321",
            "bố / father",
        ),
        Citizen(
            "bao",
            "TRẦN BẢO MẪU",
            f"0012{bao:%y}000017",
            bao,
            "male",
            "TE1010000000017",
            "con, 20 tháng / child of 20 months",
        ),
        Citizen(
            "an",
            "TRẦN AN MẪU",
            f"0013{an:%y}000025",
            an,
            "female",
            "HS4010000000025",
            "con, 8 tuổi / child of 8 years",
        ),
        Citizen(
            "stranger",
            "LÊ VĂN LẠ",
            "079080099999",
            date(1980, 1, 2),
            "male",
            "",
            "không có thẻ, sổ trống / no card, an empty book",
        ),
    )


def people_bundle(first_start: date) -> dict[str, Any]:
    """Return the transaction that makes the demo's people, cards, guardians and vaccinations."""
    people = {citizen.key: citizen for citizen in citizens(first_start)}
    entries = [_organization(MA_CSKCB, code, name) for code, name in FACILITIES.items()]
    entries += [_organization(PAYER, code, name) for code, name in PAYERS.items()]
    entries += [_entry(_patient(citizen), _urn(citizen.key)) for citizen in people.values()]
    entries += [
        _entry(_coverage(citizen, first_start)) for citizen in people.values() if citizen.card
    ]
    for child, parents in (("bao", ("mother", "father")), ("an", ("mother",))):
        for parent in parents:
            link = _guardian(people[child], people[parent])
            entries.append(_entry(link, _urn(f"{child}-{parent}")))
    entries.append(_entry(_consent(people["an"], first_start)))
    for key in ("bao", "an"):
        vaccinated = people[key]
        doses = on_time(vaccinated.born, vaccinated.gender, first_start)
        # Contract, section 9: the measles-rubella dose of 18 months is overdue for BẢO.
        entries += [
            _entry(_immunization(vaccinated, dose))
            for dose in doses
            if not (key == "bao" and dose.row.id == "mr-1")
        ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def dossiers(first_start: datetime) -> list[tuple[str, bytes]]:
    """Return the mother's dossiers of three years as (facility, envelope), oldest first."""
    random = Random(SEED)
    mother = citizens(first_start.date())[0]
    envelopes = []
    for number in range(14):
        facility = ("01999", "01999", "79999")[number % 3]
        person = Person(
            mother.name,
            mother.number,
            mother.born,
            "2",
            mother.card,
            ma_bn=f"BN-{facility}-0007",
            gt_the_tu=f"{first_start.year - 4}0101",
            gt_the_den=f"{first_start.year + 2}1231",
        )
        day = first_start.date() - timedelta(days=1080 - number * 80)
        start = datetime(day.year, day.month, day.day, 7 + number % 8, 15)  # noqa: DTZ001 - local
        rows = visit(
            person,
            facility,
            f"DEMO-{number + 1:03d}",
            start,
            CASES[number % len(CASES)],
            random,
        )
        envelopes.append((facility, envelope(facility, [rows])))
    return envelopes


def _urn(key: str) -> str:
    return f"urn:uuid:{uuid5(NAMESPACE_URL, key)}"


def _entry(
    resource: dict[str, Any], full_url: str | None = None, if_none_exist: str | None = None
) -> dict[str, Any]:
    request = {"method": "POST", "url": resource["resourceType"]}
    if if_none_exist:
        request["ifNoneExist"] = if_none_exist
    entry: dict[str, Any] = {"resource": resource, "request": request}
    if full_url:
        entry["fullUrl"] = full_url
    return entry


def _organization(system: str, code: str, name: str) -> dict[str, Any]:
    resource = {
        "resourceType": "Organization",
        "identifier": [{"system": system, "value": code}],
        "active": True,
        "name": name,
    }
    return _entry(resource, _urn(code), f"identifier={system}|{code}")


def _patient(citizen: Citizen) -> dict[str, Any]:
    family, *given = citizen.name.split()
    identifiers: list[dict[str, Any]] = [
        {
            "use": "official",
            "type": {
                "coding": [
                    {"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "NI"}
                ]
            },
            "system": CCCD,
            "value": citizen.number,
        }
    ]
    if citizen.card:
        identifiers.append({"system": BHYT, "value": citizen.card})
    return {
        "resourceType": "Patient",
        "identifier": identifiers,
        "active": True,
        "name": [{"use": "official", "text": citizen.name, "family": family, "given": given}],
        "gender": citizen.gender,
        "birthDate": citizen.born.isoformat(),
    }


def _coverage(citizen: Citizen, first_start: date) -> dict[str, Any]:
    return {
        "resourceType": "Coverage",
        "identifier": [{"system": BHYT, "value": citizen.card}],
        "status": "active",
        "type": {
            "coding": [
                {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "PUBLICPOL"}
            ],
            "text": "Bảo hiểm y tế",
        },
        "subscriberId": citizen.card[5:],
        "beneficiary": {"reference": _urn(citizen.key)},
        "period": {
            "start": f"{first_start.year - 4}-01-01"
            if citizen.born.year < first_start.year - 4
            else citizen.born.isoformat(),
            "end": f"{first_start.year + 2}-12-31",
        },
        "payor": [
            {
                "reference": _urn("BHXH"),
                "identifier": {"system": PAYER, "value": "BHXH"},
                "display": PAYERS["BHXH"],
            }
        ],
    }


def _guardian(child: Citizen, parent: Citizen) -> dict[str, Any]:
    family, *given = parent.name.split()
    relation = "MTH" if parent.gender == "female" else "FTH"
    return {
        "resourceType": "RelatedPerson",
        "extension": [{"url": VERIFIED, "valueBoolean": True}],
        "identifier": [{"system": CCCD, "value": parent.number}],
        "active": True,
        "patient": {"reference": _urn(child.key)},
        "relationship": [{"coding": [{"system": ROLE, "code": relation}]}],
        "name": [{"use": "official", "text": parent.name, "family": family, "given": given}],
        "gender": parent.gender,
        "birthDate": parent.born.isoformat(),
        "period": {"start": child.born.isoformat()},
    }


def _consent(child: Citizen, first_start: date) -> dict[str, Any]:
    """The child's own consent, from 7 years beside the representative's (Luật 91/2025/QH15)."""
    act = "http://terminology.hl7.org/CodeSystem"
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"system": f"{act}/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": _urn(child.key)},
        "dateTime": first_start.isoformat(),
        "performer": [{"reference": _urn(child.key)}],
        "policyRule": {"coding": [{"system": f"{act}/v3-ActCode", "code": "OPTIN"}]},
        "provision": {
            "type": "permit",
            "period": {"start": first_start.isoformat()},
            "actor": [
                {
                    "role": {"coding": [{"system": ROLE, "code": "DELEGATEE"}]},
                    "reference": {"reference": _urn(f"{child.key}-mother")},
                }
            ],
        },
    }


def _immunization(child: Citizen, dose: Dose) -> dict[str, Any]:
    return {
        "resourceType": "Immunization",
        "status": "completed",
        "vaccineCode": {
            "coding": [{"system": CVX, "code": code} for code in sorted(dose.row.codes)[:1]],
            "text": dose.row.vi,
        },
        "patient": {"reference": _urn(child.key)},
        "occurrenceDateTime": dose.due_on.isoformat(),
        "primarySource": True,
        "performer": [
            {"actor": {"reference": _urn("01998"), "display": FACILITIES["01998"]}},
        ],
        "protocolApplied": [{"doseNumberPositiveInt": dose.row.dose}],
    }
