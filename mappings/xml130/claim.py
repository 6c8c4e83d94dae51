"""The dossier's costs as Claim, every figure of the decree kept for the insurer's check."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from mappings.xml130 import code_tables
from mappings.xml130.condition import diagnosis_keys, key_of
from mappings.xml130.coverage import (
    SELF_PAY_KEY,
    card_keys,
    is_insured,
    payer,
    self_pay,
    stated_periods,
)
from mappings.xml130.draft import (
    Draft,
    Element,
    concept,
    dated,
    extensions,
    facility_reference,
    money,
    own,
    prune,
    row_keys,
    visit_identifier,
)
from mappings.xml130.procedure import is_procedure
from mappings.xml130.record import Drug, Record, Service

_CLAIM_TYPE: Final = "http://terminology.hl7.org/CodeSystem/claim-type"
_PRIORITY: Final = "http://terminology.hl7.org/CodeSystem/processpriority"
_DIAGNOSIS_TYPE: Final = "http://terminology.hl7.org/CodeSystem/ex-diagnosistype"
_INFORMATION: Final = "http://terminology.hl7.org/CodeSystem/claiminformationcategory"
_TOTALS: Final = (
    "t_thuoc", "t_vtyt", "t_tongchi_bv", "t_tongchi_bh", "t_bntt", "t_bncct", "t_bhtt",
    "t_nguonkhac", "t_bhtt_gdv",
)  # fmt: skip
_LINE_MONEY: Final = (
    "thanh_tien_bv", "thanh_tien_bh", "t_nguonkhac_nsnn", "t_nguonkhac_vtnn", "t_nguonkhac_vttn",
    "t_nguonkhac_cl", "t_nguonkhac", "t_bntt", "t_bncct", "t_bhtt",
)  # fmt: skip


def _named(fields: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((field, field.replace("_", "-")) for field in fields)


_TOTAL_NAMES: Final = _named(_TOTALS)
_MONEY_NAMES: Final = _named(_LINE_MONEY)


def has_costs(record: Record) -> bool:
    """Whether the dossier has a line that costs, or a total above 0."""
    xml1 = record.xml1
    return bool(record.xml2 or record.xml3 or xml1.t_tongchi_bv or xml1.t_tongchi_bh or xml1.t_bhtt)


def claim(draft: Draft) -> None:
    """Add the Claim of an XML dossier with costs, with the self-pay Coverage where no card pays."""
    record = draft.record
    if draft.kind != "xml" or not has_costs(record):
        return
    xml1 = record.xml1
    insured = is_insured(xml1)
    if not insured:
        self_pay(draft)
    information: list[Element] = []
    procedures: list[Element] = []
    items = _items(draft, information, procedures)
    diagnoses = diagnosis_keys(xml1)
    resource = prune({
        "resourceType": "Claim",
        "extension": _totals(record),
        "identifier": [visit_identifier(draft)],
        "status": "active",
        "type": {"coding": [{"system": _CLAIM_TYPE, "code": "institutional"}]},
        "use": "claim",
        "patient": draft.patient,
        "billablePeriod": prune({"start": dated(xml1.ngay_vao), "end": dated(xml1.ngay_ra)}),
        "created": dated(xml1.ngay_ttoan or xml1.ngay_ra or xml1.ngay_vao),
        "insurer": payer() if insured else None,
        "provider": draft.organization,
        "priority": {"coding": [{"system": _PRIORITY, "code": "normal"}]},
        "careTeam": _care_team(draft),
        "supportingInfo": [_encounter_information(draft), *information],
        "diagnosis": [
            prune({
                "sequence": n,
                "diagnosisReference": draft.to(key),
                "type": [{"coding": [{"system": _DIAGNOSIS_TYPE, "code": "principal"}]}]
                if n == 1
                else None,
            })
            for n, key in enumerate(diagnoses, 1)
        ],
        "procedure": procedures,
        "insurance": _insurance(draft, card_keys(xml1) if insured else [SELF_PAY_KEY]),
        "item": items,
        "total": money(xml1.t_tongchi_bv),
    })
    draft.add("Claim", draft.labelled(resource))


def _insurance(draft: Draft, keys: list[str]) -> list[Element]:
    stated = stated_periods(draft.record.xml1)
    return [
        # A card is renewed under the same code: what the dossier said of its day stays here.
        prune({
            "extension": stated.get(key),
            "sequence": n,
            "focal": n == 1,
            "coverage": draft.to(key),
        })
        for n, key in enumerate(keys, 1)
    ]


def _totals(record: Record) -> list[Element]:
    xml1 = record.xml1
    month = ""
    if xml1.nam_qt and xml1.thang_qt:
        month = f"{xml1.nam_qt}-{xml1.thang_qt.zfill(2)}"
    return extensions(
        *(own(name, "Money", money(getattr(xml1, field))) for field, name in _TOTAL_NAMES),
        own("ma-doituong-kcb", "Code", xml1.ma_doituong_kcb),
        own("ma-loai-kcb", "Code", xml1.ma_loai_kcb),
        own("ky-qt", "String", month),
        own("facility", "Reference", facility_reference(record.facility)),
    )


def _encounter_information(draft: Draft) -> Element:
    # A Claim without items still names its visit, which Claim itself has no element for.
    return {
        "sequence": 1,
        "category": {"coding": [{"system": _INFORMATION, "code": "info"}]},
        "valueReference": draft.encounter,
    }


def _team(record: Record) -> list[str]:
    """Return who ordered or did a line (MA_BAC_SI, NGUOI_THUC_HIEN), each once."""
    return list(dict.fromkeys(code for row in record.lines for code in _people_of(row)))


def _people_of(row: Drug | Service) -> list[str]:
    did = row.nguoi_thuc_hien if isinstance(row, Service) else ()
    return [code for code in dict.fromkeys((*row.ma_bac_si, *did)) if code]


def _care_team(draft: Draft) -> list[Element]:
    return [
        {"sequence": n, "provider": draft.practitioner(code)}
        for n, code in enumerate(_team(draft.record), 1)
    ]


def _items(draft: Draft, information: list[Element], procedures: list[Element]) -> list[Element]:
    record = draft.record
    items: list[Element] = []
    keys = row_keys(record.xml2) + row_keys(record.xml3)
    team = {code: n for n, code in enumerate(_team(record), 1)}
    for n, (key, row) in enumerate(zip(keys, record.lines, strict=True), 1):
        linked: Element = {"careTeamSequence": [team[code] for code in _people_of(row)]}
        if isinstance(row, Drug):
            number = len(information) + 2
            information.append({
                "sequence": number,
                "category": {"coding": [{"system": _INFORMATION, "code": "info"}]},
                "valueReference": draft.to(key),
            })
            linked["informationSequence"] = [number]
        elif is_procedure(row):
            number = len(procedures) + 1
            procedures.append({"sequence": number, "procedureReference": draft.to(key)})
            linked["procedureSequence"] = [number]
        items.append(_item(draft, n, key, row, linked))
    return items


def _item(draft: Draft, n: int, key: str, row: Drug | Service, linked: Element) -> Element:
    group = code_tables.COST_GROUP.coding(row.ma_nhom.lstrip("0"))
    return prune({
        "extension": _figures(key, row),
        "sequence": n,
        **_diagnoses(draft, row),
        **linked,
        "category": {"coding": [group]} if group else None,
        "productOrService": _product(row),
        "servicedDate": dated(row.ngay_yl.date()) if row.ngay_yl else None,
        "quantity": _quantity(row.so_luong, row.don_vi_tinh),
        "unitPrice": money(row.don_gia if isinstance(row, Drug) else row.don_gia_bv),
        "net": money(row.thanh_tien_bv),
        "encounter": [draft.encounter],
    })


def _quantity(value: Decimal | None, unit: str) -> Element | None:
    return prune({"value": value, "unit": unit}) if value is not None else None


def _product(row: Drug | Service) -> Element:
    if isinstance(row, Drug):
        found = concept("ma-thuoc", row.ma_thuoc, row.ten_thuoc)
    elif row.ma_vat_tu and not row.ma_dich_vu:
        found = concept("ma-vat-tu", row.ma_vat_tu, row.ten_vat_tu)
    else:
        found = concept("ma-dich-vu", row.ma_dich_vu, row.ten_dich_vu)
        if row.ma_vat_tu:
            supply = concept("ma-vat-tu", row.ma_vat_tu, row.ten_vat_tu)
            found["coding"] = [*found.get("coding", []), *supply["coding"]]
    return found or {"text": "Không ghi"}


def _diagnoses(draft: Draft, row: Drug | Service) -> Element:
    if isinstance(row, Drug):
        return {}
    xml1 = draft.record.xml1
    keys = diagnosis_keys(xml1)
    found = [key_of(xml1, code) for code in dict.fromkeys(row.ma_benh)]
    return {"diagnosisSequence": [keys.index(key) + 1 for key in found if key]}


def _figures(key: str, row: Drug | Service) -> list[Element]:
    service = row if isinstance(row, Service) else None
    return extensions(
        own("line", "String", key),
        *(own(name, "Money", money(getattr(row, field))) for field, name in _MONEY_NAMES),
        own("don-gia-bh", "Money", money(service.don_gia_bh if service else None)),
        own("t-trantt", "Money", money(service.t_trantt if service else None)),
        own("tyle-tt-bh", "Decimal", row.tyle_tt_bh),
        own("tyle-tt-dv", "Decimal", service.tyle_tt_dv if service else None),
        own("muc-huong", "Decimal", row.muc_huong),
        own("pham-vi", "Code", row.pham_vi),
        own("ma-pttt", "Code", row.ma_pttt),
        own("ngay-yl", "DateTime", dated(row.ngay_yl)),
    )
