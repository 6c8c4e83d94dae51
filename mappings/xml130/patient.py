"""XML1's person as Patient (domain section 10, fields 2 to 6)."""

from __future__ import annotations

from datetime import date
from typing import Any, Final

from fhir_server.model.identifiers import (
    BHYT,
    CCCD,
    CMND,
    MA_CSKCB,
    PAPER,
    PASSPORT,
    code_system,
    extension,
)
from mappings.xml130 import code_tables
from mappings.xml130.draft import Draft, Element, as_code, ma_bn_system, own, prune, search_for
from mappings.xml130.record import Summary
from mappings.xml130.rules_person import cards_of

_TYPES: Final = "http://terminology.hl7.org/CodeSystem/v2-0203"
_BIRTH_TIME: Final = "http://hl7.org/fhir/StructureDefinition/patient-birthTime"
_NATIONALITY: Final = "http://hl7.org/fhir/StructureDefinition/patient-nationality"
_CITIZEN_LENGTH: Final = 12
_OLD_CARD_LENGTH: Final = 9
_PASSPORT_LENGTH: Final = 8


def patient(draft: Draft) -> None:
    """Add the person; who holds the number already is the store's to say."""
    xml1 = draft.record.xml1
    identifiers = identifiers_of(xml1, draft.record.facility)
    resource = prune({
        "resourceType": "Patient",
        "extension": _extensions(xml1),
        "identifier": identifiers,
        "active": True,
        "name": [name_of(xml1.ho_ten)] if xml1.ho_ten else None,
        "telecom": [{"system": "phone", "value": xml1.dien_thoai}] if xml1.dien_thoai else None,
        "gender": _gender(xml1),
        **_birth(xml1),
        "address": _address(xml1),
    })
    first = identifiers[0] if identifiers else None
    draft.add("Patient", resource, search_for(first["system"], first["value"]) if first else None)


def name_of(text: str) -> Element:
    """Return a Vietnamese name: the first word is the family's, the rest is given."""
    words = text.split()
    return prune({
        "use": "official",
        "text": " ".join(words),
        "family": words[0] if words else None,
        "given": words[1:],
    })


def identifiers_of(xml1: Summary, facility: str) -> list[Element]:
    """Return the person's identifiers: paper, cards, the facility's own number."""
    found = [_paper(xml1.so_cccd)] if xml1.so_cccd else []
    found += [_identifier("SB", BHYT, card) for card in dict.fromkeys(cards_of(xml1)) if card]
    if xml1.ma_bn:
        number = _identifier("MR", ma_bn_system(facility), xml1.ma_bn)
        number["assigner"] = {"identifier": {"system": MA_CSKCB, "value": facility}}
        found.append(number)
    return found


def _identifier(kind: str, system: str, value: str, use: str | None = None) -> Element:
    return prune({
        "use": use,
        "type": {"coding": [{"system": _TYPES, "code": kind}]},
        "system": system,
        "value": value,
    })


def _paper(number: str) -> Element:
    """Return the paper's identifier by its shape: no field tells the kind (domain 2.3)."""
    if number.isascii() and number.isdigit() and len(number) == _CITIZEN_LENGTH:
        return _identifier("NI", CCCD, number, "official")
    if number.isascii() and number.isdigit() and len(number) == _OLD_CARD_LENGTH:
        return _identifier("NI", CMND, number, "old")
    if len(number) == _PASSPORT_LENGTH and number[:1].isalpha() and number[1:].isdigit():
        return _identifier("PPN", PASSPORT, number)
    return _identifier("U", PAPER, number)


def _gender(xml1: Summary) -> str | None:
    concept = code_tables.SEX.find(xml1.gioi_tinh)
    return concept.code if concept else None


def _birth(xml1: Summary) -> dict[str, Any]:
    birth = xml1.ngay_sinh
    if birth is None:
        return {}
    moment = birth.moment
    if moment is None:
        return {"birthDate": birth.to_fhir()}
    time = {"url": _BIRTH_TIME, "valueDateTime": moment.isoformat()}
    return {"birthDate": birth.to_fhir(), "_birthDate": {"extension": [time]}}


def _extensions(xml1: Summary) -> list[Element]:
    found: list[Element] = []
    if xml1.ma_dantoc:
        code = xml1.ma_dantoc.zfill(2)
        coding = code_tables.ETHNIC.coding(code)
        found.append({
            "url": extension("ethnicity"),
            "valueCoding": coding or {"system": code_system("ma-dantoc"), "code": code},
        })
    if xml1.ma_quoctich:
        coding = {"system": code_system("ma-quoctich"), "code": xml1.ma_quoctich.zfill(3)}
        concept = {"url": "code", "valueCodeableConcept": {"coding": [coding]}}
        found.append({"url": _NATIONALITY, "extension": [concept]})
    if xml1.ma_nghe_nghiep:
        coding = {"system": code_system("ma-nghe-nghiep"), "code": as_code(xml1.ma_nghe_nghiep)}
        found.append({"url": extension("occupation"), "valueCoding": coding})
    return found


def _address(xml1: Summary) -> list[Element] | None:
    """Return the residence; a province's two digits mean another one before 01/07/2025."""
    on = xml1.ngay_ra.date() if xml1.ngay_ra else None
    province = _province(xml1.matinh_cu_tru, on)
    codes = [
        own("province", "Coding", province),
        own("district", "Coding", _unit("ma-huyen", xml1.mahuyen_cu_tru)),
        own("ward", "Coding", _unit("ma-xa", xml1.maxa_cu_tru)),
    ]
    address = prune({
        "extension": [code for code in codes if code],
        "text": xml1.dia_chi,
        "line": [xml1.dia_chi] if xml1.dia_chi else None,
        "state": (province or {}).get("display"),
    })
    return [{**address, "use": "home"}] if address else None


def _province(code: str, on: date | None) -> Element | None:
    if not code:
        return None
    # PL4750, MATINH_CU_TRU: of three characters the last two are the code.
    known = code_tables.PROVINCE.find(code[-2:].zfill(2), on)
    if known is None:
        return _unit("ma-tinh", code)
    since = known.valid_from.isoformat() if known.valid_from else "2004"
    return {**known.coding(), "version": since}


def _unit(system: str, code: str) -> Element | None:
    return {"system": code_system(system), "code": as_code(code)} if code else None
