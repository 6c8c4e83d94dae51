"""G04: whether the cards of a visit are valid on its dates.

Domain 8.3: GT_THE_TU <= date(NGAY_VAO) and GT_THE_DEN >= date(NGAY_RA) - 15 days. Pure, and the one
place of it, for the receipt's warning and for the claim's finding.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Final

# NĐ 188/2025/NĐ-CP: a card that ends during the treatment is paid for at most 15 days more.
GRACE: Final = timedelta(days=15)

Period = tuple[date | None, date | None]
"""GT_THE_TU and GT_THE_DEN of one card; None where it is not stated, which excludes no day."""


def wrong_periods(
    cards: Iterable[Period], arrival: date, discharge: date | None
) -> tuple[str, ...]:
    """Return the fields by which no card is valid: GT_THE_TU, GT_THE_DEN; none where one is.

    Cards that follow one another without a day between count as one: a card is renewed.

    Args:
        cards: The periods of the visit's cards; without any there is nothing to ask.
        arrival: The day of NGAY_VAO.
        discharge: The day of NGAY_RA; None of a visit that lasts.
    """
    held = _joined(cards)
    last = _earlier(discharge or arrival)
    begun = [end for start, end in held if start <= arrival]
    if not held or any(end >= last for end in begun):
        return ()
    late = () if begun else ("GT_THE_TU",)
    over = begun or all(end < last for _, end in held)
    return (*late, "GT_THE_DEN") if over else late


def _joined(cards: Iterable[Period]) -> list[tuple[date, date]]:
    spans: list[tuple[date, date]] = []
    for start, end in sorted((start or date.min, end or date.max) for start, end in cards):
        if spans and start <= _next(spans[-1][1]):
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        else:
            spans.append((start, end))
    return spans


def _next(day: date) -> date:
    return day + timedelta(days=1) if day < date.max else day


def _earlier(day: date) -> date:
    return day - GRACE if day > date.min + GRACE else date.min
