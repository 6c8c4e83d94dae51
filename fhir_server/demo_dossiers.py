"""Synthetic dossiers as a hospital sends them: GIAMDINHHS with XML1 to XML5, sums that agree.

Used by the demo and by the bench; the people and the visits are invented, and fixed by a seed.
QĐ 4750/QĐ-BYT, tables 1 to 5; the envelope of BHXH letter 1245/BHXH-CNTT (2024), section 3.4.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from random import Random
from typing import Final
from xml.sax.saxutils import escape

Row = dict[str, str]
Dossier = dict[str, list[Row]]

_DECLARATION: Final = '<?xml version="1.0" encoding="utf-8"?>'
_ELEMENTS: Final = {
    "XML2": ("CHITIEU_CHITIET_THUOC", "DSACH_CHI_TIET_THUOC", "CHI_TIET_THUOC"),
    "XML3": ("CHITIEU_CHITIET_DVKT_VTYT", "DSACH_CHI_TIET_DVKT", "CHI_TIET_DVKT"),
    "XML4": ("CHITIEU_CHITIET_DICHVUCANLAMSANG", "DSACH_CHI_TIET_CLS", "CHI_TIET_CLS"),
    "XML5": (
        "CHITIEU_CHITIET_DIENBIENLAMSANG",
        "DSACH_CHI_TIET_DIEN_BIEN_BENH",
        "CHI_TIET_DIEN_BIEN_BENH",
    ),
}


@dataclass(frozen=True, slots=True)
class Person:
    """Who the dossier is of."""

    ho_ten: str
    so_cccd: str
    ngay_sinh: date
    gioi_tinh: str
    ma_the_bhyt: str = ""
    muc_huong: int = 80
    ma_bn: str = "BN-000001"
    dia_chi: str = "Số 1 phố Mẫu, phường Mẫu, Hà Nội"
    ma_dkbd: str = "01999"
    gt_the_tu: str = "20200101"
    gt_the_den: str = "20351231"


@dataclass(frozen=True, slots=True)
class Drug:
    """A line of XML2: code, name, strength, route, dose, how to take it, quantity, unit price."""

    ma_thuoc: str
    ten_thuoc: str
    ham_luong: str
    lieu_dung: str
    cach_dung: str
    so_luong: str
    don_gia: str
    don_vi: str = "Viên"
    duong_dung: str = "1.01"


@dataclass(frozen=True, slots=True)
class Lab:
    """A line of XML3 with its results in XML4: (index code, name, unit, low, high, decimals)."""

    ma_dich_vu: str
    ten_dich_vu: str
    don_gia: str
    results: tuple[tuple[str, str, str, float, float, int], ...]


@dataclass(frozen=True, slots=True)
class Case:
    """A reason to come, what was found and what was given."""

    ly_do: str
    chan_doan: str
    ma_benh: str
    ma_benh_kt: str
    drugs: tuple[Drug, ...]
    labs: tuple[Lab, ...]
    dien_bien: str
    ghi_chu: str = "Uống thuốc theo đơn, khám lại khi có dấu hiệu bất thường."


_BLOOD = Lab(
    "22.0120.1370",
    "Tổng phân tích tế bào máu ngoại vi (bằng máy đếm laser)",
    "49700",
    (
        ("WBC", "Số lượng bạch cầu", "G/L", 4.2, 12.5, 2),
        ("RBC", "Số lượng hồng cầu", "T/L", 3.9, 5.2, 2),
        ("HGB", "Huyết sắc tố", "g/L", 118, 150, 0),
        ("PLT", "Số lượng tiểu cầu", "G/L", 160, 380, 0),
    ),
)
_GLUCOSE = Lab(
    "23.0075.1494",
    "Định lượng Glucose [Máu]",
    "22400",
    (("GLU", "Glucose", "mmol/L", 4.6, 7.4, 1),),
)
_LIPID = Lab(
    "23.0041.1506",
    "Định lượng Cholesterol toàn phần [Máu]",
    "28000",
    (("CHOL", "Cholesterol toàn phần", "mmol/L", 3.9, 6.4, 1),),
)
_URINE = Lab(
    "23.0206.1596",
    "Tổng phân tích nước tiểu (bằng máy tự động)",
    "28600",
    (("PRO", "Protein niệu", "g/L", 0.0, 0.2, 2), ("SG", "Tỷ trọng", "", 1.005, 1.03, 3)),
)
_PARACETAMOL = Drug(
    "40.48",
    "Paracetamol 500mg",
    "500mg",
    "1 viên/lần * 3 lần/ngày * 5 ngày [3 viên/ngày]",
    "Uống sau ăn, cách nhau ít nhất 6 giờ",
    "15",
    "480",
)
_AMOXICILLIN = Drug(
    "40.154",
    "Amoxicilin 500mg",
    "500mg",
    "1 viên/lần * 2 lần/ngày * 7 ngày [2 viên/ngày]",
    "Uống sau ăn, đủ 7 ngày",
    "14",
    "1250",
)
_LORATADIN = Drug(
    "40.87",
    "Loratadin 10mg",
    "10mg",
    "1 viên/lần * 1 lần/ngày * 5 ngày [1 viên/ngày]",
    "Uống buổi tối",
    "5",
    "620",
)
_OMEPRAZOL = Drug(
    "40.677",
    "Omeprazol 20mg",
    "20mg",
    "1 viên/lần * 1 lần/ngày * 14 ngày [1 viên/ngày]",
    "Uống trước ăn sáng 30 phút",
    "14",
    "735.5",
)
_IRON = Drug(
    "40.431",
    "Sắt fumarat + acid folic",
    "200mg + 1mg",
    "1 viên/lần * 1 lần/ngày * 30 ngày [1 viên/ngày]",
    "Uống xa bữa ăn, không uống cùng trà",
    "30",
    "890",
)
_AMLODIPIN = Drug(
    "40.491",
    "Amlodipin 5mg",
    "5mg",
    "1 viên/lần * 1 lần/ngày * 28 ngày [1 viên/ngày]",
    "Uống buổi sáng, cùng một giờ",
    "28",
    "312.125",
)

CASES: Final = (
    Case(
        "Ho, sốt 2 ngày",
        "Viêm họng cấp",
        "J02.9",
        "",
        (_PARACETAMOL, _AMOXICILLIN),
        (_BLOOD,),
        "Họng đỏ, amidan không sưng, phổi không ran.",
    ),
    Case(
        "Đau vùng thượng vị sau ăn",
        "Viêm dạ dày, không đặc hiệu",
        "K29.7",
        "",
        (_OMEPRAZOL,),
        (_BLOOD, _GLUCOSE),
        "Bụng mềm, ấn đau nhẹ thượng vị, không phản ứng thành bụng.",
        "Ăn đúng bữa, tránh đồ cay và rượu bia.",
    ),
    Case(
        "Hắt hơi, chảy mũi, ngứa mắt",
        "Viêm mũi dị ứng",
        "J30.4",
        "",
        (_LORATADIN,),
        (),
        "Niêm mạc mũi phù nề, dịch trong.",
    ),
    Case(
        "Mệt mỏi, hoa mắt khi đứng dậy",
        "Thiếu máu thiếu sắt",
        "D50.9",
        "",
        (_IRON,),
        (_BLOOD, _GLUCOSE),
        "Da niêm mạc hơi nhợt, mạch 88 lần/phút, huyết áp 105/65 mmHg.",
        "Ăn tăng thịt, rau xanh; kiểm tra lại công thức máu sau 1 tháng.",
    ),
    Case(
        "Khám định kỳ",
        "Tăng huyết áp vô căn (nguyên phát)",
        "I10",
        "E78.5",
        (_AMLODIPIN,),
        (_GLUCOSE, _LIPID, _URINE),
        "Huyết áp 142/88 mmHg, tim đều, không phù.",
        "Ăn nhạt, đi bộ mỗi ngày 30 phút, đo huyết áp tại nhà.",
    ),
)


def visit(
    person: Person, facility: str, ma_lk: str, start: datetime, case: Case, random: Random
) -> Dossier:
    """Return one out-patient visit of 95 minutes as the rows of XML1 to XML5."""
    end = start + timedelta(minutes=95)
    order, result = start + timedelta(minutes=20), start + timedelta(minutes=70)
    common = {
        "MA_LK": ma_lk,
        "PHAM_VI": "1",
        "TYLE_TT_BH": "100",
        **dict.fromkeys(
            (
                "T_NGUONKHAC_NSNN",
                "T_NGUONKHAC_VTNN",
                "T_NGUONKHAC_VTTN",
                "T_NGUONKHAC_CL",
                "T_NGUONKHAC",
            ),
            "0",
        ),
        "MUC_HUONG": str(person.muc_huong if person.ma_the_bhyt else 0),
        "MA_KHOA": "K01",
        "MA_BAC_SI": f"{facility}-CCHN-0001",
        "NGAY_YL": _minutes(order),
        "MA_PTTT": "1",
        "T_BNTT": "0",
    }
    drugs = [
        _priced(
            {
                **common,
                "STT": str(number),
                "MA_THUOC": drug.ma_thuoc,
                "MA_NHOM": "4",
                "TEN_THUOC": drug.ten_thuoc,
                "DON_VI_TINH": drug.don_vi,
                "HAM_LUONG": drug.ham_luong,
                "DUONG_DUNG": drug.duong_dung,
                "LIEU_DUNG": drug.lieu_dung,
                "CACH_DUNG": drug.cach_dung,
                "SO_DANG_KY": f"VD-{20000 + number}-24",
                "TT_THAU": "QD01/2026;G1;N1;2026",
                "SO_LUONG": drug.so_luong,
                "DON_GIA": drug.don_gia,
                "NGUON_CTRA": "1",
            },
            person,
            ("DON_GIA", "DON_GIA"),
        )
        for number, drug in enumerate(case.drugs, 1)
    ]
    services = [_examination(common, case, person)]
    results: list[Row] = []
    for lab in case.labs:
        services.append(_lab_line(common, case, person, lab, len(services) + 1, result))
        results += _results(ma_lk, lab, len(results), result, random)
    course = {
        "MA_LK": ma_lk,
        "STT": "1",
        "DIEN_BIEN_LS": case.dien_bien,
        "THOI_DIEM_DBLS": _minutes(start + timedelta(minutes=15)),
        "NGUOI_THUC_HIEN": f"{facility}-CCHN-0001",
    }
    summary = _summary(person, facility, ma_lk, (start, end), case, drugs, services)
    return {"XML1": [summary], "XML2": drugs, "XML3": services, "XML4": results, "XML5": [course]}


def envelope(facility: str, dossiers: list[Dossier]) -> bytes:
    """Return the GIAMDINHHS envelope of a facility's dossiers, as UTF-8 bytes."""
    hoso = "".join(
        "<HOSO>"
        + "".join(
            f"<FILEHOSO><LOAIHOSO>{table}</LOAIHOSO><NOIDUNGFILE>"
            f"{b64encode(_table(table, rows)).decode()}</NOIDUNGFILE></FILEHOSO>"
            for table, rows in dossier.items()
            if rows
        )
        + "</HOSO>"
        for dossier in dossiers
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f"<GIAMDINHHS><THONGTINDONVI><MACSKCB>{facility}</MACSKCB></THONGTINDONVI>"
        "<THONGTINHOSO><NGAYLAP>20261120</NGAYLAP>"
        f"<SOLUONGHOSO>{len(dossiers)}</SOLUONGHOSO>"
        f"<DANHSACHHOSO>{hoso}</DANHSACHHOSO></THONGTINHOSO><CHUKYDONVI/></GIAMDINHHS>"
    ).encode()


def _table(table: str, rows: list[Row]) -> bytes:
    if table == "XML1":
        return f"{_DECLARATION}<TONG_HOP>{_fields(rows[0])}</TONG_HOP>".encode()
    root, items, item = _ELEMENTS[table]
    body = "".join(f"<{item}>{_fields(row)}</{item}>" for row in rows)
    return f"{_DECLARATION}<{root}><{items}>{body}</{items}></{root}>".encode()


def _fields(row: Row) -> str:
    return "".join(f"<{name}>{escape(value)}</{name}>" for name, value in row.items())


def _examination(common: Row, case: Case, person: Person) -> Row:
    return _priced(
        {
            **common,
            "STT": "1",
            "MA_DICH_VU": "02.1900",
            "MA_NHOM": "13",
            "TEN_DICH_VU": "Khám Nội",
            "DON_VI_TINH": "Lần",
            "SO_LUONG": "1",
            "DON_GIA_BV": "45000",
            "DON_GIA_BH": "45000",
            "TYLE_TT_DV": "100",
            "MA_BENH": case.ma_benh,
        },
        person,
        ("DON_GIA_BV", "DON_GIA_BH"),
    )


def _lab_line(
    common: Row, case: Case, person: Person, lab: Lab, number: int, result: datetime
) -> Row:
    return _priced(
        {
            **common,
            "STT": str(number),
            "MA_DICH_VU": lab.ma_dich_vu,
            "MA_NHOM": "1",
            "TEN_DICH_VU": lab.ten_dich_vu,
            "DON_VI_TINH": "Lần",
            "SO_LUONG": "1",
            "DON_GIA_BV": lab.don_gia,
            "DON_GIA_BH": lab.don_gia,
            "TYLE_TT_DV": "100",
            "NGUOI_THUC_HIEN": common["MA_BAC_SI"],
            "MA_BENH": case.ma_benh,
            "NGAY_TH_YL": _minutes(result - timedelta(minutes=30)),
            "NGAY_KQ": _minutes(result),
            "MA_MAY": f"HH.1.{common['MA_BAC_SI'][:5]}.0001",
        },
        person,
        ("DON_GIA_BV", "DON_GIA_BH"),
    )


def _results(ma_lk: str, lab: Lab, before: int, when: datetime, random: Random) -> list[Row]:
    return [
        {
            "MA_LK": ma_lk,
            "STT": str(before + number),
            "MA_DICH_VU": lab.ma_dich_vu,
            "MA_CHI_SO": code,
            "TEN_CHI_SO": name,
            "GIA_TRI": f"{random.uniform(low, high):.{decimals}f}",
            "DON_VI_DO": unit,
            "NGAY_KQ": _minutes(when),
        }
        for number, (code, name, unit, low, high, decimals) in enumerate(lab.results, 1)
    ]


def _priced(row: Row, person: Person, prices: tuple[str, str]) -> Row:
    """Return the line with its money, by the arithmetic of PL4750 tables 2 and 3."""
    quantity = Decimal(row["SO_LUONG"])
    total = _round(quantity * Decimal(row[prices[0]]))
    scope = _round(quantity * Decimal(row[prices[1]]))
    fund = _round(scope * Decimal(row["MUC_HUONG"]) / 100)
    if not person.ma_the_bhyt:
        return {
            **row,
            "THANH_TIEN_BV": str(total),
            "THANH_TIEN_BH": "0",
            "TYLE_TT_BH": "0",
            "PHAM_VI": "2",
            "T_BNTT": str(total),
            "T_BNCCT": "0",
            "T_BHTT": "0",
        }
    return {
        **row,
        "THANH_TIEN_BV": str(total),
        "THANH_TIEN_BH": str(scope),
        "T_BNCCT": str(scope - fund),
        "T_BHTT": str(fund),
    }


def _summary(
    person: Person,
    facility: str,
    ma_lk: str,
    period: tuple[datetime, datetime],
    case: Case,
    drugs: list[Row],
    services: list[Row],
) -> Row:
    lines = drugs + services
    start, end = period

    def total(field: str, rows: list[Row]) -> str:
        return str(sum((Decimal(row[field]) for row in rows), Decimal(0)))

    insured = bool(person.ma_the_bhyt)
    return {
        "MA_LK": ma_lk,
        "STT": "1",
        "MA_BN": person.ma_bn,
        "HO_TEN": person.ho_ten,
        "SO_CCCD": person.so_cccd,
        "NGAY_SINH": f"{person.ngay_sinh:%Y%m%d}0000",
        "GIOI_TINH": person.gioi_tinh,
        "MA_QUOCTICH": "000",
        "MA_DANTOC": "01",
        "MA_NGHE_NGHIEP": "00000",
        "DIA_CHI": person.dia_chi,
        "MATINH_CU_TRU": "01",
        "MAHUYEN_CU_TRU": "001",
        "MAXA_CU_TRU": "00004",
        "MA_THE_BHYT": person.ma_the_bhyt,
        "MA_DKBD": person.ma_dkbd if insured else "",
        "GT_THE_TU": person.gt_the_tu if insured else "",
        "GT_THE_DEN": person.gt_the_den if insured else "",
        "LY_DO_VV": case.ly_do,
        "CHAN_DOAN_VAO": case.chan_doan,
        "CHAN_DOAN_RV": case.chan_doan,
        "MA_BENH_CHINH": case.ma_benh,
        "MA_BENH_KT": case.ma_benh_kt,
        "MA_DOITUONG_KCB": ("1.1" if facility == person.ma_dkbd else "1.12") if insured else "9",
        "NGAY_VAO": _minutes(start),
        "NGAY_RA": _minutes(end),
        "SO_NGAY_DTRI": "0",
        "PP_DIEU_TRI": "Nội khoa, điều trị ngoại trú",
        "KET_QUA_DTRI": "2",
        "MA_LOAI_RV": "1",
        "GHI_CHU": case.ghi_chu,
        "NGAY_TTOAN": _minutes(end + timedelta(minutes=10)),
        "T_THUOC": total("THANH_TIEN_BV", drugs),
        "T_VTYT": "0",
        "T_TONGCHI_BV": total("THANH_TIEN_BV", lines),
        "T_TONGCHI_BH": total("THANH_TIEN_BH", lines),
        "T_BNTT": total("T_BNTT", lines),
        "T_BNCCT": total("T_BNCCT", lines),
        "T_BHTT": total("T_BHTT", lines),
        "T_NGUONKHAC": "0",
        "T_BHTT_GDV": total("T_BHTT", lines),
        "NAM_QT": f"{end:%Y}",
        "THANG_QT": f"{end:%m}",
        "MA_LOAI_KCB": "01",
        "MA_KHOA": "K01",
        "MA_CSKCB": facility,
        "CAN_NANG": "54.50",
        "MA_HSBA": f"HS-{ma_lk}",
        "MA_TTDV": "0100000001",
    }


def _minutes(moment: datetime) -> str:
    return f"{moment:%Y%m%d%H%M}"


def _round(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.01"), ROUND_HALF_UP)
