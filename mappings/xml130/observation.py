"""Results (XML4), notes of the course (XML5), weight and blood group as Observation."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Final

from mappings.xml130 import code_tables
from mappings.xml130.draft import (
    Draft,
    Element,
    concept,
    dated,
    extensions,
    own,
    prune,
    row_keys,
)
from mappings.xml130.record import Course, Result

LOINC: Final = "http://loinc.org"
_CATEGORY: Final = "http://terminology.hl7.org/CodeSystem/observation-category"
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_MOST_DIGITS: Final = 18
_LABORATORY: Final = {"1": "laboratory", "2": "imaging", "3": "procedure"}
_CATEGORY_OF: Final = {
    code: {"coding": [{"system": _CATEGORY, "code": code}]}
    for code in ("laboratory", "imaging", "procedure", "vital-signs", "exam")
}


def observations(draft: Draft) -> None:
    """Add every Observation of the visit."""
    groups = {row.ma_dich_vu: row.ma_nhom.lstrip("0") for row in draft.record.xml3}
    results = draft.record.xml4
    for key, result in zip(row_keys(results), results, strict=True):
        if result.gia_tri or result.ket_luan or result.mo_ta:
            category = _LABORATORY.get(groups.get(result.ma_dich_vu, ""), "laboratory")
            draft.add(key, draft.labelled(_result(draft, key, result, category)))
    notes = draft.record.xml5
    for key, note in zip(row_keys(notes), notes, strict=True):
        draft.add(key, draft.labelled(_note(draft, key, note)))
    _of_summary(draft)


def _observation(
    draft: Draft, category: str, code: Element, effective: str | None, key: str | None = None
) -> Element:
    return {
        "resourceType": "Observation",
        "extension": extensions(own("line", "String", key)),
        "status": "final",
        "category": [_CATEGORY_OF[category]],
        "code": code,
        "subject": draft.patient,
        "encounter": draft.encounter,
        "effectiveDateTime": effective,
    }


def _result(draft: Draft, key: str, row: Result, category: str) -> Element:
    moment = dated(row.ngay_kq or draft.record.xml1.ngay_ra)
    code = concept("ma-chi-so", row.ma_chi_so, row.ten_chi_so)
    if row.ma_dich_vu:
        service = concept("ma-dich-vu", row.ma_dich_vu, "")["coding"]
        code["coding"] = [*code.get("coding", []), *service]
    said, described = row.ket_luan, row.mo_ta
    value = _value(row)
    if not value:
        value = {"valueString": said or described}
        said, described = "", described if said else ""
    return prune({
        **_observation(draft, category, code, moment, key),
        "performer": draft.practitioners(row.ma_bs_doc_kq) or [draft.organization],
        **value,
        "interpretation": [{"text": said}] if said else None,
        "note": [{"text": described}] if described else None,
    })


def _value(row: Result) -> dict[str, Any]:
    """Return the value as a quantity with every digit it came with, else as text."""
    text = row.gia_tri
    if not text:
        return {}
    if not _NUMBER.fullmatch(text) or len(text) > _MOST_DIGITS:
        unit = f" {row.don_vi_do}" if row.don_vi_do else ""
        return {"valueString": f"{text}{unit}"}
    quantity: Element = {"value": Decimal(text)}
    if row.don_vi_do:
        quantity["unit"] = row.don_vi_do
        known = code_tables.UCUM.find(row.don_vi_do)
        if known:
            quantity |= {"system": known.system, "code": known.code}
    return {"valueQuantity": quantity}


def _note(draft: Draft, key: str, row: Course) -> Element:
    code = {
        "coding": [{"system": LOINC, "code": "11506-3", "display": "Progress note"}],
        "text": "Diễn biến lâm sàng",
    }
    more = (
        ("Giai đoạn bệnh", row.giai_doan_benh),
        ("Hội chẩn", row.hoi_chan),
        ("Phẫu thuật", row.phau_thuat),
    )
    return prune({
        **_observation(draft, "exam", code, dated(row.thoi_diem_dbls), key),
        "performer": draft.practitioners(row.nguoi_thuc_hien),
        "valueString": row.dien_bien_ls,
        "component": [
            {"code": {"text": title}, "valueString": text} for title, text in more if text
        ],
    })


def _of_summary(draft: Draft) -> None:
    xml1 = draft.record.xml1
    moment = dated(xml1.ngay_vao)
    if xml1.can_nang:
        code = {
            "coding": [{"system": LOINC, "code": "29463-7", "display": "Body weight"}],
            "text": "Cân nặng",
        }
        weight = {
            "value": xml1.can_nang,
            "unit": "kg",
            "system": "http://unitsofmeasure.org",
            "code": "kg",
        }
        draft.add(
            "Observation/weight",
            prune({**_observation(draft, "vital-signs", code, moment), "valueQuantity": weight}),
        )
    if xml1.nhom_mau:
        code = {
            "coding": [
                {"system": LOINC, "code": "882-1", "display": "ABO and Rh group [Type] in Blood"}
            ],
            "text": "Nhóm máu",
        }
        group = {"text": xml1.nhom_mau}
        draft.add(
            "Observation/blood-group",
            prune({
                **_observation(draft, "laboratory", code, moment),
                "valueCodeableConcept": group,
            }),
        )
