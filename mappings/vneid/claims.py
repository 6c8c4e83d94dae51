"""VNeID's claims -> the number and the demographics to compare.

The names are those seen at the national log-in (domain file, section 6): `SoDinhDanh`,
`HoVaTen`, `NgayThangNamSinh` (yyyyMMdd), `GioiTinh`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

NUMBER: Final = "SoDinhDanh"
NAME: Final = "HoVaTen"
BIRTH_DATE: Final = "NgayThangNamSinh"
GENDER: Final = "GioiTinh"

GENDERS: Final = {
    "nam": "male",
    "nữ": "female",
    "nu": "female",
    "male": "male",
    "female": "female",
    "1": "male",
    "2": "female",
}
"""How a provider may write the sex; the digits are MA_GIOI_TINH of 130/QĐ-BYT."""

_TWELVE: Final = re.compile(r"[0-9]{12}")
_DATE: Final = re.compile(r"([0-9]{4})(?:-?([0-9]{2})(?:-?([0-9]{2}))?)?")
_WRITTEN: Final = re.compile(r"([0-9]{2})[/-]([0-9]{2})[/-]([0-9]{4})")


class BadClaims(ValueError):
    """The claims lack what a log-in must say; the text has no value in it."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a level-2 log-in says of a person.

    Attributes:
        number: The 12-digit number.
        name: The full name, normalised (NFC, single spaces).
        birth_date: A FHIR date; a year or month where no more was said.
        gender: FHIR's code, or None where it was not said.
    """

    number: str
    name: str
    birth_date: str
    gender: str | None = None


def from_claims(claims: Mapping[str, Any], *, number_claim: str = NUMBER) -> Claims:
    """Return the person that a provider's claims describe.

    Raises:
        BadClaims: The number, the name or the birth date is missing or has another form.
    """
    number = _text(claims.get(number_claim))
    if not _TWELVE.fullmatch(number):
        raise BadClaims(f"{number_claim} is not 12 digits")
    name = _text(claims.get(NAME) or claims.get("name"))
    if not name:
        raise BadClaims(f"{NAME} is missing")
    return Claims(
        number=number,
        name=name,
        birth_date=birth_date(_text(claims.get(BIRTH_DATE) or claims.get("birthdate"))),
        gender=GENDERS.get(_text(claims.get(GENDER) or claims.get("gender")).lower()),
    )


def birth_date(text: str) -> str:
    """Return a birth date as a FHIR date.

    Args:
        text: yyyyMMdd as VNeID writes it; yyyy, yyyyMM, ISO and dd/MM/yyyy are read too.

    Raises:
        BadClaims: It is no date.
    """
    written = _WRITTEN.fullmatch(text)
    found = _DATE.fullmatch(text)
    if written:
        day, month, year = written.groups()
    elif found:
        year, month, day = found.groups()
    else:
        raise BadClaims(f"{BIRTH_DATE} is not a date")
    try:
        date(int(year), int(month or 1), int(day or 1))
    except ValueError:
        raise BadClaims(f"{BIRTH_DATE} is not a date") from None
    return "-".join(part for part in (year, month, day) if part)


def _text(value: object) -> str:
    if not isinstance(value, str | int) or isinstance(value, bool):
        return ""
    return " ".join(unicodedata.normalize("NFC", str(value)).split())
