"""The sixteen fields as JSON or CSV -> typed dossiers, for a clinic that has no more than these.

Contract section 5: flat JSON objects or a CSV with a header line, keys in the decree's names.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Mapping
from typing import Any, Final

from fhir_server.model import codec
from fhir_server.model.outcome import Malformed
from mappings.xml130.build import build, mark_duplicates
from mappings.xml130.messages import say
from mappings.xml130.read import clean
from mappings.xml130.record import Dossier, Envelope, RecordIssue
from mappings.xml130.tables import TABLES

INSURED: Final = "1.1"
NOT_INSURED: Final = "9"
_BOM: Final = "\ufeff"
_NOT_UTF8: Final = re.compile("[\udc80-\udcff]")
_CONTROL: Final = dict.fromkeys([*(c for c in range(0x20) if c not in {9, 10, 13}), 0x7F])
_NAMES: Final = TABLES["XML1"].fields

# The library ends a cell at 128 KiB, and with it the whole file; a cell that is longer than its
# field is its own record's fault, and the body's limit bounds them all.
csv.field_size_limit(2**31 - 1)


def parse_json(body: bytes) -> Envelope:
    """Return the dossiers of one JSON object or an array of them.

    Raises:
        Malformed: The body is not JSON, neither object nor array, or holds no record.
    """
    # RFC 8259, section 8.1: a receiver may ignore a byte order mark, which Windows' tools write.
    value = codec.loads(body.removeprefix(codecs.BOM_UTF8))
    records = value if isinstance(value, list) else [value]
    if not isinstance(value, list | dict) or not records:
        raise Malformed(
            "The body holds no record: send one JSON object or an array of them.",
            text_vi="Nội dung không có bản ghi nào: hãy gửi một đối tượng JSON hoặc một mảng.",
        )
    return _envelope([_of_json(n, record) for n, record in enumerate(records, 1)])


def parse_csv(body: bytes) -> Envelope:
    """Return the dossiers of a CSV with a header line, one a line.

    Raises:
        Malformed: There is no header line of the decree's names, no record, or a broken quote.
    """
    if body.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Malformed(
            "The CSV is UTF-16; send it as UTF-8.",
            text_vi="CSV được mã hóa UTF-16; hãy gửi UTF-8.",
        )
    # Bytes that are not UTF-8 are kept apart, so that only the line that holds them is refused.
    text = body.decode("utf-8", "surrogateescape").removeprefix(_BOM).translate(_CONTROL)
    lines = _csv_lines(text)
    header = [clean(name) for name in lines[0]] if lines else []
    if not any(name in _NAMES for name in header):
        raise Malformed(
            "The first line of the CSV does not name fields such as MA_LK and HO_TEN.",
            text_vi="Dòng đầu của CSV không có tên trường như MA_LK, HO_TEN.",
        )
    named = [name for name in header if name]
    if len(set(named)) < len(named):
        raise Malformed(
            "The header line of the CSV names a field twice.",
            text_vi="Dòng tiêu đề của CSV có tên trường lặp lại.",
        )
    rows = [line for line in lines[1:] if any(cell.strip() for cell in line)]
    if not rows:
        raise Malformed(
            "The CSV holds no record after its header line.",
            text_vi="CSV không có bản ghi nào sau dòng tiêu đề.",
        )
    return _envelope([_of_cells(n, header, row) for n, row in enumerate(rows, 1)])


def _csv_lines(text: str) -> list[list[str]]:
    head = text.lstrip("\r\n").partition("\n")[0]
    delimiter = ";" if head.count(";") > head.count(",") else ","
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    try:
        reader = csv.reader(
            (f"{line}\n" for line in lines), delimiter=delimiter, quotechar='"', strict=True
        )
        return [line for line in reader if line]
    except csv.Error:
        raise Malformed(
            "The CSV has a quote that does not end, or text after a closing quote.",
            text_vi="CSV có dấu nháy không đóng, hoặc có chữ sau dấu nháy đóng.",
        ) from None


def _envelope(dossiers: list[Dossier]) -> Envelope:
    return Envelope(
        facility=None,
        created=None,
        count=None,
        signed=False,
        dossiers=mark_duplicates(tuple(dossiers)),
    )


def _of_json(n: int, record: Any) -> Dossier:
    if not isinstance(record, dict):
        return Dossier(n, None, None, (say("not-an-object", "XML1"),))
    raw: dict[str, str] = {}
    issues: list[RecordIssue] = []
    for name, value in record.items():
        if value is None:
            continue
        if isinstance(value, str):
            raw[name] = value
        elif isinstance(value, int) and not isinstance(value, bool):
            raw[name] = str(value)
        elif name in _NAMES:
            issues.append(say("not-a-string", f"XML1.{name}"))
        else:
            raw[name] = "?"  # an unknown key, whatever it holds: said when the row is built
    return _dossier(n, raw, issues)


def _of_cells(n: int, header: list[str], row: list[str]) -> Dossier:
    raw = {name: cell for name, cell in zip(header, row, strict=False) if name}
    issues: list[RecordIssue] = []
    # A line that ends in one delimiter more than it needs holds nothing else.
    if len(row) != len(header) and (len(row) < len(header) or any(row[len(header) :])):
        issues.append(say("cells", "XML1.MA_LK"))
    for name, cell in raw.items():
        if _NOT_UTF8.search(cell):
            issues.append(say("code-page", f"XML1.{name}"))
    return _dossier(n, raw, issues)


def _dossier(n: int, raw: Mapping[str, str], issues: list[RecordIssue]) -> Dossier:
    ma_lk = clean(raw.get("MA_LK", "")) or None
    if issues:
        return Dossier(n, ma_lk, None, tuple(issues))
    fields = dict(raw)
    if not clean(fields.get("MA_DOITUONG_KCB", "")):
        insured = clean(fields.get("MA_THE_BHYT", ""))
        fields["MA_DOITUONG_KCB"] = INSURED if insured else NOT_INSURED
    return Dossier(n, ma_lk, build({"XML1": [fields]}))
