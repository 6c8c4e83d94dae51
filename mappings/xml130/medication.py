"""XML2 as MedicationRequest, one a line."""

from __future__ import annotations

from fhir_server.model.identifiers import code_system
from mappings.xml130.draft import (
    Draft,
    Element,
    as_code,
    concept,
    dated,
    extensions,
    own,
    prune,
    row_keys,
)
from mappings.xml130.record import Drug


def medications(draft: Draft) -> None:
    """Add the drugs ordered at the visit."""
    rows = draft.record.xml2
    for key, row in zip(row_keys(rows), rows, strict=True):
        draft.add(key, draft.labelled(_request(draft, key, row)))


def _request(draft: Draft, key: str, row: Drug) -> Element:
    requesters = draft.practitioners(row.ma_bac_si)
    return prune({
        "resourceType": "MedicationRequest",
        "extension": extensions(
            own("line", "String", key),
            own("strength", "String", row.ham_luong),
            own("dose-form", "String", row.dang_bao_che),
            own("registration-number", "String", row.so_dang_ky),
            own("executed", "DateTime", dated(row.ngay_th_yl)),
        ),
        "status": "completed",
        "intent": "order",
        "medicationCodeableConcept": concept("ma-thuoc", row.ma_thuoc, row.ten_thuoc),
        "subject": draft.patient,
        "encounter": draft.encounter,
        "authoredOn": dated(row.ngay_yl),
        "requester": requesters[0] if requesters else None,
        "dosageInstruction": _dosage(row),
        "dispenseRequest": _dispense(row),
    })


def _dosage(row: Drug) -> list[Element] | None:
    text = "; ".join(part for part in (row.lieu_dung, row.cach_dung) if part)
    route = None
    if row.duong_dung:
        route = {"coding": [{"system": code_system("duong-dung"), "code": as_code(row.duong_dung)}]}
    dosage = prune({"text": text, "patientInstruction": row.cach_dung, "route": route})
    return [dosage] if dosage else None


def _dispense(row: Drug) -> Element | None:
    if row.so_luong is None:
        return None
    return {"quantity": prune({"value": row.so_luong, "unit": row.don_vi_tinh})}
