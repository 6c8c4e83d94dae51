"""The diagnoses as Condition: the main one with its text, and each other code."""

from __future__ import annotations

from typing import Final

from fhir_server.model.identifiers import code_system
from fhir_server.model.sensitivity import is_hiv
from mappings.xml130.draft import Draft, Element, code_list, dated, prune, with_label
from mappings.xml130.record import Record, Summary

ICD10: Final = "http://hl7.org/fhir/sid/icd-10"
VN_ICD10: Final = "http://fhir.hl7.org.vn/core/CodeSystem/vn-icd10-cs"
_CATEGORY: Final = "http://terminology.hl7.org/CodeSystem/condition-category"
_VERIFICATION: Final = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
MAIN_KEY: Final = "Condition/main"


def is_restricted(record: Record) -> bool:
    """Whether the visit is one of HIV care: by a code, or by table XML6."""
    xml1 = record.xml1
    if "XML6" in record.others or is_hiv(xml1.ma_benh_chinh) or any(map(is_hiv, xml1.ma_benh_kt)):
        return True
    return any(is_hiv(code) for row in record.xml3 for code in row.ma_benh)


def icd_codings(code: str) -> list[Element]:
    """Return the codings of an ICD-10 code, of HL7's system and of VN Core's."""
    return [
        # The dagger and the star are not part of the code in HL7's system.
        {"system": ICD10, "code": code.rstrip("*+†")},
        {"system": VN_ICD10, "code": code},
    ]


def other_codes(xml1: Summary) -> list[str]:
    """Return the other codes, each once, without the main one."""
    return [c for c in dict.fromkeys(xml1.ma_benh_kt) if c and c != xml1.ma_benh_chinh]


def diagnosis_keys(xml1: Summary) -> list[str]:
    """Return the keys of the Conditions, the main one first."""
    return [MAIN_KEY, *(f"Condition/{code}" for code in other_codes(xml1))]


def key_of(xml1: Summary, code: str) -> str | None:
    """Return the key of the Condition that holds a code, None where there is none."""
    if code and code == xml1.ma_benh_chinh:
        return MAIN_KEY
    return f"Condition/{code}" if code in other_codes(xml1) else None


def conditions(draft: Draft) -> None:
    """Add the Conditions of the visit."""
    xml1 = draft.record.xml1
    main = _condition(draft, xml1.ma_benh_chinh, xml1.chan_doan_rv)
    if xml1.ma_benh_yhct:
        traditional = [
            {"system": code_system("ma-benh-yhct"), "code": part}
            for part in code_list(xml1.ma_benh_yhct)
        ]
        main["code"]["coding"] = [*main["code"].get("coding", []), *traditional]
    # The text of the main diagnosis may name what another code says.
    draft.add(MAIN_KEY, draft.labelled(main))
    for code in other_codes(xml1):
        resource = _condition(draft, code, "")
        draft.add(f"Condition/{code}", with_label(resource) if is_hiv(code) else resource)


def _condition(draft: Draft, code: str, text: str) -> Element:
    return prune({
        "resourceType": "Condition",
        "verificationStatus": {"coding": [{"system": _VERIFICATION, "code": "confirmed"}]},
        "category": [{"coding": [{"system": _CATEGORY, "code": "encounter-diagnosis"}]}],
        "code": prune({"coding": icd_codings(code) if code else None, "text": text}),
        "subject": draft.patient,
        "encounter": draft.encounter,
        "recordedDate": dated(draft.record.xml1.ngay_ra),
    })
