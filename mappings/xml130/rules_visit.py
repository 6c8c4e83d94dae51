"""The visit: order of times, days of treatment, codes of diseases, and fields others ask for.

Rules G09, G10, G11, G17, G33, G35 of domain 8.3, and the conditional "Req." of domain 2.7.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from mappings.xml130.messages import say
from mappings.xml130.record import Record, RecordIssue, Summary

AHEAD: Final = timedelta(minutes=10)
PLANNED: Final = frozenset({"02", "05", "07"})
"""Visit forms whose NGAY_RA is the last day of drug use (domain 2.3)."""
NO_DAYS: Final = frozenset({"01", "07", "09"})
WHOLE_DAYS: Final = frozenset({"02", "03", "04", "06"})
PERFORMED: Final = frozenset({"1", "2", "3", "8", "18"})
REFERRED: Final = frozenset({"2", "5"})
MOST_CODES: Final = 12
HEAVIEST: Final = Decimal(200)
NO_TENDER: Final = frozenset({"7", "17"})
TRANSPORT: Final = "12"
SUPPLIES_IN_LIST: Final = "10"


def times(xml1: Summary, now: datetime) -> Iterator[RecordIssue]:
    """G09: NGAY_SINH <= NGAY_VAO <= NGAY_VAO_NOI_TRU <= NGAY_RA <= now (VAL4750)."""
    start, end, admitted = xml1.ngay_vao, xml1.ngay_ra, xml1.ngay_vao_noi_tru
    if start and end and end < start:
        yield say("out-before-in", "XML1.NGAY_RA")
    if admitted and ((start and admitted < start) or (end and admitted > end)):
        yield say("admission-outside", "XML1.NGAY_VAO_NOI_TRU")
    if start and _born_after(xml1, start):
        yield say("born-later", "XML1.NGAY_SINH")
    if start and start > now + AHEAD:
        yield say("future", "XML1.NGAY_VAO")
    if end and end > now + AHEAD and xml1.ma_loai_kcb not in PLANNED:
        yield say("future", "XML1.NGAY_RA")
    if xml1.ngay_ttoan and end and xml1.ngay_ttoan < end and xml1.ma_loai_kcb not in PLANNED:
        yield say("paid-before-out", "XML1.NGAY_TTOAN")


def _born_after(xml1: Summary, start: datetime) -> bool:
    birth = xml1.ngay_sinh
    if birth is None:
        return False
    moment = birth.moment
    return moment > start if moment else birth.earliest > start.date()


def order_times(record: Record) -> Iterator[RecordIssue]:
    """G10: NGAY_VAO <= NGAY_YL <= NGAY_TH_YL <= NGAY_KQ, NGAY_YL <= NGAY_RA (QLBV)."""
    start, end = record.xml1.ngay_vao, record.xml1.ngay_ra
    for row in record.lines:
        ordered = row.ngay_yl
        if ordered and ((start and ordered < start) or (end and ordered > end)):
            yield say("order-outside", row.path("NGAY_YL"))
        if ordered and row.ngay_th_yl and row.ngay_th_yl < ordered:
            yield say("order-outside", row.path("NGAY_TH_YL"))
    for service in record.xml3:
        before = service.ngay_th_yl or service.ngay_yl
        if service.ngay_kq and before and service.ngay_kq < before:
            yield say("order-outside", service.path("NGAY_KQ"))


def days(xml1: Summary) -> Iterator[RecordIssue]:
    """G11: SO_NGAY_DTRI by visit form (VAL4750; domain 2.4)."""
    given, start, end = xml1.so_ngay_dtri, xml1.ngay_vao, xml1.ngay_ra
    if given is None or start is None or end is None:
        return
    if xml1.ma_loai_kcb in NO_DAYS:
        expected = 0
    elif xml1.ma_loai_kcb in WHOLE_DAYS:
        expected = (end.date() - start.date()).days + 1
    else:
        return
    if given != expected:
        yield say("days", "XML1.SO_NGAY_DTRI")


def codes(xml1: Summary) -> Iterator[RecordIssue]:
    """G17: at most 12 other codes, none twice, none the main one (PL4750)."""
    others = [code for code in xml1.ma_benh_kt if code]
    if len(others) > MOST_CODES:
        yield say("many-codes", "XML1.MA_BENH_KT")
    if len(set(others)) < len(others) or (xml1.ma_benh_chinh and xml1.ma_benh_chinh in others):
        yield say("code-twice", "XML1.MA_BENH_KT")


def weight(xml1: Summary) -> Iterator[RecordIssue]:
    """G33: a weight is more than 0 and at most 200 kg (QLBV)."""
    if xml1.can_nang is not None and not 0 < xml1.can_nang <= HEAVIEST:
        yield say("weight", "XML1.CAN_NANG")


def same_visit(record: Record) -> Iterator[RecordIssue]:
    """G35: what every table repeats is the same as in XML1 (VAL4750)."""
    ma_lk = record.xml1.ma_lk
    for row in record.rows():
        if row.texts.get("MA_LK", ma_lk) != ma_lk:
            yield say("other-visit", row.path("MA_LK"))


def asked_for(record: Record) -> Iterator[RecordIssue]:
    """G12: fields that other fields of the dossier make required (VAL4750), warnings only."""
    if record.xml1.ma_loai_rv in REFERRED and not record.xml1.ma_noi_den:
        yield say("required-here", "XML1.MA_NOI_DEN")
    for drug in record.xml2:
        if not drug.tt_thau and drug.ma_nhom.lstrip("0") not in NO_TENDER:
            yield say("required-here", drug.path("TT_THAU"))
    for service in record.xml3:
        group = service.ma_nhom.lstrip("0")
        if not service.ma_dich_vu and not service.ma_vat_tu:
            yield say("required-here", service.path("MA_DICH_VU"))
        wanted = (
            ("TEN_DICH_VU", bool(service.ma_dich_vu)),
            ("TEN_VAT_TU", bool(service.ma_vat_tu)),
            ("NGUOI_THUC_HIEN", group in PERFORMED),
            ("NGAY_TH_YL", group in PERFORMED),
            ("MA_XANG_DAU", group == TRANSPORT),
            ("TT_THAU", group == SUPPLIES_IN_LIST),
        )
        for name, needed in wanted:
            if needed and name not in service.texts:
                yield say("required-here", service.path(name))
    for result in record.xml4:
        if result.gia_tri and result.ngay_kq is None and "NGAY_KQ" not in result.texts:
            yield say("required-here", result.path("NGAY_KQ"))
