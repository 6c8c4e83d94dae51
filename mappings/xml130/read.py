"""Read one field's text as its kind says: what it means, and what is wrong with it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final, NamedTuple

VIETNAM: Final = timezone(timedelta(hours=7))
"""Vietnamese time; the dossier's times have no zone (domain 2.3)."""

LONGEST: Final = 1_000_000
"""A FHIR string ends at 1 MB: https://hl7.org/fhir/R4/datatypes.html#string."""

NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
ICD10: Final = re.compile(r"[A-Z][0-9]{2}(?:\.[0-9]{1,2})?[*+†]?")
FACILITY: Final = re.compile(r"[0-9]{2}[0-9A-Z][0-9]{2}")
MOST_DIGITS: Final = 30
TIME_LENGTH: Final = len("yyyymmddHHMM")
DAY_LENGTH: Final = len("yyyymmdd")


class Flaw(NamedTuple):
    """What is wrong with the text of one field.

    Attributes:
        field: The decree's name of the field.
        what: "shape" (fails its form), "length", "changed" (trimmed or put in capitals),
            "comma" (decimal comma), "code-page" (TCVN3, VNI, misread UTF-8),
            "unknown" (no such field).
        kind: The kind of field, which chooses the sentence.
    """

    field: str
    what: str
    kind: str


@dataclass(frozen=True, slots=True)
class Birth:
    """A birth date as far as it is known: the year, the day, or the minute.

    `0000` for month and day, and for the time, say "unknown" (domain 2.3).
    """

    year: int
    month: int | None = None
    day: int | None = None
    hour: int | None = None
    minute: int | None = None

    @property
    def earliest(self) -> date:
        """The first day that the birth may have been on."""
        return date(self.year, self.month or 1, self.day or 1)

    @property
    def moment(self) -> datetime | None:
        """The time of birth, or None where only the day or the year is known."""
        if self.month is None or self.day is None or self.hour is None or self.minute is None:
            return None
        return datetime(self.year, self.month, self.day, self.hour, self.minute, tzinfo=VIETNAM)

    def to_fhir(self) -> str:
        """Return the FHIR date: a year stays a year, never its 1 January."""
        if self.month is None:
            return f"{self.year:04d}"
        return f"{self.year:04d}-{self.month:02d}-{self.day:02d}"


# Signs that a FHIR string may not hold, or that mean a plain space: FHIR's `string` is
# `[ \r\n\t\S]+`, and trap (c) of domain section 10 strips control characters.
_DROP: Final = dict.fromkeys([
    *(c for c in range(0x20) if c not in {0x09, 0x0A, 0x0D}),
    *range(0x7F, 0xA0),
    *range(0xD800, 0xE000),
    0xFEFF,
    *(plane * 0x10000 + low for plane in range(17) for low in (0xFFFE, 0xFFFF)),
])
_SPACES: Final = dict.fromkeys(
    [0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000], " "
)
_SIGNS: Final[dict[int, Any]] = {**_DROP, **_SPACES}


def clean(text: str) -> str:
    """Return the text in NFC without control characters, odd spaces and outer blanks."""
    text = text.strip()
    if text.isascii():
        return text if text.isprintable() else text.translate(_SIGNS).strip()
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    return text if text.isprintable() else text.translate(_SIGNS).strip()


def plain_number(text: str) -> str:
    """Return a number's text without needless zeros, other text as it is."""
    if text.isdecimal() and text.isascii() and text[0] != "0":
        return text  # as nearly all are
    if not NUMBER.fullmatch(text):
        return text
    sign = text.startswith("-")
    whole, _, places = text.lstrip("-").partition(".")
    whole, places = whole.lstrip("0") or "0", places.rstrip("0")
    number = f"{whole}.{places}" if places else whole
    return f"-{number}" if sign and number != "0" else number


def parts(text: str) -> tuple[str, ...]:
    """Return the parts of a `;` list, each trimmed, empty ones kept."""
    return tuple(part.strip() for part in text.split(";")) if text else ()


def _time(text: str, lowest: str = "1900") -> datetime | None:
    if len(text) != TIME_LENGTH or not (text.isascii() and text.isdigit()):
        return None
    if not lowest <= text[:4] < "2100":
        return None
    try:
        return datetime(
            int(text[:4]), int(text[4:6]), int(text[6:8]), int(text[8:10]), int(text[10:]),
            tzinfo=VIETNAM,
        )  # fmt: skip
    except ValueError:
        return None


def _day(text: str) -> date | None:
    if len(text) != DAY_LENGTH or not (text.isascii() and text.isdigit()):
        return None
    if not "1900" <= text[:4] < "2100":
        return None
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None


def _birth(text: str) -> Birth | None:
    if len(text) != TIME_LENGTH or not (text.isascii() and text.isdigit()):
        return None
    if text[4:8] == "0000":
        hour = _time(f"{text[:4]}0101{text[8:]}", "1800")
        return Birth(hour.year) if hour else None
    moment = _time(text, "1800")
    if moment is None:
        return None
    if text[8:] == "0000":
        return Birth(moment.year, moment.month, moment.day)
    return Birth(moment.year, moment.month, moment.day, moment.hour, moment.minute)


Read = tuple[Any, str]
"""A value, and what is wrong with the text ("" where nothing is)."""


def _read_number(text: str) -> Read:
    if not NUMBER.fullmatch(text):
        return None, "comma" if "," in text else "shape"
    if len(text) > MOST_DIGITS:
        text = plain_number(text)
        if len(text) > MOST_DIGITS:
            return None, "length"
    return Decimal(text), ""


def _read_digits(text: str) -> Read:
    if not NUMBER.fullmatch(text):
        return "", "comma" if "," in text else "shape"
    return text, ""


def _or_shape(value: Any) -> Read:
    return (value, "") if value is not None else (None, "shape")


def _read_day_or_time(text: str) -> Read:
    if len(text) == TIME_LENGTH:
        moment = _time(text)
        return _or_shape(moment.date() if moment else None)
    return _or_shape(_day(text))


def _read_days(text: str) -> Read:
    words = parts(text)
    days = tuple(_day(word) if word else None for word in words)
    wrong = any(word and day is None for word, day in zip(words, days, strict=True))
    changed = not wrong and ";".join(words) != text
    return days, "shape" if wrong else "changed" if changed else ""


def _coded(pattern: re.Pattern[str]) -> Callable[[str], Read]:
    def read(text: str) -> Read:
        code = text.upper()
        if not pattern.fullmatch(code):
            return "", "shape"
        return code, "changed" if code != text else ""

    return read


def _coded_list(pattern: re.Pattern[str]) -> Callable[[str], Read]:
    def read(text: str) -> Read:
        codes = tuple(part.upper() for part in parts(text))
        if any(code and not pattern.fullmatch(code) for code in codes):
            return (), "shape"
        return codes, "changed" if ";".join(codes) != text else ""

    return read


def _read_list(text: str) -> Read:
    return parts(text), ""


READERS: Final[dict[str, Callable[[str], Read]]] = {
    "number": _read_number,
    "digits": _read_digits,
    "time": lambda text: _or_shape(_time(text)),
    "day": lambda text: _or_shape(_day(text)),
    "day-or-time": _read_day_or_time,
    "days": _read_days,
    "birth": lambda text: _or_shape(_birth(text)),
    "icd": _coded(ICD10),
    "icds": _coded_list(ICD10),
    "facility": _coded(FACILITY),
    "facilities": _coded_list(FACILITY),
    "list": _read_list,
}
"""How each kind is read; `text`, `listed` and `paper` are taken as they are."""

BY_FORM: Final = READERS.keys() - {"list"}
"""Kinds whose form is all: no length is asked but of numbers."""
