"""Extract the compact field table `fields.csv` from the annex's machine-readable field tables.

Run: `python -m mappings.xml130.extract ../shared/domain/xml_fields.json`. The facts are those of
the annex of QĐ 4750/QĐ-BYT and of the insurance portal's validation workbook; what QĐ 3176 and
QĐ 1931 change is applied here, so that the table holds the names and lengths in force.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

TARGET: Final = Path(__file__).with_name("fields.csv")
HEADER: Final = ("table", "field", "kind", "max", "required")

LISTED: Final = {
    ("XML1", "GIOI_TINH"),
    ("XML1", "KET_QUA_DTRI"),
    ("XML1", "MA_LOAI_RV"),
    ("XML1", "MA_LOAI_KCB"),
    ("XML1", "MA_DOITUONG_KCB"),
}
KINDS: Final[dict[str, str]] = {
    "NGAY_SINH": "birth",
    "NGAY_MIEN_CCT": "day-or-time",
    "NAM_NAM_LIEN_TUC": "day-or-time",  # VAL4750: "như trường NGAY_MIEN_CCT"
    "SO_CCCD": "paper",
    "MA_THE_BHYT": "list",
    "MA_KHOA": "list",
    "MA_BAC_SI": "list",
    "NGUOI_THUC_HIEN": "list",
    "MA_BS_DOC_KQ": "list",
    "MA_CSKCB": "facility",
    "MA_NOI_DI": "facility",
    "MA_NOI_DEN": "facility",
    "MA_CSKCB_DI": "facility",
    "MA_CSKCB_DEN": "facility",
    "MA_DKBD": "facilities",
    "GT_THE_TU": "days",
    "GT_THE_DEN": "days",
    "NGAY_TAI_KHAM": "days",
    "MA_BENH_CHINH": "icd",
    "MA_BENH_KT": "icds",
    "MA_BENH": "icds",
    "CAN_NANG": "number",  # typed C6 in the annex, "weight kg, 2 decimals"
}
DIGITS: Final = {
    "STT", "MA_QUOCTICH", "MA_DANTOC", "MA_NHOM", "PHAM_VI", "MA_PTTT", "NGUON_CTRA",
    "VET_THUONG_TP", "PP_VO_CAM", "VI_TRI_TH_DVKT", "TAI_SU_DUNG", "NAM_QT", "THANG_QT",
}  # fmt: skip
"""Codes that the annex types as numbers: kept as text, since `000` is a code."""
RENAMED_3176: Final = {"MA_NOI_DI": "MA_CSKCB_DI", "MA_NOI_DEN": "MA_CSKCB_DEN"}
DROPPED_3176: Final = {"TEN_DICH_VU", "TEN_THUOC", "PP_DIEU_TRI", "TOMTAT_KQ"}
NOT_ENFORCED: Final = {"MAHUYEN_CU_TRU", "CAN_NANG"}  # no districts since 01/07/2025


def kind_of(table: str, field: dict[str, Any]) -> str:
    """Return how a field's text is read."""
    name, both = field["field"], (field["legal_type"], field["portal_type"])
    if (table, name) in LISTED:
        return "listed"
    if name == "NGAY_SINH" and field["legal_len"] == "8":
        return "day"
    if name in KINDS:
        return KINDS[name]
    if both == ("N", "N"):
        return "digits" if name in DIGITS else "number"
    if "C" in both and "N" in both and field["legal_len"] in {"8", "12"}:
        return "time" if field["legal_len"] == "12" else "day"
    return "time" if name == "THOI_DIEM_DBLS" else "text"


def longest(field: dict[str, Any]) -> str:
    """Return the wider of the two lengths, empty where one of them has no limit."""
    if field["field"] == "MUC_HUONG":
        return "4"  # QĐ 1931/QĐ-BYT, from 01/07/2026
    if "n" in {field["legal_len"], field["portal_max"]}:
        return ""
    return str(max(int(field["legal_len"]), int(field["portal_max"])))


def rows(tables: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the lines of `fields.csv`."""
    lines: list[tuple[str, ...]] = []
    for table, content in tables.items():
        for field in content["fields"]:
            name = field["field"]
            required = "Y" if field["required"] == "Y" else ""
            if name in NOT_ENFORCED and required:
                required = "W"
            if table == "XML13" and name in DROPPED_3176:
                required = ""
            line = (kind_of(table, field), longest(field), required)
            lines.append((table, name, *line))
            if table == "XML13" and name in RENAMED_3176:
                lines.append((table, RENAMED_3176[name], *line))
        if table == "XML13":
            lines.append((table, "TINH_TRANG_CT", "text", "", ""))
    return lines


def main(source: str, target: Path = TARGET) -> None:
    """Write the field table, beside this module if nowhere else."""
    tables = msgspec.json.decode(Path(source).read_bytes())["tables"]
    with target.open("w", encoding="utf-8", newline="") as file:
        file.write(
            "# Fields of QĐ 130/4750/3176/1931 (annex and portal workbook);"
            " made by mappings/xml130/extract.py. required: Y refuses, W warns.\n"
        )
        out = csv.writer(file, lineterminator="\n")
        out.writerow(HEADER)
        out.writerows(rows(tables))


if __name__ == "__main__":  # pragma: no cover - the script
    main(sys.argv[1])
