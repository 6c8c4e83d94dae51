"""Primitive values: the lexical form of each type, times as ranges, and how we write them.

https://hl7.org/fhir/R4/datatypes.html#primitive
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from calendar import monthrange
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, Self

VIETNAM: Final = timezone(timedelta(hours=7))
"""The zone of times that have none: contract section 8."""

MAX_STRING: Final = 1_048_576
"""FHIR: strings SHALL NOT exceed 1,048,576 characters (we count characters, as FHIR does)."""

SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_VIETNAM_OFFSET: Final = 7 * 3600 * SECOND
_LEAP_SECOND: Final = 60

_YEAR: Final = r"(?!0000)[0-9]{4}"
_MONTH: Final = r"(?:0[1-9]|1[0-2])"
_DAY: Final = r"(?:0[1-9]|[12][0-9]|3[01])"
_CLOCK: Final = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?"
_ZONE: Final = r"(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"

_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}").fullmatch
_CODE: Final = re.compile(r"[^\s\x00-\x1f]+(?: [^\s\x00-\x1f]+)*").fullmatch
_URI: Final = re.compile(r"[^\s\x00-\x1f]+").fullmatch
_OID: Final = re.compile(r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+").fullmatch
_UUID: Final = re.compile(
    r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
).fullmatch
_DATE: Final = re.compile(rf"{_YEAR}(?:-{_MONTH}(?:-{_DAY})?)?").fullmatch
_DATE_TIME: Final = re.compile(rf"{_YEAR}(?:-{_MONTH}(?:-{_DAY}(?:T{_CLOCK}{_ZONE})?)?)?").fullmatch
_INSTANT: Final = re.compile(rf"{_YEAR}-{_MONTH}-{_DAY}T{_CLOCK}{_ZONE}").fullmatch
_TIME: Final = re.compile(_CLOCK).fullmatch
_SPACE: Final = re.compile(r"\s+")
# FHIR: no control characters below 32 in a string but tab, carriage return and line feed.
_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]").search
_RANGE: Final = re.compile(
    rf"({_YEAR})(?:-({_MONTH})(?:-({_DAY})"
    r"(?:T([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]|60)(?:\.([0-9]+))?)?"
    r"(Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])?)?)?)?"
).fullmatch


class Lexeme(Decimal):
    """A decimal that is not written as Decimal would write it: `1e3`, `0.0000001`."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Self:
        """Keep the number's text beside its value."""
        made = super().__new__(cls, text)
        made.text = text
        return made

    def __str__(self) -> str:
        return self.text

    def __reduce__(self) -> tuple[type[Lexeme], tuple[str]]:
        return Lexeme, (self.text,)

    def __copy__(self) -> Lexeme:
        return self

    def __deepcopy__(self, memo: Any) -> Lexeme:
        return self


def is_id(text: object) -> bool:
    """Tell whether this is a FHIR id: 1 to 64 of letters, digits, `-` and `.`."""
    return isinstance(text, str) and _ID(text) is not None


def _is_calendar(text: str) -> bool:
    """Tell whether a date or time that has the form names a day that is in the calendar."""
    day = text[8:10]
    return day <= "28" or int(day) <= monthrange(int(text[:4]), int(text[5:7]))[1]


def _is_string(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_STRING and _CONTROL(value) is None


def _matches(pattern: Callable[[str], Any]) -> Callable[[object], bool]:
    def check(value: object) -> bool:
        return isinstance(value, str) and pattern(value) is not None

    return check


def _is_uri(value: object) -> bool:
    return isinstance(value, str) and _URI(value) is not None and len(value) <= MAX_STRING


def _is_code(value: object) -> bool:
    return isinstance(value, str) and _CODE(value) is not None and len(value) <= MAX_STRING


def _on_a_day(pattern: Callable[[str], Any]) -> Callable[[object], bool]:
    def check(value: object) -> bool:
        return isinstance(value, str) and pattern(value) is not None and _is_calendar(value)

    return check


def _is_integer(low: int) -> Callable[[object], bool]:
    def check(value: object) -> bool:
        # FHIR: integers are 32 bits wide; bool is an int to Python, not to FHIR.
        return type(value) is int and low <= value <= 2**31 - 1

    return check


def _is_decimal(value: object) -> bool:
    return type(value) is int or (isinstance(value, Decimal) and value.is_finite())


def _is_base64(value: object) -> bool:
    if not isinstance(value, str) or not value:
        return False
    try:
        # FHIR R4's own examples have white space in base64, and its regex allows it.
        return bool(b64decode(_SPACE.sub("", value), validate=True))
    except (Base64Error, ValueError):
        return False


def _is_boolean(value: object) -> bool:
    return value is True or value is False


CHECKS: Final[Mapping[str, Callable[[object], bool]]] = MappingProxyType({
    "base64Binary": _is_base64,
    "boolean": _is_boolean,
    "canonical": _is_uri,
    "code": _is_code,
    "date": _on_a_day(_DATE),
    "dateTime": _on_a_day(_DATE_TIME),
    "decimal": _is_decimal,
    "id": is_id,
    "instant": _on_a_day(_INSTANT),
    "integer": _is_integer(-(2**31)),
    "markdown": _is_string,
    "oid": _matches(_OID),
    "positiveInt": _is_integer(1),
    "string": _is_string,
    "time": _matches(_TIME),
    "unsignedInt": _is_integer(0),
    "uri": _is_uri,
    "url": _is_uri,
    "uuid": _matches(_UUID),
    "xhtml": _is_string,
})
"""For each primitive type, whether a parsed JSON value is one."""


def is_valid(type_: str, value: object) -> bool:
    """Tell whether a parsed JSON value is a value of a primitive type."""
    return CHECKS[type_](value)


def format_instant(moment: datetime) -> str:
    """Return a time as FHIR's instant: milliseconds, at +07:00."""
    return moment.astimezone(VIETNAM).isoformat(timespec="milliseconds")


def micros(moment: datetime) -> int:
    """Return the microseconds of a time since 1970-01-01T00:00:00Z."""
    gone = moment - _EPOCH
    return (gone.days * 86_400 + gone.seconds) * SECOND + gone.microseconds


def from_micros(value: int) -> datetime:
    """Return the time of a number of microseconds, at +07:00."""
    return (_EPOCH + timedelta(microseconds=value)).astimezone(VIETNAM)


def _day(year: int, month: int, day: int) -> int:
    return (date(year, month, day).toordinal() - _EPOCH_DAY) * DAY


def date_range(text: str) -> tuple[int, int]:
    """Return the first and last microsecond that a date, dateTime or instant covers.

    `2020` is its whole year, `…T10:00` its minute, `…:00.5` a tenth of a second. A time without
    a zone, and every date, is at +07:00.

    Raises:
        ValueError: It is none of these, or no day of the calendar.
    """
    match = _RANGE(text)
    if match is None:
        message = "The text is not a FHIR date or time."
        raise ValueError(message)
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    if day is None:
        return _long_range(int(year), int(month) if month else None)
    low = _day(int(year), int(month), int(day))
    if hour is None:
        low -= _VIETNAM_OFFSET
        return low, low + DAY - 1
    low += (int(hour) * 3600 + int(minute) * 60) * SECOND - _offset(zone)
    if second is None:
        return low, low + 60 * SECOND - 1
    low += int(second) * SECOND
    width = SECOND
    if fraction:
        low += int(fraction[:6].ljust(6, "0"))
        width = 10 ** (6 - min(len(fraction), 6))
    if int(second) == _LEAP_SECOND:
        low, width = low - SECOND, SECOND  # a leap second counts as the second before it
    return low, low + width - 1


def _long_range(year: int, month: int | None) -> tuple[int, int]:
    low = _day(year, month or 1, 1)
    days = monthrange(year, month)[1] if month else 365 + (monthrange(year, 2)[1] == 29)  # noqa: PLR2004
    low -= _VIETNAM_OFFSET
    return low, low + days * DAY - 1


def _offset(zone: str | None) -> int:
    if zone is None:
        return _VIETNAM_OFFSET
    if zone == "Z":
        return 0
    seconds = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
    return (-seconds if zone[0] == "-" else seconds) * SECOND
