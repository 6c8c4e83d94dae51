"""Whom the stand-in says a number belongs to: the Patient who holds it, else somebody invented."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from mappings.vneid.claims import BIRTH_DATE, GENDER, NAME

FAMILIES: Final = ("NGUYỄN", "TRẦN", "LÊ", "PHẠM", "HOÀNG", "VŨ", "ĐẶNG", "BÙI", "ĐỖ", "HỒ")
GIVEN: Final = ("AN", "BÌNH", "CƯỜNG", "DUNG", "GIANG", "HÀ", "KHÁNH", "LINH", "MINH", "NGỌC")
CENTURIES: Final = (1900, 2000, 2100, 2200, 2300)


@dataclass(frozen=True, slots=True)
class Person:
    """What the stand-in claims of a person.

    Attributes:
        birth_date: A FHIR date.
        gender: male, female or "".
    """

    name: str
    birth_date: str
    gender: str = ""


PersonLookup = Callable[[str], Awaitable[Person | None]]
"""From a 12-digit number to the Patient who holds it."""


def invented(number: str) -> Person:
    """Return an invented person: sex and 1 January of the year are what the number says.

    TT 59/2021/TT-BCA: the fourth digit is century and sex, the next two the year.
    """
    century, is_female = divmod(int(number[3]), 2)
    pick = sha256(number.encode()).digest()
    middle = "THỊ" if is_female else "VĂN"
    family, given = FAMILIES[pick[0] % len(FAMILIES)], GIVEN[pick[1] % len(GIVEN)]
    return Person(
        name=f"{family} {middle} {given}",
        birth_date=f"{CENTURIES[century] + int(number[4:6])}-01-01",
        gender="female" if is_female else "male",
    )


def claims_of(
    number: str, person: Person, *, issuer: str, acr: str, number_claim: str
) -> dict[str, Any]:
    """Return the claims of a log-in, under the names that VNeID uses."""
    claims: dict[str, Any] = {
        "sub": sha256(f"{issuer}|{number}".encode()).hexdigest()[:32],
        number_claim: number,
        NAME: person.name,
        BIRTH_DATE: person.birth_date.replace("-", ""),
        "LoaiTaiKhoan": "1",
        "loginIdp": "BCA",
        "acr": acr,
    }
    if person.gender in {"male", "female"}:
        claims[GENDER] = "Nam" if person.gender == "male" else "Nữ"
    return claims
