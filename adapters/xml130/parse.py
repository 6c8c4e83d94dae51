"""Bytes of a GIAMDINHHS envelope -> typed dossiers, with limits and a hardened XML parser.

QĐ 130/QĐ-BYT and its amendments; letter 1245/BHXH-CNTT (2024), section 3.4. Nothing is fetched,
no entity is expanded, a DOCTYPE is refused before the parser sees it, and depth, counts and
lengths are bounded.
"""

from __future__ import annotations

import binascii
import re
from typing import Any, Final, cast

from lxml import etree

from fhir_server.model.outcome import Malformed, TooLarge
from mappings.xml130.build import build, mark_duplicates
from mappings.xml130.messages import say
from mappings.xml130.read import clean
from mappings.xml130.record import Dossier, Envelope, RecordIssue
from mappings.xml130.tables import TABLES

ROOT: Final = "GIAMDINHHS"
LONGEST_FILE: Final = 9_000_000
"""Characters of one NOIDUNGFILE (contract section 5, LIMIT)."""
MOST_TAGS: Final = 2_000_000
MOST_INNER_TAGS: Final = 600_000
MOST_ROWS: Final = 20_000
"""Rows of one dossier, of all its tables."""
MOST_QUOTES: Final = 200_000
"""Attributes need quotes, base64 has none: bounds the attributes of an envelope."""

_PROLOG: Final = re.compile(rb"(?:\s+|<\?.*?\?>|<!--.*?-->)*", re.DOTALL)
_DECLARED: Final = re.compile(rb"""<\?xml[^>]*?\sencoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")
_BOM: Final = b"\xef\xbb\xbf"
_UTF8: Final = frozenset({b"utf-8", b"utf8", b"us-ascii", b"ascii"})


class _Refused(Exception):
    """One FILEHOSO cannot be read; the dossier is rejected with this issue."""

    def __init__(self, key: str, field: str, **words: str | int) -> None:
        super().__init__(key)
        self.issue = say(key, field, **words)


def parse(body: bytes) -> Envelope:
    """Return the envelope and its dossiers; one that cannot be read has issues and no record.

    Args:
        body: The request's body as received (a gzip body decoded).

    Raises:
        Malformed: The body is not an envelope: not XML, a DOCTYPE, another root, no dossier.
        TooLarge: The envelope has more elements than any submission needs.
    """
    root = _envelope_root(body)
    dossiers = root.findall("THONGTINHOSO/DANHSACHHOSO/HOSO")
    if not dossiers:
        raise Malformed(
            "The envelope holds no HOSO in THONGTINHOSO/DANHSACHHOSO.",
            text_vi="Gói dữ liệu không có HOSO nào trong THONGTINHOSO/DANHSACHHOSO.",
        )
    facility = clean(root.findtext("THONGTINDONVI/MACSKCB") or "").upper() or None
    count = clean(root.findtext("THONGTINHOSO/SOLUONGHOSO") or "") or None
    signature = root.find("CHUKYDONVI")
    inner = _parser(huge=False)
    return Envelope(
        facility=facility,
        created=clean(root.findtext("THONGTINHOSO/NGAYLAP") or "") or None,
        count=count,
        signed=signature is not None and (len(signature) > 0 or bool(clean(signature.text or ""))),
        dossiers=mark_duplicates(
            tuple(_dossier(n, element, inner) for n, element in enumerate(dossiers, 1))
        ),
        issues=_count_issues(count, len(dossiers)),
    )


def _parser(*, huge: bool) -> etree.XMLParser:
    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        attribute_defaults=False,
        remove_comments=True,
        remove_pis=True,
        # A NOIDUNGFILE longer than libxml2's own limit must reject its dossier, not the envelope;
        # depth stays bounded by libxml2 (2048), counts by us.
        huge_tree=huge,
    )


def has_doctype(body: bytes) -> bool:
    """Whether a DOCTYPE stands before the root element, seen without a parser."""
    start = _PROLOG.match(body, len(_BOM) if body.startswith(_BOM) else 0)
    return start is not None and body.startswith(b"<!DOCTYPE", start.end())


def is_utf8(body: bytes) -> bool:
    """Whether the bytes are UTF-8, and say nothing else of themselves."""
    return _has_utf8_bytes(body) and _is_declared_so(body)


def _has_utf8_bytes(body: bytes) -> bool:
    # A NUL would make the parser guess UTF-16 or UTF-32, and hide a DOCTYPE from the look ahead.
    if b"\x00" in body:
        return False
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _is_declared_so(body: bytes) -> bool:
    declared = _DECLARED.match(body, len(_BOM) if body.startswith(_BOM) else 0)
    if declared is None:
        return True
    name = declared[1].lower()
    return name in _UTF8 and (not name.endswith(b"ascii") or body.isascii())


def is_too_large(body: bytes) -> bool:
    """Whether an envelope has more elements or attributes than any submission needs."""
    return body.count(b"<") > MOST_TAGS or body.count(b'"') + body.count(b"'") > MOST_QUOTES


def _envelope_root(body: bytes) -> etree._Element:
    if not _has_utf8_bytes(body):
        raise Malformed(
            "The envelope is not UTF-8.", text_vi="Gói dữ liệu không được mã hóa UTF-8."
        )
    if not _is_declared_so(body):
        raise Malformed(
            "The envelope is UTF-8, but encoding= in its XML declaration names another encoding.",
            text_vi="Gói dữ liệu là UTF-8 nhưng encoding= trong khai báo XML ghi bảng mã khác.",
        )
    if has_doctype(body):
        raise Malformed(
            "The envelope has a DOCTYPE, which is not read.",
            text_vi="Gói dữ liệu có DOCTYPE, máy chủ không nhận.",
        )
    if is_too_large(body):
        raise TooLarge(
            "The envelope has more elements or attributes than this server reads.",
            text_vi="Gói dữ liệu có nhiều phần tử hoặc thuộc tính hơn mức máy chủ đọc.",
        )
    try:
        root = etree.fromstring(body, _parser(huge=True))
    except etree.XMLSyntaxError as error:
        raise Malformed(
            f"The envelope is not well-formed XML (line {error.lineno}).",
            text_vi=f"Gói dữ liệu không phải XML đúng cú pháp (dòng {error.lineno}).",
        ) from None
    if root.tag != ROOT:
        raise Malformed(
            f"The root element is not {ROOT}.", text_vi=f"Phần tử gốc không phải là {ROOT}."
        )
    return root


def _count_issues(count: str | None, real: int) -> tuple[RecordIssue, ...]:
    if count is not None and count.isascii() and count.isdigit() and count.lstrip("0") == str(real):
        return ()
    return (say("count-differs", "SOLUONGHOSO"),)


def _dossier(n: int, hoso: etree._Element, parser: etree.XMLParser) -> Dossier:
    tables: dict[str, list[dict[str, str]]] = {}
    issues: list[RecordIssue] = []
    for place, file in enumerate(hoso.findall("FILEHOSO"), 1):
        name = clean(file.findtext("LOAIHOSO") or "")
        if name not in TABLES or name == "XML0":
            issues.append(say("unknown-table", f"FILEHOSO[{place}].LOAIHOSO"))
            continue
        try:
            rows = _rows(name, file.find("NOIDUNGFILE"), parser, issues)
        except _Refused as refusal:
            issues.append(refusal.issue)
            continue
        if name == "XML1" and rows and tables.get("XML1"):
            issues.append(say("two-summaries", "XML1"))
        tables.setdefault(name, []).extend(rows)
        if sum(map(len, tables.values())) > MOST_ROWS:
            issues.append(say("limit", f"{name}.NOIDUNGFILE"))
            break
    ma_lk = _visit_key(tables)
    errors = [issue.field for issue in issues if issue.severity == "error"]
    if not tables.get("XML1") and "XML1.NOIDUNGFILE" not in errors:
        issues.append(say("no-summary", "XML1"))
        errors.append("XML1")
    if errors:
        return Dossier(n, ma_lk, None, tuple(issues))
    return Dossier(n, ma_lk, build(tables), tuple(issues))


def _visit_key(tables: dict[str, list[dict[str, str]]]) -> str | None:
    for name in sorted(tables, key=lambda name: name != "XML1"):
        for row in tables[name]:
            ma_lk = clean(row.get("MA_LK", ""))
            if ma_lk:
                return ma_lk
    return None


def _rows(
    table: str,
    content: etree._Element | None,
    parser: etree.XMLParser,
    issues: list[RecordIssue],
) -> list[dict[str, str]]:
    """Return the raw texts of the rows in one NOIDUNGFILE."""
    field = f"{table}.NOIDUNGFILE"
    if content is None:
        return []
    if len(content):
        raise _Refused("base64", field)
    text = content.text or ""
    if len(text) > LONGEST_FILE:
        raise _Refused("limit", field)
    data, skipped = _decoded(text, field)
    if not data:
        issues.append(say("empty-table", field))
        return []
    root = _inner_root(data, field, parser, skipped)
    items: list[etree._Element] = [root]
    elements = TABLES[table].elements
    if elements:
        _require_root(root, elements[0], field, skipped)
    for step in elements[1:]:
        items = [child for item in items for child in item if child.tag == step]
    return [_texts(table, item, issues, skipped) for item in items]


def _decoded(text: str, field: str) -> tuple[bytes, int]:
    """Return the bytes of a NOIDUNGFILE without outer blanks, and how many lines these were."""
    try:
        data = binascii.a2b_base64(
            text.encode("ascii").translate(None, b" \t\r\n"), strict_mode=True
        )
    except (binascii.Error, ValueError):
        raise _Refused("base64", field) from None
    begun = data.lstrip()
    return begun.rstrip(), data.count(b"\n", 0, len(data) - len(begun))


def _inner_root(data: bytes, field: str, parser: etree.XMLParser, skipped: int) -> etree._Element:
    if not _has_utf8_bytes(data):
        raise _Refused("encoding", field)
    if not _is_declared_so(data):
        raise _Refused("declaration", field)
    if has_doctype(data):
        raise _Refused("xml-doctype", field)
    if data.count(b"<") > MOST_INNER_TAGS:
        raise _Refused("limit", field)
    try:
        return etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise _Refused("xml-syntax", field, line=(error.lineno or 1) + skipped) from None


def _require_root(root: etree._Element, name: str, field: str, skipped: int) -> None:
    if root.tag != name:
        key = "xml-namespace" if etree.QName(root).localname == name else "xml-root"
        raise _Refused(key, field, root=name, line=_line(root, skipped))


def _line(element: etree._Element, skipped: int) -> int:
    return cast("int", element.sourceline) + skipped


def _texts(
    table: str, item: etree._Element, issues: list[RecordIssue], skipped: int
) -> dict[str, str]:
    """Return a row's text by tag; a tag twice with different text is not a row."""
    texts: dict[str, str] = {}
    for child in item:
        tag: Any = child.tag
        text = child.text or ""
        if len(child):
            text = "".join(str(piece) for piece in child.itertext())
            issues.append(say("nested", f"{table}.{tag}"))
        if tag in texts and texts[tag] != text:
            # A name that is none of the table's may be anything: it is not said.
            said = tag if tag in TABLES[table].fields else "?"
            line = _line(child, skipped)
            raise _Refused("xml-twice", f"{table}.NOIDUNGFILE", tag=said, line=line)
        texts[tag] = text
    return texts
