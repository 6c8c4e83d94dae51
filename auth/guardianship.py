"""Who may act for whom: a RelatedPerson that is verified, active, and of today."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Mapping
from datetime import date, datetime, timedelta, timezone
from typing import Any, Final

from fhir_server.model import identifiers

VERIFIED: Final = identifiers.extension("verified")
"""The extension that `system` or the server sets on a link that it has proof of."""

VIET_NAM: Final = timezone(timedelta(hours=7))
"""A day begins and ends at +07:00."""


def is_verified(related_person: Mapping[str, Any]) -> bool:
    """Return whether the link carries the extension `verified` with the value true."""
    marks = [
        item.get("valueBoolean")
        for item in related_person.get("extension") or ()
        if item.get("url") == VERIFIED
    ]
    # Two marks that differ are no proof.
    return bool(marks) and all(mark is True for mark in marks)


def acts_for(related_person: Mapping[str, Any], number: str, on: date) -> str | None:
    """Return the id of the Patient for whom the holder of this number may act, or None.

    Args:
        related_person: The RelatedPerson, as stored.
        number: The guardian's 12-digit number.
        on: The day in Viet Nam.
    """
    if related_person.get("resourceType") != "RelatedPerson" or not number:
        return None
    if related_person.get("active") is False or not is_verified(related_person):
        return None
    if not _has_number(related_person, number) or not _is_within(related_person.get("period"), on):
        return None
    reference = str((related_person.get("patient") or {}).get("reference", ""))
    resource_type, _, resource_id = reference.partition("/")
    return resource_id if resource_type == "Patient" and "/" not in resource_id else None


_FIRST_CENTURY: Final = 1900


def today(now: datetime) -> date:
    """Return the day in Viet Nam."""
    return now.astimezone(VIET_NAM).date()


def is_yet_to_come(day: str, now: datetime) -> bool:
    """Return whether a FHIR date, its year or month alone too, begins after today."""
    return day > today(now).isoformat()[: len(day)]


def is_born_later(number: str, birth_date: str, now: datetime) -> bool:
    """Return whether a login claims a birth date that is yet to come, and its number another.

    A number that says a year to come itself is nobody's: no issuer has given it, and only the
    stand-in, which takes every number of 12 digits, makes somebody of it (contract 2 and 9).
    """
    if not is_yet_to_come(birth_date, now):
        return False
    # TT 59/2021/TT-BCA: the fourth digit is century and sex, the next two the year.
    year = _FIRST_CENTURY + 100 * (int(number[3]) // 2) + int(number[4:6])
    return birth_date[:4] != str(year)


def _has_number(related_person: Mapping[str, Any], number: str) -> bool:
    return any(
        identifiers.identified(item) == (identifiers.CCCD, number) and item.get("use") != "old"
        for item in related_person.get("identifier") or ()
    )


def _is_within(period: Mapping[str, Any] | None, on: date) -> bool:
    """Whether the day is in the period, both ends included; what cannot be read is outside."""
    if period is None:
        return True
    start, end = period.get("start"), period.get("end")
    try:
        return (start is None or _day(start, last=False) <= on) and (
            end is None or on <= _day(end, last=True)
        )
    except (ValueError, TypeError):
        return False


def _day(text: str, *, last: bool) -> date:
    """The first or last day of a FHIR dateTime (a year, a month, a day, an instant)."""
    if "T" in text:
        moment = datetime.fromisoformat(text)
        return (
            (moment if moment.tzinfo else moment.replace(tzinfo=VIET_NAM))
            .astimezone(VIET_NAM)
            .date()
        )
    year, month, day = (*text.split("-"), "", "")[:3]
    if day:
        return date(int(year), int(month), int(day))
    if month:
        return _month_end(int(year), int(month)) if last else date(int(year), int(month), 1)
    return date(int(year), 12, 31) if last else date(int(year), 1, 1)


def _month_end(year: int, month: int) -> date:
    return date(year, month, monthrange(year, month)[1])
