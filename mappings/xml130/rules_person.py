"""The person and the cards: SO_CCCD, name, age, and MA_THE_BHYT with its dates.

Domain 4.1 (NĐ 137/2015 Đ13, TT 59/2021/TT-BCA Đ4), 4.2, and rules G03 to G05, G37.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from mappings.xml130.card_period import Period, wrong_periods
from mappings.xml130.code_tables import PROVINCE
from mappings.xml130.messages import say
from mappings.xml130.record import RecordIssue, Summary

PAPER: Final = re.compile(r"[0-9]{12}|[0-9]{9}|[A-Z][0-9]{7}")
FOREIGN: Final = re.compile(r"(?=[0-9]*[A-Z])[A-Z0-9]{6,15}")
CARD: Final = re.compile(r"[A-Z]{2}[1-5][0-9]{12}|[0-9]{10}|[0-9]{12}")
CITIZEN: Final = re.compile(r"[0-9]{12}")
ADULT: Final = 18
OLDEST: Final = 130
NEW_BORN: Final = timedelta(days=28)
NOT_INSURED: Final = "9"
# A donor right after donation and a new-born right after birth have no card yet.
_NO_CARD_YET: Final = frozenset({"1.6", "1.7"})
_OLD_PROVINCES: Final = frozenset(code for code in PROVINCE.codes() if len(code) == len("01"))
# Not a province: bulk test data uses it (domain section 10, "Invented test record").
_SYNTHETIC: Final = "99"


def paper(xml1: Summary) -> Iterator[RecordIssue]:
    """CCCD-SHAPE, CCCD-SEX, CCCD-YEAR, CCCD-MISSING: domain 4.1; the number has no check digit."""
    number = xml1.so_cccd
    if not number:
        if _is_adult(xml1):
            yield say("cccd-missing", "XML1.SO_CCCD")
        return
    if not PAPER.fullmatch(number):
        yield say("cccd-foreign" if FOREIGN.fullmatch(number) else "cccd-shape", "XML1.SO_CCCD")
        return
    if CITIZEN.fullmatch(number):
        yield from _digits(number, xml1)


def _digits(number: str, xml1: Summary) -> Iterator[RecordIssue]:
    if number[0] == "0" and number[1:3] not in _OLD_PROVINCES and number[1:3] != _SYNTHETIC:
        yield say("cccd-province", "XML1.SO_CCCD")
    century_and_sex = int(number[3])
    if xml1.gioi_tinh in {"1", "2"} and (century_and_sex % 2 == 0) != (xml1.gioi_tinh == "1"):
        yield say("cccd-sex", "XML1.SO_CCCD")
    year = 1900 + 100 * (century_and_sex // 2) + int(number[4:6])
    if xml1.ngay_sinh is not None and xml1.ngay_sinh.year != year:
        yield say("cccd-year", "XML1.SO_CCCD")


def _is_adult(xml1: Summary) -> bool:
    if xml1.ngay_sinh is None or xml1.ngay_vao is None:
        return False
    birth, on = xml1.ngay_sinh.earliest, xml1.ngay_vao.date()
    return on.year - birth.year - ((on.month, on.day) < (birth.month, birth.day)) >= ADULT


def person(xml1: Summary) -> Iterator[RecordIssue]:
    """Domain section 10, fields 2 and 4: a name has no digits, an age is at most 130 years."""
    if any(sign.isdigit() for sign in xml1.ho_ten):
        yield say("name-digits", "XML1.HO_TEN")
    birth, start = xml1.ngay_sinh, xml1.ngay_vao
    if birth is None or start is None:
        return
    if start.year - birth.year > OLDEST:
        yield say("age", "XML1.NGAY_SINH")
    # PL4750, table 1, NGAY_SINH: up to 28 days of age the time is wanted.
    if birth.day and birth.hour is None and start.date() - birth.earliest <= NEW_BORN:
        yield say("birth-time", "XML1.NGAY_SINH")


def cards_of(xml1: Summary) -> tuple[str, ...]:
    """Return the cards of MA_THE_BHYT, without the empty parts after the last one."""
    cards = xml1.ma_the_bhyt
    while cards and not cards[-1]:
        cards = cards[:-1]
    return cards


def cards(xml1: Summary) -> Iterator[RecordIssue]:
    """G03 and G05: the three card forms (portal 051 to 053), and lists of one length (QLBV)."""
    held = cards_of(xml1)
    if any(not CARD.fullmatch(card) for card in held):
        yield say("card", "XML1.MA_THE_BHYT")
    for name, words in (
        ("MA_DKBD", xml1.ma_dkbd),
        ("GT_THE_TU", xml1.gt_the_tu),
        ("GT_THE_DEN", xml1.gt_the_den),
    ):
        text = xml1.texts.get(name, "")
        # Where the field failed its form, that is said already, and its parts are not known.
        if not text or any(flaw.field == name and flaw.what == "shape" for flaw in xml1.flaws):
            continue
        last = max((n for n, word in enumerate(words, 1) if word), default=0)
        # A `;` after the last part adds none; a list of nothing but `;` is empty.
        if last and len(held) not in {len(words), last}:
            yield say("card-lists", f"XML1.{name}")


def card_dates(xml1: Summary) -> Iterator[RecordIssue]:
    """G04: GT_THE_TU <= NGAY_VAO, GT_THE_DEN >= NGAY_RA - 15 days (NĐ 188/2025)."""
    start, end = xml1.ngay_vao, xml1.ngay_ra
    if start is None or end is None or xml1.ma_doituong_kcb == NOT_INSURED:
        return
    for name in wrong_periods(card_days(xml1), start.date(), end.date()):
        yield say("card-dates", f"XML1.{name}")


def card_days(xml1: Summary) -> tuple[Period, ...]:
    """Return GT_THE_TU and GT_THE_DEN of each card, in their order."""
    starts, ends = xml1.gt_the_tu, xml1.gt_the_den
    return tuple(
        (starts[n] if n < len(starts) else None, ends[n] if n < len(ends) else None)
        for n in range(len(cards_of(xml1)))
    )


def insured(xml1: Summary) -> Iterator[RecordIssue]:
    """G37: no card and no fund amount where MA_DOITUONG_KCB is 9 (PL4750, QĐ 3276/2025)."""
    if xml1.ma_doituong_kcb == NOT_INSURED:
        if xml1.ma_the_bhyt:
            yield say("not-insured", "XML1.MA_THE_BHYT")
        if xml1.t_bhtt:
            yield say("not-insured", "XML1.T_BHTT")
    elif xml1.ma_doituong_kcb and not xml1.ma_the_bhyt and xml1.ma_doituong_kcb not in _NO_CARD_YET:
        yield say("required-here", "XML1.MA_THE_BHYT")
