"""Records as read: typed values, and when two of them are "unchanged" (contract section 5)."""

from __future__ import annotations

import random
import unicodedata
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mappings.xml130.build import build, build_row
from mappings.xml130.read import VIETNAM, Birth, clean, plain_number
from mappings.xml130.record import Record, fingerprint
from tests.xml130 import rows, visit


def record(summary: dict[str, str] | None = None, **tables: Any) -> Record:
    lines = {name.upper(): value for name, value in tables.items()}
    return build({"XML1": [summary or visit()], **lines})


def test_values_are_typed():
    """Times at +07:00, exact decimals, lists in parts, codes in capitals, forms padded."""
    xml1 = record(
        visit(MA_LOAI_KCB="3", MA_BENH_KT="e11.9; i10", T_BHTT="12.50", NGAY_MIEN_CCT="20260102")
    ).xml1

    assert xml1.ngay_vao == datetime(2026, 11, 20, 8, 15, tzinfo=VIETNAM)
    assert xml1.t_bhtt == Decimal("12.50")
    assert xml1.ma_benh_kt == ("E11.9", "I10")
    assert xml1.ma_loai_kcb == "03"
    assert xml1.gt_the_tu == (date(2026, 1, 1),)
    assert xml1.ngay_mien_cct == date(2026, 1, 2)
    assert xml1.ngay_sinh == Birth(1995, 3, 7)
    assert xml1.ngay_ttoan is None
    assert xml1.ghi_chu == ""


@pytest.mark.parametrize(
    "changed",
    [
        {"T_THUOC": "0.00"},
        {"T_THUOC": "000"},
        {"CAN_NANG": "52.5"},
        {"HO_TEN": "  NGUYỄN THỊ MẪU "},
        {"HO_TEN": unicodedata.normalize("NFD", "NGUYỄN THỊ MẪU")},
        {"MA_DANTOC": "1"},
        {"MA_LOAI_KCB": "1"},
        {"STT": "77"},
        {"STT": ""},
        {"GHI_CHU": ""},
        {"GHI_CHU": "   "},
        {"KHONG_CO": "x"},
    ],
)
def test_what_does_not_count(changed):
    """Trimming, NFC, number form, XML1.STT and empty fields leave a dossier unchanged."""
    assert fingerprint(record(visit(**changed))) == fingerprint(record())


@pytest.mark.parametrize(
    "changed",
    [
        {"HO_TEN": "NGUYỄN THỊ MẬU"},
        {"T_THUOC": "1"},
        {"DU_PHONG": "x"},
        {"MA_DOITUONG_KCB": "1.10"},
        {"MA_LK": "lk-2026-000001"},
        {"DIEN_THOAI": "090"},
    ],
)
def test_what_counts(changed):
    """Every other field of every table is content; MA_LK is compared exactly."""
    assert fingerprint(record(visit(**changed))) != fingerprint(record())


def test_the_order_of_tables_and_rows_does_not_count():
    """Rows are matched by STT."""
    lines, results = rows("XML2", 5), rows("XML4", 3)
    shuffled = random.Random(7).sample(lines, 5)

    one = record(xml2=lines, xml4=results)
    other = build({"XML4": results[::-1], "XML2": shuffled, "XML1": [visit()]})

    assert fingerprint(one) == fingerprint(other)


def test_a_row_more_or_another_number_of_it_counts():
    """A row that is gone, new, or moved to another STT is other content."""
    lines = rows("XML2", 2)
    prints = {
        fingerprint(record(xml2=lines)),
        fingerprint(record(xml2=lines[:1])),
        fingerprint(record(xml2=[lines[0], {**lines[1], "STT": "3"}])),
        fingerprint(record(xml3=lines)),
        fingerprint(record(xml7=[{"SO_LUU_TRU": "1"}])),
        fingerprint(record()),
    }

    assert len(prints) == 6


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9
    )
)
def test_a_plain_number_is_the_same_number(number):
    """Normalising changes no value, and twice is once."""
    text = f"{number:f}"

    assert Decimal(plain_number(text)) == number
    assert plain_number(plain_number(f"00{text}" if number >= 0 else text)) == plain_number(text)


@given(st.text(max_size=40))
def test_clean_text_is_clean(text):
    """Cleaning twice is once; no control character and no outer blank is left."""
    got = clean(text)

    assert clean(got) == got
    assert got == got.strip()
    assert unicodedata.is_normalized("NFC", got)
    assert not {c for c in got if unicodedata.category(c) in {"Cc", "Cs"}} - set("\t\r\n")


@pytest.mark.parametrize(
    ("text", "birth", "fhir"),
    [
        ("195800000000", Birth(1958), "1958"),
        ("199503070000", Birth(1995, 3, 7), "1995-03-07"),
        ("202611100425", Birth(2026, 11, 10, 4, 25), "2026-11-10"),
        ("189912312359", Birth(1899, 12, 31, 23, 59), "1899-12-31"),
    ],
)
def test_births(text, birth, fhir):
    """0000 says unknown: a year stays a year, a day a day."""
    row = build_row("XML1", 1, {"NGAY_SINH": text})

    assert row.ngay_sinh == birth  # type: ignore[attr-defined]
    assert birth.to_fhir() == fhir


@pytest.mark.parametrize("text", ["185003070000", "210003070000", "20261120081", "202611200a15"])
def test_times_out_of_the_decrees_years_or_form_are_not_read(text):
    """Years are 1900 to 2099, twelve digits no more and no less."""
    row = build_row("XML1", 1, {"NGAY_VAO": text, "GT_THE_TU": "18991231"})

    assert row.ngay_vao is None  # type: ignore[attr-defined]
    assert [(flaw.field, flaw.what) for flaw in row.flaws] == [
        ("NGAY_VAO", "shape"),
        ("GT_THE_TU", "shape"),
    ]


def test_needless_zeros_do_not_make_a_number_too_long():
    """A number is measured without them, and other text is left as it is."""
    row = build_row("XML1", 1, {"T_BHTT": "0" * 40 + "5.50"})

    assert row.t_bhtt == Decimal("5.5")  # type: ignore[attr-defined]
    assert row.flaws == ()
    assert plain_number("007a") == "007a"
    assert plain_number("-0.0") == "0"
