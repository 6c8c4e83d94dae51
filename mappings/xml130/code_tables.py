"""The code tables of the dossier, each loaded once: `codes.SEX.coding("1")`."""

from __future__ import annotations

from typing import Final

from mappings.terminology.concept_map import ConceptMap, load


def _table(name: str) -> ConceptMap:
    return load("mappings.xml130", name)


SEX: Final = _table("gioi_tinh")
RESULT: Final = _table("ket_qua_dtri")
DISCHARGE: Final = _table("ma_loai_rv")
DISPOSITION: Final = _table("discharge_disposition")
VISIT_FORM: Final = _table("ma_loai_kcb")
ENCOUNTER_CLASS: Final = _table("encounter_class")
COVERAGE_CASE: Final = _table("ma_doituong_kcb")
ETHNIC: Final = _table("ma_dantoc")
PROVINCE: Final = _table("ma_tinh")
COST_GROUP: Final = _table("ma_nhom")
SCOPE: Final = _table("pham_vi")
PAYMENT_METHOD: Final = _table("ma_pttt")
DRUG_SOURCE: Final = _table("nguon_ctra")
ANAESTHESIA: Final = _table("pp_vo_cam")
LIVING_AREA: Final = _table("ma_khuvuc")
UCUM: Final = _table("ucum")
