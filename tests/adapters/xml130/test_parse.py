"""Envelopes read into dossiers: what is refused whole, what is refused alone, what only warns."""

from __future__ import annotations

import base64
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.xml130.parse import LONGEST_FILE, parse
from fhir_server.model.outcome import Malformed, TooLarge
from mappings.xml130.record import Dossier, Envelope
from tests.xml130 import XML1, XML2, dossier, envelope, file, hoso, rows, table, visit

DOCTYPE = '<!DOCTYPE TONG_HOP [<!ENTITY x SYSTEM "file:///etc/passwd">]>'


def only(body: bytes) -> Dossier:
    parsed = parse(body)
    assert len(parsed.dossiers) == 1
    return parsed.dossiers[0]


def with_file(name: str, content: bytes | str) -> Dossier:
    """Return the dossier of a good XML1 and one more file."""
    return only(envelope([hoso(file("XML1", table("XML1", [XML1])), file(name, content))]))


def summary(content: bytes | str) -> Dossier:
    return only(envelope([hoso(file("XML1", content))]))


def rules(of: Dossier | Envelope) -> list[tuple[str, str, str]]:
    return [(issue.severity, issue.rule, issue.field) for issue in of.issues]


def test_an_envelope_is_read():
    """Facility, day, count and every table of every dossier are read."""
    parsed = parse(
        envelope([
            dossier(visit(MA_LK="A"), xml2=rows("XML2", 2), xml5=rows("XML5", 1)),
            dossier(visit(MA_LK="B")),
        ])
    )

    assert (parsed.facility, parsed.created, parsed.count) == ("01999", "20261120", "2")
    assert not parsed.signed
    assert not parsed.issues
    assert [d.ma_lk for d in parsed.dossiers] == ["A", "B"]
    record = parsed.dossiers[0].record
    assert record is not None
    assert [row.stt for row in record.xml2] == ["1", "2"]
    assert record.xml5[0].dien_bien_ls == "Tỉnh, họng đỏ, phổi trong"


def test_tags_are_read_by_name_in_any_order():
    """Senders differ in the order of tags, so it says nothing."""
    turned = dict(reversed(visit().items()))

    record = only(envelope([dossier(turned)])).record

    assert record is not None
    assert record.xml1.ho_ten == "NGUYỄN THỊ MẪU"
    assert record.xml1.texts == only(envelope([dossier()])).record.xml1.texts  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "well-formed"),
        (b"not xml", "well-formed"),
        (b"<GIAMDINHHS>", "well-formed"),
        (b"<HOSO/>", "root"),
        (b"<giamdinhhs/>", "root"),
        (b'<GIAMDINHHS xmlns="urn:x"/>', "root"),
        (b"<GIAMDINHHS/>", "no HOSO"),
        (envelope([]), "no HOSO"),
        (b"<!DOCTYPE GIAMDINHHS><GIAMDINHHS/>", "DOCTYPE"),
        (b"<?xml version='1.0'?> <!-- c --> <?p x?><!DOCTYPE G []><GIAMDINHHS/>", "DOCTYPE"),
        (b"\xef\xbb\xbf<!DOCTYPE G><GIAMDINHHS/>", "DOCTYPE"),
        ("<GIAMDINHHS>ễ</GIAMDINHHS>".encode("utf-16"), "UTF-8"),
        ("<!DOCTYPE G><GIAMDINHHS/>".encode("utf-16-le"), "UTF-8"),
        (b'<?xml version="1.0" encoding="windows-1258"?><GIAMDINHHS/>', "UTF-8"),
        (b"<GIAMDINHHS>\xff</GIAMDINHHS>", "UTF-8"),
        (b"<GIAMDINHHS>&laugh;</GIAMDINHHS>", "well-formed"),
        (b"<GIAMDINHHS>\x01</GIAMDINHHS>", "well-formed"),
        (b"<a>" * 3000 + b"</a>" * 3000, "well-formed"),
    ],
)
def test_what_is_no_envelope_is_malformed(body, says):
    """The body or envelope that cannot be parsed is one refusal, 400."""
    with pytest.raises(Malformed, match=says) as refusal:
        parse(body)

    assert refusal.value.status == 400
    assert refusal.value.issues[0].text_vi


def test_too_many_elements_are_too_large():
    """Counts are bounded before the parser builds a tree."""
    with pytest.raises(TooLarge):
        parse(b"<GIAMDINHHS>" + b"<a/>" * 2_000_001 + b"</GIAMDINHHS>")
    with pytest.raises(TooLarge):
        parse(b"<GIAMDINHHS " + b"a='' " * 100_001 + b"/>")


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("@@@", "BASE64"),
        ("QUJD\u00ea", "BASE64"),
        ("QUJDR", "BASE64"),
        ("<a/>", "BASE64"),
        (b"<TONG_HOP>", "XML"),
        (b"TONG_HOP", "XML"),
        (b"<tong_hop/>", "XML"),
        (b"<TONG_HOP>&nbsp;</TONG_HOP>", "XML"),
        (b"<TONG_HOP><GHI_CHU>\x02</GHI_CHU></TONG_HOP>", "XML"),
        (b"<TONG_HOP><GHI_CHU>&#1;</GHI_CHU></TONG_HOP>", "XML"),
        (b"<TONG_HOP><MA_LK>1</MA_LK><MA_LK>2</MA_LK></TONG_HOP>", "XML"),
        (f"{DOCTYPE}<TONG_HOP><HO_TEN>&x;</HO_TEN></TONG_HOP>".encode(), "XML"),
        (f"\n<?xml version='1.0'?>{DOCTYPE}<TONG_HOP/>".encode(), "XML"),
        (b"<a>" * 300 + b"</a>" * 300, "XML"),
        ("<TONG_HOP><HO_TEN>Nguyễn</HO_TEN></TONG_HOP>".encode("utf-16"), "ENCODING"),
        ("<TONG_HOP><HO_TEN>Lê</HO_TEN></TONG_HOP>".encode("latin-1"), "ENCODING"),
        (
            '<?xml version="1.0" encoding="utf-16"?><TONG_HOP><MA_BN>ê</MA_BN></TONG_HOP>'.encode(),
            "ENCODING",
        ),
        (f"{DOCTYPE}<TONG_HOP/>".encode("utf-16-le"), "ENCODING"),
        (b"<TONG_HOP>" + b"<a/>" * 600_001 + b"</TONG_HOP>", "LIMIT"),
        ("A" * (LONGEST_FILE + 4), "LIMIT"),
        ("A" * 12_000_000, "LIMIT"),
    ],
)
def test_what_is_wrong_inside_one_file_refuses_its_dossier(content, rule):
    """One unreadable FILEHOSO rejects that dossier and no other."""
    parsed = parse(envelope([hoso(file("XML1", content)), dossier(visit(MA_LK="B"))]))

    assert rules(parsed.dossiers[0]) == [("error", rule, "XML1.NOIDUNGFILE")]
    assert parsed.dossiers[0].record is None
    assert parsed.dossiers[1].record is not None
    assert not parsed.dossiers[1].issues


@pytest.mark.parametrize("declared", ["utf-16", "TCVN-5712", "windows-1258"])
def test_a_declaration_that_is_not_true_is_named(declared):
    """UTF-8 bytes that say they are not: the sentence names the declaration, in both languages."""
    content = f'<?xml version="1.0" encoding="{declared}"?><TONG_HOP><MA_BN>ê</MA_BN></TONG_HOP>'
    (issue,) = parse(envelope([hoso(file("XML1", content.encode()))])).dossiers[0].issues

    assert issue.rule == "ENCODING"
    for text in (issue.message, issue.message_vi):
        assert "encoding=" in text
        assert "UTF-8" in text

    (issue,) = parse(envelope([hoso(file("XML1", content.encode("utf-16")))])).dossiers[0].issues
    assert "encoding=" not in issue.message


def test_an_unreadable_table_leaves_the_visits_key():
    """The receipt names MA_LK where XML1 could be read, and where only a detail table could."""
    broken = with_file("XML2", "@@@")
    lines = file("XML2", table("XML2", rows("XML2", 1)))
    other = only(envelope([hoso(file("XML1", "@@@"), lines)]))

    assert broken.ma_lk == XML1["MA_LK"]
    assert rules(broken) == [("error", "BASE64", "XML2.NOIDUNGFILE")]
    assert other.ma_lk == XML1["MA_LK"]


def test_a_dossier_without_its_summary_is_refused():
    """XML1 missing, or empty, is G12-REQUIRED; MA_LK is read where it stands elsewhere."""
    lines = file("XML2", table("XML2", rows("XML2", 1)))

    for content in (hoso(lines), hoso(file("XML1", ""), lines), hoso()):
        found = only(envelope([content]))
        assert ("error", "G12-REQUIRED", "XML1") in rules(found)
        assert found.record is None


def test_a_table_of_too_many_rows_or_without_content():
    """More than 20,000 rows are LIMIT; a FILEHOSO without NOIDUNGFILE holds no row."""
    item = b"<CHI_TIET_CLS/>" * 20_001
    body = (
        b"<CHITIEU_CHITIET_DICHVUCANLAMSANG><DSACH_CHI_TIET_CLS>"
        + item
        + b"</DSACH_CHI_TIET_CLS></CHITIEU_CHITIET_DICHVUCANLAMSANG>"
    )
    bare = hoso(
        file("XML1", table("XML1", [XML1])), "<FILEHOSO><LOAIHOSO>XML4</LOAIHOSO></FILEHOSO>"
    )

    assert rules(with_file("XML4", body)) == [("error", "LIMIT", "XML4.NOIDUNGFILE")]
    assert rules(with_file("XML4", b"<KHAC/>")) == [("error", "XML", "XML4.NOIDUNGFILE")]
    assert only(envelope([bare])).record is not None


def test_two_summaries_are_refused():
    """A dossier has one XML1."""
    one = file("XML1", table("XML1", [XML1]))

    assert rules(only(envelope([hoso(one, one)]))) == [("error", "XML", "XML1")]


def test_files_of_one_table_are_read_together():
    """The rows of a detail table may come in several files."""
    files = [file("XML2", table("XML2", [line])) for line in rows("XML2", 2)]

    record = only(envelope([hoso(file("XML1", table("XML1", [XML1])), *files)])).record

    assert record is not None
    assert [row.n for row in record.xml2] == [1, 2]


def test_the_same_key_twice_refuses_the_second():
    """Keys are (MA_CSKCB, MA_LK); the same MA_LK of another facility is another visit."""
    parsed = parse(
        envelope([dossier(), dossier(visit(MA_CSKCB="79999")), dossier(visit(HO_TEN="X"))])
    )

    assert [rules(one) for one in parsed.dossiers] == [
        [],
        [],
        [("error", "DUPLICATE-KEY", "XML1.MA_LK")],
    ]


@pytest.mark.parametrize("count", ["2", "", "một", "1.0", "-1"])
def test_a_count_that_differs_warns(count):
    """SOLUONGHOSO that is not the number of dossiers is a warning of the envelope, rule XML."""
    assert rules(parse(envelope([dossier()], count=count))) == [("warning", "XML", "SOLUONGHOSO")]


def test_an_unknown_table_warns_and_is_left():
    """A LOAIHOSO that nobody knows, and the check-in's, warn."""
    for name in ("XML99", "XML0", ""):
        found = with_file(name, b"<X/>")
        assert rules(found) == [("warning", "XML", "FILEHOSO[2].LOAIHOSO")]
        assert found.record is not None


def test_an_unknown_tag_warns_once():
    """A tag that the table does not have is named once, at its first row."""
    from datetime import UTC, datetime

    from mappings.xml130.rules import check

    lines = [{**line, "LA": "x"} for line in rows("XML4", 3)]
    record = only(envelope([dossier(visit(), xml4=lines)])).record
    assert record is not None

    found = check(record, now=datetime(2026, 11, 25, tzinfo=UTC))

    assert [(i.rule, i.field) for i in found] == [("FORMAT", "XML4[1].LA")]


def test_elements_inside_a_field_warn():
    """HTML that was not escaped is read as its text."""
    found = summary(b"<TONG_HOP><MA_LK>1</MA_LK><GHI_CHU>a<b>b</b>c</GHI_CHU></TONG_HOP>")

    assert rules(found) == [("warning", "XML", "XML1.GHI_CHU")]
    assert found.record is not None
    assert found.record.xml1.ghi_chu == "abc"


def test_text_is_in_nfc_and_without_odd_signs():
    """Trap (c) and (e): NFD is composed, controls go, odd spaces are plain, HTML stays text."""
    name = unicodedata.normalize("NFD", "NGUYỄN\u00a0THỊ\u0085 MẪU\ufeff")

    record = only(envelope([dossier(visit(HO_TEN=name, GHI_CHU="<b>a</b>\nb"))])).record

    assert record is not None
    assert record.xml1.ho_ten == "NGUYỄN THỊ MẪU"
    assert record.xml1.ghi_chu == "<b>a</b>\nb"


def test_every_table_is_kept():
    """Tables that are mapped later are read with their rows."""
    found = with_file(
        "XML9",
        b"<CHI_TIEU_DU_LIEU_GIAY_CHUNG_SINH><DSACH_GIAYCHUNGSINH>"
        b"<DU_LIEU_GIAY_CHUNG_SINH><HO_TEN_CON>An</HO_TEN_CON></DU_LIEU_GIAY_CHUNG_SINH>"
        b"</DSACH_GIAYCHUNGSINH></CHI_TIEU_DU_LIEU_GIAY_CHUNG_SINH>",
    )
    letter = with_file(
        "XML13",
        b"<CHI_TIEU_GIAYCHUYENTUYEN><MA_CSKCB_DEN>79999</MA_CSKCB_DEN></CHI_TIEU_GIAYCHUYENTUYEN>",
    )

    assert found.record is not None
    assert found.record.others["XML9"][0].texts == {"HO_TEN_CON": "An"}
    assert letter.record is not None
    assert not letter.record.others["XML13"][0].flaws


def test_base64_may_be_broken_into_lines():
    """White space inside base64 is what mail and editors make of it."""
    text = base64.encodebytes(table("XML1", [XML1])).decode()

    assert summary(text).record is not None


def test_a_signature_is_noticed():
    """CHUKYDONVI that holds something is told apart from an empty one."""
    signed = envelope([dossier()]).replace(b"<CHUKYDONVI/>", b"<CHUKYDONVI><S/></CHUKYDONVI>")

    assert parse(signed).signed


def test_bombs_end_soon():
    """Entities are never expanded, and nothing takes more than linear time."""
    laughs = '<!DOCTYPE l [<!ENTITY a "ha">' + "".join(
        f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(20)
    )
    quadratic = "<TONG_HOP " + "a" * 2_000_000 + "='x'/>"
    spaces = " " * 4_000_000 + "<TONG_HOP/>"
    started = time.process_time()

    for content in (f"{laughs}]><TONG_HOP>&u;</TONG_HOP>", quadratic, spaces):
        summary(content.encode())

    assert time.process_time() - started < 10


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_parsed_or_malformed(body):
    """Whatever the bytes are, the answer is an envelope or a refusal."""
    try:
        parse(body)
    except Malformed:
        return


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["XML1", "XML2", "XML3", "XML9"]))
def test_any_content_of_a_file_is_a_dossier(content, name):
    """Whatever stands in a NOIDUNGFILE, the dossier is there, with a record or with an error."""
    found = with_file(name, content)

    assert (found.record is None) == any(issue.severity == "error" for issue in found.issues)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(XML2)), st.text(max_size=30), max_size=8))
def test_any_text_of_a_line_is_read(fields):
    """Whatever text a field holds, the row is built."""
    text = {name: "".join(c for c in value if c.isprintable()) for name, value in fields.items()}

    assert only(envelope([dossier(visit(), xml2=[{**XML2, **text}])])).ma_lk == XML1["MA_LK"]


@pytest.mark.parametrize(
    ("content", "says", "says_vi"),
    [
        ("\n<TONG_HOP>\n<HO_TEN>BÍ MẬT</HO_TEM>", ("well-formed", "line 3"), "dòng 3"),
        ("<TONG_HOP>\n<GHI_CHU>BÍ MẬT\x02</GHI_CHU></TONG_HOP>", ("well-formed",), "dòng 2"),
        (f"{DOCTYPE}<TONG_HOP>BÍ MẬT</TONG_HOP>", ("DOCTYPE",), "DOCTYPE"),
        ("\n\n<BI_MAT/>", ("does not begin", "TONG_HOP", "line 3"), "dòng 3"),
        ("<TONG_HOP xmlns='urn:BIMAT'/>", ("namespace", "line 1"), "xmlns"),
        (
            "<TONG_HOP>\n<MA_LK>BÍ MẬT</MA_LK>\n<MA_LK>2</MA_LK></TONG_HOP>",
            ("MA_LK twice", "line 3"), "MA_LK hai lần",
        ),
        ("<TONG_HOP><BI_MAT>1</BI_MAT><BI_MAT>2</BI_MAT></TONG_HOP>", ("? twice",), "? hai lần"),
    ],
)  # fmt: skip
def test_xml_that_is_refused_says_why_and_where(content, says, says_vi):
    """Each cause has its own sentence, with table and line, in both languages, without content."""
    (issue,) = summary(content.encode()).issues

    assert (issue.rule, issue.field) == ("XML", "XML1.NOIDUNGFILE")
    for word in ("XML1", *says):
        assert word in issue.message
    assert "XML1" in issue.message_vi
    assert says_vi in issue.message_vi
    for secret in ("BÍ", "MẬT", "BI_MAT", "BIMAT", "passwd"):
        assert secret not in issue.message + issue.message_vi
