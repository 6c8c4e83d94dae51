"""Shape: required fields, forms, lengths, code lists and text encoding.

Sources: column "Req." and both length columns of PL4750 and VAL4750 (domain 2.7), forms of domain
2.3, lists of 2.4; contract section 5 says which of them refuse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from mappings.terminology.concept_map import ConceptMap
from mappings.xml130 import code_tables, fields16
from mappings.xml130.messages import say
from mappings.xml130.read import Flaw
from mappings.xml130.record import Kind, Record, RecordIssue, Row, Summary
from mappings.xml130.tables import TABLES

_SHAPES: Final = {
    "number": "number",
    "digits": "number",
    "time": "time",
    "day": "day",
    "days": "day",
    "day-or-time": "day-or-time",
    "birth": "birth",
    "icd": "icd",
    "icds": "icd",
    "facility": "facility",
    "facilities": "facility",
}
_SUMMARY_LISTS: Final[tuple[tuple[str, ConceptMap], ...]] = (
    ("GIOI_TINH", code_tables.SEX),
    ("KET_QUA_DTRI", code_tables.RESULT),
    ("MA_LOAI_RV", code_tables.DISCHARGE),
    ("MA_DOITUONG_KCB", code_tables.COVERAGE_CASE),
)
_LINE_LISTS: Final[tuple[tuple[str, frozenset[str]], ...]] = (
    ("MA_NHOM", code_tables.COST_GROUP.codes()),
    ("PHAM_VI", code_tables.SCOPE.codes()),
    ("MA_PTTT", code_tables.PAYMENT_METHOD.codes()),
    ("NGUON_CTRA", code_tables.DRUG_SOURCE.codes()),
    ("PP_VO_CAM", code_tables.ANAESTHESIA.codes()),
    ("VET_THUONG_TP", frozenset({"1"})),
    ("TAI_SU_DUNG", frozenset({"1"})),
)
_COMMA_NUMBER: Final = re.compile(r"-?[0-9]+,[0-9]+")


def required(record: Record, kind: Kind) -> Iterator[RecordIssue]:
    """G12: fields that must not be empty (VAL4750 "bắt buộc"; domain section 10 for sixteen)."""
    if kind == "fields16":
        for name in sorted(fields16.REQUIRED - record.xml1.texts.keys()):
            yield say("required", f"XML1.{name}")
        return
    for row in record.rows():
        table = TABLES[row.table]
        missing = table.required - row.texts.keys()
        for name in sorted(missing):
            yield say("required", row.path(name))
        for name in sorted(table.wanted - row.texts.keys()):
            yield say("wanted", row.path(name))


def required_of_withdrawal(record: Record) -> Iterator[RecordIssue]:
    """G38: MA_LK and MA_CSKCB suffice to withdraw a visit (QĐ 3276/2025, code 8)."""
    for name in ("MA_LK", "MA_CSKCB"):
        if name not in record.xml1.texts:
            yield say("required", f"XML1.{name}")


def forms(row: Row) -> Iterator[RecordIssue]:
    """FORMAT and ENCODING: what reading the row found wrong (domain 2.3, 2.7, trap e)."""
    for flaw in row.flaws:
        yield say(_sentence(flaw), row.path(flaw.field))


def _sentence(flaw: Flaw) -> str:
    if flaw.what == "shape":
        return _SHAPES[flaw.kind]
    return "unknown-field" if flaw.what == "unknown" else flaw.what


def all_forms(record: Record) -> Iterator[RecordIssue]:
    """FORMAT: as `forms`, of all rows; an unknown field only at the first row of its table."""
    seen: set[tuple[str, str]] = set()
    for row in record.rows():
        if not row.flaws:
            continue
        for flaw in row.flaws:
            if flaw.what == "unknown":
                if (row.table, flaw.field) in seen:
                    continue
                seen.add((row.table, flaw.field))
            yield say(_sentence(flaw), row.path(flaw.field))


def lists(record: Record) -> Iterator[RecordIssue]:
    """G13: codes of their list; those of XML1 that the contract names refuse, others warn."""
    xml1 = record.xml1
    for name, table in _SUMMARY_LISTS:
        if name in xml1.texts and xml1.texts[name] not in table:
            yield say("catalogue", f"XML1.{name}")
    if xml1.ma_loai_kcb and xml1.ma_loai_kcb not in code_tables.VISIT_FORM:
        yield say("catalogue", "XML1.MA_LOAI_KCB")
    yield from _summary_warnings(xml1)
    for row in record.lines:
        for name, codes in _LINE_LISTS:
            text = row.texts.get(name)
            if text is not None and text not in codes and (text.lstrip("0") or "0") not in codes:
                yield say("catalogue-warning", row.path(name))


def _summary_warnings(xml1: Summary) -> Iterator[RecordIssue]:
    if xml1.ma_dantoc and xml1.ma_dantoc.zfill(2) not in code_tables.ETHNIC:
        yield say("catalogue-warning", "XML1.MA_DANTOC")
    if xml1.ma_khuvuc and xml1.ma_khuvuc not in code_tables.LIVING_AREA:
        yield say("catalogue-warning", "XML1.MA_KHUVUC")


def results(record: Record) -> Iterator[RecordIssue]:
    """FORMAT: a result typed with a decimal comma is kept as text, never guessed (trap g)."""
    for row in record.xml4:
        if "," in row.gia_tri and _COMMA_NUMBER.fullmatch(row.gia_tri):
            yield say("comma-result", row.path("GIA_TRI"))


def row_numbers(record: Record) -> Iterator[RecordIssue]:
    """FORMAT: rows are matched by STT, so two rows of a table should not share one."""
    for rows in (record.xml2, record.xml3, record.xml4, record.xml5):
        seen: set[str] = set()
        for row in rows:
            number = row.texts.get("STT", "").lstrip("0")
            if number and number in seen:
                yield say("same-row", row.path("STT"))
            seen.add(number)
