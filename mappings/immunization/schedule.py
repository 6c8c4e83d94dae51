"""The expanded programme's schedule: which Immunizations are given, due, overdue on a day.

The rows are dated data (schedule.toml); this module only reads and reckons.
"""

from __future__ import annotations

import calendar
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from importlib import resources
from typing import Any, Final, Literal

CVX: Final = "http://hl7.org/fhir/sid/cvx"
"""HL7's and CDC's code system of vaccines."""

_DOSE_NUMBER: Final = re.compile("[0-9]{1,3}")

Status = Literal["given", "due", "overdue", "upcoming", "advised"]


@dataclass(frozen=True, slots=True)
class Span:
    """A length of time: calendar months, then days."""

    months: int = 0
    days: int = 0

    def after(self, day: date) -> date:
        """Return the day this long after another; a day that a month lacks is its last."""
        return add_months(day, self.months) + timedelta(days=self.days)


@dataclass(frozen=True, slots=True)
class Row:
    """One dose of the schedule.

    Attributes:
        series: Doses of one series follow one another; alone, the row's own id.
        dose: The number in its series, from 1.
        after: The shortest interval since the dose before was given.
        late_after: How long after its due day a dose not recorded is overdue.
        sourced: Whether the row may decide that a dose is overdue.
        alone: Whether it is its series' only dose, matched whatever dose number is recorded.
    """

    id: str
    series: str
    dose: int
    age: Span
    after: Span | None
    late_after: Span
    codes: frozenset[str]
    gender: str | None
    sourced: bool
    vi: str
    en: str
    valid_from: date | None
    valid_to: date | None
    source: str
    alone: bool

    def holds(self, day: date, gender: str | None) -> bool:
        """Return whether the row is in force on a day, for a person of this gender."""
        if self.gender is not None and self.gender != gender:
            return False
        begun = self.valid_from is None or self.valid_from <= day
        return begun and (self.valid_to is None or day <= self.valid_to)


@dataclass(frozen=True, slots=True)
class Given:
    """One dose that an Immunization records."""

    codes: frozenset[str]
    day: date | None
    dose: int | None
    text: str = ""
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Dose:
    """One row for one person: when it is due, and what has become of it."""

    row: Row
    due_on: date
    status: Status
    given: Given | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A person's doses by the schedule in force, and those recorded beside it, newest first."""

    doses: tuple[Dose, ...]
    others: tuple[Given, ...]

    def by(self, *statuses: Status) -> tuple[Dose, ...]:
        """Return the doses that have one of these statuses, in the schedule's order."""
        return tuple(dose for dose in self.doses if dose.status in statuses)


def add_months(day: date, months: int) -> date:
    """Return the same day so many months later; a day that a month lacks is its last."""
    index = day.year * 12 + day.month - 1 + months
    year, month = index // 12, index % 12 + 1
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


@cache
def rows() -> tuple[Row, ...]:
    """Return every row of schedule.toml, in its order."""
    text = resources.files(__package__).joinpath("schedule.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    raw: list[dict[str, Any]] = data["dose"]
    series = [str(item.get("series", item["id"])) for item in raw]
    return tuple(
        _row(item, data, alone=series.count(name) == 1)
        for item, name in zip(raw, series, strict=True)
    )


def due(
    birth_date: date | None,
    gender: str | None,
    immunizations: Iterable[dict[str, Any]],
    on: date,
) -> Plan:
    """Return what is given, due, overdue and to come, of the schedule in force on a day.

    Args:
        birth_date: None where only a year or month is known: then nothing is due.
        gender: FHIR's administrative gender.
        immunizations: Immunization resources; those that are not `completed`, or are dated
            after the day of looking, do not count.
        on: The day of looking.
    """
    left = sorted(
        (
            given
            for item in immunizations
            if (given := _given(item)) is not None and (given.day or on) <= on
        ),
        key=lambda given: (given.day or date.max, given.dose or 0),
    )
    doses: list[Dose] = []
    if birth_date is not None and birth_date <= on:
        held = [row for row in rows() if row.holds(on, gender)]
        matched = _match(held, left)
        last: dict[str, date] = {}
        for row in held:
            doses.append(_dose(row, birth_date, matched.get(row.id), last, on))
    used = {id(dose.given) for dose in doses if dose.given}
    others = [given for given in left if id(given) not in used]
    others.sort(key=lambda given: given.day or date.min, reverse=True)
    return Plan(tuple(doses), tuple(others))


def on_time(birth_date: date, gender: str | None, on: date) -> tuple[Dose, ...]:
    """Return the sourced doses that a child vaccinated on its due days has had by a day."""
    last: dict[str, date] = {}
    doses = [_dose(row, birth_date, None, last, on) for row in rows() if row.holds(on, gender)]
    return tuple(dose for dose in doses if dose.row.sourced and dose.due_on <= on)


def _dose(row: Row, birth: date, given: Given | None, last: dict[str, date], on: date) -> Dose:
    due_on = row.age.after(birth)
    if row.after is not None and row.series in last:
        due_on = max(due_on, row.after.after(last[row.series]))
    # The next dose's interval runs from the day this one was given, else from when it is due.
    last[row.series] = given.day if given and given.day else due_on
    return Dose(row, due_on, _status(row, due_on, given, on), given)


def _status(row: Row, due_on: date, given: Given | None, on: date) -> Status:
    if given is not None:
        return "given"
    if on < due_on:
        return "upcoming"
    if not row.sourced:
        return "advised"
    return "overdue" if on > row.late_after.after(due_on) else "due"


def _match(held: Sequence[Row], recorded: Sequence[Given]) -> dict[str, Given]:
    """Pair rows with recorded doses: by dose number first, then what has none, in order of day."""
    matched: dict[str, Given] = {}
    taken: set[int] = set()
    for numbered in (True, False):
        for row in held:
            if row.id in matched:
                continue
            for given in recorded:
                if id(given) in taken or not row.codes & given.codes:
                    continue
                if row.alone or (given.dose == row.dose if numbered else given.dose is None):
                    matched[row.id] = given
                    taken.add(id(given))
                    break
    return matched


def _given(immunization: dict[str, Any]) -> Given | None:
    if immunization.get("status") != "completed":
        return None
    vaccine = immunization.get("vaccineCode") or {}
    codings = vaccine.get("coding") or []
    codes = frozenset(
        str(coding["code"])
        for coding in codings
        if coding.get("system") == CVX and "code" in coding
    )
    text = vaccine.get("text") or next((c["display"] for c in codings if "display" in c), "")
    day = _day(immunization.get("occurrenceDateTime"))
    dose = next(
        (
            number
            for protocol in immunization.get("protocolApplied") or []
            if (number := _number(protocol)) is not None
        ),
        None,
    )
    return Given(codes, day, dose, str(text), f"Immunization/{immunization.get('id', '')}")


def _number(protocol: dict[str, Any]) -> int | None:
    value = protocol.get("doseNumberPositiveInt", protocol.get("doseNumberString"))
    text = str(value) if value is not None else ""
    return int(text) if _DOSE_NUMBER.fullmatch(text) else None


def _day(text: object) -> date | None:
    try:
        return date.fromisoformat(str(text)[:10])
    except ValueError:
        return None


def _row(item: dict[str, Any], data: dict[str, Any], *, alone: bool) -> Row:
    return Row(
        id=item["id"],
        series=item.get("series", item["id"]),
        dose=item["dose"],
        age=_span(item["age"]),
        after=_span(item["after"]) if "after" in item else None,
        late_after=_span(item.get("late_after", "1m")),
        codes=frozenset(item["codes"]),
        gender=item.get("gender"),
        sourced=item.get("sourced", True),
        vi=item["vi"],
        en=item["en"],
        valid_from=item.get("valid_from", data.get("valid_from")),
        valid_to=item.get("valid_to", data.get("valid_to")),
        source=item.get("source", data["source"]),
        alone=alone,
    )


def _span(text: str) -> Span:
    number, unit = int(text[:-1]), text[-1]
    lengths = {"d": Span(days=number), "m": Span(months=number), "y": Span(months=12 * number)}
    return lengths[unit]
