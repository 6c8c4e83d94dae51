"""The dossier as typed, frozen, in the decree's own field names.

A text that is empty is `""`; a date, number or list that is empty or cannot be read is None or
`()`, and then stands among the row's flaws. The normalised text of every field is kept beside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Final, Literal

import msgspec

from mappings.xml130.read import Birth, Flaw, plain_number
from mappings.xml130.tables import TABLES, Table

Kind = Literal["xml", "fields16"]
"""Whether a record came as XML tables or as the sixteen fields."""

WITHDRAWAL: Final = "8"
"""MA_DOITUONG_KCB that withdraws the visit (QĐ 3276/2025, "thu hồi đề nghị thanh toán")."""


@dataclass(frozen=True, slots=True)
class RecordIssue:
    """One finding about a dossier, as the receipt shows it.

    Attributes:
        severity: "error" refuses the dossier, "warning" does not.
        rule: `Gnn`, `Gnn-DETAIL` or a name of contract section 5.
        field: `XML1.NGAY_VAO`, or `XML2[3].SO_LUONG`, counted from 1.
        message: One whole English sentence, without any of the patient's data.
        message_vi: The same in Vietnamese.
    """

    severity: Literal["error", "warning"]
    rule: str
    field: str
    message: str
    message_vi: str


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a table: the normalised text of its fields that are not empty, and its flaws."""

    table: str
    n: int
    texts: dict[str, str] = {}
    flaws: tuple[Flaw, ...] = ()

    def path(self, name: str) -> str:
        """Return the field's path in a receipt."""
        return f"{self.table}.{name}" if self.table == "XML1" else f"{self.table}[{self.n}].{name}"


class Summary(Row, frozen=True, kw_only=True):
    """XML1, the summary of the visit (tổng hợp)."""

    ma_lk: str = ""
    stt: str = ""
    ma_bn: str = ""
    ho_ten: str = ""
    so_cccd: str = ""
    ngay_sinh: Birth | None = None
    gioi_tinh: str = ""
    nhom_mau: str = ""
    ma_quoctich: str = ""
    ma_dantoc: str = ""
    ma_nghe_nghiep: str = ""
    dia_chi: str = ""
    matinh_cu_tru: str = ""
    mahuyen_cu_tru: str = ""
    maxa_cu_tru: str = ""
    dien_thoai: str = ""
    ma_the_bhyt: tuple[str, ...] = ()
    ma_dkbd: tuple[str, ...] = ()
    gt_the_tu: tuple[date | None, ...] = ()
    gt_the_den: tuple[date | None, ...] = ()
    ngay_mien_cct: date | None = None
    ly_do_vv: str = ""
    ly_do_vnt: str = ""
    ma_ly_do_vnt: str = ""
    chan_doan_vao: str = ""
    chan_doan_rv: str = ""
    ma_benh_chinh: str = ""
    ma_benh_kt: tuple[str, ...] = ()
    ma_benh_yhct: str = ""
    ma_pttt_qt: str = ""
    ma_doituong_kcb: str = ""
    ma_noi_di: str = ""
    ma_noi_den: str = ""
    ma_tai_nan: str = ""
    ngay_vao: datetime | None = None
    ngay_vao_noi_tru: datetime | None = None
    ngay_ra: datetime | None = None
    giay_chuyen_tuyen: str = ""
    so_ngay_dtri: Decimal | None = None
    pp_dieu_tri: str = ""
    ket_qua_dtri: str = ""
    ma_loai_rv: str = ""
    ghi_chu: str = ""
    ngay_ttoan: datetime | None = None
    t_thuoc: Decimal | None = None
    t_vtyt: Decimal | None = None
    t_tongchi_bv: Decimal | None = None
    t_tongchi_bh: Decimal | None = None
    t_bntt: Decimal | None = None
    t_bncct: Decimal | None = None
    t_bhtt: Decimal | None = None
    t_nguonkhac: Decimal | None = None
    t_bhtt_gdv: Decimal | None = None
    nam_qt: str = ""
    thang_qt: str = ""
    ma_loai_kcb: str = ""
    ma_khoa: tuple[str, ...] = ()
    ma_cskcb: str = ""
    ma_khuvuc: str = ""
    can_nang: Decimal | None = None
    can_nang_con: str = ""
    nam_nam_lien_tuc: date | None = None
    ngay_tai_kham: tuple[date | None, ...] = ()
    ma_hsba: str = ""
    ma_ttdv: str = ""
    du_phong: str = ""


class Drug(Row, frozen=True, kw_only=True):
    """One line of XML2: a drug (thuốc)."""

    ma_lk: str = ""
    stt: str = ""
    ma_thuoc: str = ""
    ma_pp_chebien: str = ""
    ma_cskcb_thuoc: str = ""
    ma_nhom: str = ""
    ten_thuoc: str = ""
    don_vi_tinh: str = ""
    ham_luong: str = ""
    duong_dung: str = ""
    dang_bao_che: str = ""
    lieu_dung: str = ""
    cach_dung: str = ""
    so_dang_ky: str = ""
    tt_thau: str = ""
    pham_vi: str = ""
    tyle_tt_bh: Decimal | None = None
    so_luong: Decimal | None = None
    don_gia: Decimal | None = None
    thanh_tien_bv: Decimal | None = None
    thanh_tien_bh: Decimal | None = None
    t_nguonkhac_nsnn: Decimal | None = None
    t_nguonkhac_vtnn: Decimal | None = None
    t_nguonkhac_vttn: Decimal | None = None
    t_nguonkhac_cl: Decimal | None = None
    t_nguonkhac: Decimal | None = None
    muc_huong: Decimal | None = None
    t_bntt: Decimal | None = None
    t_bncct: Decimal | None = None
    t_bhtt: Decimal | None = None
    ma_khoa: tuple[str, ...] = ()
    ma_bac_si: tuple[str, ...] = ()
    ma_dich_vu: str = ""
    ngay_yl: datetime | None = None
    ngay_th_yl: datetime | None = None
    ma_pttt: str = ""
    nguon_ctra: str = ""
    vet_thuong_tp: str = ""
    du_phong: str = ""


class Service(Row, frozen=True, kw_only=True):
    """One line of XML3: a service or supply (DVKT, VTYT)."""

    ma_lk: str = ""
    stt: str = ""
    ma_dich_vu: str = ""
    ma_pttt_qt: str = ""
    ma_vat_tu: str = ""
    ma_nhom: str = ""
    goi_vtyt: str = ""
    ten_vat_tu: str = ""
    ten_dich_vu: str = ""
    ma_xang_dau: str = ""
    don_vi_tinh: str = ""
    pham_vi: str = ""
    so_luong: Decimal | None = None
    don_gia_bv: Decimal | None = None
    don_gia_bh: Decimal | None = None
    tt_thau: str = ""
    tyle_tt_dv: Decimal | None = None
    tyle_tt_bh: Decimal | None = None
    thanh_tien_bv: Decimal | None = None
    thanh_tien_bh: Decimal | None = None
    t_trantt: Decimal | None = None
    muc_huong: Decimal | None = None
    t_nguonkhac_nsnn: Decimal | None = None
    t_nguonkhac_vtnn: Decimal | None = None
    t_nguonkhac_vttn: Decimal | None = None
    t_nguonkhac_cl: Decimal | None = None
    t_nguonkhac: Decimal | None = None
    t_bntt: Decimal | None = None
    t_bncct: Decimal | None = None
    t_bhtt: Decimal | None = None
    ma_khoa: tuple[str, ...] = ()
    ma_giuong: str = ""
    ma_bac_si: tuple[str, ...] = ()
    nguoi_thuc_hien: tuple[str, ...] = ()
    ma_benh: tuple[str, ...] = ()
    ma_benh_yhct: str = ""
    ngay_yl: datetime | None = None
    ngay_th_yl: datetime | None = None
    ngay_kq: datetime | None = None
    ma_pttt: str = ""
    vet_thuong_tp: str = ""
    pp_vo_cam: str = ""
    vi_tri_th_dvkt: str = ""
    ma_may: str = ""
    ma_hieu_sp: str = ""
    tai_su_dung: str = ""
    du_phong: str = ""


class Result(Row, frozen=True, kw_only=True):
    """One line of XML4: a result (cận lâm sàng)."""

    ma_lk: str = ""
    stt: str = ""
    ma_dich_vu: str = ""
    ma_chi_so: str = ""
    ten_chi_so: str = ""
    gia_tri: str = ""
    don_vi_do: str = ""
    mo_ta: str = ""
    ket_luan: str = ""
    ngay_kq: datetime | None = None
    ma_bs_doc_kq: tuple[str, ...] = ()
    du_phong: str = ""


class Course(Row, frozen=True, kw_only=True):
    """One line of XML5: a note of the clinical course (diễn biến)."""

    ma_lk: str = ""
    stt: str = ""
    dien_bien_ls: str = ""
    giai_doan_benh: str = ""
    hoi_chan: str = ""
    phau_thuat: str = ""
    thoi_diem_dbls: datetime | None = None
    nguoi_thuc_hien: tuple[str, ...] = ()
    du_phong: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One dossier: the visit's summary, its lines, and the rows of the tables kept for later."""

    xml1: Summary
    xml2: tuple[Drug, ...] = ()
    xml3: tuple[Service, ...] = ()
    xml4: tuple[Result, ...] = ()
    xml5: tuple[Course, ...] = ()
    others: Mapping[str, tuple[Row, ...]] = field(default_factory=dict)

    @property
    def facility(self) -> str:
        """The facility's code, MA_CSKCB."""
        return self.xml1.ma_cskcb or self.xml1.texts.get("MA_CSKCB", "")

    @property
    def key(self) -> tuple[str, str]:
        """The dossier's key, (MA_CSKCB, MA_LK)."""
        return self.facility, self.xml1.ma_lk

    @property
    def is_withdrawal(self) -> bool:
        """Whether the dossier withdraws the visit, whatever else is in it."""
        return self.xml1.ma_doituong_kcb == WITHDRAWAL

    @property
    def lines(self) -> tuple[Drug | Service, ...]:
        """The lines that cost money: XML2, then XML3."""
        return (*self.xml2, *self.xml3)

    def rows(self) -> tuple[Row, ...]:
        """Return every row of every table, the summary first."""
        rest = (row for rows in self.others.values() for row in rows)
        return (self.xml1, *self.xml2, *self.xml3, *self.xml4, *self.xml5, *rest)


@dataclass(frozen=True, slots=True)
class Dossier:
    """One dossier of a submission, counted from 1; without a record where it cannot be read."""

    n: int
    ma_lk: str | None
    record: Record | None = None
    issues: tuple[RecordIssue, ...] = ()


@dataclass(frozen=True, slots=True)
class Envelope:
    """A submission: who sent it, and its dossiers.

    Attributes:
        facility: The code in THONGTINDONVI; None where there is none.
        created: NGAYLAP as sent.
        count: SOLUONGHOSO as sent.
        signed: Whether CHUKYDONVI holds something; `adapters.xml130.signature` verifies it.
        dossiers: The dossiers in order.
        issues: What concerns the envelope itself.
    """

    facility: str | None
    created: str | None
    count: str | None
    signed: bool
    dossiers: tuple[Dossier, ...]
    issues: tuple[RecordIssue, ...] = ()


def fingerprint(record: Record) -> str:
    """Return a hash that is equal for dossiers that are "unchanged" (contract section 5).

    Every field of every table counts, trimmed, in NFC, numbers without needless zeros; the order
    of tables and rows, NGAYLAP, CHUKYDONVI and XML1.STT do not.
    """
    tables: dict[str, list[str]] = {}
    for row in record.rows():
        tables.setdefault(row.table, []).append(_canonical(row, TABLES[row.table]))
    digest = hashlib.sha256()
    for name in sorted(tables):
        # Rows are matched by STT, which is among their fields: sorted whole, they are in one order.
        for line in sorted(tables[name]):
            digest.update(f"{name}\x1d{line}\x1e".encode())
    return digest.hexdigest()


def _canonical(row: Row, table: Table) -> str:
    numeric = table.numeric
    fields = sorted(
        f"{name}\x1f{plain_number(text) if name in numeric else text}"
        for name, text in row.texts.items()
        if not (name == "STT" and row.table == "XML1")
    )
    return "\x1d".join(fields)
