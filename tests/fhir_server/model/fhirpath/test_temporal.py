"""Dates and times of any precision: compared, moved, and the ends of what they cover."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.model.fhirpath import temporal
from fhir_server.model.fhirpath.temporal import Moment, add, boundary, compare, parse

zones = st.sampled_from(["", "Z", "+07:00", "-05:30", "+14:00"])


@st.composite
def date_times(draw: st.DrawFn, zone: st.SearchStrategy[str] = zones) -> Moment:
    """Draw a DateTime of any precision."""
    moment = draw(st.datetimes())
    size = draw(st.sampled_from([4, 7, 10, 13, 16, 19, 23]))
    text = moment.isoformat(timespec="milliseconds")[:size]
    found = parse(text + (draw(zone) if size > 10 else ""), "DateTime")
    assert found is not None
    return found


@given(date_times())
def test_what_is_shown_is_read_as_the_same(moment: Moment) -> None:
    """A moment comes back from its text, with every digit."""
    assert parse(str(moment), "DateTime") == moment
    assert parse(moment.literal()[1:], "DateTime") == moment


@given(date_times(), date_times())
def test_the_order_is_one(one: Moment, other: Moment) -> None:
    """Before is the other way round after, and each moment is as late as itself."""
    found, turned = compare(one, other), compare(other, one)

    assert compare(one, one) == 0
    assert (found is None) == (turned is None)
    assert found is None or found == -turned


@given(date_times())
def test_the_boundaries_hold_the_moment(moment: Moment) -> None:
    """The first moment is not after the last, both are whole, and of the same instant or day."""
    low, high = boundary(moment, 17, high=False), boundary(moment, 17, high=True)

    assert compare(low, high) in {-1, 0}
    assert low.digits() == high.digits() == 17
    assert low.offset is not None
    assert low.parts[: len(moment.parts)] == moment.parts == high.parts[: len(moment.parts)]


@given(date_times(), st.integers(-(10**5), 10**5), st.sampled_from([2, 3, 4, 5]))
def test_what_is_added_can_be_taken_away(moment: Moment, amount: int, level: int) -> None:
    """Days and less, of which none is cut, come back."""
    if level <= moment.level:
        later = add(moment, Decimal(amount), level)
        if later is not None:
            assert add(later, Decimal(-amount), level) == moment


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("2012", "2012", 0),
        ("2012", "2013-05", -1),
        ("2012-05", "2012", None),
        ("2012-01-01T10:30", "2012-01-01T10:30:00", None),
        ("2012-01-01T10:30:00", "2012-01-01T10:30:00.000", 0),
        ("2012-01-01T10:00:00+07:00", "2012-01-01T03:00:00Z", 0),
        ("2012-01-01T10:00:00+07:00", "2012-01-01T10:00:00Z", -1),
        ("2012-01-01T10:00:00Z", "2012-01-01T10:00:00", None),
        ("2012-01-01T10:00:00Z", "2012-01-02T10:00:00", -1),
        ("2012-01-02T10:00:00", "2012-01-01T10:00:00Z", 1),
        ("2012-01-01", "2012-01-01T10:00:00Z", None),
        ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00Z", 0),
    ],
)
def test_precisions_and_timezones(one: str, other: str, expected: int | None) -> None:
    """What the precision or a timezone that is not given cannot tell is not told."""
    assert compare(parse(one, "DateTime"), parse(other, "DateTime")) == expected


def test_a_time_is_not_comparable_with_a_date() -> None:
    """Only times have an order with times."""
    with pytest.raises(ValueError, match="not comparable"):
        compare(parse("10:00", "Time"), parse("2012", "Date"))


@pytest.mark.parametrize(
    ("text", "amount", "level", "expected"),
    [
        ("2014", "24", temporal.MONTH, "2016"),
        ("2014", "25", temporal.MONTH, "2016"),
        ("2014", "365", temporal.DAY, "2015"),
        ("2014", "23", temporal.HOUR, "2014"),
        ("2014-05", "31", temporal.DAY, "2014-06"),
        ("2014-01-31", "1", temporal.MONTH, "2014-02-28"),
        ("2016-02-29", "-1", temporal.YEAR, "2015-02-28"),
        ("2014-12", "1", temporal.MONTH, "2015-01"),
        ("2014-01-01", "7.9", temporal.DAY, "2014-01-08"),
        ("2014-01-01T10", "90", temporal.MINUTE, "2014-01-01T11"),
        ("2014-01-01T23:59:59.5Z", "0.5", temporal.SECOND, "2014-01-02T00:00:00.0Z"),
        ("9999-12-31", "1", temporal.DAY, None),
        ("9999", "1", temporal.YEAR, None),
        ("0001-01-01T00:00:00Z", "-1", temporal.SECOND, None),
    ],
)
def test_adding(text: str, amount: str, level: int, expected: str | None) -> None:
    """Months end where the month ends, what is finer than the date is cut, years have an end."""
    found = add(parse(text, "DateTime"), Decimal(amount), level)

    assert (found if found is None else str(found)) == expected


def test_a_time_goes_round_the_clock() -> None:
    """An hour after 23:30 is 00:30."""
    assert str(add(parse("23:30", "Time"), Decimal(60), temporal.MINUTE)) == "00:30"
    assert str(add(parse("23", "Time"), Decimal(2), temporal.HOUR)) == "01"


@pytest.mark.parametrize(
    ("text", "kind", "digits", "low", "high"),
    [
        ("2014", "Date", None, "2014-01-01", "2014-12-31"),
        ("2016-02", "Date", 8, "2016-02-01", "2016-02-29"),
        ("2014-05-06", "Date", 4, "2014", "2014"),
        ("2014", "Date", 17, None, None),
        ("2014", "Date", 5, None, None),
        ("10:30", "Time", None, "10:30:00.000", "10:30:59.999"),
        ("10", "Time", 6, "10:00:00", "10:59:59"),
        ("10:30:15", "Time", 9, "10:30:15.000", "10:30:15.999"),
        ("10:30:15.123456", "Time", 9, "10:30:15.123", "10:30:15.123"),
        ("10:30:15.9", "Time", 6, "10:30:15", "10:30:15"),
        ("2014-01-01T08", "DateTime", 12, "2014-01-01T08:00+14:00", "2014-01-01T08:59-12:00"),
    ],
)
def test_boundaries(text: str, kind: str, digits: int, low: str | None, high: str | None) -> None:
    """The first and the last moment that a partial one covers, at a number of digits."""
    moment = parse(text, kind)

    ends = [boundary(moment, digits, high=is_high) for is_high in (False, True)]

    assert [end if end is None else str(end) for end in ends] == [low, high]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "Date"),
        ("2015T", "Date"),
        ("2015-02-29", "Date"),
        ("0000", "Date"),
        ("2015-1", "Date"),
        ("24:00", "Time"),
        ("10:00:61", "Time"),
        ("2015-01-01T10:00+14:01", "DateTime"),
        ("2015-01-01 10:00", "DateTime"),
    ],
)
def test_what_is_no_moment(text: str, kind: str) -> None:
    """A text that is no day of the calendar, or not of the form, is none."""
    assert parse(text, kind) is None


@pytest.mark.parametrize(
    ("text", "kind", "digits"),
    [("2015", "Date", 4), ("2015-01-01T10:00:00", "DateTime", 14), ("10:00:00", "Time", 6)],
)
def test_digits(text: str, kind: str, digits: int) -> None:
    """A moment has as many digits as its precision."""
    assert parse(text, kind).digits() == digits
