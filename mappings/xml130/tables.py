"""The tables of a dossier as data: fields, kinds, lengths, and the elements that wrap them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Final

NUMERIC: Final = frozenset({"number", "digits"})


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a table.

    Attributes:
        name: The decree's name, such as `NGAY_VAO`.
        kind: How its text is read: text, number, digits, time, day, day-or-time, days, birth,
            paper, listed, list, icd, icds, facility, facilities.
        max_length: The wider of the legal and the portal's length; None where there is none.
        required: "Y" where an empty field refuses the dossier, "W" where it only warns, else "".
    """

    name: str
    kind: str
    max_length: int | None
    required: str


@dataclass(frozen=True)
class Table:
    """One table of the decree.

    Attributes:
        name: The LOAIHOSO, such as `XML2`.
        elements: Root, list and item element; only the root where the table has one row.
        fields: The fields by name.
    """

    name: str
    elements: tuple[str, ...]
    fields: dict[str, Field]

    @cached_property
    def required(self) -> frozenset[str]:
        """The fields that refuse the dossier when empty (contract section 5, G12-REQUIRED)."""
        return frozenset(name for name, field in self.fields.items() if field.required == "Y")

    @cached_property
    def wanted(self) -> frozenset[str]:
        """The fields that only warn when empty."""
        return frozenset(name for name, field in self.fields.items() if field.required == "W")

    @cached_property
    def numeric(self) -> frozenset[str]:
        """The fields whose text is compared as a number."""
        names = {name for name, field in self.fields.items() if field.kind in NUMERIC}
        # Typed number in the annex and text by the portal: "1" is sent for "01".
        return frozenset(names | ({"MA_LOAI_KCB"} & self.fields.keys()))


_ARV: Final = "HO_SO_BENH_AN_CHAM_SOC_VA_DIEU_TRI_HIV_AIDS"
_LEAVE: Final = "CHI_TIEU_DU_LIEU_GIAY_CHUNG_NHAN_NGHI_VIEC_HUONG_BAO_HIEM_XA_HOI"
ELEMENTS: Final[dict[str, tuple[str, ...]]] = {
    # Letter 1245/BHXH-CNTT (2024), annex; XML12 is typed on the portal and has no element names.
    "XML0": ("CHI_TIEU_TRANG_THAI_KCB", "DSACH_TRANG_THAI_KCB", "TRANG_THAI_KCB"),
    "XML1": ("TONG_HOP",),
    "XML2": ("CHITIEU_CHITIET_THUOC", "DSACH_CHI_TIET_THUOC", "CHI_TIET_THUOC"),
    "XML3": ("CHITIEU_CHITIET_DVKT_VTYT", "DSACH_CHI_TIET_DVKT", "CHI_TIET_DVKT"),
    "XML4": ("CHITIEU_CHITIET_DICHVUCANLAMSANG", "DSACH_CHI_TIET_CLS", "CHI_TIET_CLS"),
    "XML5": (
        "CHITIEU_CHITIET_DIENBIENLAMSANG",
        "DSACH_CHI_TIET_DIEN_BIEN_BENH",
        "CHI_TIET_DIEN_BIEN_BENH",
    ),
    "XML6": (f"CHI_TIEU_{_ARV}", f"DSACH_{_ARV}", _ARV),
    "XML7": ("CHI_TIEU_DU_LIEU_GIAY_RA_VIEN",),
    "XML8": ("CHI_TIEU_DU_LIEU_TOM_TAT_HO_SO_BENH_AN",),
    "XML9": (
        "CHI_TIEU_DU_LIEU_GIAY_CHUNG_SINH",
        "DSACH_GIAYCHUNGSINH",
        "DU_LIEU_GIAY_CHUNG_SINH",
    ),
    "XML10": ("CHI_TIEU_DU_LIEU_GIAY_NGHI_DUONG_THAI",),
    "XML11": (_LEAVE,),
    "XML12": (),
    "XML13": ("CHI_TIEU_GIAYCHUYENTUYEN",),
    "XML14": ("CHI_TIEU_GIAYHEN_KHAMLAI",),
    "XML15": (
        "CHI_TIEU_DIEUTRI_BENHLAO",
        "DSACH_CHITIET_DIEUTRI_BENHLAO",
        "CHITIET_DIEUTRI_BENHLAO",
    ),
}


def _load() -> dict[str, Table]:
    text = files("mappings.xml130").joinpath("fields.csv").read_text("utf-8")
    fields: dict[str, dict[str, Field]] = {name: {} for name in ELEMENTS}
    for line in csv.DictReader(text.splitlines()[1:]):
        limit = int(line["max"]) if line["max"] else None
        fields[line["table"]][line["field"]] = Field(
            line["field"], line["kind"], limit, line["required"]
        )
    return {name: Table(name, ELEMENTS[name], fields[name]) for name in ELEMENTS}


TABLES: Final[dict[str, Table]] = _load()
"""Every table by its LOAIHOSO; XML0 is the check-in, which no dossier holds."""
