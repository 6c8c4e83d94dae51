"""The rules of a dossier: one test a rule, and the contract's table of what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from mappings.xml130 import fields16
from mappings.xml130.build import build
from mappings.xml130.record import Kind, Record, RecordIssue
from mappings.xml130.rules import MOST_ISSUES, check
from tests.xml130 import XML1, XML4, XML5, costs, rows, visit

NOW = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)
SIXTEEN = {name: XML1[name] for name in (f.code for f in fields16.SIXTEEN) if name in XML1} | {
    "MA_DOITUONG_KCB": "1.1"
}


def record(summary: Mapping[str, str], **tables: Any) -> Record:
    lines = {name.upper(): value for name, value in tables.items()}
    return build({"XML1": [dict(summary)], **lines})


def issues(summary: Mapping[str, str], kind: Kind = "xml", **tables: Any) -> list[RecordIssue]:
    return list(check(record(summary, **tables), now=NOW, kind=kind))


def found(summary: Mapping[str, str], kind: Kind = "xml", **tables: Any) -> set[tuple[str, ...]]:
    return {(i.severity, i.rule, i.field) for i in issues(summary, kind, **tables)}


def test_a_complete_dossier_has_no_issues():
    """A dossier with drugs, services, results and a note that all agree has none."""
    got = issues(
        visit(**costs(3, 3)),
        xml2=rows("XML2", 3),
        xml3=rows("XML3", 3),
        xml4=rows("XML4", 3),
        xml5=rows("XML5", 1),
    )

    assert got == []


def test_the_domains_own_sixteen_field_record_has_no_issues():
    """The invented record of domain section 10 is taken as it stands."""
    assert issues(SIXTEEN, "fields16") == []


E, W = "error", "warning"


@pytest.mark.parametrize(
    ("changed", "severity", "rule", "field"),
    [
        # G12-REQUIRED
        ({"HO_TEN": ""}, E, "G12-REQUIRED", "HO_TEN"),
        ({"NGAY_VAO": "   "}, E, "G12-REQUIRED", "NGAY_VAO"),
        ({"MA_HSBA": ""}, E, "G12-REQUIRED", "MA_HSBA"),
        ({"MA_LK": ""}, E, "G12-REQUIRED", "MA_LK"),
        ({"MAHUYEN_CU_TRU": ""}, W, "G12-REQUIRED", "MAHUYEN_CU_TRU"),
        ({"CAN_NANG": ""}, W, "G12-REQUIRED", "CAN_NANG"),
        ({"MA_THE_BHYT": "", "MA_DKBD": "", "GT_THE_TU": "", "GT_THE_DEN": ""},
         W, "G12-REQUIRED", "MA_THE_BHYT"),
        ({"MA_LOAI_RV": "2"}, W, "G12-REQUIRED", "MA_NOI_DEN"),
        # FORMAT
        ({"NGAY_VAO": "202613010815"}, E, "FORMAT", "NGAY_VAO"),
        ({"NGAY_VAO": "202602300815"}, E, "FORMAT", "NGAY_VAO"),
        ({"NGAY_VAO": "202611200860"}, E, "FORMAT", "NGAY_VAO"),
        ({"NGAY_VAO": "20261120"}, E, "FORMAT", "NGAY_VAO"),
        ({"NGAY_VAO": "２０２６１１２００８１５"}, E, "FORMAT", "NGAY_VAO"),
        ({"NGAY_VAO": " 202611200815"}, W, "FORMAT", "NGAY_VAO"),
        ({"NGAY_SINH": "199503000000"}, E, "FORMAT", "NGAY_SINH"),
        ({"NGAY_SINH": "19950307"}, E, "FORMAT", "NGAY_SINH"),
        ({"GT_THE_TU": "20261301"}, E, "FORMAT", "GT_THE_TU"),
        ({"NGAY_TAI_KHAM": "20261201;2026"}, E, "FORMAT", "NGAY_TAI_KHAM"),
        ({"NGAY_MIEN_CCT": "2026"}, E, "FORMAT", "NGAY_MIEN_CCT"),
        ({"T_THUOC": "1,5"}, E, "FORMAT", "T_THUOC"),
        ({"CAN_NANG": "52,5"}, E, "FORMAT", "CAN_NANG"),
        ({"T_THUOC": "abc"}, E, "FORMAT", "T_THUOC"),
        ({"NAM_QT": "20,6"}, E, "FORMAT", "NAM_QT"),
        ({"MA_QUOCTICH": "VN"}, E, "FORMAT", "MA_QUOCTICH"),
        ({"T_THUOC": "1e3"}, E, "FORMAT", "T_THUOC"),
        ({"T_THUOC": "1" * 16}, E, "FORMAT", "T_THUOC"),
        ({"T_THUOC": "1" * 5000}, E, "FORMAT", "T_THUOC"),
        ({"MA_BENH_CHINH": "J02.999"}, E, "FORMAT", "MA_BENH_CHINH"),
        ({"MA_BENH_CHINH": "J02.9;E11"}, E, "FORMAT", "MA_BENH_CHINH"),
        ({"MA_BENH_CHINH": " j02.9 "}, W, "FORMAT", "MA_BENH_CHINH"),
        ({"MA_BENH_KT": "E11;viêm"}, E, "FORMAT", "MA_BENH_KT"),
        ({"MA_BENH_KT": "e11; I10"}, W, "FORMAT", "MA_BENH_KT"),
        ({"MA_BENH_KT": ";".join(["E11.9"] * 17)}, E, "FORMAT", "MA_BENH_KT"),
        ({"MA_CSKCB": "1999"}, E, "FORMAT", "MA_CSKCB"),
        ({"MA_CSKCB": "01a99"}, W, "FORMAT", "MA_CSKCB"),
        ({"MA_DKBD": "x"}, E, "FORMAT", "MA_DKBD"),
        ({"MA_NOI_DI": "ABCDE"}, E, "FORMAT", "MA_NOI_DI"),
        ({"HO_TEN": "N" * 256}, E, "FORMAT", "HO_TEN"),
        ({"MA_LK": "K" * 101}, E, "FORMAT", "MA_LK"),
        ({"GHI_CHU": "a" * 1_000_001}, E, "FORMAT", "GHI_CHU"),
        ({"HO_TEN": "NGUYỄN 2"}, W, "FORMAT", "HO_TEN"),
        ({"KHONG_CO": "x"}, W, "FORMAT", "KHONG_CO"),
        # CCCD
        ({"SO_CCCD": "00119501234"}, E, "CCCD-SHAPE", "SO_CCCD"),
        ({"SO_CCCD": "0011950123456"}, E, "CCCD-SHAPE", "SO_CCCD"),
        ({"SO_CCCD": "c1234567"}, E, "CCCD-SHAPE", "SO_CCCD"),
        ({"SO_CCCD": "AB-12345"}, E, "CCCD-SHAPE", "SO_CCCD"),
        ({"SO_CCCD": "１２３４５６７８９"}, E, "CCCD-SHAPE", "SO_CCCD"),
        ({"SO_CCCD": "A" * 16}, E, "CCCD-SHAPE", "SO_CCCD"),
        ({"SO_CCCD": "AB123456"}, W, "CCCD-SHAPE", "SO_CCCD"),
        ({"SO_CCCD": "003195012345"}, W, "CCCD-SHAPE", "SO_CCCD"),
        ({"SO_CCCD": "001095012345"}, W, "CCCD-SEX", "SO_CCCD"),
        ({"SO_CCCD": "001194012345"}, W, "CCCD-YEAR", "SO_CCCD"),
        ({"SO_CCCD": "001395012345"}, W, "CCCD-YEAR", "SO_CCCD"),
        ({"SO_CCCD": ""}, W, "CCCD-MISSING", "SO_CCCD"),
        # Cards
        ({"MA_THE_BHYT": "DN401012345678"}, E, "G03", "MA_THE_BHYT"),
        ({"MA_THE_BHYT": "DN6010123456789"}, E, "G03", "MA_THE_BHYT"),
        ({"MA_THE_BHYT": "dn4010123456789"}, E, "G03", "MA_THE_BHYT"),
        ({"MA_THE_BHYT": "DN4010123456789;;GD4010987654321"}, E, "G03", "MA_THE_BHYT"),
        ({"MA_DKBD": "01999;01998"}, E, "G05", "MA_DKBD"),
        ({"GT_THE_DEN": "20261231;20271231"}, E, "G05", "GT_THE_DEN"),
        ({"MA_THE_BHYT": ""}, E, "G05", "MA_DKBD"),
        ({"GT_THE_TU": "20261121"}, W, "G04", "GT_THE_TU"),
        ({"GT_THE_DEN": "20261104"}, W, "G04", "GT_THE_DEN"),
        # Times
        ({"NGAY_RA": "202611200814"}, E, "G09", "NGAY_RA"),
        ({"NGAY_VAO_NOI_TRU": "202611200814"}, E, "G09", "NGAY_VAO_NOI_TRU"),
        ({"NGAY_VAO_NOI_TRU": "202611200951"}, E, "G09", "NGAY_VAO_NOI_TRU"),
        ({"NGAY_SINH": "202611210000"}, E, "G09", "NGAY_SINH"),
        ({"NGAY_SINH": "202611200816"}, E, "G09", "NGAY_SINH"),
        ({"NGAY_SINH": "202700000000"}, E, "G09", "NGAY_SINH"),
        ({"NGAY_VAO": "202611251011", "NGAY_RA": "202611251012"}, E, "G09", "NGAY_VAO"),
        ({"NGAY_RA": "202611251011"}, E, "G09", "NGAY_RA"),
        ({"NGAY_TTOAN": "202611200900"}, W, "G09", "NGAY_TTOAN"),
        ({"NGAY_SINH": "189003070000"}, W, "G09", "NGAY_SINH"),
        ({"SO_NGAY_DTRI": "1"}, W, "G11", "SO_NGAY_DTRI"),
        ({"MA_LOAI_KCB": "03", "SO_NGAY_DTRI": "3"}, W, "G11", "SO_NGAY_DTRI"),
        # Lists
        ({"GIOI_TINH": "4"}, E, "G13-CATALOGUE", "GIOI_TINH"),
        ({"KET_QUA_DTRI": "8"}, E, "G13-CATALOGUE", "KET_QUA_DTRI"),
        ({"MA_LOAI_RV": "6"}, E, "G13-CATALOGUE", "MA_LOAI_RV"),
        ({"MA_LOAI_KCB": "17"}, E, "G13-CATALOGUE", "MA_LOAI_KCB"),
        ({"MA_LOAI_KCB": "0"}, E, "G13-CATALOGUE", "MA_LOAI_KCB"),
        ({"MA_DOITUONG_KCB": "1.99"}, E, "G13-CATALOGUE", "MA_DOITUONG_KCB"),
        ({"MA_DANTOC": "77"}, W, "G13-CATALOGUE", "MA_DANTOC"),
        ({"MA_KHUVUC": "K9"}, W, "G13-CATALOGUE", "MA_KHUVUC"),
        # Codes, weight, insurance, encoding, money
        ({"MA_BENH_KT": ";".join(f"E{n}" for n in range(10, 23))}, W, "G17", "MA_BENH_KT"),
        ({"MA_BENH_KT": "E11;E11"}, W, "G17", "MA_BENH_KT"),
        ({"MA_BENH_KT": "J02.9"}, W, "G17", "MA_BENH_KT"),
        ({"CAN_NANG": "201"}, W, "G33", "CAN_NANG"),
        ({"CAN_NANG": "0"}, W, "G33", "CAN_NANG"),
        ({"MA_DOITUONG_KCB": "9"}, W, "G37", "MA_THE_BHYT"),
        ({"MA_DOITUONG_KCB": "9", "T_BHTT": "5"}, W, "G37", "T_BHTT"),
        ({"HO_TEN": "NGUYÔN THÞ MÉU"}, E, "ENCODING", "HO_TEN"),
        ({"LY_DO_VV": "Nguyeãn Vaên ñau buïng"}, E, "ENCODING", "LY_DO_VV"),
        ({"HO_TEN": "Nguyá»…n Thá»‹ Máº«u"}, E, "ENCODING", "HO_TEN"),
        ({"T_BHTT": "5"}, W, "G19", "T_BHTT"),
    ],
)  # fmt: skip
def test_a_fault_of_the_summary(changed, severity, rule, field):
    """Each fault of XML1 is found with its weight, its rule and its field, at 10:00 of the 25th."""
    assert (severity, rule, f"XML1.{field}") in found(visit(**changed))


@pytest.mark.parametrize(
    "changed",
    [
        {"NGAY_RA": "202701012359", "MA_LOAI_KCB": "02", "SO_NGAY_DTRI": "43"},
        {"NGAY_RA": "202701012359", "MA_LOAI_KCB": "05"},
        {"NGAY_RA": "202701012359", "MA_LOAI_KCB": "07"},
        {"NGAY_VAO": "202611251009", "NGAY_RA": "202611251010"},
        {"MA_LOAI_KCB": "1"},
        {"MA_LOAI_KCB": "16"},
        {"MA_DOITUONG_KCB": "1.10"},
        {"MA_DOITUONG_KCB": "3.7"},
        {"NGAY_SINH": "199500000000"},
        {"SO_CCCD": "099195012345"},
        {"SO_CCCD": "301195012345"},
        {"SO_CCCD": "123456789"},
        {"SO_CCCD": "C1234567"},
        {"SO_CCCD": "", "NGAY_SINH": "201503070000"},
        {"MA_THE_BHYT": "0123456789"},
        {"MA_THE_BHYT": "001195012345"},
        {"MA_THE_BHYT": "DN4010123456789;"},
        {"MA_THE_BHYT": "DN4010123456789;GD4010987654321", "MA_DKBD": "01999;01998",
         "GT_THE_TU": "20260101;20260601", "GT_THE_DEN": "20260531;"},
        {"MA_DKBD": "", "GT_THE_TU": "", "GT_THE_DEN": ""},
        {"GT_THE_DEN": "20261105"},
        {"MA_BENH_CHINH": "A17.0†"},
        {"T_THUOC": "0000000000000000.00"},
        {"HO_TEN": "Müller François", "DIA_CHI": "Panadol® 10 µg, 37°C"},
        {"MA_DANTOC": "1"},
    ],
)  # fmt: skip
def test_what_is_no_fault(changed):
    """What the contract and the decree allow makes no issue."""
    assert issues(visit(**changed)) == []


@pytest.mark.parametrize(
    ("table", "changed", "severity", "rule", "field"),
    [
        ("XML2", {"TEN_THUOC": ""}, E, "G12-REQUIRED", "TEN_THUOC"),
        ("XML2", {"STT": ""}, E, "G12-REQUIRED", "STT"),
        ("XML2", {"TT_THAU": ""}, W, "G12-REQUIRED", "TT_THAU"),
        ("XML2", {"SO_LUONG": "10,0"}, E, "FORMAT", "SO_LUONG"),
        ("XML2", {"NGAY_YL": "2026"}, E, "FORMAT", "NGAY_YL"),
        ("XML2", {"DON_GIA": "1000.00001"}, W, "FORMAT", "DON_GIA"),
        ("XML2", {"PHAM_VI": "4"}, W, "G13-CATALOGUE", "PHAM_VI"),
        ("XML2", {"PHAM_VI": "2"}, W, "G29", "PHAM_VI"),
        ("XML2", {"TYLE_TT_BH": "101"}, W, "G30", "TYLE_TT_BH"),
        ("XML2", {"VET_THUONG_TP": "2"}, W, "G13-CATALOGUE", "VET_THUONG_TP"),
        ("XML2", {"MA_LK": "another"}, W, "G35", "MA_LK"),
        ("XML2", {"NGAY_YL": "202611200814"}, W, "G10", "NGAY_YL"),
        ("XML2", {"NGAY_TH_YL": "202611200829"}, W, "G10", "NGAY_TH_YL"),
        ("XML2", {"THANH_TIEN_BV": "10000.02"}, W, "G18", "THANH_TIEN_BV"),
        ("XML2", {"THANH_TIEN_BH": "9000"}, W, "G18", "THANH_TIEN_BH"),
        ("XML2", {"T_NGUONKHAC_CL": "1"}, W, "G18", "T_NGUONKHAC"),
        ("XML2", {"T_BHTT": "8001"}, W, "G18", "T_BHTT"),
        ("XML3", {"MA_BENH": "x"}, E, "FORMAT", "MA_BENH"),
        ("XML3", {"MA_BENH": ""}, E, "G12-REQUIRED", "MA_BENH"),
        ("XML3", {"NGUOI_THUC_HIEN": ""}, W, "G12-REQUIRED", "NGUOI_THUC_HIEN"),
        ("XML3", {"MA_DICH_VU": ""}, W, "G12-REQUIRED", "MA_DICH_VU"),
        ("XML3", {"MA_NHOM": "12"}, W, "G12-REQUIRED", "MA_XANG_DAU"),
        ("XML3", {"MA_NHOM": "10"}, W, "G12-REQUIRED", "TT_THAU"),
        ("XML3", {"TYLE_TT_DV": "45"}, W, "G30", "TYLE_TT_DV"),
        ("XML3", {"NGAY_KQ": "202611200839"}, W, "G10", "NGAY_KQ"),
        ("XML4", {"TEN_CHI_SO": ""}, E, "G12-REQUIRED", "TEN_CHI_SO"),
        ("XML4", {"NGAY_KQ": ""}, W, "G12-REQUIRED", "NGAY_KQ"),
        ("XML4", {"GIA_TRI": "5,6"}, W, "FORMAT", "GIA_TRI"),
        ("XML4", {"GIA_TRI": "5" * 51}, E, "FORMAT", "GIA_TRI"),
        ("XML5", {"DIEN_BIEN_LS": ""}, E, "G12-REQUIRED", "DIEN_BIEN_LS"),
        ("XML5", {"DIEN_BIEN_LS": "ho, sèt 2 ngµy"}, E, "ENCODING", "DIEN_BIEN_LS"),
    ],
)  # fmt: skip
def test_a_fault_of_a_line(table, changed, severity, rule, field):
    """Each fault of a detail line is found and its row named, counted from 1."""
    lines = [*rows(table, 1), {**rows(table, 1)[0], "STT": "2", **changed}]
    totals = costs(2, 0) if table == "XML2" else costs(0, 2) if table == "XML3" else {}

    got = found(visit(**totals), **{table.lower(): lines})

    assert (severity, rule, f"{table}[2].{field}") in got


def test_the_annexes_worked_example_has_no_finding():
    """PL4750: cost 10 million, aid 3 million given to the facility, ratio 50, level 80."""
    line = rows(
        "XML2", 1, SO_LUONG="1", DON_GIA="10000000", TYLE_TT_BH="50", THANH_TIEN_BV="10000000",
        THANH_TIEN_BH="3500000", T_BHTT="2800000", T_BNCCT="700000", T_BNTT="3500000",
        T_NGUONKHAC_VTNN="3000000", T_NGUONKHAC="3000000",
    )  # fmt: skip
    totals = {
        "T_THUOC": "10000000", "T_TONGCHI_BV": "10000000", "T_TONGCHI_BH": "3500000",
        "T_BNTT": "3500000", "T_BNCCT": "700000", "T_BHTT": "2800000", "T_NGUONKHAC": "3000000",
        "T_BHTT_GDV": "2800000",
    }  # fmt: skip

    assert issues(visit(**totals), xml2=line) == []


def test_money_given_to_one_patient_is_taken_in_its_order():
    """PL4750, case a: another source pays BNTT first, then BNCCT, then BHTT."""
    line = rows(
        "XML2", 1, SO_LUONG="1", DON_GIA="1000", THANH_TIEN_BV="1000", THANH_TIEN_BH="1000",
        T_NGUONKHAC_CL="300", T_NGUONKHAC="300", T_BNTT="0", T_BNCCT="0", T_BHTT="700",
    )  # fmt: skip

    got = found(visit(), xml2=line)

    assert not {rule for _, rule, field in got if field.startswith("XML2")}


def test_a_shared_bed_may_use_the_services_ratio():
    """PL4750, table 3: TYLE_TT_DV 50 halves THANH_TIEN_BH of a bed that two share."""
    line = rows(
        "XML3", 1, MA_NHOM="15", TYLE_TT_DV="50", THANH_TIEN_BH="5000", T_BHTT="4000",
        T_BNCCT="1000", T_BNTT="5000",
    )  # fmt: skip

    got = found(visit(), xml3=line)

    assert not {rule for _, rule, field in got if field.startswith("XML3")}


@pytest.mark.parametrize(
    "name",
    ["T_THUOC", "T_TONGCHI_BV", "T_TONGCHI_BH", "T_BNTT", "T_BNCCT", "T_BHTT", "T_NGUONKHAC",
     "T_BHTT_GDV", "T_VTYT"],
)  # fmt: skip
def test_a_sum_that_the_lines_do_not_give(name):
    """G19: each total of XML1 is the sum of its lines, within 1 VND."""
    totals = {**costs(1, 1)}
    right = int(totals.get(name, "0"))
    lines = {"xml2": rows("XML2", 1), "xml3": rows("XML3", 1)}

    wrong = found(visit(**{**totals, name: str(right + 2)}), **lines)
    near = found(visit(**{**totals, name: str(right + 1)}), **lines)

    assert wrong == {(W, "G19", f"XML1.{name}")}
    assert near == set()


def test_a_summary_alone_of_an_uninsured_visit_needs_no_lines():
    """Letter 4395/BYT-KCB: non-insured visits come as tables 1 and 8."""
    uninsured = dict.fromkeys(("MA_THE_BHYT", "MA_DKBD", "GT_THE_TU", "GT_THE_DEN"), "")

    got = issues(visit(MA_DOITUONG_KCB="9", T_TONGCHI_BV="500", T_BNTT="500", **uninsured))

    assert got == []


@pytest.mark.parametrize("name", sorted(fields16.REQUIRED))
def test_a_field_that_the_sixteen_require(name):
    """G12: of JSON and CSV the fields marked Y refuse, and nothing else is asked for."""
    got = found({**SIXTEEN, name: ""}, "fields16")

    assert (E, "G12-REQUIRED", f"XML1.{name}") in got


def test_the_sixteen_are_data_and_in_order():
    """The set is read from fields16.toml: sixteen fields of XML1, thirteen of them required."""
    assert len(fields16.SIXTEEN) == 16
    assert fields16.SIXTEEN[0].code == "MA_LK"
    assert len(fields16.REQUIRED) == 13
    assert all(field.path and field.name_vi for field in fields16.SIXTEEN)


def test_a_withdrawal_needs_its_key_only():
    """G38: MA_LK and MA_CSKCB suffice, whatever else is sent."""
    assert issues({"MA_LK": "K", "MA_CSKCB": "01999", "MA_DOITUONG_KCB": "8"}) == []
    assert issues(visit(MA_DOITUONG_KCB="8", NGAY_VAO="x", GIOI_TINH="7")) == []
    assert found({"MA_LK": "K", "MA_CSKCB": "x", "MA_DOITUONG_KCB": "8"}) == {
        (E, "FORMAT", "XML1.MA_CSKCB")
    }
    assert found({"MA_DOITUONG_KCB": "8"}) == {
        (E, "G12-REQUIRED", "XML1.MA_LK"),
        (E, "G12-REQUIRED", "XML1.MA_CSKCB"),
    }


def test_no_age_is_guessed_without_its_dates():
    """CCCD-MISSING asks the age, which an unreadable birth date or arrival does not give."""
    got = found(visit(SO_CCCD="", NGAY_SINH="x"))

    assert got == {(E, "FORMAT", "XML1.NGAY_SINH")}


def test_a_new_born_wants_its_time():
    """PL4750, NGAY_SINH: up to 28 days of age the time is wanted."""
    got = found(visit(SO_CCCD="", NGAY_SINH="202611100000"))

    assert got == {(W, "FORMAT", "XML1.NGAY_SINH")}


def test_errors_come_first_and_their_number_is_bounded():
    """A dossier of many faults lists its errors first, and no more than help."""
    lines = [{**line, "PHAM_VI": "7", "TYLE_TT_BH": "300"} for line in rows("XML2", 900)]

    got = issues(visit(HO_TEN=""), xml2=lines)

    assert len(got) == 1 + MOST_ISSUES + 1
    assert [issue.severity for issue in got[:2]] == ["error", "warning"]
    assert got[-1].rule == "LIMIT"


def test_rows_that_share_a_number_are_said():
    """FORMAT: rows are matched by STT, so a repeated one is a warning."""
    lines = [rows("XML4", 1)[0], rows("XML4", 1)[0]]

    assert (W, "FORMAT", "XML4[2].STT") in found(visit(), xml4=lines)


def test_no_message_shows_a_value_of_the_dossier():
    """Receipts name fields and forms, never names, numbers, cards or texts."""
    secret = visit(
        HO_TEN="BÍ MẬT 7", SO_CCCD="99887766554", MA_THE_BHYT="ZZ99887766554", DIA_CHI="nhà Þ9",
        MA_BN="B" * 200, NGAY_VAO="199887766554", CAN_NANG="99887,5", **{"TÊN BÍ MẬT": "x"},
    )  # fmt: skip

    for issue in issues(secret, xml4=[{**XML4, "GIA_TRI": "99887,5"}], xml5=[XML5]):
        text = f"{issue.field} {issue.message} {issue.message_vi}"
        assert "99887" not in text
        assert "BÍ MẬT" not in text
        assert issue.message.endswith(".")
        assert issue.message_vi.endswith(".")


def test_tables_kept_for_later_are_asked_for_what_they_require():
    """G12 covers every table: an empty required field of XML7 refuses too."""
    got = found(visit(), xml7=[{"MA_LK": XML1["MA_LK"], "NGAY_RA": "x"}])

    assert (E, "G12-REQUIRED", "XML7[1].SO_LUU_TRU") in got
    assert (E, "FORMAT", "XML7[1].NGAY_RA") in got
