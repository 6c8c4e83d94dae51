"""The sixteen fields as JSON and CSV: what is read, what warns, what is refused."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.fields16.parse import parse_csv, parse_json
from fhir_server.model import codec
from fhir_server.model.outcome import Malformed
from mappings.xml130.fields16 import SIXTEEN
from mappings.xml130.record import Dossier, fingerprint
from mappings.xml130.rules import check
from mappings.xml130.to_bundle import to_bundle
from tests.xml130 import XML1

NOW = datetime(2026, 11, 25, tzinfo=UTC)
RECORD = {field.code: XML1.get(field.code, "") for field in SIXTEEN}


def of_json(**changed: object) -> Dossier:
    return parse_json(codec.dumps({**RECORD, **changed})).dossiers[0]


def of_csv(text: str | bytes) -> list[Dossier]:
    return list(parse_csv(text if isinstance(text, bytes) else text.encode()).dossiers)


def table(*records: dict[str, str], delimiter: str = ",") -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(records[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


def rules(dossier: Dossier) -> list[tuple[str, str, str]]:
    found = list(dossier.issues)
    if dossier.record is not None:
        found += check(dossier.record, now=NOW, kind="fields16")
    return [(issue.severity, issue.rule, issue.field) for issue in found]


def test_an_object_and_an_array_are_read():
    """One flat object is one dossier, an array as many."""
    one = parse_json(codec.dumps(RECORD))
    two = parse_json(codec.dumps([RECORD, {**RECORD, "MA_LK": "B"}]))

    assert [d.ma_lk for d in one.dossiers] == ["LK-2026-000001"]
    assert [d.ma_lk for d in two.dossiers] == ["LK-2026-000001", "B"]
    assert rules(one.dossiers[0]) == []
    assert one.facility is None


def test_integers_are_read_as_their_digits():
    """GIOI_TINH 2 and "2" are the same record."""
    as_number, as_text = of_json(GIOI_TINH=2, NGAY_VAO=202611200815), of_json()

    assert as_number.record is not None
    assert as_text.record is not None
    assert fingerprint(as_number.record) == fingerprint(as_text.record)


def test_null_empty_and_absent_are_equal():
    """A field that is null, "" or not there is empty."""
    prints = {
        fingerprint(found.record)
        for found in (of_json(MA_BENH_KT=None), of_json(MA_BENH_KT=""), of_json(MA_BENH_KT=" "))
        if found.record
    }
    absent = dict(RECORD)
    del absent["MA_BENH_KT"]

    got = parse_json(codec.dumps(absent)).dossiers[0].record

    assert got is not None
    assert prints == {fingerprint(got)}


@pytest.mark.parametrize("value", [1.5, True, False, ["x"], {"a": "b"}])
def test_a_value_that_is_neither_text_nor_integer_is_refused(value):
    """Floats, booleans, arrays and objects are FORMAT, and nothing is guessed."""
    found = of_json(GIOI_TINH=value)

    assert rules(found) == [("error", "FORMAT", "XML1.GIOI_TINH")]
    assert found.ma_lk == "LK-2026-000001"


def test_an_unknown_key_warns():
    """A key that is no field of XML1 is a warning, whatever it holds."""
    assert rules(of_json(ma_lk="x")) == [("warning", "FORMAT", "XML1.ma_lk")]
    assert rules(of_json(THEM={"a": 1})) == [("warning", "FORMAT", "XML1.THEM")]
    assert rules(of_json(**{"tên lạ": 1.5})) == [("warning", "FORMAT", "?")]


def test_any_other_field_of_the_summary_is_read():
    """MA_DKBD, card dates and every other XML1 field may come along."""
    record = of_json(MA_DKBD="01999", GT_THE_TU="20260101", T_BHTT="12.50", GHI_CHU="x").record

    assert record is not None
    assert record.xml1.ma_dkbd == ("01999",)
    assert str(record.xml1.t_bhtt) == "12.50"
    assert record.xml1.ghi_chu == "x"


@pytest.mark.parametrize(
    ("changed", "case"),
    [
        ({}, "1.1"),
        ({"MA_THE_BHYT": ""}, "9"),
        ({"MA_THE_BHYT": None}, "9"),
        ({"MA_DOITUONG_KCB": "2"}, "2"),
        ({"MA_DOITUONG_KCB": 9, "MA_THE_BHYT": ""}, "9"),
    ],
)
def test_the_coverage_case_has_a_default(changed, case):
    """MA_DOITUONG_KCB is 1.1 with a card, 9 without, where it is not sent."""
    record = of_json(**changed).record

    assert record is not None
    assert record.xml1.ma_doituong_kcb == case


def test_an_adult_without_a_number_is_taken_with_a_warning():
    """CCCD-MISSING: the visit happened."""
    assert rules(of_json(SO_CCCD="")) == [("warning", "CCCD-MISSING", "XML1.SO_CCCD")]


def test_control_characters_are_removed():
    """They are no part of a name; line ends in a text stay."""
    record = of_json(HO_TEN="NGUYỄN\x00 THỊ\x1b MẪU\x07", LY_DO_VV="a\nb").record

    assert record is not None
    assert record.xml1.ho_ten == "NGUYỄN THỊ MẪU"
    assert record.xml1.ly_do_vv == "a\nb"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"3", b"null", b'{"A":"\xff"}'])
def test_a_body_without_a_record_is_malformed(body):
    """What is not JSON, not an object or array, or empty, is 400."""
    with pytest.raises(Malformed):
        parse_json(body)


def test_an_item_that_is_no_object_refuses_itself_alone():
    """The other records of the array are not affected."""
    found = parse_json(codec.dumps([RECORD, "x", [RECORD]])).dossiers

    assert [rules(one) for one in found] == [
        [],
        [("error", "FORMAT", "XML1")],
        [("error", "FORMAT", "XML1")],
    ]


def test_the_same_key_twice_refuses_the_second():
    """DUPLICATE-KEY holds for JSON and CSV too."""
    found = parse_json(codec.dumps([RECORD, RECORD])).dossiers

    assert rules(found[1]) == [("error", "DUPLICATE-KEY", "XML1.MA_LK")]


@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_csv_is_read(delimiter, bom, end):
    """UTF-8 with or without BOM, comma or semicolon as the header has it, quotes, any order."""
    record = {**dict(reversed(RECORD.items())), "LY_DO_VV": 'Ho, "sốt"; 2\nngày'}
    text = table(record, {**record, "MA_LK": "B"}, delimiter=delimiter).replace("\r\n", end)

    found = of_csv(bom + text.encode())

    assert [one.ma_lk for one in found] == ["LK-2026-000001", "B"]
    assert found[0].record is not None
    assert found[0].record.xml1.ly_do_vv == 'Ho, "sốt"; 2\nngày'
    assert rules(found[0]) == []


def test_csv_and_json_give_the_same_record():
    """The wire does not matter: sent in the other form it is unchanged."""
    first, second = of_csv(table(RECORD))[0].record, of_json().record

    assert first is not None
    assert second is not None
    assert fingerprint(first) == fingerprint(second)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "\n\n",
        "a,b\n1,2\n",
        "MA_LK,HO_TEN\n",
        "MA_LK,HO_TEN\n,\n",
        "MA_LK,MA_LK\n1,2\n",
        'MA_LK,HO_TEN\n1,"x\n',
        'MA_LK,HO_TEN\n1,"x"y\n',
        "ma_lk,ho_ten\n1,2\n",
        table(RECORD).encode("utf-16"),
    ],
)
def test_a_csv_without_header_or_record_is_malformed(body):
    """A header line of the decree's names and a record must be there, quotes must end."""
    with pytest.raises(Malformed):
        of_csv(body)


def test_a_line_of_other_length_is_refused_alone():
    """A short or long line may have slipped a column, so nothing of it is taken."""
    lines = table(RECORD).splitlines()
    text = "\n".join([lines[0], lines[1], f"{lines[1]},x", lines[1].rpartition(",")[0]])

    first, longer, shorter = of_csv(text)

    assert rules(first) == []
    assert rules(longer) == [("error", "FORMAT", "XML1.MA_LK")]
    assert rules(shorter) == [("error", "FORMAT", "XML1.MA_LK")]


def test_an_unknown_column_warns():
    """A column that is no field is named."""
    assert rules(of_csv(table({**RECORD, "GHICHU2": "x"}))[0]) == [
        ("warning", "FORMAT", "XML1.GHICHU2")
    ]


def test_a_line_in_an_old_code_page_is_refused_alone():
    """Bytes that are not UTF-8, and TCVN3 dressed as Unicode, are ENCODING."""
    good = table(RECORD, {**RECORD, "MA_LK": "B"}).encode()
    lines = good.split(b"\r\n")
    lines[2] = lines[2].replace("NGUYỄN THỊ MẪU".encode(), b"NGUY\xd4N TH\xde M\xc9U")

    first, second = of_csv(b"\r\n".join(lines))

    assert rules(first) == []
    assert rules(second) == [("error", "ENCODING", "XML1.HO_TEN")]
    assert ("error", "ENCODING", "XML1.HO_TEN") in rules(of_json(HO_TEN="NGUYÔN THÞ MÉU"))


def test_a_long_cell_concerns_its_own_line_alone():
    """A cell of any length is read: LY_DO_VV has no limit but FHIR's own, HO_TEN has one."""
    long = "ho khan " * 25_000
    lines = [
        RECORD,
        {**RECORD, "MA_LK": "B", "LY_DO_VV": long},
        {**RECORD, "MA_LK": "C", "HO_TEN": long},
        {**RECORD, "MA_LK": "D", "LY_DO_VV": long * 6},
    ]

    first, second, third, fourth = of_csv(table(*lines).encode())

    assert rules(first) == rules(second) == []
    assert second.record is not None
    assert second.record.xml1.ly_do_vv == long.strip()
    assert rules(third) == [("error", "FORMAT", "XML1.HO_TEN")]
    assert rules(fourth) == [("error", "FORMAT", "XML1.LY_DO_VV")]


def test_the_sixteen_make_no_claim():
    """A record of the sixteen makes Patient, Coverage, Encounter, Condition; no Claim."""
    record = of_json(T_TONGCHI_BV="100").record
    assert record is not None

    kinds = {
        entry["resource"]["resourceType"]
        for entry in to_bundle(record, recorded=NOW, kind="fields16").bundle["entry"]
    }

    assert kinds == {
        "Organization", "Patient", "Coverage", "Encounter", "Condition", "Provenance",
    }  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*RECORD, "LẠ"]),
        st.none()
        | st.integers()
        | st.text(max_size=20)
        | st.floats(allow_nan=False)
        | st.booleans(),
    )
)
def test_any_object_is_a_dossier(fields):
    """Whatever the values, the record is read or refused, never a failure."""
    found = parse_json(codec.dumps({**RECORD, **fields})).dossiers[0]

    rules(found)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_of_csv_are_read_or_malformed(body):
    """Whatever the bytes after a header line, dossiers or a refusal come out."""
    try:
        found = of_csv(b"MA_LK,HO_TEN,GIOI_TINH\n" + body)
    except Malformed:
        return
    for one in found:
        rules(one)
