"""Date, DateTime and Time of any precision: parse, compare, add, and the ends of what they cover.

http://hl7.org/fhirpath/N1/#date
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from typing import Final, Literal

Kind = Literal["Date", "DateTime", "Time"]

YEAR, MONTH, DAY, HOUR, MINUTE, SECOND = range(6)
"""The levels of precision; parts of a second belong to the second."""

_TIME: Final = r"([0-9]{2})(?::([0-9]{2})(?::([0-9]{2}(?:\.[0-9]+)?))?)?"
_ZONE: Final = r"(Z|[+-][0-9]{2}:[0-9]{2})?"
_TIME_ONLY: Final = re.compile(_TIME).fullmatch
_DATE_TIME: Final = re.compile(
    rf"([0-9]{{4}})(?:-([0-9]{{2}})(?:-([0-9]{{2}})(?:T(?:{_TIME}{_ZONE})?)?|T)?|T)?"
).fullmatch
_HIGHEST: Final = (9999, 12, 31, 23, 59)
_LOWEST: Final = (1, 1, 1, 0, 0)
_MINUTES_PER_DAY: Final = 1440
_MINUTE: Final = 60
_LAST_OFFSET: Final = 14 * 60
MAX_FRACTION: Final = 12
"""Digits of a second that are read; what is behind them is no time that anything measured."""

_DIGITS: Final = {4: YEAR, 6: MONTH, 8: DAY, 10: HOUR, 12: MINUTE, 14: SECOND, 17: SECOND}
_TIME_DIGITS: Final = {2: HOUR, 4: MINUTE, 6: SECOND, 9: SECOND}
_MILLISECOND: Final = Decimal("0.001")

# FHIRPath: a quantity finer than the date is turned into the date's precision, decimals cut off.
_PER_COARSER: Final = {SECOND: 60, MINUTE: 60, HOUR: 24, DAY: 30, MONTH: 12}
_DAYS_PER_YEAR: Final = 365


@dataclass(frozen=True, slots=True)
class Moment:
    """A Date, DateTime or Time.

    Attributes:
        kind: Which of the three.
        parts: Year, month, day, hour, minute, as far as they are known; of a Time hour and minute.
        second: With every digit as written; None where it is not known.
        offset: Minutes east of UTC; None where no timezone is given.
    """

    kind: Kind
    parts: tuple[int, ...]
    second: Decimal | None = None
    offset: int | None = None

    @property
    def level(self) -> int:
        """The level of precision, YEAR to SECOND."""
        first = HOUR if self.kind == "Time" else YEAR
        return first + len(self.parts) - 1 + (self.second is not None)

    def digits(self) -> int:
        """Return how many digits it has: 4 for a year, 17 for milliseconds."""
        table = _TIME_DIGITS if self.kind == "Time" else _DIGITS
        if self.second is not None and self.second.as_tuple().exponent == 0:
            return 6 if self.kind == "Time" else 14
        return max(digits for digits, level in table.items() if level == self.level)

    def __str__(self) -> str:
        """The text as FHIR writes it: `2015-02`, `2015-02-04T14:34:28.123+07:00`, `14:34`."""
        clock = self.parts if self.kind == "Time" else self.parts[3:]
        texts = [f"{part:02}" for part in clock]
        if self.second is not None:
            whole, dot, rest = format(self.second, "f").partition(".")
            texts.append(f"{whole:0>2}{dot}{rest}")
        if self.kind == "Time":
            return ":".join(texts)
        day = "-".join(f"{part:0{2 if at else 4}}" for at, part in enumerate(self.parts[:3]))
        return day + (f"T{':'.join(texts)}{_zone(self.offset)}" if texts else "")

    def literal(self) -> str:
        """Return it as FHIRPath writes it: `@2015-02`, `@2015T`, `@T14:34`."""
        text = str(self)
        if self.kind == "Time":
            return f"@T{text}"
        return f"@{text}{'T' if self.kind == 'DateTime' and self.level <= DAY else ''}"

    def as_kind(self, kind: Kind) -> Moment:
        """Return the Date of a DateTime, or the DateTime of a Date."""
        if kind == "Date":
            return Moment("Date", self.parts[:3])
        return replace(self, kind=kind)


def _zone(offset: int | None) -> str:
    if offset is None:
        return ""
    if offset == 0:
        return "Z"
    hours, minutes = divmod(abs(offset), _MINUTE)
    return f"{'-' if offset < 0 else '+'}{hours:02}:{minutes:02}"


def parse(text: str, kind: Kind) -> Moment | None:
    """Return the moment of a text without `@`; None where it is none of this kind.

    A DateTime may end with a bare `T`. The day is one of the calendar.
    """
    if kind == "Time":
        match = _TIME_ONLY(text.removeprefix("T"))
        found: tuple[str | None, ...] = (None, None, None, *match.groups(), None) if match else ()
    else:
        match = _DATE_TIME(text)
        found = match.groups() if match else ()
    if match is None or (kind == "Date" and "T" in text):
        return None
    *numbers_, last, zone = found
    numbers = tuple(int(part) for part in numbers_ if part is not None)
    second = Decimal(last[: 3 + MAX_FRACTION]) if last is not None else None
    moment = Moment(kind, numbers, second, _offset(zone))
    return moment if _is_real(moment) else None


def _offset(zone: str | None) -> int | None:
    if zone is None:
        return None
    if zone == "Z":
        return 0
    minutes = int(zone[1:3]) * _MINUTE + int(zone[4:6])
    return -minutes if zone[0] == "-" else minutes


def _is_real(moment: Moment) -> bool:
    limits = _HIGHEST[3:] if moment.kind == "Time" else _HIGHEST
    lows = _LOWEST[3:] if moment.kind == "Time" else _LOWEST
    if any(
        not low <= part <= high for low, part, high in zip(lows, moment.parts, limits, strict=False)
    ):
        return False
    # A leap second is a time of FHIR's, though no other time of day has it.
    if moment.second is not None and moment.second >= _MINUTE + 1:
        return False
    if moment.offset is not None and abs(moment.offset) > _LAST_OFFSET:
        return False
    is_day = moment.kind != "Time" and len(moment.parts) > DAY
    return not is_day or moment.parts[2] <= monthrange(*moment.parts[:2])[1]


def of_datetime(moment: datetime) -> Moment:
    """Return the DateTime of a time with a timezone, to the millisecond."""
    offset = moment.utcoffset() or timedelta(0)
    second = Decimal(moment.second) + Decimal(moment.microsecond // 1000).scaleb(-3)
    parts = (moment.year, moment.month, moment.day, moment.hour, moment.minute)
    return Moment("DateTime", parts, second, int(offset.total_seconds()) // _MINUTE)


def _minutes(parts: tuple[int, ...], filling: tuple[int, ...]) -> int:
    """Return the minutes since the year 0 of parts, those that are absent filled up."""
    year, month = (*parts, *filling[len(parts) :])[:2]
    last = monthrange(year, month)[1] if filling is _HIGHEST else 1
    day, hour, minute = (*parts, *(*filling[:2], last, *filling[3:])[len(parts) :])[2:5]
    days = date(year, month, day).toordinal()
    return days * _MINUTES_PER_DAY + hour * _MINUTE + minute


def _range(moment: Moment) -> tuple[Decimal, Decimal]:
    """Return the first and last second since the year 0, in UTC, that a moment can mean."""
    low_offset, high_offset = (
        (_LAST_OFFSET, -_LAST_OFFSET) if moment.offset is None else (moment.offset, moment.offset)
    )
    low = Decimal((_minutes(moment.parts, _LOWEST) - low_offset) * _MINUTE)
    high = Decimal((_minutes(moment.parts, _HIGHEST) - high_offset) * _MINUTE)
    if moment.second is not None:
        return low + moment.second, high + moment.second
    return low, high + _MINUTE


def compare(one: Moment, other: Moment) -> int | None:
    """Return -1, 0 or 1 for before, same, after; None where the precision cannot tell.

    Date and DateTime may be compared, Time only with Time. Each precision is looked at in turn;
    seconds and their parts are one. Where only one has a timezone, the other may mean any: the
    answer is None unless it is the same for all of them (FHIRPath: no default is a policy).

    Raises:
        ValueError: One is a Time, and the other is not.
    """
    if (one.kind == "Time") != (other.kind == "Time"):
        message = "A time is not comparable with a date."
        raise ValueError(message)
    if (one.offset is None) != (other.offset is None):
        first, second = _range(one), _range(other)
        if first[1] < second[0]:
            return -1
        return 1 if first[0] > second[1] else None
    if one.offset != other.offset:
        one, other = in_utc(one), in_utc(other)
    for left, right in zip(one.parts, other.parts, strict=False):
        if left != right:
            return -1 if left < right else 1
    if one.level != other.level:
        return None
    left_second, right_second = one.second or 0, other.second or 0
    return (left_second > right_second) - (left_second < right_second)


def in_utc(moment: Moment) -> Moment:
    """Return the same moment at UTC; itself where it has no timezone, or would leave the years."""
    if not moment.offset or moment.kind == "Time":
        return moment
    total = _minutes(moment.parts, _LOWEST) - moment.offset
    parts = _from_minutes(total)
    return moment if parts is None else replace(moment, parts=parts[: len(moment.parts)], offset=0)


def _from_minutes(total: int) -> tuple[int, int, int, int, int] | None:
    days, rest = divmod(total, _MINUTES_PER_DAY)
    if not 1 <= days <= date.max.toordinal():
        return None
    day = date.fromordinal(days)
    return day.year, day.month, day.day, *divmod(rest, _MINUTE)


def add(moment: Moment, amount: Decimal, level: int) -> Moment | None:
    """Return a moment later (or earlier) by an amount of a level: `YEAR` to `SECOND`.

    Decimals count only for seconds. An amount finer than the moment is turned into the moment's
    precision and cut. A day that the month has not becomes the month's last. A Time goes round
    the clock. None where the result is no year from 1 to 9999.
    """
    if level != SECOND:
        amount = amount.to_integral_value(ROUND_DOWN)
    while level > moment.level:
        if level == DAY and moment.level == YEAR:
            amount, level = amount / _DAYS_PER_YEAR, YEAR
        else:
            amount, level = amount / _PER_COARSER[level], level - 1
        amount = amount.to_integral_value(ROUND_DOWN)
    if level <= MONTH:
        return _add_months(moment, int(amount) * (12 if level == YEAR else 1))
    if level == SECOND:
        return _add_seconds(moment, amount)
    return _add_minutes(moment, int(amount) * {DAY: _MINUTES_PER_DAY, HOUR: _MINUTE}.get(level, 1))


def _add_months(moment: Moment, months: int) -> Moment | None:
    year, month, *rest = (*moment.parts, 1)[: max(2, len(moment.parts))]
    year, month = divmod(year * 12 + month - 1 + months, 12)
    month += 1
    if not _LOWEST[0] <= year <= _HIGHEST[0]:
        return None
    if rest:
        rest[0] = min(rest[0], monthrange(year, month)[1])
    return replace(moment, parts=(year, month, *rest)[: len(moment.parts)])


def _add_minutes(moment: Moment, minutes: int) -> Moment | None:
    if moment.kind == "Time":
        hour, minute = (*moment.parts, 0)[:2]
        hour, minute = divmod((hour * _MINUTE + minute + minutes) % _MINUTES_PER_DAY, _MINUTE)
        return replace(moment, parts=(hour, minute)[: len(moment.parts)])
    parts = _from_minutes(_minutes(moment.parts, _LOWEST) + minutes)
    return None if parts is None else replace(moment, parts=parts[: len(moment.parts)])


def _add_seconds(moment: Moment, seconds: Decimal) -> Moment | None:
    total = (Decimal(0) if moment.second is None else moment.second) + seconds
    minutes = int((total / _MINUTE).to_integral_value("ROUND_FLOOR"))
    later = _add_minutes(moment, minutes)
    return None if later is None else replace(later, second=total - minutes * _MINUTE)


def boundary(moment: Moment, digits: int | None, *, high: bool) -> Moment | None:
    """Return the first or last moment that one covers, to a number of digits.

    4, 6 and 8 digits are year, month, day; 10, 12, 14, 17 hour, minute, second, millisecond (of a
    Time 2, 4, 6, 9). A DateTime without a timezone begins at +14:00 and ends at -12:00. None where
    there is no such precision.
    """
    table = _TIME_DIGITS if moment.kind == "Time" else _DIGITS
    if digits is None:
        digits = {"Date": 8, "DateTime": 17, "Time": 9}[moment.kind]
    level = table.get(digits)
    if level is None or (moment.kind == "Date" and level > DAY):
        return None
    filling = _HIGHEST if high else _LOWEST
    rest = filling[3:] if moment.kind == "Time" else filling
    parts = (*moment.parts, *rest[len(moment.parts) :])
    if moment.kind != "Time" and high and len(moment.parts) < DAY + 1:
        parts = (*parts[:2], monthrange(*parts[:2])[1], *parts[3:])
    size = level + 1 - (HOUR if moment.kind == "Time" else YEAR)
    second = _second(moment.second, digits, high=high) if level == SECOND else None
    offset = moment.offset if level > DAY else None
    if offset is None and moment.kind == "DateTime" and level > DAY:
        offset = -12 * _MINUTE if high else _LAST_OFFSET
    return Moment(moment.kind, parts[:size], second, offset)


def _second(second: Decimal | None, digits: int, *, high: bool) -> Decimal:
    """Return the second to whole seconds or milliseconds, the first or the last of what it is."""
    if digits in {6, 14}:
        return Decimal(59 if high else 0) if second is None else second.quantize(1, ROUND_DOWN)
    if second is None:
        return Decimal("59.999" if high else "0.000")
    exponent = second.as_tuple().exponent
    if high and exponent == 0:
        return second + Decimal("0.999")
    return second.quantize(_MILLISECOND, ROUND_DOWN)
