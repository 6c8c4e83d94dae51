"""The schedule: which doses are given, due, overdue, to come."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mappings.immunization.schedule import CVX, add_months, due, on_time, rows

BORN = date(2025, 3, 25)
TODAY = date(2026, 11, 25)


def dose(
    code: str, number: int | None, day: str, status: str = "completed", identity: str = "1"
) -> dict[str, Any]:
    """An Immunization."""
    made: dict[str, Any] = {
        "resourceType": "Immunization",
        "id": identity,
        "status": status,
        "vaccineCode": {"coding": [{"system": CVX, "code": code}], "text": "vắc xin"},
        "occurrenceDateTime": day,
    }
    if number is not None:
        made["protocolApplied"] = [{"doseNumberPositiveInt": number}]
    return made


def on_schedule(born: date, until: date) -> list[dict[str, Any]]:
    """All sourced doses, each given on its due day."""
    return [
        dose(min(one.row.codes), one.row.dose, one.due_on.isoformat(), identity=one.row.id)
        for one in on_time(born, "male", until)
    ]


@pytest.mark.parametrize(
    ("day", "months", "expected"),
    [
        (date(2025, 1, 31), 1, date(2025, 2, 28)),
        (date(2024, 1, 31), 1, date(2024, 2, 29)),
        (date(2024, 2, 29), 12, date(2025, 2, 28)),
        (date(2025, 8, 31), 18, date(2027, 2, 28)),
        (date(2025, 12, 15), 1, date(2026, 1, 15)),
        (date(2025, 3, 25), 0, date(2025, 3, 25)),
    ],
)
def test_a_day_that_a_month_lacks_is_its_last(day: date, months: int, expected: date) -> None:
    """Months are calendar months."""
    assert add_months(day, months) == expected


def test_a_child_vaccinated_on_schedule_has_nothing_overdue() -> None:
    """Every sourced dose that fell due is given; none is overdue or due."""
    plan = due(BORN, "male", on_schedule(BORN, TODAY), TODAY)

    assert plan.by("overdue", "due") == ()
    assert len(plan.by("given")) == len(on_time(BORN, "male", TODAY))
    assert plan.others == ()


def test_the_demo_childs_measles_rubella_dose_is_overdue() -> None:
    """A child of 20 months without the dose of 18 months: that alone is overdue."""
    record = [one for one in on_schedule(BORN, TODAY) if one["id"] != "mr-1"]

    plan = due(BORN, "male", record, TODAY)

    (late,) = plan.by("overdue")
    assert (late.row.id, late.due_on) == ("mr-1", date(2026, 9, 25))


@pytest.mark.parametrize(
    ("on", "status"),
    [
        (date(2026, 9, 24), "upcoming"),
        (date(2026, 9, 25), "due"),
        (date(2026, 10, 25), "due"),
        (date(2026, 10, 26), "overdue"),
    ],
)
def test_a_dose_is_due_for_a_month_and_then_overdue(on: date, status: str) -> None:
    """Both edges of the month count as due."""
    plan = due(BORN, "male", [], on)

    assert next(one.status for one in plan.doses if one.row.id == "mr-1") == status


@pytest.mark.parametrize("on", [date(2025, 3, 25), date(2025, 3, 26), date(2025, 3, 27)])
def test_the_dose_at_birth_is_due_for_a_day(on: date) -> None:
    """Hepatitis B at birth is overdue from the second day on."""
    plan = due(BORN, "male", [], on)

    late = next(one.status for one in plan.doses if one.row.id == "hepb-0")
    assert late == ("overdue" if on.day > 26 else "due")


def test_recalled_rows_are_never_overdue() -> None:
    """What is not sourced (IPV, rota, PCV, HPV) is advice only."""
    plan = due(date(2015, 1, 1), "female", [], TODAY)

    assert {one.row.series for one in plan.by("advised")} == {"ipv", "rota", "pcv", "hpv"}
    assert not any(not one.row.sourced for one in plan.by("overdue", "due"))


def test_a_row_for_girls_is_not_asked_of_boys() -> None:
    """HPV is a girls' row."""
    assert "hpv" not in {one.row.series for one in due(date(2015, 1, 1), "male", [], TODAY).doses}


def test_doses_match_by_code_and_number_then_by_day() -> None:
    """A numbered dose takes its row; doses without number fill the rest in order of day."""
    record = [
        dose("198", None, "2025-07-25", identity="late"),
        dose("198", 2, "2025-06-25", identity="second"),
        dose("198", None, "2025-05-25", identity="early"),
    ]

    plan = due(BORN, "male", record, TODAY)

    given_ = {one.row.id: one.given for one in plan.by("given")}
    assert {key: value.reference for key, value in given_.items() if value} == {
        "penta-1": "Immunization/early",
        "penta-2": "Immunization/second",
        "penta-3": "Immunization/late",
    }


def test_a_single_dose_matches_whatever_number_it_carries() -> None:
    """Measles-rubella recorded as the second measles dose is still the dose of 18 months."""
    plan = due(BORN, "male", [dose("04", 2, "2026-09-30")], TODAY)

    assert [one.row.id for one in plan.by("given")] == ["mr-1"]


def test_the_interval_runs_from_the_day_the_dose_before_was_given() -> None:
    """The third dose against encephalitis is due a year after the second was given."""
    record = [dose("39", 1, "2026-06-01"), dose("39", 2, "2026-06-15", identity="2")]

    plan = due(BORN, "male", record, TODAY)

    assert next(one.due_on for one in plan.doses if one.row.id == "je-3") == date(2027, 6, 15)


@pytest.mark.parametrize(
    "wrong",
    [
        dose("04", 1, "2026-09-30", status="not-done"),
        dose("04", 1, "2026-09-30", status="entered-in-error"),
        dose("04", 1, "2026-11-26"),
        dose("9999", 1, "2026-09-30"),
        {"resourceType": "Immunization", "id": "1", "status": "completed"},
    ],
    ids=["not done", "in error", "in the future", "another vaccine", "no vaccine"],
)
def test_what_was_not_given_does_not_count(wrong: dict[str, Any]) -> None:
    """Only completed doses of the vaccine, of today or before, count."""
    assert due(BORN, "male", [wrong], TODAY).by("given") == ()


def test_without_a_full_birth_date_nothing_is_due() -> None:
    """What is recorded is still shown."""
    plan = due(None, "male", [dose("04", 1, "2026-09-30")], TODAY)

    assert plan.doses == ()
    assert [one.reference for one in plan.others] == ["Immunization/1"]


def test_every_row_is_in_force_from_a_day_and_names_its_source() -> None:
    """The schedule is dated data; ids are unique, doses of a series count from 1."""
    ids = [row.id for row in rows()]
    assert len(set(ids)) == len(ids)
    for row in rows():
        assert row.valid_from is not None
        assert row.source
        assert row.vi != row.en
        assert not row.holds(date(2024, 7, 31), row.gender)
    for name in {row.series for row in rows()}:
        numbers = [row.dose for row in rows() if row.series == name]
        assert numbers == list(range(1, len(numbers) + 1))


DAYS = st.dates(date(1900, 1, 1), date(2200, 12, 31))


@given(DAYS, DAYS)
def test_the_plan_never_fails_and_gives_each_row_one_status(born: date, on: date) -> None:
    """Whatever the days; and what is given on time is never overdue."""
    plan = due(born, "female", [], on)
    assert len({one.row.id for one in plan.doses}) == len(plan.doses)

    times = [
        dose(min(one.row.codes), one.row.dose, one.due_on.isoformat(), identity=one.row.id)
        for one in on_time(born, "female", on)
    ] if born <= on else []  # fmt: skip
    assert due(born, "female", times, on).by("overdue", "due") == ()
