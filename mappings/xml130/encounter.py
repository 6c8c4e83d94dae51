"""The visit as Encounter (domain section 10, fields 1 and 7 to 16)."""

from __future__ import annotations

from typing import Any, Final

from fhir_server.model.identifiers import NS, code_system
from mappings.xml130 import code_tables
from mappings.xml130.condition import diagnosis_keys
from mappings.xml130.draft import (
    Draft,
    Element,
    as_code,
    code_list,
    dated,
    extensions,
    facility_reference,
    own,
    prune,
    search_for,
    visit_identifier,
)
from mappings.xml130.record import Summary

EMERGENCY: Final = "2"
EMERGENCY_FORMS: Final = frozenset({"01", "02", "09"})
DIED: Final = "5"
ICD9: Final = "http://hl7.org/fhir/sid/icd-9-cm"
_ROLE: Final = "http://terminology.hl7.org/CodeSystem/diagnosis-role"
_TEXTS: Final = (
    ("treatment-method", "PP_DIEU_TRI"),
    ("advice", "GHI_CHU"),
    ("admission-diagnosis", "CHAN_DOAN_VAO"),
    ("admission-reason", "LY_DO_VNT"),
    ("referral-letter", "GIAY_CHUYEN_TUYEN"),
    ("accident", "MA_TAI_NAN"),
    ("living-area", "MA_KHUVUC"),
    ("newborn-weight", "CAN_NANG_CON"),
)


def encounter(draft: Draft) -> None:
    """Add the visit, its diagnoses ranked, its result and discharge kept."""
    xml1 = draft.record.xml1
    identifiers = [visit_identifier(draft)]
    if xml1.ma_hsba:
        system = f"{NS}/sid/ma-hsba/{draft.record.facility}"
        identifiers.append({"system": system, "value": xml1.ma_hsba})
    resource = prune({
        "resourceType": "Encounter",
        "extension": _extensions(xml1),
        "identifier": identifiers,
        "status": "finished",
        "class": encounter_class(xml1),
        "type": _type(xml1),
        "subject": draft.patient,
        "period": prune({"start": dated(xml1.ngay_vao), "end": dated(xml1.ngay_ra)}),
        "length": _length(xml1),
        "reasonCode": [{"text": xml1.ly_do_vv}] if xml1.ly_do_vv else None,
        "diagnosis": [
            {
                "condition": draft.to(key),
                "use": {"coding": [{"system": _ROLE, "code": "CM" if rank > 1 else "DD"}]},
                "rank": rank,
            }
            for rank, key in enumerate(diagnosis_keys(xml1), 1)
        ],
        "hospitalization": _hospitalization(xml1),
        "serviceProvider": draft.organization,
    })
    draft.add(
        "Encounter",
        draft.labelled(resource),
        search_for(identifiers[0]["system"], identifiers[0]["value"]),
    )


def encounter_class(xml1: Summary) -> dict[str, Any]:
    """Return the class by visit form; an emergency of forms 01, 02, 09 is EMER (domain 2.4)."""
    if xml1.ma_doituong_kcb == EMERGENCY and xml1.ma_loai_kcb in EMERGENCY_FORMS:
        return code_tables.ENCOUNTER_CLASS.coding("emergency") or {}
    return (
        code_tables.ENCOUNTER_CLASS.coding(xml1.ma_loai_kcb)
        or code_tables.ENCOUNTER_CLASS.coding("10")
        or {}
    )


def _type(xml1: Summary) -> list[Element] | None:
    coding = code_tables.VISIT_FORM.coding(xml1.ma_loai_kcb)
    return [{"coding": [coding], "text": coding["display"]}] if coding else None


def _length(xml1: Summary) -> Element | None:
    if xml1.so_ngay_dtri is None:
        return None
    return {
        "value": xml1.so_ngay_dtri,
        "unit": "ngày",
        "system": "http://unitsofmeasure.org",
        "code": "d",
    }


def _hospitalization(xml1: Summary) -> Element:
    kind = code_tables.DISCHARGE.coding(xml1.ma_loai_rv)
    left = code_tables.DISPOSITION.coding("died" if xml1.ket_qua_dtri == DIED else xml1.ma_loai_rv)
    codings = [coding for coding in (kind, left) if coding]
    return prune({
        "origin": facility_reference(xml1.ma_noi_di) if xml1.ma_noi_di else None,
        "destination": facility_reference(xml1.ma_noi_den) if xml1.ma_noi_den else None,
        "dischargeDisposition": (
            prune({"coding": codings, "text": kind["display"] if kind else None})
            if codings
            else None
        ),
    })


def _extensions(xml1: Summary) -> list[Element]:
    result = code_tables.RESULT.coding(xml1.ket_qua_dtri)
    on = xml1.ngay_ra.date() if xml1.ngay_ra else None
    texts = [own(name, "String", xml1.texts.get(field)) for name, field in _TEXTS]
    departments = [
        own("department", "Coding", {"system": code_system("ma-khoa"), "code": as_code(code)})
        for code in dict.fromkeys(xml1.ma_khoa)
        if code
    ]
    return extensions(
        own(
            "treatment-result",
            "CodeableConcept",
            {"coding": [result], "text": result["display"]} if result else None,
        ),
        own(
            "coverage-case",
            "Coding",
            code_tables.COVERAGE_CASE.coding(xml1.ma_doituong_kcb, on),
        ),
        own("admission-time", "DateTime", dated(xml1.ngay_vao_noi_tru)),
        *texts,
        *departments,
        *(
            own("icd9-procedure", "Coding", {"system": ICD9, "code": code})
            for code in code_list(xml1.ma_pttt_qt)
        ),
    )
