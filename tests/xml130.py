"""Build synthetic dossiers: `envelope([dossier(xml1(...), xml2=[...])])` gives the bytes to send.

People, cards and codes are invented. Every default is complete and without findings, so a test
names only what it is about.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from mappings.xml130.tables import TABLES

Fields = Mapping[str, str]

XML1: dict[str, str] = {
    "MA_LK": "LK-2026-000001",
    "STT": "1",
    "MA_BN": "BN-000001",
    "HO_TEN": "NGUYỄN THỊ MẪU",
    "SO_CCCD": "001195012345",
    "NGAY_SINH": "199503070000",
    "GIOI_TINH": "2",
    "NHOM_MAU": "",
    "MA_QUOCTICH": "000",
    "MA_DANTOC": "01",
    "MA_NGHE_NGHIEP": "00000",
    "DIA_CHI": "Số 1 phố Mẫu",
    "MATINH_CU_TRU": "01",
    "MAHUYEN_CU_TRU": "001",
    "MAXA_CU_TRU": "00004",
    "DIEN_THOAI": "",
    "MA_THE_BHYT": "DN4010123456789",
    "MA_DKBD": "01999",
    "GT_THE_TU": "20260101",
    "GT_THE_DEN": "20261231",
    "LY_DO_VV": "Ho, sốt 2 ngày",
    "CHAN_DOAN_VAO": "Viêm họng",
    "CHAN_DOAN_RV": "Viêm họng cấp",
    "MA_BENH_CHINH": "J02.9",
    "MA_DOITUONG_KCB": "1.1",
    "NGAY_VAO": "202611200815",
    "NGAY_RA": "202611200950",
    "SO_NGAY_DTRI": "0",
    "KET_QUA_DTRI": "2",
    "MA_LOAI_RV": "1",
    "T_THUOC": "0",
    "T_VTYT": "0",
    "T_TONGCHI_BV": "0",
    "T_TONGCHI_BH": "0",
    "T_BNTT": "0",
    "T_BNCCT": "0",
    "T_BHTT": "0",
    "T_NGUONKHAC": "0",
    "T_BHTT_GDV": "0",
    "NAM_QT": "2026",
    "THANG_QT": "11",
    "MA_LOAI_KCB": "01",
    "MA_KHOA": "K01",
    "MA_CSKCB": "01999",
    "CAN_NANG": "52.50",
    "MA_HSBA": "HSBA-1",
}
_MONEY_LINE: dict[str, str] = {
    "PHAM_VI": "1",
    "TYLE_TT_BH": "100",
    "SO_LUONG": "10",
    "THANH_TIEN_BV": "10000",
    "THANH_TIEN_BH": "10000",
    "T_NGUONKHAC_NSNN": "0",
    "T_NGUONKHAC_VTNN": "0",
    "T_NGUONKHAC_VTTN": "0",
    "T_NGUONKHAC_CL": "0",
    "T_NGUONKHAC": "0",
    "MUC_HUONG": "80",
    "T_BNTT": "0",
    "T_BNCCT": "2000",
    "T_BHTT": "8000",
    "MA_KHOA": "K01",
    "MA_BAC_SI": "000001/HNO-CCHN",
    "NGAY_YL": "202611200830",
    "MA_PTTT": "1",
}
XML2: dict[str, str] = {
    "MA_THUOC": "40.48",
    "MA_NHOM": "4",
    "TEN_THUOC": "Paracetamol",
    "DON_VI_TINH": "Viên",
    "HAM_LUONG": "500mg",
    "DUONG_DUNG": "1.01",
    "LIEU_DUNG": "1 viên/lần * 2 lần/ngày * 5 ngày",
    "CACH_DUNG": "Uống sau ăn",
    "TT_THAU": "QD1;G1;N1;2026",
    "DON_GIA": "1000",
    "NGUON_CTRA": "1",
    **_MONEY_LINE,
}
XML3: dict[str, str] = {
    "MA_DICH_VU": "23.0075.1494",
    "MA_NHOM": "1",
    "TEN_DICH_VU": "Định lượng Glucose",
    "DON_VI_TINH": "Lần",
    "DON_GIA_BV": "10000",
    "DON_GIA_BH": "10000",
    "TYLE_TT_DV": "100",
    "MA_BENH": "J02.9",
    "NGUOI_THUC_HIEN": "000002/HNO-CCHN",
    "NGAY_TH_YL": "202611200840",
    "NGAY_KQ": "202611200900",
    **_MONEY_LINE,
    "SO_LUONG": "1",
}
XML4: dict[str, str] = {
    "MA_DICH_VU": "23.0075.1494",
    "MA_CHI_SO": "GLU",
    "TEN_CHI_SO": "Glucose",
    "GIA_TRI": "5.60",
    "DON_VI_DO": "mmol/L",
    "NGAY_KQ": "202611200900",
    "MA_BS_DOC_KQ": "000002/HNO-CCHN",
}
XML5: dict[str, str] = {
    "DIEN_BIEN_LS": "Tỉnh, họng đỏ, phổi trong",
    "THOI_DIEM_DBLS": "202611200820",
    "NGUOI_THUC_HIEN": "000001/HNO-CCHN",
}
DEFAULTS = {"XML1": XML1, "XML2": XML2, "XML3": XML3, "XML4": XML4, "XML5": XML5}


def visit(**changed: str) -> dict[str, str]:
    """Return the fields of an XML1, complete but for what is changed."""
    return {**XML1, **changed}


def rows(table: str, count: int, **changed: str) -> list[dict[str, str]]:
    """Return `count` complete lines of a detail table, numbered from 1."""
    return [
        {"MA_LK": XML1["MA_LK"], "STT": str(n), **DEFAULTS[table], **changed}
        for n in range(1, count + 1)
    ]


def costs(drugs: int = 0, services: int = 0) -> dict[str, str]:
    """Return XML1's totals for that many default lines."""
    lines = drugs + services
    return {
        "T_THUOC": str(10000 * drugs),
        "T_TONGCHI_BV": str(10000 * lines),
        "T_TONGCHI_BH": str(10000 * lines),
        "T_BNCCT": str(2000 * lines),
        "T_BHTT": str(8000 * lines),
        "T_BHTT_GDV": str(8000 * lines),
    }


def _element(fields: Fields, tag: str) -> str:
    inside = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in fields.items())
    return f"<{tag}>{inside}</{tag}>"


def table(name: str, lines: Sequence[Fields]) -> bytes:
    """Return the inner XML of one table."""
    elements = TABLES[name].elements
    if len(elements) == 1:
        body = "".join(_element(line, elements[0]) for line in lines)
    else:
        body = "".join(_element(line, elements[2]) for line in lines)
        body = f"<{elements[0]}><{elements[1]}>{body}</{elements[1]}></{elements[0]}>"
    return ('<?xml version="1.0" encoding="utf-8"?>' + body).encode()


def file(name: str, content: bytes | str) -> str:
    """Return one FILEHOSO; bytes are put in base64, a string is taken as it is."""
    text = base64.b64encode(content).decode() if isinstance(content, bytes) else content
    return f"<FILEHOSO><LOAIHOSO>{name}</LOAIHOSO><NOIDUNGFILE>{text}</NOIDUNGFILE></FILEHOSO>"


def dossier(xml1: Fields | None = None, **tables: Sequence[Fields]) -> str:
    """Return one HOSO of the given tables, `xml2=[...]`; lines get the MA_LK of XML1."""
    summary = XML1 if xml1 is None else xml1
    files = [file("XML1", table("XML1", [summary]))]
    for name, lines in tables.items():
        key = {"MA_LK": summary.get("MA_LK", "")}
        files.append(file(name.upper(), table(name.upper(), [{**line, **key} for line in lines])))
    return hoso(*files)


def hoso(*files: str) -> str:
    """Return a HOSO of FILEHOSO elements."""
    return f"<HOSO>{''.join(files)}</HOSO>"


def envelope(
    dossiers: Sequence[str], *, facility: str = "01999", count: str | None = None
) -> bytes:
    """Return the GIAMDINHHS bytes of a submission."""
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<GIAMDINHHS xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"<THONGTINDONVI><MACSKCB>{facility}</MACSKCB></THONGTINDONVI>"
        "<THONGTINHOSO><NGAYLAP>20261120</NGAYLAP>"
        f"<SOLUONGHOSO>{len(dossiers) if count is None else count}</SOLUONGHOSO>"
        f"<DANHSACHHOSO>{''.join(dossiers)}</DANHSACHHOSO></THONGTINHOSO>"
        "<CHUKYDONVI/></GIAMDINHHS>"
    ).encode()
