"""Money: the arithmetic of each line (G18), the sums of XML1 (G19), scope (G29), ratio (G30).

PL4750, texts of tables 1 to 3; domain 2.5. At the intake all of it only warns; the claim's check
makes findings of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from mappings.xml130 import arithmetic
from mappings.xml130.arithmetic import Line
from mappings.xml130.messages import say
from mappings.xml130.record import Drug, Record, RecordIssue, Service
from mappings.xml130.rules_person import NOT_INSURED, cards_of

SERVICE_RATIOS: Final = frozenset(map(Decimal, (0, 10, 30, 33, 50, 80, 100)))
OUTSIDE: Final = "2"
TOTALS: Final = (
    "T_THUOC", "T_VTYT", "T_TONGCHI_BV", "T_TONGCHI_BH", "T_BNTT", "T_BNCCT", "T_BHTT",
    "T_NGUONKHAC", "T_BHTT_GDV",
)  # fmt: skip
_PLACES: Final = (
    ("SO_LUONG", 3),
    ("DON_GIA", 3),
    ("DON_GIA_BV", 3),
    ("DON_GIA_BH", 3),
    ("THANH_TIEN_BV", 2),
    ("THANH_TIEN_BH", 2),
    ("T_BNTT", 2),
    ("T_BNCCT", 2),
    ("T_BHTT", 2),
    ("T_NGUONKHAC", 2),
)


def line_of(row: Drug | Service) -> Line:
    """Return the figures of one line of XML2 or XML3."""
    if isinstance(row, Service):
        price, insured, service_ratio = row.don_gia_bv, row.don_gia_bh, row.tyle_tt_dv
    else:
        price, insured, service_ratio = row.don_gia, row.don_gia, None
    return Line(
        table=row.table,
        group=row.ma_nhom.lstrip("0"),
        payment_method=row.ma_pttt.lstrip("0"),
        quantity=row.so_luong,
        price=price,
        insured_price=insured,
        ratio=row.tyle_tt_bh,
        service_ratio=service_ratio,
        level=row.muc_huong,
        thanh_tien_bv=row.thanh_tien_bv,
        thanh_tien_bh=row.thanh_tien_bh,
        sources=(
            row.t_nguonkhac_nsnn,
            row.t_nguonkhac_vtnn,
            row.t_nguonkhac_vttn,
            row.t_nguonkhac_cl,
        ),
        t_nguonkhac=row.t_nguonkhac,
        t_bntt=row.t_bntt,
        t_bncct=row.t_bncct,
        t_bhtt=row.t_bhtt,
    )


def money(record: Record) -> Iterator[RecordIssue]:
    """G18, G29, G30 of each line, then G19 of the dossier."""
    figures: list[Line] = []
    for row in record.lines:
        line = line_of(row)
        figures.append(line)
        for wrong in arithmetic.wrong_in_line(line):
            yield say("line-arithmetic", row.path(wrong.field))
        yield from _scope_and_ratio(row, line)
    yield from _sums(record, figures)


def _scope_and_ratio(row: Drug | Service, line: Line) -> Iterator[RecordIssue]:
    if row.pham_vi == OUTSIDE and row.thanh_tien_bh:
        yield say("scope", row.path("PHAM_VI"))
    if line.ratio is not None and not 0 <= line.ratio <= arithmetic.HUNDRED:
        yield say("ratio", row.path("TYLE_TT_BH"))
    if line.service_ratio is not None and line.service_ratio not in SERVICE_RATIOS:
        yield say("ratio", row.path("TYLE_TT_DV"))
    for name, places in _PLACES:
        text = row.texts.get(name, "")
        # Domain 2.3: quantity and unit price 3 decimals, money 2; more is stored as sent.
        if "." in text and len(text.partition(".")[2].rstrip("0")) > places:
            yield say("places", row.path(name))


def _sums(record: Record, figures: list[Line]) -> Iterator[RecordIssue]:
    xml1 = record.xml1
    stated = {
        name: amount for name in TOTALS if (amount := getattr(xml1, name.lower())) is not None
    }
    cards = () if xml1.ma_doituong_kcb == NOT_INSURED else cards_of(xml1)
    for wrong in arithmetic.wrong_sums(figures, stated, cards):
        yield say("sum", f"XML1.{wrong.field}")
