"""The services of XML3 as Procedure; beds, transport and supplies stand in the Claim alone."""

from __future__ import annotations

from typing import Any, Final

from fhir_server.model.identifiers import code_system
from mappings.xml130 import code_tables
from mappings.xml130.condition import icd_codings, key_of
from mappings.xml130.draft import (
    Draft,
    Element,
    as_code,
    code_list,
    concept,
    dated,
    extensions,
    own,
    prune,
    row_keys,
)
from mappings.xml130.encounter import ICD9
from mappings.xml130.record import Service

NOT_DONE_TO_A_PERSON: Final = frozenset({"10", "11", "12", "14", "15", "16"})
"""Cost groups of supplies, transport and beds (QĐ 5937/QĐ-BYT, annex 3)."""


def is_procedure(row: Service) -> bool:
    """Whether the line is a service done: an operation, a test, an examination."""
    return bool(row.ma_dich_vu) and row.ma_nhom.lstrip("0") not in NOT_DONE_TO_A_PERSON


def procedures(draft: Draft) -> None:
    """Add the services done at the visit."""
    rows = draft.record.xml3
    for key, row in zip(row_keys(rows), rows, strict=True):
        if is_procedure(row):
            draft.add(key, draft.labelled(_procedure(draft, key, row)))


def _procedure(draft: Draft, key: str, row: Service) -> Element:
    group = code_tables.COST_GROUP.coding(row.ma_nhom.lstrip("0"))
    code = concept("ma-dich-vu", row.ma_dich_vu, row.ten_dich_vu)
    more = [{"system": ICD9, "code": part} for part in code_list(row.ma_pttt_qt)]
    if more:
        code["coding"] = [*code.get("coding", []), *more]
    anaesthesia = code_tables.ANAESTHESIA.coding(row.pp_vo_cam)
    ordered_by = draft.practitioners(row.ma_bac_si)
    performers = draft.practitioners(row.nguoi_thuc_hien)
    site = None
    if row.vi_tri_th_dvkt:
        site = [
            {"coding": [{"system": code_system("vi-tri"), "code": as_code(row.vi_tri_th_dvkt)}]}
        ]
    return prune({
        "resourceType": "Procedure",
        "extension": extensions(
            own("line", "String", key),
            own("ordered", "DateTime", dated(row.ngay_yl)),
            own("anaesthesia", "Coding", anaesthesia),
        ),
        "status": "completed",
        "category": {"coding": [group], "text": group["display"]} if group else None,
        "code": code,
        "subject": draft.patient,
        "encounter": draft.encounter,
        **_performed(row),
        "recorder": ordered_by[0] if ordered_by else None,
        "performer": [{"actor": performer} for performer in performers],
        **_reasons(draft, row),
        "bodySite": site,
    })


def _performed(row: Service) -> dict[str, Any]:
    start, end = row.ngay_th_yl or row.ngay_yl, row.ngay_kq
    if start and end and end >= start and row.ngay_th_yl:
        return {"performedPeriod": {"start": dated(start), "end": dated(end)}}
    return {"performedDateTime": dated(start)}


def _reasons(draft: Draft, row: Service) -> dict[str, Any]:
    xml1 = draft.record.xml1
    references: list[Element] = []
    codes: list[Element] = []
    for code in dict.fromkeys(row.ma_benh):
        key = key_of(xml1, code)
        if key:
            references.append(draft.to(key))
        elif code:
            codes.append({"coding": icd_codings(code)})
    return {"reasonCode": codes, "reasonReference": references}
